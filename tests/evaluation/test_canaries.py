"""Canaries from the plan to results: their metrics are those of the subset, and repeat."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score, roc_auc_score, roc_curve

from dynanoise.benchmark import benchmark as module
from dynanoise.benchmark.benchmark import bench
from dynanoise.benchmark.plan import Plan
from dynanoise.core.defense import Method
from dynanoise.core.errors import InputError
from dynanoise.core.outputs import Outputs, Pool
from dynanoise.core.registry import DATASETS
from dynanoise.data.canaries import Canaries, plant
from dynanoise.data.dataset import Data
from dynanoise.defenses.temperature import undefended
from dynanoise.evaluation.canaries import canary_metrics
from dynanoise.evaluation.protocols import ADAPTIVE, PAPER
from dynanoise.metrics.bootstrap import PoolScores
from dynanoise.metrics.epsilon import epsilon_one_run
from tests.factories.evaluations import evaluate_pools
from tests.factories.presets import small_digits

IDS = np.arange(1000, 1600)


def canaries(count: int, ids: Any = IDS) -> Canaries:
    half = (count + 1) // 2
    return Canaries(ids[1:][: 2 * half : 2], ids[2:][: 2 * (count - half) : 2])


def scores(
    leak: float, seed: int = 0, models: int = 16, records: int = 600, hidden: float = 0.2
) -> PoolScores:
    """Canaries, those at 1, 2, 3 ..., leak more than the others."""
    generator = np.random.default_rng(seed)
    members = generator.random((models, records)) < 0.5
    values = (
        leak * members + generator.normal(0, 1, members.shape) + generator.normal(0, 1, records)
    )
    values[:, 1:101] += 3 * leak * members[:, 1:101]
    scored = generator.random(members.shape) >= hidden
    return PoolScores(np.round(values, 2), values > leak, members, scored)


@pytest.mark.parametrize("kind", ["canary", "canary_mislabelled", "canary_atypical"])
def test_metrics_equal_those_of_the_subset(kind: str) -> None:
    found, planted = scores(0.5), canaries(300)
    metrics = canary_metrics(found, IDS, planted, seed=0, fprs=(0.01, 0.05, 0.001))
    wanted = planted.ids if kind == "canary" else getattr(planted, kind.removeprefix("canary_"))
    chosen = found.scored & np.isin(IDS, wanted)
    aucs, success = [], []
    for model, kept in enumerate(chosen):
        truth = found.members[model, kept]
        aucs.append(roc_auc_score(truth, found.scores[model, kept]))
        success.append(balanced_accuracy_score(truth, found.decisions[model, kept]))
    assert metrics[f"{kind}_auc"].value == pytest.approx(np.mean(aucs), abs=1e-12)
    assert metrics[f"{kind}_asr"].value == pytest.approx(np.mean(success), abs=1e-12)
    fpr, tpr, _ = roc_curve(found.members[chosen], found.scores[chosen], drop_intermediate=False)
    assert metrics[f"{kind}_tpr@0.05"].value == pytest.approx(tpr[fpr <= 0.05].max(), abs=1e-12)
    # 300 x 16 x 0.8 / 2 = 1,920 non-members resolve 1%, half of them do not; nobody resolves 0.1%.
    assert (f"{kind}_tpr@0.01" in metrics) == (kind == "canary")
    assert f"{kind}_tpr@0.001" not in metrics


def test_epsilon_is_the_median_over_the_models_of_what_was_decided() -> None:
    found, planted = scores(1.0, models=5), canaries(100)
    columns = np.isin(IDS, planted.ids)
    bounds = []
    for model in range(5):
        kept = columns & found.scored[model]
        right = (found.decisions[model] == found.members[model]) & kept
        bounds.append(epsilon_one_run(int(right.sum()), int(kept.sum()), 0.975))
    metric = canary_metrics(found, IDS, planted, seed=0)["canary_epsilon"]
    assert metric.value == np.median(bounds) > 0.5


@pytest.mark.behaviour
def test_a_null_has_no_success_on_canaries() -> None:
    inside, positive = 0, 0
    for seed in range(60):
        metrics = canary_metrics(scores(0.0, seed), IDS, canaries(60), seed)
        auc = metrics["canary_auc"]
        assert auc.low is not None and auc.high is not None
        inside += auc.low <= 0.5 <= auc.high
        positive += metrics["canary_epsilon"].value > 0
    assert inside >= 52 and positive <= 5


@pytest.mark.parametrize("count", [1, 3, 10, 19, 20])
def test_few_canaries_say_what_they_can(count: int) -> None:
    """Without warnings: of few canaries some model has members only, or none is resampled."""
    for seed in range(20):
        metrics = canary_metrics(scores(1.0, seed, models=5), IDS, canaries(count), seed)
        assert ("canary_auc" in metrics) == (count >= 10)
        assert ("canary_mislabelled_auc" in metrics) == (count >= 19)
        assert ("canary_atypical_auc" in metrics) == (count >= 20)
        assert metrics["canary_epsilon"].value >= 0
        for name, one in metrics.items():
            if name.endswith("auc"):
                assert one.low is not None and one.high is not None
                assert 0 <= one.low <= one.high <= 1


def made_up(leak: float, models: int = 8, records: int = 400) -> Pool:
    generator = np.random.default_rng(0)

    def rows(count: int, use: Any) -> Outputs:
        labels = generator.integers(0, 4, count)
        logits = generator.normal(0, 1, (models, count, 1, 4))
        strong = np.where(np.arange(count) < 100, 3, 0.3)
        logits[:, np.arange(count), 0, labels] += 1.5 + leak * use * strong
        return Outputs(logits, labels, np.arange(count), use)

    coins = (generator.random((models, records)) < 0.5).astype(np.int8)
    nobody = np.zeros((models, 50), dtype=np.int8)
    return Pool(rows(records, coins), rows(50, nobody), rows(50, nobody), 0, "made up")


@pytest.mark.parametrize("leak", [0.0, 2.0])
def test_attacks_find_what_canaries_leak(leak: float) -> None:
    """Models that ignore who they were trained on leak nothing about canaries either."""
    protocol = replace(ADAPTIVE, attacks=("threshold", "lira"))
    planted = Canaries(np.arange(0, 100, 2), np.arange(1, 100, 2))
    rows = [Method("none", undefended())]
    found = evaluate_pools({"plain": made_up(leak)}, rows, protocol, canaries=planted)
    for result in found[:-1]:
        for name in ("canary_auc", "canary_mislabelled_auc", "canary_atypical_auc"):
            one = result.metrics[name]
            assert one.low is not None and one.high is not None
            assert (one.low > 0.8) if leak else (one.low <= 0.5 <= one.high), (result.attack, name)
        assert (result.metrics["canary_epsilon"].value > 0.5) == bool(leak)
        assert result.metrics["canary_auc"].value > result.metrics["auc"].value or not leak
    assert not any(name.startswith("canary") for name in found[-1].metrics)
    plain = evaluate_pools({"plain": made_up(leak)}, rows, protocol)[0].metrics
    assert {name: found[0].metrics[name] for name in plain} == plain


def small() -> Plan:
    preset = small_digits(models=10, protocols=(PAPER, ADAPTIVE), model_parameters={})
    return Plan(
        "digits", methods=("dynanoise",), attacks=("lira", "loss"), custom=preset, canaries=40
    )


@pytest.mark.behaviour
def test_bench_with_canaries_end_to_end(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("torch", reason="training needs torch: pip install 'dynanoise[train]'")
    from dynanoise.data.splits import pool_split
    from dynanoise.training.execution.executors import InProcess

    trained_on: list[Data] = []

    class Watched(InProcess):
        def run(self, jobs: Any, data: Data) -> Any:
            trained_on.append(data)
            return super().run(jobs, data)

    monkeypatch.setattr(module, "_executor", lambda *arguments: Watched(None))
    steps: list[str] = []
    first, again = list(bench(small(), steps.append)), list(bench(small()))
    assert len(steps) == small().steps == 10 + 2 * 3
    assert [one.metrics for one in first] == [one.metrics for one in again]
    digits = DATASETS.get("digits")()
    pool = pool_split(digits, 150, 10, 60, seed=0).pool
    expected, _ = plant(digits, pool, 40, seed=0)
    assert [one.digest for one in trained_on] == [expected.digest] * 2
    assert {one.protocol for one in first} == {"adaptive"}
    assert first[0].command.endswith("--canaries 40")
    for one in first:
        assert one.counts["canaries_mislabelled"] == one.counts["canaries_atypical"] == 20
        assert ("canary_auc" in one.metrics) == (one.attack is not None)
    lira = next(one.metrics for one in first if (one.method, one.attack) == ("none", "lira"))
    mislabelled = lira["canary_mislabelled_auc"]
    assert mislabelled.value == 1.0  # learned by heart
    assert mislabelled.low is not None and 0.5 < mislabelled.low < 1.0  # of 20 canaries
    assert lira["canary_auc"].value > lira["auc"].value


@pytest.mark.parametrize("wrong", [-1, True, 1.5])
def test_impossible_numbers_are_refused(wrong: Any) -> None:
    with pytest.raises(InputError, match="canaries is"):
        Plan("digits", canaries=wrong)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"protocols": ("paper",)}, "The protocol 'paper' has no pool"),
        ({"protocols": ("paper", "adaptive")}, "The protocol 'paper' has no pool"),
        ({"attacks": ("loss",)}, "Nothing that was chosen is run on a pool"),
        ({"canaries": 601}, "601 canaries do not fit a pool of 600"),
    ],
)
def test_what_canaries_do_not_fit_is_refused(arguments: dict[str, Any], says: str) -> None:
    with pytest.raises(InputError, match=says):
        Plan("digits", **{"canaries": 10, **arguments})


def test_the_plan_leaves_the_papers_protocol_out() -> None:
    plan = Plan("digits", 2, canaries=600)
    assert [one.name for one in plan.preset.protocols] == ["adaptive", "adaptive_16"]
    assert plan.shadows == {} and plan.trained == sum(plan.pools.values())
    assert plan.command == "dynanoise bench digits --seeds 2 --canaries 600"
    assert "paper" in [one.name for one in Plan("digits").preset.protocols]
