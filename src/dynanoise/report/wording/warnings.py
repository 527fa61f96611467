"""Warnings among sentences: they make every number doubtful, and stand above the verdict."""

from __future__ import annotations

from collections.abc import Iterable

WARNING = "WARNING: "
"""Beginning of a warning."""


def split_warnings(sentences: Iterable[str]) -> tuple[list[str], list[str]]:
    """Separate warnings from other sentences.

    Args:
        sentences: those of a report.

    Returns:
        Warnings, each once, and the other sentences, in their order.

    >>> split_warnings(["WARNING: inverted.", "10 records."])
    (['WARNING: inverted.'], ['10 records.'])
    """
    parts: tuple[list[str], list[str]] = ([], [])
    for sentence in dict.fromkeys(sentences):
        parts[not sentence.startswith(WARNING)].append(sentence)
    return parts
