"""DynaNoise that keeps the label: by exchange, and with nothing else changed."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dynanoise.core import numerics
from dynanoise.core.errors import InputError
from dynanoise.core.numerics import Float64
from dynanoise.defenses.dynanoise import DynaNoise
from dynanoise.defenses.static import Static
from dynanoise.metrics.utility import utility_metrics
from dynanoise.noise.fresh import Fresh
from tests.factories.keyed_noise import keyed, rows
from tests.factories.outputs import LARGEST_FLOAT32, logit_arrays, make_view

SETTINGS = st.builds(
    DynaNoise,
    base_variance=st.sampled_from([0.0, 1e-9, 0.3, 30.0]),
    lambda_scale=st.floats(0, 6),
    temperature=st.sampled_from([0.5, 10.0, 1e4]),
    samples=st.integers(1, 3),
    keep_label=st.just(True),
)
TIED = logit_arrays(largest=2).map(np.round)


def noises(width: float = 3.0) -> list[Any]:
    return [Fresh(0), keyed(width)]


@given(SETTINGS, st.one_of(logit_arrays(), TIED), st.sampled_from([np.float32, np.float64]))
def test_the_label_is_the_models_own_also_where_logits_or_answers_tie(
    defense: DynaNoise, logits: Float64, dtype: Any
) -> None:
    narrow = logits.astype(dtype)
    for noise in noises():
        answer = defense(narrow, noise)
        np.testing.assert_array_equal(answer.argmax(axis=-1), narrow.argmax(axis=-1))
        np.testing.assert_allclose(answer.sum(axis=-1), 1, rtol=1e-5)
        assert answer.dtype == dtype and (answer >= 0).all()
    assert defense.keeps_labels


@pytest.mark.parametrize("samples", [1, 2])
@pytest.mark.parametrize("base", [0.0, 0.3])
def test_the_label_is_kept_where_rounding_makes_all_answers_tie(base: float, samples: int) -> None:
    """At such a temperature most entries are the same float32."""
    logits = rows(300, 5, spread=1.0).astype(np.float32)
    defense = DynaNoise(base, 2.0, 1e8, samples, keep_label=True)
    for noise in noises():
        answer = defense(logits, noise)
        assert (np.sort(answer)[:, -2] == np.float32(0.2)).all()
        np.testing.assert_array_equal(answer.argmax(axis=-1), logits.argmax(axis=-1))


@given(logit_arrays(largest=LARGEST_FLOAT32, dtype=np.float32))
def test_extreme_logits_keep_their_label(logits: npt.NDArray[np.float32]) -> None:
    for noise in noises(1e3):
        answer = DynaNoise(keep_label=True)(logits, noise)
        np.testing.assert_array_equal(answer.argmax(axis=-1), logits.argmax(axis=-1))


@given(SETTINGS, logit_arrays(largest=5))
def test_an_answer_is_the_other_one_with_two_entries_exchanged(
    defense: DynaNoise, logits: Float64
) -> None:
    """Under fresh noise; keyed noise draws anew for every setting."""
    plain = replace(defense, keep_label=False)(logits, Fresh(4))
    kept = defense(logits, Fresh(4))
    np.testing.assert_allclose(np.sort(kept), np.sort(plain), rtol=1e-12)
    predicted = logits.argmax(axis=-1)
    for before, after, label in zip(plain, kept, predicted, strict=True):
        top = before.argmax()
        expected = before.copy()
        expected[[label, top]] = before[[top, label]]
        np.testing.assert_allclose(after, expected, rtol=1e-12)


def test_accuracy_is_exactly_unchanged_where_it_was_not() -> None:
    logits = rows(2000, 5, spread=1.0).astype(np.float32)
    labels = np.random.default_rng(1).integers(0, 5, 2000)
    truth = float((logits.argmax(axis=-1) == labels).mean())
    for noise in noises():
        plain, kept = (
            utility_metrics(DynaNoise(keep_label=keep)(logits, noise), logits, labels)
            for keep in (False, True)
        )
        assert kept["accuracy"].value == truth and kept["label_flips"].value == 0
        assert plain["label_flips"].value > 0.1


def test_cells_without_noise_need_it_too() -> None:
    """A cell's representative may rank another class first."""
    logits = rows(500, 5, spread=1.0)
    bare = DynaNoise(base_variance=0.0)
    assert (bare(logits, keyed(3.0)).argmax(axis=-1) != logits.argmax(axis=-1)).any()
    assert not bare.keeps_labels and replace(bare, keep_label=True).keeps_labels
    np.testing.assert_array_equal(bare(logits, Fresh(0)).argmax(axis=-1), logits.argmax(axis=-1))


def test_cells_without_noise_are_the_tempered_softmax_of_their_representative() -> None:
    logits, defense = rows(100, 4), DynaNoise(base_variance=0.0, temperature=3.0)
    base = keyed().draw(logits, 0, defense.purpose)[0]
    np.testing.assert_allclose(defense(logits, keyed()), numerics.softmax(base, 3.0), rtol=1e-12)


def test_exchanged_entries_do_not_average_to_the_logits() -> None:
    defense = DynaNoise(1.0, 0.0, 5.0, keep_label=True)
    assert not defense.invertible and DynaNoise(1.0).invertible
    assert DynaNoise(0.0, keep_label=True).invertible
    row = np.array([0.2, 0.1, 0.0])
    undone = defense.undo(np.log(defense(np.tile(row, (5000, 1)), Fresh(0)))).mean(axis=0)
    assert np.abs(undone - numerics.centred(row)).max() > 0.3


def test_static_noise_of_such_a_setting_keeps_labels_as_well() -> None:
    static = Static(DynaNoise(keep_label=True))
    assert static.keeps_labels and static.fit(make_view()).keep_label


@pytest.mark.parametrize("bad", [1, "yes", None])
def test_what_is_neither_true_nor_false_is_named(bad: Any) -> None:
    with pytest.raises(InputError, match="keep_label is"):
        DynaNoise(keep_label=bad)
