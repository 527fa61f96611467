"""How and where a plan is run, as the command line says it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from dynanoise.benchmark.plan import Plan
    from dynanoise.training.execution.ray_cluster import RayCluster
    from dynanoise.training.store.storage import Place

_FEW = 32
"""Brief models that are trained before other processes have started."""


class Cluster(NamedTuple):
    """A Ray cluster to train on.

    Attributes:
        address: of its head node; None for what `training.ray_cluster.RayCluster` finds.
        gpus: of a GPU for each model; None for its default.
    """

    address: str | None
    gpus: float | None


class How(NamedTuple):
    """How a plan is run, which makes no difference to its numbers.

    Attributes:
        store: of trained models, or None.
        workers: processes; None for one where a few brief models are trained, else as many as
            cores allow.
        cluster: trains instead of these processes, which then judge only.
    """

    store: Place | None = None
    workers: int | None = None
    cluster: Cluster | None = None

    def processes(self, plan: Plan) -> int:
        """How many."""
        if self.workers is not None:
            return self.workers
        alone = (plan.preset.brief and plan.trained <= _FEW) or plan.device != "cpu"
        return 1 if alone else max(1, cores() // plan.preset.threads)

    def executor(self) -> RayCluster | None:
        """The cluster, with a store free of what killed runs left there; None for this machine."""
        if self.cluster is None:
            return None
        from dynanoise.benchmark.benchmark import require_torch
        from dynanoise.core.extras import require

        require_torch()
        require("ray", "The executor ray")
        from dynanoise.training.execution.ray_cluster import RayCluster
        from dynanoise.training.store.store import Store

        kept = None if self.store is None else Store(self.store)
        if kept is not None:
            kept.sweep()
        return RayCluster(kept, *self.cluster)


def cores() -> int:
    """Processor cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
