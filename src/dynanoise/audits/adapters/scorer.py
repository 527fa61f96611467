"""Membership AUC as a scorer of scikit-learn, to choose parameters that leak less."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.sparse import issparse

from dynanoise.core import numerics
from dynanoise.core.errors import InputError
from dynanoise.integrations.holdout import select_rows, sliceable
from dynanoise.integrations.sklearn import predict_outputs
from dynanoise.metrics.roc import roc


class MembershipScorer:
    """Scores a fitted classifier by how little its outputs reveal of its training records.

    A scorer for `GridSearchCV` and `cross_validate` with a splitter whose training and test parts
    are all records (KFold and the like): the records that it is called with are the non-members,
    all others of ``X`` the members. The score is 1 - AUC of the loss attack, so that greater is
    better: 0.5 for a model that reveals nothing to this attack, 0 for one that reveals all. An
    attacker with shadow models may find more: audit the chosen estimator with `dynanoise.audit`.

    Args:
        X: all records of the search, as passed to its ``fit``.
        y: [N], their classes.

    Raises:
        InputError: on use, if a record is not among ``X``, or all are.

    >>> from sklearn.datasets import make_classification
    >>> from sklearn.model_selection import GridSearchCV
    >>> from sklearn.tree import DecisionTreeClassifier
    >>> X, y = make_classification(300, flip_y=0.3, random_state=0)
    >>> search = GridSearchCV(
    ...     DecisionTreeClassifier(random_state=0),
    ...     {"max_depth": [1, None]},
    ...     scoring={"accuracy": "accuracy", "privacy": MembershipScorer(X, y)},
    ...     refit="accuracy",
    ... )
    >>> search.fit(X, y).cv_results_["mean_test_privacy"].round(1).tolist()
    [0.5, 0.3]
    """

    def __init__(self, X: Any, y: npt.ArrayLike) -> None:
        self._inputs, self._labels = sliceable(X), np.asarray(y)
        self._keys = _keys(self._inputs, self._labels)

    def __call__(self, estimator: Any, X: Any, y: npt.ArrayLike) -> float:
        """Score a fitted classifier.

        Args:
            estimator: classifier with predict_proba, fitted to all records of the search but X.
            X: records that it was not trained on.
            y: their classes.

        Returns:
            1 - AUC, in [0, 1].

        Raises:
            InputError: if a record is not among those of the search, or all are.
        """
        outside = np.isin(self._keys, _keys(sliceable(X), np.asarray(y)))
        if outside.sum() < len(np.asarray(y)) or outside.all():
            raise InputError(
                f"{len(np.asarray(y))} records were passed, and {outside.sum()} of "
                f"{len(outside)} records of the search are equal to them.",
                "Make the scorer from the X and y of the search, and use a splitter such as KFold.",
            )
        probs, _ = predict_outputs(estimator, self._inputs, keep_label=False)
        # A class that the training part lacks has probability 0.
        matches = self._labels[:, None] == np.asarray(estimator.classes_)[None]
        true = np.where(matches, probs, 0.0).sum(axis=1)
        return 1.0 - roc(np.log(np.maximum(true, numerics.TINY)), ~outside).auc


def _keys(inputs: Any, labels: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """A text for each record, equal for equal records."""
    rows = [select_rows(inputs, np.array([row])) for row in range(len(labels))]
    return np.array(
        [
            f"{row.toarray().tolist() if issparse(row) else np.asarray(row).tolist()} {label}"
            for row, label in zip(rows, labels.tolist(), strict=True)
        ]
    )
