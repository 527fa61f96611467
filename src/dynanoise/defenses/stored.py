"""Defenses taken apart into what files can hold, and put together again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np

from dynanoise.core.defense import Defense
from dynanoise.core.errors import InputError
from dynanoise.core.numerics import Float64
from dynanoise.core.registry import DEFENSES


@dataclass(frozen=True, eq=False)
class Parts:
    """A defense as text and arrays.

    Attributes:
        name: as it is registered.
        parameters: text, numbers and booleans; a defense inside another is such a mapping with a
            name of its own.
        arrays: what `fit` found, float64, by the parameter's name; inside another defense behind
            its name and a dot.
    """

    name: str
    parameters: Mapping[str, Any]
    arrays: Mapping[str, Float64] = field(default_factory=dict)


def taken_apart(defense: Defense) -> Parts:
    """Every parameter of a defense, also those that have their default.

    Raises:
        UnknownNameError: if it is not registered.
        InputError: if a parameter is nothing that a file can hold.

    >>> from dynanoise.defenses.temperature import Temperature
    >>> taken_apart(Temperature(4))
    Parts(name='temperature', parameters={'temperature': 4.0}, arrays={})
    """
    parameters: dict[str, Any] = {}
    arrays: dict[str, Float64] = {}
    name = DEFENSES.name_of(type(defense))
    for one in fields(defense):  # type: ignore[arg-type]
        value = getattr(defense, one.name)
        if isinstance(value, np.ndarray):
            arrays[one.name] = value
        elif isinstance(value, str | bool | int | float):
            parameters[one.name] = value
        elif isinstance(value, Defense):
            inner = taken_apart(value)
            parameters[one.name] = {"name": inner.name, **inner.parameters}
            arrays |= {f"{one.name}.{key}": array for key, array in inner.arrays.items()}
        elif value is not None:
            raise InputError(
                f"The parameter {one.name!r} of {name!r} is a {type(value).__name__}.",
                "Files hold numbers, text, booleans, arrays and other defenses.",
            )
    return Parts(name, parameters, arrays)


def put_together(parts: Parts) -> Defense:
    """The defense that these are the parts of; the inverse of `taken_apart`.

    Raises:
        UnknownNameError: if no defense is called so.
        InputError: if it has no such parameter or array, or one has not the value it should have.

    >>> put_together(Parts("static", {"match": {"name": "dynanoise", "base_variance": 0.1}})).match
    ... # doctest: +ELLIPSIS
    DynaNoise(base_variance=0.1, lambda_scale=2.0, ...)
    """
    given: dict[str, Any] = {}
    inside: dict[str, dict[str, Float64]] = {}
    for name, array in parts.arrays.items():
        outer, dot, inner = name.partition(".")
        if dot:
            inside.setdefault(outer, {})[inner] = array
        else:
            given[outer] = array
    for name, value in parts.parameters.items():
        if isinstance(value, Mapping):
            rest = {key: one for key, one in value.items() if key != "name"}
            within = Parts(str(value.get("name")), rest, inside.pop(name, {}))
            given[name] = put_together(within)
        else:
            given[name] = value
    if inside:
        raise InputError(f"Nothing inside {parts.name!r} takes {next(iter(inside))!r}.", "Drop it.")
    made: Defense = DEFENSES.make(parts.name, given)
    return made
