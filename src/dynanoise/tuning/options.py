"""Options of `dynanoise tune`: one field each."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar

from dynanoise.core.errors import InputError
from dynanoise.core.options import Option


@dataclass(frozen=True)
class SourceOptions:
    """Options of `dynanoise tune` that name the models."""

    PANEL: ClassVar[str] = "Models"

    source: Annotated[
        Path,
        Option(
            "Outputs of several models, as for `dynanoise audit`, with test data; or a folder of "
            "trained models, with --preset.",
            metavar="STORE_OR_OUTPUTS",
            argument=True,
        ),
    ]
    preset: Annotated[
        str | None, Option("Preset whose pool of models is in the folder: cifar10, digits, ...")
    ] = None
    size: Annotated[str | None, Option("Size of the preset.")] = None
    data: Annotated[Path | None, Option("Folder with data sets.", metavar="DIR", repeat=False)] = (
        None
    )


@dataclass(frozen=True)
class TuneOptions:
    """Options of `dynanoise tune` that determine its numbers, and its processes.

    Raises:
        InputError: for numbers below 1 of which there must be one.
    """

    PANEL: ClassVar[str] = "Search"

    trials: Annotated[int, Option("Number of settings to try.", always=True)] = 1000
    queries: Annotated[
        int,
        Option("Query budget: how often the attacker repeats a query, and averages.", always=True),
    ] = 16
    max_accuracy_drop: Annotated[
        float,
        Option("Accuracy that the defense may cost; 0.01 is one point.", always=True),
    ] = 0.01
    max_nll: Annotated[
        float | None,
        Option(
            "Largest negative log-likelihood of the defended outputs, in nats. Default: halfway "
            "from the undefended model's (after temperature scaling, where it is overconfident) to "
            "that of the label alone."
        ),
    ] = None
    max_ece: Annotated[
        float | None, Option("Largest expected calibration error, 0..1. Default: no limit.")
    ] = None
    near: Annotated[
        bool, Option("Judge the best settings with near-duplicates, too, where there are any.")
    ] = True
    chosen: Annotated[
        bool,
        Option(
            "Judge settings by an attacker who chooses its inputs, too, with --queries queries a "
            "record. For the models of a preset, which can be queried again."
        ),
    ] = False
    attacks: Annotated[
        tuple[str, ...],
        Option(
            "Attack to judge settings by: NAME or NAME(PARAMETER=VALUE, ...). May be given again. "
            "Default: all that the models allow.",
            flag="--attack",
            metavar="ATTACK",
        ),
    ] = ()
    seed: Annotated[int, Option("Seed of records, search and noise.")] = 0
    workers: Annotated[
        int | None,
        Option("Number of processes. Default: one for each core.", repeat=False),
    ] = None

    def __post_init__(self) -> None:
        for name in ("trials", "queries", "workers"):
            value = getattr(self, name)
            if value is None and name == "workers":
                continue
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise InputError(f"{name} is {value!r}.", "Use an integer of at least 1.")
        if self.chosen and self.queries > 256:
            raise InputError(
                f"queries is {self.queries}, and chosen inputs have a budget of 1 to 256.",
                "Use fewer, or leave --chosen out.",
            )

    @property
    def processes(self) -> int:
        """Number of processes."""
        return self.workers or os.cpu_count() or 1
