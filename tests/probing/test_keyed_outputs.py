"""Recovery of the grid of keyed noise: planted grids, cells, and what must not be gained."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest

from dynanoise.attacks.lira import Lira
from dynanoise.core.defense import Method
from dynanoise.core.numerics import Float64
from dynanoise.core.outputs import Outputs, Pool
from dynanoise.defenses.dynanoise import DynaNoise
from dynanoise.evaluation import protocols
from dynanoise.evaluation.protocols import ADAPTIVE
from dynanoise.evaluation.responses import observe, recover
from dynanoise.evaluation.shadow_pool import ShadowPool
from dynanoise.evaluation.trial import Trial
from dynanoise.metrics.roc import roc
from dynanoise.noise import subkey
from dynanoise.noise.cells import Grid
from dynanoise.noise.keyed import Keyed
from dynanoise.noise.keys import ExperimentKey
from dynanoise.probing.grid import decode_cells, recover_grid
from dynanoise.probing.keyed_outputs import expected_gaps

WIDTH, K = 12.0, 6
DEFENSE = DynaNoise(0.3, 2.0, 10.0, keep_label=True)
METHOD = Method("keyed", DEFENSE, cell_width=WIDTH)


def pool_of(seed: int, models: int = 7, count: int = 300, leak: float = 3.0) -> Pool:
    """Models whose members' true class is ``leak`` higher."""
    generator = np.random.default_rng(seed)

    def outputs(count: int, share: float) -> Outputs:
        use = (generator.random((models, count)) < share).astype(np.int8)
        labels = generator.integers(0, K, count)
        logits = generator.normal(0, 6, (count, 1, K)) + generator.normal(
            0, 1, (models, count, 1, K)
        )
        logits[:, np.arange(count), 0, labels] += 8 + leak * use
        return Outputs(logits, labels, np.arange(count), use)

    return Pool(outputs(count, 0.5), outputs(8, 0.0), outputs(100, 0.0), seed, "made up")


def planted(seed: int, defense: DynaNoise) -> tuple[Keyed, Grid, Pool]:
    noise = Keyed(WIDTH, "planted", "ab" * 32, ExperimentKey(seed, "planted"))
    secret = noise.subkey(K, defense.kernel_setting.draws, defense.purpose)
    return noise, Grid(WIDTH, subkey.offsets(secret, K)), pool_of(seed, models=13, count=3_000)


@pytest.mark.parametrize("defense", [DEFENSE, DynaNoise(0.0, 0.0, 2.0, keep_label=True)])
@pytest.mark.parametrize("seed", [0, 1])
def test_a_planted_grid_is_found_and_cells_are_read(defense: DynaNoise, seed: int) -> None:
    """Expected gaps of shadow models lead to the planted grid, and it to the cells."""
    noise, truth, pool = planted(seed, defense)
    records = pool.records
    seen = recover(observe(defense, records, lambda purpose: noise, aware=True))
    rows = seen.log_probs[:, 0]
    expected = expected_gaps(records.logits[1:], records.use[1:])
    grid = recover_grid(rows, rows.argmax(axis=1), expected, WIDTH)
    apart = (grid.offsets - truth.offsets + 0.5) % 1 - 0.5
    # The phases give the differences. The shift of all is known as well as the shadow models' mean
    # gaps, from which a target's differ by more than a tenth of a width.
    assert np.ptp(apart) < 0.04
    assert np.abs(apart.mean()) < 0.1
    cells, _ = truth.find(records.logits[0, :, 0].astype(np.float64))
    # An exchange of two classes with nearly equal offsets is not seen.
    assert (decode_cells(rows, rows.argmax(axis=1), grid) == cells).mean() > 0.97


def test_noise_near_half_a_width_leaves_the_plain_scores() -> None:
    """sigma = 5 of a width of 12: nothing is read, and the trial holds the outputs as they are."""
    loud = DynaNoise(25.0, 0.0, 1.0, keep_label=True)
    for defense in (loud, replace(DEFENSE, samples=4), replace(DEFENSE, keep_label=False)):
        assert not protocols.gives_cells_away(replace(METHOD, defense=defense))
    assert protocols.gives_cells_away(METHOD)
    trial = trials(pool_of(3), replace(METHOD, defense=loud))[0]
    assert len(np.unique(trial.target.log_probs[:, 0, 0])) > 100


def trials(pool: Pool, method: Method = METHOD, count: int = 3) -> list[Trial]:
    """The first targets' trials."""
    design = ShadowPool(pool)
    defenses = [method.defense.fit(view) for view in design.views(ADAPTIVE.threat)]
    every = design.trials(defenses, ADAPTIVE.threat, design.noise(method))
    return list(itertools.islice(every, count))


def mean_auc(trials: list[Trial]) -> float:
    aucs = []
    for trial in trials:
        scores = Lira().fit(trial.shadows).score(trial.target)
        aucs.append(roc(scores[trial.scored], trial.members[trial.scored]).auc)
    return float(np.mean(aucs))


def test_attacks_see_cells_without_their_noise(monkeypatch: pytest.MonkeyPatch) -> None:
    pool = pool_of(4)
    seen = trials(pool)
    monkeypatch.setattr(protocols, "LARGEST_NOISE", 0.0)
    plain = trials(pool)
    assert mean_auc(seen) > mean_auc(plain) + 0.03
    assert mean_auc(plain) > 0.52
    for before, after in zip(plain, seen, strict=True):
        labels = (part.target.log_probs[:, 0].argmax(axis=1) for part in (before, after))
        np.testing.assert_array_equal(*labels)


def test_a_constant_model_gives_nothing_away() -> None:
    """One row of logits for every record and model, in a pool whose other models leak."""
    excess = []
    for seed in range(6):
        pool = pool_of(seed, leak=6.0)
        logits = np.array(pool.records.logits)
        logits[0] = np.linspace(9, 0, K)
        constant = replace(pool, records=replace(pool.records, logits=logits))
        trial = trials(constant, count=1)[0]
        scores: Float64 = Lira().fit(trial.shadows).score(trial.target)
        excess.append(roc(scores[trial.scored], trial.members[trial.scored]).auc - 0.5)
    # The sd of the AUC of 150 members and 150 non-members is 0.033.
    assert abs(np.mean(excess)) < 3 * 0.033 / np.sqrt(6)
