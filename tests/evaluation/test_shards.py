"""Attacks on some examples at a time give the scores of attacks on all of them."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dynanoise.attacks.gaussians import VARIANCES, Moments
from dynanoise.attacks.lira import MODES
from dynanoise.core.defense import Method
from dynanoise.core.errors import DataFileError, InputError
from dynanoise.core.membership import (
    balance_shadows,
    has_shadows,
    shadows_per_record,
    shadows_per_target,
)
from dynanoise.core.outputs import Outputs, Pool
from dynanoise.core.registry import ATTACKS
from dynanoise.core.result import ThreatModel
from dynanoise.defenses.temperature import undefended
from dynanoise.evaluation.shadow_pool import ShadowPool
from dynanoise.evaluation.shards import (
    PoolFiles,
    ShardScores,
    score_by_shards,
    write_pool,
)
from dynanoise.evaluation.trial import Trial
from dynanoise.metrics.bootstrap import PoolScores, bootstrap
from dynanoise.metrics.roc import roc
from tests.factories.attack_cases import pool_outputs

MODELS, RECORDS = 12, 230
"""Some of the records have too few shadow models, and the last part is a smaller one."""


@pytest.fixture(scope="module")
def pool() -> Pool:
    examples = pool_outputs(1, count=RECORDS, models=MODELS, inputs=2)
    known = pool_outputs(2, 0.0, count=80, models=MODELS, inputs=2)
    nobody = replace(known, use=np.zeros_like(known.use))
    return Pool(examples, nobody.select(records=slice(0)), nobody, seed=7, split="made up")


@pytest.fixture(scope="module")
def folder(pool: Pool, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return written(pool.records, tmp_path_factory.mktemp("pool"))


def written(outputs: Outputs, folder: Path, dtype: Any = np.float64) -> Path:
    """The folder, with files of these outputs."""
    write_pool(folder, outputs.logits, outputs.labels, outputs.ids, outputs.use, dtype=dtype)
    return folder


@pytest.fixture(scope="module")
def trials(pool: Pool) -> list[Trial]:
    design, method = ShadowPool(pool), Method("none", undefended())
    threat = ThreatModel("knowing", knows_defense=True)
    return list(design.trials([method.defense] * pool.models, threat, design.noise(method)))


def whole(trials: list[Trial], name: str) -> np.ndarray[Any, Any]:
    """Scores of all records at once."""
    attack = ATTACKS.build(name)
    return np.stack([attack.fit(trial.shadows).score(trial.target) for trial in trials])


LIRA = [
    f"lira(mode={mode}, variance={variance}, centre={centre})"
    for mode in MODES
    for variance in VARIANCES
    for centre in ("mean", "median")
]


@pytest.mark.behaviour
@pytest.mark.parametrize("name", [*LIRA, "rmia", "rmia(offline=True, a=0.3)"])
def test_the_scores_are_those_of_all_examples_at_once(
    pool: Pool, folder: Path, trials: list[Trial], name: str
) -> None:
    """To rounding: the honest protocol's attacker centres and normalises answers once more.

    One part gives the same bits as several, except where one standard deviation stands for all
    examples, whose sums are then taken in another order.
    """
    attack = ATTACKS.build(name)
    options: dict[str, Any] = {"seed": pool.seed, "population": pool.reference}
    found = score_by_shards(PoolFiles(folder, 37), attack, **options)
    np.testing.assert_allclose(found.scores, whole(trials, name), rtol=1e-10, atol=1e-10)
    together = score_by_shards(PoolFiles(folder, RECORDS), attack, **options).scores
    if "variance=example" in name or "rmia" in name:
        np.testing.assert_array_equal(found.scores, together)
    np.testing.assert_allclose(found.scores, together, rtol=1e-12, atol=1e-12)
    for target, trial in enumerate(trials):
        np.testing.assert_array_equal(found.scored[target], has_shadows(trial.shadows.use))
    assert not found.scored.all() and found.scored.any()


@pytest.mark.process
def test_processes_and_other_targets_make_no_difference(pool: Pool, folder: Path) -> None:
    attack, files = ATTACKS.build("lira(variance=residual)"), PoolFiles(folder, 100)
    two = score_by_shards(files, attack, seed=pool.seed, targets=[3, 5], workers=2)
    every = score_by_shards(files, attack, seed=pool.seed)
    np.testing.assert_array_equal(two.scores, every.scores[[3, 5]])
    np.testing.assert_array_equal(two.members, every.members[[3, 5]])


def test_files_hold_what_was_written(pool: Pool, folder: Path) -> None:
    part = PoolFiles(folder).part(slice(100, RECORDS))
    expected = pool.records.select(records=slice(100, RECORDS))
    for name in ("logits", "labels", "ids", "use"):
        np.testing.assert_array_equal(getattr(part, name), getattr(expected, name))


def test_half_precision_on_disk_is_read_as_single(pool: Pool, tmp_path: Path) -> None:
    part = PoolFiles(written(pool.records, tmp_path, np.float16)).part(slice(0, 9))
    assert part.logits.dtype == np.float32
    np.testing.assert_allclose(part.logits, pool.records.logits[:, :9], rtol=1e-3)


def test_metrics_are_those_of_the_pool(pool: Pool, folder: Path) -> None:
    found = score_by_shards(PoolFiles(folder, 50), ATTACKS.build("lira"), seed=pool.seed)
    rounded = ShardScores(found.targets, found.scores.round(1), found.members, found.scored)
    for one in (found, rounded):  # with ties, too
        alike = PoolScores(one.scores, one.scores > 0, one.members, one.scored)
        expected = bootstrap(alike, 0, 3, fprs=(0.01, 0.05, 0.5, 1.0)).point
        metrics = one.metrics((0.01, 0.05, 0.5, 1.0))
        assert set(metrics) == set(expected) - {"asr"}
        for name, value in metrics.items():
            assert value == pytest.approx(expected[name], rel=1e-12), name


@pytest.mark.parametrize("digits", [0, 1, 12])
def test_the_tpr_is_that_of_the_roc_of_all_pairs(digits: int) -> None:
    """With and without ties, at rates between and on the steps of the curve."""
    generator = np.random.default_rng(digits)
    members = generator.random((3, 400)) < 0.5
    scores = (generator.normal(0, 1, members.shape) + 0.5 * members).round(digits)
    scored = generator.random(members.shape) < 0.8
    found = ShardScores(np.arange(3), scores, members, scored)
    curve = roc(scores[scored], members[scored])
    fprs = [*(step / curve.non_members for step in (10, 11, 50)), 0.0333, 0.1, 0.77, 1.0]
    for fpr in fprs:
        assert found.metrics([fpr])[f"tpr@{fpr:g}"] == pytest.approx(curve.tpr_at(fpr), abs=1e-12)
    assert "tpr@0.001" not in found.metrics()


def test_the_same_is_hidden_however_the_examples_are_cut(pool: Pool) -> None:
    use, k = pool.records.use, shadows_per_target(pool.records.use)
    every = balance_shadows(use, k, 5)
    for start, stop in ((0, 1), (7, 100), (100, RECORDS)):
        some = balance_shadows(use[:, start:stop], k, 5, start=start, total=RECORDS)
        np.testing.assert_array_equal(some, every[:, start:stop])


def test_all_targets_have_the_shadows_that_each_has_alone(pool: Pool) -> None:
    use = pool.records.use
    alone = [shadows_per_record(np.delete(use, target, axis=0)) for target in range(MODELS)]
    assert shadows_per_target(use) == min(alone)


def test_moments_of_parts_are_those_of_the_whole() -> None:
    values = np.random.default_rng(0).normal(1e6, 1e-2, 1000)
    cuts = [Moments.of(part) for part in np.split(values, [1, 10, 500])]
    total = cuts[0] + cuts[1] + cuts[2] + cuts[3]
    assert total.count == 1000
    assert total.sd == pytest.approx(values.std(), rel=1e-9)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("learned", "learns from all records"),
        ("rmia(offline=True)", "chosen on all records"),
        (
            "lira(statistic=normal_score)",
            r"'normal_score' ranks all .*lira\(statistic=scaled_logit\)",
        ),
        ("lira(variance=example, statistic=normal_score)", "'normal_score' ranks all records"),
    ],
)
def test_attacks_that_learn_from_all_records_are_refused(
    pool: Pool, folder: Path, name: str, says: str
) -> None:
    with pytest.raises(InputError, match=says):
        score_by_shards(PoolFiles(folder), ATTACKS.build(name), seed=0, population=pool.reference)


@pytest.mark.parametrize("targets", [[-1], [0, MODELS], []], ids=str)
def test_targets_that_are_no_models_of_the_pool_are_refused(
    folder: Path, targets: list[int]
) -> None:
    """The last model by the name of -1 would be a shadow of itself."""
    with pytest.raises(InputError, match=f"The targets {re.escape(str(targets))}"):
        score_by_shards(PoolFiles(folder), ATTACKS.build("lira"), seed=0, targets=targets)


def test_a_pool_that_cannot_be_read_or_written_is_refused(
    pool: Pool, folder: Path, tmp_path: Path
) -> None:
    with pytest.raises(DataFileError, match=r"use\.npy cannot be read"):
        PoolFiles(tmp_path).slices  # noqa: B018
    examples = pool.records
    with pytest.raises(InputError, match="There are 2 models"):
        write_pool(tmp_path, examples.logits[:2], examples.labels, examples.ids, examples.use)
    with pytest.raises(InputError, match="Logits of model 0"):
        write_pool(tmp_path, examples.logits[:, :2], examples.labels, examples.ids, examples.use)
    with pytest.raises(InputError, match="Parts have 0"):
        PoolFiles(folder, 0).slices  # noqa: B018


@pytest.mark.parametrize("share", [0.2, 0.4])
def test_records_of_no_model_do_not_lower_the_number_of_shadow_models(
    tmp_path: Path, share: float
) -> None:
    outputs = pool_outputs(3, count=200, models=16)
    use = outputs.use.copy()
    unused = np.random.default_rng(0).random(200) < share
    use[:, unused] = 0
    files = PoolFiles(written(replace(outputs, use=use), tmp_path), 70)
    found = score_by_shards(files, ATTACKS.build("lira"), seed=0)
    k = shadows_per_target(use[:, ~unused])
    for target, scored in enumerate(found.scored):
        others = np.delete(use, target, axis=0)
        np.testing.assert_array_equal(scored, (membership_counts(others) >= k).all(axis=0))
    assert found.scored[:, ~unused].mean() > 0.6


def membership_counts(use: Any) -> np.ndarray[Any, Any]:
    """Numbers of in-models and of out-models of each record, [2, N]."""
    return np.stack([(use == 1).sum(axis=0), (use == 0).sum(axis=0)])


def test_a_part_without_shadows_scores_nothing(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    use = np.zeros((6, 40), dtype=np.int8)
    use[:3, :30] = 1  # the last ten are nobody's members
    logits = generator.normal(0, 1, (6, 40, 1, 3))
    outputs = Outputs(logits, generator.integers(0, 3, 40), np.arange(40), use)
    found = score_by_shards(
        PoolFiles(written(outputs, tmp_path), 10), ATTACKS.build("lira"), seed=0
    )
    assert found.scored[:, :30].all() and not found.scored[:, 30:].any()
    assert not found.scores[:, 30:].any()
