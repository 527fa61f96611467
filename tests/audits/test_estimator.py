"""Audits of scikit-learn classifiers."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
from sklearn.datasets import make_classification
from sklearn.dummy import DummyClassifier
from sklearn.linear_model import LinearRegression, Perceptron, RidgeClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier

import dynanoise
from dynanoise.audits.estimator import _logits, _random_states
from dynanoise.audits.undefended_estimator import UndefendedEstimator
from dynanoise.core.errors import InputError, TooFewRecordsError

X, Y = make_classification(300, n_classes=3, n_informative=4, flip_y=0.3, random_state=0)


@pytest.fixture(autouse=True)
def few_attacks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dynanoise.evaluation.feasibility.STRONG", ("lira", "rmia", "population"))


def auc(estimator: Any, y: Any = Y) -> dynanoise.Result:
    report = dynanoise.audit(estimator, X, y, models=8)
    return next(result for result in report.results if result.attack == "strongest")


def test_a_tree_that_memorises_its_records_is_found_and_a_constant_is_not() -> None:
    assert auc(make_pipeline(StandardScaler(), DecisionTreeClassifier())).metrics["auc"].value > 0.7
    constant = auc(DummyClassifier(strategy="uniform")).metrics["auc"]
    assert constant.value == pytest.approx(0.5, abs=0.06)


def test_labels_of_any_kind_and_classifiers_without_probabilities() -> None:
    result = auc(RidgeClassifier(), np.array(["b", "c", "a"])[Y])
    assert result.model == "RidgeClassifier" and result.counts["models"] == 8
    assert result.counts["test"] + result.counts["reference"] == 90
    assert result.command == "dynanoise.audit(RidgeClassifier(), X, y, models=8, seed=0)"


def test_attacks_can_be_chosen() -> None:
    report = dynanoise.audit(DecisionTreeClassifier(), X, Y, models=8, attacks=("gap",))
    assert {result.attack for result in report.results} == {None, "gap", "strongest"}
    assert report.results[0].command.endswith("models=8, seed=0, attacks=('gap',))")
    with pytest.raises(TooFewRecordsError, match="Quantile regression needs 1,000 known non-memb"):
        dynanoise.audit(DecisionTreeClassifier(), X, Y, models=8, attacks=("quantile_regression",))


@pytest.mark.behaviour
def test_the_estimator_itself_is_neither_fitted_nor_changed() -> None:
    tree = DecisionTreeClassifier()
    first = dynanoise.audit(tree, X, Y, models=8, defense="temperature", queries=(1,))
    assert not hasattr(tree, "tree_") and tree.random_state is None
    again = dynanoise.audit(tree, X, Y, models=8, defense="temperature", queries=(1,))
    metrics = [[result.metrics for result in report.results] for report in (first, again)]
    assert metrics[0] == metrics[1]
    assert "Outputs  Queries" in first.table() or "Query budget" in first.table()


def test_random_states_inside_pipelines_are_the_models_own() -> None:
    pipe = make_pipeline(StandardScaler(), DecisionTreeClassifier())
    states = [_random_states(pipe, 0, model) for model in (0, 1)]
    assert list(states[0]) == ["decisiontreeclassifier__random_state"]
    assert states[0] != states[1]
    assert _random_states(DecisionTreeClassifier(random_state=3), 0, 0) == {}


def test_a_class_that_a_clone_never_saw_has_probability_0() -> None:
    tree = DecisionTreeClassifier().fit(X[Y < 2], Y[Y < 2])
    classes = np.arange(3)
    assert (np.exp(_logits(tree, X, classes, UndefendedEstimator(tree)))[:, 2] < 1e-300).all()
    ridge = RidgeClassifier().fit(X[Y != 1], Y[Y != 1])
    rows = _logits(ridge, X, classes, UndefendedEstimator(ridge))
    np.testing.assert_array_equal(rows.argmax(axis=1), ridge.predict(X))


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ((LinearRegression(), X, Y), "is not a scikit-learn classifier"),
        ((DecisionTreeClassifier, X, Y), "is not a scikit-learn classifier"),
        ((Perceptron(), X[:200], Y), "X has shape (200, 20) and y (300,)"),
        (
            (DecisionTreeClassifier(), X, Y + 0.5),
            "y holds 0.5 in row 0. Unknown label type: labels",
        ),
        ((DecisionTreeClassifier(), X, 0 * Y), "y holds 1 different values"),
    ],
)
def test_wrong_use_is_one_sentence(arguments: Any, says: str) -> None:
    with warnings.catch_warnings(), pytest.raises(InputError) as error:
        dynanoise.audit(*arguments)
    assert says in str(error.value)


def test_one_value_stands_for_several() -> None:
    tree, defense = DecisionTreeClassifier(random_state=0), dynanoise.CalibratedLabel()
    one, several = (
        dynanoise.audit(tree, X, Y, models=8, attacks=attacks, queries=queries, defense=defense)
        for attacks, queries in (("gap", 2), (["gap"], [2]))
    )
    assert [result.metrics for result in one.results] == [
        result.metrics for result in several.results
    ]
    assert {result.attack for result in one.results} == {None, "gap", "strongest"}
    assert "queries=(2,), attacks=('gap',)" in one.results[0].command
    # The registered name, which a specification has as well.
    assert {result.method for result in one.results} == {"none", "calibrated_label"}


def test_groups_of_records_are_a_mapping_or_a_data_frame() -> None:
    pandas = pytest.importorskip("pandas", reason="optional: data frames")
    frame = pandas.DataFrame({"ward": np.arange(300) % 2, "sex": np.arange(300) % 3})
    tree = DecisionTreeClassifier(random_state=0)
    one, other = (
        dynanoise.audit(tree, X, Y, models=8, attacks="gap", by=by).results
        for by in (frame, {"ward": frame["ward"], "sex": frame["sex"].tolist()})
    )
    assert [result.metrics for result in one] == [result.metrics for result in other]
    assert one[0].command == other[0].command
    assert one[0].command.endswith("by={'ward': ..., 'sex': ...})")


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"by": "ward"}, "by is 'ward'. Pass columns by name"),
        ({"by": np.zeros(300)}, "by is array"),
        ({"queries": "16"}, "queries is '16'. Pass one or several: 16 or (1, 16)."),
        ({"queries": None}, "queries is None."),
        ({"attacks": [3]}, 'attacks is [3]. Pass one or several: "gap"'),
        ({"chosen": "4"}, "chosen inputs is '4'"),
        ({"defense": dynanoise.CalibratedLabel}, "Pass a defense, such as CalibratedLabel()."),
        ({"defense": 3}, "defense is 3."),
    ],
)
def test_arguments_of_another_type(options: dict[str, Any], says: str) -> None:
    with pytest.raises(InputError) as error:
        dynanoise.audit(DecisionTreeClassifier(), X, Y, models=8, **options)
    assert says in str(error.value)


def test_too_few_records_or_models() -> None:
    with pytest.raises(TooFewRecordsError, match="There are 60 records"):
        dynanoise.audit(DecisionTreeClassifier(), X[:60], Y[:60])
    with pytest.raises(InputError, match="models is 7"):
        dynanoise.audit(DecisionTreeClassifier(), X, Y, models=7)
