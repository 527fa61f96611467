"""Options of `dynanoise bench` that change no number: where models are trained and stored."""

from __future__ import annotations

import os
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar

from dynanoise.core.errors import InputError
from dynanoise.core.options import Option

if TYPE_CHECKING:
    from dynanoise.benchmark.plan import Plan
    from dynanoise.training.execution.ray_cluster import RayCluster
    from dynanoise.training.store.storage import Place

_FEW = 32
"""Models, each trained in a second, that are trained before other processes have started."""

StoreOption = Annotated[
    str | None,
    Option(
        "Trained models: a folder, or an address that fsspec opens, such as s3://BUCKET/FOLDER. "
        "Default: models in the user's cache folder.",
        metavar="DIR|URL",
        repeat=False,
    ),
]
DataOption = Annotated[
    Path | None, Option("Folder with data sets, before other places.", metavar="DIR", repeat=False)
]


class Executor(StrEnum):
    """Machines that train."""

    local = "local"
    ray = "ray"


@dataclass(frozen=True)
class Execution:
    """Machines that train, and the place of trained models.

    Raises:
        InputError: for options that do not fit together.
    """

    PANEL: ClassVar[str] = "Training"

    workers: Annotated[
        int | None,
        Option(
            "Number of models trained at once, each in a process of its own. Default: one for each "
            "core; one in all where models train in a second."
        ),
    ] = None
    executor: Annotated[
        Executor,
        Option("Machines that train: processes of this machine, or nodes of a Ray cluster."),
    ] = Executor.local
    address: Annotated[
        str | None,
        Option(
            "Head node of the Ray cluster. Default: RAY_ADDRESS, a cluster that runs on this "
            "machine, or one that is started here for the run.",
            metavar="HOST:PORT",
        ),
    ] = None
    gpus_per_model: Annotated[
        float | None,
        Option(
            "Share of a Ray node's GPU for each model: 0.25 trains four at once on it, if its "
            "memory is large enough. Default: 1 with --device cuda."
        ),
    ] = None
    store: StoreOption = None
    no_store: Annotated[bool, Option("Keep no models and use no stored ones.")] = False
    data: DataOption = None

    def __post_init__(self) -> None:
        if self.workers is not None and self.workers < 1:
            raise InputError(f"workers is {self.workers}.", "Use an integer of at least 1.")
        if self.no_store and self.store is not None:
            raise InputError("Both --store and --no-store were given.", "Leave one away.")

    def processes(self, plan: Plan) -> int:
        """Number of processes that train and judge a plan on this machine."""
        if self.workers is not None:
            return self.workers
        alone = (plan.preset.brief and plan.trained <= _FEW) or plan.device != "cpu"
        return 1 if alone else max(1, cores() // plan.preset.threads)

    def cluster(self, place: Place | None) -> RayCluster | None:
        """Join the Ray cluster; None where this machine trains.

        Args:
            place: place of the store, which is freed of remains of killed runs; None for no store.

        Raises:
            MissingExtraError: if torch or ray is not installed.
        """
        if self.executor is Executor.local:
            return None
        from dynanoise.benchmark.benchmark import require_torch
        from dynanoise.core.extras import require

        require_torch()
        require("ray", "The executor ray")
        from dynanoise.training.execution.ray_cluster import RayCluster
        from dynanoise.training.store.store import Store

        store = None if place is None else Store(place)
        if store is not None:
            store.sweep()
        return RayCluster(store, self.address, self.gpus_per_model)


def cores() -> int:
    """Number of processor cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
