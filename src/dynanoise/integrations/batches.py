"""Outputs that depend on the other records of a query, which keyed noise must not be put on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from dynanoise.core.errors import InputError
from dynanoise.core.numerics import Floats

TOLERANCE = 0.02
"""Largest difference, as a part of the largest output, that rounding in batches of another size
makes; half precision rounds to one part in 256."""

MIXED = 64
"""Training records that are predicted together and apart."""


def differs(outputs: npt.ArrayLike, again: npt.ArrayLike) -> bool:
    """Whether outputs for the same records differ by more than rounding.

    A client chooses the records beside a record. Where its output depends on them, each query has
    logits of its own, perhaps in another cell of keyed noise, and the noise averages out.

    Args:
        outputs: outputs of some records, [...].
        again: outputs of the same records beside other records, or from a second call.

    >>> differs([[2.0, 0.0]], [[2.001, 0.0]]), differs([[2.0, 0.0]], [[1.5, 0.0]])
    (False, True)
    """
    first, second = np.asarray(outputs, np.float64), np.asarray(again, np.float64)
    if first.shape != second.shape:
        return True
    with np.errstate(invalid="ignore"):
        change = np.abs(first - second)  # NaN where both are infinite or not numbers
    finite = np.abs(first[np.isfinite(first)])
    return bool((change > TOLERANCE * finite.max(initial=0.0)).any())


def first_records(X: Any, count: int) -> Any:
    """Take the first records of inputs of any kind that scikit-learn takes.

    Args:
        X: inputs of N records.
        count: how many, at most.
    """
    from sklearn.utils import _safe_indexing, indexable  # wrappers of torch do without it
    from sklearn.utils.validation import _num_samples

    (rows,) = indexable(X)
    return _safe_indexing(rows, np.arange(min(count, _num_samples(rows))))


def refuse_mixing(estimator: Any, X: Any, predict: Callable[[Any, Any], Floats]) -> None:
    """Refuse a classifier that predicts other probabilities for a record beside other records.

    Args:
        estimator: a fitted classifier.
        X: inputs of N records; the first half is predicted twice, beside the other and alone.
        predict: computes probabilities [N, K] from the classifier and inputs.

    Raises:
        InputError: if they differ by more than rounding.

    >>> def centred(_, rows):
    ...     return rows - rows.mean(axis=0)
    >>> refuse_mixing("m", np.eye(4), lambda _, rows: rows)
    >>> refuse_mixing("m", np.eye(4), centred)
    Traceback (most recent call last):
        ...
    dynanoise.core.errors.InputError: str predicts other probabilities for a record beside ...
    """
    from sklearn.utils.validation import _num_samples

    half = _num_samples(X) // 2
    if half and differs(predict(estimator, X)[:half], predict(estimator, first_records(X, half))):
        raise InputError(
            f"{type(estimator).__name__} predicts other probabilities for a record beside other "
            "records, or from call to call: repeated queries would average keyed noise out.",
            "Fit what depends on several records, such as scaling: StandardScaler() in place of "
            "FunctionTransformer(scale).",
        )
