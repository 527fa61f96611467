"""Success of an attack on canaries."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dynanoise.core.numerics import Int64
from dynanoise.core.result import Metric
from dynanoise.data.canaries import Canaries
from dynanoise.metrics.bootstrap import FPRS, PoolScores, bootstrap
from dynanoise.metrics.epsilon import epsilon_of_models

LEAST = 10
"""Canaries of a kind below which its metrics are left out."""


def canary_metrics(
    scores: PoolScores,
    ids: Int64,
    canaries: Canaries,
    seed: int,
    *,
    fprs: Sequence[float] = FPRS,
) -> dict[str, Metric]:
    """Compute the usual metrics on canaries alone, and a lower bound of epsilon.

    Scores and decisions are those of the attack on the whole pool: its thresholds and what it
    learned are for all records, not for canaries.

    Args:
        scores: scores and decisions [M, N] of one attack, on models with fair-coin membership.
        ids: int64 [N], record of each column.
        canaries: ids of the canaries of each kind.
        seed: seed of the bootstrap over models and canaries.
        fprs: false positive rates at which the TPR is wanted.

    Returns:
        ``canary_asr``, ``canary_auc``, ``canary_tpr@0.001`` and so on as of `bootstrap`, and the
        same of each kind as ``canary_mislabelled_auc`` and ``canary_atypical_auc``. Left out for
        fewer than 10 canaries of a kind; models without both a member and a non-member of it do not
        count.
        ``canary_epsilon``: a lower bound at 95% for pure DP (delta = 0) of training and prediction
        together, see `epsilon_of_models`. A model's canaries share its training, so they are no
        independent trials of `epsilon_lower_bound`; and that bound for each canary over the models
        would have a handful of trials, at thresholds which the other models' membership decides.
        The one-run bound of a model holds given all the other models, and needs of the attack only
        that it decides without the model's own membership, which leave-one-out ensures. The attack
        guesses about every canary that has shadow models, and which ones have does not depend on
        the truth. Each bound is of one attack: the best of several would need a correction.
    """
    metrics: dict[str, Metric] = {}
    for name, kind in (
        ("canary", canaries.ids),
        ("canary_mislabelled", canaries.mislabelled),
        ("canary_atypical", canaries.atypical),
    ):
        part = select_records(scores, np.isin(ids, kind).nonzero()[0])
        if part is not None:
            of_kind = bootstrap(part, seed, fprs=fprs).metrics
            metrics |= {f"{name}_{metric}": value for metric, value in of_kind.items()}
    guessed = scores.scored & np.isin(ids, canaries.ids)
    right = guessed & (scores.decisions == scores.members)
    bound = epsilon_of_models(right.sum(axis=1).tolist(), guessed.sum(axis=1).tolist())
    return {**metrics, "canary_epsilon": Metric(bound)}


def select_records(scores: PoolScores, columns: Int64) -> PoolScores | None:
    """Keep some records, and the models that have both members and non-members among them.

    Args:
        scores: scores and decisions [M, N] of all records.
        columns: int64 [n], positions of the records.

    Returns:
        None for fewer than 10 records or no such model.
    """
    scored = scores.scored[:, columns]
    kinds = (scores.members[:, columns], ~scores.members[:, columns])
    rows = np.all([(kind & scored).any(axis=1) for kind in kinds], axis=0).nonzero()[0]
    if len(columns) < LEAST or not len(rows):
        return None
    pairs = np.ix_(rows, columns)
    return PoolScores(
        scores.scores[pairs],
        scores.decisions[pairs],
        scores.members[pairs],
        scores.scored[pairs],
    )
