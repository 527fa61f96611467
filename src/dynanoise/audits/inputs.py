"""Inputs of an audit, checked, so that no exchanged column becomes a finding."""

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
"""Allowed distance of a row of probabilities from 1, for rounded and float16 ones."""


@dataclass(frozen=True, eq=False)
class AuditInputs:
    """Outputs of M models on N records, with membership. Made by `check_inputs`.

    Attributes:
        name: a name for the data.
        logits: float32 or float64 [M, N, K]; ln of probabilities where those were passed.
        labels: int64 [N], the true classes, 0..K-1.
        member: int8 [M, N]; 1 = trained on, 0 = not, -1 = unknown.
        test_logits: [M, T, K], outputs on records that no model was trained on; T = 0 without any.
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
        """M, the number of models."""
        return len(self.logits)

    def pool(self, seed: int = 0) -> Pool:
        """Make a pool, with half of the test data, drawn by the seed, as its reference set.

        Where several models come without test data, the records that none of them was trained on
        are the reference set: no model has them as a member, so they could not be scored anyway.

        Args:
            seed: seed of the pool and of the draw.

        Returns:
            The pool; reference set and test data may be empty.
        """
        count, tests = len(self.labels), len(self.test_labels)
        ids = np.arange(count + tests)
        use = self.member
        scored, reference = np.arange(count), np.zeros(0, dtype=np.int64)
        order = np.random.default_rng(derive(seed, "test halves")).permutation(tests)
        if not tests and self.models > 1:
            outside = np.flatnonzero((use == 0).all(axis=0))
            if len(outside) >= LEAST_POPULATION:
                scored, reference = np.setdiff1d(scored, outside), outside

        def select(rows: Int64, *, test: bool) -> Outputs:
            logits, labels = (
                (self.test_logits, self.test_labels) if test else (self.logits, self.labels)
            )
            member = np.zeros((self.models, len(rows)), dtype=np.int8) if test else use[:, rows]
            offset = count if test else 0
            return Outputs(logits[:, rows][:, :, None], labels[rows], ids[rows + offset], member)

        first, second = np.sort(order[: tests // 2]), np.sort(order[tests // 2 :])
        digest = hashlib.sha256(np.ascontiguousarray(use).tobytes())
        digest.update(f"{use.shape} {tests} {len(reference)} {seed}".encode())
        return Pool(
            records=select(scored, test=False),
            test=select(second, test=True),
            reference=select(first, test=True) if tests else select(reference, test=False),
            seed=seed,
            split=digest.hexdigest(),
        )


def check_inputs(
    name: str,
    *,
    labels: npt.ArrayLike | None = None,
    member: npt.ArrayLike | None = None,
    logits: npt.ArrayLike | None = None,
    probs: npt.ArrayLike | None = None,
    test_logits: npt.ArrayLike | None = None,
    test_probs: npt.ArrayLike | None = None,
    test_labels: npt.ArrayLike | None = None,
) -> AuditInputs:
    """Check the arrays of an audit, one by one and together.

    Args:
        name: a name for the data.
        labels: [N], the true classes, 0..K-1.
        member: [N], or [M, N] for M models; 1 or True = the model was trained on the record, 0 or
            False = it was not, -1 = unknown.
        logits: float16 to float64 [N, K], or [M, N, K] for M models.
        probs: the same as probabilities, instead of logits; rows sum to 1 within 0.01.
        test_logits: [T, K] or [M, T, K], on T records that no model was trained on.
        test_probs: the same as probabilities.
        test_labels: [T].

    Returns:
        The arrays in one form.

    Raises:
        InputError: if something is missing, passed twice, not finite, of a shape or range that does
            not fit, or looks exchanged with something else.
        TooFewRecordsError: if a model has fewer than 40 members or non-members.

    >>> rows = np.tile([[0.9, 0.1], [0.4, 0.6]], (40, 1))
    >>> inputs = check_inputs("made up", probs=rows, labels=[0, 1] * 40, member=[1, 0] * 40)
    >>> inputs.models, inputs.logits.shape, inputs.logits[0, 0].round(4).tolist()
    (1, (1, 80, 2), [-0.1054, -2.3026])
    """
    outputs = _check_outputs(logits, probs, "")
    if outputs is None:
        raise InputError(f"{name} holds neither logits nor probs.", "Give the models' outputs.")
    models, records, classes = outputs.shape
    if labels is None or member is None:
        raise InputError(
            f"{name} holds no {'labels' if labels is None else 'member'}.",
            "Give the true classes as labels, and the membership of every record as member.",
        )
    _check_not_exchanged(outputs, np.asarray(labels), np.asarray(member))
    truth = _check_labels(labels, records, classes, "labels")
    use = _check_member(member, models, records)
    test = _check_outputs(test_logits, test_probs, "test_")
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
            f"The test answers have shape {test.shape}, the others {outputs.shape}.",
            "Ask the same models about the test data, with the same classes.",
        )
        tested = _check_labels(test_labels, test.shape[1], classes, "test_labels")
    _check_enough(use)
    return AuditInputs(name, outputs, truth, use, test, tested)


def _check_outputs(logits: Any, probs: Any, prefix: str) -> Floats | None:
    """Logits [M, N, K] from logits or probabilities; None without either."""
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
    infinite = ~np.isfinite(rows)
    if infinite.any():
        where = tuple(int(i) for i in np.argwhere(infinite)[0])
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
        value = rows.min() if rows.min() < 0 else rows.max()
        raise InputError(
            f"{kind} hold {value}, which is not a probability.",
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


def _as_integers(values: npt.ArrayLike, name: str) -> npt.NDArray[Any]:
    """Integers, also from booleans and from floats without a fraction."""
    array = as_array(values, name)
    if array.dtype.kind == "f":
        fractional = ~np.isfinite(array) | (array != np.round(array))
        if fractional.any():
            where = tuple(int(i) for i in np.argwhere(fractional)[0])
            raise InputError(
                f"{name} hold {array[where]} at {list(where)}.",
                "Whole numbers belong there; is a column of probabilities in its place?",
            )
    return array.astype(np.int64)


def _check_labels(values: npt.ArrayLike, records: int, classes: int, name: str) -> Int64:
    labels = _as_integers(values, name)
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


def _check_member(values: npt.ArrayLike, models: int, records: int) -> Int8:
    member = _as_integers(values, "member")
    if member.shape == (records,) and models == 1:
        member = member[None]
    check(
        member.shape == (models, records),
        f"member has shape {member.shape} for {models} models and {records} records.",
        "Say of every model and record whether it was trained on it: [M, N], for one model [N].",
    )
    unexpected = np.setdiff1d(member, (-1, 0, 1))
    check(
        unexpected.size == 0,
        f"member holds {unexpected[0] if unexpected.size else None}.",
        "Use 1 for trained on, 0 for not trained on, -1 for unknown.",
    )
    return member.astype(np.int8)


def _check_not_exchanged(
    outputs: Floats, labels: npt.NDArray[Any], member: npt.NDArray[Any]
) -> None:
    """Refuse labels and membership that changed places: every number after that is nonsense."""
    if labels.shape != outputs.shape[1:2] or member.shape != labels.shape:
        return
    remedy = "Exchange the two."
    flags = bool(np.isin(labels, (0, 1)).all())
    if flags and not np.isin(member, (-1, 0, 1)).all():
        raise InputError(
            f"labels hold only 0 and 1, and member holds {np.max(member)}: "
            "labels and member look exchanged.",
            remedy,
        )
    predicted = outputs[0].argmax(axis=-1)
    right, other = (float(np.mean(predicted == values)) for values in (labels, member))
    if flags and other > right + 0.25:
        raise InputError(
            f"The model's answers agree with member in {other:.0%} of the records and with labels "
            f"in {right:.0%}: labels and member look exchanged.",
            remedy,
        )


def _check_enough(use: Int8) -> None:
    for value, kind, other in ((1, "members", "non-members"), (0, "non-members", "members")):
        counts = (use == value).sum(axis=1)
        model = int(counts.argmin())
        if counts[model] == 0:
            raise InputError(
                f"Model {model} has no {kind} among {use.shape[1]} records.",
                f"An audit compares both: all of them are {other} here, or unknown.",
            )
        if counts[model] < LEAST:
            raise TooFewRecordsError(
                f"Model {model} has {counts[model]} {kind} among {use.shape[1]} records.",
                f"Give at least {LEAST}; a few thousand say something about low error rates.",
            )
