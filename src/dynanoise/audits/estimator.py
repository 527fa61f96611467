"""Audit of a scikit-learn classifier: the leakage of its training procedure on given data."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from dynanoise.audits.audit_report import AuditReport
from dynanoise.audits.pool_audit import QUERIES, AuditPlan
from dynanoise.audits.random_halves import (
    Halves,
    Records,
    audit_halves,
    check_models,
    check_numbers,
    check_records,
    draw_halves,
    torch_seed,
)
from dynanoise.audits.undefended_estimator import UndefendedEstimator, undefended_estimator
from dynanoise.config.configuration import Configuration
from dynanoise.core import numerics
from dynanoise.core.arrays.predictions import is_distribution, log_outputs
from dynanoise.core.defense import Defense
from dynanoise.core.errors import InputError
from dynanoise.core.numerics import Float64, Int64
from dynanoise.core.seeding import derive
from dynanoise.defenses import response
from dynanoise.evaluation.provenance import Provenance
from dynanoise.integrations.holdout import select_rows
from dynanoise.integrations.sklearn import is_composite, predict_outputs, predicted_positions
from dynanoise.report.progress import steps_of

RANKED = 0.9
"""Share of records whose largest decision value must be that of the predicted class."""


def audit(
    estimator: Any,
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
    """Train clones of a classifier on random halves of the data, and attack each with the others.

    The training procedure is audited: the estimator is cloned, and neither fitted nor queried
    itself. 30% of the records are held out; a fair coin decides for each clone and each other
    record whether the clone is trained on it; it is thrown again where a class would be missing.
    Each clone is the target once, the others are its shadow models (leave-one-out). Random states
    that are None, also those of splitters, and torch's generator are derived from the seed.

    A `DefendedClassifier`, also as the last step of a pipeline, or an estimator around a
    `dynanoise.torch.Defended` is audited with its own defense and noise: clones of the classifier
    inside are attacked as they are and behind the defense, at every query budget.

    Args:
        estimator: a classifier with predict_proba or decision_function, fitted by ``fit(X, y)``.
        X: its inputs, as it takes them: an array [N, ...], a sparse matrix or array of any
            format, a data frame, a list.
        y: [N], class labels of any kind, which the clones are fitted to as they are.
        models: how many clones, >= 8.
        seed: seed of the split of the records, of random states and noise.
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
        InputError: if the estimator is not such a classifier, cannot be fitted to a half of the
            records, or X and y do not fit together.
        TooFewRecordsError: if there are too few records, or records of a class, for models of a
            random half.

    >>> from sklearn.datasets import make_classification
    >>> from sklearn.tree import DecisionTreeClassifier
    >>> X, y = make_classification(400, n_classes=3, n_informative=4, flip_y=0.3, random_state=0)
    >>> results = audit(DecisionTreeClassifier(), X, y, models=8).results
    >>> auc = {result.attack: result.metrics.get("auc") for result in results}
    >>> auc["strongest"].value > 0.7  # a tree memorises its records
    True
    """
    setting = undefended_estimator(estimator)
    plan = AuditPlan(
        defense,
        queries,  # type: ignore[arg-type]  # made tuples
        attacks=attacks,  # type: ignore[arg-type]
        chosen=chosen,
    )
    if setting.defense is not None:
        if defense is not None:
            raise InputError(
                "The estimator is defended already.",
                "Leave defense out, or pass the classifier without its own.",
            )
        plan = replace(plan, defense=setting.defense)
    trained = setting.estimator
    _check_estimator(trained)
    check_models(models)
    records = check_records(X, y, groups, by)
    if chosen is not None:
        check_numbers(records.inputs)
    halves = draw_halves(records, models, seed)
    name, text = type(estimator).__name__, " ".join(repr(estimator).split())
    with steps_of(progress, f"audit of {name}", models) as steps:
        logits, clones = train_clones(setting, records, halves, seed, steps)
        notes: tuple[str, ...] = ()
        if setting.defense is not None:
            configuration = setting.configuration(logits, halves.measured(setting.held_out))
            plan = replace(plan, defense=configuration)
            notes = (setting.sentence(configuration),)
        options = f"models={models}, seed={seed}"
        if defense is not None:
            named = plan.defense_text if isinstance(defense, str) else defense
            options += f", defense={named!r}, queries={plan.queries!r}"
        elif setting.defense is not None and plan.queries != QUERIES:
            options += f", queries={plan.queries!r}"
        if plan.attacks:
            options += f", attacks={plan.attacks!r}"
        options += "" if chosen is None else f", chosen={chosen}"
        options += "" if groups is None else ", groups=groups"
        named_by = ", ".join(f"{name!r}: ..." for name in records.columns.by)
        options += f", by={{{named_by}}}" if named_by else ""
        command = f"dynanoise.audit({text}, X, y, {options})"
        provenance = Provenance("X, y", name, command, {"estimator": text})
        return audit_halves(logits, records, halves, plan, provenance, steps, seed, notes, clones)


def _check_estimator(estimator: Any) -> None:
    """Refuse what cannot be audited, before anything is trained."""
    from sklearn.base import clone, is_classifier
    from sklearn.frozen import FrozenEstimator
    from sklearn.utils import get_tags

    name = type(estimator).__name__
    try:
        classifier = not isinstance(estimator, type) and is_classifier(estimator)
    except (AttributeError, TypeError):
        classifier = False
    if not classifier:
        text = " ".join(repr(estimator).split())
        raise InputError(
            f"{text[:80]}{'...' if len(text) > 80 else ''} is not a scikit-learn classifier.",
            "Pass an unfitted classifier object, of a class that inherits from ClassifierMixin and "
            "BaseEstimator.",
        )
    try:
        clone(estimator)
    except Exception as error:  # whatever its constructor raises
        raise InputError(
            f"{name} cannot be cloned ({_first_line(error)}).",
            "Its constructor must keep its arguments as they are.",
        ) from error
    if not get_tags(estimator).target_tags.single_output:
        raise InputError(
            f"{name} predicts several targets.", "Audit a classifier of each target by itself."
        )
    for part in (estimator, *estimator.get_params(deep=True).values()):
        if isinstance(part, FrozenEstimator) and is_classifier(part):
            raise InputError(
                f"The {type(part.estimator).__name__} in {name} is frozen: clones would not be "
                "trained on other records, and nothing would be measured.",
                "Pass the classifier without FrozenEstimator.",
            )
    if not (is_composite(estimator) or _methods(estimator)):
        raise _labels_only(estimator)


def _methods(estimator: Any) -> list[str]:
    names = ("predict_proba", "decision_function")
    return [name for name in names if hasattr(estimator, name)]


def _labels_only(estimator: Any) -> InputError:
    return InputError(
        f"{type(estimator).__name__} gives labels only.",
        "Use a classifier with predict_proba or decision_function.",
    )


@dataclass(frozen=True, eq=False)
class Clone:
    """A fitted classifier as a function from inputs [n, ...] to logits [n, K].

    Attributes:
        fitted: the classifier.
        classes: [K], in sorted order; it may lack some of them.
        setting: how its predictions are read.
    """

    fitted: Any
    classes: npt.NDArray[Any]
    setting: UndefendedEstimator

    def __call__(self, inputs: Any) -> Float64:
        """Compute logits."""
        return _logits(self.fitted, inputs, self.classes, self.setting)


def train_clones(
    setting: UndefendedEstimator,
    records: Records,
    halves: Halves,
    seed: int,
    progress: Callable[[str], None],
) -> tuple[Float64, list[Clone]]:
    """Train clones of a classifier on halves of the records.

    Args:
        setting: the classifier, without a defense.
        records: inputs and classes.
        halves: records of each clone.
        seed: seed of the random states that are None.
        progress: called after each clone.

    Returns:
        Logits [M, N, K] on the records of ``halves.rows``, then of ``halves.test``; and the clones.

    Raises:
        InputError: if a clone cannot be fitted, or has no outputs that an audit reads.
    """
    from sklearn.base import clone

    # The clone with the fewest records of a class comes first: what cannot be fitted fails there.
    rarest = [records.rarest(halves.training(model))[0] for model in range(halves.models)]
    queried = select_rows(records.inputs, halves.queried)
    logits = np.empty((halves.models, len(halves.queried), len(records.classes)))
    clones = {}
    for model in sorted(range(halves.models), key=lambda m: (rarest[m] > min(rarest), m)):
        estimator = clone(setting.estimator)
        estimator.set_params(**_random_states(estimator, seed, model))
        for name, splitter in _splitters(estimator).items():
            splitter.random_state = derive(seed, "random state", model, name) % 2**32
        with torch_seed(derive(seed, "torch", model)):
            _fit(estimator, records, halves.training(model))
        clones[model] = Clone(estimator, records.classes, setting)
        logits[model] = clones[model](queried)
        progress(f"model {model}")
    return logits, [clones[model] for model in range(halves.models)]


def _fit(estimator: Any, records: Records, rows: Int64) -> None:
    """Fit a clone to some records, with the labels as the user gave them."""
    name = type(estimator).__name__
    inputs, labels = select_rows(records.inputs, rows), select_rows(records.labels, rows)
    try:
        estimator.fit(inputs, labels)
    except Exception as error:  # whatever a library raises
        least, rarest = records.rarest(rows)
        cause = _first_cause(estimator, inputs, labels) or _first_line(error)
        raise InputError(
            f"{name} cannot be fitted to {len(rows)} of the records, {least} of them of the rarest "
            f"class {rarest} ({cause}).",
            "Pass an estimator whose fit(X, y), without further arguments, works on a random half "
            "of these records.",
        ) from error
    for search in _searches(estimator, set()):
        scores = [
            value for key, value in search.cv_results_.items() if key.startswith("mean_test_")
        ]
        if any(np.isnan(np.asarray(score, dtype=float)).all() for score in scores):
            raise InputError(
                f"All scores of the {type(search).__name__} are NaN, so that it chose nothing "
                f"({_first_cause(estimator, inputs, labels) or 'its scorer returns NaN'}).",
                "Pass an estimator whose search works on half of the records.",
            )


def _searches(value: Any, seen: set[int]) -> Iterator[Any]:
    """Fitted searches for parameters, also inside of other estimators."""
    if id(value) in seen:
        return
    seen.add(id(value))
    parts: Iterable[Any] = ()
    if isinstance(value, list | tuple):
        parts = value
    elif hasattr(value, "get_params") and not isinstance(value, type):
        if isinstance(getattr(value, "cv_results_", None), dict):
            yield value
        parts = vars(value).values()
    for part in parts:
        if isinstance(part, list | tuple) or hasattr(part, "get_params"):
            yield from _searches(part, seen)


def _first_cause(estimator: Any, inputs: Any, labels: Any) -> str:
    """The first error in a search for parameters that hides it; "" if there is none."""
    from sklearn.base import clone

    strict = clone(estimator)
    names = [name for name in strict.get_params() if name.rpartition("__")[2] == "error_score"]
    if not names:
        return ""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # they tell of the same error
        try:
            strict.set_params(**dict.fromkeys(names, "raise")).fit(inputs, labels)
        except Exception as error:  # whatever a library raises
            return _first_line(error)
    return ""


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {' '.join(lines)[:200]}"


def _random_states(estimator: Any, seed: int, model: int) -> dict[str, int]:
    """Seeds for random states that are None, also inside pipelines: they would be global.

    >>> from sklearn.tree import DecisionTreeClassifier
    >>> list(_random_states(DecisionTreeClassifier(), 0, 0))
    ['random_state']
    """
    return {
        name: derive(seed, "random state", model, name) % 2**32
        for name, value in sorted(estimator.get_params(deep=True).items())
        if name.rpartition("__")[2] == "random_state" and value is None
    }


def _splitters(estimator: Any) -> dict[str, Any]:
    """Splitters of cross-validation and the like whose random state is None, by parameter."""
    return {
        name: value
        for name, value in sorted(estimator.get_params(deep=True).items())
        if not hasattr(value, "get_params") and getattr(value, "random_state", 0) is None
    }


def _logits(
    fitted: Any, inputs: Any, classes: npt.NDArray[Any], setting: UndefendedEstimator
) -> Float64:
    """Logits [N, K]; a class that a clone was not trained on has probability 0."""
    name = type(fitted).__name__
    if not _methods(fitted):
        raise _labels_only(fitted)
    present = _positions(fitted, classes)
    if hasattr(fitted, "predict_proba"):
        keep = setting.defense is not None and setting.defense.keeps_labels
        probs, labels = predict_outputs(fitted, inputs, keep_label=keep)
        outputs = f"Probabilities of {name}"
        if setting.gives_logits and not is_distribution(probs):
            return np.asarray(log_outputs(probs, outputs, probabilities=False)[0], np.float64)
        log_outputs(probs, outputs, probabilities=True)
        logits = np.full((len(probs), len(classes)), np.log(numerics.TINY))
        logits[:, present] = response.logits_of(probs, labels)
        return logits
    values = np.asarray(fitted.decision_function(inputs), dtype=np.float64)
    if values.ndim == 1:  # of the second of two classes
        values = np.stack([np.zeros(len(values)), values], axis=1)
    predicted = predicted_positions(fitted, inputs) if values.shape[1] == len(present) else None
    if predicted is None or (values.argmax(axis=1) == predicted).mean() < RANKED:
        raise InputError(
            f"The decision values of {name} have shape {values.shape} for {len(present)} classes, "
            "and the largest is not that of the class it predicts: they compare pairs of classes.",
            "Set decision_function_shape='ovr', or wrap it in CalibratedClassifierCV.",
        )
    logits = np.full((len(values), len(classes)), values.min() - 1.0)
    logits[:, present] = values
    return logits


def _positions(fitted: Any, classes: npt.NDArray[Any]) -> Int64:
    """Positions of a clone's classes among those of y, which some libraries write as texts."""
    present = np.asarray(fitted.classes_)
    texts = [_text(label) for label in classes.tolist()]
    named = [_text(label) for label in present.tolist()]
    positions = [texts.index(label) for label in named if label in texts]
    if len(positions) != len(present):
        raise InputError(
            f"{type(fitted).__name__} has the classes {present.tolist()[:12]}, and y "
            f"{classes.tolist()[:12]}.",
            "Pass a classifier that keeps the classes it is fitted to.",
        )
    return np.array(positions, dtype=np.int64)


def _text(label: Any) -> str:
    """A label as text, the same for a whole number of any type."""
    return str(int(label)) if isinstance(label, float) and label.is_integer() else str(label)
