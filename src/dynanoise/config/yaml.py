"""YAML for settings: sections of plain values that know their lines, and nothing clever.

Anchors, tags, lists and keys given twice are refused: what a file says must be what it looks like.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from dynanoise.core.errors import InputError
from dynanoise.core.registry import meant


@dataclass(frozen=True)
class Scalar:
    """A plain value.

    Attributes:
        value: text, a number, a boolean or None.
        text: as it was written, so that a model called 1.10 does not become 1.1.
        line: of the file, from 1.
    """

    value: Any
    text: str
    line: int


@dataclass(frozen=True)
class Section:
    """A mapping of names to values and further sections.

    Attributes:
        file: what to call the file in messages.
        prefix: of its names in messages, "noise." or nothing.
        line: where it begins.
        entries: what it holds.
    """

    file: str
    prefix: str
    line: int
    entries: Mapping[str, Scalar | Section]

    def error(self, name: str | None, problem: str, remedy: str) -> InputError:
        """An error that says where; whatever looks like a secret is left out."""
        entry = self.entries.get(name) if name is not None else None
        where = f"{self.file}, line {entry.line if entry else self.line}"
        return InputError(f"{where}: {without_secrets(problem)}", without_secrets(remedy))

    def only(self, known: Sequence[str]) -> None:
        """Refuses names that are not known, with the closest one that is."""
        for name in self.entries:
            if name not in known:
                raise self.error(
                    name,
                    f"There is no setting '{self.prefix}{name}'.",
                    f"{meant(name, known)}Known: {', '.join(known)}.",
                )

    def scalar(self, name: str) -> Scalar | None:
        """The plain value called so; None if there is none, or it is null.

        Raises:
            InputError: if it is a section.
        """
        entry = self.entries.get(name)
        if isinstance(entry, Section):
            raise self.error(
                name,
                f"{self.prefix}{name} is a section of its own.",
                f"Write one value, {name}: VALUE.",
            )
        return None if entry is None or entry.value is None else entry

    def text(self, name: str) -> str | None:
        """A value as it was written."""
        found = self.scalar(name)
        return None if found is None else found.text

    def required(self, name: str, example: str) -> str:
        """The same where it must be there."""
        found = self.text(name)
        if found is None:
            raise self._missing(name, example)
        return found

    def section(self, name: str, example: str) -> Section:
        """The section called so.

        Raises:
            InputError: if it is missing, or a plain value.
        """
        entry = self.entries.get(name)
        if isinstance(entry, Section):
            return entry
        if self.scalar(name) is None:
            raise self._missing(name, example)
        raise self.error(
            name, f"{self.prefix}{name} is a single value.", f"Write a section: {example}."
        )

    def _missing(self, name: str, example: str) -> InputError:
        return self.error(name, f"{self.prefix}{name} is missing.", f"Write {example}.")


def without_secrets(text: str) -> str:
    """The text without runs of hexadecimal digits that may be one.

    >>> without_secrets("key is " + "ab" * 32)
    'key is (not shown)'
    """
    return re.sub("[0-9a-fA-F]{32,}", "(not shown)", text)


def parsed(text: str, file: str) -> Section:
    """The top section of a file.

    Args:
        text: of the file.
        file: what to call it in messages.

    Raises:
        InputError: if it is not YAML, holds anything but plain values and sections, or gives a
            name twice.

    >>> top = parsed("noise: {name: fresh}", "defense.yaml")
    >>> top.section("noise", "").text("name")
    'fresh'
    >>> str(top.error("noise", "No.", "Yes."))
    'defense.yaml, line 1: No. Yes.'
    """
    start = Section(file, "", 1, {})
    try:
        for event in yaml.parse(text, Loader=yaml.SafeLoader):
            _refuse_cleverness(event, file)
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        at = Section(file, "", line, {})
        problem = error.problem or "something cannot be read"
        raise at.error(None, f"This is not YAML: {problem}.", "Correct it.") from None
    except (yaml.YAMLError, RecursionError):
        # The text of some errors repeats what stands there.
        raise start.error(
            None, "The file holds characters or nesting that YAML does not allow.", "Correct it."
        ) from None
    if not isinstance(node, yaml.MappingNode):
        raise start.error(None, "The file holds no settings.", "Write NAME: VALUE, a line each.")
    return _section(node, file, "")


def _refuse_cleverness(event: yaml.Event, file: str) -> None:
    clever = None
    if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
        clever = "an anchor or alias (& or *)"
    elif getattr(event, "tag", None):
        clever = "a tag (!)"
    elif isinstance(event, yaml.SequenceStartEvent):
        clever = "a list"
    if clever:
        at = Section(file, "", event.start_mark.line + 1, {})
        raise at.error(
            None, f"There is {clever}.", "Write plain values; arrays belong into the fitted file."
        )


_PLAIN = yaml.constructor.SafeConstructor


def _section(node: yaml.MappingNode, file: str, prefix: str) -> Section:
    entries: dict[str, Scalar | Section] = {}
    for key, value in node.value:
        at = Section(file, prefix, key.start_mark.line + 1, {})
        if not isinstance(key, yaml.ScalarNode) or key.tag == "tag:yaml.org,2002:merge":
            raise at.error(None, "A name is not plain text.", "Write NAME: VALUE.")
        name = str(key.value)
        if name in entries:
            first = entries[name].line
            raise at.error(
                None,
                f"{prefix}{name} is given twice, first in line {first}.",
                "Leave one of them out.",
            )
        entries[name] = _entry(value, at, name)
    return Section(file, prefix, node.start_mark.line + 1, entries)


def _entry(node: yaml.Node, at: Section, name: str) -> Scalar | Section:
    if isinstance(node, yaml.MappingNode):
        return _section(node, at.file, f"{at.prefix}{name}.")
    try:
        value = _PLAIN().construct_object(node)
    except (yaml.YAMLError, ValueError) as error:  # a date that is none
        raise at.error(
            None, f"{at.prefix}{name} cannot be read ({error}).", "Put it in quotation marks."
        ) from None
    if isinstance(value, int | float) and re.match(r"[-+]?0[0-9a-z_]|.*[_:]", str(node.value)):
        value = str(node.value)  # YAML would read 010 as 8, 1:30 as 90
    return Scalar(value, str(node.value), at.line)
