"""Runs a preset over seeds: data, models, contenders, attacks -> Records."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Protocol

from dynanoise.audit import circumstances
from dynanoise.audit.judge import judge
from dynanoise.audit.presets import Preset
from dynanoise.errors import InputError, MissingExtraError
from dynanoise.record import Record
from dynanoise.registry import DATASETS, MODELS, PRESETS, RECIPES
from dynanoise.training.splits import split_of


class Progress(Protocol):
    """Told of each step that is done."""

    def __call__(self, step: str) -> None:
        """``step`` is a few words, such as "seed 1: target"."""


def steps(preset: Preset, seeds: int) -> int:
    """How often `bench` will call its progress."""
    if isinstance(seeds, bool) or not isinstance(seeds, int) or seeds < 1:
        raise InputError(f"seeds is {seeds!r}.", "Use an integer of at least 1.")
    models = len(preset.recipes) * (1 + preset.shadows)
    return seeds * (models + len(preset.contenders) * (len(preset.protocol.attacks) + 1))


def bench(
    name: str,
    seeds: int = 3,
    progress: Progress | Callable[[str], None] = lambda step: None,
    folder: Path | None = None,
) -> Iterator[Record]:
    """Trains and judges everything in a preset, for seeds 0 .. seeds-1.

    The same preset, seed, package versions and processor give the same numbers.

    Args:
        name: a registered preset.
        seeds: how many independent repetitions, >= 1; each draws its own records and weights.
        progress: called after each of `steps` steps.
        folder: where data sets are looked for first, see `training.sources`.

    Yields:
        Records as they are made.

    Raises:
        UnknownNameError, InputError: at the first step.
        MissingExtraError: if torch, or what reads the data, is not installed.
        MissingDataError: if no place has the data.
    """
    preset: Preset = PRESETS.get(name)
    steps(preset, seeds)  # refuses impossible numbers of seeds
    protocol = preset.protocol
    if protocol.design != "paper_split" or protocol.threat.augmented:
        raise InputError(
            f"The preset {name} asks for the protocol {protocol.name!r} with the design "
            f"{protocol.design!r} and augmented={protocol.threat.augmented}.",
            "Only the design 'paper_split' without augmented queries can be run so far.",
        )
    if importlib.util.find_spec("torch") is None:
        raise MissingExtraError(
            "Training needs torch, which is not installed.",
            "Install it with: pip install 'dynanoise[train]'",
        )
    from dynanoise.training.jobs import InProcess
    from dynanoise.training.runs import paper_jobs, paper_run

    data = DATASETS.get(preset.dataset)(folder)
    model = MODELS.get(preset.model)(**preset.model_parameters)
    recipes = {recipe: RECIPES.get(recipe)(**using) for recipe, using in preset.recipes.items()}
    hardware = {**circumstances.hardware(), "threads": preset.threads}
    versions = circumstances.versions()
    for seed in range(seeds):
        split = split_of(data, preset.pool, preset.reference, seed)
        counts = split.counts
        counts["scored"] = 2 * min(counts["members"], counts["non_members"])

        def said(step: str, seed: int = seed) -> None:
            progress(f"seed {seed}: {step}")

        runs = {}
        for recipe_name, recipe in recipes.items():
            jobs = paper_jobs(
                split, model, recipe, seed=seed, shadows=preset.shadows, threads=preset.threads
            )
            runs[recipe_name] = paper_run(
                data, split, jobs, seed=seed, executor=InProcess(), progress=said
            )
        for finding in judge(runs, preset.contenders, preset.protocol):
            said(f"{finding.contender.name}, {finding.attack or 'utility'}")
            yield Record(
                dataset=preset.dataset,
                model=preset.model,
                model_parameters=asdict(model),
                contender=finding.contender.name,
                recipe=finding.contender.recipe,
                recipe_parameters=asdict(recipes[finding.contender.recipe]),
                defense=finding.defense,
                attack=finding.attack,
                protocol=preset.protocol.name,
                threat=preset.protocol.threat,
                preset=name,
                metrics=finding.metrics,
                seed=seed,
                split=split.digest,
                counts=counts,
                command=f"dynanoise bench {name} --seeds {seeds}",
                versions=versions,
                hardware=hardware,
                seconds=finding.seconds,
            )
