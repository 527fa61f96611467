"""Attacks from specifications, and their titles."""

from __future__ import annotations

import pytest

from dynanoise.attacks.base import title_of
from dynanoise.attacks.combinators import ScaleAligned
from dynanoise.attacks.label_only import LabelOnly
from dynanoise.attacks.lira import LiraByClass
from dynanoise.attacks.thresholds import Loss, Threshold
from dynanoise.core.errors import InputError, UnknownNameError
from dynanoise.core.registry import ATTACKS


@pytest.mark.parametrize(
    ("text", "attack"),
    [
        ("loss", Loss()),
        (" loss ( ) ".replace(" (", "("), Loss()),
        ("loss(threshold=0.25)", Loss(0.25)),
        ("lira_by_class( shadows = 1 )", LiraByClass(1)),
        ("label_only(calibrate=clean)", LabelOnly("clean")),
        ("label_only(calibrate='clean')", LabelOnly("clean")),
        ("scale_aligned(attack=threshold)", ScaleAligned("threshold")),
        (
            "scale_aligned(attack=threshold(statistic=hinge))",
            ScaleAligned("threshold(statistic=hinge)"),
        ),
        ("threshold(statistic=loss,)", Threshold("loss")),
    ],
)
def test_names_and_parameters(text: str, attack: object) -> None:
    assert ATTACKS.build(text) == attack


@pytest.mark.parametrize(
    "text", ["", "loss(", "loss)", "loss(0.5)", "loss(1=2)", "loss()x", "a b", "loss(=1)"]
)
def test_what_cannot_be_read_is_named(text: str) -> None:
    with pytest.raises(InputError, match=r"The attack .* cannot be read") as caught:
        ATTACKS.build(text)
    assert repr(text) in str(caught.value)
    assert "NAME(PARAMETER=VALUE, ...)" in caught.value.remedy


def test_unknown_names_and_parameters() -> None:
    with pytest.raises(UnknownNameError, match="Did you mean 'loss'"):
        ATTACKS.build("los")
    with pytest.raises(InputError, match=r"no parameter 'treshold'. Did you mean 'threshold'"):
        ATTACKS.build("loss(treshold=1)")
    with pytest.raises(InputError, match=r"'gap' has no parameter 'x'. Known: none"):
        ATTACKS.build("gap(x=1)")
    with pytest.raises(UnknownNameError, match="no attack 'liar'"):
        ATTACKS.build("scale_aligned(attack=liar)")
    with pytest.raises(UnknownNameError, match="no statistic 'hinges'"):
        ATTACKS.build("threshold(statistic=hinges)")


def test_titles() -> None:
    assert title_of("loss") == "Loss"
    assert title_of("label_only(calibrate=clean)") == "Label only (calibrate=clean)"
    assert title_of("of_another_package(a=1)") == "of_another_package(a=1)"
