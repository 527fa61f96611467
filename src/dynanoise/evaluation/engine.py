"""The evaluation engine: attacks on methods, their utility and MIDPUT become results."""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
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
from dynanoise.core.seeding import derive
from dynanoise.core.workers import begin, worker_processes
from dynanoise.defenses.dynanoise import DynaNoise
from dynanoise.evaluation.design import Design
from dynanoise.evaluation.evidence import Gatherer
from dynanoise.evaluation.protocols import select_attacks
from dynanoise.evaluation.provenance import Provenance, describe
from dynanoise.evaluation.responses import make_noise
from dynanoise.evaluation.trial import AttackScores, Refused, attack_trials
from dynanoise.metrics import intervals
from dynanoise.metrics.bootstrap import FPRS, resample
from dynanoise.metrics.midput import trade_off
from dynanoise.metrics.success import Success
from dynanoise.metrics.utility import utility_metrics

CELL_AND_LABEL = DynaNoise(0.0, 0.0, 1.0, keep_label=True)
"""The defense as an attacker with the key of keyed noise observes it: cell and label alone."""

Progress = Callable[[str], None]
"""Called with the names of a method and an attack, or "utility", when that is measured."""


def _quiet(step: str) -> None:
    """Report nothing."""


class Task(NamedTuple):
    """One method to measure; it can be handed to another process.

    Attributes:
        method: its defense is fitted to every model.
        design: the models.
        protocol: threat model and attacks.
        fprs: false positive rates at which the TPR is wanted.
        lenient: True goes on where the models are too few for an attack.
        predictions: True keeps the predictions about test data.
        for_comparison: True for a baseline that only MIDPUT needs.
    """

    method: Method
    design: Design
    protocol: AttackProtocol
    fprs: tuple[float, ...] = FPRS
    lenient: bool = False
    predictions: bool = False
    for_comparison: bool = False

    @property
    def models(self) -> int:
        """Number of target models."""
        return self.design.records.models

    @property
    def repeatable(self) -> bool:
        """True if every query budget finds the same, because predictions repeat themselves."""
        return self.method.cell_width is not None or self.method.defense.repeatable

    @property
    def key(self) -> Hashable:
        """Everything that decides the numbers, among tasks of the same models."""
        threat = replace(self.protocol.threat, name="")
        threat = replace(threat, repeats=1) if self.repeatable else threat
        return self.method.name, self.models, threat, self.protocol.attacks, self.fprs


@dataclass(frozen=True, eq=False)
class AttackMeasurement:
    """Scores of one attack on one method, their success, and the seconds they took."""

    scores: AttackScores
    success: Success
    seconds: float

    @property
    def metrics(self) -> dict[str, Metric]:
        """Success, and what the attacker expected and chose."""
        metrics = dict(self.success.metrics)
        if self.scores.expected is not None:
            metrics["expected"] = Metric(float(self.scores.expected.mean()))
        chosen = self.scores.chosen.items()
        return metrics | {f"chosen {name}": Metric(count) for name, count in chosen}


