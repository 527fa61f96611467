"""Audit of a scikit-learn classifier: the leakage of its training procedure on given data."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from dynanoise.audits.audit_report import AuditReport
from dynanoise.audits.inputs import LEAST, check_inputs
from dynanoise.audits.pool_audit import QUERIES, AuditPlan, audit_pool
from dynanoise.config.configuration import Configuration
from dynanoise.core import numerics
from dynanoise.core.arrays.labels import check_labels
from dynanoise.core.defense import Defense
from dynanoise.core.errors import InputError, TooFewRecordsError
from dynanoise.core.numerics import Float64, Int64
from dynanoise.core.outputs import Outputs, Pool
from dynanoise.core.seeding import derive
from dynanoise.evaluation.provenance import Provenance
from dynanoise.integrations.holdout import select_rows, sliceable

HELD_OUT = 0.3
"""Share of records that no model is trained on: half for the reference set, half for test."""


def audit(
    estimator: Any,
    X: Any,
    y: npt.ArrayLike,
    *,
    models: int = 16,
    seed: int = 0,
    defense: str | Defense | Configuration | None = None,
    queries: tuple[int, ...] = QUERIES,
    attacks: tuple[str, ...] = (),
    progress: Callable[[str], None] = lambda step: None,
) -> AuditReport:
    """Train clones of a classifier on random halves of the data, and attack each with the others.

    The training procedure is audited: the estimator is cloned, and neither fitted nor queried
    itself. 30% of the records are held out; a fair coin decides for each clone and each other
    record whether the clone is trained on it. Each clone is the target once, the others are its
    shadow models (leave-one-out). Random states that are None are derived from the seed.

    Args:
        estimator: a classifier with predict_proba or decision_function.
        X: its inputs: an array [N, ...], a sparse matrix or a data frame.
        y: [N], class labels of any kind.
        models: how many clones, >= 8.
        seed: seed of the split of the records, of random states and noise.
        defense: a defense that is evaluated as well, known to the attacker: a name with parameters,
            an object, or a `Configuration` or the path of its file.
        queries: query budgets against the defense, each >= 1.
        attacks: specifications of the attacks to run; all that the models allow if empty.
        progress: called with a few words after each step.

    Returns:
        The results; ``table()``, ``to_markdown()`` and ``to_html()`` present them.

    Raises:
        InputError: if the estimator is not such a classifier, or X and y do not fit together.
        TooFewRecordsError: if there are too few records for models of a random half.

    >>> from sklearn.datasets import make_classification
    >>> from sklearn.tree import DecisionTreeClassifier
    >>> X, y = make_classification(400, n_classes=3, n_informative=4, flip_y=0.3, random_state=0)
    >>> results = audit(DecisionTreeClassifier(), X, y, models=8).results
    >>> auc = {result.attack: result.metrics.get("auc") for result in results}
    >>> auc["strongest"].value > 0.7  # a tree memorises its records
    True
    """
    from sklearn.base import clone, is_classifier

    plan = AuditPlan(defense, queries, attacks=attacks)
    if isinstance(estimator, type) or not is_classifier(estimator):
        raise InputError(
            f"{estimator!r} is not a scikit-learn classifier.",
            "Pass an unfitted classifier object.",
        )
    if not (hasattr(estimator, "predict_proba") or hasattr(estimator, "decision_function")):
        raise InputError(
            f"{type(estimator).__name__} gives labels only.",
            "Use a classifier with predict_proba or decision_function.",
        )
    if isinstance(models, bool) or not isinstance(models, int) or models < 8:
        raise InputError(f"models is {models!r}.", "Use an integer of at least 8; 16 is usual.")
    X, classes, labels = _check_data(X, y)
    order = np.random.default_rng(derive(seed, "audit parts")).permutation(len(labels))
    apart = round(HELD_OUT * len(labels))
    test, rows = np.sort(order[:apart]), np.sort(order[apart:])
    member = np.array(
        [
            np.random.default_rng(derive(seed, "membership", model)).random(len(rows)) < 0.5
            for model in range(models)
        ]
    )
    outputs = []
    for model, use in enumerate(member):
        fitted = clone(estimator).set_params(**_random_states(estimator, seed, model))
        trained_on = rows[use]
        if len(np.unique(labels[trained_on])) < 2:
            raise TooFewRecordsError(
                f"Model {model} would be trained on records of one class only.",
                "Give more records of the rare classes, or leave them out.",
            )
        fitted.fit(select_rows(X, trained_on), labels[trained_on])
        outputs.append(_logits(fitted, select_rows(X, np.concatenate([rows, test])), len(classes)))
        progress(f"model {model}")
    logits = np.stack(outputs)
    name = type(estimator).__name__
    inputs = check_inputs(
        name,
        logits=logits[:, : len(rows)],
        labels=labels[rows],
        member=member,
        test_logits=logits[:, len(rows) :],
        test_labels=labels[test],
    )
    text = " ".join(repr(estimator).split())
    options = f"models={models}, seed={seed}"
    if defense is not None:
        named = plan.defense_text if isinstance(defense, str) else defense
        options += f", defense={named!r}, queries={queries!r}"
    if attacks:
        options += f", attacks={attacks!r}"
    command = f"dynanoise.audit({text}, X, y, {options})"
    provenance = Provenance("X, y", name, command, {"estimator": text})
    pool = _renamed(inputs.pool(seed), np.concatenate([rows, test]))
    return audit_pool(pool, plan, provenance, progress)


def _renamed(pool: Pool, ids: Int64) -> Pool:
    """The same pool with records named by their position in X, for reports of single records."""

    def renamed(outputs: Outputs) -> Outputs:
        return replace(outputs, ids=ids[outputs.ids])

    return replace(
        pool,
        records=renamed(pool.records),
        test=renamed(pool.test),
        reference=renamed(pool.reference),
    )


def _check_data(X: Any, y: Any) -> tuple[Any, npt.NDArray[Any], Int64]:
    labels = check_labels(y, "y")
    rows = sliceable(X if hasattr(X, "shape") else np.asarray(X))
    if len(rows.shape) < 2 or rows.shape[0] != len(labels):
        raise InputError(
            f"X has shape {rows.shape} and y {labels.shape}.", "Give X [N, ...] and y [N]."
        )
    classes, numbers = np.unique(labels, return_inverse=True)
    if len(classes) < 2:
        raise InputError(
            f"y holds {len(classes)} different values of dtype {labels.dtype}.",
            "Give class labels of at least two classes.",
        )
    needed = round(2 * 1.25 * LEAST / (1 - HELD_OUT))
    if len(labels) < needed:
        raise TooFewRecordsError(
            f"There are {len(labels)} records.", f"Give at least {needed}, better thousands."
        )
    return rows, classes, numbers.astype(np.int64)


def _random_states(estimator: Any, seed: int, model: int) -> dict[str, int]:
    """Seeds for random states that are None, also inside pipelines: they would be global.

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
    """Logits [N, K]; a class that a clone was not trained on has probability 0."""
    present = np.asarray(fitted.classes_)
    if hasattr(fitted, "predict_proba"):
        probs = np.zeros((rows.shape[0], classes))
        probs[:, present] = fitted.predict_proba(rows)
        return numerics.log_probabilities(probs)
    values = np.asarray(fitted.decision_function(rows), dtype=np.float64)
    if values.ndim == 1:  # of the second of two classes
        values = np.stack([np.zeros(len(values)), values], axis=1)
    logits = np.full((len(values), classes), values.min() - 1.0)
    logits[:, present] = values
    return logits
