"""Fresh noise: new independent draws for every output, as in the paper."""

from __future__ import annotations

import os

import numpy as np

from dynanoise.core.errors import InputError
from dynanoise.core.numerics import Float64
from dynanoise.core.seeding import derive
from dynanoise.noise.chacha import stream
from dynanoise.noise.normals import count_words, normals_v1

KEY_BYTES = 32

_NORMALS = 1 << 16
"""Normals made at once, from 1 MiB of random words."""


class Fresh:
    """Independent standard normals for every output, from a seeded NumPy generator.

    For experiments (Forough & Haddadi, arXiv:2505.13362v2). Served models need `SystemFresh`: a
    copy of this object repeats its noise, and PCG64 is not a cryptographic generator, so that its
    state reveals all past and future noise.

    Threat model: one query for each record. Q repeated queries average the noise away: its
    variance falls as 1/Q.

    Args:
        seed: an integer of 0 or more, a SeedSequence or a numpy Generator, which is shared, not
            copied. There is no default: results could not be reproduced without a seed, and
            everyone could predict the noise of a default one.

    Raises:
        InputError: if ``seed`` is anything else.

    >>> base, normals = Fresh(0).draw(np.zeros((2, 3)), draws=4, purpose="doctest")
    >>> base.shape, normals.shape, round(float(normals[0, 0, 0]), 6)
    ((2, 3), (4, 2, 3), 0.723827)
    """

    __slots__ = ("_generator",)
    repeatable = False

    def __init__(self, seed: int | np.random.SeedSequence | np.random.Generator) -> None:
        kinds = (int, np.integer, np.random.SeedSequence, np.random.Generator)
        if not isinstance(seed, kinds) or isinstance(seed, bool):
            raise InputError(
                f"Fresh noise got {seed!r} as its seed.",
                "Pass an integer; dn.SystemFresh() has noise from the operating system.",
            )
        if isinstance(seed, int | np.integer):
            if seed < 0:
                raise InputError(f"Fresh noise got the seed {seed}.", "Seeds are 0 or more.")
            # Not the stream of np.random.default_rng(seed): data or weights drawn with the same
            # small number would be correlated with the noise.
            seed = derive(int(seed), "fresh noise")
        self._generator = np.random.default_rng(seed)

    def __repr__(self) -> str:
        return "Fresh(...)"  # the seed would reveal the noise

    def draw(self, logits: Float64, draws: int, purpose: str) -> tuple[Float64, Float64]:
        """Draw float64 normals [draws, ..., K] for logits [..., K]; see `core.defense.Noise`.

        Returns:
            The logits, unchanged, and the normals.
        """
        return logits, self._generator.standard_normal((draws, *logits.shape))


class SystemFresh:
    """Independent standard normals for every output, unpredictable and without a state.

    Each call, whatever its batch, has a ChaCha stream under a key of its own: 32 bytes from the
    operating system. The compiled kernel uses 8 rounds and computes in the logits' precision;
    without numba, or where the kernel does not cover the setting, NumPy uses 20 rounds and float64.

    Nothing is kept between calls. So there is no state to learn, threads share nothing, and
    neither a fork nor a copy repeats noise. The process's memory in the middle of a call reveals
    the noise of this call, not of earlier or later ones.

    Threat model: one query for each record, as for `Fresh`. Q repeated queries average the noise
    away, however unpredictable it is; `Keyed` prevents that.

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
        """Read 32 new random bytes from the operating system."""
        return os.urandom(KEY_BYTES)

    def draw(self, logits: Float64, draws: int, purpose: str) -> tuple[Float64, Float64]:
        """Draw float64 normals [draws, ..., K] for logits [..., K]; see `core.defense.Noise`.

        Returns:
            The logits, unchanged, and the normals.
        """
        key = np.frombuffer(self.key(), "<u4").astype(np.uint32)[None]
        normals = np.empty(draws * logits.size)
        for nonce, start in enumerate(range(0, normals.size, _NORMALS)):
            part = normals[start : start + _NORMALS]
            part[:] = normals_v1(stream(key, nonce, count_words(part.size)), part.size)[0]
        return logits, normals.reshape(draws, *logits.shape)


NOISES = {"fresh": Fresh, "system": SystemFresh}
