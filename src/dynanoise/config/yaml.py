"""Strict YAML for settings: sections of plain values, each with its line.

Anchors, tags, lists and names that occur twice are refused, so that a file means what it looks
like.
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
        text: the value as written, so that a model called 1.10 does not become 1.1.
        line: in the file, from 1.
    """

    value: Any
    text: str
    line: int


@dataclass(frozen=True)
class Section:
    """A mapping of names to values and further sections.

    Attributes:
        file: name of the file in messages.
        prefix: prefix of its names in messages, "noise." or nothing.
        line: first line, from 1.
        entries: values and sections by name.
    """

    file: str
    prefix: str
    line: int
    entries: Mapping[str, Scalar | Section]

    def error(self, name: str | None, problem: str, remedy: str) -> InputError:
        """An error with file and line, without anything that looks like a secret."""
        entry = self.entries.get(name) if name is not None else None
        return _error(self.file, entry.line if entry else self.line, problem, remedy)

    def allow(self, names: Sequence[str]) -> None:
        """Refuse every other name.

        Raises:
            InputError: with the closest name that is allowed.
        """
        for name in self.entries:
            if name not in names:
                raise self.error(
                    name,
                    f"There is no setting '{self.prefix}{name}'.",
                    f"{meant(name, names)}Known: {', '.join(names)}.",
                )

    def scalar(self, name: str) -> Scalar | None:
        """The plain value of a name; None if it is missing or null.

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
        """A value as it is written; None if it is missing or null."""
        scalar = self.scalar(name)
        return None if scalar is None else scalar.text

    def required(self, name: str, example: str) -> str:
        """A value as it is written.

        Raises:
            InputError: if it is missing or null; ``example`` shows how to write it.
        """
        text = self.text(name)
        if text is None:
            raise self.error(name, f"{self.prefix}{name} is missing.", f"Write {example}.")
        return text

    def section(self, name: str, example: str) -> Section:
        """The section of a name.

        Raises:
            InputError: if it is missing, or a plain value; ``example`` shows how to write it.
        """
        entry = self.entries.get(name)
        if not isinstance(entry, Section):
            self.required(name, example)
            raise self.error(
                name, f"{self.prefix}{name} is a single value.", f"Write a section: {example}."
            )
        return entry

    def plain(self) -> dict[str, Any]:
        """Values and sections as dictionaries."""
        return {
            name: entry.value if isinstance(entry, Scalar) else entry.plain()
            for name, entry in self.entries.items()
        }


def read_section(text: str, file: str) -> Section:
    """Read the top section of a YAML text.

    Args:
        text: one YAML document.
        file: its name in messages.

    Returns:
        The section.

    Raises:
        InputError: if it is not YAML, holds anything but plain values and sections, or has a name
            twice; with the line.

    >>> top = read_section("noise: {name: fresh}", "defense.yaml")
    >>> top.section("noise", "").text("name")
    'fresh'
    >>> str(top.error("noise", "No.", "Yes."))
    'defense.yaml, line 1: No. Yes.'
    """
    try:
        node = yaml.compose(text, Loader=_PlainLoader)
    except _SpecialSyntax as error:
        raise _error(
            file,
            error.problem_mark.line + 1,
            f"There is {error.problem}.",
            "Write plain values; arrays belong into the fitted file.",
        ) from None
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        problem = error.problem or "something cannot be read"
        raise _error(file, line, f"This is not YAML: {problem}.", "Correct it.") from None
    except (yaml.YAMLError, RecursionError):
        # The text of some errors repeats the file's.
        problem = "The file holds characters or nesting that YAML does not allow."
        raise _error(file, 1, problem, "Correct it.") from None
    if not isinstance(node, yaml.MappingNode):
        problem = "The file holds no settings."
        raise _error(file, 1, problem, "Write NAME: VALUE, a line each.")
    return _section(node, file, "")


class _SpecialSyntax(yaml.MarkedYAMLError):  # type: ignore[misc]
    """Syntax that settings do not need."""


class _PlainLoader(yaml.SafeLoader):  # type: ignore[misc]
    """A loader that knows plain values and mappings only."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        event = self.peek_event()
        special = None
        if isinstance(event, yaml.AliasEvent) or event.anchor:
            special = "an anchor or alias (& or *)"
        elif event.tag:
            special = "a tag (!)"
        elif isinstance(event, yaml.SequenceStartEvent):
            special = "a list"
        if special:
            raise _SpecialSyntax(problem=special, problem_mark=event.start_mark)
        return super().compose_node(parent, index)


def _section(node: yaml.MappingNode, file: str, prefix: str) -> Section:
    entries: dict[str, Scalar | Section] = {}
    for key, value in node.value:
        line = key.start_mark.line + 1
        if not isinstance(key, yaml.ScalarNode) or key.tag == "tag:yaml.org,2002:merge":
            raise _error(file, line, "A name is not plain text.", "Write NAME: VALUE.")
        name = str(key.value)
        if name in entries:
            problem = f"{prefix}{name} is given twice, first in line {entries[name].line}."
            raise _error(file, line, problem, "Leave one of them out.")
        if isinstance(value, yaml.MappingNode):
            entries[name] = _section(value, file, f"{prefix}{name}.")
            continue
        try:
            entries[name] = Scalar(_plain_value(value), str(value.value), line)
        except (yaml.YAMLError, ValueError) as error:  # such as a date that does not exist
            problem = f"{prefix}{name} cannot be read ({error})."
            raise _error(file, line, problem, "Put it in quotation marks.") from None
    return Section(file, prefix, node.start_mark.line + 1, entries)


def _plain_value(node: yaml.ScalarNode) -> Any:
    value = yaml.constructor.SafeConstructor().construct_object(node)
    if isinstance(value, int | float) and re.match(r"[-+]?0[0-9a-z_]|.*[_:]", str(node.value)):
        return str(node.value)  # YAML would read 010 as 8, 1:30 as 90
    return value


def _error(file: str, line: int, problem: str, remedy: str) -> InputError:
    return InputError(f"{file}, line {line}: {without_secrets(problem)}", without_secrets(remedy))


def without_secrets(text: str) -> str:
    """Hide runs of hexadecimal digits that may be a secret.

    >>> without_secrets("key is " + "ab" * 32)
    'key is (not shown)'
    """
    return re.sub("[0-9a-fA-F]{32,}", "(not shown)", text)
