"""Checks of the numbers a defense is configured with; each error names the value."""

from __future__ import annotations

import hashlib
import json
import math
import struct
from typing import Any

import numpy as np

from dynanoise.core.defense import Noise
from dynanoise.core.errors import InputError


def number(
    name: str, value: Any, *, above: float | None = None, least: float | None = None
) -> float:
    """A finite float greater than ``above``, or at least ``least``.

    >>> number("temperature", 4, above=0)
    4.0
    >>> number("temperature", 0.0, above=0)
    Traceback (most recent call last):
    dynanoise.core.errors.InputError: temperature is 0.0. Use a finite number above 0.
    """
    bound = f"above {above}" if above is not None else f"of at least {least}"
    try:
        result = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError, OverflowError):
        result = math.nan
    good = math.isfinite(result)
    good = good and (above is None or result > above) and (least is None or result >= least)
    if not good:
        raise InputError(f"{name} is {value!r}.", f"Use a finite number {bound}.")
    return result


def noise_source(noise: Any) -> Noise:
    """The same noise source, checked.

    >>> noise_source(0)
    Traceback (most recent call last):
    dynanoise.core.errors.InputError: noise is 0. Pass a noise source, such as dn.Fresh(seed).
    """
    if isinstance(noise, type) or not callable(getattr(noise, "draw", None)):
        raise InputError(f"noise is {noise!r}.", "Pass a noise source, such as dn.Fresh(seed).")
    checked: Noise = noise
    return checked


def canonical(defense: str, **parameters: Any) -> str:
    """A defense and its parameters as one text, the purpose of its noise; see `Noise.draw`.

    JSON with sorted keys. Floats are written by the 16 digits of their IEEE 754 bits and arrays by
    their shape and SHA-256, so that other values are another text on every machine. What is left
    out must not change the answer.

    Args:
        defense: its registered name.
        parameters: text, numbers, booleans and arrays.

    >>> canonical("dynanoise", temperature=10.0, samples=1)
    '{"defense":"dynanoise","samples":1,"temperature":"4024000000000000"}'
    """

    def written(value: Any) -> Any:
        if isinstance(value, np.ndarray):
            digest = hashlib.sha256(np.ascontiguousarray(value, "<f8").tobytes()).hexdigest()
            return [*value.shape, digest]
        # -0.0 is the same setting as 0.0.
        return struct.pack(">d", value + 0.0).hex() if isinstance(value, float) else value

    values = {name: written(value) for name, value in parameters.items()}
    return json.dumps({"defense": defense, **values}, sort_keys=True, separators=(",", ":"))


def flag(name: str, value: Any) -> bool:
    """True or False.

    >>> flag("keep_label", 1)
    Traceback (most recent call last):
    dynanoise.core.errors.InputError: keep_label is 1. Use True or False.
    """
    if not isinstance(value, bool | np.bool_):
        raise InputError(f"{name} is {value!r}.", "Use True or False.")
    return bool(value)


def count(name: str, value: Any, *, least: int = 1, most: int | None = None) -> int:
    """An integer of at least ``least`` and, where it is given, at most ``most``.

    >>> count("samples", 0)
    Traceback (most recent call last):
    dynanoise.core.errors.InputError: samples is 0. Use an integer of at least 1.
    """
    if isinstance(value, bool) or not hasattr(value, "__index__") or value.__index__() < least:
        raise InputError(f"{name} is {value!r}.", f"Use an integer of at least {least}.")
    result = int(value.__index__())
    if most is not None and result > most:
        raise InputError(f"{name} is {result}.", f"Use an integer from {least} to {most}.")
    return result
