"""Parameters of a defense: checks, equality by value, canonical text, and parts for files."""

from __future__ import annotations

import hashlib
import json
import math
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np
import numpy.typing as npt

from dynanoise.core.defense import Defense, Noise
from dynanoise.core.errors import InputError
from dynanoise.core.numerics import Float64
from dynanoise.core.registry import DEFENSES

# --- checks --------------------------------------------------------------------------------------


def number(
    name: str, value: Any, *, above: float | None = None, least: float | None = None
) -> float:
    """Check a real number.

    Args:
        name: the parameter's name, for the message.
        value: to check; booleans are refused.
        above: a bound that the value must exceed; used if not None.
        least: the smallest allowed value, where ``above`` is None.

    Returns:
        The value as a finite float.

    Raises:
        InputError: if the value is not a finite number within the bound.

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


def count(name: str, value: Any, *, least: int = 1, most: int | None = None) -> int:
    """Check an integer.

    Args:
        name: the parameter's name, for the message.
        value: to check; NumPy integers pass, booleans and floats are refused.
        least: the smallest allowed value.
        most: the largest allowed value; None for no bound.

    Returns:
        The value as an int.

    Raises:
        InputError: if the value is not an integer within the bounds.

    >>> count("samples", np.int64(3))
    3
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


def flag(name: str, value: Any) -> bool:
    """Check a boolean.

    Raises:
        InputError: if the value is not True or False.

    >>> flag("keep_label", 1)
    Traceback (most recent call last):
    dynanoise.core.errors.InputError: keep_label is 1. Use True or False.
    """
    if not isinstance(value, bool | np.bool_):
        raise InputError(f"{name} is {value!r}.", "Use True or False.")
    return bool(value)


def noise_source(noise: Any) -> Noise:
    """Check a noise source and return it.

    Raises:
        InputError: if it has no method ``draw``, or is a class instead of an instance.

    >>> noise_source(0)
    Traceback (most recent call last):
    dynanoise.core.errors.InputError: noise is 0. Pass a noise source, such as dn.Fresh(seed).
    """
    if isinstance(noise, type) or not callable(getattr(noise, "draw", None)):
        raise InputError(f"noise is {noise!r}.", "Pass a noise source, such as dn.Fresh(seed).")
    source: Noise = noise
    return source


# --- values --------------------------------------------------------------------------------------


def canonical(defense: str, **parameters: Any) -> str:
    """Write a defense and its parameters as one text, the purpose of its noise; see `Noise.draw`.

    JSON with sorted keys. Floats are written by the 16 hexadecimal digits of their IEEE 754 bits,
    arrays by their shape and SHA-256, so that different values give different text on every
    machine. A parameter may be left out only while it does not change the output.

    Args:
        defense: its registered name.
        parameters: text, numbers, booleans and arrays.

    Returns:
        The text. -0.0 is written as 0.0, because both are the same setting.

    >>> canonical("dynanoise", temperature=10.0, samples=1)
    '{"defense":"dynanoise","samples":1,"temperature":"4024000000000000"}'
    """

    def encode(value: Any) -> Any:
        if isinstance(value, np.ndarray):
            digest = hashlib.sha256(np.ascontiguousarray(value, "<f8").tobytes()).hexdigest()
            return [*value.shape, digest]
        return struct.pack(">d", value + 0.0).hex() if isinstance(value, float) else value

    values = {name: encode(value) for name, value in parameters.items()}
    return json.dumps({"defense": defense, **values}, sort_keys=True, separators=(",", ":"))


def constant(array: npt.ArrayLike) -> Float64:
    """Copy an array to float64, in C order and read-only, as frozen dataclasses hold it.

    >>> constant([1, 2]).flags.writeable
    False
    """
    copy = np.array(array, dtype=np.float64, order="C")
    copy.flags.writeable = False
    return copy


