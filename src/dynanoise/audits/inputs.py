"""Inputs of an audit, checked, so that no exchanged column becomes a finding."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.special import ndtri

from dynanoise.audits.columns import Columns
from dynanoise.audits.conditions import Condition
from dynanoise.core.arrays.labels import check_labels, check_membership, class_numbers
from dynanoise.core.arrays.predictions import check_axes, check_outputs, log_outputs
from dynanoise.core.errors import InputError, TooFewRecordsError, check
from dynanoise.core.membership import shadows_per_target
from dynanoise.core.numerics import Floats, Int8, Int64, log_softmax
from dynanoise.core.outputs import Outputs, Pool
from dynanoise.core.queries import QueryFunction
from dynanoise.core.result import Metric
from dynanoise.core.seeding import derive
from dynanoise.evaluation.feasibility import LEAST_POPULATION
from dynanoise.metrics.roc import auc_error, roc
from dynanoise.report.numbers import with_interval
from dynanoise.report.wording.warnings import WARNING

LEAST = 40
"""Members, and non-members, that each model needs: half of them may be known to the attacker."""

FAR_BELOW_CHANCE = 0.4
"""AUC of the loss attack below which membership looks inverted."""


@dataclass(frozen=True, eq=False, repr=False)
class AuditInputs:
    """Outputs of M models on N records, with membership. Made by `check_inputs`.

    Attributes:
        name: a name for the data.
        logits: float32 or float64 [M, N, K]; ln of probabilities where those were passed.
        labels: int64 [N], the true classes, 0..K-1.
        member: int8 [M, N]; 1 = trained on, 0 = not, -1 = unknown.
        test_logits: [M, T, K], outputs on records that no model was trained on; T = 0 without any.
        test_labels: int64 [T].
        notes: sentences for the report on how the outputs were made.
        kind: kind of the outputs as passed, "logits" or "probabilities".
        columns: further values of the records.
        class_names: names of the classes in their order; empty where labels are numbers.
        query: the model, from inputs [n, ...] to logits [n, K]; None for outputs alone.
    """

    name: str
    logits: Floats
    labels: Int64
    member: Int8
    test_logits: Floats
    test_labels: Int64
    notes: tuple[str, ...] = ()
    kind: str = "logits"
    columns: Columns = field(default_factory=Columns)
    class_names: tuple[str, ...] = ()
    query: QueryFunction | None = None

    def __repr__(self) -> str:
        """Name the shape of the outputs; the fields hold them."""
        return f"<AuditInputs {self.name}: {self.kind} of shape {self.logits.shape}>"

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

        Raises:
            TooFewRecordsError: if there are several models, and too few of them with and without a
                record to be each other's shadow models.
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

        if self.models > 1:
            _check_shadows(use[:, scored])

        def select(rows: Int64, *, test: bool) -> Outputs:
            logits, labels = (
                (self.test_logits, self.test_labels) if test else (self.logits, self.labels)
            )
            member = np.zeros((self.models, len(rows)), dtype=np.int8) if test else use[:, rows]
            offset = count if test else 0
            # Nothing is copied where no record is left out.
            kept = logits if len(rows) == logits.shape[1] else logits[:, rows]
            return Outputs(kept[:, :, None], labels[rows], ids[rows + offset], member)

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
    class_names: Any = (),
    label_name: Any = "labels",
    notes: tuple[str, ...] = (),
) -> AuditInputs:
    """Check the arrays of an audit, one by one and together.

    Args:
        name: a name for the data.
        labels: [N], the true classes: 0..K-1, or anything `core.arrays.labels.class_numbers` takes.
        member: [N], or [M, N] for M models; 1 or True = the model was trained on the record, 0 or
            False = it was not, -1 = unknown.
        logits: float16 to float64 [N, K], or [M, N, K] for M models.
        probs: the same as probabilities, instead of logits; rows sum to 1 within 0.01.
        test_logits: [T, K] or [M, T, K], on T records that no model was trained on.
        test_probs: the same as probabilities.
        test_labels: [T].
        class_names: the classes in the model's order, where it is known; labels may then be names.
        label_name: name of the labels in messages.
        notes: sentences for the report on how the outputs were made.

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
    _check_not_transposed(logits, probs, labels)
    outputs = _log_outputs(logits, probs, "")
    if outputs is None:
        raise InputError(f"{name} holds neither logits nor probs.", "Give the models' outputs.")
    models, records, classes = outputs.shape
    check(models > 0, "There are outputs of no model.", "Give those of at least one.")
    if labels is None or member is None:
        raise InputError(
            f"{name} holds no {'labels' if labels is None else 'member'}.",
            "Give the true classes as labels, and the membership of every record as member.",
        )
    kind = "logits" if probs is None else "probs"
    raw = check_labels(labels, label_name, classes=classes)
    pairs = np.shape(member)
    others = [size for size in pairs if size != len(raw)]  # also where member is [N, M]
    several = len(pairs) == 2
    expected = 1 if not several else others[0] if len(others) == 1 else None
    check_axes(outputs, len(raw), kind, label_name, expected)
    _check_not_exchanged(raw, member)
    use = check_membership(member, models, records)
    test = _log_outputs(test_logits, test_probs, "test_")
    if (test is None) != (test_labels is None):
        raise InputError(
            "test_labels and test outputs come one without the other.",
            "Give test_logits or test_probs with test_labels, or none of them.",
        )
    test_raw = raw[:0]
    if test is None:
        test = np.zeros((models, 0, classes))
    else:
        test_raw = check_labels(test_labels, "test_labels", classes=classes)
        check(
            (len(test), test.shape[2]) == (models, classes),
            f"The test outputs have shape {test.shape}, the others {outputs.shape}.",
            "Ask the same models about the test data, with the same classes.",
        )
        check_axes(test, len(test_raw), f"test_{kind}", "test_labels")
    check(
        len(class_names) in (0, classes),
        f"There are {len(class_names)} names of classes and {classes} classes.",
        "Name each class once, in the model's order, or none.",
    )
    truth, tested, names = _number(raw, test_raw, classes, class_names, label_name)
    if models == 1:
        _exchange_warning(outputs[0], truth, use[0], refuse=True)
    check_membership_counts(use)
    as_passed = "logits" if probs is None else "probabilities"
    return AuditInputs(name, outputs, truth, use, test, tested, notes, as_passed, class_names=names)


