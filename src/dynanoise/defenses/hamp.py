"""HAMP's output modification (Chen & Pattabiraman, NDSS 2024, arXiv:2307.01610)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Self

import numpy as np
import numpy.typing as npt
from scipy import special

from dynanoise.core import numerics
from dynanoise.core.defense import Noise
from dynanoise.core.errors import InputError, NotFittedError
from dynanoise.core.numerics import Float64, Floats
from dynanoise.core.outputs import View
from dynanoise.defenses import parameters


@dataclass(frozen=True, eq=False)
class HAMP(parameters.ByValue):
    """The model's order of the classes, with the scores of a random input.

    `fit` keeps the sorted probabilities of the model on the random inputs of ``view.random``. An
    output draws one of these rows and gives its r-th largest score to the class that the query
    ranks r-th; ties are ranked by class index. So an output reveals the order of the classes and
    nothing else of the query. The label is always kept: where the two largest scores tie, the
    first is raised by one unit in the last place.

    This is the half of HAMP that works at answer time. The other half trains the model on soft
    labels (recipe "hamp"); without it the order of the classes is the undefended model's. The paper
    makes a new random input for each query; here one of those seen by `fit` is drawn.

    Threat model: an attacker who knows the defense and has an unlimited query budget. Repeated
    queries return other random scores in the same order. Attacks that use the label, or the order,
    stay as strong as without a defense.

    Args:
        scores: float64 [R, K], rows of probabilities, largest first, from `fit`; None before.

    Raises:
        InputError: if the view has no random logits, or the logits are not finite float32 or
            float64, or have another number of classes than the fitted one.
        NotFittedError: if called before `fit`.

    >>> from dynanoise.noise.fresh import Fresh
    >>> HAMP(np.array([[0.5, 0.3, 0.2]]))(np.array([[-1.0, 0.0, 9.0]]), Fresh(0)).tolist()
    [[0.2, 0.3, 0.5]]
    """

    scores: Float64 | None = None
    keeps_labels = True
    invertible = False
    repeatable = False

    def __post_init__(self) -> None:
        if self.scores is None:
            return
        scores = parameters.constant(self.scores)
        good = scores.ndim == 2 and len(scores) > 0 and scores.shape[1] > 1
        good = good and bool((scores >= 0).all() and np.allclose(scores.sum(axis=-1), 1, atol=1e-9))
        if not good or (np.diff(scores, axis=-1) > 0).any():
            raise InputError(
                f"scores of shape {scores.shape} are not rows of probabilities, largest first.",
                "Pass the scores that fit(view) computed, unchanged.",
            )
        object.__setattr__(self, "scores", scores)

    def fit(self, view: View) -> Self:
        """Take the sorted softmax of ``view.random``, [R, K], as scores."""
        if view.random is None:
            raise InputError(
                "HAMP learns from a model's outputs on random inputs, and there are none.",
                "Evaluate it by dynanoise bench, which queries them, or name another defense; from "
                "Python pass View(members, reference, random) with logits on random inputs.",
            )
        logits, _ = numerics.as_logits(view.random, "View.random")
        if logits.ndim != 2 or not len(logits):
            raise InputError(
                f"View.random has shape {logits.shape}.", "Pass logits of shape [R, K], R >= 1."
            )
        return replace(self, scores=np.sort(numerics.softmax(logits), axis=-1)[:, ::-1])

    def __call__(self, logits: npt.ArrayLike, noise: Noise) -> Floats:
        """Compute defended probabilities.

        Args:
            logits: float32 or float64 [..., K], finite.
            noise: the source that draws a row of scores.

        Returns:
            Probabilities [..., K] in the logits' dtype.
        """
        clean, dtype = numerics.as_logits(logits)
        table = numerics.narrow(self._fitted(clean), dtype)
        # In the table, not in the output: an output's numbers must not depend on the query.
        top, second = table[:, 0], table[:, 1]
        table[:, 0] = np.where(top > second, top, np.nextafter(second, np.asarray(2, dtype)))

        purpose = parameters.canonical("hamp", scores=self.scores)
        base, normals = parameters.noise_source(noise).draw(clean, 1, purpose)
        # One normal a row picks one random input, each equally likely.
        uniform = special.ndtr(normals[0, ..., 0])
        index = np.minimum((uniform * len(table)).astype(np.int64), len(table) - 1)
        # A cell's representative may rank another class first.
        ranked = base.copy()
        np.put_along_axis(ranked, clean.argmax(axis=-1)[..., None], np.inf, axis=-1)
        order = np.argsort(-ranked, axis=-1, kind="stable")
        probs = np.empty(clean.shape, dtype)
        np.put_along_axis(probs, order, table[index], axis=-1)
        return probs

    def undo(self, log_probs: Float64) -> Float64:
        """Centre ln of the outputs [..., K]: only their order depends on the query."""
        self._fitted(log_probs)
        return numerics.centred(log_probs)

    def _fitted(self, rows: Float64) -> Float64:
        if self.scores is None:
            raise NotFittedError(
                "HAMP has no scores of random inputs yet.",
                "Call fit(view) with random logits in the view and use its result.",
            )
        if rows.shape[-1] != self.scores.shape[1]:
            raise InputError(
                f"logits have shape {rows.shape}; HAMP was fitted to {self.scores.shape[1]} "
                "classes.",
                "Fit it to this model.",
            )
        return self.scores


DEFENSES = {"hamp": HAMP}
