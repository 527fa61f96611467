"""Root keys of experiments, derived from a seed: everybody can make them again."""

from __future__ import annotations

from dynanoise.core.seeding import derive_bytes


class ExperimentKey:
    """A root key for measurements, never for answers to anybody: who has the seed has the key.

    It comes from a hash of seed and path under a name of its own, so it is no production key's
    neighbour, and keys of other seeds or paths share nothing with it.

    Args:
        seed: the run's seed, >= 0.
        path: whose key it is, for example ``"target", 3``.

    Raises:
        InputError: if ``seed`` is negative or not an integer.

    >>> ExperimentKey(0, "target").root().hex()[:8], ExperimentKey(0, "shadow").root().hex()[:8]
    ('e475a29e', 'bb6a7167')
    >>> ExperimentKey(0, "target")
    ExperimentKey(0, 'target')
    """

    __slots__ = ("_path", "_seed")

    def __init__(self, seed: int, *path: str | int) -> None:
        derive_bytes(seed)  # refuses what is no seed
        self._seed, self._path = seed, path

    def __repr__(self) -> str:
        return f"ExperimentKey({', '.join(repr(part) for part in (self._seed, *self._path))})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ExperimentKey) and repr(self) == repr(other)

    def __hash__(self) -> int:
        return hash(repr(self))

    def root(self) -> bytes:
        """32 bytes."""
        return derive_bytes(self._seed, "keyed noise of an experiment", *self._path)