def _check_not_transposed(logits: Any, probs: Any, labels: Any) -> None:
    """Refuse outputs [K, N] by their shape, before their values are judged."""
    kind, values = ("probs", probs) if logits is None else ("logits", logits)
    if values is None or np.ndim(values) != 2 or np.ndim(labels) != 1:
        return
    if np.shape(values)[0] != len(labels) == np.shape(values)[1]:
        check_axes(check_outputs(values, kind), len(labels), kind)


def _log_outputs(logits: Any, probs: Any, prefix: str) -> Floats | None:
    """Logits [M, N, K] from logits or probabilities; None without either."""
    if logits is None and probs is None:
        return None
    if logits is not None and probs is not None:
        raise InputError(f"Both {prefix}logits and {prefix}probs were given.", "Leave one out.")
    if probs is None:
        return log_outputs(logits, f"{prefix}logits", probabilities=False)
    return log_outputs(probs, f"{prefix}probs", probabilities=True)


def _number(
    labels: npt.NDArray[Any],
    test_labels: npt.NDArray[Any],
    classes: int,
    names: tuple[str, ...],
    name: str,
) -> tuple[Int64, Int64, tuple[str, ...]]:
    """Class numbers of labels and test labels, whose texts name the same classes; the names."""
    if not names and labels.dtype.kind == test_labels.dtype.kind == "U":
        together = np.concatenate([labels, test_labels])
        names = class_numbers(together, name, classes=classes)[1]
    numbers, texts = class_numbers(labels, name, classes=classes, names=names)
    tested = np.zeros(0, dtype=np.int64)
    if len(test_labels):
        tested = class_numbers(test_labels, "test_labels", classes=classes, names=names)[0]
    return numbers, tested, tuple(map(str, texts))


def _check_not_exchanged(labels: npt.NDArray[Any], member: Any) -> None:
    """Refuse labels of which membership, and membership of which labels can be made only."""
    values = np.asarray(member)
    if labels.dtype.kind not in "biuf" or values.dtype.kind not in "biuf":
        return
    if values.shape == labels.shape and np.isin(labels, (0, 1)).all():
        odd = values[~np.isin(values, (-1, 0, 1))]
        if odd.size and (odd == np.round(odd)).all():
            raise InputError(
                f"labels hold only 0 and 1, and member holds {odd.max()}: "
                "labels and member look exchanged.",
                "Exchange the two.",
            )


