"""What a defense costs when it answers: time beside the undefended model's, and memory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from dynanoise.audit import circumstances
from dynanoise.audit.bench import Progress, require_torch
from dynanoise.audit.judge import describe
from dynanoise.audit.noise import with_noise
from dynanoise.audit.preset import Preset
from dynanoise.audit.servers import Prepared, prepare, some_of_both
from dynanoise.audit.side_by_side import Effort, Timing, side_by_side
from dynanoise.errors import InputError
from dynanoise.metrics import intervals
from dynanoise.record import OVERHEAD, Metric, Record, ThreatModel
from dynanoise.registry import PRESETS
from dynanoise.seeding import derive
from dynanoise.training.places import Place

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
class OverheadPlan:
    """Whose inference to time, checked.

    Args:
        on: the registered preset whose data, model and contenders are used.
        size: of the preset; None for its default.
        contenders: rows to time beside the baseline; all if empty.
        device: where the model answers, "cpu" or "cuda". Defenses answer on the processor.
        efforts: batch sizes, each with how long to measure.

    Raises:
        UnknownNameError: for a name that is not there.
        InputError: for a batch size below 1.

    >>> OverheadPlan("digits", contenders=("dynanoise",)).command
    'dynanoise bench overhead --on digits --contender dynanoise'
    """

    on: str
    size: str | None = None
    contenders: tuple[str, ...] = ()
    device: str = "cpu"
    efforts: Mapping[int, Effort] = field(default_factory=lambda: EFFORTS)

    def __post_init__(self) -> None:
        if not self.efforts or min(self.efforts) < 1:
            raise InputError(
                f"The batch sizes are {list(self.efforts)}.", "Name at least one, of 1 or more."
            )
        self.preset.size(self.size)

    @property
    def preset(self) -> Preset:
        """The preset, with the chosen contenders only."""
        found: Preset = PRESETS.get(self.on)
        return found.only(self.contenders)

    @property
    def steps(self) -> int:
        """How often `overhead` will call its progress."""
        return 1 + sum(1 + effort.rounds for effort in self.efforts.values())

    @property
    def command(self) -> str:
        """The command line that makes such Records."""
        words = ["dynanoise", "bench", OVERHEAD, "--on", self.on]
        words += ["--size", self.size] if self.size else []
        words += [word for name in self.contenders for word in ("--contender", name)]
        words += ["--device", self.device] if self.device != "cpu" else []
        return " ".join(words)


def overhead(
    plan: OverheadPlan,
    progress: Progress = lambda step: None,
    *,
    folder: Path | None = None,
    store: Place | None = None,
) -> list[Record]:
    """Times each contender's answers to raw records beside the undefended model's.

    An answer is the model's forward pass in evaluation mode, and the contender's defense of its
    logits with `Fresh` noise, already fitted to the model. Undefended, the defense is a softmax in
    the same arithmetic. All of it runs on the preset's number of threads. Every round draws other
    records, half of them members, so that defenses that keep what they once answered gain nothing.

    Only the baseline's target model is trained, because time does not depend on weights where the
    logits are alike: contenders of other recipes with the same architecture are timed with it, and
    an architecture of their own (DP-SGD has no batch normalisation) with its initial weights.

    Args:
        plan: what to time.
        progress: called after each of the plan's steps.
        folder: where data sets are looked for first, see `training.sources`.
        store: folder where trained models are kept and found again; None trains anew.

    Returns:
        A Record for each contender, without attack. Its metrics, for each batch size such as 256:

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
    from dynanoise.training import timing

    with timing.threads(ready.preset.threads):
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
) -> Record:
    """The Record of one contender; timings and memory by batch size."""
    server = ready.servers[name]
    recipe = server.contender.recipe
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
    return Record(
        dataset=ready.preset.dataset,
        model=ready.preset.model,
        model_parameters=asdict(ready.architectures[recipe]),
        contender=name,
        recipe=recipe,
        recipe_parameters=ready.recipes[recipe],
        defense=with_noise(describe(server.defense), server.contender),
        attack=None,
        protocol=OVERHEAD,
        threat=NOBODY,
        preset=plan.on,
        metrics=metrics,
        seed=ready.seed,
        split=ready.split.digest,
        counts=counts,
        command=plan.command,
        versions=circumstances.versions(),
        hardware={
            **circumstances.hardware(),
            "threads": ready.preset.threads,
            "device": circumstances.device(plan.device),
        },
        seconds=round(sum(timing.total for timing in timings.values()), 3),
    )
