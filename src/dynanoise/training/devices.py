"""Devices that train: their names, and whether they are there."""

from __future__ import annotations

import torch

from dynanoise.core.errors import InputError

AUTO = "auto"
"""The GPU if there is one, else the processor."""


def choose_device(name: str) -> str:
    """Check that a device is there.

    Args:
        name: "cpu", "cuda", "cuda:1" and so on, or "auto" for cuda if there is one, else cpu.

    Returns:
        The name of the device.

    Raises:
        InputError: if it is not there, or not the name of a device.

    >>> choose_device("cpu")
    'cpu'
    """
    if name == AUTO:
        return "cuda" if torch.cuda.is_available() else "cpu"
    if not name.startswith(("cpu", "cuda")):
        raise InputError(f"--device is {name!r}.", "Use cpu, cuda or auto.")
    try:
        torch.empty(0, device=name)
    except (RuntimeError, AssertionError) as error:  # one or the other, by the build of torch
        reason = str(error).strip().splitlines()[0].rstrip(".")
        raise InputError(
            f"There is no device {name!r} on this machine ({reason}).",
            "Use --device cpu, or auto for a GPU where there is one.",
        ) from None
    return name


def device_name(device: str) -> str:
    """The name of a GPU, such as "NVIDIA H200"; ``device`` itself for others."""
    kind = torch.device(device)
    return torch.cuda.get_device_name(kind) if kind.type == "cuda" else device