def membership_warnings(outputs: Outputs) -> tuple[str, ...]:
    """Warn of labels and membership that are probably not what they are called.

    Args:
        outputs: on the records that are audited, M models.

    Returns:
        Sentences that begin with "WARNING: ", if predictions agree with membership better than with
        labels, or with labels no better than by guessing, or members have higher losses than
        non-members.
    """
    exchanged: tuple[str, ...] = ()
    if outputs.models == 1:
        logits, use = outputs.logits[0, :, 0], outputs.use[0]
        exchanged = _exchange_warning(logits, outputs.labels, use, refuse=False)
    of_labels = exchanged or _unrelated_labels(outputs)
    return tuple(WARNING + text for text in (*of_labels, *inverted_membership(outputs)))


def _unrelated_labels(outputs: Outputs) -> tuple[str, ...]:
    """Warn if the models' probabilities of the labels are not above those by chance.

    Probabilities of a class are compared with their mean over the records, so that shares of
    classes do not count.
    """
    probs = np.zeros((len(outputs.labels), outputs.classes))
    for logits in outputs.logits[:, :, 0]:  # one at a time: all in float64 are the largest arrays
        probs += np.exp(log_softmax(logits))
    probs /= outputs.models
    above = (probs - probs.mean(axis=0))[np.arange(len(probs)), outputs.labels]
    if above.mean() > 2 * above.std() / np.sqrt(len(above)):
        return ()
    if np.ptp(outputs.labels) == 0:  # all probabilities of a class have their own mean
        return ()
    agreeing = (outputs.logits[:, :, 0].argmax(axis=-1) == outputs.labels).mean()
    return (
        f"The outputs agree with the labels for {agreeing:.0%} of the records, no more than "
        f"guessing would ({probs.shape[1]} classes). Are labels and outputs in the same order?",
    )


def inverted_membership(outputs: Outputs) -> tuple[str, ...]:
    """Warn if the loss attack is far below chance, which inverted membership explains.

    Args:
        outputs: on the records that are audited, M models.

    Returns:
        A sentence if the whole 95% interval of the mean AUC over the models is below 0.4, or ().
    """
    auc = _loss_attack(outputs)
    if auc.high is None or auc.high >= FAR_BELOW_CHANCE:
        return ()
    return (
        f"Members have higher losses than non-members: AUC {with_interval(auc)} by the loss "
        "attack, far below 0.5. If member is 1 for the records outside of the training data, pass "
        "1 - member; otherwise draw members and non-members alike.",
    )


def headline(outputs: Outputs) -> tuple[str, ...]:
    """Write the success of the loss attack on one model, the number that the web page shows.

    Args:
        outputs: on the records that are audited.

    Returns:
        A sentence; () for several models, and where membership looks inverted.
    """
    if outputs.models > 1 or inverted_membership(outputs):
        return ()
    auc = _loss_attack(outputs)
    return (
        f"By the loss attack alone: AUC {with_interval(auc)} on all "
        f"{int((outputs.use >= 0).sum()):,} records of known membership.",
    )


def _loss_attack(outputs: Outputs) -> Metric:
    """The mean AUC of the loss attack over the models, and its interval within a model."""
    areas, errors = [], []
    for logits, use in zip(outputs.logits[:, :, 0], outputs.use, strict=True):
        scored = use >= 0
        log_probs = log_softmax(logits[scored])
        scores = log_probs[np.arange(len(log_probs)), outputs.labels[scored]]
        areas.append(roc(scores, use[scored] == 1).auc)
        errors.append(auc_error(scores, use[scored] == 1))
    area, error = float(np.mean(areas)), float(np.sqrt(np.mean(np.square(errors))))
    half = ndtri(0.975) * error
    return Metric(area, max(0.0, area - half), min(1.0, area + half))


def check_conditions(conditions: Sequence[Condition], warnings: Sequence[str]) -> None:
    """Refuse conditions of failure where inputs are doubtful: they could pass by mistake.

    Args:
        conditions: those of an audit, which may have none.
        warnings: those of `membership_warnings` and `columns.overlap_warnings`.

    Raises:
        InputError: if there are conditions and a sentence that begins with "WARNING: ".
    """
    for sentence in warnings if conditions else ():
        if not sentence.startswith(WARNING):
            continue
        problem, _, remedy = sentence.removeprefix(WARNING).partition(". ")
        raise InputError(f"{problem}.", f"{remedy} Without --fail-if the audit goes on.")


