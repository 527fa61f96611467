"""Queries with chosen inputs: paths from the attacker's own models, and the probing of a target."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Protocol

import numpy as np
from threadpoolctl import threadpool_limits

from dynanoise.core import numerics
from dynanoise.core.defense import Defense
from dynanoise.core.numerics import Bools, Float64, Floats, Int8, Int64
from dynanoise.core.observation import Observation
from dynanoise.core.outputs import Outputs
from dynanoise.core.queries import CountedQueries, GradientFunction, Inputs, QueryFunction
from dynanoise.core.seeding import derive
from dynanoise.evaluation.responses import NoiseSource
from dynanoise.noise.cells import Grid
from dynanoise.probing.boundary import Probe, Split, split_budget
from dynanoise.probing.edits import edit_paths
from dynanoise.probing.finite_differences import FiniteDifferences, compared_directions
from dynanoise.probing.grid import decode_cells, recover_grid
from dynanoise.probing.path_outputs import PathOutputs, in_out_weights, label_margins
from dynanoise.probing.paths import (
    MULTIPLES,
    InputRange,
    Paths,
    Words,
    rank_rivals,
    straight_paths,
)

PATHS = 10
"""Paths of a record, at most."""

GROUPS = 4
"""Groups of a pool's models; the paths of a target come from models of the other groups."""

DISTANCE, PROBING = "boundary_distance", "boundary_probing"
"""Names of `Observation.columns`: from labels alone, and from cells as well."""


@dataclass(frozen=True, eq=False)
class PreparedPaths:
    """Paths from records, and models' undefended logits on them.

    Attributes:
        paths: R paths for each of N records.
        rivals: int64 [N, R].
        positions: float64 [P].
        logits: float32 [M, N, R, P, K].
        margins: float32 [M, N, R, P], `path_outputs.label_margins` of them.
    """

    paths: Paths
    rivals: Int64
    positions: Float64
    logits: Floats
    margins: Floats


@dataclass(frozen=True, eq=False)
class ChosenInputs:
    """The models of a pool as functions of inputs, with paths for each of them as the target.

    Attributes:
        models: from inputs to undefended logits, for each of the M models.
        prepared: the paths of model m are ``prepared[m % len(prepared)]``, and depend on models
            with another remainder alone.
    """

    models: tuple[QueryFunction, ...]
    prepared: tuple[PreparedPaths, ...]
    _runs: dict[tuple[int, Split], tuple[Probe, list[Float64]]] = field(
        default_factory=dict, init=False, repr=False
    )
    _outcomes: dict[tuple[int, Split], ProbeOutcome] = field(
        default_factory=dict, init=False, repr=False
    )

    def __getstate__(self) -> dict[str, Any]:
        """Leave out what can be computed again."""
        return {**vars(self), "_runs": {}, "_outcomes": {}}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Restore the fields of a frozen instance."""
        vars(self).update(state)

    def probe(
        self,
        model: int,
        target: Target,
        observed: Observation,
        use: Int8,
        budget: int,
        direct: int,
    ) -> ProbeOutcome:
        """Probe one model as the target, and all others as its shadow models; see `probe`.

        By labels alone the shadow models' part is the same behind every defense, and kept; so is
        the target's behind every defense that keeps its labels.
        """
        others = [other for other in range(len(self.models)) if other != model]
        prepared = self.prepared[model % len(self.prepared)]
        split = split_budget(budget - direct, prepared.paths.count)
        key = model, split
        # With several threads, sums depend on their number; so would the outcomes.
        with threadpool_limits(1):
            if key not in self._runs:
                self._runs[key] = probe_shadows(prepared, others, use, observed.labels, split)
            run = self._runs[key]
            same = isinstance(target, DefendedModel) and target.logits is self.models[model]
            same = same and target.keeps_labels and target.cell_width is None
            if same and key in self._outcomes:
                return self._outcomes[key]
            outcome = probe(target, observed, prepared, others, use, budget, direct, run)
            if same:
                self._outcomes[key] = outcome
            return outcome

    def take_first(self, models: int) -> ChosenInputs:
        """Keep only the first models; paths stay as they are."""
        prepared = tuple(
            replace(part, logits=part.logits[:models], margins=part.margins[:models])
            for part in self.prepared
        )
        return ChosenInputs(self.models[:models], prepared)


@dataclass(frozen=True, eq=False)
class ModelFunctions:
    """The models of a pool as functions of inputs, for any of its records.

    Attributes:
        models: M >= 2 models, from inputs to undefended logits.
        inputs: the inputs of all data, whose rows are the ids of records.
        space: inputs that can be sent, see `paths.input_space`.
        seed: decides what is left to chance.
    """

    models: tuple[QueryFunction, ...]
    inputs: Inputs
    space: InputRange | Words
    seed: int

    def prepare(
        self,
        records: Outputs,
        paths: int = PATHS,
        run: Callable[..., Iterable[Any]] = map,
        progress: Callable[[str], None] = lambda step: None,
    ) -> ChosenInputs:
        """Prepare paths for some of the pool's records; see `prepare_pool`."""
        inputs, space = self.inputs[records.ids], self.space
        return prepare_pool(self.models, records, inputs, space, self.seed, paths, run, progress)


