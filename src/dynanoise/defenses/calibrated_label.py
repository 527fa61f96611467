"""Label with calibrated confidence: the reference point of all defenses that keep the label."""

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
    """An output that depends on the predicted class alone: that class's held-out accuracy.

    `fit` estimates, on the defender's reference set, how often each predicted class is right:
    (hits + 1) / (n + 2), by Laplace's rule neither 0 nor 1. A class that is never predicted there
    gets the estimate over all classes. An output gives its label that confidence and spreads the
    rest evenly. The label is always the model's own: a confidence below 1/K becomes 1/K, and where
    that, or rounding, makes a tie, the label is raised by one unit in the last place.

    Threat model: an attacker who knows the defense and has an unlimited query budget learns the
    label alone, so that label-only attacks, also over near-duplicates, stay as strong as without a
    defense. Every defense that keeps the label has this limit; one that costs more utility than
    this must beat it against the other attacks.

    Args:
        confidences: float64 [K], in (0, 1), from `fit`; None before.

    Raises:
        InputError: if the view has no reference records, or the logits are not finite float32 or
            float64, or have another number of classes than the fitted one.
        NotFittedError: if called before `fit`.

    >>> fitted = CalibratedLabel(np.array([0.8, 0.25, 0.5]))
    >>> fitted(np.array([[9.0, 0.0, 0.0], [0.0, 0.1, 0.0], [1.0, 0.0, 1.5]])).round(3).tolist()
    [[0.8, 0.1, 0.1], [0.333, 0.333, 0.333], [0.25, 0.25, 0.5]]
    """

    confidences: Float64 | None = None
    keeps_labels = True
    invertible = False
    repeatable = True
    passes = 1

    def __post_init__(self) -> None:
        if self.confidences is None:
            return
        confidences = parameters.constant(self.confidences)
        inside = bool(((confidences > 0) & (confidences < 1)).all())
        if confidences.ndim != 1 or len(confidences) < 2 or not inside:
            raise InputError(
                f"confidences of shape {confidences.shape} are not one number in (0, 1) for each "
                "of K >= 2 classes.",
                "Pass the confidences that fit(view) computed, unchanged.",
            )
        object.__setattr__(self, "confidences", confidences)

    def fit(self, view: View) -> Self:
        """Estimate the confidences from the original inputs of ``view.reference``."""
        logits, labels = view.reference.logits[0, :, 0], view.reference.labels
        if not len(labels):
            raise InputError(
                "The view has no reference records.",
                "Give labelled records that the model was not trained on, better hundreds.",
            )
        predicted = logits.argmax(axis=-1)
        right = predicted == labels
        counts = np.bincount(predicted, minlength=logits.shape[-1])
        hits = np.bincount(predicted, weights=right, minlength=logits.shape[-1])
        overall = (right.sum() + 1) / (len(labels) + 2)
        return replace(self, confidences=np.where(counts > 0, (hits + 1) / (counts + 2), overall))

    def __call__(self, logits: npt.ArrayLike, noise: Noise | None = None) -> Floats:
        """Compute defended probabilities; the noise is not used.

        Args:
            logits: float32 or float64 [..., K], finite.
            noise: ignored.

        Returns:
            Probabilities [..., K] in the logits' dtype.
        """
        rows, dtype = numerics.as_logits(logits)
        confidences = self._fitted(rows)
        labels = rows.argmax(axis=-1)
        classes = len(confidences)
        top = np.maximum(confidences, 1 / classes)[labels][..., None]
        probs = np.where(np.arange(classes) == labels[..., None], top, (1 - top) / (classes - 1))
        return numerics.favour(numerics.narrow(probs, dtype), labels)

    def undo(self, log_probs: Float64) -> Float64:
        """Centre ln of the outputs [..., K]: only the label can be recovered."""
        self._fitted(log_probs)
        return numerics.centred(log_probs)

    def _fitted(self, rows: Float64) -> Float64:
        if self.confidences is None:
            raise NotFittedError(
                "CalibratedLabel has no confidences yet.",
                "Call fit(view) with held-out records and use its result.",
            )
        if rows.shape[-1] != len(self.confidences):
            raise InputError(
                f"logits have shape {rows.shape}; CalibratedLabel was fitted to "
                f"{len(self.confidences)} classes.",
                "Fit it to this model.",
            )
        return self.confidences


DEFENSES = {"calibrated_label": CalibratedLabel}
