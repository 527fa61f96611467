"""Registries: names of components, and specifications NAME(PARAMETER=VALUE, ...) of them.

A component registers itself where it is written: its file holds a literal dictionary such as
``DEFENSES = {"dynanoise": DynaNoise}``. Listing the names reads those literals from the source and
imports nothing, so ``dynanoise --help`` never waits for torch; only `Registry.get` imports, and
only the one file. Other packages add components through entry points, of the group that each
registry names: ``dynanoise.defenses``, ``dynanoise.attacks``, ``dynanoise.datasets``, ...
"""

from __future__ import annotations

import ast
import difflib
import importlib
import importlib.metadata
import importlib.util
import inspect
import pkgutil
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from dynanoise.core.errors import InputError, UnknownNameError

Place = str | importlib.metadata.EntryPoint
"""A module of this package, or the entry point of another one."""


_FORM = re.compile(r"(?P<name>[\w.:/@-]+)(\((?P<parameters>.*)\))?", re.DOTALL)
_OPENING, _CLOSING, _QUOTES = "([{", ")]}", "'\""


class Registry:
    """The components of one kind.

    >>> "dynanoise" in DEFENSES.names()
    True
    >>> DEFENSES.get("dynanoise").__name__
    'DynaNoise'
    """

    def __init__(self, kind: str, package: str, variable: str, group: str) -> None:
        """Make a registry that looks for components when it is first used.

        Args:
            kind: the noun for messages, "defense".
            package: the folder or module to look in, "dynanoise.defenses".
            variable: the module-level dictionary that names the components, "DEFENSES".
            group: the entry points of other packages, "dynanoise.defenses".
        """
        self.kind = kind
        self.package = package
        self.variable = variable
        self.group = group

    def __repr__(self) -> str:
        return f"Registry({self.kind!r}, {self.package!r}, {self.variable!r}, {self.group!r})"

    @cached_property
    def _places(self) -> dict[str, Place]:
        places: dict[str, Place] = {}
        for module in self._modules():
            for name in _literal_keys(module, self.variable):
                self._add(places, name, module)
        for entry in importlib.metadata.entry_points(group=self.group):
            self._add(places, entry.name, entry)
        return dict(sorted(places.items()))

    def _modules(self) -> list[str]:
        spec = importlib.util.find_spec(self.package)
        folder = spec.submodule_search_locations if spec else None
        if folder is None:
            return [self.package]
        return [
            f"{self.package}.{module.name}"
            for module in pkgutil.iter_modules(folder)
            if not module.ispkg
        ]

    def _add(self, places: dict[str, Place], name: str, place: Place) -> None:
        if name in places:
            raise UnknownNameError(
                f"Two components call themselves {self.kind} {name!r}: {places[name]} and {place}.",
                "Rename or uninstall one of them.",
            )
        places[name] = place

    def names(self) -> tuple[str, ...]:
        """Names of all registered components, sorted; no component is imported."""
        return tuple(self._places)

    def get(self, name: str) -> Any:
        """Import the component of a name.

        Raises:
            UnknownNameError: if there is none, with the closest names; or if another package's
                cannot be loaded.
        """
        place = self._places.get(name)
        if place is None:
            raise UnknownNameError(
                f"There is no {self.kind} {name!r}.",
                f"{meant(name, self.names())}Known: {', '.join(self.names())}.",
            )
        if isinstance(place, importlib.metadata.EntryPoint):
            try:
                return place.load()
            except (ImportError, AttributeError) as error:
                owner = place.dist.name if place.dist else "an unknown package"
                raise UnknownNameError(
                    f"The {self.kind} {name!r} of {owner} cannot be loaded from {place.value} "
                    f"({error}).",
                    f"Repair or uninstall {owner}.",
                ) from error
        return getattr(importlib.import_module(place), self.variable)[name]

    def parameters(self, name: str) -> tuple[str, ...]:
        """Names of the parameters of a component: fields of a dataclass, arguments of a function.

        >>> DEFENSES.parameters("temperature"), DEFENSES.parameters("none")
        (('temperature',), ())
        """
        return tuple(inspect.signature(self.get(name)).parameters)

    def make(self, name: str, parameters: Mapping[str, Any], further: Sequence[str] = ()) -> Any:
        """Call the component of a name with parameters.

        Args:
            name: the registered name.
            parameters: its arguments by name.
            further: names that the caller takes itself, for the message of an unknown one.

        Raises:
            UnknownNameError: if there is none.
            InputError: if it has no such parameter, or does not take a value.

        >>> DEFENSES.make("temperature", {"temperature": 4})
        Temperature(temperature=4.0)
        """
        accepted = self.parameters(name)
        for parameter in parameters:
            if parameter not in accepted:
                names = (*accepted, *further)
                raise InputError(
                    f"The {self.kind} {name!r} has no parameter {parameter!r}.",
                    f"{meant(parameter, names)}Known: {', '.join(names) or 'none'}.",
                )
        return self.get(name)(**parameters)

    def build(self, text: str) -> Any:
        """Make a component from its specification, NAME or NAME(PARAMETER=VALUE, ...).

        Raises:
            UnknownNameError: if there is none of that name.
            InputError: if the text has another form, or as of `make`.

        >>> DEFENSES.build("temperature(temperature=4)")
        Temperature(temperature=4.0)
        """
        return self.make(*parse(text, self.kind))

    def name_of(self, component: Any) -> str:
        """Name of a component; the inverse of `get`.

        Raises:
            UnknownNameError: if it is not registered.

        >>> DEFENSES.name_of(DEFENSES.get("temperature"))
        'temperature'
        """
        home = getattr(component, "__module__", None)
        for name, place in self._places.items():
            if isinstance(place, importlib.metadata.EntryPoint) or place == home:
                with suppress(UnknownNameError):  # another package's that cannot be loaded
                    if self.get(name) is component:
                        return name
        raise UnknownNameError(
            f"{getattr(component, '__name__', component)} is not registered as a {self.kind}.",
            f"Name it in a dictionary {self.variable} or an entry point of {self.group}.",
        )


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
        raise InputError(
            f"The {kind} {text!r} cannot be read.", "Write a name, or NAME(PARAMETER=VALUE, ...)."
        )
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


