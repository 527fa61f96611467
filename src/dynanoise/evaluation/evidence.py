"""Gathers what stands behind results while a pool, or a model alone, is judged."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from dynanoise.core.defense import Method
from dynanoise.core.evidence import AttackSample, Evidence, Float32, Reliability, Risk, Rows
from dynanoise.core.numerics import Bools, Float64, Floats, Int64
from dynanoise.core.outputs import Pool
from dynanoise.core.result import STRONGEST, AttackProtocol, Result
from dynanoise.core.seeding import derive
from dynanoise.evaluation.leave_one_out import Attacked
from dynanoise.metrics.bootstrap import PoolScores
from dynanoise.metrics.roc import Roc
from dynanoise.metrics.utility import BINS

ROWS = 1000
"""Pairs of model and record whose scores and logits are kept."""

SCORE_BINS = 40
SUCCESS_BINS = 20
POINTS = 120
"""Of a ROC that is kept: more cannot be told apart in a picture."""

MOST_AT_RISK = 20


class Keep(Protocol):
    """Is shown what results are made of, and changes nothing."""

    def attacked(
        self, method: Method, protocol: AttackProtocol, pool: Pool, done: Attacked
    ) -> None:
        """After every attack on a method."""

    def answered(self, method: Method, model: int, answers: Floats, labels: Int64) -> None:
        """After the answers [N, K] of a model about test data with labels [N]."""


class Gatherer:
    """Keeps what a report shows; of one model no success by record, which takes several.

    Args:
        rows: how many pairs of model and record to keep.
    """

    def __init__(self, rows: int = ROWS) -> None:
        self._count = rows
        self._attacks: list[AttackSample] = []
        self._risks: list[Risk] = []
        self._edges: dict[str, Float64] = {}
        self._reliability: dict[str, Reliability] = {}
        self._answered: set[tuple[str, int]] = set()
        self._rows: tuple[Int64, Int64] | None = None
        self._about: Rows | None = None
        self._logits: dict[str, Float32] = {}

    def attacked(
        self, method: Method, protocol: AttackProtocol, pool: Pool, done: Attacked
    ) -> None:
        """See `Keep`. The first method's scores decide the edges of the histograms."""
        if self._rows is None:
            self._draw(pool, done.found)
        assert self._rows is not None
        if method.recipe not in self._logits:
            logits = pool.examples.logits[:, :, 0]
            everywhere = np.ones(logits.shape[:2], dtype=bool)
            self._logits[method.recipe] = _at(self._rows, logits, everywhere)
        found = done.found
        scores, members = found.scores[found.scored], found.members[found.scored]
        edges = self._edges.setdefault(done.name, score_edges(scores, done.name == STRONGEST))
        inside = np.clip(scores, edges[0], edges[-1])
        curve = found.roc
        fpr, tpr = thinned(curve)
        self._attacks.append(
            AttackSample(
                protocol.name,
                method.name,
                done.name,
                fpr,
                tpr,
                curve.non_members,
                edges,
                np.histogram(inside[members], edges)[0].astype(np.int64),
                np.histogram(inside[~members], edges)[0].astype(np.int64),
                _at(self._rows, found.scores, found.scored),
            )
        )
        if done.name == STRONGEST and pool.models > 1:
            ids, labels = pool.examples.ids, pool.examples.labels
            self._risks.append(risk(found, ids, labels, protocol.name, method.name))

    def answered(self, method: Method, model: int, answers: Floats, labels: Int64) -> None:
        """See `Keep`. Under each protocol these answers are the same; they count once."""
        if (method.name, model) in self._answered:
            return
        self._answered.add((method.name, model))
        seen = reliability(method.name, answers, labels)
        known = self._reliability.get(method.name)
        if known is not None:
            seen = Reliability(
                method.name,
                known.count + seen.count,
                known.confidence + seen.confidence,
                known.right + seen.right,
            )
        self._reliability[method.name] = seen

    def evidence(self, records: Sequence[Result], notes: Sequence[str] = ()) -> Evidence:
        """What was gathered, with the results of the same run, and what else there is to say."""
        rows = self._about
        if rows is not None:
            rows = Rows(rows.models, rows.ids, rows.labels, rows.members, dict(self._logits))
        return Evidence(
            tuple(records),
            tuple(self._attacks),
            tuple(self._reliability.values()),
            tuple(self._risks),
            rows,
            tuple(notes),
        )

    def _draw(self, pool: Pool, found: PoolScores) -> None:
        """As many members as non-members, over all models."""
        generator = np.random.default_rng(derive(pool.seed, "rows of the report"))
        chosen = []
        for kind in (found.members, ~found.members):
            pairs = np.flatnonzero(kind & found.scored)
            size = min(self._count // 2, len(pairs))
            chosen.append(generator.choice(pairs, size, replace=False))
        models, where = np.divmod(np.sort(np.concatenate(chosen)), found.scores.shape[1])
        self._rows = models, where
        self._about = Rows(
            models,
            pool.examples.ids[where],
            pool.examples.labels[where],
            found.members[models, where],
            {},
        )


def _at(rows: tuple[Int64, Int64], values: Floats, known: Bools) -> Float32:
    """Of [M, N, ...] the values at pairs [R], NaN where there is no such model or value."""
    models, where = rows
    there = models < len(values)
    out = np.full((len(models), *values.shape[2:]), np.nan, dtype=np.float32)
    pairs = models[there], where[there]
    out[there] = np.where(
        known[pairs].reshape(-1, *[1] * (values.ndim - 2)), values[pairs], np.nan
    ).astype(np.float32)
    return out


def thinned(curve: Roc, points: int = POINTS) -> tuple[Float64, Float64]:
    """Points of a ROC at FPRs that are evenly spaced on a logarithmic axis, each an actual point.

    Args:
        curve: all of it.
        points: at most so many.

    Returns:
        fpr, tpr [P]: for each of these FPRs the highest point that is not to the right of it. The
        first is at one false positive, the last is (1, 1).

    >>> from dynanoise.metrics.roc import roc
    >>> fpr, tpr = thinned(roc([4, 3, 2, 1], [1, 0, 1, 0]))
    >>> fpr.tolist(), tpr.tolist()
    ([0.5, 1.0], [1.0, 1.0])
    """
    grid = np.geomspace(1 / curve.non_members, 1, points)
    last = np.searchsorted(curve.fpr, grid * (1 + 1e-12), side="right") - 1
    kept = np.unique(last)
    kept = kept[curve.fpr[kept] > 0]
    return curve.fpr[kept], curve.tpr[kept]


def score_edges(scores: Float64, ranks: bool, bins: int = SCORE_BINS) -> Float64:
    """Edges [bins + 1] that hold all but the outermost 2.5% of scores on either side.

    Args:
        scores: float64 [S]; infinite ones do not count.
        ranks: True for scores in 0..1.
        bins: how many.

    >>> score_edges(np.array([3.0]), ranks=False, bins=2).tolist()
    [2.5, 3.0, 3.5]
    """
    if ranks:
        return np.linspace(0, 1, bins + 1)
    finite = scores[np.isfinite(scores)]
    low, high = np.percentile(finite, [2.5, 97.5]) if len(finite) else (0.0, 0.0)
    if high - low < 1e-9 * max(1.0, abs(low)):
        low, high = low - 0.5, high + 0.5
    return np.linspace(low, high, bins + 1)


def reliability(method: str, answers: Floats, labels: Int64, bins: int = BINS) -> Reliability:
    """Confidence and accuracy by bins of confidence, as for `calibration_error`.

    Args:
        method: its name.
        answers: probabilities [N, K].
        labels: int64 [N].
        bins: how many.

    >>> found = reliability("x", np.array([[0.9, 0.1], [0.9, 0.1]]), np.array([0, 1]), bins=2)
    >>> found.count.tolist(), found.confidence.tolist(), found.right.tolist()
    ([0, 2], [0.0, 1.8], [0.0, 1.0])
    """
    confidence = np.asarray(answers.max(axis=-1), dtype=np.float64)
    right = answers.argmax(axis=-1) == labels
    bin_of = np.clip(np.ceil(confidence * bins).astype(np.int64) - 1, 0, bins - 1)
    return Reliability(
        method,
        np.bincount(bin_of, minlength=bins).astype(np.int64),
        np.bincount(bin_of, weights=confidence, minlength=bins).astype(np.float64),
        np.bincount(bin_of, weights=right, minlength=bins).astype(np.float64),
    )


def risk(found: PoolScores, ids: Int64, labels: Int64, protocol: str, method: str) -> Risk:
    """Success by record, see `Risk`; records without both members and non-members do not count.

    What is expected if all records were alike follows from two binomials: the models trained on a
    record are each told so at the attack's overall rate, and the others likewise.
    """
    right = (found.decisions == found.members) & found.scored
    trials, hits = [], []
    for kind in (found.members, ~found.members):
        trials.append((kind & found.scored).sum(axis=0))
        hits.append((right & kind).sum(axis=0))
    counted = np.flatnonzero((trials[0] > 0) & (trials[1] > 0))
    n, k = (np.array(part)[:, counted] for part in (trials, hits))
    success = (k / n).mean(axis=0)
    rates = k.sum(axis=1) / n.sum(axis=1)
    most = np.lexsort((ids[counted], -success))[:MOST_AT_RISK]
    return Risk(
        protocol,
        method,
        len(found.scores),
        _by_success(success, np.ones(len(success))).astype(np.int64),
        _expected(n, rates),
        ids[counted][most],
        labels[counted][most],
        success[most],
    )


def _by_success(success: Float64, weights: Float64) -> Float64:
    # Eighths and their means are exact; elevenths need not be put beside an edge by rounding.
    edges = np.linspace(0, 1, SUCCESS_BINS + 1) - 1e-9
    edges[-1] = 1.0
    return np.histogram(np.clip(success, 0, 1), edges, weights=weights)[0]


def _expected(trials: Int64, rates: Float64) -> Float64:
    """Records by success [B] if each had the overall rates."""
    from scipy.stats import binom

    total = np.zeros(SUCCESS_BINS)
    kinds, records = np.unique(trials, axis=1, return_counts=True)
    for (inside, outside), count in zip(kinds.T, records, strict=True):
        told, untold = np.arange(inside + 1), np.arange(outside + 1)
        chance = np.outer(binom.pmf(told, inside, rates[0]), binom.pmf(untold, outside, rates[1]))
        success = (told[:, None] / inside + untold[None] / outside) / 2
        total += count * _by_success(success.ravel(), chance.ravel())
    return total
