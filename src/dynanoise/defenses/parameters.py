"""Checks of the numbers a defense is configured with; each error names the value."""

from __future__ import annotations

import math
from typing import Any

from dynanoise.errors import InputError
from dynanoise.types import Noise


def number(
    name: str, value: Any, *, above: float | None = None, least: float | None = None
) -> float:
    """A finite float greater than ``above``, or at least ``least``.

    >>> number("temperature", 4, above=0)
    4.0
    >>> number("temperature", 0.0, above=0)
    Traceback (most recent call last):
    dynanoise.errors.InputError: temperature is 0.0. Use a finite number above 0.
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
    dynanoise.errors.InputError: noise is 0. Pass a noise source, such as dn.Fresh(seed).
    """
    if isinstance(noise, type) or not callable(getattr(noise, "draw", None)):
        raise InputError(f"noise is {noise!r}.", "Pass a noise source, such as dn.Fresh(seed).")
    checked: Noise = noise
    return checked


def count(name: str, value: Any, *, least: int = 1) -> int:
    """An integer of at least ``least``.

    >>> count("samples", 0)
    Traceback (most recent call last):
    dynanoise.errors.InputError: samples is 0. Use an integer of at least 1.
    """
    if isinstance(value, bool) or not hasattr(value, "__index__") or value.__index__() < least:
        raise InputError(f"{name} is {value!r}.", f"Use an integer of at least {least}.")
    return int(value.__index__())
