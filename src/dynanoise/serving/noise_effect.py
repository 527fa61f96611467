"""What noise does to answers, told only of a thousand queries and more at once."""

from __future__ import annotations

import hashlib
import secrets
import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from dynanoise.config.configuration import Configuration
from dynanoise.core import numerics
from dynanoise.core.defense import Noise
from dynanoise.core.numerics import Float64
from dynanoise.core.registry import SENSITIVITIES
from dynanoise.defenses.dynanoise import DynaNoise
from dynanoise.oip.tensors import Array

WINDOW = 1_000
"""Queries of all clients together, before anything of them is told."""

_REMEMBERED = 1 << 16
"""Cells whose keyed digests are kept, to see one again."""


@dataclass(frozen=True)
class Window:
    """What is told of one window.

    Attributes:
        queries: in it.
        sensitivity: R [queries], or nothing if the defense has none.
        sigma: [queries], likewise.
        flips: answers whose label is not the model's.
        repeats: queries of a cell that was asked before.
    """

    queries: int
    sensitivity: Float64
    sigma: Float64
    flips: int
    repeats: int


class _Watched:
    """A source of noise that keeps what the defense went on with."""

    def __init__(self, noise: Noise) -> None:
        self._noise = noise
        self.repeatable = noise.repeatable
        self.base: Float64 | None = None

    def draw(self, logits: Float64, draws: int, purpose: str) -> tuple[Float64, Float64]:
        base, normals = self._noise.draw(logits, draws, purpose)
        self.base = base
        return base, normals


class Windows:
    """Collects rows, and tells of them when there are enough.

    One query's R or sigma would tell what the noise hides, and two readings of a counter around one
    query are that query's. The rows of the window under way stay in memory until then, at most a
    window and the last request; who reads the process's memory has the secret as well.

    Args:
        configuration: of the defense.
        tell: called with each complete window.
        size: queries in one window.
    """

    def __init__(
        self, configuration: Configuration, tell: Callable[[Window], None], size: int = WINDOW
    ) -> None:
        self._configuration, self._tell, self._size = configuration, tell, size
        self._rows: list[tuple[Array, Array]] = []
        self._count = 0
        self._seen: OrderedDict[bytes, None] = OrderedDict()
        self._key = secrets.token_bytes(32)
        self._lock, self._telling = threading.Lock(), threading.Lock()

    def add(self, output: Array, answer: Array) -> list[tuple[Array, Array]]:
        """Takes a model's output and the answer given for it, with classes along the class axis.

        Returns:
            The rows of a window that is complete now, for `complete`; else nothing.
        """
        axis = self._configuration.class_axis
        classes = output.shape[axis]
        pair = tuple(np.moveaxis(one, axis, -1).reshape(-1, classes) for one in (output, answer))
        with self._lock:
            self._rows.append((pair[0], pair[1]))
            self._count += len(pair[0])
            if self._count < self._size:
                return []
            taken, self._rows, self._count = self._rows, [], 0
        return taken

    def complete(self, taken: list[tuple[Array, Array]]) -> None:
        """Tells of a window; takes milliseconds, so it belongs into a thread."""
        with self._telling:
            self._tell(self._of(taken))

    def _of(self, taken: list[tuple[Array, Array]]) -> Window:
        logits = np.concatenate([output for output, _ in taken]).astype(np.float64)
        answers = np.concatenate([answer for _, answer in taken])
        labels = logits.argmax(axis=-1)
        if self._configuration.input == "probabilities":
            logits = numerics.favour(numerics.log_probabilities(logits), labels)
        defense = self._configuration.defense
        watched = _Watched(self._configuration.noise_source())
        defense(logits, watched)
        base = logits if watched.base is None else watched.base
        none = np.empty(0)
        sensitivity, sigma = none, none
        if isinstance(defense, DynaNoise):
            sensitivity = np.asarray(SENSITIVITIES.get(defense.sensitivity)(base), np.float64)
            sigma = np.sqrt(defense.variance(base))
        return Window(
            len(logits),
            sensitivity,
            sigma,
            int((labels != answers.argmax(axis=-1)).sum()),
            self._repeats(base, labels),
        )

    def _repeats(self, base: Float64, labels: Array) -> int:
        found = 0
        for row, label in zip(np.ascontiguousarray(base), labels, strict=True):
            content = row.tobytes() + int(label).to_bytes(8, "little")
            digest = hashlib.blake2b(content, key=self._key, digest_size=16).digest()
            found += digest in self._seen
            self._seen[digest] = None
            self._seen.move_to_end(digest)
            if len(self._seen) > _REMEMBERED:
                self._seen.popitem(last=False)
        return found
