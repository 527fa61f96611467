"""Records that a classifier is fitted to, and records held out for its defense."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.sparse import issparse
from sklearn.model_selection import GroupShuffleSplit
from sklearn.utils import _safe_indexing
from sklearn.utils.validation import _num_samples, column_or_1d

from dynanoise.core.arrays.groups import check_groups
from dynanoise.core.arrays.labels import check_labels
from dynanoise.core.errors import InputError, check
from dynanoise.core.numerics import Bools


class Data(NamedTuple):
    """Inputs in any form that the classifier takes, and their classes [N]."""

    inputs: Any
    labels: Any


def split_records(
    data: Data,
    reference: tuple[Any, Any] | None,
    holdout: float | None,
    params: Mapping[str, Any],
    groups: Any = None,
) -> tuple[Data, Data | None, dict[str, Any]]:
    """Set records aside.

    Args:
        data: all records.
        reference: inputs and classes of records that are held out already, or None.
        holdout: share of the records of each class to hold out where ``reference`` is None; with
            ``groups`` the share of the groups.
        params: parameters of `fit`, some of them with one entry a record.
        groups: patient or user of each record, [N], whose records are held out together; or None.

    Returns:
        Training data, held-out data if any, and the parameters for the training data.

    Raises:
        InputError: if ``reference`` is not a pair, the share is not one or sets nothing aside, a
            class is missing, or a record has no group or all have one.
    """
    if reference is not None:
        if not isinstance(reference, tuple | list) or len(reference) != 2:
            raise InputError(
                f"reference is of type {type(reference).__name__}.", "Pass a pair (X, y)."
            )
        inputs, labels = reference
        return data, Data(inputs, check_classes(labels, "y of reference")), dict(params)
    if holdout is None:
        return data, None, dict(params)
    try:
        valid = not isinstance(holdout, bool) and 0 < holdout < 1
    except (TypeError, ValueError):
        valid = False
    if not valid:
        raise InputError(f"holdout is {holdout!r}.", "Use a share between 0 and 1, or None.")
    if groups is None:
        held_out = spread_evenly(data.labels, holdout)
    else:
        held_out = draw_groups(groups, len(np.ravel(data.labels)), holdout)
    if not held_out.any():
        raise InputError(
            f"holdout {holdout} of {len(held_out)} records sets none aside.", "Use a larger share."
        )

    def select(values: Any, mask: Bools) -> Any:
        return select_rows(sliceable(values), np.flatnonzero(mask))

    split = {
        name: select(value, ~held_out) if _length(value) == len(held_out) else value
        for name, value in params.items()
    }
    kept, rest = (Data(*(select(part, mask) for part in data)) for mask in (~held_out, held_out))
    return kept, rest, split


def check_classes(y: Any, name: str = "y") -> Any:
    """Check classes of records for a classifier.

    Args:
        y: classes [N] of any kind, or one-hot rows [N, K].
        name: name of the array in messages.

    Returns:
        Classes [N], unchanged where they are an array or a column of one dimension.

    Raises:
        InputError: if a class is missing, or they have another shape.
    """
    if y is None or isinstance(y, str):
        return y  # which the classifier refuses
    labels = check_labels(y, name)
    kind = getattr(getattr(y, "dtype", None), "kind", "")
    plain = kind == "S" or (kind == "O" and labels.dtype.kind != "U")  # refused by scikit-learn
    if getattr(y, "ndim", 1) == 1 and not isinstance(y, list | tuple) and not plain:
        return y
    column = np.shape(y)[1:] == (1,)
    return column_or_1d(y, warn=True) if column else labels


def sliceable(X: Any) -> Any:
    """Inputs in a form that rows can be taken from: sparse ones in compressed rows.

    Args:
        X: an array, a list, a data frame, or a sparse matrix or array of any format.

    Raises:
        InputError: if they have no rows, such as a dictionary, a generator or a lazy frame.
    """
    if issparse(X):
        return X.tocsr()
    try:
        rows = not isinstance(X, Mapping) and _num_samples(X) >= 0
    except TypeError:
        rows = False
    if not rows:
        raise InputError(
            f"X is of type {type(X).__name__}, of which no rows can be taken.",
            "Give an array, a sparse matrix, a frame or a list.",
        )
    return X


def select_rows(X: Any, rows: npt.NDArray[Any]) -> Any:
    """Take rows of inputs.

    Args:
        X: inputs, `sliceable`.
        rows: positions, [n].

    Returns:
        The rows in the same form.

    >>> select_rows([[1], [2], [3]], np.array([2, 0]))
    [[3], [1]]
    """
    return _safe_indexing(X, rows)


def spread_evenly(labels: Any, share: float) -> Bools:
    """Select a share of each class, rounded down, evenly over the order of its records.

    Args:
        labels: [N].
        share: between 0 and 1.

    Returns:
        True where a record is selected, [N].

    >>> spread_evenly(["a", "a", "b", "a", "a", "b"], 0.5).tolist()
    [False, True, False, False, True, True]
    """
    _, codes = np.unique(np.asarray(labels).ravel(), return_inverse=True)
    rank = np.zeros(len(codes))
    for code in range(codes.max(initial=-1) + 1):
        members = codes == code
        rank[members] = np.arange(members.sum())
    return np.asarray(np.floor((rank + 1) * share) > np.floor(rank * share))


def draw_groups(groups: Any, records: int, share: float) -> Bools:
    """Select the records of a share of the groups, drawn at random with a fixed seed.

    Args:
        groups: group of each record, [N].
        records: N.
        share: between 0 and 1.

    Returns:
        True where a record is selected, [N].

    Raises:
        InputError: if a record has no group, or all have one.

    >>> draw_groups(["a", "a", "b", "c", "b"], 5, 0.3).tolist()
    [False, False, False, True, False]
    """
    names = check_groups(groups, records)
    check(
        len(np.unique(names)) > 1,
        f"All {records} records are of one group, of which none can be held out.",
        "Give groups of some records each, or leave groups out.",
    )
    split = GroupShuffleSplit(1, test_size=share, random_state=0)
    _, selected = next(split.split(np.zeros(records), groups=names))
    return np.isin(np.arange(records), selected)


def _length(value: Any) -> int | None:
    if hasattr(value, "shape"):
        return int(value.shape[0]) if value.shape else None
    return len(value) if isinstance(value, list | tuple) else None
