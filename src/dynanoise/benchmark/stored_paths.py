"""Prepared paths in the store: a stopped run with chosen inputs, or one with more methods, goes on.

Paths and the logits on them depend on the undefended models alone. On images they take most of the
time of a protocol with chosen inputs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any

from dynanoise.core.numerics import Int64
from dynanoise.evaluation.chosen_inputs import PreparedPaths
from dynanoise.probing.edits import EditPaths
from dynanoise.probing.paths import StraightPaths

if TYPE_CHECKING:
    from dynanoise.data.dataset import Data
    from dynanoise.training.jobs import Job
    from dynanoise.training.store.store import Store

VERSION = 1
"""To be raised when the same models get other paths."""

_KINDS = {"straight": StraightPaths, "edits": EditPaths}
_PATH = "path_"
_QUERIED = tuple(each.name for each in fields(PreparedPaths) if each.name != "paths")


@dataclass(frozen=True)
class StoredPaths:
    """Prepared paths of a pool of models, kept in the store part by part.

    Args:
        store: where they are kept.
        jobs: the models of the pool, in order.
        data: the data set.
        attacked: int64 [n], ids of the records whose inputs set the range of inputs.
        records: int64 [N], ids of the records that paths begin at.
        count: paths of a record.
    """

    store: Store
    jobs: Sequence[Job]
    data: Data
    attacked: Int64
    records: Int64
    count: int

    def around(
        self, run: Callable[..., Iterable[PreparedPaths]]
    ) -> Callable[..., Iterator[PreparedPaths]]:
        """Make a map that prepares only what is not stored, and stores each part once it is there.

        Args:
            run: the built-in `map`, or that of worker processes.

        Returns:
            What `chosen_inputs.prepare_pool` takes as ``run``.
        """

        def kept(
            prepare: Callable[..., PreparedPaths],
            seeds: Sequence[int],
            sources: Sequence[Sequence[int]],
        ) -> Iterator[PreparedPaths]:
            described = [self._describe(*each) for each in zip(seeds, sources, strict=True)]
            stored = [self._read(description) for description in described]
            missing = (
                [each for each, part in zip(column, stored, strict=True) if part is None]
                for column in (seeds, sources)
            )
            prepared = iter(run(prepare, *missing))
            for description, part in zip(described, stored, strict=True):
                yield part or self._write(next(prepared), description)

        return kept

    def _describe(self, seed: int, sources: Sequence[int]) -> dict[str, Any]:
        from dynanoise.training.store.store import ids_digest, key

        return {
            "paths": VERSION,
            "models": [key(replace(job, near=None), self.data) for job in self.jobs],
            "sources": list(sources),
            "attacked": ids_digest(self.attacked),
            "records": ids_digest(self.records),
            "count": self.count,
            "seed": seed,
        }

    def _write(self, prepared: PreparedPaths, description: dict[str, Any]) -> PreparedPaths:
        from dynanoise.training.store.store import key_of

        about = {"job": "chosen inputs", "data set": self.data.name, **description}
        self.store.put_arrays(key_of(description), _arrays(prepared), about)
        return prepared

    def _read(self, description: dict[str, Any]) -> PreparedPaths | None:
        from dynanoise.training.store.store import key_of

        arrays = self.store.arrays(key_of(description))
        if arrays is None:
            return None
        kind = _KINDS[str(arrays["kind"])]
        paths = kind(**{each.name: arrays[_PATH + each.name] for each in fields(kind)})
        return PreparedPaths(paths, **{name: arrays[name] for name in _QUERIED})


def _arrays(prepared: PreparedPaths) -> dict[str, Any]:
    """Arrays by name, of which the paths are built again."""
    paths = prepared.paths
    (kind,) = (name for name, each in _KINDS.items() if isinstance(paths, each))
    of_paths = {_PATH + each.name: getattr(paths, each.name) for each in fields(_KINDS[kind])}
    return {name: getattr(prepared, name) for name in _QUERIED} | of_paths | {"kind": kind}