def prepare_pool(
    models: Sequence[QueryFunction],
    records: Outputs,
    inputs: Inputs,
    space: InputRange | Words,
    seed: int,
    paths: int = PATHS,
    run: Callable[..., Iterable[Any]] = map,
    progress: Callable[[str], None] = lambda step: None,
) -> ChosenInputs:
    """Prepare paths for every model of a pool as the target.

    Args:
        models: M >= 2 models, from inputs to undefended logits, with gradients.
        records: their outputs on N records, with membership.
        inputs: the inputs [N, ...] of these records.
        space: inputs that can be sent, see `paths.input_space`.
        seed: decides what is left to chance.
        paths: R, paths of a record, >= 1.
        run: the built-in `map`, or that of worker processes.
        progress: called after each of `GROUPS` steps, or of M if these are fewer.

    Returns:
        The models with their paths.
    """
    groups = range(min(GROUPS, len(models)))
    seeds = [derive(seed, "paths", group) for group in groups]
    sources = [
        [model for model in range(len(models)) if model % len(groups) != group] for group in groups
    ]
    prepare = partial(prepare_paths, models, records, inputs, space, count=paths)
    prepared = []
    for part in run(prepare, seeds, sources):
        prepared.append(part)
        progress(f"chosen inputs {len(prepared)} of {len(groups)}")
    return ChosenInputs(tuple(models), tuple(prepared))


def prepare_paths(
    models: Sequence[QueryFunction],
    records: Outputs,
    inputs: Inputs,
    space: InputRange | Words,
    seed: int,
    sources: Sequence[int] | None = None,
    *,
    count: int = PATHS,
) -> PreparedPaths:
    """Make paths from models' gradients, and query the attacker's models on them.

    Args:
        models: M models, from inputs to undefended logits.
        records: their outputs on N records, with membership.
        inputs: the inputs [N, ...] of these records.
        space: inputs that can be sent, see `paths.input_space`.
        seed: decides what is left to chance.
        sources: positions of the models that paths depend on; None for all.
        count: R, paths of a record, >= 1.

    Returns:
        The paths, with the logits of all models. Models other than a `GradientFunction` are
        compared at neighbouring inputs instead, see `finite_differences`.
    """
    sources = range(len(models)) if sources is None else sources
    use, labels = records.use[list(sources)], records.labels
    logits = records.logits[list(sources), :, 0].astype(np.float64)
    weights = in_out_weights(use)
    rivals = rank_rivals(np.einsum("sn,snk->nk", weights, logits), labels, count)
    of_sources = [models[model] for model in sources]
    paths = _make_paths(inputs, labels, rivals, of_sources, weights, space, records.classes, seed)
    unit = max(float(np.median(numerics.top_gaps(logits))), 1e-3)
    positions = unit * np.asarray(MULTIPLES, dtype=np.float64)
    table = query_paths(models, paths, positions, len(labels), records.classes)
    margins = np.stack([label_margins(logits, labels) for logits in table])
    return PreparedPaths(paths, rivals, positions, table, margins)


def _make_paths(
    inputs: Inputs,
    labels: Int64,
    rivals: Int64,
    models: Sequence[QueryFunction],
    weights: Floats,
    space: InputRange | Words,
    classes: int,
    seed: int,
) -> Paths:
    if isinstance(space, Words):
        words = space.vocabulary
        return edit_paths(
            inputs, labels, rivals, models, weights, words, classes=classes, seed=seed
        )
    shape = inputs.shape[1:]
    low, high = (np.broadcast_to(end, shape) for end in space)
    directions = compared_directions(low, high, seed)
    with_gradients = [
        model if isinstance(model, GradientFunction) else FiniteDifferences(model, directions)
        for model in models
    ]
    return straight_paths(
        inputs, labels, rivals, with_gradients, weights, space, classes=classes, seed=seed
    )


