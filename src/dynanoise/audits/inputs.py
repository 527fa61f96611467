"""What a user gives for an audit: checked, so that no exchanged column becomes a finding."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from dynanoise.core import numerics
from dynanoise.core.errors import InputError, TooFewRecordsError, check
from dynanoise.core.numerics import Floats, Int8, Int64, as_array
from dynanoise.core.outputs import Outputs, Pool
from dynanoise.core.seeding import derive
from dynanoise.evaluation.feasibility import LEAST_POPULATION

LEAST = 40
"""Members, and non-members, that each model needs: half of them may be known to the attacker."""

SUMS_TO_ONE = 0.01
"""How far a row of probabilities may be from 1, so that rounded and float16 ones are taken."""


@dataclass(frozen=True, eq=False)
class Given:
    """What M models said about N records. Made by `given_of`.

    Attributes:
        name: what the data are called.
        logits: float32 or float64 [M, N, K]; ln of probabilities where those were given.
        labels: int64 [N], 0..K-1.
        member: int8 [M, N]; 1 = trained on, 0 = not, -1 = unknown.
        test_logits: [M, T, K], T = 0 where none were given: of records no model was trained on.
        test_labels: int64 [T].
    """

    name: str
    logits: Floats
    labels: Int64
    member: Int8
    test_logits: Floats
    test_labels: Int64

    @property
    def models(self) -> int:
        """M."""
        return len(self.logits)

    def pool(self, seed: int = 0) -> Pool:
        """The same as a pool: half of the test data are its reference, drawn by the seed.

        Where several models come without test data, the records that none of them was trained on
        are the reference: no model has them as a member, so they could not be scored anyway.
        """
        count, tests = len(self.labels), len(self.test_labels)
        ids = np.arange(count + tests)
        use = self.member
        kept, outside = np.arange(count), np.zeros(0, dtype=np.int64)
        order = np.random.default_rng(derive(seed, "test halves")).permutation(tests)
        if not tests and self.models > 1:
            nobody = np.flatnonzero((use == 0).all(axis=0))
            if len(nobody) >= LEAST_POPULATION:
                kept, outside = np.setdiff1d(kept, nobody), nobody

        def of(rows: Int64, *, test: bool) -> Outputs:
            logits, labels = (
                (self.test_logits, self.test_labels) if test else (self.logits, self.labels)
            )
            known = np.zeros((self.models, len(rows)), dtype=np.int8) if test else use[:, rows]
            offset = count if test else 0
            return Outputs(logits[:, rows][:, :, None], labels[rows], ids[rows + offset], known)

        reference, test = np.sort(order[: tests // 2]), np.sort(order[tests // 2 :])
        digest = hashlib.sha256(np.ascontiguousarray(use).tobytes())
        digest.update(f"{use.shape} {tests} {len(outside)} {seed}".encode())
        return Pool(
            examples=of(kept, test=False),
            test=of(test, test=True),
            reference=of(reference, test=True) if tests else of(outside, test=False),
            seed=seed,
            split=digest.hexdigest(),
        )


def given_of(
    name: str,
    *,
    labels: npt.ArrayLike | None = None,
    member: npt.ArrayLike | None = None,
    logits: npt.ArrayLike | None = None,
    probs: npt.ArrayLike | None = None,
    test_logits: npt.ArrayLike | None = None,
    test_probs: npt.ArrayLike | None = None,
    test_labels: npt.ArrayLike | None = None,
) -> Given:
    """Checks what belongs together.

    Args:
        name: what the data are called.
        labels: [N], the true classes, 0..K-1.
        member: [N], or [M, N] for M models; 1 or True = the model was trained on the record, 0 or
            False = it was not, -1 = unknown.
        logits: float16 to float64 [N, K], or [M, N, K] for M models.
        probs: the same as probabilities, instead of logits; rows sum to 1 within 0.01.
        test_logits: likewise of T records that no model was trained on.
        test_probs: the same as probabilities.
        test_labels: [T].

    Raises:
        InputError: if something is missing, given twice, not finite, of a shape or range that does
            not fit, or looks exchanged with something else.
        TooFewRecordsError: if a model has fewer than 40 members or non-members.

    >>> rows = np.tile([[0.9, 0.1], [0.4, 0.6]], (40, 1))
    >>> given = given_of("made up", probs=rows, labels=[0, 1] * 40, member=[1, 0] * 40)
    >>> given.models, given.logits.shape, given.logits[0, 0].round(4).tolist()
    (1, (1, 80, 2), [-0.1054, -2.3026])
    """
    said = _said(logits, probs, "")
    if said is None:
        raise InputError(
            f"{name} holds neither logits nor probs.", "Give what the models answered."
        )
    models, records, classes = said.shape
    if labels is None or member is None:
        raise InputError(
            f"{name} holds no {'labels' if labels is None else 'member'}.",
            "Give the true classes as labels, and as member who was trained on what.",
        )
    _not_exchanged(said, np.asarray(labels), np.asarray(member))
    truth = _labels(labels, records, classes, "labels")
    use = _member(member, models, records)
    test = _said(test_logits, test_probs, "test_")
    if (test is None) != (test_labels is None):
        raise InputError(
            "test_labels and test answers come one without the other.",
            "Give test_logits or test_probs with test_labels, or none of them.",
        )
    if test is None or test_labels is None:
        test, tested = np.zeros((models, 0, classes)), np.zeros(0, dtype=np.int64)
    else:
        check(
            (len(test), test.shape[2]) == (models, classes),
            f"The test answers have shape {test.shape}, the others {said.shape}.",
            "Ask the same models about the test data, with the same classes.",
        )
        tested = _labels(test_labels, test.shape[1], classes, "test_labels")
    _enough(use)
    return Given(name, said, truth, use, test, tested)


def _said(logits: Any, probs: Any, prefix: str) -> Floats | None:
    """Logits [M, N, K] of whichever was given."""
    if logits is None and probs is None:
        return None
    if logits is not None and probs is not None:
        raise InputError(f"Both {prefix}logits and {prefix}probs were given.", "Leave one out.")
    kind = f"{prefix}{'logits' if probs is None else 'probs'}"
    rows = as_array(logits if probs is None else probs, kind)
    if rows.dtype.kind != "f" or rows.dtype.itemsize > 8:
        raise InputError(f"{kind} have dtype {rows.dtype}.", "Give float16, float32 or float64.")
    shape, rows = rows.shape, rows[None] if rows.ndim == 2 else rows
    if rows.ndim != 3 or rows.shape[2] < 2:
        raise InputError(
            f"{kind} have shape {shape}.",
            "Give [N, K], or [M, N, K] for M models, with K >= 2 classes.",
        )
    odd = ~np.isfinite(rows)
    if odd.any():
        where = tuple(int(i) for i in np.argwhere(odd)[0])
        raise InputError(
            f"{kind} hold {rows[where]} for model {where[0]}, record {where[1]}, class {where[2]}.",
            "Give finite numbers, and leave out records that were not answered.",
        )
    sums = rows.sum(axis=-1, dtype=np.float64)
    off = np.abs(sums - 1)
    if probs is None:
        if rows.size and rows.min() >= 0 and off.max() <= SUMS_TO_ONE:
            raise InputError(
                f"Every row of {kind} is positive and sums to 1: these are probabilities.",
                f"Call them {prefix}probs.",
            )
        return rows if rows.dtype.itemsize >= 4 else rows.astype(np.float32)
    if rows.size and (rows.min() < 0 or rows.max() > 1 + SUMS_TO_ONE):
        odd_one = rows.min() if rows.min() < 0 else rows.max()
        raise InputError(
            f"{kind} hold {odd_one}, which is no probability.",
            f"Give probabilities, or call them {prefix}logits; a label among p0 .. p{{K-1}} "
            "looks like this, too.",
        )
    if off.size and off.max() > SUMS_TO_ONE:
        model, record = (int(i) for i in np.unravel_index(int(off.argmax()), off.shape))
        raise InputError(
            f"{kind} of model {model}, record {record} sum to {sums[model, record]:.4g}.",
            "Probabilities of all K classes sum to 1; is a column missing or exchanged?",
        )
    return numerics.log_probabilities(rows)


def _whole(values: npt.ArrayLike, name: str) -> npt.NDArray[Any]:
    """Integers, also from booleans and from floats without a fraction."""
    array = as_array(values, name)
    odd = ~np.isfinite(array) | (array != np.round(array)) if array.dtype.kind == "f" else None
    if odd is not None and odd.any():
        where = tuple(int(i) for i in np.argwhere(odd)[0])
        raise InputError(
            f"{name} hold {array[where]} at {list(where)}.",
            "Whole numbers belong there; is a column of probabilities in its place?",
        )
    return array.astype(np.int64)


def _labels(values: npt.ArrayLike, records: int, classes: int, name: str) -> Int64:
    labels = _whole(values, name)
    check(
        labels.shape == (records,),
        f"{name} have shape {labels.shape} for {records} records.",
        "Give one label a record; models that answered other records cannot be audited together.",
    )
    if records and labels.min() == 1 and labels.max() == classes:
        raise InputError(
            f"{name} go from 1 to {classes} with {classes} classes.",
            "Count classes from 0: subtract 1.",
        )
    outside = labels[(labels < 0) | (labels >= classes)]
    check(
        outside.size == 0,
        f"{name} hold {outside[0] if outside.size else None} with {classes} classes.",
        f"Labels count from 0 to {classes - 1}.",
    )
    return labels


def _member(values: npt.ArrayLike, models: int, records: int) -> Int8:
    member = _whole(values, "member")
    if member.shape == (records,) and models == 1:
        member = member[None]
    check(
        member.shape == (models, records),
        f"member has shape {member.shape} for {models} models and {records} records.",
        "Say of every model and record whether it was trained on it: [M, N], for one model [N].",
    )
    odd = np.setdiff1d(member, (-1, 0, 1))
    check(
        odd.size == 0,
        f"member holds {odd[0] if odd.size else None}.",
        "Use 1 for trained on, 0 for not trained on, -1 for unknown.",
    )
    return member.astype(np.int8)


def _not_exchanged(said: Floats, labels: npt.NDArray[Any], member: npt.NDArray[Any]) -> None:
    """Labels and membership change places easily, and every number that follows is nonsense."""
    if labels.shape != said.shape[1:2] or member.shape != labels.shape:
        return
    remedy = "Exchange the two."
    flags = bool(np.isin(labels, (0, 1)).all())
    if flags and not np.isin(member, (-1, 0, 1)).all():
        raise InputError(
            f"labels hold only 0 and 1, and member holds {np.max(member)}: "
            "labels and member look exchanged.",
            remedy,
        )
    preferred = said[0].argmax(axis=-1)
    right, other = (float(np.mean(preferred == values)) for values in (labels, member))
    if flags and other > right + 0.25:
        raise InputError(
            f"The model's answers agree with member in {other:.0%} of the records and with labels "
            f"in {right:.0%}: labels and member look exchanged.",
            remedy,
        )


def _enough(use: Int8) -> None:
    for value, kind in ((1, "members"), (0, "non-members")):
        counts = (use == value).sum(axis=1)
        model = int(counts.argmin())
        if counts[model] == 0:
            everybody = "non-members" if value else "members"
            raise InputError(
                f"Model {model} has no {kind} among {use.shape[1]} records.",
                f"An audit compares both: all of them are {everybody} here, or unknown.",
            )
        if counts[model] < LEAST:
            raise TooFewRecordsError(
                f"Model {model} has {counts[model]} {kind} among {use.shape[1]} records.",
                f"Give at least {LEAST}; a few thousand say something about low error rates.",
            )
