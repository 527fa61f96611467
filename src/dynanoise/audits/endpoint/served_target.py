"""A served model as the target of queries with chosen inputs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from dynanoise.core import numerics
from dynanoise.core.defense import Defense
from dynanoise.core.numerics import Float64, Floats, Int64
from dynanoise.core.queries import Inputs


@dataclass(frozen=True, eq=False)
class ServedTarget:
    """A server as a `Target`, whose client counts every query.

    Args:
        query: from inputs [n, ...] to the server's outputs [n, K].
        probabilities: True if outputs are probabilities, False for logits.
        defense: the defense as the attacker knows it, to undo its deterministic part.
        cell_width: see `Target`.
    """

    query: Callable[[Inputs], Floats]
    probabilities: bool
    defense: Defense
    cell_width: float | None

    @property
    def keeps_labels(self) -> bool:
        """See `Target`."""
        return self.defense.keeps_labels

    def labels(self, inputs: Inputs) -> Int64:
        """See `Target`."""
        return np.asarray(self.query(inputs).argmax(axis=-1))

    def recovered(self, inputs: Inputs) -> Float64:
        """See `Target`."""
        logarithm = numerics.log_probabilities if self.probabilities else numerics.log_softmax
        return self.defense.undo(logarithm(self.query(inputs).astype(np.float64)))
