"""ROC curves of membership scores; larger score = more likely a member."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.stats import rankdata

from dynanoise.core.errors import InputError, TooFewRecordsError
from dynanoise.core.numerics import Float64, as_array

RESOLVING_NON_MEMBERS = 10
"""False positives that an FPR must allow for the TPR there to be reported."""


def resolves(fpr: float, non_members: int) -> bool:
    """Test whether the number of non-members resolves an FPR.

    Args:
        fpr: in (0, 1].
        non_members: how many were scored.

    Returns:
        True if the FPR allows at least `RESOLVING_NON_MEMBERS` false positives.

    >>> resolves(0.01, 1000), resolves(0.001, 1000)
    (True, False)
    """
    return non_members * fpr >= RESOLVING_NON_MEMBERS - 1e-9


def check_resolved(fpr: float, non_members: int, scored: str = "") -> None:
    """Refuse an FPR that too few non-members resolve.

    Args:
        fpr: in (0, 1].
        non_members: how many were scored.
        scored: a word for messages that goes before "non-members", such as "scored ".

    Raises:
        TooFewRecordsError: if the FPR allows fewer than `RESOLVING_NON_MEMBERS` false positives.
    """
    if not resolves(fpr, non_members):
        needed = int(np.ceil(RESOLVING_NON_MEMBERS / fpr - 1e-9))
        raise TooFewRecordsError(
            f"TPR at {fpr:g} FPR is not resolved by {non_members} {scored}non-members.",
            f"Score at least {needed} non-members, or ask for a larger FPR.",
        )


@dataclass(frozen=True, eq=False)
class Roc:
    """Points of a ROC curve, from (0, 0) to (1, 1).

    Attributes:
        fpr: float64 [P], non-decreasing; equal scores are one step.
        tpr: float64 [P], likewise.
        thresholds: float64 [P]; point i calls every score >= thresholds[i] a member.
        members: how many members were scored.
        non_members: how many non-members were scored.
    """

    fpr: Float64
    tpr: Float64
    thresholds: Float64
    members: int
    non_members: int

    @property
    def auc(self) -> float:
        """Area under the curve: P(member's score > non-member's) + P(equal) / 2."""
        return float(np.trapezoid(self.tpr, self.fpr))

    def tpr_at(self, fpr: float) -> float:
        """Compute the greatest TPR of a threshold whose FPR is at most ``fpr``.

        Args:
            fpr: in (0, 1].

        Returns:
            In [0, 1].

        Raises:
            InputError: if ``fpr`` is not in (0, 1].
            TooFewRecordsError: if the FPR allows fewer than 10 false positives.
        """
        if not 0 < fpr <= 1:
            raise InputError(f"The FPR is {fpr}.", "Use a rate above 0 and up to 1.")
        check_resolved(fpr, self.non_members)
        return float(self.tpr[self.fpr <= fpr + 1e-12].max())


def auc_error(scores: npt.ArrayLike, members: npt.ArrayLike) -> float:
    """Compute the standard error of the AUC over the records of one model.

    DeLong, DeLong & Clarke-Pearson (Biometrics 44, 1988), by midranks.

    Args:
        scores: float [N], larger = more likely a member.
        members: [N], the true membership, bool or 0/1, two of each kind at least.

    Returns:
        A number >= 0. It says nothing about other models of the same training.

    >>> round(auc_error([3, 2, 2, 1, 1], [1, 1, 0, 1, 0]), 4)
    0.2764
    """
    values, truth = np.asarray(scores, dtype=np.float64), as_membership(members)
    ranks, count = rankdata(values), truth.sum()
    ahead = (ranks[truth] - rankdata(values[truth])) / (len(truth) - count)
    behind = (ranks[~truth] - rankdata(values[~truth])) / count
    variance = ahead.var(ddof=1) / len(ahead) + behind.var(ddof=1) / len(behind)
    return float(np.sqrt(variance))


def as_membership(members: npt.ArrayLike) -> npt.NDArray[np.bool_]:
    """Convert membership to bool.

    Args:
        members: booleans, or 0 and 1, of any shape.

    Returns:
        bool array of the same shape, True = member.

    Raises:
        InputError: for any other value, such as the -1 of hidden pairs.

    >>> as_membership([1, 0]).tolist()
    [True, False]
    """
    array = as_array(members, "membership")
    unexpected = array[~np.isin(array, (0, 1))]
    if unexpected.size:
        raise InputError(
            f"Membership holds {unexpected.flat[0]!s}.",
            "Use True or 1 for members, False or 0 for non-members, and leave out hidden pairs.",
        )
    return array.astype(bool)


def roc(scores: npt.ArrayLike, members: npt.ArrayLike) -> Roc:
    """Compute the ROC curve of membership scores.

    Args:
        scores: [N], larger = more likely a member.
        members: [N], the true membership, bool or 0/1.

    Returns:
        The curve, with all N scores as thresholds; equal scores are one step.

    Raises:
        InputError: for NaN, other shapes or values, or if only one kind was scored.

    >>> curve = roc([9, 9, 5, 5], [1, 0, 1, 0])  # ties are one step
    >>> curve.fpr.tolist(), curve.tpr.tolist(), curve.auc
    ([0.0, 0.5, 1.0], [0.0, 0.5, 1.0], 0.5)
    """
    values = as_array(scores, "scores").astype(np.float64)
    truth = as_membership(members)
    if values.ndim != 1 or values.shape != truth.shape or np.isnan(values).any():
        raise InputError(
            f"Scores have shape {values.shape} with {int(np.isnan(values).sum())} NaN, "
            f"membership has shape {truth.shape}.",
            "Pass two arrays [N] without NaN.",
        )
    positives, negatives = int(truth.sum()), int((~truth).sum())
    if positives == 0 or negatives == 0:
        raise InputError(
            f"There are {positives} members and {negatives} non-members.",
            "A ROC needs both.",
        )
    order = np.argsort(-values, kind="stable")
    ranked, truth = values[order], truth[order]
    last_of_equals = np.append(ranked[1:] != ranked[:-1], True)
    hits = np.cumsum(truth)[last_of_equals]
    false_alarms = np.cumsum(~truth)[last_of_equals]
    return Roc(
        fpr=np.append(0.0, false_alarms / negatives),
        tpr=np.append(0.0, hits / positives),
        thresholds=np.append(np.inf, ranked[last_of_equals]),
        members=positives,
        non_members=negatives,
    )
