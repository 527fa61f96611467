"""Temperature without noise: the control, and at T = 1 the undefended model."""

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

    The control every comparison needs: it leaves the order of the logits, so the label and the
    accuracy, exactly as they are, and anyone who knows T undoes it. What an attack loses to this
    row it loses to a threshold that no longer fits, not to noise.

    Args:
        temperature: T > 0.

    Raises:
        InputError: as for `DynaNoise`.

    >>> import numpy as np
    >>> Temperature(2.0)(np.log([[1.0, 9.0]])).round(6).tolist()
    [[0.25, 0.75]]
    """

    temperature: float = 10.0
    keeps_labels = True
    invertible = True
    repeatable = True

    def __post_init__(self) -> None:
        checked = parameters.number("temperature", self.temperature, above=0)
        object.__setattr__(self, "temperature", checked)

    def fit(self, view: View) -> Self:
        """Itself: there is nothing to learn."""
        return self

    def __call__(self, logits: npt.ArrayLike, noise: Noise | None = None) -> Floats:
        """Probabilities [..., K] in the logits' dtype; the noise is not used."""
        clean, dtype = numerics.as_logits(logits)
        answer = numerics.narrow(numerics.softmax(clean, self.temperature), dtype)
        return numerics.favour(answer, clean.argmax(axis=-1))

    def undo(self, log_probs: Float64) -> Float64:
        """T ln p, centred: the clean logits up to a constant."""
        return self.temperature * numerics.centred(log_probs)


def undefended() -> Temperature:
    """softmax(z): the model's own answer, the "none" row of every comparison.

    >>> undefended()
    Temperature(temperature=1.0)
    """
    return Temperature(1.0)


DEFENSES = {"none": undefended, "temperature": Temperature}
