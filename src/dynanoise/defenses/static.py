"""Static noise of the same mean variance: the control for the benefit of dynamic variance."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy.typing as npt

from dynanoise.core import registry
from dynanoise.core.defense import Noise
from dynanoise.core.errors import InputError, NotFittedError
from dynanoise.core.numerics import Float64, Floats
from dynanoise.core.outputs import View
from dynanoise.defenses.dynanoise import DynaNoise


@dataclass(frozen=True)
class Static:
    """Noise of one variance for every query: the mean variance of a DynaNoise setting.

    `fit` averages sigma^2 over the defender's reference set and returns the `DynaNoise` with that
    base variance and lambda = 0.

    Args:
        match: the DynaNoise setting whose mean variance to match; or its specification, such as
            "dynanoise(base_variance=0.1)".

    Raises:
        InputError: if ``match`` is not a DynaNoise.
        NotFittedError: if called before `fit`.

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
        if isinstance(self.match, str):
            object.__setattr__(self, "match", registry.DEFENSES.build(self.match))
        if not isinstance(self.match, DynaNoise):
            raise InputError(f"match is {self.match!r}.", "Pass a DynaNoise setting.")

    @property
    def keeps_labels(self) -> bool:
        """The same property of the matched setting."""
        return self.match.keeps_labels

    @property
    def invertible(self) -> bool:
        """The same property of the matched setting."""
        return self.match.invertible

    @property
    def repeatable(self) -> bool:
        """The same property of the matched setting."""
        return self.match.repeatable

    def fit(self, view: View) -> DynaNoise:
        """Compute the mean variance on the original inputs of ``view.reference``.

        Returns:
            The DynaNoise with that base variance and lambda = 0.
        """
        mean = float(self.match.variance(view.reference.logits[0, :, 0]).mean())
        return replace(self.match, base_variance=mean, lambda_scale=0.0)

    def __call__(self, logits: npt.ArrayLike, noise: Noise) -> Floats:
        """Raise NotFittedError: the variance is not known before `fit`."""
        raise self._unfitted()

    def undo(self, log_probs: Float64) -> Float64:
        """Raise NotFittedError, as the call does."""
        raise self._unfitted()

    def _unfitted(self) -> NotFittedError:
        return NotFittedError(
            "Static noise has no variance yet.",
            "Call fit(view) with held-out non-members and use its result.",
        )


DEFENSES = {"static": Static}
