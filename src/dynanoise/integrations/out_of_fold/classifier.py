"""A scikit-learn classifier of K models; no model answers near a record that it was fitted to."""

from __future__ import annotations

import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from scipy.sparse import issparse
from sklearn.base import BaseEstimator, ClassifierMixin, MetaEstimatorMixin, clone
from sklearn.dummy import DummyClassifier
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.parallel import Parallel, delayed
from sklearn.utils.validation import (
    _check_feature_names,
    _check_n_features,
    check_array,
    check_consistent_length,
    check_is_fitted,
)

from dynanoise.core.errors import InputError
from dynanoise.core.numerics import Bools, Floats
from dynanoise.integrations.estimator_tags import take_tags
from dynanoise.integrations.holdout import check_classes, select_rows, sliceable
from dynanoise.integrations.key_reference import KeyReference
from dynanoise.noise.keys import ExperimentKey, Secret
from dynanoise.partition.cells import PUBLIC, Cells
from dynanoise.partition.embeddings import Record
from dynanoise.partition.exclusion import Exclusion
from dynanoise.partition.proof import write_proof
from dynanoise.partition.rows import column, columns

LEAST_KEPT = 1 / 3
"""Share of the records that a classifier is fitted to below which a warning is due."""

_KEEP_MORE = "Use narrower cells, a smaller neighbourhood, smaller groups or more folds."


