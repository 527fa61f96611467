"""The learned combination: its features, its training, and its strength on trained models."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from dynanoise.attacks import statistics
from dynanoise.attacks.classifiers import Learned
from dynanoise.attacks.features import MULTIPLES, comparison_features
from dynanoise.attacks.tempered_ratio import TemperedRatio
from dynanoise.core import membership
from dynanoise.core.defense import Defense
from dynanoise.core.errors import InputError, TooFewRecordsError
from dynanoise.core.numerics import Bools, Float64
from dynanoise.core.observation import Observation, ShadowObservations
from dynanoise.core.outputs import Outputs, Pool
from dynanoise.core.seeding import derive
from dynanoise.defenses.dynanoise import DynaNoise
from dynanoise.defenses.temperature import undefended
from dynanoise.evaluation.responses import observe, recover
from dynanoise.metrics.roc import roc
from dynanoise.metrics.success import attack_metrics
from dynanoise.noise.fresh import Fresh
from tests.factories.attack_cases import case_of, pool_case, pool_outputs


def simple_lira(target: Observation, shadows: ShadowObservations) -> Float64:
    """Online, centre mean, residual variances of all records."""
    slots = membership.find_slots(shadows.use)
    phi = np.stack(
        [statistics.compute(model, "scaled_logit")[:, 0] for model in shadows.observations]
    )
    inside, outside = slots.take(phi)
    value = statistics.compute(target, "scaled_logit")[slots.rows, 0]
    densities = [
        stats.norm.logpdf(value, part.mean(axis=0), (part - part.mean(axis=0)).std())
        for part in (inside, outside)
    ]
    return slots.spread(densities[0] - densities[1], len(target.labels))


@pytest.fixture(scope="module")
def trained() -> Pool:
    """12 small networks on fair coins over 400 digits, about 2 seconds."""
    pytest.importorskip("torch", reason="training needs torch: pip install 'dynanoise[train]'")
    from dynanoise.data.datasets.digits import digits
    from dynanoise.data.splits import pool_split
    from dynanoise.training.designs import pool_jobs, pool_of
    from dynanoise.training.execution.executors import InProcess
    from dynanoise.training.models.mlp import Mlp
    from dynanoise.training.recipes.plain import Plain
    from dynanoise.training.schedule import Schedule

    data = digits()
    split = pool_split(data, pool=400, models=12, reference=100, seed=0)
    recipe = Plain(Schedule(epochs=30, batch=32, learning_rate=2e-3))
    jobs = pool_jobs(split, Mlp((128,)), recipe, seed=0, threads=1)
    return pool_of(data, split, list(InProcess().run(jobs, data)), seed=0)


def leave_one_out(
    trained: Pool, defense: Defense
) -> Iterator[tuple[Observation, ShadowObservations, Bools, Bools]]:
    """Every model as the target: its answers, its shadows, who has shadows, and the truth."""
    observed = []
    for model in range(trained.models):

        def noise(purpose: str, model: int = model) -> Fresh:
            return Fresh(derive(0, purpose, model))

        answered = observe(defense, trained.records, noise, model=model, aware=True)
        observed.append(recover(answered))
    for target in range(trained.models):
        others = [model for model in range(trained.models) if model != target]
        use = trained.records.use[others]
        masked = membership.balance_shadows(
            use, membership.shadows_per_record(use), derive(0, target)
        )
        clean = trained.records.select(models=others)
        shadows = ShadowObservations(tuple(observed[model] for model in others), masked, clean)
        yield (
            observed[target],
            shadows,
            membership.has_shadows(masked),
            trained.records.use[target] == 1,
        )


@pytest.mark.behaviour
@pytest.mark.parametrize("defense", [undefended(), DynaNoise(0.3, 2.0, 10.0)])
def test_it_is_at_least_as_strong_as_lira_on_trained_models(
    trained: Pool, defense: Defense
) -> None:
    ours: list[tuple[float, float]] = []
    lira: list[tuple[float, float]] = []
    for target, shadows, scored, truth in leave_one_out(trained, defense):
        fitted = Learned().fit(shadows)
        for series, scores in (
            (ours, fitted.score(target)),
            (lira, simple_lira(target, shadows)),
        ):
            decisions = fitted.decide(scores)[scored]
            metrics = attack_metrics(scores[scored], decisions, truth[scored])
            series.append((metrics["auc"].value, metrics["asr"].value))
    gain = np.array(ours) - np.array(lira)
    # AUC and balanced accuracy, over the same targets.
    assert (gain.mean(axis=0) > 0).all()
    assert np.mean(lira, axis=0)[0] > 0.55  # there is something to find


def test_features_against_their_definition() -> None:
    """The first signal's columns, record by record; every number finite."""
    target, _, shadows = pool_case(0, count=80)
    slots = membership.find_slots(shadows.use)
    rows = comparison_features([(target, slots)], shadows)
    assert rows.shape[0] == len(slots.rows)
    assert np.isfinite(rows).all()
    inside, outside = [], []
    for record in slots.rows:
        answered = [
            (use, statistics.scaled_logit(model.log_probs[record], model.labels[[record]])[0])
            for model, use in zip(shadows.observations, shadows.use[:, record], strict=True)
        ]
        inside.append([value for use, value in answered if use == 1])
        outside.append([value for use, value in answered if use == 0])
    a, b = np.array(inside), np.array(outside)
    phi = statistics.scaled_logit(target.log_probs[:, 0], target.labels)[slots.rows]
    np.testing.assert_allclose(rows[:, 0], phi)
    np.testing.assert_allclose(rows[:, 1], phi - a.mean(axis=1))
    np.testing.assert_allclose(rows[:, 2], phi - b.mean(axis=1))
    densities = [
        stats.norm.logpdf(phi, part.mean(axis=1), (part - part.mean(axis=1, keepdims=True)).std())
        for part in (a, b)
    ]
    np.testing.assert_allclose(rows[:, 3], np.clip(densities[0] - densities[1], -30, 30))
    np.testing.assert_allclose(rows[:, 4], a.std(axis=1))
    np.testing.assert_allclose(rows[:, 5], b.std(axis=1))


