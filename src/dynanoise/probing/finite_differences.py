"""Input gradients of models that have none to give, from differences of their outputs."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from dynanoise.core.numerics import Floats
from dynanoise.core.queries import Inputs, QueryFunction
from dynanoise.core.seeding import derive

STEP = 0.1
"""Half of the distance between two inputs that are compared, as a share of an entry's range."""

DIRECTIONS = 256
"""Directions in which outputs are compared, at most."""

FREQUENCIES = 4
"""Waves a side in the directions for images, 0 to 3: low frequencies, which models react to."""


def compared_directions(low: Inputs, high: Inputs, seed: int) -> Floats:
    """Directions for the inputs of a kind.

    Args:
        low: least value of each entry of an input, in its full shape.
        high: greatest value of each entry.
        seed: seed of the random directions for rows of many numbers.

    Returns:
        float32 [B, ...], orthogonal or nearly so: for images (three axes) cosines of low frequency
            in each channel; for up to 256 numbers each of them alone; for more 256 random signs.

    >>> compared_directions(np.zeros(2), np.array([1.0, 10.0]), 0).tolist()
    [[0.10000000149011612, 0.0], [0.0, 1.0]]
    """
    scale = STEP * (np.asarray(high, dtype=np.float32) - np.asarray(low, dtype=np.float32))
    if scale.ndim == 3:
        height, width, channels = scale.shape
        waves = [
            np.outer(
                np.cos(np.pi * down * (np.arange(height) + 0.5) / height),
                np.cos(np.pi * right * (np.arange(width) + 0.5) / width),
            )
            for down in range(FREQUENCIES)
            for right in range(FREQUENCIES)
        ]
        colours = np.eye(channels)
        basis = np.stack([wave[..., None] * colour for wave in waves for colour in colours])
    elif scale.size <= DIRECTIONS:
        basis = np.eye(scale.size).reshape(-1, *scale.shape)[scale.ravel() > 0]
    else:
        generator = np.random.default_rng(derive(seed, "directions"))
        basis = generator.choice([-1.0, 1.0], (DIRECTIONS, *scale.shape))
    return np.asarray(basis * scale, dtype=np.float32)


@dataclass(eq=False)
class FiniteDifferences:
    """A model with gradients from differences of its outputs.

    For estimators, ONNX files and endpoints that the attacker trained as its own: no query goes to
    a target. A model that is constant in pieces, such as a forest, is compared over a tenth of
    each entry's range.

    Args:
        model: from inputs to logits.
        directions: float32 [B, ...], see `compared_directions`.

    >>> linear = FiniteDifferences(lambda x: x @ np.array([[2.0, 0.0], [1.0, 3.0]]), np.eye(2))
    >>> linear.gradient(np.array([[5.0, 5.0]]), np.array([[1.0, -1.0]])).tolist()
    [[2.0, -2.0]]
    """

    model: QueryFunction
    directions: Floats
    _of: Inputs | None = field(default=None, init=False, repr=False)
    _differences: Floats | None = field(default=None, init=False, repr=False)

    def __call__(self, inputs: Inputs) -> Floats:
        """Compute logits [n, K] of inputs [n, ...]."""
        return self.model(inputs)

    def gradient(self, inputs: Inputs, weights: Floats) -> Floats:
        """See `core.queries.GradientFunction`; differences at the same array are computed once."""
        if self._of is not inputs or self._differences is None:
            self._of, self._differences = inputs, self._compare(inputs)
        along = np.einsum("bnk,nk->nb", self._differences, weights)
        squares = np.square(self.directions).reshape(len(self.directions), -1).sum(axis=1)
        return np.asarray(np.tensordot(along / squares, self.directions, axes=1), dtype=np.float32)

    def _compare(self, inputs: Inputs) -> Floats:
        """Half of the differences of logits in each direction, [B, n, K]."""
        dtype, values = inputs.dtype, inputs.astype(np.float32)
        differences = []
        for direction in self.directions:
            sides = [values + sign * direction for sign in (1, -1)]
            if dtype.kind in "iu":
                limits = np.iinfo(dtype)
                sides = [np.clip(np.rint(side), limits.min, limits.max) for side in sides]
            above, below = (np.asarray(self.model(side.astype(dtype))) for side in sides)
            differences.append((above.astype(np.float64) - below) / 2)
        return np.stack(differences)
