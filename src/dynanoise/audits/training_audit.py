"""Audit of a way of training, in any framework: a function that trains a model on given records."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from dynanoise.audits.audit_report import AuditReport
from dynanoise.audits.pool_audit import QUERIES, AuditPlan
from dynanoise.audits.random_halves import (
    audit_halves,
    check_models,
    check_numbers,
    check_records,
    draw_halves,
    torch_seed,
)
from dynanoise.config.configuration import Configuration
from dynanoise.core.arrays.predictions import is_distribution, log_outputs
from dynanoise.core.defense import Defense
from dynanoise.core.errors import InputError
from dynanoise.core.numerics import Float64
from dynanoise.core.seeding import derive
from dynanoise.evaluation.provenance import Provenance
from dynanoise.integrations.holdout import select_rows
from dynanoise.report.progress import steps_of

Predict = Callable[[Any], Any]
"""Outputs [n, K], probabilities or logits, of inputs [n, ...]."""


def audit_training(
    train: Callable[[Any, Any, int], Predict],
    X: Any,
    y: npt.ArrayLike,
    *,
    models: int = 16,
    seed: int = 0,
    defense: str | Defense | Configuration | None = None,
    queries: int | Sequence[int] = QUERIES,
    attacks: str | Sequence[str] = (),
    chosen: int | None = None,
    groups: npt.ArrayLike | None = None,
    by: Any = None,
    progress: Callable[[str], None] | None = None,
) -> AuditReport:
    """Train models on random halves of the data, and attack each with the others.

    For torch, keras, jax or anything else that trains a classifier; `dynanoise.audit` does the same
    for estimators of scikit-learn. 30% of the records are held out; a fair coin decides for each
    model and each other record whether the model is trained on it. Each model is the target once,
    the others are its shadow models (leave-one-out).

    Args:
        train: ``train(X, y, seed)`` trains a model on records of the user's arrays and returns a
            function ``predict(X)``, whose outputs are probabilities or logits [n, K], one column a
            class in sorted order. torch's generator is seeded before each call.
        X: inputs, anything that rows can be taken from: an array or tensor [N, ...], a sparse
            matrix, a data frame, a list.
        y: [N], class labels of any kind.
        models: how many models, >= 8.
        seed: seed of the split of the records, of the seeds for ``train``, and of noise.
        defense: a defense that is evaluated as well, known to the attacker: a name with parameters,
            such as "dynanoise(keep_label=True, cell_width=10)" with keyed noise, an object, or a
            `Configuration` or the path of its file.
        queries: query budgets against the defense, one or several, each >= 1.
        attacks: specifications of the attacks to run, one or several; all that the models allow if
            empty.
        chosen: query budget of an attacker who also chooses inputs, 1 to 256 a record, such as 64
            (docs/protocol.md, "Chosen inputs"); X is then an array of numbers. None leaves this
            attacker out.
        groups: [N], the person of each record, such as a patient's number: records of one person
            are members together, by one coin, and attacks are on persons. None if each record
            is of another person.
        by: further columns [N] by name, a mapping or a data frame, whose values are groups of
            records: every metric is reported for each of them, as for each class.
        progress: called with a few words after each step; None shows a line with the time that
            remains in notebooks and terminals.

    Returns:
        The results; ``table()``, ``to_markdown()`` and ``to_html()`` present them.

    Raises:
        InputError: if outputs have another shape or are not finite, or X and y do not fit together.
        TooFewRecordsError: if there are too few records, or records of a class, for models of a
            random half.

    >>> from sklearn.datasets import make_classification
    >>> from sklearn.tree import DecisionTreeClassifier
    >>> X, y = make_classification(400, n_classes=3, n_informative=4, flip_y=0.3, random_state=0)
    >>> def train(X, y, seed):
    ...     return DecisionTreeClassifier(random_state=seed).fit(X, y).predict_proba
    >>> report = audit_training(train, X, y, models=8, attacks=("gap",))
    >>> report.results[0].metrics["auc"].value > 0.6  # a tree memorises its records
    True
    """
    plan = AuditPlan(
        defense,
        queries,  # type: ignore[arg-type]  # made tuples
        attacks=attacks,  # type: ignore[arg-type]
        chosen=chosen,
    )
    check_models(models)
    if not callable(train):
        raise InputError(
            f"train is of type {type(train).__name__}.",
            "Pass a function train(X, y, seed) that returns a function of inputs to outputs.",
        )
    records = check_records(X, y, groups, by)
    if chosen is not None:
        check_numbers(records.inputs)
    halves = draw_halves(records, models, seed)
    queried = select_rows(records.inputs, halves.queried)
    name = getattr(train, "__name__", type(train).__name__)
    shape = len(halves.queried), len(records.classes)
    logits = np.empty((models, *shape))
    kind: bool | None = None
    functions: list[_Function] = []
    with steps_of(progress, f"audit of {name}", models) as steps:
        for model in range(models):
            rows = halves.training(model)
            inputs, labels = select_rows(records.inputs, rows), select_rows(records.labels, rows)
            number = derive(seed, "train", model) % 2**32
            with torch_seed(number):
                predict = train(inputs, labels, number)
                outputs = _outputs(predict, queried, shape, name)
            kind = is_distribution(outputs) if kind is None else kind
            logits[model] = log_outputs(outputs, f"outputs of {name}", probabilities=kind)[0]
            if chosen is not None:
                functions.append(_Function(predict, shape[1], name, kind))
            steps(f"model {model}")
        options = f"models={models}, seed={seed}"
        if defense is not None:
            options += f", defense={plan.defense_text!r}, queries={plan.queries!r}"
        if plan.attacks:
            options += f", attacks={plan.attacks!r}"
        options += "" if chosen is None else f", chosen={chosen}"
        options += "" if groups is None else ", groups=groups"
        named_by = ", ".join(f"{name!r}: ..." for name in records.columns.by)
        options += f", by={{{named_by}}}" if named_by else ""
        command = f"dynanoise.audit_training({name}, X, y, {options})"
        provenance = Provenance("X, y", name, command, {"train": name})
        return audit_halves(
            logits, records, halves, plan, provenance, steps, seed, models=functions
        )


@dataclass(frozen=True, eq=False)
class _Function:
    """A trained model as a function from inputs to logits."""

    predict: Predict
    classes: int
    name: str
    probabilities: bool

    def __call__(self, inputs: Any) -> Float64:
        outputs = _outputs(self.predict, inputs, (len(inputs), self.classes), self.name)
        name = f"outputs of {self.name}"
        logits = log_outputs(outputs, name, probabilities=self.probabilities)[0]
        return np.asarray(logits, dtype=np.float64)


def _outputs(predict: Any, queried: Any, shape: tuple[int, int], name: str) -> Float64:
    """Outputs of a trained model as an array, of a torch tensor as well."""
    if not callable(predict):
        raise InputError(
            f"{name} returned an object of type {type(predict).__name__}.",
            "Return a function of inputs [n, ...] to outputs [n, K], such as model.predict_proba.",
        )
    outputs = predict(queried)
    if hasattr(outputs, "detach"):
        outputs = outputs.detach().cpu().double()
    array = np.asarray(outputs, dtype=np.float64)
    if array.shape != shape:
        raise InputError(
            f"Outputs of {name} have shape {array.shape} for {shape[0]} inputs and {shape[1]} "
            "classes.",
            "Return one column for each class of y, in sorted order, also where a model was not "
            "trained on all of them.",
        )
    return array
