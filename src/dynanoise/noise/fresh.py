"""Fresh noise: new independent draws for every answer, as the paper has it."""

from __future__ import annotations

import os

import numpy as np

from dynanoise.core.errors import InputError
from dynanoise.core.numerics import Float64
from dynanoise.core.seeding import derive
from dynanoise.noise.chacha import stream
from dynanoise.noise.normals import normals_v1, words_for

KEY_BYTES = 32

_NORMALS = 1 << 16
"""Made at once: 1 MiB of random words."""


class Fresh:
    """Independent standard normals for every answer (Forough & Haddadi, arXiv:2505.13362v2).

    Who asks the same query Q times averages this noise away: its variance falls as 1/Q. Against an
    attacker who may repeat a query it therefore protects little.

    Args:
        seed: an integer of 0 or more, a SeedSequence or a numpy Generator. There is no default:
            an unseeded stream would make results that nobody can make again, a silent default
            seed noise that everybody can predict. Outside experiments use `SystemFresh`: a copy
            of this repeats its noise, and PCG64 is no cryptographic generator; who learns its
            state has all past and future noise. A Generator is shared, not copied.

    Raises:
        InputError: if ``seed`` is anything else.

    >>> base, normals = Fresh(0).draw(np.zeros((2, 3)), draws=4, purpose="doctest")
    >>> base.shape, normals.shape, round(float(normals[0, 0, 0]), 6)
    ((2, 3), (4, 2, 3), 0.723827)
    """

    __slots__ = ("_generator",)
    repeatable = False

    def __init__(self, seed: int | np.random.SeedSequence | np.random.Generator) -> None:
        known = (int, np.integer, np.random.SeedSequence, np.random.Generator)
        if not isinstance(seed, known) or isinstance(seed, bool):
            raise InputError(
                f"Fresh noise got {seed!r} as its seed.",
                "Pass an integer; dn.SystemFresh() has noise from the operating system.",
            )
        if isinstance(seed, int | np.integer):
            if seed < 0:
                raise InputError(f"Fresh noise got the seed {seed}.", "Seeds are 0 or more.")
            # Not the stream of np.random.default_rng(seed): whoever drew data or weights with the
            # same small number would add noise that is correlated with them.
            seed = derive(int(seed), "fresh noise")
        self._generator = np.random.default_rng(seed)

    def __repr__(self) -> str:
        return "Fresh(...)"  # who knows the seed can subtract the noise

    def draw(self, logits: Float64, draws: int, purpose: str) -> tuple[Float64, Float64]:
        """The logits unchanged, and float64 normals [draws, ..., K]; see `core.defense.Noise`."""
        return logits, self._generator.standard_normal((draws, *logits.shape))


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


NOISES = {"fresh": Fresh, "system": SystemFresh}
