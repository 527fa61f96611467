"""Audits of a scikit-learn classifier: how much its way of training gives away on these data."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from dynanoise.audits.audit_result import AuditResult
from dynanoise.audits.inputs import LEAST, given_of
from dynanoise.audits.pool_audit import QUERIES, AuditPlan, audit_pool
from dynanoise.config.configuration import Configuration
from dynanoise.core import numerics
from dynanoise.core.defense import Defense
from dynanoise.core.errors import InputError, TooFewRecordsError
from dynanoise.core.numerics import Float64, Int64
from dynanoise.core.outputs import Outputs, Pool
from dynanoise.core.seeding import derive
from dynanoise.evaluation.provenance import Provenance

HELD_OUT = 0.3
"""The share of records that no model is trained on: half for reference, half for test."""


def audit(
    estimator: Any,
    X: Any,
    y: npt.ArrayLike,
    *,
    models: int = 16,
    seed: int = 0,
    defense: str | Defense | Configuration | None = None,
    queries: tuple[int, ...] = QUERIES,
    progress: Callable[[str], None] = lambda step: None,
) -> AuditResult:
    """Trains clones of a classifier on random halves of the data and attacks each with the others.

    What is audited is the way of training: the given object is cloned and neither fitted nor asked.
    Of the records 30% are held out; a fair coin decides for each model and each of the others
    whether it is trained on it. Clones get random states derived from the seed where theirs is
    None.

    Args:
        estimator: a classifier with predict_proba or decision_function.
        X: its inputs: an array [N, ...], a sparse matrix or a data frame.
        y: [N], class labels of any kind.
        models: how many clones, >= 8; each is the target once and a shadow of the others.
        seed: of the records' parts, of random states and noise.
        defense: answers are also judged behind it; a name with parameters, an object, or a
            `Configuration` or the path of its file.
        queries: query budgets against the defense.
        progress: called with a few words after each step.

    Returns:
        The result; its ``table()``, ``to_markdown()`` and ``to_html()`` say what was found.

    Raises:
        InputError: if it is no such classifier, or X and y do not fit together.
        TooFewRecordsError: if there are too few records for models of a random half.

    >>> from sklearn.datasets import make_classification
    >>> from sklearn.tree import DecisionTreeClassifier
    >>> X, y = make_classification(400, n_classes=3, n_informative=4, flip_y=0.3, random_state=0)
    >>> found = audit(DecisionTreeClassifier(), X, y, models=8)
    >>> success = {record.attack: record.metrics.get("auc") for record in found.records}
    >>> success["strongest"].value > 0.7  # a tree knows its records by heart
    True
    """
    from sklearn.base import clone, is_classifier

    plan = AuditPlan(defense, queries)
    if isinstance(estimator, type) or not is_classifier(estimator):
        raise InputError(
            f"{estimator!r} is no scikit-learn classifier.", "Pass an unfitted classifier object."
        )
    if not (hasattr(estimator, "predict_proba") or hasattr(estimator, "decision_function")):
        raise InputError(
            f"{type(estimator).__name__} gives labels only.",
            "Use a classifier with predict_proba or decision_function.",
        )
    if isinstance(models, bool) or not isinstance(models, int) or models < 8:
        raise InputError(f"models is {models!r}.", "Use an integer of at least 8; 16 is usual.")
    X, classes, labels = _checked(X, y)
    order = np.random.default_rng(derive(seed, "audit parts")).permutation(len(labels))
    apart = round(HELD_OUT * len(labels))
    test, rows = np.sort(order[:apart]), np.sort(order[apart:])
    member = np.array(
        [
            np.random.default_rng(derive(seed, "membership", model)).random(len(rows)) < 0.5
            for model in range(models)
        ]
    )
    said = []
    for model, use in enumerate(member):
        fitted = clone(estimator).set_params(**_random_states(estimator, seed, model))
        trained_on = rows[use]
        if len(np.unique(labels[trained_on])) < 2:
            raise TooFewRecordsError(
                f"Model {model} would be trained on records of one class only.",
                "Give more records of the rare classes, or leave them out.",
            )
        fitted.fit(_rows(X, trained_on), labels[trained_on])
        said.append(_logits(fitted, _rows(X, np.concatenate([rows, test])), len(classes)))
        progress(f"model {model}")
    answers = np.stack(said)
    name = type(estimator).__name__
    given = given_of(
        name,
        logits=answers[:, : len(rows)],
        labels=labels[rows],
        member=member,
        test_logits=answers[:, len(rows) :],
        test_labels=labels[test],
    )
    shown = " ".join(repr(estimator).split())
    also = "" if defense is None else f", defense={_shown(plan)}, queries={queries!r}"
    command = f"dynanoise.audit({shown}, X, y, models={models}, seed={seed}{also})"
    provenance = Provenance("X, y", name, command, {"estimator": shown})
    pool = _renamed(given.pool(seed), np.concatenate([rows, test]))
    return audit_pool(pool, plan, provenance, progress)


def _shown(plan: AuditPlan) -> str:
    said = plan.defense
    return repr(plan.defense_text if isinstance(said, str) else said)


def _renamed(pool: Pool, ids: Int64) -> Pool:
    """The same pool with records called by their position in X, as reports of records need it."""

    def called(outputs: Outputs) -> Outputs:
        return replace(outputs, ids=ids[outputs.ids])

    return replace(
        pool,
        examples=called(pool.examples),
        test=called(pool.test),
        reference=called(pool.reference),
    )


def _checked(X: Any, y: npt.ArrayLike) -> tuple[Any, npt.NDArray[Any], Int64]:
    labels = np.asarray(y)
    rows = X if hasattr(X, "shape") else np.asarray(X)
    if labels.ndim != 1 or rows.ndim < 2 or rows.shape[0] != len(labels):
        raise InputError(
            f"X has shape {rows.shape} and y {labels.shape}.", "Give X [N, ...] and y [N]."
        )
    if labels.dtype.kind == "f" and not np.isfinite(labels).all():
        raise InputError("y holds NaN or infinity.", "Give every record a class.")
    classes, numbers = np.unique(labels, return_inverse=True)
    if len(classes) < 2 or (labels.dtype.kind == "f" and (labels != labels.round()).any()):
        raise InputError(
            f"y holds {len(classes)} different values of dtype {labels.dtype}.",
            "Give class labels of at least two classes; numbers with fractions are for regression.",
        )
    needed = round(2 * 1.25 * LEAST / (1 - HELD_OUT))
    if len(labels) < needed:
        raise TooFewRecordsError(
            f"There are {len(labels)} records.", f"Give at least {needed}, better thousands."
        )
    return rows, classes, numbers.astype(np.int64)


def _rows(X: Any, rows: Int64) -> Any:
    return X.iloc[rows] if hasattr(X, "iloc") else X[rows]


def _random_states(estimator: Any, seed: int, model: int) -> dict[str, int]:
    """For every random state that is None, also inside pipelines: scikit-learn's would be global.

    >>> from sklearn.tree import DecisionTreeClassifier
    >>> list(_random_states(DecisionTreeClassifier(), 0, 0))
    ['random_state']
    """
    return {
        name: derive(seed, "random state", model, name) % 2**32
        for name, value in sorted(estimator.get_params(deep=True).items())
        if name.rpartition("__")[2] == "random_state" and value is None
    }


def _logits(fitted: Any, rows: Any, classes: int) -> Float64:
    """Logits [N, K]; a class that a clone never saw has probability 0."""
    known = np.asarray(fitted.classes_)
    if hasattr(fitted, "predict_proba"):
        probs = np.zeros((rows.shape[0], classes))
        probs[:, known] = fitted.predict_proba(rows)
        return numerics.log_probabilities(probs)
    values = np.asarray(fitted.decision_function(rows), dtype=np.float64)
    if values.ndim == 1:  # of the second of two classes
        values = np.stack([np.zeros(len(values)), values], axis=1)
    logits = np.full((len(values), classes), values.min() - 1.0)
    logits[:, known] = values
    return logits
