"""What attackers see, how often they may ask, and that repeats average noise away."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from dynanoise.core.defense import Noise
from dynanoise.core.errors import QueryBudgetError
from dynanoise.core.seeding import derive
from dynanoise.defenses.dynanoise import DynaNoise
from dynanoise.defenses.temperature import Temperature
from dynanoise.evaluation import responses as module
from dynanoise.evaluation.responses import observe, observe_undefended
from dynanoise.noise.fresh import Fresh
from tests.factories.outputs import make_outputs


def noise(purpose: str) -> Noise:
    return Fresh(derive(0, purpose))


def test_the_first_answer_is_the_defense_in_float64() -> None:
    rows = make_outputs()
    seen = observe(DynaNoise(), rows, noise)
    direct = DynaNoise()(rows.logits[0].astype(np.float64), noise("first"))
    np.testing.assert_array_equal(seen.log_probs, np.log(direct))
    assert seen.log_probs.dtype == np.float64


@pytest.mark.parametrize("numbers", [1, 50, 10**6])
def test_further_answers_come_in_chunks_of_consecutive_examples(
    numbers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_BLOCK_NUMBERS", numbers)
    rows = make_outputs(records=40, classes=3)
    seen = observe(Temperature(2), rows, noise, repeats=5)
    chunks = list(seen.repeat(4))
    assert all(chunk.shape[0] == 4 and chunk.shape[2:] == (1, 3) for chunk in chunks)
    assert all(chunk[0].size <= max(numbers, 3) for chunk in chunks)
    joined = np.concatenate(chunks, axis=1)
    np.testing.assert_allclose(joined, np.broadcast_to(seen.log_probs, (4, 40, 1, 3)), rtol=1e-12)


@pytest.mark.parametrize("samples", [1, 3])
def test_asking_in_any_way_gives_no_answers_beyond_the_budget(
    samples: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """ask(a) is a prefix of ask(b), over several chunks and for defenses of several samples."""
    monkeypatch.setattr(module, "_BLOCK_NUMBERS", 50)
    defense = DynaNoise(samples=samples)
    seen = observe(defense, make_outputs(records=40), noise, repeats=6)
    most = np.concatenate(list(seen.repeat(5)), axis=1)
    for count in range(1, 6):
        fewer = np.concatenate(list(seen.repeat(count)), axis=1)
        np.testing.assert_array_equal(fewer, most[:count])
    everything = np.concatenate([most, seen.log_probs[None]])
    assert len(np.unique(everything.reshape(6, -1), axis=0)) == 6
    # No normals are used for two examples either: equal logits get answers of their own.
    same = make_outputs(records=40)
    same = replace(same, logits=np.zeros_like(same.logits))
    answers = np.concatenate(list(observe(defense, same, noise, repeats=6).repeat(5)), axis=1)
    assert len(np.unique(answers.reshape(-1, 3), axis=0)) == 5 * 40


def test_the_budget_holds_and_is_stated() -> None:
    seen = observe(DynaNoise(), make_outputs(), noise, repeats=3)
    assert seen.query_budget == 3
    for count in (0, 3, 4):
        with pytest.raises(QueryBudgetError, match=f"query {count} times; .* allows 2"):
            seen.repeat(count)


def test_no_records_give_no_answers() -> None:
    seen = observe(DynaNoise(), make_outputs().select(records=slice(0, 0)), noise, repeats=3)
    assert seen.log_probs.shape == (0, 1, 3)
    assert list(seen.repeat(2)) == []


def test_a_single_answer_allows_no_repeats() -> None:
    with pytest.raises(QueryBudgetError, match="allows 0"):
        observe(DynaNoise(), make_outputs(), noise).repeat(1)


def test_repeats_average_fresh_noise_away() -> None:
    """The error of the recovered logits falls as 1 / sqrt(Q): the honest limit of fresh noise."""
    defense = DynaNoise()
    rows = make_outputs(records=400)
    truth = rows.logits[0, :, 0].astype(np.float64)
    truth -= truth.mean(axis=-1, keepdims=True)
    seen = observe(defense, rows, noise, repeats=65)
    once = defense.undo(seen.log_probs[:, 0]) - truth
    often = np.concatenate([defense.undo(chunk).mean(axis=0) for chunk in seen.repeat(64)])[:, 0]
    ratio = np.sqrt(np.mean(once**2) / np.mean((often - truth) ** 2))
    assert ratio == pytest.approx(8, rel=0.1)


def test_undefended_shadows_are_the_models_own_answers() -> None:
    rows = make_outputs(models=2)
    seen = observe_undefended(rows)
    probs = np.exp(rows.logits[1].astype(np.float64))
    np.testing.assert_allclose(
        np.exp(seen.observations[1].log_probs), probs / probs.sum(-1, keepdims=True), rtol=1e-12
    )
