"""How well an attack does on canaries."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dynanoise.core.numerics import Int64
from dynanoise.core.result import Metric
from dynanoise.data.canaries import Canaries
from dynanoise.metrics.bootstrap import FPRS, PoolScores, bootstrap
from dynanoise.metrics.epsilon import epsilon_of_models

LEAST = 10
"""Canaries below which an average over them would be that of a few records."""


def canary_metrics(
    found: PoolScores,
    ids: Int64,
    canaries: Canaries,
    seed: int,
    *,
    fprs: Sequence[float] = FPRS,
) -> dict[str, Metric]:
    """The usual metrics on canaries alone, and what epsilon is at least.

    Scores and decisions are those of the attack on the whole pool: its thresholds and what it
    learned are for all records, not for canaries.

    Args:
        found: scores and decisions [M, N] of one attack, on models with fair-coin membership.
        ids: int64 [N], which record each column is.
        canaries: which of them are canaries.
        seed: of the bootstrap over models and canaries.
        fprs: false positive rates at which the TPR is wanted.

    Returns:
        ``canary_asr``, ``canary_auc``, ``canary_tpr@0.001`` ... as of `bootstrap`, and the same of
        each kind as ``canary_mislabelled_auc`` and ``canary_atypical_auc``. Left out for fewer than
        10 canaries of a kind; models without both a member and a non-member of it do not count.
        ``canary_epsilon``: a lower bound at 95% for pure DP (delta = 0) of training and answering
        together, see `epsilon_of_models`. A model's canaries share its training, so they are no
        independent trials of `epsilon_lower_bound`; and that bound for each canary over the models
        would have a handful of trials, at thresholds which the other models' membership decides.
        The one-run bound of a model holds given all the other models, and needs of the attack only
        that it decides without the model's own membership, which leave-one-out ensures. The attack
        guesses about every canary that has shadow models; about which ones the truth says nothing.
        Each bound is of one attack: the best of several attacks would need a correction.
    """
    metrics: dict[str, Metric] = {}
    for name, chosen in (
        ("canary", canaries.ids),
        ("canary_mislabelled", canaries.mislabelled),
        ("canary_atypical", canaries.atypical),
    ):
        part = among(found, np.isin(ids, chosen).nonzero()[0])
        if part is not None:
            known = bootstrap(part, seed, fprs=fprs).metrics
            metrics |= {f"{name}_{metric}": value for metric, value in known.items()}
    guessed = found.scored & np.isin(ids, canaries.ids)
    right = guessed & (found.decisions == found.members)
    bound = epsilon_of_models(right.sum(axis=1).tolist(), guessed.sum(axis=1).tolist())
    return {**metrics, "canary_epsilon": Metric(bound)}


def among(found: PoolScores, columns: Int64) -> PoolScores | None:
    """The same about some records, for the models that have both kinds of them; None for too few.

    Args:
        found: about all records.
        columns: int64 [n], which.
    """
    scored = found.scored[:, columns]
    kinds = (found.members[:, columns], ~found.members[:, columns])
    rows = np.all([(kind & scored).any(axis=1) for kind in kinds], axis=0).nonzero()[0]
    if len(columns) < LEAST or not len(rows):
        return None
    parts = (found.scores, found.decisions, found.members, found.scored)
    scores, decisions, members, scored = (part[np.ix_(rows, columns)] for part in parts)
    return PoolScores(scores, decisions, members, scored)