def test_features_of_several_targets_are_those_of_each() -> None:
    """Also by class; one target's residuals say nothing about another's."""
    target, _, shadows = pool_case(0, count=80)
    slots = membership.find_slots(shadows.use)
    part = replace(
        slots, rows=slots.rows[:30], inside=slots.inside[:, :30], outside=slots.outside[:, :30]
    )
    cases = [(shadows.observations[0], part), (target, slots)]
    each = [comparison_features([case], shadows) for case in cases]
    np.testing.assert_allclose(comparison_features(cases, shadows), np.concatenate(each), rtol=1e-9)


def test_tempered_ratios_are_features() -> None:
    """A column equals the attack of that name, at each of the features' temperatures."""
    target, _, shadows = pool_case(0, count=80)
    slots = membership.find_slots(shadows.use)
    rows = comparison_features([(target, slots)], shadows)
    for multiple in MULTIPLES:
        scores = TemperedRatio(multiple=multiple).fit(shadows).score(target)[slots.rows]
        assert (np.abs(rows - scores[:, None]).max(axis=0) < 1e-9).sum() == 1


def test_further_columns_are_learned_from() -> None:
    """A column that tells members, beside outputs that say nothing; without it, chance."""
    outputs = pool_outputs(5, leak=0.0)
    target, members, shadows = case_of(outputs)
    generator = np.random.default_rng(0)

    def with_column(model: Observation, inside: Bools) -> Observation:
        distances = generator.normal(0, 1, (len(inside), 1)) + 2.0 * inside[:, None]
        return replace(model, columns={"distance": distances})

    models = tuple(map(with_column, shadows.observations, shadows.use == 1))
    probed = replace(shadows, observations=models)
    aucs = [
        roc(Learned().fit(models).score(of_target), members).auc
        for models, of_target in ((shadows, target), (probed, with_column(target, members)))
    ]
    assert aucs[0] < 0.6 and aucs[1] > 0.8