def probe_shadows(
    prepared: PreparedPaths,
    models: Sequence[int],
    use: Int8,
    labels: Int64,
    split: Split,
    grid: Grid | None = None,
) -> tuple[Probe, list[Float64]]:
    """Probe shadow models in the way that their target will be.

    Args:
        prepared: paths, and the models' logits on them.
        models: positions of S >= 2 shadow models in ``prepared``.
        use: int8 [S, N], their membership.
        labels: int64 [N], true classes.
        split: how the budget is spent.
        grid: the grid of the target's cells; None to use labels alone.

    Returns:
        The run, ready for the target, and the outcome float64 [N] of each shadow model.
    """
    outputs = PathOutputs(
        prepared.positions, prepared.logits, prepared.margins, np.asarray(models), use
    )
    run = Probe(outputs, labels, prepared.rivals, split, grid=grid)
    return run, [run.rebuild_shadow(model) for model in range(len(models))]


def query_paths(
    models: Sequence[QueryFunction], paths: Paths, positions: Float64, records: int, classes: int
) -> Floats:
    """Query models at all positions of all paths.

    Args:
        models: M models.
        paths: R paths for each record.
        positions: float64 [P].
        records: N.
        classes: K.

    Returns:
        float32 [M, N, R, P, K].
    """
    shape = len(models), records, paths.count, len(positions), classes
    table = np.empty(shape, dtype=np.float32)
    rows = np.arange(records)
    for path in range(paths.count):
        for place, position in enumerate(positions):
            inputs = paths.inputs(rows, np.full(records, path), np.full(records, position))
            for model, query in enumerate(models):
                table[model, :, path, place] = query(inputs)
    return table


class Target(Protocol):
    """A target model behind its defense, as an attacker queries it with inputs of its choice."""

    @property
    def cell_width(self) -> float | None:
        """Width of the cells that outputs give away, in logits; None where they give none away."""

    @property
    def keeps_labels(self) -> bool:
        """True if labels are the undefended model's own, whatever the defense does."""

    def labels(self, inputs: Inputs) -> Int64:
        """Query a batch for its labels alone, int64 [n]."""

    def recovered(self, inputs: Inputs) -> Float64:
        """Query a batch, and undo what can be undone of the defense, float64 [n, K]."""


@dataclass(eq=False)
class DefendedModel:
    """A `Target` in this process: a model, a defense and its noise.

    Args:
        logits: the undefended model.
        defense: fitted to it.
        noise: its noise, called with one purpose for each batch of queries.
        cell_width: see `Target` and `protocols.gives_cells_away`.
    """

    logits: QueryFunction
    defense: Defense
    noise: NoiseSource
    cell_width: float | None
    _batches: int = field(default=0, init=False)

    @property
    def keeps_labels(self) -> bool:
        """See `Target`."""
        return self.defense.keeps_labels

    def labels(self, inputs: Inputs) -> Int64:
        """See `Target`: the model's own where the defense keeps them, whatever else it computes."""
        logits = np.asarray(self.logits(inputs), dtype=np.float64)
        if self.defense.keeps_labels:
            return np.asarray(logits.argmax(axis=-1))
        return np.asarray(self._defend(logits).argmax(axis=-1))

    def recovered(self, inputs: Inputs) -> Float64:
        """See `Target`."""
        logits = np.asarray(self.logits(inputs), dtype=np.float64)
        return self.defense.undo(numerics.log_probabilities(self._defend(logits)))

    def _defend(self, logits: Float64) -> Floats:
        self._batches += 1
        return self.defense(logits, self.noise(f"chosen {self._batches}"))


def direct_queries(budget: int, constant: bool) -> int:
    """Number of queries of the record itself, of a budget for chosen inputs.

    Outputs that never change are worth one query. Noise that is drawn anew is averaged over half
    of the budget.

    >>> direct_queries(64, constant=True), direct_queries(64, constant=False)
    (1, 32)
    """
    return 1 if constant else budget - budget // 2


@dataclass(frozen=True, eq=False)
class ProbeOutcome:
    """Outcomes of probing a target and its shadow models alike.

    Attributes:
        target: float64 [N, 1] by column.
        shadows: likewise for each of the S shadow models.
        queries: mean number of queries a record to the target, the direct ones included, by column.
    """

    target: Mapping[str, Float64]
    shadows: tuple[Mapping[str, Float64], ...]
    queries: Mapping[str, float]


