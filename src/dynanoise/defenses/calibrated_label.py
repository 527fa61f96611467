"""The label and how often it is right: the floor of all defenses that keep the label."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Self

import numpy as np
import numpy.typing as npt

from dynanoise.core import numerics
from dynanoise.core.defense import Noise
from dynanoise.core.errors import InputError, NotFittedError
from dynanoise.core.numerics import Float64, Floats
from dynanoise.core.outputs import View
from dynanoise.defenses import parameters


@dataclass(frozen=True, eq=False)
class CalibratedLabel(parameters.ByValue):
    """An answer that depends on the predicted class alone, with that class's held-out accuracy.

    `fit` counts, on the defender's known non-members, how often each predicted class was right:
    (hits + 1) / (n + 2), by Laplace's rule neither 0 nor 1. A class never predicted there gets the
    same of all classes together. An answer gives its label that confidence and spreads the rest
    evenly. The label is always the model's own: a confidence of 1/K or less becomes 1/K, and
    where that, or rounding, makes a tie, the label is raised by one unit in the last place.

    Threat model: an attacker who knows the defense and asks as often as it likes learns the label
    and nothing else, so label-only attacks, also over near-duplicates, have all they had before.
    A defense that keeps the label cannot do better against them; one that costs more utility than
    this row must beat it against the others.

    Args:
        confidences: float64 [K] in (0, 1), what `fit` found; None before.

    Raises:
        InputError: if the view has no reference records, or the logits are not finite float32 or
            float64, or have another number of classes than those it was fitted to.
        NotFittedError: if asked before `fit`.

    >>> fitted = CalibratedLabel(np.array([0.8, 0.25, 0.5]))
    >>> fitted(np.array([[9.0, 0.0, 0.0], [0.0, 0.1, 0.0], [1.0, 0.0, 1.5]])).round(3).tolist()
    [[0.8, 0.1, 0.1], [0.333, 0.333, 0.333], [0.25, 0.25, 0.5]]
    """

    confidences: Float64 | None = None
    keeps_labels = True
    invertible = False
    repeatable = True

    def __post_init__(self) -> None:
        if self.confidences is None:
            return
        confidences = parameters.constant(self.confidences)
        inside = bool(((confidences > 0) & (confidences < 1)).all())
        if confidences.ndim != 1 or len(confidences) < 2 or not inside:
            raise InputError(
                f"confidences of shape {confidences.shape} are not one number in (0, 1) for each "
                "of K >= 2 classes.",
                "Pass what fit(view) found, unchanged.",
            )
        object.__setattr__(self, "confidences", confidences)

    def fit(self, view: View) -> Self:
        """The same with confidences from the original inputs of ``view.reference``."""
        logits, labels = view.reference.logits[0, :, 0], view.reference.labels
        if not len(labels):
            raise InputError(
                "The view has no reference records.",
                "Give labelled records that the model was not trained on, better hundreds.",
            )
        said = logits.argmax(axis=-1)
        right = said == labels
        asked = np.bincount(said, minlength=logits.shape[-1])
        hits = np.bincount(said, weights=right, minlength=logits.shape[-1])
        overall = (right.sum() + 1) / (len(labels) + 2)
        return replace(self, confidences=np.where(asked > 0, (hits + 1) / (asked + 2), overall))

    def __call__(self, logits: npt.ArrayLike, noise: Noise | None = None) -> Floats:
        """Probabilities [..., K] in the logits' dtype; the noise is not used."""
        rows, dtype = numerics.as_logits(logits)
        confidences = self._fitted(rows)
        own = rows.argmax(axis=-1)
        classes = len(confidences)
        sure = np.maximum(confidences, 1 / classes)[own][..., None]
        answer = np.where(np.arange(classes) == own[..., None], sure, (1 - sure) / (classes - 1))
        return numerics.favour(numerics.narrow(answer, dtype), own)

    def undo(self, log_probs: Float64) -> Float64:
        """ln of the answer, centred: nothing but the label can be recovered."""
        self._fitted(log_probs)
        return numerics.centred(log_probs)

    def _fitted(self, rows: Float64) -> Float64:
        if self.confidences is None:
            raise NotFittedError(
                "CalibratedLabel does not know how often each class is right yet.",
                "Call fit(view) with held-out records and use what it returns.",
            )
        if rows.shape[-1] != len(self.confidences):
            raise InputError(
                f"logits have shape {rows.shape}; CalibratedLabel was fitted to "
                f"{len(self.confidences)} classes.",
                "Fit it to this model.",
            )
        return self.confidences


DEFENSES = {"calibrated_label": CalibratedLabel}
