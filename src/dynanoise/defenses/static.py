"""Static noise of the same strength: the control for whether *dynamic* variance matters."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy.typing as npt

from dynanoise.core.defense import Noise
from dynanoise.core.errors import InputError, NotFittedError
from dynanoise.core.numerics import Float64, Floats
from dynanoise.core.outputs import View
from dynanoise.defenses.dynanoise import DynaNoise


@dataclass(frozen=True)
class Static:
    """Noise of one variance for every query, the mean of what a DynaNoise setting would use.

    `fit` averages sigma^2 over the defender's held-out non-members and gives the DynaNoise with
    that base variance and lambda = 0, which then answers.

    Args:
        match: the DynaNoise setting whose mean variance to match.

    Raises:
        NotFittedError: if asked before `fit`.

    >>> import numpy as np
    >>> from dynanoise.core.outputs import Outputs, View
    >>> logits = np.array([[0.0, 0.0], [0.0, 800.0]]).reshape(1, 2, 1, 2)
    >>> rows = Outputs(logits, np.array([0, 1]), np.array([0, 1]), np.zeros((1, 2), int))
    >>> fitted = Static(DynaNoise(base_variance=0.3, lambda_scale=2)).fit(View(rows, rows))
    >>> round(fitted.base_variance, 6), fitted.lambda_scale  # between 0.3 and 0.9
    (0.6, 0.0)
    """

    match: DynaNoise = field(default_factory=DynaNoise)

    def __post_init__(self) -> None:
        if not isinstance(self.match, DynaNoise):
            raise InputError(f"match is {self.match!r}.", "Pass a DynaNoise setting.")

    @property
    def keeps_labels(self) -> bool:
        """As of the setting it matches."""
        return self.match.keeps_labels

    @property
    def invertible(self) -> bool:
        """As of the setting it matches."""
        return self.match.invertible

    @property
    def repeatable(self) -> bool:
        """As the defense it matches."""
        return self.match.repeatable

    def fit(self, view: View) -> DynaNoise:
        """The static DynaNoise of the mean variance over ``view.reference``'s original inputs."""
        mean = float(self.match.variance(view.reference.logits[0, :, 0]).mean())
        return replace(self.match, base_variance=mean, lambda_scale=0.0)

    def __call__(self, logits: npt.ArrayLike, noise: Noise) -> Floats:
        """Raises NotFittedError: the variance is not known yet."""
        raise self._unfitted()

    def undo(self, log_probs: Float64) -> Float64:
        """Raises NotFittedError, as the answer does."""
        raise self._unfitted()

    def _unfitted(self) -> NotFittedError:
        return NotFittedError(
            "Static noise does not know its variance yet.",
            "Call fit(view) with held-out non-members and use what it returns.",
        )


DEFENSES = {"static": Static}
