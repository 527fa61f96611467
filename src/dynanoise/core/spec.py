"""Specifications of components: NAME or NAME(PARAMETER=VALUE, ...), on every command."""

from __future__ import annotations

import ast
import re
from typing import Any, NamedTuple

from dynanoise.core.errors import InputError

_FORM = re.compile(r"(?P<name>[\w.:/@-]+)(\((?P<parameters>.*)\))?", re.DOTALL)
_OPENING, _CLOSING, _QUOTES = "([{", ")]}", "'\""


class Spec(NamedTuple):
    """The name of a component and its parameters, read from text.

    Attributes:
        name: the registered name.
        parameters: values by name: numbers, True, False, None, tuples, lists, words, or the
            specification of another component as text.
    """

    name: str
    parameters: dict[str, Any]


def parse(text: str, kind: str = "component") -> Spec:
    """Read a specification.

    Args:
        text: such as "loss" or "lira(variance=example, centre=median)".
        kind: the noun for messages, "attack".

    Returns:
        The name and the parameters; a value that is not a Python literal stays text.

    Raises:
        InputError: if the text has another form.

    >>> parse("rmia(offline=True, gamma=1.5)")
    Spec(name='rmia', parameters={'offline': True, 'gamma': 1.5})
    >>> parse("scale_aligned(attack=lira(variance=example, centre=median))").parameters
    {'attack': 'lira(variance=example, centre=median)'}
    """
    match = _FORM.fullmatch(text.strip())
    pairs = [pair.partition("=") for pair in split((match and match["parameters"]) or "")]
    keys = [key.strip() for key, _, _ in pairs]
    readable = all(map(str.isidentifier, keys)) and all(equals for _, equals, _ in pairs)
    if match is None or not readable:
        raise InputError(f"{text!r} is no {kind}.", "Write a name, or NAME(PARAMETER=VALUE, ...).")
    for position, key in enumerate(keys):
        if key in keys[:position]:
            raise InputError(f"{text!r} has {key} twice.", "Give each parameter once.")
    values = (_value(value.strip()) for _, _, value in pairs)
    return Spec(match["name"], dict(zip(keys, values, strict=True)))


def split(text: str, separator: str = ",") -> list[str]:
    """Split a text at the separators outside brackets and quotes; empty parts are left out.

    >>> split("a=(1, 2), b='x, y', c=d(e=1, f=2),")
    ['a=(1, 2)', " b='x, y'", ' c=d(e=1, f=2)']
    """
    parts, depth, quote = [""], 0, ""
    for letter in text:
        if letter in _QUOTES and quote in ("", letter):
            quote = "" if quote else letter
        elif not quote:
            depth += (letter in _OPENING) - (letter in _CLOSING)
        if letter == separator and depth == 0 and not quote:
            parts.append("")
        else:
            parts[-1] += letter
    return [part for part in parts if part.strip()]


def _value(text: str) -> Any:
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text
