"""Temperature scaling without noise: the control, and at T = 1 the undefended model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy.typing as npt

from dynanoise.core import numerics
from dynanoise.core.defense import Noise
from dynanoise.core.numerics import Float64, Floats
from dynanoise.core.outputs import View
from dynanoise.defenses import parameters


@dataclass(frozen=True)
class Temperature:
    """softmax(z / T): DynaNoise without its noise.

    The control of every comparison: it leaves the order of the logits, and so label and accuracy,
    exactly as they are, and an attacker who knows T undoes it. An attack that does worse against
    it suffers from a threshold that no longer fits, not from noise.

    Args:
        temperature: T > 0.

    Raises:
        InputError: if the temperature is out of range, or the logits are not finite float32 or
            float64 with at least two classes.

    >>> import numpy as np
    >>> Temperature(2.0)(np.log([[1.0, 9.0]])).round(6).tolist()
    [[0.25, 0.75]]
    """

    temperature: float = 10.0
    keeps_labels = True
    invertible = True
    repeatable = True
    passes = 1

    def __post_init__(self) -> None:
        checked = parameters.number("temperature", self.temperature, above=0)
        object.__setattr__(self, "temperature", checked)

    def fit(self, view: View) -> Self:
        """Return the defense unchanged: there is nothing to fit."""
        return self

    def __call__(self, logits: npt.ArrayLike, noise: Noise | None = None) -> Floats:
        """Compute defended probabilities; the noise is not used.

        Args:
            logits: float32 or float64 [..., K], finite.
            noise: ignored.

        Returns:
            Probabilities [..., K] in the logits' dtype.
        """
        clean, dtype = numerics.as_logits(logits)
        probs = numerics.narrow(numerics.softmax(clean, self.temperature), dtype)
        return numerics.favour(probs, clean.argmax(axis=-1))

    def undo(self, log_probs: Float64) -> Float64:
        """Compute T ln p, centred: the logits up to a constant in each row, [..., K]."""
        return self.temperature * numerics.centred(log_probs)


def undefended() -> Temperature:
    """Make the undefended output softmax(z), the row "none" of every comparison.

    >>> undefended()
    Temperature(temperature=1.0)
    """
    return Temperature(1.0)


DEFENSES = {"none": undefended, "temperature": Temperature}
