"""Boundary probing of linear models, whose boundaries are known in closed form."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest

from dynanoise.attacks.boundary import BoundaryDistance, BoundaryProbing
from dynanoise.core import numerics
from dynanoise.core.defense import Defense, Method
from dynanoise.core.errors import InputError, QueryBudgetError
from dynanoise.core.membership import balance_shadows, has_shadows
from dynanoise.core.numerics import Float64, Floats
from dynanoise.core.outputs import Outputs
from dynanoise.core.queries import CountedQueries, Inputs
from dynanoise.defenses.calibrated_label import CalibratedLabel
from dynanoise.defenses.dynanoise import DynaNoise
from dynanoise.defenses.temperature import undefended
from dynanoise.evaluation.chosen_inputs import (
    DISTANCE,
    PROBING,
    ChosenInputs,
    DefendedModel,
    ProbeOutcome,
    prepare_pool,
)
from dynanoise.evaluation.responses import (
    make_noise,
    observe,
    observe_logits,
    observe_shadow_logits,
    recover,
)
from dynanoise.metrics.roc import roc
from dynanoise.noise.cells import Grid
from dynanoise.probing.boundary import split_budget
from dynanoise.probing.crossings import Prior, bisect, first_crossings
from dynanoise.probing.grid import decode_cells, recover_grid
from dynanoise.probing.path_outputs import in_out_weights
from dynanoise.probing.paths import InputRange, StraightPaths, rank_rivals, straight_paths

RECORDS, FEATURES, CLASSES, MODELS = 60, 5, 4, 8
SPACE = InputRange(
    np.append(np.full(FEATURES - 1, -1e3), 0.0), np.append(np.full(FEATURES - 1, 1e3), RECORDS)
)
"""The last entry of an input is the number of its record, which no gradient changes."""


Made = tuple[list["Linear"], Outputs, Float64, Float64]
"""Models, their outputs, the inputs, and margins by model."""


@dataclass(frozen=True)
class Linear:
    """z = W x + b + m, with a margin m of its own on each record (found by its first feature)."""

    weights: Float64
    bias: Float64
    margins: Float64
    labels: Float64

    def __call__(self, inputs: Inputs) -> Float64:
        logits: Float64 = inputs @ self.weights.T + self.bias
        record = np.rint(inputs[:, -1]).astype(int)
        logits[np.arange(len(inputs)), self.labels[record].astype(int)] += self.margins[record]
        return logits

    def gradient(self, inputs: Inputs, weights: Floats) -> Floats:
        gradient: Float64 = weights @ self.weights
        gradient[:, -1] = 0  # which record it is stays
        return gradient


@pytest.fixture(scope="module")
def pool() -> Made:
    """Models that differ in the margins of their members, and margins by model."""
    generator = np.random.default_rng(0)
    use = (generator.random((MODELS, RECORDS)) < 0.5).astype(np.int8)
    weights = generator.normal(size=(CLASSES, FEATURES))
    weights[:, -1] = 0
    inputs = generator.normal(size=(RECORDS, FEATURES))
    inputs[:, -1] = np.arange(RECORDS)
    labels = (inputs @ weights.T).argmax(axis=1)
    margins = 2.0 * use + generator.normal(0, 0.3, use.shape)
    models = [Linear(weights, np.zeros(CLASSES), row, labels.astype(float)) for row in margins]
    logits = np.stack([model(inputs) for model in models])[:, :, None]
    return models, Outputs(logits, labels, np.arange(RECORDS), use), inputs, margins


@pytest.fixture(scope="module")
def chosen(pool: Made) -> ChosenInputs:
    models, records, inputs, _ = pool
    return prepare_pool(models, records, inputs, SPACE, seed=0)


def run(
    pool: Made,
    chosen: ChosenInputs,
    defense: Defense,
    budget: int,
    *,
    width: float | None = None,
    model: int = 0,
) -> ProbeOutcome:
    """The outcome of probing one model behind a defense."""
    models, records, _, _ = pool
    source = make_noise(Method("method", defense, cell_width=width), 0, "target")
    observed = recover(observe(defense, records, source, model=model, aware=True))
    target = DefendedModel(models[model], defense, source, width)
    use = np.delete(records.use, model, axis=0)
    return chosen.probe(model, target, observed, use, budget, 1)


def test_a_step_of_one_changes_the_mean_gap_by_one_logit(pool: Made) -> None:
    models, records, inputs, _ = pool
    weights = in_out_weights(records.use)
    rivals = rank_rivals(records.logits[0, :, 0].astype(np.float64), records.labels, 2)
    paths = straight_paths(
        inputs, records.labels, rivals, models, weights, SPACE, classes=CLASSES, seed=0
    )
    rows = np.arange(RECORDS)
    for path in range(2):
        at, moved = (
            models[0](paths.inputs(rows, np.full(RECORDS, path), np.full(RECORDS, s)))
            for s in (0.0, 1.0)
        )
        change = (moved - at)[rows, records.labels] - (moved - at)[rows, rivals[:, path]]
        np.testing.assert_allclose(change, 1.0, atol=1e-5)


def test_bisection_finds_the_distance_to_a_linear_boundary() -> None:
    exact = np.array([-3.7, 0.4, 2.9])
    prior = Prior(np.array([-3.0, 0.0, 0.0]), np.ones(3))
    found = bisect(lambda s: s >= exact, exact <= 0, prior, (-9.0, 9.0), 14)
    np.testing.assert_allclose(found.position, exact, atol=2e-2)
    assert (np.abs(found.position - exact) <= 2 * found.error + 1e-9).all()


def test_crossings_of_straight_lines_are_exact() -> None:
    positions = np.array([-4.0, -1.0, 0.0, 2.0])
    lines = np.array([[positions + 3.0], [positions - 1.5]])
    assert first_crossings(positions, lines).ravel().tolist() == [-3.0, 1.5]


def test_labels_alone_rebuild_the_logits_of_linear_models(pool: Made, chosen: ChosenInputs) -> None:
    _, records, _, _ = pool
    outcome = run(pool, chosen, undefended(), 64)
    statistics = numerics.scaled_logit(
        records.logits.reshape(-1, CLASSES).astype(np.float64), np.tile(records.labels, MODELS)
    ).reshape(MODELS, RECORDS)
    mean = np.einsum("sn,sn->n", in_out_weights(records.use[1:]), statistics[1:])
    # Without queries the shadow models' mean is all there is.
    nothing = run(pool, chosen, undefended(), 1).target[DISTANCE][:, 0]
    np.testing.assert_allclose(nothing, mean, rtol=1e-4)
    error = np.abs(outcome.target[DISTANCE][:, 0] - statistics[0])
    assert np.median(error) < 0.15 * np.median(np.abs(mean - statistics[0]))


@pytest.mark.parametrize("budget", [1, 2, 4, 16, 64])
def test_no_run_exceeds_its_budget_and_all_queries_are_counted(
    pool: Made, chosen: ChosenInputs, budget: int
) -> None:
    outcome = run(pool, chosen, undefended(), budget)
    assert outcome.queries[DISTANCE] == 1 + split_budget(budget - 1, 10).queries <= budget


def test_queries_beyond_the_budget_are_refused_before_they_are_sent() -> None:
    sent: list[int] = []
    counted = CountedQueries(lambda inputs: sent.append(len(inputs)), records=2, budget=2)
    counted(np.zeros((3, 1)), np.array([0, 0, 1]))
    with pytest.raises(QueryBudgetError, match="3 queries"):
        counted(np.zeros((1, 1)), np.array([0]))
    assert sent == [3] and counted.counts.tolist() == [2, 1]


def test_a_constant_model_reveals_nothing_of_its_membership(
    pool: Made, chosen: ChosenInputs
) -> None:
    models, records, inputs, margins = pool
    constant = Linear(models[0].weights, models[0].bias, np.ones(RECORDS), models[0].labels)
    logits = records.logits.copy()
    logits[0, :, 0] = constant(inputs)
    records = Outputs(logits, records.labels, records.ids, records.use)
    outcome = run(([constant, *models[1:]], records, inputs, margins), chosen, undefended(), 64)
    residual = outcome.target[DISTANCE][:, 0] - np.mean(
        [c[DISTANCE][:, 0] for c in outcome.shadows], axis=0
    )
    members = records.use[0] == 1
    assert abs(residual[members].mean() - residual[~members].mean()) < 0.35


def test_a_defense_that_keeps_labels_changes_no_probe(pool: Made, chosen: ChosenInputs) -> None:
    plain = run(pool, chosen, undefended(), 27).target[DISTANCE][:, 0]
    label = CalibratedLabel(np.full(CLASSES, 0.7))
    keyed = DynaNoise(0.3, 2.0, 10.0, keep_label=True)
    assert np.array_equal(run(pool, chosen, label, 27).target[DISTANCE][:, 0], plain)
    outcome = run(pool, chosen, keyed, 27, width=8.0)
    assert np.array_equal(outcome.target[DISTANCE][:, 0], plain)
    assert list(outcome.target) == [PROBING, DISTANCE]


def test_the_grid_of_keyed_noise_is_recovered() -> None:
    generator = np.random.default_rng(1)
    logits = generator.normal(0, 8, (1_500, 6))
    grid = Grid(6.0, generator.random(6))
    cells, labels = grid.find(logits)
    noisy = grid.representatives(cells) + generator.normal(0, 0.4, logits.shape)
    top = noisy.argmax(axis=1)
    rows = np.arange(len(noisy))
    noisy[rows, labels], noisy[rows, top] = noisy[rows, top], noisy[rows, labels]  # keep_label
    others = logits + generator.normal(0, 1.0, logits.shape)
    expected = others.max(axis=1, keepdims=True) - others
    found = recover_grid(noisy, labels, expected, 6.0)
    error = np.mod(found.offsets - grid.offsets + 0.5, 1.0) - 0.5
    assert np.abs(error).max() < 0.05
    assert (decode_cells(noisy, labels, found) == cells).mean() > 0.97


def test_two_classes_have_a_grid_as_well() -> None:
    generator = np.random.default_rng(2)
    logits = generator.normal(0, 8, (800, 2))
    grid = Grid(6.0, np.array([0.3, 0.8]))
    cells, labels = grid.find(logits)
    expected = -numerics.shift(logits)
    found = recover_grid(grid.representatives(cells), labels, expected, 6.0)
    assert (decode_cells(grid.representatives(cells), labels, found) == cells).mean() > 0.97


def test_one_shadow_model_is_refused(pool: Made, chosen: ChosenInputs) -> None:
    models, records, inputs, _ = pool
    two = records.select(models=slice(2))
    few = prepare_pool(models[:2], two, inputs, SPACE, seed=0)
    with pytest.raises(InputError, match="1 shadow model"):
        run((models[:2], two, inputs, inputs), few, undefended(), 8)


def test_differences_stand_for_gradients_that_a_model_does_not_give(pool: Made) -> None:
    models, records, inputs, _ = pool
    functions = [lambda rows, model=model: model(rows) for model in models]
    # Differences of linear functions are exact; those of the record's number would be another's.
    fixed = InputRange(SPACE.low, np.append(SPACE.high[:-1], 0.0))
    exact, differences = (
        prepare_pool(some, records, inputs, fixed, seed=0) for some in (models, functions)
    )
    for one, other in zip(exact.prepared, differences.prepared, strict=True):
        assert isinstance(one.paths, StraightPaths) and isinstance(other.paths, StraightPaths)
        np.testing.assert_allclose(one.paths.steps, other.paths.steps, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("leak", [0.0, 1.5])
def test_a_leak_planted_in_a_column_is_found_and_nothing_else(leak: float) -> None:
    generator = np.random.default_rng(3)
    count, models = 400, 9
    use = (generator.random((models, count)) < 0.5).astype(np.int8)
    values = generator.normal(0, 2, count) + leak * use + generator.normal(0, 1, use.shape)
    kept = balance_shadows(use[1:], 2, seed=0)
    shadows = observe_shadow_logits(np.zeros((models - 1, count, 2)), np.zeros(count, int), kept)
    observed = [
        observation.with_columns({"boundary_distance": row[:, None]})
        for observation, row in zip(shadows.observations, values[1:], strict=True)
    ]
    shadows = replace(shadows, observations=tuple(observed))
    target = observe_logits(np.zeros((count, 2)), np.zeros(count, int))
    scored = has_shadows(kept)
    for attack in (BoundaryDistance(), BoundaryProbing()):
        fitted = attack.fit(shadows)
        scores = fitted.score(target.with_columns({"boundary_distance": values[0][:, None]}))
        auc = roc(scores[scored], use[0][scored] == 1).auc
        assert auc > 0.7 if leak else abs(auc - 0.5) < 0.09  # three standard errors
    with pytest.raises(InputError, match="no boundary_probing"):
        fitted.score(target)
