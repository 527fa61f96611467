"""Fresh noise for answers to others: seeded by the operating system, for every answer anew."""

from __future__ import annotations

import os

import numpy as np

from dynanoise.core.numerics import Float64
from dynanoise.noise.chacha import stream
from dynanoise.noise.normals import normals_v1, words_for

KEY_BYTES = 32

_NORMALS = 1 << 16
"""Made at once: 1 MiB of random words."""


class SystemFresh:
    """Independent standard normals for every answer, which nobody can make again or foresee.

    As `Fresh`, without a seed: each answer (each call, whatever its batch) has a ChaCha key of its
    own, 32 bytes from the operating system, and its stream. `dynanoise.kernel` makes them with 8
    rounds and answers in the logits' precision; without numba, or where the kernel does not cover
    the setting, NumPy makes them with 20 rounds and in float64.

    Nothing is kept between answers. So there is no state that somebody could learn, threads share
    nothing, and neither a fork nor a copy repeats noise. Who reads the process's memory in the
    middle of an answer learns the noise of this answer, not of earlier or later ones.

    Threat model: as for `Fresh`. Who asks the same query Q times averages this noise away, however
    unpredictable it is; `Keyed` does not allow that.

    >>> base, normals = SystemFresh().draw(np.zeros((2, 3)), draws=4, purpose="doctest")
    >>> base.shape, normals.shape
    ((2, 3), (4, 2, 3))
    >>> SystemFresh()
    SystemFresh()
    """

    __slots__ = ()
    repeatable = False

    def __repr__(self) -> str:
        return "SystemFresh()"

    def key(self) -> bytes:
        """32 bytes from the operating system, others at every call."""
        return os.urandom(KEY_BYTES)

    def draw(self, logits: Float64, draws: int, purpose: str) -> tuple[Float64, Float64]:
        """The logits unchanged, and float64 normals [draws, ..., K]; see `core.defense.Noise`."""
        key = np.frombuffer(self.key(), "<u4").astype(np.uint32)[None]
        normals = np.empty(draws * logits.size)
        for nonce, start in enumerate(range(0, normals.size, _NORMALS)):
            part = normals[start : start + _NORMALS]
            part[:] = normals_v1(stream(key, nonce, words_for(part.size)), part.size)[0]
        return logits, normals.reshape(draws, *logits.shape)


NOISES = {"system": SystemFresh}
