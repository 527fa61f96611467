"""Shadow models that an auditor of one model trains on the records of the audit."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from dynanoise.audits.chosen.one_target import MODELS
from dynanoise.audits.estimator import Clone, train_clones
from dynanoise.audits.inputs import check_inputs
from dynanoise.audits.random_halves import Halves, Records, draw_membership
from dynanoise.audits.undefended_estimator import UndefendedEstimator
from dynanoise.core.numerics import Int64
from dynanoise.core.outputs import Pool

HIDDEN = 256
"""Hidden units of the network that shadow models are by default."""


class OwnShadows(NamedTuple):
    """Shadow models and their outputs.

    Attributes:
        pool: logits on all records, and membership.
        models: from inputs to logits.
    """

    pool: Pool
    models: list[Clone]


def default_classifier() -> Any:
    """Make the classifier that shadow models are clones of, if no other is given.

    Standardised inputs and a network of one hidden layer, trained until it fits its records.
    """
    from sklearn.neural_network import MLPClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import FunctionTransformer, StandardScaler

    network = MLPClassifier((HIDDEN,), max_iter=200, tol=0.0, n_iter_no_change=200)
    return make_pipeline(FunctionTransformer(_flat), StandardScaler(), network)


def _flat(inputs: npt.NDArray[Any]) -> npt.NDArray[Any]:
    return np.asarray(inputs, dtype=np.float64).reshape(len(inputs), -1)


def train_shadows(
    classifier: Any,
    inputs: npt.NDArray[Any],
    labels: Int64,
    classes: int,
    seed: int,
    progress: Callable[[str], None],
    persons: Int64 | None = None,
    models: int = MODELS,
) -> OwnShadows:
    """Train clones of a classifier, each on its own random half of the records.

    Args:
        classifier: unfitted, of scikit-learn.
        inputs: [N, ...].
        labels: int64 [N], classes from 0.
        classes: K, the number of classes.
        seed: seed of all draws.
        progress: called after each clone.
        persons: int64 [N], position of each record's person, all of whose records are members of a
            clone together; None if each record is of another person.
        models: how many.

    Returns:
        The shadow models.

    Raises:
        InputError: if the classifier cannot be fitted.
        TooFewRecordsError: if a class has too few records for random halves.
    """
    from sklearn.exceptions import ConvergenceWarning

    rows = np.arange(len(labels))
    present, numbers = np.unique(labels, return_inverse=True)
    drawn = Records(inputs, labels, numbers.astype(np.int64), present)
    halves = Halves(rows, rows[:0], draw_membership(drawn, rows, models, seed, persons))
    records = Records(inputs, labels, labels, np.arange(classes))
    setting = UndefendedEstimator(classifier)
    with warnings.catch_warnings():
        # Networks are trained for a number of epochs, and then warn that they might go on.
        warnings.simplefilter("ignore", ConvergenceWarning)
        logits, clones = train_clones(setting, records, halves, seed, progress)
    outputs = check_inputs("shadow models", logits=logits, labels=labels, member=halves.member)
    return OwnShadows(outputs.pool(seed), clones)
