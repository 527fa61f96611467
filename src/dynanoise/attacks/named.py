"""Attacks by name, with parameters where they are not the usual ones."""

from __future__ import annotations

import ast
import re
from typing import Any

from dynanoise.attacks.base import Attack
from dynanoise.core.errors import InputError
from dynanoise.core.registry import ATTACKS, Registry

_FORM = re.compile(r"(?P<name>\w+)(\((?P<parameters>.*)\))?")


def attack_of(text: str) -> Attack:
    """The attack that a name, or a name with parameters, means.

    Args:
        text: such as "loss" or "lira(variance=example, centre=median)". Values are numbers, True,
            False, None, words, or the text of another attack.

    Raises:
        UnknownNameError: if no attack is called so.
        InputError: if the text cannot be read, or the attack has no such parameter.

    >>> attack_of("lira_by_class(shadows=1)")
    LiraByClass(shadows=1)
    """
    made: Attack = component_of(ATTACKS, text)
    return made


def parts(text: str, kind: str = "attack") -> tuple[str, dict[str, Any]]:
    """Name and parameters.

    >>> parts("rmia(offline=True, gamma=1.5)")
    ('rmia', {'offline': True, 'gamma': 1.5})
    >>> parts("scale_aligned(attack=lira(variance=example, centre=median))")
    ('scale_aligned', {'attack': 'lira(variance=example, centre=median)'})
    """
    match = _FORM.fullmatch(text.strip())
    found: dict[str, Any] = {}
    for pair in filter(str.strip, _split((match["parameters"] if match else None) or "")):
        key, equals, value = pair.partition("=")
        if not equals or not key.strip().isidentifier():
            match = None
            break
        found[key.strip()] = _value(value.strip())
    if match is None:
        raise InputError(f"{text!r} is no {kind}.", "Write a name, or NAME(PARAMETER=VALUE, ...).")
    return match["name"], found


def _split(text: str) -> list[str]:
    """At the commas outside brackets."""
    depth, found = 0, [""]
    for letter in text:
        depth += (letter == "(") - (letter == ")")
        if letter == "," and depth == 0:
            found.append("")
        else:
            found[-1] += letter
    return found


def _value(text: str) -> Any:
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


def title_of(text: str) -> str:
    """The heading of a column: the attack's title, and its parameters as they were written.

    >>> title_of("lira_by_class(shadows=1)"), title_of("theirs")
    ('LiRA by class (shadows=1)', 'theirs')
    >>> title_of("cell_mates(attack=lira)")
    'LiRA, cell-mates'
    """
    name, _, rest = text.partition("(")
    if name not in ATTACKS.names():
        return text  # of another package that is not installed here
    title = str(ATTACKS.get(name).title)
    if rest.startswith("attack=") and "," not in rest:
        return f"{title_of(rest[len('attack=') : -1])}, {title[0].lower()}{title[1:]}"
    return f"{title} ({rest}" if rest else title


def component_of(registry: Registry, text: str) -> Any:
    """What a name, or a name with parameters, means among the components of one kind.

    Args:
        registry: of that kind, such as `registry.DEFENSES`.
        text: as for `attack_of`.

    Raises:
        UnknownNameError: if nothing is called so.
        InputError: if the text cannot be read, or there is no such parameter, or of such a value.

    >>> from dynanoise.core.registry import DEFENSES
    >>> component_of(DEFENSES, "temperature(temperature=4)")
    Temperature(temperature=4.0)
    """
    return registry.make(*parts(text, registry.kind))
