"""Runs a preset over seeds: data, models, contenders, attacks -> Records."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from dynanoise.audit import circumstances
from dynanoise.audit.judge import Finding, judge
from dynanoise.audit.preset import Preset
from dynanoise.errors import InputError, MissingExtraError
from dynanoise.record import Record
from dynanoise.registry import DATASETS, MODELS, PRESETS, RECIPES
from dynanoise.training.data import Data
from dynanoise.training.splits import PaperSplit, split_of

Progress = Callable[[str], None]
"""Called with a few words, such as "seed 1: target", after each step."""


@dataclass(frozen=True)
class Plan:
    """What to run, checked.

    Args:
        name: a registered preset.
        seeds: how many independent repetitions, >= 1; each draws its own records and weights.
        size: of the preset; None for its default.
        contenders: rows to run beside the baseline; all if empty.
        attacks: columns to run; all if empty.
        device: where to train, "cpu" or "cuda".

    Raises:
        UnknownNameError: for a name that is not there.
        InputError: for an impossible number of seeds, or a protocol that cannot be run.

    >>> Plan("digits", seeds=1, attacks=("loss",)).command
    'dynanoise bench digits --seeds 1 --attack loss'
    """

    name: str
    seeds: int = 3
    size: str | None = None
    contenders: tuple[str, ...] = ()
    attacks: tuple[str, ...] = ()
    device: str = "cpu"

    def __post_init__(self) -> None:
        if isinstance(self.seeds, bool) or not isinstance(self.seeds, int) or self.seeds < 1:
            raise InputError(f"seeds is {self.seeds!r}.", "Use an integer of at least 1.")
        protocol = self.preset.protocol
        if protocol.design != "paper_split" or protocol.threat.augmented:
            raise InputError(
                f"The preset {self.name} asks for the protocol {protocol.name!r} with the design "
                f"{protocol.design!r} and augmented={protocol.threat.augmented}.",
                "Only the design 'paper_split' without augmented queries can be run so far.",
            )
        self.preset.size(self.size)

    @property
    def preset(self) -> Preset:
        """The preset, with the chosen contenders and attacks only."""
        found: Preset = PRESETS.get(self.name)
        return found.only(self.contenders, self.attacks)

    @property
    def shadows(self) -> Mapping[str, int]:
        """How many shadow models each recipe needs, in the order the recipes are trained.

        An attacker who does not know of the defense has shadows of the baseline's recipe only.
        """
        preset = self.preset
        aware = preset.protocol.threat.knows_defense
        baseline = preset.contenders[0].recipe
        recipes = dict.fromkeys(contender.recipe for contender in preset.contenders)
        return {recipe: preset.shadows if aware or recipe == baseline else 0 for recipe in recipes}

    @property
    def steps(self) -> int:
        """How often `bench` will call its progress."""
        preset = self.preset
        models = sum(1 + count for count in self.shadows.values())
        measures = len(preset.contenders) * (len(preset.protocol.attacks) + 1)
        return self.seeds * (models + measures)

    @property
    def command(self) -> str:
        """The command line that makes the same numbers."""
        words = ["dynanoise", "bench", self.name, "--seeds", str(self.seeds)]
        words += ["--size", self.size] if self.size else []
        words += [word for name in self.contenders for word in ("--contender", name)]
        words += [word for name in self.attacks for word in ("--attack", name)]
        words += ["--device", self.device] if self.device != "cpu" else []
        return " ".join(words)


def bench(
    plan: Plan,
    progress: Progress = lambda step: None,
    *,
    folder: Path | None = None,
    store: Path | None = None,
    workers: int = 1,
) -> Iterator[Record]:
    """Trains and judges everything in a plan, for seeds 0 .. seeds-1.

    The same plan, package versions and processor give the same numbers, with or without a store
    and with any number of workers.

    Args:
        plan: what to run.
        progress: called after each of the plan's steps.
        folder: where data sets are looked for first, see `training.sources`.
        store: folder where trained models are kept and found again; None trains all of them.
        workers: processes that train at once.

    Yields:
        Records as they are made.

    Raises:
        MissingExtraError: if torch, or what reads the data, is not installed.
        MissingDataError: if no place has the data.
    """
    require_torch()
    from dynanoise.training.executors import InProcess, Processes
    from dynanoise.training.jobs import Executor
    from dynanoise.training.runs import paper_jobs, paper_run
    from dynanoise.training.store import Store

    preset, size = plan.preset, plan.preset.size(plan.size)
    data: Data = DATASETS.get(preset.dataset)(folder)
    shadows = plan.shadows
    build = MODELS.get(preset.model)
    models = {name: build(**preset.parameters(name)) for name in shadows}
    recipes = {name: RECIPES.get(name)(**size.recipes[name]) for name in shadows}
    splits = [split_of(data, size.pool, size.reference, seed) for seed in range(plan.seeds)]
    jobs = {
        (seed, name): paper_jobs(
            split,
            models[name],
            recipe,
            seed=seed,
            shadows=shadows[name],
            threads=preset.threads,
            device=plan.device,
        )
        for seed, split in enumerate(splits)
        for name, recipe in recipes.items()
    }
    kept = None if store is None else Store(store)
    executor: Executor = InProcess(kept) if workers == 1 else Processes(workers, kept)
    # All jobs at once, so that workers stay busy across recipes and seeds.
    answers = executor.run([job for of_run in jobs.values() for job in of_run], data)
    common = _Common(plan, models, recipes)
    for seed, split in enumerate(splits):
        runs = {}
        for name in recipes:
            said = []
            for job in jobs[seed, name]:
                said.append(next(answers))
                progress(f"seed {seed}: {job.name}{'' if name == 'plain' else f', {name}'}")
            runs[name] = paper_run(data, split, said, seed=seed)
        for finding in judge(runs, preset.contenders, preset.protocol):
            progress(f"seed {seed}: {finding.contender.name}, {finding.attack or 'utility'}")
            yield common.record(finding, seed, split)


def require_torch() -> None:
    """Says before any work what is missing.

    Raises:
        MissingExtraError: if torch is not installed.
    """
    if importlib.util.find_spec("torch") is None:
        raise MissingExtraError(
            "Training needs torch, which is not installed.",
            "Install it with: pip install 'dynanoise[train]'",
        )


class _Common:
    """What all Records of a run share."""

    def __init__(self, plan: Plan, models: Mapping[str, Any], recipes: Mapping[str, Any]) -> None:
        self.plan, self.models, self.recipes = plan, models, recipes
        self.preset = preset = plan.preset
        self.versions = circumstances.versions()
        self.hardware = {
            **circumstances.hardware(),
            "threads": preset.threads,
            "device": circumstances.device(plan.device),
        }

    def record(self, finding: Finding, seed: int, split: PaperSplit) -> Record:
        """The Record of a finding."""
        preset, contender = self.preset, finding.contender
        counts = split.counts
        return Record(
            dataset=preset.dataset,
            model=preset.model,
            model_parameters=asdict(self.models[contender.recipe]),
            contender=contender.name,
            recipe=contender.recipe,
            recipe_parameters=asdict(self.recipes[contender.recipe]),
            defense=finding.defense,
            attack=finding.attack,
            protocol=preset.protocol.name,
            threat=preset.protocol.threat,
            preset=self.plan.name,
            metrics=finding.metrics,
            seed=seed,
            split=split.digest,
            counts={**counts, "scored": 2 * min(counts["members"], counts["non_members"])},
            command=self.plan.command,
            versions=self.versions,
            hardware=self.hardware,
            seconds=finding.seconds,
        )
