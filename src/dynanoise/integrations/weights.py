"""A name for a module's weights: the same on every device, another for other weights."""

from __future__ import annotations

import hashlib
import struct
import sys

import torch
from torch import nn

from dynanoise.core.errors import InputError


def weights_digest(module: nn.Module) -> str:
    """SHA-256 over a module's state, for `Keyed`; 64 hexadecimal digits.

    Over "dynanoise/weights/v1" and, for each entry of ``state_dict`` in the order of the names, its
    name, dtype ("torch.float32"), shape ("2,3") and little-endian bytes, each of these behind its
    length in bytes (8 bytes, big-endian). So it does not depend on device, memory layout or
    machine; a model in another precision is another model.

    Raises:
        InputError: if an entry has no bytes to read: no tensor, sparse, quantized or on "meta".

    >>> layer = nn.Linear(1, 1)
    >>> _ = nn.init.ones_(layer.weight), nn.init.zeros_(layer.bias)
    >>> weights_digest(layer)[:16], weights_digest(layer.half())[:16]
    ('a6c485e172e8013e', '617e1634c0615582')
    """
    found = hashlib.sha256(b"dynanoise/weights/v1")
    state = module.state_dict()
    for name in sorted(state):
        value = state[name]
        plain = isinstance(value, torch.Tensor) and value.layout == torch.strided
        if not plain or value.is_quantized or value.is_meta:
            raise InputError(
                f"{name!r} of the module's state is no plain tensor with values.",
                "Pass a SHA-256 of your own, such as of the file of weights, to Keyed.",
            )
        shape = ",".join(map(str, value.shape))
        for part in (name.encode(), str(value.dtype).encode(), shape.encode(), _bytes(value)):
            found.update(struct.pack(">Q", len(part)))
            found.update(part)
    return found.hexdigest()


def _bytes(tensor: torch.Tensor) -> memoryview:
    """The values in C order, little-endian, without a copy where that is how they lie."""
    flat = tensor.detach().resolve_conj().resolve_neg().cpu().contiguous().reshape(-1)
    raw = flat.view(torch.uint8).numpy()
    if sys.byteorder == "big":  # pragma: no cover
        size = flat.element_size() // (2 if flat.is_complex() else 1)
        raw = raw.reshape(-1, size)[:, ::-1].copy().reshape(-1)
    return memoryview(raw)  # type: ignore[arg-type]
