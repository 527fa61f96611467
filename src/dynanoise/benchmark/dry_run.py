"""The models that a plan would train and the disk space they need, without training any."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from dynanoise.benchmark.benchmark import require_torch
from dynanoise.benchmark.layouts import make_layout
from dynanoise.benchmark.plan import Plan
from dynanoise.data.dataset import Data
from dynanoise.training.store.storage import Place

if TYPE_CHECKING:
    from dynanoise.training.jobs import Job

_ENTRY = 4096
"""Bytes of a stored model besides weights and outputs, about."""


@dataclass(frozen=True)
class Needed:
    """Models of one kind that a plan needs.

    Attributes:
        kind: such as "pool, selena".
        models: number of models in the plan.
        stored: number of them that seem to be stored; they are not read.
        size: bytes in the store of those that are not, about.
    """

    kind: str
    models: int
    stored: int
    size: int


def dry_run(
    plan: Plan,
    *,
    data: Data | None = None,
    folder: Path | None = None,
    store: Place | None = None,
) -> Iterator[Needed]:
    """Count the models of each kind in a plan; nothing is trained or stored.

    Args:
        plan: the plan.
        data: the data set where it is loaded already; None loads the preset's.
        folder: where data sets are looked for first, see `data.sources`.
        store: where trained models would be looked for.

    Yields:
        A count for each kind, in the order of training.

    Raises:
        MissingExtraError: if torch, or what reads the data, is not installed.
        MissingDataError: if no place has the data.
        StoreError: if a store at an address cannot be reached.
    """
    require_torch()
    from dynanoise.training.store.store import Store, key

    layout = make_layout(plan, data, folder)
    kept = None if store is None else Store(store)
    counted: set[str] = set()
    for kind, jobs in layout.kinds.items():
        missing = []
        for job in jobs:
            name = key(replace(job, near=None), layout.data)
            # A model that another kind trains as well is there by then.
            if name not in counted and (kept is None or name not in kept):
                missing.append(job)
            counted.add(name)
        size = stored_size(missing, layout.data)
        yield Needed(kind, len(jobs), len(jobs) - len(missing), size)


def stored_size(jobs: Sequence[Job], data: Data) -> int:
    """Bytes of some models in a store, about: weights and outputs, float32.

    Args:
        jobs: models of one architecture; none is trained.
        data: the data set.
    """
    from dynanoise.training.execution.outputs import built
    from dynanoise.training.jobs import RANDOM_INPUTS, assembled

    if not jobs:
        return 0
    model = assembled(jobs[0].recipe, lambda: built(jobs[0].model, data, jobs[0].seed))
    weights = sum(value.nbytes for value in model.state_dict().values())
    size = 0
    for job in jobs:
        queries = RANDOM_INPUTS + (len(data) if job.queries is None else len(job.queries))
        near = 0 if job.near is None else len(job.near.ids) * len(job.near.duplicates)
        entries = 2 if near else 1
        size += weights + 4 * data.classes * (queries + near) + entries * _ENTRY
    return size