def _models(count: int) -> str:
    return f"{count} model{'' if count == 1 else 's'}"


def _check_shadows(use: Int8) -> None:
    """Check that all models can have shadow models that can be targets themselves.

    Args:
        use: int8 [M, N].

    Raises:
        TooFewRecordsError: if fewer than two in- and two out-models are left.
    """
    try:
        if shadows_per_target(use) >= 2:
            return
    except TooFewRecordsError:
        pass
    outside, inside = ((use == value).sum(axis=0) for value in (0, 1))
    alike = np.ptp(inside) == np.ptp(outside) == 0
    counts = (
        f"Each record has {_models(inside[0])} trained on it and {outside[0]} not"
        if alike
        else f"The records have {inside.min()} to {_models(inside.max())} trained on them and "
        f"{outside.min()} to {outside.max()} not"
    )
    folds = alike and min(inside[0], outside[0]) == 1
    raise TooFewRecordsError(
        f"{counts}{', as in cross-validation' if folds else ''}: with one model as the target, "
        "most records need two of both among the others.",
        "Audit one model at a time, logits[m] with member[m]; or use more models, each trained on "
        "a random half of the records.",
    )


def _exchange_warning(
    logits: Floats, labels: Int64, member: Int8, *, refuse: bool
) -> tuple[str, ...]:
    """Compare predictions with labels and with membership, which may have changed places.

    A model that predicts the true class knows the labels and not the membership. Both are compared
    by balanced agreement, the mean over the two values of the share of records with that value
    whose prediction is the same: shares of classes and of members do not move it.

    Args:
        logits: [N, K] of one model.
        labels: [N].
        member: [N].
        refuse: True raises an InputError if predictions agree with membership far better than by
            chance, and with labels hardly better.

    Returns:
        A warning if they agree with membership better, or ().
    """
    if not np.isin(labels, (0, 1)).all():
        return ()
    predicted, scored = logits.argmax(axis=-1), member >= 0
    right, right_error = _balanced_agreement(predicted, labels)
    other, other_error = _balanced_agreement(predicted[scored], member[scored])
    if other <= right + 0.25 or other - right < 4 * np.hypot(right_error, other_error):
        return ()
    problem = (
        f"The model's predictions agree with member in {other:.0%} of the records, both values "
        f"counted alike, and with labels in {right:.0%}: labels and member look exchanged."
    )
    if refuse and right < 0.6:
        raise InputError(problem, "Exchange the two.")
    return (f"{problem} Exchange the two if they are.",)


def _balanced_agreement(predicted: Int64, flags: npt.NDArray[Any]) -> tuple[float, float]:
    """Mean of the shares of zeros predicted as 0 and of ones predicted as 1; its standard error."""
    shares, variances = [], []
    for value in (0, 1):
        hits = predicted[flags == value] == value
        share = float(hits.mean()) if len(hits) else 0.5
        shares.append(share)
        variances.append(share * (1 - share) / len(hits) if len(hits) else 0.25)
    return float(np.mean(shares)), float(np.sqrt(np.sum(variances)) / 2)


def check_membership_counts(use: Int8) -> None:
    """Check that every model has enough members and non-members.

    Args:
        use: int8 [M, N]; 1 = member, 0 = not, -1 = unknown.

    Raises:
        InputError: if a model has no member or no non-member.
        TooFewRecordsError: if it has fewer than 40 of a kind.
    """
    for value, kind, other in ((1, "members", "non-members"), (0, "non-members", "members")):
        counts = (use == value).sum(axis=1)
        model = int(counts.argmin())
        if counts[model] == 0:
            unknown = int((use[model] < 0).sum())
            coded = f", or unknown: {unknown} are -1, and {kind} are {value}." if unknown else "."
            raise InputError(
                f"Model {model} has no {kind} among {use.shape[1]} records.",
                f"An audit compares both: all of them are {other} here{coded}",
            )
        if counts[model] < LEAST:
            raise TooFewRecordsError(
                f"Model {model} has {counts[model]} {kind} among {use.shape[1]} records.",
                f"Give at least {LEAST}; a few thousand say something about low error rates.",
            )
