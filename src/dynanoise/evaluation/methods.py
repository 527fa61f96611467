"""Methods, the rows of a table, from the text that names them on a command."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from dynanoise.config.configuration import Configuration
from dynanoise.core.defense import Defense, Method
from dynanoise.core.errors import InputError, UnknownNameError
from dynanoise.core.registry import DEFENSES, RECIPES, meant, parse, split
from dynanoise.defenses import response
from dynanoise.defenses.temperature import undefended
from dynanoise.noise.cells import checked_width

_FILES = (".yaml", ".yml")
_WIDTH = "cell_width"


def is_file(text: str) -> bool:
    """True if a text names a defense.yaml, by its ending.

    Args:
        text: text on a command line.

    Returns:
        True for a name that ends in .yaml or .yml.
    """
    return text.lower().endswith(_FILES)


def defended(defense: str | Defense | Configuration) -> Method:
    """Make the method of an answer-time defense.

    Args:
        defense: a specification such as "temperature(temperature=4)", with ``cell_width=WIDTH``
            among its parameters for keyed noise; the path of a defense.yaml, a `Configuration`, or
            a defense. Of a configuration the defense and the width of keyed noise's cells count,
            not the secret.

    Returns:
        A method with the defense's registered name, and the recipe "plain".

    Raises:
        UnknownNameError: for an unknown defense.
        InputError: if the text cannot be read, or names "none".

    >>> defended("temperature(temperature=4)").defense
    Temperature(temperature=4.0)
    >>> defended("dynanoise(keep_label=True, cell_width=4)").cell_width  # in logits
    4.0
    """
    if isinstance(defense, str) and is_file(defense):
        defense = Configuration.read(defense)
    if isinstance(defense, Configuration):
        name = DEFENSES.name_of(type(defense.defense))
        return Method(name, defense.defense, cell_width=defense.cell_width)
    if not isinstance(defense, str):
        return Method(_name_of(response.check_defense(defense)), defense)
    name = parse(defense, "defense").name
    if name == "none":
        raise InputError(
            "The defense 'none' changes nothing.",
            f"Known: {', '.join(other for other in DEFENSES.names() if other != 'none')}.",
        )
    built, width = _build(defense)
    return Method(name, built, cell_width=width)


def _name_of(defense: Defense) -> str:
    """Registered name of a defense; of one that is not registered that of its class."""
    try:
        return DEFENSES.name_of(type(defense))
    except UnknownNameError:
        return type(defense).__name__.lower()


def _build(text: str) -> tuple[Defense, float | None]:
    """A defense and the cell width of its keyed noise, from the specification of both."""
    name, parameters = parse(text, "defense")
    if _WIDTH in DEFENSES.parameters(name):  # of another package: its own
        return DEFENSES.make(name, parameters), None
    if "noise" in parameters and "noise" not in DEFENSES.parameters(name):
        raise InputError(
            f"{text!r} names its noise.",
            "For keyed noise write cell_width=WIDTH instead, 2 to 3 times the median gap between "
            "the two largest logits; noise without it is fresh.",
        )
    width = parameters.pop(_WIDTH, None)
    draws = getattr(DEFENSES.get(name), "repeatable", None) is not True
    if width is not None and not draws:
        raise InputError(f"{name} draws no noise, keyed or fresh.", "Leave cell_width out.")
    defense: Defense = DEFENSES.make(name, parameters, (_WIDTH,) if draws else ())
    return defense, None if width is None else checked_width(width)


def method_of(text: str, known: Sequence[str] = ()) -> Method:
    """Make a method from the text that names it.

    Args:
        text: the specification of a defense, "dynanoise(base_variance=0.5)", with ``cell_width``
            for keyed noise; the path of a defense.yaml; the specification of a training recipe,
            "relaxloss(alpha=0.3)", for models without a defense; or both,
            "relaxloss(alpha=0.3)+temperature". A name that is both a defense's and a recipe's is
            the defense's.
        known: names of the preset's methods, for the message of the error.

    Returns:
        The method, called by the text; by the file's name where it is a path.

    Raises:
        UnknownNameError: for an unknown defense or recipe, with the closest name.
        InputError: if the text cannot be read, or a parameter does not fit.

    >>> method_of("relaxloss+temperature(temperature=4)").recipe
    'relaxloss'
    """
    if is_file(text):
        method = defended(text)
        return Method(Path(text).name, method.defense, cell_width=method.cell_width)
    text = text.strip()
    parts = split(text, "+") or [""]
    names = [parse(part, "method").name for part in parts]
    if len(parts) > 2:
        raise InputError(f"{text!r} has {len(parts)} parts.", "Write DEFENSE, or RECIPE+DEFENSE.")
    defenses, recipes = DEFENSES.names(), RECIPES.names()
    if len(parts) == 2:
        expected = [("recipe", recipes), ("defense", defenses)]
    else:
        expected = [("method", tuple(dict.fromkeys((*known, *defenses, *recipes))))]
    for name, (kind, there) in zip(names, expected, strict=True):
        if name not in there:
            raise UnknownNameError(
                f"There is no {kind} {name!r}.", f"{meant(name, there)}Known: {', '.join(there)}."
            )
        if name not in (*defenses, *recipes):
            raise InputError(f"The preset's method {name!r} has no parameters.", "Name it alone.")
    if names[-1] not in defenses:
        return Method(text, undefended(), recipe=text)
    defense, width = _build(parts[-1])
    return Method(text, defense, parts[0].strip() if parts[1:] else "plain", width)
