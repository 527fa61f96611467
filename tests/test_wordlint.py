"""The lint of words finds each rule broken in a bad sample, and nothing in a good one."""

from __future__ import annotations

import pkgutil
import re

import pytest

from docs import wordlint

BAD = '''"""Who attacks."""

CALLS = 3
"""How often it is called."""


class Query:
    """Of a model.

    Attributes:
        repeats: how many.
        answer: what is asked for.
    """

    known: int


def count(rows):
    """Whether rows are counted.

    Args:
        rows: of nobody.
    """
    # Somebody knows them by heart.
    for one in rows:
        found = [own for own in one]
    Option("Where rows are.", flag="--rows")
    raise ValueError(f"{rows} is no array.", Option(help="Which rows, or whoever is no member."))
'''

EXPECTED = [
    (1, "Who"),
    (4, "How"),
    (8, "Of"),
    (12, "what"),
    (12, "what is asked"),
    (15, "known"),
    (19, "Whether"),
    (22, "nobody"),
    (22, "of"),
    (24, "Somebody"),
    (24, "by heart"),
    (25, "one"),
    (26, "found"),
    (26, "own"),
    (27, "Where"),
    (28, "Which"),
    (28, "is no"),
    (28, "is no"),
    (28, "whoever"),
]

GOOD = '''"""Queries of a model, whatever its defense."""


def is_member(scores: Scores) -> bool:
    """Whether the score is above the threshold, which is no longer the paper's.

    Args:
        scores: float64 [N], of one record, known or not.

    Returns:
        True for a member.
    """
    # There is no second threshold.
    threshold = scores.mean()
    return threshold > 0
'''


def test_each_rule_is_found_in_a_bad_sample() -> None:
    findings = sorted(wordlint.check_python(BAD))
    assert [(finding.line, finding.word) for finding in findings] == EXPECTED
    assert all(finding.remedy for finding in findings)
    assert str(findings[0]) == "sample.py:1: 'Who': begin with a verb or a noun phrase"


def test_a_good_sample_has_no_finding() -> None:
    assert list(wordlint.check_python(GOOD)) == []


def test_pages_are_checked_outside_of_code() -> None:
    page = "It is no error.\n\n```sh\nnobody\n```\n\nThere is no error, and nobody reads it.\n"
    words = [(finding.line, finding.word) for finding in wordlint.check_page(page)]
    assert words == [(1, "is no"), (7, "nobody")]


@pytest.mark.behaviour
def test_the_words_of_the_project_are_plain(capsys: pytest.CaptureFixture[str]) -> None:
    assert wordlint.main() == 0, capsys.readouterr().out


def test_the_glossary_names_code_that_exists() -> None:
    text = (wordlint.ROOT / "docs" / "glossary.md").read_text()
    columns = [row.split("|")[3] for row in text.splitlines() if row.startswith("| **")]
    names = [name for column in columns for name in re.findall(r"`(\w+\.[\w.]+)`", column)]
    assert len(columns) > 20 and len(names) >= len(columns)
    for name in names:
        assert pkgutil.resolve_name(f"dynanoise.{name}")