class ByValue:
    """Equality and hash by every field, arrays by their bytes.

    For ``@dataclass(frozen=True, eq=False)``, whose generated equality fails on arrays.

    >>> @dataclass(frozen=True, eq=False)
    ... class Fitted(ByValue):
    ...     weights: Float64
    >>> first, same, other = (Fitted(constant([weight])) for weight in (1, 1, 2))
    >>> first == same, first == other, len({first, same, other})
    (True, False, 2)
    """

    def _key(self) -> tuple[Any, ...]:
        values = [getattr(self, entry.name) for entry in fields(self)]  # type: ignore[arg-type]
        return tuple(
            (value.shape, value.dtype.str, value.tobytes())
            if isinstance(value, np.ndarray)
            else value
            for value in values
        )

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return self._key() == other._key()

    def __hash__(self) -> int:
        return hash((type(self), self._key()))


# --- parts for files -----------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Parts:
    """A defense as text and arrays, which files can hold.

    Attributes:
        name: the registered defense's name.
        parameters: text, numbers and booleans by name. A nested defense is a mapping of the same
            kind with an entry "name".
        arrays: fitted arrays, float64, by parameter name; those of a nested defense are named
            "parameter.array".
    """

    name: str
    parameters: Mapping[str, Any]
    arrays: Mapping[str, Float64] = field(default_factory=dict)


def to_parts(defense: Defense) -> Parts:
    """Take a defense apart, with all its parameters, including defaults.

    Raises:
        UnknownNameError: if the defense is not registered.
        InputError: if a parameter is not text, a number, a boolean, an array or a defense.

    >>> from dynanoise.defenses.temperature import Temperature
    >>> to_parts(Temperature(4))
    Parts(name='temperature', parameters={'temperature': 4.0}, arrays={})
    """
    parameters: dict[str, Any] = {}
    arrays: dict[str, Float64] = {}
    name = DEFENSES.name_of(type(defense))
    for entry in fields(defense):  # type: ignore[arg-type]
        value = getattr(defense, entry.name)
        if isinstance(value, np.ndarray):
            arrays[entry.name] = value
        elif isinstance(value, str | bool | int | float):
            parameters[entry.name] = value
        elif isinstance(value, Defense):
            nested = to_parts(value)
            parameters[entry.name] = {"name": nested.name, **nested.parameters}
            arrays |= {f"{entry.name}.{key}": array for key, array in nested.arrays.items()}
        elif value is not None:
            raise InputError(
                f"The parameter {entry.name!r} of {name!r} is a {type(value).__name__}.",
                "Files hold numbers, text, booleans, arrays and other defenses.",
            )
    return Parts(name, parameters, arrays)


def from_parts(parts: Parts) -> Defense:
    """Build the defense from its parts; the inverse of `to_parts`.

    Raises:
        UnknownNameError: if no defense has that name.
        InputError: if the defense has no such parameter or array, or refuses a value.

    >>> from_parts(Parts("static", {"match": {"name": "dynanoise", "base_variance": 0.1}})).match
    ... # doctest: +ELLIPSIS
    DynaNoise(base_variance=0.1, lambda_scale=2.0, ...)
    """
    arguments: dict[str, Any] = {}
    nested_arrays: dict[str, dict[str, Float64]] = {}
    for name, array in parts.arrays.items():
        parameter, dot, nested_name = name.partition(".")
        if dot:
            nested_arrays.setdefault(parameter, {})[nested_name] = array
        else:
            arguments[parameter] = array
    for name, value in parts.parameters.items():
        if isinstance(value, Mapping):
            parameters = {key: entry for key, entry in value.items() if key != "name"}
            nested = Parts(str(value.get("name")), parameters, nested_arrays.pop(name, {}))
            arguments[name] = from_parts(nested)
        else:
            arguments[name] = value
    if nested_arrays:
        name = next(iter(nested_arrays))
        raise InputError(
            f"{parts.name!r} has no defense {name!r} inside, and arrays for one.", "Drop them."
        )
    defense: Defense = DEFENSES.make(parts.name, arguments)
    return defense
