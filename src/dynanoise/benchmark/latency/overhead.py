"""What a defense costs when it answers: time beside the undefended model's, and memory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from dynanoise.benchmark.benchmark import Progress, require_torch
from dynanoise.benchmark.latency.interleaved import Effort, Timing, side_by_side
from dynanoise.benchmark.latency.servers import Prepared, prepare, some_of_both
from dynanoise.benchmark.options import OverheadOptions
from dynanoise.benchmark.preset import Preset
from dynanoise.core.errors import InputError
from dynanoise.core.options import command_line
from dynanoise.core.registry import PRESETS
from dynanoise.core.result import OVERHEAD, Metric, Result, ThreatModel
from dynanoise.core.seeding import derive
from dynanoise.evaluation import provenance
from dynanoise.metrics import intervals
from dynanoise.training.store.storage import Place

NOBODY = ThreatModel(name="none", knows_defense=False)
"""Time and memory are no matter of an attacker."""

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
        size: of the preset; None for its default.
        methods: rows to time beside the baseline, see `Preset.only`; all of the preset if empty.
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
        found: Preset = PRESETS.get(self.on)
        return found.only(self.methods)

    @property
    def steps(self) -> int:
        """How often `overhead` will call its progress."""
        return 1 + sum(1 + effort.rounds for effort in self.efforts.values())

    @property
    def command(self) -> str:
        """The command line that makes such results."""
        return command_line(f"dynanoise bench {OVERHEAD}", self)


def overhead(
    plan: OverheadPlan,
    progress: Progress = lambda step: None,
    *,
    folder: Path | None = None,
    store: Place | None = None,
) -> list[Result]:
    """Times each method's answers to raw records beside the undefended model's.

    An answer is the model's forward pass in evaluation mode, and the method's defense of its
    logits with `Fresh` noise, already fitted to the model. Undefended, the defense is a softmax in
    the same arithmetic. All of it runs on the preset's number of threads. Every round draws other
    records, half of them members, so that defenses that keep what they once answered gain nothing.

    Only the baseline's target model is trained, because time does not depend on weights where the
    logits are alike: methods of other recipes with the same architecture are timed with it, and
    an architecture of their own (DP-SGD has no batch normalisation) with its initial weights.

    Args:
        plan: what to time.
        progress: called after each of the plan's steps.
        folder: where data sets are looked for first, see `data.sources`.
        store: folder where trained models are kept and found again; None trains anew.

    Returns:
        A Result for each method, without attack. Its metrics, for each batch size such as 256:

        - ``ratio_batch_256``: time over the undefended model's in the same round, the median with
          its 95% interval; 1 for the baseline, which defines it.
        - ``repeat_ratio_batch_256``, of the baseline alone, which is timed twice a round: the
          second time over the first, 1 on a quiet machine.
        - ``ms_per_record_batch_256``: milliseconds for one record of the batch, likewise.
        - ``extra_mib_batch_256``: see `side_by_side.peak_mib`; of the defense alone, without the
          model, its logits and what was fitted; one call.

        and ``fitted_mib``, the arrays that `fit` gave the defense.

    Raises:
        MissingExtraError: if torch, or what reads the data, is not installed.
        MissingDataError: if no place has the data.
    """
    require_torch()
    preset = plan.preset
    ready = prepare(preset, preset.size(plan.size), _SEED, plan.device, folder, store)
    progress("target")
    servers = ready.servers
    timings: dict[int, dict[str, Timing]] = {}
    memory: dict[int, dict[str, float]] = {}

    from dynanoise.training import replay

    with replay.threads(ready.preset.threads):
        for batch, effort in plan.efforts.items():

            def batches(turn: int, calls: int, batch: int = batch) -> list[Any]:
                drawn = some_of_both(
                    ready.target, (calls, batch), derive(ready.seed, "ask", batch, turn)
                )
                return [ready.inputs(ids) for ids in drawn]

            def timed(turn: int, batch: int = batch) -> None:
                progress(f"batch {batch}, round {turn + 1}")

            timings[batch] = side_by_side(
                servers, batches, effort, derive(ready.seed, "order", batch), progress=timed
            )
            inputs = batches(0, 1)[0]
            memory[batch] = {name: server.extra_mib(inputs) for name, server in servers.items()}
            progress(f"batch {batch}, memory")
    return [
        _record(
            ready,
            plan,
            name,
            {batch: found[name] for batch, found in timings.items()},
            {batch: found[name] for batch, found in memory.items()},
        )
        for name in servers
    ]


def _record(
    ready: Prepared,
    plan: OverheadPlan,
    name: str,
    timings: Mapping[int, Timing],
    memory: Mapping[int, float],
) -> Result:
    """The Result of one method; timings and memory by batch size."""
    server = ready.servers[name]
    recipe = server.method.recipe
    metrics, counts = {}, dict(ready.split.counts)
    for batch, timing in timings.items():
        each = [1000 * seconds / batch for seconds in timing.seconds]
        ratio = intervals.median(timing.ratios)
        if server is next(iter(ready.servers.values())):
            metrics[f"repeat_ratio_batch_{batch}"] = ratio
            ratio = Metric(1.0)
        metrics[f"ratio_batch_{batch}"] = ratio
        metrics[f"ms_per_record_batch_{batch}"] = intervals.median(each)
        metrics[f"extra_mib_batch_{batch}"] = Metric(memory[batch])
        counts[f"rounds_batch_{batch}"] = len(timing.seconds)
        counts[f"calls_batch_{batch}"] = timing.calls
    metrics["fitted_mib"] = Metric(server.fitted_mib)
    return Result(
        dataset=ready.preset.dataset,
        model=ready.preset.model,
        model_parameters=asdict(ready.architectures[recipe]),
        method=name,
        recipe=recipe,
        recipe_parameters=ready.recipes[recipe],
        defense=provenance.describe(server.defense, server.method.cell_width),
        attack=None,
        protocol=OVERHEAD,
        threat=NOBODY,
        preset=plan.on,
        metrics=metrics,
        seed=ready.seed,
        split=ready.split.digest,
        counts=counts,
        command=plan.command,
        versions=provenance.versions(),
        hardware={
            **provenance.hardware(),
            "threads": ready.preset.threads,
            "device": provenance.device(plan.device),
        },
        seconds=round(sum(timing.total for timing in timings.values()), 3),
    )