class OutOfFoldClassifier(KeyReference, ClassifierMixin, MetaEstimatorMixin, BaseEstimator):  # type: ignore[misc]
    """K classifiers and a partition of the inputs; each input is answered by the one of its fold.

    A training record is left out of every classifier whose fold its neighbourhood touches. For
    every input in that neighbourhood the prediction is the same, bit for bit, whether or not the
    record was among the training records, so that no attacker learns from it whether it was: with
    any number of queries, with or without the key. Inputs outside the neighbourhood are answered
    by classifiers that may have been fitted to the record. (Where the estimator draws and
    ``random_state`` is None, two fits have predictions of one distribution, not the same bits.)

    Remove identifiers and columns that the estimator ignores from X before. The cells have every
    column, so that another value in one that the estimator ignores moves an input to a classifier
    that may have been fitted to the record, with the same other values.

    This holds if nothing else depends on the record: the parameters, the reference data of the
    cells, the set of classes, and the estimator's own randomness, whose seeds are derived from
    ``random_state`` for each classifier.

    Args:
        estimator: a classifier with ``predict_proba``; `fit` fits K clones of it.
        folds: K, number of classifiers, >= 2. Ignored if ``cells`` are given, which have their own.
        cells: `Cells` that were fitted to reference data, without training records; None for
            cells of one record, which protect the record itself and nothing near it.
        groups: name or position of a column of X with the patient or user of each record, which the
            estimator and the cells do not get; or the groups of the records of `fit`, [N]. All
            records of a group are left out together. None for none.
        key: key of the cells where ``cells`` is None: "env:NAME", "file:PATH", or an
            `ExperimentKey`, which is not secret; None for a public one.
        n_jobs: number of classifiers that are fitted at once, as in scikit-learn.
        random_state: integer from which the seed of each clone is derived, for estimators with a
            ``random_state``; a ``numpy.random.RandomState`` to draw it from; None for other seeds
            in every `fit`.

    Attributes:
        estimators_: the K classifiers.
        cells_: the partition.
        exclusion_: the `Exclusion`; ``exclusion_.left_out`` is bool [K, N], True where a classifier
            was not fitted to a record.
        classes_: class labels, [n_classes].
        n_features_in_: number of features.
        feature_names_in_: names of the features, if X was a data frame.

    >>> from sklearn.datasets import load_iris
    >>> from sklearn.linear_model import LogisticRegression
    >>> X, y = load_iris(return_X_y=True)
    >>> model = OutOfFoldClassifier(LogisticRegression(max_iter=1000)).fit(X, y)
    >>> model.exclusion_.left_out.shape, round(model.score(X, y), 2)
    ((5, 150), 0.97)
    """

    def __init__(
        self,
        estimator: Any,
        folds: int = 5,
        *,
        cells: Cells | None = None,
        groups: Any = None,
        key: str | Secret | ExperimentKey | None = None,
        n_jobs: int | None = None,
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        self.estimator = estimator
        self.folds = folds
        self.cells = cells
        self.groups = groups
        self.key = key
        self.n_jobs = n_jobs
        self.random_state = random_state

    def fit(self, X: Any, y: Any, *, groups: Any = None, **params: Any) -> Self:
        """Fit a clone of the classifier for each fold, without the records that it may answer.

        Args:
            X: training inputs, as the classifier takes them: array, data frame or sparse matrix.
            y: their classes, [N].
            groups: the group of each record, [N], instead of the parameter.
            params: for the classifier, such as ``sample_weight``; those with an entry a record are
                divided like the records.

        Returns:
            This object.

        Warns:
            UserWarning: if a classifier is fitted to less than a third of the records on average.

        Raises:
            InputError: if a parameter is of the wrong type or out of range, a class is missing, or
                a classifier has no records.
        """
        cells = self._checked()
        y = check_classes(y)
        check_classification_targets(y)
        X = self._inputs(X, reset=True)
        check_consistent_length(X, y)
        inputs, column = self._without_groups(X, self.groups)
        if self.cells is None:
            cells = replace(cells, embedding=Record.fit(inputs))
        exclusion = Exclusion.of(cells, inputs, self._groups(groups, column))
        labels = np.asarray(y)
        seeds = _seeds(self.random_state, cells.folds)
        for fold in range(cells.folds):
            if not len(exclusion.rows(fold)):
                raise InputError(
                    f"Classifier {fold} of {cells.folds} has none of the records "
                    f"(n_samples = {len(labels)}).",
                    _KEEP_MORE,
                )
        if exclusion.kept < LEAST_KEPT:
            warnings.warn(
                f"A classifier is fitted to {exclusion.kept:.0%} of the {len(labels):,} records on "
                "average; the others are left out, because it answers near them or near a record "
                f"of their group. {_KEEP_MORE}",
                stacklevel=2,
            )

        def arguments(fold: int) -> tuple[Any, ...]:
            rows = exclusion.rows(fold)
            shares = {name: _rows_of(value, rows, len(labels)) for name, value in params.items()}
            parts = select_rows(inputs, rows), select_rows(labels, rows)
            return (self.estimator, *parts, int(seeds[fold] % 2**31), shares)

        self.estimators_ = Parallel(n_jobs=self.n_jobs)(
            delayed(_fitted)(*arguments(fold)) for fold in range(cells.folds)
        )
        self.classes_, self.cells_, self.exclusion_ = np.unique(labels), cells, exclusion
        self._groups_of_fit, self._numeric = self.groups, _numeric_columns(inputs)
        return self

    def predict_proba(self, X: Any) -> Floats:
        """Probabilities of each class, by the classifier of each input's fold.

        Args:
            X: inputs of n records.

        Returns:
            float64 [n, n_classes]; a class that a classifier was not fitted to has probability 0.

        Raises:
            InputError: if the key of the cells has changed, or texts stand where numbers were.
            SecretError: if the key is a secret and there is none.
        """
        inputs, _ = self._fitted_inputs(X)
        self.exclusion_.check_cells(self.cells_)
        folds = self.cells_.fold(inputs)
        probs = np.zeros((len(folds), len(self.classes_)))
        for fold in np.unique(folds):
            rows = np.flatnonzero(folds == fold)
            estimator = self.estimators_[fold]
            places = np.searchsorted(self.classes_, estimator.classes_)
            probs[np.ix_(rows, places)] = estimator.predict_proba(select_rows(inputs, rows))
        return probs

    def predict(self, X: Any) -> npt.NDArray[Any]:
        """The most probable class of each input, [n].

        Args:
            X: inputs of n records.
        """
        probs = self.predict_proba(X)
        return np.asarray(self.classes_[probs.argmax(axis=1)])

    def write_proof(self, folder: str | Path) -> None:
        """Write the cells and the exclusion, for `dynanoise verify` and for serving.

        Args:
            folder: made if it is not there; cells.json, its arrays and exclusion.json are written.

        Raises:
            InputError: if a file cannot be written.
            MissingExtraError: if safetensors is not installed.
        """
        check_is_fitted(self)
        write_proof(folder, self.cells_, self.exclusion_)

    def verify(self, X: Any, *, groups: Any = None) -> None:
        """Compute the exclusion again from the training inputs, and compare.

        Args:
            X: the inputs of `fit`, in their order.
            groups: the groups of `fit`, if they were passed to it.

        Raises:
            InputError: if the inputs are others, or a record is in a classifier that may answer its
                neighbourhood.
        """
        inputs, column = self._fitted_inputs(X)
        self.exclusion_.verify(self.cells_, inputs, self._groups(groups, column))

    def __sklearn_tags__(self) -> Any:
        tags = take_tags(super().__sklearn_tags__(), self.estimator)
        tags.classifier_tags.poor_score = True  # on the few records of a check
        return tags

    def _fitted_inputs(self, X: Any) -> tuple[Any, Any]:
        """Inputs of the kind of `fit`, without the column of groups, and that column."""
        check_is_fitted(self)
        X = self._inputs(X, reset=False)
        inputs, column = self._without_groups(X, self._groups_of_fit)
        odd = np.flatnonzero(self._numeric & ~_numeric_columns(inputs))
        if len(odd):
            raise InputError(
                f"Column {odd[0]} has texts where `fit` had numbers, which are in other cells.",
                "Convert the column to numbers.",
            )
        return inputs, column

    def _inputs(self, X: Any, *, reset: bool) -> Any:
        """Inputs of which rows can be taken, with as many features as in `fit`."""
        X = sliceable(X)
        if hasattr(X, "iloc") and X.ndim == 1:  # a series of texts
            X = X.to_numpy(dtype=object)
        if not hasattr(X, "iloc") and not issparse(X):
            array = np.asarray(X)
            if array.ndim == 1 and array.dtype.kind in "OUS":  # texts
                return array
            X = check_array(array, dtype=None, ensure_all_finite=False, estimator=self)
        _check_feature_names(self, X, reset=reset)
        _check_n_features(self, X, reset=reset)
        return X

    def _checked(self) -> Cells:
        if not hasattr(self.estimator, "predict_proba"):
            raise InputError(
                f"{type(self.estimator).__name__} has no predict_proba.",
                "Pass a classifier that gives probabilities; "
                "sklearn.calibration.CalibratedClassifierCV makes one of others.",
            )
        if self.cells is not None:
            if not isinstance(self.cells, Cells):
                raise InputError(
                    f"cells is of type {type(self.cells).__name__}.", "Pass Cells.fit(reference)."
                )
            return self.cells
        key = PUBLIC if self.key is None else self.key
        return Cells(
            Record(),
            self.folds,
            0,
            key=key if isinstance(key, ExperimentKey | Secret) else Secret(key),
        )

    def _groups(self, groups: Any, column: Any) -> Any:
        """The groups of records: those of the call, of the column, or of the parameter."""
        if groups is not None:
            return groups
        return self.groups if column is None else column

    def _without_groups(self, X: Any, name: Any) -> tuple[Any, Any]:
        """The inputs without the column of groups, and that column."""
        if isinstance(name, bool):
            raise InputError(f"groups is {name}.", "Give the name or position of a column.")
        if not isinstance(name, str | int):
            return X, None
        if hasattr(X, "iloc"):
            names = list(X.columns)
            if isinstance(name, str) and name not in names:
                raise InputError(f"X has no column {name!r} of groups.", "Name one of its columns.")
            if isinstance(name, int) and name in names and names.index(name) != name:
                raise InputError(
                    f"groups is {name}, the position of a column of X, and another column of X is "
                    f"named {name}.",
                    "Name columns by texts, or pass the groups of the records to fit.",
                )
            place = names.index(name) if isinstance(name, str) else name
            return X.drop(columns=names[place]), X.iloc[:, place].to_numpy()
        if isinstance(name, str) or not hasattr(X, "shape") or not 0 <= name < X.shape[1]:
            raise InputError(
                f"groups is {name!r}, and X is of type {type(X).__name__}.",
                "Give the position of a column of an array, or the name of one of a data frame.",
            )
        kept = np.delete(np.arange(X.shape[1]), name)
        column = X[:, [name]]
        return X[:, kept], np.ravel(column.toarray() if hasattr(column, "toarray") else column)


def _numeric_columns(X: Any) -> Bools:
    """True for each column of inputs that holds no texts."""
    dtypes = X.dtypes if hasattr(X, "iloc") else [X.dtype] * columns(X)
    return np.array(
        [
            getattr(dtype, "kind", "O") in "buif" or _is_numeric(column(X, place))
            for place, dtype in enumerate(dtypes)
        ],
        dtype=bool,
    )


def _is_numeric(values: npt.NDArray[Any]) -> bool:
    texts = (isinstance(value, str | bytes) for value in values)
    return values.dtype.kind == "O" and not any(texts)


def _fitted(estimator: Any, X: Any, y: Any, seed: int, params: dict[str, Any]) -> Any:
    """A clone that is fitted with a seed of its own; a constant one where there is one class."""
    if len(np.unique(np.asarray(y))) == 1:
        return DummyClassifier(strategy="prior").fit(X, y)
    fresh = clone(estimator)
    seeds = {
        name: seed
        for name, value in fresh.get_params().items()
        if (name == "random_state" or name.endswith("__random_state"))
        and (value is None or isinstance(value, np.random.RandomState))
    }
    return fresh.set_params(**seeds).fit(X, y, **params)


def _seeds(random_state: int | np.random.RandomState | None, folds: int) -> npt.NDArray[Any]:
    """A seed for each classifier, uint32 [K]."""
    if isinstance(random_state, np.random.RandomState):
        random_state = int(random_state.randint(2**31 - 1))
    return np.random.SeedSequence(random_state).generate_state(folds)


def _rows_of(value: Any, rows: npt.NDArray[Any], records: int) -> Any:
    try:
        several = not isinstance(value, str | dict) and len(value) == records
    except TypeError:
        return value
    return select_rows(sliceable(value), rows) if several else value
