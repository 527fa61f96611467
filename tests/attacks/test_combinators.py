"""Attacks on transformed outputs: brought to the shadow models' scale, and without shared noise."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from dynanoise.attacks.combinators import CellMates, ScaleAligned, _rescaled, number_cells
from dynanoise.core import membership, numerics
from dynanoise.core.numerics import Float64
from dynanoise.core.observation import Observation, ShadowObservations
from dynanoise.core.registry import ATTACKS
from dynanoise.defenses.dynanoise import DynaNoise
from dynanoise.evaluation.responses import observe, observe_logits, recover
from dynanoise.noise.keyed import Keyed
from dynanoise.noise.keys import ExperimentKey
from tests.factories.attack_cases import pool_case, pool_outputs

# --- scale_aligned -------------------------------------------------------------------------------


def gaps(log_probs: Float64) -> Float64:
    ranked = np.sort(log_probs, axis=-1)
    return np.asarray(ranked[..., -1] - ranked[..., -2])


def scaled(seen: Observation, factor: float) -> Observation:
    return replace(seen, log_probs=numerics.log_softmax(factor * seen.log_probs))


@pytest.mark.parametrize("attack", ["threshold", "learned", "label_only"])
@pytest.mark.parametrize("factor", [0.1, 3.0])
def test_a_temperature_makes_no_difference(attack: str, factor: float) -> None:
    target, _, shadows = pool_case(0)
    fitted = ScaleAligned(attack).fit(shadows)
    np.testing.assert_allclose(
        fitted.score(scaled(target, factor)), fitted.score(target), rtol=1e-6, atol=1e-6
    )


def test_the_attack_sees_the_shadow_models_median_gap() -> None:
    """By the definition, and only of pairs that are shown."""
    target, _, shadows = pool_case(1)
    visible = shadows.use >= 0
    rows = np.stack([model.log_probs[:, 0] for model in shadows.observations])
    factor = np.median(gaps(rows)[visible]) / np.median(gaps(target.log_probs[:, 0]))
    expected = ATTACKS.build("threshold").fit(shadows).score(scaled(target, factor))
    np.testing.assert_allclose(ScaleAligned().fit(shadows).score(target), expected, atol=1e-9)
    assert not np.allclose(ATTACKS.build("threshold").fit(shadows).score(target), expected)


def test_decisions_and_alignment_are_the_attack_s() -> None:
    _, _, shadows = pool_case(2)
    at_zero = np.array([-1e-9, 0.0, 1e-9])
    assert ScaleAligned("threshold").fit(shadows).decide(at_zero).tolist() == [False, True, True]
    assert ScaleAligned("label_only").fit(shadows).decide(at_zero).tolist() == [False, False, True]
    assert ScaleAligned("label_only").aligned
    assert not ScaleAligned("threshold").aligned


def test_answers_without_a_gap_stay_as_they_are() -> None:
    _, _, shadows = pool_case(3)
    flat = observe_logits(np.zeros((len(shadows.clean.labels), 4)), shadows.clean.labels)
    expected = ATTACKS.build("threshold").fit(shadows).score(flat)
    np.testing.assert_allclose(ScaleAligned().fit(shadows).score(flat), expected)


def test_the_population_moves_with_the_answers() -> None:
    """Attacks that compare with known non-members see both on one scale."""
    target, _, _ = pool_case(4)
    population = observe_logits(np.array([[2.0, 0.0, 1.0, -1.0]]), [0])
    moved = _rescaled(replace(target, population=population), 2.0)
    assert moved.population is not None
    np.testing.assert_allclose(numerics.top_gaps(moved.population.log_probs[:, 0]), [2.0])
    np.testing.assert_allclose(moved.undo(np.array([[1.0, 3.0]])), [[-2.0, 2.0]])
    np.testing.assert_allclose(
        gaps(moved.log_probs[:, 0]), 2 * gaps(target.log_probs[:, 0]), atol=1e-9
    )


# --- cell_mates ----------------------------------------------------------------------------------


def behind_keys(
    seed: int, *, inputs: int = 1, classes: int = 2
) -> tuple[Observation, ShadowObservations]:
    """A target and shadows behind much noise in few cells, each with a key of its own."""
    outputs = pool_outputs(seed, count=600, inputs=inputs, classes=classes)
    defense = DynaNoise(9.0, 0.0, 1.0)
    target = tuple(
        recover(
            observe(
                defense,
                outputs,
                lambda purpose, model=model: Keyed(  # type: ignore[misc]
                    4.0, "test", "ab" * 32, ExperimentKey(seed, model)
                ),
                model=model,
                aware=True,
            )
        )
        for model in range(outputs.models)
    )
    use = outputs.use[1:]
    masked = membership.balance_shadows(use, membership.shadows_per_record(use), seed)
    return target[0], ShadowObservations(target[1:], masked, outputs.select(models=slice(1, None)))


def by_definition(seen: Observation, clean: Float64, spread: float) -> Float64:
    """Result by record: answer minus the others' mean, averaged over equal answers."""
    rows = numerics.centred(seen.log_probs)[:, 0]
    mean = numerics.centred(clean)[:, :, 0].mean(axis=0)
    power = max(float(np.mean((rows - mean) ** 2)) - spread, 0.0)
    cleared = rows.copy()
    for record in range(len(rows)):
        same = (seen.log_probs == seen.log_probs[record]).all(axis=(1, 2))
        mates = np.flatnonzero(same)
        if len(mates) > 1:
            share = power / (power + spread / len(mates))
            cleared[record] -= share * (rows - mean)[mates].mean(axis=0)
    return cleared


