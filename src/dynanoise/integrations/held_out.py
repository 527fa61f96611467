"""What a wrapped classifier's defense learns, and from which records."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.sparse import issparse
from sklearn.utils import _safe_indexing

from dynanoise.core import numerics
from dynanoise.core.defense import Defense
from dynanoise.core.errors import InputError, NotFittedError
from dynanoise.core.numerics import Bools, Float64
from dynanoise.core.outputs import Outputs, View
from dynanoise.defenses.response import system_noise

GAPS = 2.5
"""Cells are so many median top gaps wide."""


class Data(NamedTuple):
    """Inputs in whatever form the classifier takes them, and their classes [N]."""

    inputs: Any
    labels: Any


def set_aside(
    X: Any,
    y: Any,
    reference: tuple[Any, Any] | None,
    holdout: float | None,
    params: Mapping[str, Any],
) -> tuple[Data, Data | None, dict[str, Any]]:
    """Training data, held-out data if any, and the parameters of `fit` for the training data.

    Raises:
        InputError: if ``reference`` is no pair, or ``holdout`` no share that leaves some of both.
    """
    if reference is not None:
        if not isinstance(reference, tuple | list) or len(reference) != 2:
            raise InputError(
                f"reference is of type {type(reference).__name__}.", "Pass a pair (X, y)."
            )
        return Data(X, y), Data(*reference), dict(params)
    if holdout is None:
        return Data(X, y), None, dict(params)
    try:
        good = not isinstance(holdout, bool) and 0 < holdout < 1
    except (TypeError, ValueError):
        good = False
    if not good:
        raise InputError(f"holdout is {holdout!r}.", "Use a share between 0 and 1, or None.")
    apart = evenly(y, holdout)
    if not apart.any():
        raise InputError(
            f"holdout {holdout} of {len(apart)} records sets none aside.", "Use a larger share."
        )
    kept, held = np.flatnonzero(~apart), np.flatnonzero(apart)

    def of(values: Any, rows: Any) -> Any:
        # Not every sparse format has rows to take.
        return _safe_indexing(values.tocsr() if issparse(values) else values, rows)

    split = {
        name: of(value, kept) if _length(value) == len(apart) else value
        for name, value in params.items()
    }
    return Data(of(X, kept), of(y, kept)), Data(of(X, held), of(y, held)), split


def evenly(y: Any, share: float) -> Bools:
    """Which records are set aside: of each class the share, rounded down, evenly over the order.

    >>> evenly(["a", "a", "b", "a", "a", "b"], 0.5).tolist()
    [False, True, False, False, True, True]
    """
    _, codes = np.unique(np.asarray(y).ravel(), return_inverse=True)
    rank = np.zeros(len(codes))
    for code in range(codes.max(initial=-1) + 1):
        own = codes == code
        rank[own] = np.arange(own.sum())
    return np.asarray(np.floor((rank + 1) * share) > np.floor(rank * share))


def _length(value: Any) -> int | None:
    if hasattr(value, "shape"):
        return int(value.shape[0]) if value.shape else None
    return len(value) if isinstance(value, list | tuple) else None


def measured_width(logits: Float64, otherwise: float) -> float:
    """2.5 times the median top gap of logits [N, K], to 3 digits, to be written down and passed.

    ``otherwise`` where there are no answers, one class, or answers are mostly ties.

    >>> measured_width(np.array([[1.234, 0.0], [0.0, 9.0], [-1.0, 0.0]]), 8.0)
    3.08
    """
    if logits.shape[1] < 2 or not len(logits):
        return otherwise
    width = float(f"{GAPS * float(np.median(numerics.top_gaps(logits))):.3g}")
    return width if width > 0 else otherwise


def fitted_defense(
    defense: Defense,
    ask: Callable[[Any], Float64],
    classes: npt.NDArray[Any],
    train: Data,
    reference: Data | None,
) -> Defense:
    """The defense, fitted to the classifier's answers where there are held-out records.

    Args:
        defense: what answers shall pass through.
        ask: inputs to logits [N, K].
        classes: [K], the classifier's.
        train: what the classifier was fitted to.
        reference: what it was not fitted to.

    Raises:
        InputError: if the defense cannot answer then.
    """
    if len(classes) < 2:
        return defense
    if reference is not None:
        members = _outputs(ask, classes, train, 0, use=1)
        others = _outputs(ask, classes, reference, len(members.labels), use=0)
        defense = defense.fit(View(members, others))
    try:
        defense(np.zeros((1, len(classes))), system_noise())
    except NotFittedError as error:
        raise InputError(
            error.problem,
            "Give it held-out records, fit(X, y, reference=(X_held_out, y_held_out)) or "
            "DefendedClassifier(..., holdout=0.2); or pass one that is fitted already.",
        ) from None
    return defense


def _outputs(
    ask: Callable[[Any], Float64], classes: npt.NDArray[Any], data: Data, first: int, *, use: int
) -> Outputs:
    labels = np.asarray(data.labels).ravel()
    known = np.isin(labels, classes)
    if not known.all():
        raise InputError(
            f"A held-out record is of class {labels[~known].tolist()[0]!r}.",
            f"The classifier knows {len(classes)} classes: leave others out.",
        )
    logits = ask(data.inputs)
    return Outputs(
        logits[None, :, None],
        np.searchsorted(classes, labels),
        np.arange(len(labels)) + first,
        np.full((1, len(labels)), use),
    )