@dataclass(frozen=True, eq=False)
class Measurement:
    """Attacks on one method under one protocol, and its utility.

    Attributes:
        defense: class and parameters of the defense, as fitted where there is one model.
        attacks: one for each attack, then one for "strongest" where there is a choice.
        utility: metrics of each model; empty without test data.
        seconds: duration of the measurement of utility.
        refused: attacks that the models were too few for, with the reason.
        predictions: probabilities [N, K] about test data and labels [N], for each model; empty
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


def measure(task: Task, progress: Progress = _quiet) -> Measurement:
    """Measure one method under one protocol; everything but the comparison with the baseline.

    Noise depends on seed, split, method, model and purpose alone, so that the process and the order
    of measurements make no difference.

    Args:
        task: the method and the models.
        progress: called after each attack and after utility.

    Returns:
        Scores, success and utility; they can be handed to another process.

    Raises:
        InputError: if an attack cannot be run on these models and the task is not lenient.
        TooFewRecordsError: likewise.
    """
    method, design, protocol = task.method, task.design, task.protocol
    started = time.perf_counter()
    defenses = [method.defense.fit(view) for view in design.views(protocol.threat)]
    noise = design.noise(method)
    observed, observed_noise = defenses, noise
    if protocol.threat.key_known and method.cell_width is not None:
        shared = make_noise(method, design.seed, design.split, method.name, "known")
        observed, observed_noise = [CELL_AND_LABEL] * len(defenses), lambda model, role: shared
    trials = list(design.trials(observed, protocol.threat, observed_noise))
    refused: list[tuple[str, DynaNoiseError]] = []
    collect = (lambda name, error: refused.append((name, error))) if task.lenient else None
    attacks = []
    for scores in attack_trials(trials, select_attacks(method, protocol), collect):
        success = design.metrics(scores.scores, task.fprs)
        seconds, started = time.perf_counter() - started, time.perf_counter()
        attacks.append(AttackMeasurement(scores, success, seconds))
        progress(f"{method.name}, {scores.name}")
    by_model, predictions = [], []
    for model, (test, members) in enumerate(design.utility()):
        source = noise(model, "target")
        metrics, probs = measure_utility(defenses[model], test, source("test"))
        of_members, _ = measure_utility(defenses[model], members, source("members"))
        by_model.append({**metrics, "train_accuracy": of_members["accuracy"]})
        predictions.append((probs, test.labels))
    if by_model:
        progress(f"{method.name}, utility")
    # Several models have a fitted defense each, so that of the method stands for them.
    described = defenses[0] if defenses and task.models == 1 else method.defense
    return Measurement(
        describe(described, method.cell_width),
        tuple(attacks),
        tuple(by_model),
        time.perf_counter() - started,
        tuple(refused),
        tuple(predictions) if task.predictions else (),
    )


def measure_utility(
    defense: Defense, outputs: Outputs, noise: Noise
) -> tuple[dict[str, Metric], Floats]:
    """Measure the utility of one model's predictions behind a defense.

    Args:
        defense: fitted to the model.
        outputs: its logits about N records, M = 1; near-duplicates are not used.
        noise: noise of these predictions.

    Returns:
        Metrics as of `utility_metrics`, and the probabilities [N, K].
    """
    logits = outputs.logits[0, :, 0]
    probs = defense(logits, noise)
    return utility_metrics(probs, logits, outputs.labels), probs


class Measurements:
    """Measurements of the models of one run, each made once, here or by worker processes.

    A method whose predictions repeat themselves is not measured again for another query budget.

    Args:
        processes: worker processes; None measures in this one.
    """

    def __init__(self, processes: ProcessPoolExecutor | None = None) -> None:
        self._processes = processes
        self._kept: dict[Hashable, Measurement] = {}
        self._begun: dict[Hashable, Future[Measurement]] = {}

    def begin(self, tasks: Sequence[Task]) -> None:
        """Let worker processes begin with tasks that `get` will be called for.

        Args:
            tasks: tasks of one or several protocols; those that were begun before are left out.
        """
        if self._processes is None:
            return
        for task in tasks:
            if task.key not in self._kept and task.key not in self._begun:
                self._begun[task.key] = self._processes.submit(measure, task)

    def get(self, task: Task, progress: Progress = _quiet) -> Measurement:
        """Measure a task, or wait until a worker process has.

        Args:
            task: the method and the models.
            progress: called for each attack and for utility.

        Returns:
            The measurement of the task.

        Raises:
            DynaNoiseError: the same as `measure`.
            WorkerError: if a worker process died.
        """
        measurement = self._kept.get(task.key)
        if measurement is None and self._processes is None:
            measurement = measure(task, progress)
        else:
            if measurement is None:
                self.begin([task])
                measurement = self._begun.pop(task.key).result()
            steps = [attack.scores.name for attack in measurement.attacks]
            for step in [*steps, "utility"] if measurement.utility else steps:
                progress(f"{task.method.name}, {step}")
        if task.repeatable:
            self._kept[task.key] = measurement
        return measurement


@contextmanager
def open_measurements(workers: int) -> Iterator[Measurements]:
    """Measurements by worker processes, which are ended on leaving.

    Args:
        workers: how many; 1 measures in this process.

    Yields:
        Measurements that evaluations of the same models share.
    """
    if workers == 1:
        yield Measurements()
        return
    with worker_processes(workers, begin_worker) as processes:
        yield Measurements(processes)


def begin_worker(parent: int) -> None:
    """Let a worker process use one thread, so that workers do not wait for each other.

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
    lenient: bool = False,
    predictions: bool = False,
) -> list[Task]:
    """List what `evaluate` measures: the baseline on fewer models where needed, then all methods.

    Args:
        designs: models by training recipe.
        methods: the first is the baseline; those whose recipe is missing are left out.
        protocol: threat model and attacks.
        fprs: false positive rates at which the TPR is wanted.
        lenient: see `Task`.
        predictions: see `Task`.

    Returns:
        Tasks in the order of their measurement.

    Raises:
        InputError: if there is no method, or two have the same name.
    """
    names = [method.name for method in methods]
    if not names or len(set(names)) < len(names):
        raise InputError(
            f"The methods are called {names}.", "Pass at least one, each with a name of its own."
        )
    common = protocol, tuple(fprs), lenient, predictions
    tasks = [
        Task(method, designs[method.recipe], *common)
        for method in methods
        if method.recipe in designs
    ]
    baseline = designs[methods[0].recipe]
    sizes = {task.models for task in tasks} - {baseline.records.models}
    fewer = [
        Task(methods[0], baseline.first(size), *common, for_comparison=True)
        for size in sorted(sizes)
    ]
    return fewer + tasks