def test_the_noise_of_a_cell_is_its_records_mean_residual() -> None:
    target, shadows = behind_keys(0)
    learned = CellMates().fit(shadows).learned
    clean = shadows.clean.logits.astype(np.float64)
    expected = ATTACKS.build("lira").fit(_without(shadows, learned.spread))
    cleared = by_definition(target, clean, learned.spread)
    theirs = replace(target, log_probs=numerics.log_softmax(cleared)[:, None])
    np.testing.assert_allclose(
        CellMates().fit(shadows).score(target), expected.score(theirs), rtol=1e-6, atol=1e-8
    )


def _without(shadows: ShadowObservations, spread: float) -> ShadowObservations:
    clean = shadows.clean.logits.astype(np.float64)
    target = tuple(
        replace(
            outputs,
            log_probs=numerics.log_softmax(
                by_definition(outputs, np.delete(clean, model, axis=0), spread)
            )[:, None],
        )
        for model, outputs in enumerate(shadows.observations)
    )
    return ShadowObservations(target, shadows.use, shadows.clean)


def test_it_takes_most_of_the_shared_noise_away() -> None:
    """The error against the clean answer."""
    target, shadows = behind_keys(1)
    noisy = numerics.centred(target.log_probs)[:, 0]
    learned = CellMates().fit(shadows).learned
    clean = shadows.clean.logits.astype(np.float64)
    cleared = by_definition(target, clean, learned.spread)
    outputs = pool_outputs(1, count=600, classes=2)
    truth = numerics.centred(outputs.logits[0, :, 0].astype(np.float64))
    # The place within a cell is lost, up to half its width: that much remains of any estimate.
    before, after = (float(np.sqrt(np.mean((model - truth) ** 2))) for model in (noisy, cleared))
    assert before > 1, (before, after)
    assert after < 0.75 * before, (before, after)


def test_answers_that_nobody_shares_stay_as_they_are() -> None:
    target, _, shadows = pool_case(2)
    assert len(np.unique(number_cells(target))) == len(target.labels)
    np.testing.assert_allclose(
        CellMates("lira").fit(shadows).score(target),
        ATTACKS.build("lira").fit(shadows).score(target),
        rtol=1e-9,
        atol=1e-9,
    )


@pytest.mark.parametrize("attack", ["threshold", "label_only"])
def test_decisions_behind_cell_mates_are_the_attack_s(attack: str) -> None:
    _, _, shadows = pool_case(3)
    scores = np.array([-1e-9, 0.0, 1e-9])
    expected = ATTACKS.build(attack).fit(shadows).decide(scores)
    np.testing.assert_array_equal(CellMates(attack).fit(shadows).decide(scores), expected)


def test_near_duplicates_are_cell_mates_too() -> None:
    target, shadows = behind_keys(4, inputs=3)
    assert number_cells(target).shape == (3 * 600,)
    assert CellMates().fit(shadows).score(target).shape == (600,)
