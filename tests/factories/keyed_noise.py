"""Keyed noise for tests."""

from __future__ import annotations

from typing import Any

import numpy as np

from dynanoise.core.numerics import Float64
from dynanoise.noise.keyed import Keyed
from dynanoise.noise.keys import ExperimentKey

WEIGHTS = "ab" * 32


class Raw:
    """A root that is given."""

    def __init__(self, root: bytes) -> None:
        self.bytes = root

    def root(self) -> bytes:
        return self.bytes


def keyed(width: float = 4.0, seed: int = 0, **changes: Any) -> Keyed:
    chosen = {"model": "tests", "weights": WEIGHTS, "key": ExperimentKey(seed, "tests"), **changes}
    return Keyed(width, **chosen)


def rows(count: int, classes: int = 10, seed: int = 0, spread: float = 4.0) -> Float64:
    return np.random.default_rng(seed).normal(0, spread, (count, classes))


def normals_of(noise: Keyed, logits: Float64, draws: int = 1, purpose: str = "tests") -> Float64:
    return noise.draw(logits, draws, purpose)[1]
