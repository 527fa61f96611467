"""Options of `dynanoise bench`, of its overhead and of `dynanoise sweep`: one field each."""

from __future__ import annotations

import math
from dataclasses import KW_ONLY, dataclass
from pathlib import Path
from typing import Annotated, ClassVar

from dynanoise.core.errors import InputError
from dynanoise.core.options import Option


def _without_folder(method: str) -> str:
    """Text of a method in commands: folders of files are private to a machine."""
    return Path(method).name if method.lower().endswith((".yaml", ".yml")) else method


Size = Annotated[
    str | None,
    Option("Size of the benchmark: cpu, paper or quick. Default: the preset's first size."),
]
Methods = Annotated[
    tuple[str, ...],
    Option(
        "Row of the table: a method of the preset; a defense, NAME or NAME(PARAMETER=VALUE, ...), "
        "with cell_width=WIDTH for keyed noise; a defense.yaml; a training recipe; or "
        "RECIPE+DEFENSE. May be given again. Default: all of the preset.",
        flag="--defense",
        write=_without_folder,
    ),
]
Attacks = Annotated[
    tuple[str, ...],
    Option(
        "Attack to run, NAME or NAME(PARAMETER=VALUE, ...), such as 'lira(variance=example)'. May "
        "be given again. Default: all of the protocols.",
        flag="--attack",
    ),
]


def numbers(text: str) -> tuple[float, ...]:
    """Read numbers separated by commas.

    Raises:
        InputError: if the text holds anything else.

    >>> numbers("0,0.5, 2")
    (0.0, 0.5, 2.0)
    """
    try:
        values = tuple(float(part) for part in text.split(","))
    except ValueError:
        values = ()
    if not values or not all(map(math.isfinite, values)):
        raise InputError(f"The values are {text!r}.", "Pass numbers separated by commas: 0,0.5,2.")
    return values


@dataclass(frozen=True)
class BenchOptions:
    """Options of `dynanoise bench` that determine its numbers; `Plan` checks them."""

    PANEL: ClassVar[str] = "Comparison"

    name: Annotated[
        str,
        Option(
            "Preset to run, see --list; or a registered data set, or data of your own: a table "
            "(npz, csv, parquet), a folder of images or of parquet files, hub:OWNER/NAME. Records "
            "of your own are split at random, also those of one person: keep one of each, or use "
            "dynanoise.audit(..., groups=...) in Python. Or: overhead, to time predictions.",
            metavar="PRESET|DATA",
            argument=True,
        ),
    ] = ""
    seeds: Annotated[
        int | None, Option("Number of independent repetitions. Default: 3, with --quick 1.")
    ] = None
    _: KW_ONLY
    model: Annotated[
        str | None,
        Option(
            "Model to train: mlp, cnn, alexnet, scattering, text or hf:NAME_OR_FOLDER. Default: "
            "the preset's, or the usual one for the data."
        ),
    ] = None
    label: Annotated[
        str | None,
        Option(
            "Column of labels of a table of your own. Default: label, class, target or y, else "
            "the last column.",
            metavar="NAME",
        ),
    ] = None
    size: Size = None
    methods: Methods = ()
    attacks: Attacks = ()
    protocols: Annotated[
        tuple[str, ...],
        Option(
            "Protocol to run: paper, adaptive, adaptive_Q (each input Q times, as in adaptive_16), "
            "adaptive_near, adaptive_near_Q, adaptive_chosen (64 queries a record, inputs chosen "
            "by earlier outputs), adaptive_chosen_Q, adaptive_key, adaptive_architecture, "
            "adaptive_recipe or adaptive_disjoint. May be given again. Default: all of the "
            "preset.",
            flag="--protocol",
        ),
    ] = ()
    canaries: Annotated[
        int,
        Option(
            "Number of canaries: records of the pool that are mislabelled or mixed with others, "
            "half each, which leak most. Protocols over a pool only."
        ),
    ] = 0
    device: Annotated[
        str, Option("Device to train on: cpu, cuda, or auto for cuda where there is one.")
    ] = "cpu"


@dataclass(frozen=True)
class OverheadOptions:
    """Options of `dynanoise bench overhead` that determine its numbers; `OverheadPlan` checks."""

    PANEL: ClassVar[str] = "Comparison"

    on: Annotated[
        str,
        Option(
            "With overhead: the preset whose predictions are timed.", metavar="PRESET", always=True
        ),
    ] = "cifar10"
    size: Size = None
    methods: Methods = ()
    device: Annotated[
        str, Option("Device to train on: cpu, cuda, or auto for cuda where there is one.")
    ] = "cpu"


@dataclass(frozen=True)
class SweepOptions:
    """Options of `dynanoise sweep` that determine its numbers; `Sweep` checks them."""

    PANEL: ClassVar[str] = "Sweep"

    parameter: Annotated[
        str,
        Option(
            "Parameter of DynaNoise: base_variance, lambda_scale or temperature.", argument=True
        ),
    ]
    preset: Annotated[
        str,
        Option(
            "Preset whose stored models are used; see bench --list.", argument=True, always=True
        ),
    ] = "digits"
    values: Annotated[
        tuple[float, ...] | None,
        Option(
            "Values of the parameter, separated by commas. Default: the paper's and the controls.",
            read=numbers,
            write=lambda values: ",".join(f"{value:g}" for value in values),
        ),
    ] = None
    seeds: Annotated[int, Option("Number of repetitions that are stored.", always=True)] = 3
    size: Size = None
    attacks: Attacks = ()
    device: Annotated[str, Option("Device that the models were trained on: cpu, cuda or auto.")] = (
        "cpu"
    )