def evaluate(
    designs: Mapping[str, Design],
    methods: Sequence[Method],
    protocol: AttackProtocol,
    provenance: Mapping[str, Provenance],
    *,
    fprs: Sequence[float] = FPRS,
    collect: Gatherer | None = None,
    refused: Refused | None = None,
    measurements: Measurements | None = None,
    progress: Progress = _quiet,
) -> Iterator[Result]:
    """Evaluate methods under every attack of a protocol.

    Args:
        designs: models by training recipe; methods whose recipe is missing are left out.
        methods: rows of the comparison; the first is the baseline of MIDPUT, on as many models as
            the method has.
        protocol: threat model and attacks.
        provenance: fields of results that are not measured, by recipe.
        fprs: false positive rates at which the TPR is wanted.
        collect: gathers scores and predictions for a report.
        refused: called for an attack that these models are too few for, and the others go on; None
            raises the reason.
        measurements: shared by evaluations of the same models under several protocols, and where
            worker processes measure; None measures in this process.
        progress: called with the names of a method and an attack when that is measured.

    Yields:
        For each method a result for each attack, one for the strongest attack where the attacker
        has a choice, and one for utility and MIDPUT where there are test data.

    Raises:
        InputError: if names of methods repeat, or an attack cannot be run on these models.
        TooFewRecordsError: if models or records are too few.
        WorkerError: if a worker process died.
    """
    lenient, predictions = refused is not None, collect is not None
    tasks = list_tasks(
        designs, methods, protocol, fprs=fprs, lenient=lenient, predictions=predictions
    )
    measurements = measurements or Measurements()
    measurements.begin(tasks)
    baselines: dict[int, Measurement] = {}
    for task in tasks:
        measurement = measurements.get(task, _quiet if task.for_comparison else progress)
        baseline = baselines.setdefault(task.models, measurement)
        if task.for_comparison:
            continue
        for name, error in measurement.refused:
            assert refused is not None
            refused(name, error)
        result = partial(_result, task, measurement, provenance[task.method.recipe])
        for attack in measurement.attacks:
            if collect is not None:
                collect.add_scores(task.method, protocol, task.design, attack.scores)
            yield result(attack.scores.name, attack.metrics, attack.seconds)
        for model, (probs, labels) in enumerate(measurement.predictions):
            assert collect is not None
            collect.add_predictions(task.method, model, probs, labels)
        if measurement.utility:
            metrics = _average(measurement.utility) | _compare(baseline, measurement, task.design)
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
    """Means over the models; of one model its own metrics with their intervals."""
    if len(by_model) == 1:
        return dict(by_model[0])
    names = by_model[0]
    return {name: intervals.mean([metrics[name].value for metrics in by_model]) for name in names}


def _compare(before: Measurement, after: Measurement, design: Design) -> dict[str, Metric]:
    """MIDPUT and its stricter forms, with intervals where models were resampled."""
    weights = None
    if any(success.replicates for success in after.success.values()):
        models, records = design.records.use.shape
        drawn = resample(models, records, derive(design.seed, "bootstrap"))
        weights = np.array([of_models for of_models, _ in drawn])
    return trade_off(before.success, after.success, before.accuracy, after.accuracy, weights)
