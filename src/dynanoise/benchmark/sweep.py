"""Sweeps of one parameter of DynaNoise over stored models, as in the paper's figures."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from dynanoise.benchmark.benchmark import Plan, Progress, bench
from dynanoise.benchmark.options import SweepOptions
from dynanoise.benchmark.preset import Preset
from dynanoise.core.defense import Method
from dynanoise.core.errors import InputError, MissingModelError, UnknownNameError
from dynanoise.core.options import command_line
from dynanoise.core.registry import PRESETS
from dynanoise.core.result import Result
from dynanoise.defenses.dynanoise import DynaNoise
from dynanoise.evaluation.protocols import PAPER
from dynanoise.training.store.storage import Place

PARAMETERS = {
    "base_variance": (0.0, 0.1, 0.2, 0.3, 0.4, 0.5),
    "lambda_scale": (0.0, 2.0, 3.0, 4.0, 5.0, 6.0),
    "temperature": (1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 10.0),
}
"""Parameters, with the values of arXiv:2505.13362v2 and the controls beside them.

A base variance of 0 is temperature alone, a lambda of 0 static noise, a temperature of 1 noise
alone; 10 is the artifact's temperature for CIFAR-10.
"""


@dataclass(frozen=True)
class Sweep(SweepOptions):
    """The parameter to vary and the stored models, checked before any work.

    Args:
        parameter: "base_variance", "lambda_scale" or "temperature"; the other parameters are the
            preset's.
        preset: a registered name.
        values: values of the parameter, one after the other; None for `PARAMETERS`.
        seeds, size, attacks, device: see `Plan`.

    Raises:
        UnknownNameError: for a name that is not registered.
        InputError: for a value that the parameter cannot take, or that comes twice.

    >>> Sweep("temperature", values=(1, 10)).command
    'dynanoise sweep temperature digits --values 1,10 --seeds 3'
    """

    def __post_init__(self) -> None:
        if self.parameter not in PARAMETERS:
            raise UnknownNameError(
                f"DynaNoise has no parameter {self.parameter!r} to sweep.",
                f"Known: {', '.join(PARAMETERS)}.",
            )
        if len(set(self.chosen)) < len(self.chosen):
            raise InputError(f"The values {self.chosen} repeat one.", "Name each value once.")
        assert self.plan  # builds every defense, which checks its parameters

    @property
    def chosen(self) -> tuple[float, ...]:
        """Values of the parameter."""
        return PARAMETERS[self.parameter] if self.values is None else self.values

    @property
    def plan(self) -> Plan:
        """Plan with a row for each value."""
        preset: Preset = PRESETS.get(self.preset)
        baseline = preset.methods[0]
        defenses = {row.name: row.defense for row in preset.methods}
        defense = defenses.get("dynanoise", DynaNoise())
        assert isinstance(defense, DynaNoise)
        changes: list[dict[str, Any]] = [{self.parameter: value} for value in self.chosen]
        rows = tuple(
            Method(f"{self.parameter}={change[self.parameter]:g}", replace(defense, **change))
            for change in changes
        )
        custom = replace(preset, methods=(baseline, *rows), protocols=(PAPER,))
        return Plan(
            self.preset,
            self.seeds,
            size=self.size,
            attacks=self.attacks,
            device=self.device,
            custom=custom,
        )

    @property
    def command(self) -> str:
        """Command that makes the same numbers."""
        return command_line("dynanoise sweep", self)


def sweep(
    plan: Sweep,
    progress: Progress = lambda step: None,
    *,
    folder: Path | None = None,
    store: Place,
) -> Iterator[Result]:
    """Evaluate DynaNoise at every value, without training.

    Args:
        plan: the parameter and its values.
        progress: called after each of the plan's steps.
        folder: where data sets are looked for first, see `data.sources`.
        store: place of the models of an earlier `bench`.

    Yields:
        Results like those of `bench`, of methods with names such as "temperature=2".

    Raises:
        MissingModelError: if a model is not in the store.
    """
    try:
        for result in bench(plan.plan, progress, folder=folder, store=store, train=False):
            yield replace(result, command=plan.command)
    except MissingModelError as error:
        first = Plan(
            plan.preset,
            plan.seeds,
            size=plan.size,
            methods=("dynanoise",),
            device=plan.device,
        )
        raise MissingModelError(
            error.problem, f"Train it first: `{first.command}`, with the same --store if any."
        ) from error
