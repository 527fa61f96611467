"""Blind baseline: a classifier of members and non-members that does not see the model.

An attack on a model is worth what it finds beyond a classifier that sees inputs and labels alone.
If that classifier tells members from non-members, the two were drawn differently (by date, by
source, after removing duplicates), and every attack's number is inflated (Meeus et al. 2024,
arXiv:2406.17975; Das et al. 2024, arXiv:2406.16201).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.special import ndtri

from dynanoise.core.numerics import Bools, Float64, Int8, Int64
from dynanoise.core.result import Metric
from dynanoise.core.seeding import derive
from dynanoise.data.features import number_features
from dynanoise.integrations.holdout import select_rows
from dynanoise.metrics.intervals import LEVEL
from dynanoise.metrics.roc import auc_error, roc

MOST_RECORDS = 10_000
"""Records that the classifier learns from and is judged on, at most."""


def blind_auc(
    inputs: Any,
    labels: Int64,
    member: Int8,
    seed: int,
    persons: Int64 | None = None,
) -> Metric | None:
    """Measure how well a classifier on inputs and labels tells members from non-members.

    Gradient boosting learns from a random half of the records and is judged on the other half, so
    that its AUC is 0.5 on average if members and non-members are drawn alike.

    Args:
        inputs: inputs of the records, in any form that rows can be taken from; None for labels
            alone.
        labels: int64 [N], true classes.
        member: int8 [N]; 1 = member, 0 = not, -1 = unknown.
        seed: seed of the halves.
        persons: int64 [N], position of each record's person, all of whose records are in one half
            and scored by their mean; None if each record is of another person.

    Returns:
        AUC with its 95% interval over records or persons; None without inputs and with labels of
        one class, and where a half has fewer than two members or non-members.

    Raises:
        TypeError: if the inputs are neither numbers nor texts, nor columns of them.
        ValueError: likewise.

    >>> generator = np.random.default_rng(0)
    >>> member = np.arange(400) % 2
    >>> shifted = generator.normal(0, 1, (400, 2)) + member[:, None]
    >>> auc = blind_auc(shifted, np.zeros(400, int), member.astype(np.int8), seed=0)
    >>> auc.low > 0.6
    True
    """
    if inputs is None and len(np.unique(labels)) < 2:
        return None
    generator = np.random.default_rng(derive(seed, "blind baseline"))
    who = np.arange(len(labels)) if persons is None else persons
    rows = np.flatnonzero(member >= 0)
    drawn = generator.permutation(np.unique(who[rows]))
    drawn = drawn[: max(2, round(len(drawn) * min(1.0, MOST_RECORDS / len(rows))))]
    first = rows[np.isin(who[rows], drawn[: len(drawn) // 2])]
    second = rows[np.isin(who[rows], drawn[len(drawn) // 2 :])]
    inside = member == 1
    if min(inside[first].sum(), (~inside[first]).sum()) < 2:
        return None
    if inputs is None:
        scores = _shares(labels, inside, first)[labels[second]]
    else:
        both = np.concatenate([first, second])
        features = np.column_stack([number_features(select_rows(inputs, both), seed), labels[both]])
        scores = _boosted(features[: len(first)], inside[first], features[len(first) :], seed)
    _, position = np.unique(who[second], return_inverse=True)
    count = np.bincount(position)
    scores = np.bincount(position, scores) / count
    truth = np.bincount(position, inside[second]) > 0
    if min(truth.sum(), (~truth).sum()) < 2:
        return None
    area, error = roc(scores, truth).auc, auc_error(scores, truth)
    half = float(ndtri((1 + LEVEL) / 2) * error)
    return Metric(area, max(0.0, area - half), min(1.0, area + half))


def _shares(labels: Int64, inside: Bools, rows: Int64) -> Float64:
    """The share of members in each class among some records; that of all for a class of none."""
    classes = int(labels.max()) + 1
    total = np.bincount(labels[rows], minlength=classes)
    members = np.bincount(labels[rows], inside[rows], classes)
    return np.where(total > 0, members / np.maximum(total, 1), inside[rows].mean())


def _boosted(learn: Float64, inside: Bools, judge: Float64, seed: int) -> Float64:
    from sklearn.ensemble import HistGradientBoostingClassifier
    from threadpoolctl import threadpool_limits

    model = HistGradientBoostingClassifier(
        max_iter=50, max_leaf_nodes=8, random_state=derive(seed, "boosting") % 2**32
    )
    with threadpool_limits(1):  # threads that wait for each other are slower on a busy machine
        return np.asarray(model.fit(learn, inside).predict_proba(judge)[:, 1])
