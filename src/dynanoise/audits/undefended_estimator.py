"""Taking a defended scikit-learn estimator apart: the classifier inside, its defense and noise."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Any

import numpy as np

from dynanoise.config.configuration import FRESH, Configuration
from dynanoise.core.defense import Defense
from dynanoise.core.errors import InputError
from dynanoise.core.numerics import Bools, Float64
from dynanoise.integrations.sklearn import CELL_WIDTH, DefendedClassifier, measure_width
from dynanoise.noise.keyed import Keyed


@dataclass(frozen=True)
class UndefendedEstimator:
    """A classifier and the defense it is deployed with. Made by `undefended_estimator`.

    Attributes:
        estimator: the classifier without a defense.
        defense: the defense; None if there is none.
        keyed: True if the noise is keyed.
        cell_width: cell width of keyed noise; None if it is measured on outputs.
        held_out: True if it is measured on records that no model was trained on.
        gives_logits: True if the estimator's predictions may be logits, once the defense is gone.
    """

    estimator: Any
    defense: Defense | None = None
    keyed: bool = False
    cell_width: float | None = None
    held_out: bool = False
    gives_logits: bool = False

    def configuration(self, logits: Float64, measured: Bools) -> Configuration:
        """Make the configuration of the audit, whose key is never looked up.

        Args:
            logits: [M, N, K], of M models.
            measured: [M, N], the records whose gaps give the cell width, which is the median of
                the models'.
        """
        assert self.defense is not None
        if not self.keyed:
            return Configuration(self.defense, FRESH, input="probabilities")
        width = self.cell_width
        if width is None:
            widths = [
                measure_width(rows[use], CELL_WIDTH)
                for rows, use in zip(logits, measured, strict=True)
            ]
            width = float(f"{np.median(widths):.3g}")
        return Configuration(self.defense, Keyed(width, "audit", "00" * 32), input="probabilities")

    def sentence(self, configuration: Configuration) -> str:
        """Tell what was taken apart, for the report."""
        noise = "fresh noise"
        if self.keyed:
            measured = ", the median of the clones'" if self.cell_width is None else ""
            noise = (
                f"keyed noise in cells {configuration.cell_width:g} logits wide{measured}, with "
                "new keys"
            )
        return (
            f"The estimator is defended: clones of its {type(self.estimator).__name__} were "
            f"attacked without the defense and behind it, {self.defense!r} with {noise}."
        )


def undefended_estimator(estimator: Any) -> UndefendedEstimator:
    """Take an estimator apart, if it is defended.

    Args:
        estimator: a `DefendedClassifier`, a pipeline that ends in one, an estimator with a
            `dynanoise.torch.Defended` among its parameters or attributes, or any other.

    Returns:
        The classifier without its defense.

    Raises:
        InputError: if a `DefendedClassifier` is anywhere else inside.
    """
    if isinstance(estimator, type) or not hasattr(estimator, "get_params"):
        return UndefendedEstimator(estimator)
    if isinstance(estimator, DefendedClassifier):
        inner = undefended_estimator(estimator.estimator)
        if inner.defense is not None:
            raise InputError("The estimator is defended twice.", "Defend it once.")
        keyed, width = estimator.deployed_noise()
        return UndefendedEstimator(
            inner.estimator,
            estimator.deployed_defense(),
            keyed,
            width,
            held_out=estimator.holdout is not None,
        )
    steps = getattr(estimator, "steps", None)
    if isinstance(steps, list) and steps:
        name, last = steps[-1]
        inner = undefended_estimator(last)
        if inner.defense is not None:
            options = estimator.get_params(deep=False)
            options["steps"] = [*steps[:-1], (name, inner.estimator)]
            return UndefendedEstimator(
                type(estimator)(**options),
                inner.defense,
                inner.keyed,
                inner.cell_width,
                inner.held_out,
                inner.gives_logits,
            )
    try:
        params = estimator.get_params(deep=True)
    except AttributeError:  # its constructor forgets an argument: it cannot be cloned
        return UndefendedEstimator(estimator)
    if any(isinstance(part, DefendedClassifier) for part in params.values()):
        name = type(estimator).__name__
        raise InputError(
            f"A DefendedClassifier is inside of the {name}, which does not answer as it does.",
            f"Audit DefendedClassifier({name}(...)), with the classifier itself inside.",
        )
    return _around_module(estimator, params)


def _around_module(estimator: Any, params: dict[str, Any]) -> UndefendedEstimator:
    """Take an estimator of torch apart, whose module may be a `dynanoise.torch.Defended`."""
    if sys.modules.get("torch") is None:
        return UndefendedEstimator(estimator)
    from sklearn.base import clone

    from dynanoise.integrations.torch import Defended

    parts = {**vars(estimator), **params}
    modules = [part for part in parts.values() if isinstance(part, Defended)]
    if not modules:
        return UndefendedEstimator(estimator)
    changed = {name: part.module for name, part in params.items() if isinstance(part, Defended)}
    width = modules[0].cell_width
    return UndefendedEstimator(
        clone(estimator).set_params(**changed),
        modules[0].defense,
        keyed=width is not None,
        cell_width=width,
        gives_logits=modules[0].input == "logits",
    )
