"""Models trained on random halves of the records, so that each is attacked with the others."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import count
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from dynanoise.audits.audit_report import AuditReport
from dynanoise.audits.columns import Columns
from dynanoise.audits.inputs import LEAST, check_inputs
from dynanoise.audits.pool_audit import AuditPlan, audit_pool, count_steps, with_inputs
from dynanoise.core.arrays.groups import as_column
from dynanoise.core.arrays.labels import check_labels
from dynanoise.core.errors import InputError, TooFewRecordsError
from dynanoise.core.numerics import Bools, Float64, Int64
from dynanoise.core.outputs import Outputs, Pool
from dynanoise.core.queries import QueryFunction
from dynanoise.core.seeding import derive
from dynanoise.evaluation.chosen_inputs import ModelFunctions
from dynanoise.evaluation.provenance import Provenance
from dynanoise.integrations.holdout import check_classes, sliceable
from dynanoise.probing.paths import input_space
from dynanoise.report.progress import Steps

HELD_OUT = 0.3
"""Share of records that no model is trained on: half for the reference set, half for test."""

LEAST_OF_CLASS = 8
"""Records of each class that models may be trained on: a half of fewer often has none of them."""


class Records(NamedTuple):
    """Inputs of a classifier and their classes.

    Attributes:
        inputs: in a form that rows can be taken from.
        labels: [N], as the user gave them.
        numbers: [N], the same as positions in ``classes``.
        classes: [K], in sorted order.
        columns: further values of the records.
    """

    inputs: Any
    labels: Any
    numbers: Int64
    classes: npt.NDArray[Any]
    columns: Columns = Columns()

    def rarest(self, rows: Int64) -> tuple[int, str]:
        """Count the records of the rarest class among some; and its name in messages."""
        counts = np.bincount(self.numbers[rows], minlength=len(self.classes))
        return int(counts.min()), repr(self.classes.tolist()[counts.argmin()])


@dataclass(frozen=True, eq=False)
class Halves:
    """Records of each model of an audit. Made by `draw_halves`.

    Attributes:
        rows: int64 [n], positions of the records that models may be trained on.
        test: int64 [t], positions of the records that no model is trained on.
        member: bool [M, n], True where a model is trained on the record.
    """

    rows: Int64
    test: Int64
    member: Bools

    @property
    def models(self) -> int:
        """M, the number of models."""
        return len(self.member)

    @property
    def queried(self) -> Int64:
        """Positions of all records in the order in which models are queried, [n + t]."""
        queried: Int64 = np.concatenate([self.rows, self.test])
        return queried

    def training(self, model: int) -> Int64:
        """Positions of the records that a model is trained on."""
        training: Int64 = self.rows[self.member[model]]
        return training

    def measured(self, held_out: bool) -> Bools:
        """Mask of the records that a model was not trained on, or was, among `queried`, [M, n + t].

        Args:
            held_out: True for records that the model was not trained on.
        """
        mask = ~self.member if held_out else self.member
        return np.concatenate([mask, np.full((self.models, len(self.test)), held_out)], axis=1)


def check_models(models: int) -> None:
    """Check the number of models.

    Raises:
        InputError: if it is not an integer of at least 8.
    """
    if isinstance(models, bool) or not isinstance(models, int) or models < 8:
        raise InputError(f"models is {models!r}.", "Use an integer of at least 8; 16 is usual.")


def check_records(X: Any, y: Any, groups: Any = None, by: Any = None) -> Records:
    """Check inputs and classes.

    Args:
        X: anything that rows can be taken from.
        y: [N], class labels of any kind.
        groups: [N], the person of each record; None if each record is of another one.
        by: further columns [N] by name, a mapping or a data frame.

    Raises:
        InputError: if they do not fit together, ``by`` has no names, or there is one class only.
        TooFewRecordsError: if there are too few for an audit.
    """
    labels, as_passed = check_labels(y, "y"), check_classes(y)
    inputs = sliceable(X)
    count = inputs.shape[0] if hasattr(inputs, "shape") else len(inputs)
    if count != len(labels):
        raise InputError(
            f"X has shape {getattr(inputs, 'shape', (count,))} and y {labels.shape}.",
            "Give X [N, ...] and y [N].",
        )
    classes, numbers = np.unique(labels, return_inverse=True)
    if len(classes) < 2:
        raise InputError(
            f"y holds {len(classes)} different values of dtype {labels.dtype}.",
            "Give class labels of at least two classes.",
        )
    needed = round(2 * 1.25 * LEAST / (1 - HELD_OUT))
    if len(labels) < needed:
        raise TooFewRecordsError(
            f"There are {len(labels)} records.", f"Give at least {needed}, better thousands."
        )
    persons = None if groups is None else as_column(groups)
    if not (by is None or isinstance(by, Mapping) or hasattr(by, "columns")):
        text = " ".join(repr(by).split())
        raise InputError(
            f"by is {text[:80]}{'...' if len(text) > 80 else ''}.",
            'Pass columns by name, such as by={"ward": X["ward"]}, or a data frame, X[["ward"]].',
        )
    names = () if by is None else getattr(by, "columns", by)
    named = {str(name): as_column(by[name]) for name in names}
    columns = Columns(named, persons).check(len(labels))
    return Records(inputs, as_passed, numbers.astype(np.int64), classes, columns)


def check_numbers(inputs: Any) -> npt.NDArray[Any]:
    """Check inputs that others will be chosen between.

    Args:
        inputs: inputs of records.

    Returns:
        The same array [N, ...].

    Raises:
        InputError: unless they are an array of finite numbers.

    >>> check_numbers(np.array([["a"]]))
    Traceback (most recent call last):
    dynanoise.core.errors.InputError: X has dtype <U1, and inputs are chosen among numbers...
    """
    if not isinstance(inputs, np.ndarray) or inputs.dtype.kind not in "iuf":
        array = isinstance(inputs, np.ndarray)
        kind = f"has dtype {inputs.dtype}" if array else f"is of type {type(inputs).__name__}"
        raise InputError(
            f"X {kind}, and inputs are chosen among numbers.",
            "Pass a numpy array of numbers, or leave chosen out.",
        )
    if not np.isfinite(inputs).all():
        raise InputError(
            "X holds NaN or infinity, and inputs are chosen among finite numbers.",
            "Fill missing values in, or leave chosen out.",
        )
    return inputs


def draw_halves(records: Records, models: int, seed: int) -> Halves:
    """Draw the records that are held out, and those of each model by fair coins.

    Records of one person are held out together, and have one coin.

    Args:
        records: inputs and classes.
        models: M.
        seed: seed of all draws.

    Raises:
        TooFewRecordsError: if a class has too few records.
    """
    persons = records.columns.person_numbers(np.arange(len(records.numbers)))
    if persons is None:
        persons = np.arange(len(records.numbers))
    order = np.random.default_rng(derive(seed, "audit parts")).permutation(int(persons.max()) + 1)
    apart = np.isin(persons, order[: round(HELD_OUT * len(order))])
    test, rows = np.flatnonzero(apart), np.flatnonzero(~apart)
    return Halves(rows, test, draw_membership(records, rows, models, seed, persons[rows]))


def draw_membership(
    records: Records, rows: Int64, models: int, seed: int, persons: Int64 | None = None
) -> Bools:
    """Draw membership by fair coins, thrown again for a model that would miss a class.

    Models stay independent of each other. With `LEAST_OF_CLASS` records of each class a record is
    a member with a probability of 0.502 at most.

    Args:
        records: inputs and classes.
        rows: int64 [n], positions of the records that models may be trained on.
        models: M.
        seed: seed of the coins.
        persons: int64 [n], the person of each of these, with one coin; None for one each.

    Returns:
        bool [M, n].

    Raises:
        TooFewRecordsError: if a class has too few records.
    """
    least, name = records.rarest(rows)
    if least < LEAST_OF_CLASS:
        raise TooFewRecordsError(
            f"The class {name} has {least} records beside the {HELD_OUT:.0%} that are held out, "
            "and random halves of so few can miss it.",
            f"Give at least {LEAST_OF_CLASS}, or leave the class out.",
        )
    member = np.zeros((models, len(rows)), dtype=bool)
    of_rows = np.arange(len(rows)) if persons is None else persons
    names, person = np.unique(of_rows, return_inverse=True)
    for model in range(models):
        for throw in count():
            path = ("membership", model, throw) if throw else ("membership", model)
            coins = np.random.default_rng(derive(seed, *path)).random(len(names)) < 0.5
            member[model] = coins[person]
            if records.rarest(rows[member[model]])[0]:
                break
    return member


def audit_halves(
    logits: Float64,
    records: Records,
    halves: Halves,
    plan: AuditPlan,
    provenance: Provenance,
    steps: Steps,
    seed: int,
    notes: tuple[str, ...] = (),
    models: Sequence[QueryFunction] = (),
) -> AuditReport:
    """Attack each model with the others as its shadow models.

    Args:
        logits: [M, n + t, K], in the order of ``halves.queried``.
        records: inputs and classes.
        halves: records of each model.
        plan: options.
        provenance: fields of the results that are not measured.
        steps: counts steps.
        seed: seed of the noise.
        notes: sentences for the report.
        models: from inputs to logits, for ``plan.chosen``.

    Returns:
        The report, with records named by their position in X.
    """
    scored = len(halves.rows)
    inputs = check_inputs(
        provenance.model,
        logits=logits[:, :scored],
        labels=records.numbers[halves.rows],
        member=halves.member,
        test_logits=logits[:, scored:],
        test_labels=records.numbers[halves.test],
    )
    columns = replace(records.columns, inputs=records.inputs)
    pool = with_inputs(_renamed(inputs.pool(seed), halves.queried), plan, columns)
    steps.expect(count_steps(pool, plan))
    functions = None
    if plan.chosen is not None:
        values = check_numbers(records.inputs)
        space = input_space(values[halves.queried])
        functions = ModelFunctions(tuple(models), values, space, seed)
    report = audit_pool(
        pool, plan, provenance, steps, notes=notes, columns=columns, functions=functions
    )
    names = tuple(str(name) for name in records.classes.tolist())
    columns = records.columns.select(halves.rows)
    inputs = replace(inputs, columns=columns, class_names=names)
    return replace(report.named(names), inputs=inputs)


def _renamed(pool: Pool, ids: Int64) -> Pool:
    """The same pool with records named by their position in X, for reports of single records."""

    def renamed(outputs: Outputs) -> Outputs:
        return replace(outputs, ids=ids[outputs.ids])

    return replace(
        pool,
        records=renamed(pool.records),
        test=renamed(pool.test),
        reference=renamed(pool.reference),
    )


@contextmanager
def torch_seed(seed: int) -> Iterator[None]:
    """Seed torch's generator for a block, where torch is loaded, and leave it as it was."""
    torch = sys.modules.get("torch")
    if torch is None:
        yield
        return
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        yield
