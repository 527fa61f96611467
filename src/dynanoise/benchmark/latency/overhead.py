"""Time of each method's predictions beside the undefended model's, and memory."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields, is_dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dynanoise.benchmark.benchmark import Progress, require_torch
from dynanoise.benchmark.latency.timing import Clock, Effort, Timing, peak_mib, time_side_by_side
from dynanoise.benchmark.options import OverheadOptions
from dynanoise.benchmark.preset import Kind, Preset
from dynanoise.core.defense import Defense, Method, Noise
from dynanoise.core.errors import InputError
from dynanoise.core.numerics import Floats, Int64
from dynanoise.core.options import command_line
from dynanoise.core.outputs import Outputs
from dynanoise.core.registry import PRESETS
from dynanoise.core.result import OVERHEAD, Metric, Result, ThreatModel
from dynanoise.core.seeding import derive
from dynanoise.data import catalog
from dynanoise.data.splits import PaperSplit, split_of
from dynanoise.defenses.dynanoise import DynaNoise
from dynanoise.defenses.kernel_outputs import kernel_entries
from dynanoise.evaluation import provenance
from dynanoise.evaluation.responses import make_noise
from dynanoise.metrics import intervals
from dynanoise.noise.fresh import SystemFresh
from dynanoise.noise.keyed import Keyed
from dynanoise.training.store.storage import Place

if TYPE_CHECKING:
    from dynanoise.training.replay import Forward

NO_ATTACKER = ThreatModel(name="none", knows_defense=False)
"""The threat model in results of time and memory."""

EFFORTS: Mapping[int, Effort] = {
    1: Effort(rounds=100, block=0.005, calls=4),
    256: Effort(rounds=25, block=0.01),
}
"""Records in a batch, and how long to measure with it: short blocks, because a busy machine
interrupts long ones."""

_SEED = 0


@dataclass(frozen=True)
class OverheadPlan(OverheadOptions):
    """The methods to time, checked before any work.

    Args:
        on: the registered preset whose data, model and methods are used.
        size: size of the preset; None for its default.
        methods: rows to time beside the baseline, see `Preset.choose`; all of the preset if empty.
        device: where the model runs, "cpu" or "cuda". Defenses run on the processor.
        efforts: batch sizes, each with how long to measure.

    Raises:
        UnknownNameError: for a name that is not registered.
        InputError: for a batch size below 1.

    >>> OverheadPlan("digits", methods=("dynanoise",)).command
    'dynanoise bench overhead --on digits --defense dynanoise'
    """

    efforts: Mapping[int, Effort] = field(default_factory=lambda: EFFORTS)

    def __post_init__(self) -> None:
        if not self.efforts or min(self.efforts) < 1:
            raise InputError(
                f"The batch sizes are {list(self.efforts)}.", "Name at least one, of 1 or more."
            )
        self.preset.size(self.size)

    @property
    def preset(self) -> Preset:
        """The preset, with the chosen methods only."""
        preset: Preset = PRESETS.get(self.on)
        return preset.choose(self.methods)

    @property
    def steps(self) -> int:
        """Number of calls of `overhead` to its progress."""
        return 1 + sum(1 + effort.rounds for effort in self.efforts.values())

    @property
    def command(self) -> str:
        """Command that repeats the measurement."""
        return command_line(f"dynanoise bench {OVERHEAD}", self)


def overhead(
    plan: OverheadPlan,
    progress: Progress = lambda step: None,
    *,
    folder: Path | None = None,
    store: Place | None = None,
    clock: Clock = time.perf_counter,
) -> list[Result]:
    """Time each method's predictions for raw records beside the undefended model's.

    A prediction is the model's forward pass in evaluation mode, and the method's defense of its
    logits as the gateway applies it, already fitted to the model: with `SystemFresh` or `Keyed`
    noise, by the compiled kernel where numba is installed. Methods that the kernel covers have a
    second row, "NAME_numpy", without it. Undefended, the defense is a softmax in the same
    arithmetic. All of it runs on the preset's number of threads. Every round draws other records,
    half of them members, so that a defense gains nothing by keeping predictions.

    Only the baseline's target model is trained, because time does not depend on weights where the
    logits are alike: methods of other recipes with the same architecture are timed with it, and
    those that deploy another module (DP-SGD has no batch normalisation, out-of-fold answers have K
    models) with its initial weights.

    Args:
        plan: the methods to time.
        progress: called after each of the plan's steps.
        folder: where data sets are looked for first, see `data.sources`.
        store: where trained models are kept and found again; None trains anew.
        clock: seconds from any beginning.

    Returns:
        A result for each method, without attack. Its metrics, for each batch size such as 256:

        - ``ratio_batch_256``: time over the undefended model's in the same round, the median with
          its 95% interval; 1 for the baseline, which defines it.
        - ``repeat_ratio_batch_256``, of the baseline alone, which is timed twice a round: the
          second time over the first, 1 on a quiet machine.
        - ``ms_per_record_batch_256``: milliseconds for one record of the batch, likewise.
        - ``extra_mib_batch_256``: see `peak_mib`; of the defense alone, without the model, its
          logits and the fitted arrays; one call.

        and ``fitted_mib``, the arrays that `fit` gave the defense, and ``model_mib``, the model's
        parameters and buffers.

    Raises:
        MissingExtraError: if torch, or what reads the data, is not installed.
        MissingDataError: if no place has the data.
    """
    require_torch()
    setup = _prepare(plan, folder, store)
    progress("target")
    timings: dict[int, dict[str, Timing]] = {}
    memory: dict[int, dict[str, float]] = {}

    from dynanoise.training import replay

    with replay.threads(plan.preset.threads):
        for batch, effort in plan.efforts.items():

            def batches(turn: int, calls: int, batch: int = batch) -> list[Any]:
                seed = derive(_SEED, "ask", batch, turn)
                return [setup.inputs(ids) for ids in draw_ids(setup.target, (calls, batch), seed)]

            def report(turn: int, batch: int = batch) -> None:
                progress(f"batch {batch}, round {turn + 1}")

            seed = derive(_SEED, "order", batch)
            timings[batch] = time_side_by_side(
                setup.predictors, batches, effort, seed, progress=report, clock=clock
            )
            inputs = batches(0, 1)[0]
            memory[batch] = {
                name: predictor.extra_mib(inputs) for name, predictor in setup.predictors.items()
            }
            progress(f"batch {batch}, memory")
    return [_result(plan, setup, name, timings, memory) for name in setup.predictors]


@dataclass(frozen=True, eq=False)
class _Predictor:
    """A method as it is served: a model and the defense of its logits.

    Attributes:
        method: the method.
        forward: from raw inputs [b, ...] to logits [b, K], see `training.replay.Forward`.
        defense: the method's defense, fitted.
        noise: source of the defense's noise.
    """

    method: Method
    forward: Forward
    defense: Defense
    noise: Noise

    def __call__(self, inputs: Any) -> Floats:
        """Probabilities [b, K] for raw inputs [b, ...]."""
        return self.defense(self.forward(inputs), self.noise)

    def extra_mib(self, inputs: Any) -> float:
        """See `peak_mib`; of the defense alone, without the model and its logits."""
        logits = self.forward(inputs)
        return peak_mib(lambda: self.defense(logits, self.noise))


@dataclass(frozen=True, eq=False)
class _Setup:
    """Everything that is made before the clock starts.

    Attributes:
        split: the records of each part.
        target: the baseline's outputs for members and non-members.
        inputs: from ids to raw inputs, which every predictor takes.
        predictors: by the method's name; the first is the baseline.
        architectures: by recipe.
        recipes: by recipe, its parameters for the baseline; for others the weights that are used.
    """

    split: PaperSplit
    target: Outputs
    inputs: Callable[[Int64], Any]
    predictors: Mapping[str, _Predictor]
    architectures: Mapping[str, Any]
    recipes: Mapping[str, Mapping[str, Any]]


def _prepare(plan: OverheadPlan, folder: Path | None, store: Place | None) -> _Setup:
    """Train or find the baseline's target model, and put every method's defense behind it.

    Methods of other recipes with the same architecture use the same model. Where a recipe deploys
    another module, that is built with its initial weights, behind it the defense fitted to the
    baseline's outputs. So these predictors are as fast as the methods, and are good for
    nothing else.
    """
    from dynanoise.training import replay
    from dynanoise.training.designs import paper_jobs, paper_run
    from dynanoise.training.store.store import Store

    preset, size = plan.preset, plan.preset.size(plan.size)
    data = catalog.load_data(preset.dataset, folder)
    split = split_of(data, size.pool, size.reference, _SEED)
    base = preset.methods[0].recipe
    needed = dict.fromkeys(method.recipe for method in preset.methods)
    architectures = {name: preset.architecture(Kind(name)) for name in needed}
    recipe = size.recipe(base, plan.device)
    # The target's job of `bench`, so that one store serves both.
    (job,) = paper_jobs(
        split,
        architectures[base],
        recipe,
        seed=_SEED,
        shadows=0,
        threads=preset.threads,
        device=plan.device,
    )
    model, answers = replay.trained(job, data, None if store is None else Store(store))
    run = paper_run(data, split, [answers], seed=_SEED)
    forwards, recipes = {}, {}
    for name, architecture in architectures.items():
        served = replace(job, model=architecture, recipe=size.recipe(name, plan.device))
        alike = architecture == architectures[base] and not hasattr(served.recipe, "untrained")
        forwards[name] = model if alike else replay.untrained(served, data)
        recipes[name] = {"weights": f"those of {base}" if alike else "initial"}
    recipes[base] = asdict(recipe)
    view = run.view(0)
    predictors = {}
    for method in preset.methods:
        forward, defense = forwards[method.recipe], method.defense.fit(view)
        noise, uncompiled = _served_noise(method)
        predictors[method.name] = _Predictor(method, forward, defense, noise)
        if kernel_entries() is not None and _is_random(defense):
            name = f"{method.name}_numpy"
            predictors[name] = _Predictor(method, forward, defense, uncompiled)
    return _Setup(split, run.target, model.inputs, predictors, architectures, recipes)


class _FreshByNumpy(SystemFresh):
    """The same noise for NumPy: the kernel covers `SystemFresh` and none of its subclasses."""


class _KeyedByNumpy(Keyed):
    """Likewise for `Keyed`."""


def _served_noise(method: Method) -> tuple[Noise, Noise]:
    """Noise of a method as it is served, and the same for NumPy."""
    if method.cell_width is None:
        return SystemFresh(), _FreshByNumpy()
    keyed = make_noise(method, _SEED)(method.name)
    assert isinstance(keyed, Keyed)
    return keyed, _KeyedByNumpy(keyed.cell_width, keyed.model, keyed.weights, keyed.key)


def _is_random(defense: Defense) -> bool:
    return isinstance(defense, DynaNoise) and defense.base_variance > 0


def _result(
    plan: OverheadPlan,
    setup: _Setup,
    name: str,
    timings: Mapping[int, Mapping[str, Timing]],
    memory: Mapping[int, Mapping[str, float]],
) -> Result:
    """The result of one method; timings and memory by batch size and method."""
    predictor, preset = setup.predictors[name], plan.preset
    baseline = next(iter(setup.predictors))
    recipe = predictor.method.recipe
    metrics, counts, seconds = {}, dict(setup.split.counts), 0.0
    for batch in timings:
        timing = timings[batch][name]
        each = [1000 * call / batch for call in timing.seconds]
        ratio = intervals.median(timing.ratios)
        if name == baseline:
            metrics[f"repeat_ratio_batch_{batch}"] = ratio
            ratio = Metric(1.0)
        metrics[f"ratio_batch_{batch}"] = ratio
        metrics[f"ms_per_record_batch_{batch}"] = intervals.median(each)
        metrics[f"extra_mib_batch_{batch}"] = Metric(memory[batch][name])
        counts[f"rounds_batch_{batch}"] = len(timing.seconds)
        counts[f"calls_batch_{batch}"] = timing.calls
        seconds += timing.total
    metrics["fitted_mib"] = Metric(_array_bytes(predictor.defense) / 2**20)
    metrics["model_mib"] = Metric(predictor.forward.nbytes / 2**20)
    return Result(
        dataset=preset.dataset,
        model=preset.model_of(recipe),
        model_parameters=asdict(setup.architectures[recipe]),
        method=name,
        recipe=recipe,
        recipe_parameters=setup.recipes[recipe],
        defense=provenance.describe(predictor.defense, predictor.method.cell_width),
        attack=None,
        protocol=OVERHEAD,
        threat=NO_ATTACKER,
        preset=plan.on,
        metrics=metrics,
        seed=_SEED,
        split=setup.split.digest,
        counts=counts,
        command=plan.command,
        versions=provenance.versions(),
        hardware={
            **provenance.hardware(),
            "threads": preset.threads,
            "device": provenance.device(plan.device),
        },
        seconds=round(seconds, 3),
    )


def draw_ids(outputs: Outputs, shape: tuple[int, int], seed: int) -> Int64:
    """Draw ids by turns of model 0's members and of its non-members.

    No id comes a second time before all others of its side have come.

    Args:
        outputs: one model's outputs, with members and non-members.
        shape: shape of the result.
        seed: seed of the draw.

    Returns:
        int64 of that shape.

    >>> use = np.array([[1, 1, 1, 0, 0]])
    >>> rows = Outputs(np.zeros((1, 5, 1, 2)), np.zeros(5, int), np.arange(5) + 10, use)
    >>> (draw_ids(rows, (2, 3), seed=0) >= 13).tolist()
    [[True, False, True], [False, True, False]]
    """
    generator = np.random.default_rng(seed)
    ids = np.empty(shape, dtype=np.int64)
    flat = ids.reshape(-1)
    for start, side in enumerate(generator.permutation([0, 1])):
        drawn = generator.permutation(outputs.ids[outputs.use[0] == side])
        flat[start::2] = np.resize(drawn, flat[start::2].shape)
    return ids


def _array_bytes(value: Any) -> int:
    """Bytes of the arrays of a dataclass, nested ones included."""
    if is_dataclass(value):
        return sum(_array_bytes(getattr(value, part.name)) for part in fields(value))
    return value.nbytes if isinstance(value, np.ndarray) else 0
