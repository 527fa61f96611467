"""Noise sources for tests of wrappers, and what several threads make of one of them."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from dynanoise.core.numerics import Float64
from dynanoise.noise.keyed import Keyed
from dynanoise.noise.keys import ExperimentKey

SECRET = "c0ffee" + "5a" * 28 + "17"
"""64 hexadecimal digits, as DYNANOISE_KEY has them."""

DIGEST = "ab" * 32


class FixedNoise:
    """Noise that was drawn before, so that two implementations add the same."""

    repeatable = False

    def __init__(self, normals: Any) -> None:
        self.normals = np.asarray(normals, np.float64)

    def draw(self, logits: Float64, draws: int, purpose: str) -> tuple[Float64, Float64]:
        return logits, self.normals[:draws].reshape(draws, *logits.shape)


def keyed(width: float = 4.0) -> Keyed:
    """Keyed noise of an experiment, no secret."""
    return Keyed(width, "a model", DIGEST, ExperimentKey(0, "deploy"))


def holds_secret(content: bytes) -> bool:
    """Whether bytes hold the secret, as text or as the key that it stands for."""
    low = content.lower()
    return SECRET.encode() in low or bytes.fromhex(SECRET) in content


def in_threads(ask: Callable[[int], Any], threads: int = 8, times: int = 40) -> list[Any]:
    """Results of ``ask`` for 0, 1, ... from several threads at once."""
    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(ask, range(times)))
