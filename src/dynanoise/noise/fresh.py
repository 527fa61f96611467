"""Fresh noise: new independent draws for every answer, as the paper has it."""

from __future__ import annotations

import numpy as np

from dynanoise.core.errors import InputError
from dynanoise.core.numerics import Float64
from dynanoise.core.seeding import derive


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


NOISES = {"fresh": Fresh}