def test_target_and_pseudo_targets_are_compared_with_the_same_number_of_models() -> None:
    _, _, shadows = pool_case(1)
    k = membership.find_slots(shadows.use).k
    learned = Learned(draws=3).fit(shadows).learned
    assert [slots.k for slots in learned.draws] == 3 * [k - 1]
    drawn = [slots.inside for slots in learned.draws]
    assert (drawn[0] != drawn[1]).any()


def test_rows_are_limited() -> None:
    _, _, shadows = pool_case(2)
    apart = Learned(rows=120).fit(shadows).held_out()
    assert apart is not None
    # Nine pseudo-targets with 14 rows each; in either half of the records equal numbers of both.
    assert len(apart.scores) <= 9 * 16
    assert apart.members.sum() == len(apart.members) / 2


def test_records_without_shadow_models_score_nothing() -> None:
    target, _, shadows = pool_case(3)
    hidden = shadows.use.copy()
    hidden[:, :5] = -1
    scores = Learned().fit(replace(shadows, use=hidden)).score(target)
    assert (scores[:5] == 0).all()
    assert (scores[5:] != 0).all()


def test_near_duplicates_help() -> None:
    """Seven noisy inputs of a record tell more than one."""
    aucs = []
    for inputs in (1, 7):
        target, truth, shadows = pool_case(4, leak=1.0, inputs=inputs)
        aucs.append(roc(Learned().fit(shadows).score(target), truth).auc)
    assert aucs[1] > aucs[0]


def test_near_duplicates_that_say_nothing_do_not_drown_the_record() -> None:
    outputs = pool_outputs(0, inputs=9)
    noise = np.random.default_rng(1).normal(0, 4, outputs.logits[:, :, 1:].shape)
    mixed = np.concatenate([outputs.logits[:, :, :1], noise], axis=2)
    alone, beside = outputs.select(inputs=slice(1)), replace(outputs, logits=mixed)
    aucs = []
    for some in (alone, beside):
        target, members, shadows = case_of(some)
        aucs.append(roc(Learned().fit(shadows).score(target), members).auc)
    assert aucs[1] > aucs[0] - 0.02


@pytest.mark.behaviour
def test_what_is_held_out_is_not_learned_from() -> None:
    """Shadow models of random membership: an estimate on what was learned would be above 0.5."""
    excess, variance = 0.0, 0.0
    for seed in range(8):
        outputs = pool_outputs(seed, leak=0.0, count=200)
        _, _, shadows = case_of(outputs)
        apart = Learned().fit(shadows).held_out()
        assert apart is not None
        excess += roc(apart.scores, apart.members).auc - 0.5
        members, others = apart.members.sum(), (~apart.members).sum()
        variance += (members + others + 1) / (12 * members * others)
    # Low by what the other models' membership gives away, never high: see `Learned`.
    assert -6 * np.sqrt(variance) < excess < 3.3 * np.sqrt(variance)


def test_wrong_parameters_and_small_pools_are_refused() -> None:
    with pytest.raises(InputError, match=r"rows is 0 and draws 2"):
        Learned(rows=0)
    with pytest.raises(InputError, match=r"draws 0"):
        Learned(draws=0)
    small = pool_outputs(0, models=3, count=50)
    use = np.tile(np.array([[1], [0], [0]], dtype=np.int8), 50)
    tiny = case_of(Outputs(small.logits, small.labels, small.ids, use[[0, 0, 1]]))[2]
    with pytest.raises(TooFewRecordsError, match="at least two of either kind"):
        Learned().fit(tiny)