def probe(
    target: Target,
    observed: Observation,
    prepared: PreparedPaths,
    models: Sequence[int],
    use: Int8,
    budget: int,
    direct: int,
    by_labels: tuple[Probe, list[Float64]] | None = None,
    *,
    best_only: bool = False,
) -> ProbeOutcome:
    """Probe one target and its shadow models.

    Each column is the outcome of a run of its own, with the whole budget: an attacker decides for
    one of them beforehand.

    Args:
        target: answers queries.
        observed: its direct outputs as recovered, [N, 1, K].
        prepared: paths that do not depend on it.
        models: positions of S >= 2 shadow models in ``prepared``.
        use: int8 [S, N], their membership.
        budget: queries a record, the direct ones included.
        direct: queries a record that ``observed`` took.
        by_labels: the value of `probe_shadows` without a grid, for the same budget; None to compute
            it.
        best_only: True for one run alone, the first, where every query has a price.

    Returns:
        Columns "boundary_distance" and, where outputs give cells away, "boundary_probing" first.

    Raises:
        QueryBudgetError: if the budget is below ``direct``.
    """
    labels = observed.labels
    if by_labels is None:
        split = split_budget(budget - direct, prepared.paths.count)
        by_labels = probe_shadows(prepared, models, use, labels, split)
    runs = {DISTANCE: by_labels}
    logits = observed.log_probs[:, 0]
    if target.cell_width is not None:
        outputs, split = by_labels[0].outputs, by_labels[0].split
        mean = np.einsum("sn,snk->nk", in_out_weights(use), outputs.at_records)
        gaps = mean.max(axis=-1, keepdims=True) - mean
        grid = recover_grid(logits, logits.argmax(axis=-1), gaps, target.cell_width)
        # First, because it sees more of each output.
        of_cells = probe_shadows(prepared, models, use, labels, split, grid)
        runs = {PROBING: of_cells} if best_only else {PROBING: of_cells, **runs}
    of_target, queries = {}, {}
    for name, (run, _) in runs.items():
        states = _States(target, run, prepared.paths, budget, direct)
        rebuilt = run.rebuild_target(states.along, states.at_records(logits))
        of_target[name] = rebuilt[:, None]
        queries[name] = float(states.queries.counts.mean())
    of_shadows = tuple(
        {name: outcomes[model][:, None] for name, (_, outcomes) in runs.items()}
        for model in range(len(models))
    )
    return ProbeOutcome(of_target, of_shadows, queries)


class _States:
    """States of a target on either side of the borders, by counted queries."""

    def __init__(self, target: Target, run: Probe, paths: Paths, budget: int, direct: int) -> None:
        self._run, self._paths = run, paths
        query = target.labels if run.grid is None else target.recovered
        self.queries = CountedQueries(query, len(run.labels), budget)
        self.queries.count(np.repeat(np.arange(len(run.labels)), direct))
        # Records and paths of a batch, one after the other.
        shape = len(run.labels), run.split.paths
        self._rows, self._path = (part.ravel() for part in np.indices(shape))

    def at_records(self, logits: Float64) -> Bools:
        """States at the records, from what their direct outputs give away, bool [N, R']."""
        answers = logits.argmax(axis=-1) if self._run.grid is None else logits
        return self._of(answers[self._rows])

    def along(self, positions: Float64) -> Bools:
        """States at positions [N, R'] of the paths, one query each, bool [N, R']."""
        inputs = self._paths.inputs(self._rows, self._path, positions.ravel())
        return self._of(self.queries(inputs, self._rows))

    def _of(self, answers: Any) -> Bools:
        run, shape = self._run, (len(self._run.labels), self._run.split.paths)
        if run.grid is None:
            return np.asarray(answers == run.labels[self._rows]).reshape(shape)
        predicted = answers.argmax(axis=-1)
        cells = decode_cells(np.asarray(answers, dtype=np.float64), predicted, run.grid)
        rivals, levels = (part.ravel() for part in run.borders)
        rival = np.maximum(rivals, 0)
        # The cell whose lower border is the level.
        needed = np.rint(levels / run.grid.width + run.grid.offsets[rival])
        above = (rivals < 0) | (cells[np.arange(len(cells)), rival] >= needed)
        return np.asarray((predicted == run.labels[self._rows]) & above).reshape(shape)
