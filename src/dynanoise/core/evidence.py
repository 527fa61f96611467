"""Evidence behind results: curves, histograms and sampled rows; no computation.

A result holds numbers. The data of charts are kept beside them, small enough to be committed, so
that a report is made again from files, without training anything.
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
    """Curve, histograms and sampled scores of one attack on one method under one protocol.

    Attributes:
        protocol, method, attack: names, as in results.
        fpr, tpr: float64 [P], points of the ROC of all pairs of model and record, thinned for
            logarithmic axes; FPR of at least one false positive, non-decreasing.
        non_members: number of pairs behind the FPR.
        edges: float64 [B + 1], edges of the histograms; the same for all methods.
        members, others: int64 [B], counts of members' and of non-members' scores in each bin; the
            outermost bins hold the scores beyond the edges.
        scores: float32 [R], scores of the sampled rows, larger = member; NaN where the pool lacks
            the model or the record had no shadow models.
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
    """Confidence and accuracy of a method's outputs for test data, over all its models.

    Attributes:
        method: its name.
        count: int64 [B], outputs in each bin of confidence; the bins are of equal width in 0..1.
        confidence: float64 [B], sum of their largest entries.
        right: float64 [B], number of correct labels among them.
    """

    method: str
    count: Int64
    confidence: Float64
    right: Float64


@dataclass(frozen=True, eq=False)
class Risk:
    """Success of the attacker's choice on each record, over the models.

    A record's success is the mean of two shares: the models trained on it for which the attack
    calls it a member, and the others for which it calls it a non-member; 0.5 is guessing.

    Attributes:
        protocol, method: names, as in results.
        models: number of models in the pool.
        counts: int64 [B], records by success, in bins of equal width in 0..1.
        expected: float64 [B], the same if the attack were as good at every record as at all.
        ids, labels: int64 [T], the records with the greatest success, falling.
        success: float64 [T], their success.
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
    """Sampled pairs of a model and a record, the same for all methods.

    Attributes:
        models: int64 [R], position of the model in the pool.
        ids, labels: int64 [R], id and true class of the record.
        members: bool [R], True if that model was trained on it.
        logits: undefended logits by recipe, float32 [R, K]; NaN where a recipe has fewer models.
    """

    models: Int64
    ids: Int64
    labels: Int64
    members: Bools
    logits: Mapping[str, Float32]


@dataclass(frozen=True)
class Origin:
    """When, by whom and of which file an audit was made; empty where it is not known.

    Attributes:
        date: day of the measurements, YYYY-MM-DD.
        auditor: name of the person or organisation.
        file: name of the audited file, without its folder.
        sha256: digest of the file, hexadecimal.
    """

    date: str = ""
    auditor: str = ""
    file: str = ""
    sha256: str = ""


@dataclass(frozen=True, eq=False, repr=False)
class Evidence:
    """The results of a run, with curves, histograms and samples where they were kept.

    Attributes:
        results: those of all protocols.
        attacks, reliability, risks: evidence of protocols over a pool; empty without one.
        rows: sampled rows; None without a pool.
        notes: further sentences, such as the attacks that could not be run and why.
        class_names: names of the classes in their order; empty where they are numbers.
        origin: date, auditor and digest of the file.

    Raises:
        InputError: without results.
    """

    results: tuple[Result, ...]
    attacks: tuple[AttackSample, ...] = ()
    reliability: tuple[Reliability, ...] = ()
    risks: tuple[Risk, ...] = ()
    rows: Rows | None = None
    notes: tuple[str, ...] = ()
    class_names: tuple[str, ...] = ()
    origin: Origin = Origin()

    def __post_init__(self) -> None:
        if not self.results:
            raise InputError("There are no results.", "Pass those of one run.")

    def attacks_on(self, protocol: str, method: str) -> list[AttackSample]:
        """Samples of a method's attacks under a protocol, in its order; empty if it was not run."""
        pair = protocol, method
        return [sample for sample in self.attacks if (sample.protocol, sample.method) == pair]

    def class_name(self, label: int) -> str:
        """Name of a class, or its number where there are no names."""
        return self.class_names[label] if label < len(self.class_names) else str(label)

    def __repr__(self) -> str:
        """Count the results and samples; the fields hold them."""
        return f"<Evidence: {len(self.results)} results, samples of {len(self.attacks)} attacks>"
