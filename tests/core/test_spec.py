"""Specifications of components, NAME(PARAMETER=VALUE, ...)."""

from __future__ import annotations

import pytest

from dynanoise.core.errors import InputError
from dynanoise.core.registry import DEFENSES, parse


def test_values_are_numbers_truths_none_or_words() -> None:
    text = "a(b=1, c=-2.5, d=1e-3, e=True, f=None, g=word, h=two words)"
    assert parse(text)[1] == {
        "b": 1,
        "c": -2.5,
        "d": 1e-3,
        "e": True,
        "f": None,
        "g": "word",
        "h": "two words",
    }


def test_an_attack_s_text_as_a_parameter_keeps_its_commas() -> None:
    assert parse("a(b=c(d=1, e=f(g=2, h=3)), i=4)") == (
        "a",
        {"b": "c(d=1, e=f(g=2, h=3))", "i": 4},
    )


def test_commas_inside_brackets_and_quotes_belong_to_the_value() -> None:
    assert parse("a(b=(1, 2), c=[3, 4], d='x, (y', e={'f': 1})").parameters == {
        "b": (1, 2),
        "c": [3, 4],
        "d": "x, (y",
        "e": {"f": 1},
    }


def test_names_of_other_packages_may_have_dots_and_hyphens() -> None:
    assert parse(" my-package.lira2 ").name == "my-package.lira2"


def test_a_defense_inside_another_is_a_specification_too() -> None:
    inside = DEFENSES.build("dynanoise(base_variance=0.1, samples=2)")
    assert DEFENSES.build("static(match=dynanoise(base_variance=0.1, samples=2))").match == inside
    with pytest.raises(InputError, match="match is Temperature"):
        DEFENSES.build("static(match=temperature)")


def test_a_parameter_that_comes_twice_is_named() -> None:
    with pytest.raises(InputError, match="has temperature twice"):
        DEFENSES.build("temperature(temperature=1, temperature=2)")


@pytest.mark.parametrize("text", ["", "a(", "a)", "a(1)", "a(1=2)", "a()x", "a b", "a(=1)"])
def test_another_form_is_named_with_the_remedy(text: str) -> None:
    with pytest.raises(InputError, match=r"The data set .* cannot be read") as caught:
        parse(text, "data set")
    assert repr(text) in str(caught.value)
    assert "NAME(PARAMETER=VALUE, ...)" in caught.value.remedy
