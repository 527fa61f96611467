"""The evaluation engine: attacks on methods, their utility and MIDPUT become results.

MIDPUT, the membership inference defense privacy-utility trade-off, compares a method with the
undefended baseline; see `metrics.midput`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from dynanoise.core.defense import Defense, Method, Noise
from dynanoise.core.errors import DynaNoiseError, InputError
from dynanoise.core.numerics import Float64, Floats, Int64
from dynanoise.core.outputs import Outputs
from dynanoise.core.result import AttackProtocol, Metric, Result
from dynanoise.core.workers import begin, worker_processes
from dynanoise.defenses.dynanoise import DynaNoise
from dynanoise.evaluation.design import Design
from dynanoise.evaluation.evidence import Gatherer
from dynanoise.evaluation.protocols import select_attacks
from dynanoise.evaluation.provenance import Provenance, describe
from dynanoise.evaluation.responses import make_noise
from dynanoise.evaluation.trial import AttackScores, OnRefusal, attack_trials
from dynanoise.metrics import intervals
from dynanoise.metrics.bootstrap import FPRS
from dynanoise.metrics.midput import trade_off
from dynanoise.metrics.success import Success
from dynanoise.metrics.utility import utility_metrics

CELL_AND_LABEL = DynaNoise(0.0, 0.0, 1.0, keep_label=True)
"""The defense for an attacker who knows the key of keyed noise and so can remove the noise: only
cell and label remain."""

Progress = Callable[[str], None]
"""Called with the names of a method and an attack, or "utility", when that is measured."""


def _ignore(step: str) -> None:
    """Report nothing."""


class Task(NamedTuple):
    """One method to measure; it can be handed to another process.

    Attributes:
        method: its defense is fitted to every model.
        design: the models.
        protocol: threat model and attacks.
        fprs: false positive rates at which the TPR is wanted.
        skip_refused: whether to continue without attacks that have too few models.
        predictions: whether to keep the predictions on test data.
        for_comparison: True for a baseline that only MIDPUT needs.
    """

    method: Method
    design: Design
    protocol: AttackProtocol
    fprs: tuple[float, ...] = FPRS
    skip_refused: bool = False
    predictions: bool = False
    for_comparison: bool = False

    @property
    def models(self) -> int:
        """Number of target models."""
        return self.design.records.models

    @property
    def repeatable(self) -> bool:
        """True if no query gets another prediction when it is repeated."""
        return self.method.cell_width is not None or self.method.defense.repeatable

    @property
    def key(self) -> Hashable:
        """Cache key: tasks over the same models with equal keys have equal results."""
        threat = replace(self.protocol.threat, name="")
        threat = replace(threat, repeats=1) if self.repeatable and not threat.chosen else threat
        return self.method.name, self.models, threat, self.protocol.attacks, self.fprs


Measures = Callable[[Task, AttackScores], Mapping[str, Metric]]
"""Computes further metrics of an attack from its scores."""


@dataclass(frozen=True, eq=False)
class AttackMeasurement:
    """Scores of one attack on one method, their success, and their wall time in seconds.

    Attributes:
        scores: scores on all trials.
        success: their success.
        seconds: wall time.
        queries: queries a record, on average, of an attacker who chooses inputs; None for others.
    """

    scores: AttackScores
    success: Success
    seconds: float
    queries: float | None = None

    @property
    def metrics(self) -> dict[str, Metric]:
        """Success, accuracy expected from pseudo-targets, queries, counts of chosen attacks."""
        metrics = dict(self.success.metrics)
        if self.scores.expected is not None:
            metrics["expected"] = Metric(float(self.scores.expected.mean()))
        if self.queries is not None:
            metrics["queries"] = Metric(self.queries)
        chosen = self.scores.chosen.items()
        return metrics | {f"chosen {name}": Metric(count) for name, count in chosen}


@dataclass(frozen=True, eq=False)
class Measurement:
    """Attacks on one method under one protocol, and its utility.

    Attributes:
        defense: class and parameters of the defense (fitted, if there is only one model).
        attacks: one for each attack, then one for "strongest" if there is a choice.
        utility: metrics of each model; empty without test data.
        seconds: wall time of the measurement of utility.
        refused: attacks that have too few models, with the reason.
        predictions: probabilities [N, K] and labels [N] of test data, for each model; empty
            unless the task keeps them.
    """

    defense: Mapping[str, Any]
    attacks: tuple[AttackMeasurement, ...]
    utility: tuple[Mapping[str, Metric], ...]
    seconds: float
    refused: tuple[tuple[str, DynaNoiseError], ...]
    predictions: tuple[tuple[Floats, Int64], ...]

    @property
    def success(self) -> dict[str, Success]:
        """Success by attack."""
        return {attack.scores.name: attack.success for attack in self.attacks}

    @property
    def accuracy(self) -> Float64:
        """Accuracy on test data, [M]."""
        return np.array([metrics["accuracy"].value for metrics in self.utility])


def measure(task: Task, progress: Progress = _ignore) -> Measurement:
    """Measure one method under one protocol, without MIDPUT.

    Noise depends on seed, split, method, model and purpose alone, so results do not depend on the
    process or the order of measurements.

    Args:
        task: the method and the models.
        progress: called after each attack and after utility.

    Returns:
        Scores, success and utility; they can be handed to another process.

    Raises:
        InputError: if an attack cannot be run on these models and is not skipped.
        TooFewRecordsError: likewise.
    """
    method, design = task.method, task.design
    started = time.perf_counter()
    defenses = [method.defense.fit(view) for view in design.views(task.protocol.threat)]
    # Its own function, so that what was observed is freed before utility is measured.
    attacks, refused = _measure_attacks(task, defenses, started, progress)
    started = time.perf_counter()
    noise = design.noise(method)
    by_model, predictions = [], []
    for model, (test, members) in enumerate(design.utility()):
        source = noise(model, "target")
        metrics, probs = measure_utility(defenses[model], test, source("test"))
        of_members, _ = measure_utility(defenses[model], members, source("members"))
        by_model.append({**metrics, "train_accuracy": of_members["accuracy"]})
        if task.predictions:
            predictions.append((probs, test.labels))
    if by_model:
        progress(f"{method.name}, utility")
    # Several models have a fitted defense each, so the unfitted defense is reported.
    described = defenses[0] if defenses and task.models == 1 else method.defense
    return Measurement(
        describe(described, method.cell_width),
        tuple(attacks),
        tuple(by_model),
        time.perf_counter() - started,
        tuple(refused),
        tuple(predictions),
    )


def _measure_attacks(
    task: Task, defenses: Sequence[Defense], started: float, progress: Progress
) -> tuple[list[AttackMeasurement], list[tuple[str, DynaNoiseError]]]:
    """Attacks on the models behind their defenses, and those that were refused."""
    method, design, protocol = task.method, task.design, task.protocol
    noise = design.noise(method)
    if protocol.threat.key_known and method.cell_width is not None:
        shared = make_noise(method, design.seed, design.split, method.name, "known")
        defenses, noise = [CELL_AND_LABEL] * len(defenses), lambda model, role: shared
    trials = list(design.trials(defenses, protocol.threat, noise))
    refused: list[tuple[str, DynaNoiseError]] = []
    on_refusal = (lambda name, error: refused.append((name, error))) if task.skip_refused else None
    attacks = []
    sent = float(np.mean([trial.queries for trial in trials]))
    queries = sent if protocol.threat.chosen else None
    for scores in attack_trials(trials, select_attacks(method, protocol), on_refusal):
        success = design.metrics(scores, task.fprs)
        seconds, started = time.perf_counter() - started, time.perf_counter()
        attacks.append(AttackMeasurement(scores, success, seconds, queries))
        progress(f"{method.name}, {scores.name}")
    return attacks, refused


def measure_utility(
    defense: Defense, outputs: Outputs, noise: Noise
) -> tuple[dict[str, Metric], Floats]:
    """Measure the utility of one model's predictions behind a defense.

    Args:
        defense: fitted to the model.
        outputs: its logits for N records, M = 1; near-duplicates are not used.
        noise: noise of these predictions.

    Returns:
        Metrics of `utility_metrics`, and the probabilities [N, K].
    """
    logits = outputs.logits[0, :, 0]
    probs = defense(logits, noise)
    return utility_metrics(probs, logits, outputs.labels), probs


class MeasurementCache:
    """Cache of measurements on the models of one run, made here or by worker processes.

    A method whose predictions never change is not measured again for another query budget.

    Args:
        processes: worker processes; None measures in this one.
    """

    def __init__(self, processes: ProcessPoolExecutor | None = None) -> None:
        self._processes = processes
        self._finished: dict[Hashable, Measurement] = {}
        self._running: dict[Hashable, Future[Measurement]] = {}

    @property
    def map(self) -> Callable[..., Iterable[Any]]:
        """The built-in `map`, or that of the worker processes."""
        return map if self._processes is None else self._processes.map

    def begin(self, tasks: Sequence[Task]) -> None:
        """Submit tasks to the workers; `get` returns their measurements.

        Args:
            tasks: tasks of one or several protocols; those that were begun before are left out.
        """
        if self._processes is None:
            return
        for task in tasks:
            if task.key not in self._finished and task.key not in self._running:
                self._running[task.key] = self._processes.submit(measure, task)

    def get(self, task: Task, progress: Progress = _ignore) -> Measurement:
        """Return the measurement of a task, by a worker, from the cache, or made here.

        Args:
            task: the method and the models.
            progress: called for each attack and for utility.

        Returns:
            The measurement of the task.

        Raises:
            DynaNoiseError: the same as `measure`.
            WorkerError: if a worker process died.
        """
        measurement = self._finished.get(task.key)
        if measurement is None and self._processes is None:
            measurement = measure(task, progress)
        else:
            if measurement is None:
                self.begin([task])
                measurement = self._running.pop(task.key).result()
            steps = [attack.scores.name for attack in measurement.attacks]
            for step in [*steps, "utility"] if measurement.utility else steps:
                progress(f"{task.method.name}, {step}")
        if task.repeatable:
            self._finished[task.key] = measurement
        return measurement


@contextmanager
def open_measurement_cache(workers: int) -> Iterator[MeasurementCache]:
    """Open a cache whose measurements are made by worker processes; leaving ends them.

    Args:
        workers: how many; 1 measures in this process.

    Yields:
        Measurements that evaluations of the same models share.
    """
    if workers == 1:
        yield MeasurementCache()
        return
    with worker_processes(workers, begin_worker) as processes:
        yield MeasurementCache(processes)


def begin_worker(parent: int) -> None:
    """Initialise a worker process with one thread, so that workers do not compete for cores.

    Args:
        parent: id of the process that started it.
    """
    from threadpoolctl import threadpool_limits

    begin(parent)
    threadpool_limits(1)


def list_tasks(
    designs: Mapping[str, Design],
    methods: Sequence[Method],
    protocol: AttackProtocol,
    *,
    fprs: Sequence[float] = FPRS,
    skip_refused: bool = False,
    predictions: bool = False,
) -> list[Task]:
    """List the tasks of `evaluate`: baselines, then all methods.

    MIDPUT compares a method with the baseline on equally many models. If a recipe has fewer models
    than the baseline's, the baseline is also measured on its first models.

    Args:
        designs: models by training recipe.
        methods: the first is the baseline; those whose recipe is missing are left out.
        protocol: threat model and attacks.
        fprs: false positive rates at which the TPR is wanted.
        skip_refused: see `Task`.
        predictions: see `Task`.

    Returns:
        Tasks in the order of their measurement.

    Raises:
        InputError: if there is no method, or two have the same name.
    """
    names = [method.name for method in methods]
    if not names or len(set(names)) < len(names):
        raise InputError(
            f"Method names must be unique; got {names}.",
            "Pass at least one method, and rename duplicates.",
        )
    options = protocol, tuple(fprs), skip_refused, predictions
    tasks = [
        Task(method, designs[method.recipe], *options)
        for method in methods
        if method.recipe in designs
    ]
    baseline = designs[methods[0].recipe]
    sizes = {task.models for task in tasks} - {baseline.records.models}
    smaller_baselines = [
        Task(methods[0], baseline.take_first(size), *options, for_comparison=True)
        for size in sorted(sizes)
    ]
    return smaller_baselines + tasks


def evaluate(
    designs: Mapping[str, Design],
    methods: Sequence[Method],
    protocol: AttackProtocol,
    provenance: Mapping[str, Provenance],
    *,
    fprs: Sequence[float] = FPRS,
    gatherer: Gatherer | None = None,
    on_refusal: OnRefusal | None = None,
    measurements: MeasurementCache | None = None,
    measures: Measures | None = None,
    progress: Progress = _ignore,
) -> Iterator[Result]:
    """Evaluate methods under every attack of a protocol.

    Args:
        designs: models by training recipe; methods whose recipe is missing are left out.
        methods: rows of the comparison; the first is the baseline of MIDPUT, on as many models as
            the method has.
        protocol: threat model and attacks.
        provenance: fields of results that are not measured, by recipe.
        fprs: false positive rates at which the TPR is wanted.
        gatherer: collects scores and predictions for a report.
        on_refusal: called for each attack that has too few models, which is then skipped; None
            raises the error, as it is where no attack is left.
        measurements: cache shared by evaluations of the same models under several protocols, with
            or without worker processes; None measures in this process.
        measures: computes further metrics of each attack.
        progress: called with the names of a method and an attack when it is measured.

    Yields:
        For each method a result for each attack, one for the strongest attack if the attacker
        has a choice, and one for utility and MIDPUT if there are test data.

    Raises:
        InputError: if names of methods repeat, or an attack cannot be run on these models.
        TooFewRecordsError: if models or records are too few.
        WorkerError: if a worker process died.
    """
    skip_refused, predictions = on_refusal is not None, gatherer is not None
    tasks = list_tasks(
        designs, methods, protocol, fprs=fprs, skip_refused=skip_refused, predictions=predictions
    )
    measurements = measurements or MeasurementCache()
    measurements.begin(tasks)
    baselines: dict[int, Measurement] = {}
    for task in tasks:
        measurement = measurements.get(task, _ignore if task.for_comparison else progress)
        baseline = baselines.setdefault(task.models, measurement)
        if task.for_comparison:
            continue
        for name, error in measurement.refused:
            assert on_refusal is not None
            on_refusal(name, error)
        if measurement.refused and not measurement.attacks:
            raise measurement.refused[0][1]
        result = partial(_result, task, measurement, provenance[task.method.recipe])
        for attack in measurement.attacks:
            if gatherer is not None:
                gatherer.add_scores(task.method, protocol, task.design, attack.scores)
            further = {} if measures is None else measures(task, attack.scores)
            yield result(attack.scores.name, {**attack.metrics, **further}, attack.seconds)
        for model, (probs, labels) in enumerate(measurement.predictions):
            assert gatherer is not None
            gatherer.add_predictions(task.method, model, probs, labels)
        if measurement.utility:
            metrics = _average(measurement.utility) | trade_off(
                baseline.success, measurement.success, baseline.accuracy, measurement.accuracy
            )
            yield result(None, metrics, measurement.seconds)


def _result(
    task: Task,
    measurement: Measurement,
    provenance: Provenance,
    attack: str | None,
    metrics: Mapping[str, Metric],
    seconds: float,
) -> Result:
    return Result(
        method=task.method.name,
        defense=measurement.defense,
        attack=attack,
        protocol=task.protocol.name,
        threat=task.protocol.threat,
        metrics=metrics,
        seconds=seconds,
        seed=task.design.seed,
        split=task.design.split,
        **vars(provenance),
    )


def _average(by_model: Sequence[Mapping[str, Metric]]) -> dict[str, Metric]:
    """Means over the models; for one model its metrics with their intervals."""
    if len(by_model) == 1:
        return dict(by_model[0])
    names = by_model[0]
    return {name: intervals.mean([metrics[name].value for metrics in by_model]) for name in names}
