"""Evidence behind results: curves, histograms, and sampled rows of an evaluation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from dynanoise.core.defense import Method
from dynanoise.core.evidence import AttackSample, Evidence, Float32, Reliability, Risk, Rows
from dynanoise.core.numerics import Bools, Float64, Floats, Int64
from dynanoise.core.outputs import Outputs
from dynanoise.core.result import STRONGEST, AttackProtocol, Result
from dynanoise.core.seeding import derive
from dynanoise.evaluation.design import Design
from dynanoise.evaluation.trial import AttackScores
from dynanoise.metrics.bootstrap import PoolScores
from dynanoise.metrics.roc import Roc
from dynanoise.metrics.utility import BINS

ROWS = 1000
"""Pairs of model and record whose scores and logits are kept."""

SCORE_BINS = 40
SUCCESS_BINS = 20
POINTS = 120
"""Points of a ROC that are kept: a picture shows no more."""

MOST_AT_RISK = 20


class Gatherer:
    """Collects the evidence of an evaluation for a report; of one model no risk of records.

    Args:
        rows: how many pairs of model and record to keep.
        curves: False where no report is wanted: the evidence is results and notes alone.
    """

    def __init__(self, rows: int = ROWS, *, curves: bool = True) -> None:
        self._count, self._curves = rows, curves
        self._attacks: list[AttackSample] = []
        self._risks: list[Risk] = []
        self._edges: dict[str, Float64] = {}
        self._reliability: dict[str, Reliability] = {}
        self._predicted: set[tuple[str, int]] = set()
        self._about: Rows | None = None
        self._logits: dict[str, Float32] = {}

    def add_scores(
        self, method: Method, protocol: AttackProtocol, design: Design, attack: AttackScores
    ) -> None:
        """Add the scores of an attack; the first method's decide the edges of the histograms.

        Args:
            method: method that was attacked.
            protocol: protocol of the attack.
            design: the models and records that the scores are about.
            attack: its scores; curves and histograms are of persons where these are attacked.
        """
        if not self._curves:
            return
        records, scores = design.records, attack.scores
        if self._about is None:
            self._about = draw_pairs(scores, records, design.seed, self._count)
        pairs = self._about.models, _positions(records.ids, self._about.ids)
        if method.recipe not in self._logits:
            logits = records.logits[:, :, 0]
            everywhere = np.ones(logits.shape[:2], dtype=bool)
            self._logits[method.recipe] = _at(pairs, logits, everywhere)
        measured = attack.measured
        values, members = measured.scores[measured.scored], measured.members[measured.scored]
        strongest = attack.name == STRONGEST
        edges = self._edges.setdefault(attack.name, find_edges(values, ranks=strongest))
        inside = np.clip(values, edges[0], edges[-1])
        curve = measured.roc
        fpr, tpr = thin_roc(curve)
        self._attacks.append(
            AttackSample(
                protocol.name,
                method.name,
                attack.name,
                fpr,
                tpr,
                curve.non_members,
                edges,
                np.histogram(inside[members], edges)[0].astype(np.int64),
                np.histogram(inside[~members], edges)[0].astype(np.int64),
                _at(pairs, scores.scores, scores.scored),
            )
        )
        if strongest and records.models > 1:
            names = protocol.name, method.name
            self._risks.append(measure_risk(scores, records.ids, records.labels, *names))

    def add_predictions(self, method: Method, model: int, probs: Floats, labels: Int64) -> None:
        """Add the predictions of a model about test data; they count once for all protocols.

        Args:
            method: its name is kept.
            model: position in the pool.
            probs: probabilities [N, K].
            labels: int64 [N].
        """
        if not self._curves or (method.name, model) in self._predicted:
            return
        self._predicted.add((method.name, model))
        added = measure_reliability(method.name, probs, labels)
        before = self._reliability.get(method.name)
        if before is not None:
            added = Reliability(
                method.name,
                before.count + added.count,
                before.confidence + added.confidence,
                before.right + added.right,
            )
        self._reliability[method.name] = added

    def evidence(self, results: Sequence[Result], notes: Sequence[str] = ()) -> Evidence:
        """Return all that was collected.

        Args:
            results: results of the same run.
            notes: sentences for the report.

        Returns:
            Results, curves, histograms, sampled rows and notes.
        """
        rows = self._about
        if rows is not None:
            rows = replace(rows, logits=dict(self._logits))
        return Evidence(
            tuple(results),
            tuple(self._attacks),
            tuple(self._reliability.values()),
            tuple(self._risks),
            rows,
            tuple(notes),
        )


def draw_pairs(scores: PoolScores, records: Outputs, seed: int, count: int) -> Rows:
    """Draw scored pairs of model and record, as many members as non-members, over all models.

    Args:
        scores: which pairs are scored, and the truth, [M, N].
        records: outputs that the scores are about.
        seed: seed of the run.
        count: how many pairs, where there are so many.

    Returns:
        The rows in ascending order of model and record, without logits.
    """
    generator = np.random.default_rng(derive(seed, "rows of the report"))
    drawn = []
    for kind in (scores.members, ~scores.members):
        pairs = np.flatnonzero(kind & scores.scored)
        size = min(count // 2, len(pairs))
        drawn.append(generator.choice(pairs, size, replace=False))
    models, where = np.divmod(np.sort(np.concatenate(drawn)), scores.scores.shape[1])
    return Rows(
        models, records.ids[where], records.labels[where], scores.members[models, where], {}
    )


def _positions(ids: Int64, wanted: Int64) -> Int64:
    """Positions of ids [R] among those of some records [N]; -1 where a protocol lacks the record.

    >>> _positions(np.array([5, 2, 9]), np.array([9, 4, 5])).tolist()
    [2, -1, 0]
    """
    order = np.argsort(ids)
    nearest = order[np.minimum(np.searchsorted(ids, wanted, sorter=order), len(ids) - 1)]
    return np.where(ids[nearest] == wanted, nearest, -1)


def _at(rows: tuple[Int64, Int64], values: Floats, known: Bools) -> Float32:
    """Values [M, N, ...] at pairs [R], NaN where there is no such model, record or value."""
    models, where = rows
    there = (models < len(values)) & (where >= 0)
    out = np.full((len(models), *values.shape[2:]), np.nan, dtype=np.float32)
    pairs = models[there], where[there]
    out[there] = np.where(
        known[pairs].reshape(-1, *[1] * (values.ndim - 2)), values[pairs], np.nan
    ).astype(np.float32)
    return out


def thin_roc(curve: Roc, points: int = POINTS) -> tuple[Float64, Float64]:
    """Thin a ROC to FPRs that are evenly spaced on a logarithmic axis.

    Args:
        curve: the whole ROC.
        points: how many to keep, at most.

    Returns:
        fpr, tpr [P], each an actual point: for each of these FPRs the highest point that is not to
        the right of it. The first is at one false positive, the last is (1, 1).

    >>> from dynanoise.metrics.roc import roc
    >>> fpr, tpr = thin_roc(roc([4, 3, 2, 1], [1, 0, 1, 0]))
    >>> fpr.tolist(), tpr.tolist()
    ([0.5, 1.0], [1.0, 1.0])
    """
    grid = np.geomspace(1 / curve.non_members, 1, points)
    last = np.searchsorted(curve.fpr, grid * (1 + 1e-12), side="right") - 1
    kept = np.unique(last)
    kept = kept[curve.fpr[kept] > 0]
    return curve.fpr[kept], curve.tpr[kept]


def find_edges(scores: Float64, ranks: bool, bins: int = SCORE_BINS) -> Float64:
    """Edges of a histogram that hold all but the outermost 2.5% of scores on either side.

    Args:
        scores: float64 [S]; infinite ones do not count.
        ranks: True for scores in 0..1.
        bins: how many.

    Returns:
        float64 [bins + 1], ascending.

    >>> find_edges(np.array([3.0]), ranks=False, bins=2).tolist()
    [2.5, 3.0, 3.5]
    """
    if ranks:
        return np.linspace(0, 1, bins + 1)
    finite = scores[np.isfinite(scores)]
    low, high = np.percentile(finite, [2.5, 97.5]) if len(finite) else (0.0, 0.0)
    if high - low < 1e-9 * max(1.0, abs(low)):
        low, high = low - 0.5, high + 0.5
    return np.linspace(low, high, bins + 1)


def measure_reliability(method: str, probs: Floats, labels: Int64, bins: int = BINS) -> Reliability:
    """Confidence and accuracy by bins of confidence, as for `calibration_error`.

    Args:
        method: its name.
        probs: probabilities [N, K].
        labels: int64 [N].
        bins: how many.

    Returns:
        Number, summed confidence and summed correctness of each bin, [bins].

    >>> probs = np.array([[0.9, 0.1], [0.9, 0.1]])
    >>> kept = measure_reliability("x", probs, np.array([0, 1]), bins=2)
    >>> kept.count.tolist(), kept.confidence.tolist(), kept.right.tolist()
    ([0, 2], [0.0, 1.8], [0.0, 1.0])
    """
    confidence = np.asarray(probs.max(axis=-1), dtype=np.float64)
    right = probs.argmax(axis=-1) == labels
    bin_of = np.clip(np.ceil(confidence * bins).astype(np.int64) - 1, 0, bins - 1)
    return Reliability(
        method,
        np.bincount(bin_of, minlength=bins).astype(np.int64),
        np.bincount(bin_of, weights=confidence, minlength=bins).astype(np.float64),
        np.bincount(bin_of, weights=right, minlength=bins).astype(np.float64),
    )


def measure_risk(scores: PoolScores, ids: Int64, labels: Int64, protocol: str, method: str) -> Risk:
    """Success by record, see `Risk`; records without both members and non-members do not count.

    The expectation for equal records follows from two binomials: the models trained on a record are
    each recognised at the attack's overall rate, and so are the others.

    Args:
        scores: decisions and truth [M, N] of one attack.
        ids: int64 [N], of the records.
        labels: int64 [N], true classes.
        protocol: name of the protocol.
        method: name of the method.

    Returns:
        Histogram of success by record, its expectation, and the records at the greatest risk.
    """
    right = (scores.decisions == scores.members) & scores.scored
    trials, hits = [], []
    for kind in (scores.members, ~scores.members):
        trials.append((kind & scores.scored).sum(axis=0))
        hits.append((right & kind).sum(axis=0))
    counted = np.flatnonzero((trials[0] > 0) & (trials[1] > 0))
    n, k = (np.array(part)[:, counted] for part in (trials, hits))
    success = (k / n).mean(axis=0)
    rates = k.sum(axis=1) / n.sum(axis=1)
    most = np.lexsort((ids[counted], -success))[:MOST_AT_RISK]
    return Risk(
        protocol,
        method,
        len(scores.scores),
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
        hits = [np.arange(models + 1) for models in (inside, outside)]
        chance = np.outer(
            binom.pmf(hits[0], inside, rates[0]), binom.pmf(hits[1], outside, rates[1])
        )
        success = (hits[0][:, None] / inside + hits[1][None] / outside) / 2
        total += count * _by_success(success.ravel(), chance.ravel())
    return total