def meant(text: str, known: Sequence[str]) -> str:
    """A question after the closest known name, or nothing.

    >>> meant("lamda_scale", ["temperature", "lambda_scale"])
    "Did you mean 'lambda_scale'? "
    """
    close = difflib.get_close_matches(str(text), known, n=1)
    return f"Did you mean {close[0]!r}? " if close else ""


def _literal_keys(module: str, variable: str) -> list[str]:
    """Keys of the module-level dictionary ``variable``, read from the source."""
    spec = importlib.util.find_spec(module)
    # Loaders of other tools, such as those that rewrite tests, need not give the source.
    read = getattr(spec.loader, "get_source", None) if spec else None
    source = read(module) if read else Path(spec.origin).read_text() if spec and spec.origin else ""
    for node in ast.parse(source or "").body:
        targets = (
            node.targets
            if isinstance(node, ast.Assign)
            else [node.target]
            if isinstance(node, ast.AnnAssign)
            else []
        )
        if not any(isinstance(target, ast.Name) and target.id == variable for target in targets):
            continue
        value = getattr(node, "value", None)
        keys = value.keys if isinstance(value, ast.Dict) else [None]
        if all(isinstance(key, ast.Constant) and isinstance(key.value, str) for key in keys):
            return [key.value for key in keys]  # type: ignore[union-attr]
        raise TypeError(f"{module}.{variable} must be a literal dictionary with string keys")
    return []


# The groups are promises to other packages: they stay as they are wherever modules move.
DEFENSES = Registry("defense", "dynanoise.defenses", "DEFENSES", "dynanoise.defenses")
SENSITIVITIES = Registry(
    "sensitivity", "dynanoise.defenses.sensitivity", "SENSITIVITIES", "dynanoise.sensitivities"
)
NOISES = Registry("noise source", "dynanoise.noise", "NOISES", "dynanoise.noise")
STATISTICS = Registry(
    "statistic", "dynanoise.attacks.statistics", "STATISTICS", "dynanoise.statistics"
)
ATTACKS = Registry("attack", "dynanoise.attacks", "ATTACKS", "dynanoise.attacks")
DATASETS = Registry("data set", "dynanoise.data.datasets", "DATASETS", "dynanoise.datasets")
MODELS = Registry("model", "dynanoise.training.models", "MODELS", "dynanoise.models")
RECIPES = Registry("recipe", "dynanoise.training.recipes", "RECIPES", "dynanoise.recipes")
PRESETS = Registry("preset", "dynanoise.benchmark.presets", "PRESETS", "dynanoise.presets")
