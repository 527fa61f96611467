"""What a plan would cost, without running it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

from dynanoise.benchmark.benchmark import require_torch
from dynanoise.benchmark.layouts import layout_of
from dynanoise.benchmark.plan import Plan
from dynanoise.data.dataset import Data
from dynanoise.training.store.places import Place

if TYPE_CHECKING:
    from dynanoise.training.jobs import Job


@dataclass(frozen=True)
class Needed:
    """What one kind of models would take.

    Attributes:
        kind: such as "pool, selena".
        models: how many the plan asks for.
        stored: how many of them seem to be stored; they are not read.
        seconds: of those that are not, one after the other, estimated.
        at_once: how many, or how many stacks, would be trained at the same time.
        size: bytes of those that are not, in the store.
    """

    kind: str
    models: int
    stored: int
    seconds: float
    at_once: int
    size: int

    @property
    def hours(self) -> float:
        """With so many at once."""
        missing = self.models - self.stored
        return self.seconds / min(self.at_once, max(1, missing)) / 3600


def dry_run(
    plan: Plan,
    *,
    data: Data | None = None,
    folder: Path | None = None,
    store: Place | None = None,
    at_once: Callable[[Job], int] = lambda job: 1,
    stack: int | None = 1,
) -> Iterator[Needed]:
    """What every kind of models in a plan would take; nothing is trained to the end or stored.

    Time is measured in this process on a few steps of one model of each kind that is missing, and
    covers training and answering, not attacks.

    Args:
        plan: what would be run.
        data: where they are loaded already; None loads the preset's.
        folder: where data sets are looked for first, see `training.sources`.
        store: where trained models would be looked for.
        at_once: how many models, or stacks of them, would be trained at the same time.
        stack: how many small models would be trained at once, see `training.together.arrange`.

    Raises:
        MissingExtraError: if torch, or what reads the data, is not installed.
        MissingDataError: if no place has the data.
        StoreError: if the store is no folder and cannot be asked.
    """
    require_torch()
    from dynanoise.training.execution.estimate import estimate, gain
    from dynanoise.training.execution.together import arrange
    from dynanoise.training.store.store import Store, key

    layout = layout_of(plan, data, folder)
    kept = None if store is None else Store(store)
    seen: set[str] = set()
    for kind, jobs in layout.kinds.items():
        room = at_once(jobs[0])
        groups = arrange(jobs, layout.data, size=stack, slots=room, store=kept, gain=gain)
        missing, found = [], 0
        for job in chain.from_iterable(groups):
            name = key(replace(job, further=None), layout.data)
            # What another kind trains as well is there by then.
            if name in seen or (kept is not None and name in kept):
                found += 1
            else:
                missing.append(job)
            seen.add(name)
        most = max(map(len, groups))
        cost = estimate(missing, layout.data, stack=most)
        if most > 1:
            room = min(room, max(1, -(-len(missing) // most)))
        yield Needed(kind, len(jobs), found, cost.seconds, room, cost.size)
