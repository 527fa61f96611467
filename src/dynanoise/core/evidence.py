"""What stands behind results: curves, histograms and sampled rows; no computation.

Records hold a number an attack. What a picture needs beside them is kept here, small enough to be
committed: a report is made again from files, without training anything.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from dynanoise.core.errors import InputError
from dynanoise.core.numerics import Float64, Int64
from dynanoise.core.result import Result

Float32 = npt.NDArray[np.float32]
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class AttackSample:
    """How one attack did on one method under one protocol.

    Attributes:
        protocol, method, attack: names, as in results.
        fpr, tpr: float64 [P], points of the ROC of all pairs of model and record, thinned for
            logarithmic axes; FPR of at least one false positive, non-decreasing.
        non_members: pairs behind the FPR.
        edges: float64 [B + 1], of the histograms; the same for all methods.
        members, others: int64 [B], scores of members and of non-members in each bin; what lies
            beyond the edges is in the outermost bins.
        scores: float32 [R] of the sampled rows, larger = member; NaN where the pool lacks the model
            or the record had no shadows.
    """

    protocol: str
    method: str
    attack: str
    fpr: Float64
    tpr: Float64
    non_members: int
    edges: Float64
    members: Int64
    others: Int64
    scores: Float32


@dataclass(frozen=True, eq=False)
class Reliability:
    """Confidence and accuracy of a method's predictions on test data, over all its models.

    Attributes:
        method: its name.
        count: int64 [B], predictions in each bin of confidence; bins have equal width in 0..1.
        confidence: float64 [B], sum of their largest probabilities.
        right: float64 [B], number of correct predictions.
    """

    method: str
    count: Int64
    confidence: Float64
    right: Float64


@dataclass(frozen=True, eq=False)
class Risk:
    """Success of the attacker's choice of attack on each record, over the models.

    It is the mean of two shares: of correct decisions on the models trained on the record, and of
    those on the other models; 0.5 is guessing.

    Attributes:
        protocol, method: names, as in results.
        models: of the pool.
        counts: int64 [B], records by success, in bins of equal width in 0..1.
        expected: float64 [B], the same if the attack were as good at every record as at all.
        ids, labels: int64 [T], the records with the greatest success, falling.
        success: float64 [T], of these.
    """

    protocol: str
    method: str
    models: int
    counts: Int64
    expected: Float64
    ids: Int64
    labels: Int64
    success: Float64


@dataclass(frozen=True, eq=False)
class Rows:
    """Pairs of a model and a record that were drawn to be kept, the same for all methods.

    Attributes:
        models: int64 [R], position of the model in the pool.
        ids, labels: int64 [R], of the record.
        members: bool [R], whether that model was trained on it.
        logits: by recipe, float32 [R, K], undefended; NaN where a recipe has fewer models.
    """

    models: Int64
    ids: Int64
    labels: Int64
    members: Bools
    logits: Mapping[str, Float32]


@dataclass(frozen=True, eq=False)
class Evidence:
    """Records, and what stands behind them where it was kept.

    Attributes:
        results: of all protocols of one run.
        attacks, reliability, risks: of protocols over a pool; empty without one.
        rows: None without a pool.
        notes: what else there is to say, in sentences: what could not be measured, for example.

    Raises:
        InputError: without results.
    """

    results: tuple[Result, ...]
    attacks: tuple[AttackSample, ...] = ()
    reliability: tuple[Reliability, ...] = ()
    risks: tuple[Risk, ...] = ()
    rows: Rows | None = None
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.results:
            raise InputError("There are no results.", "Pass those of one run.")

    def attacks_on(self, protocol: str, method: str) -> list[AttackSample]:
        """In the order of the protocol; none where it was not run."""
        return [one for one in self.attacks if (one.protocol, one.method) == (protocol, method)]
