"""`OutOfFoldClassifier`: exact near a record, scikit-learn's checks, forms of input, a proof."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from joblib import parallel_config
from scipy import sparse
from sklearn.base import clone
from sklearn.datasets import make_classification
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.svm import LinearSVC
from sklearn.tree import DecisionTreeClassifier
from sklearn.utils.estimator_checks import parametrize_with_checks

from dynanoise.core.errors import InputError
from dynanoise.defenses.temperature import Temperature
from dynanoise.noise.keys import ExperimentKey
from dynanoise.partition.cells import Cells
from dynanoise.partition.exclusion import Exclusion
from dynanoise.partition.neighbourhood import NumberNoise, sample
from dynanoise.sklearn import DefendedClassifier, OutOfFoldClassifier

X, Y = make_classification(240, 6, n_informative=4, n_classes=3, random_state=0)
REFERENCE, X, Y = X[:80], X[80:], Y[80:]
NEAR = NumberNoise(0.05, relative=True)
CELLS = Cells.fit(REFERENCE, folds=4, width=1.0, components=2, neighbourhood=NEAR)


@pytest.mark.behaviour
@parametrize_with_checks(  # type: ignore[untyped-decorator]
    [OutOfFoldClassifier(LogisticRegression(), folds=2)]
)
def test_scikit_learns_own_checks(estimator: Any, check: Any) -> None:
    check(estimator)


@pytest.mark.behaviour
@pytest.mark.parametrize(
    "estimator", [DecisionTreeClassifier(), GaussianNB(), RandomForestClassifier(5)]
)
def test_predictions_near_a_record_are_the_same_without_it(estimator: Any) -> None:
    for cells in (None, CELLS):
        model = OutOfFoldClassifier(estimator, 4, cells=cells, random_state=3)
        with_it = clone(model).fit(X, Y)
        other = 0
        for record in range(0, len(X), 16):
            rest = np.arange(len(X)) != record
            without = clone(model).fit(X[rest], Y[rest])
            near = [X[record][None]]
            if cells is not None:
                generator = np.random.default_rng(record)
                near += list(sample(NEAR, near[0], generator, 20, cells.scale))
            queries = np.concatenate(near)
            assert (with_it.predict_proba(queries) == without.predict_proba(queries)).all()
            other += int((with_it.predict_proba(X) != without.predict_proba(X)).sum())
        assert other  # elsewhere a record makes a difference


def test_each_record_names_the_models_that_saw_it() -> None:
    class Spy(GaussianNB):  # type: ignore[misc]
        def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Any:
            self.rows_ = {row.tobytes() for row in X}
            self.weights_ = sample_weight
            return super().fit(X, y)

    weights = np.arange(len(X)) + 1.0
    model = OutOfFoldClassifier(Spy(), cells=CELLS).fit(X, Y, sample_weight=weights)
    for fold, estimator in enumerate(model.estimators_):
        seen = np.array([row.tobytes() in estimator.rows_ for row in X])
        assert (seen == ~model.exclusion_.left_out[fold]).all()
        assert estimator.weights_.tolist() == weights[seen].tolist()
    answering = CELLS.fold(X)
    assert model.exclusion_.left_out[answering, np.arange(len(X))].all()
    assert 0 < model.exclusion_.kept < 1


def test_seeds_are_scikit_learns_random_state() -> None:
    """None draws anew in every fit; an integer, and a generator of one seed, repeat."""

    def probs(random_state: Any) -> Any:
        estimator = DecisionTreeClassifier(max_features=1)
        model = OutOfFoldClassifier(estimator, cells=CELLS, random_state=random_state)
        return model.fit(X, Y).predict_proba(X)

    assert (probs(0) == probs(0)).all()
    states = [np.random.RandomState(0) for _ in range(2)]
    assert (probs(states[0]) == probs(states[1])).all()
    assert (probs(None) != probs(None)).any() and (probs(0) != probs(1)).any()
    assert (probs(states[0]) != probs(states[1].__class__(0))).any()


def test_a_broken_router_is_seen() -> None:
    model = OutOfFoldClassifier(KNeighborsClassifier(1), cells=CELLS).fit(X, Y)
    honest = (model.predict(X) == Y).mean()
    model.estimators_ = model.estimators_[1:] + model.estimators_[:1]
    assert (model.predict(X) == Y).mean() > honest + 0.1


def test_frames_sparse_rows_and_lists_are_answered_alike() -> None:
    pandas = pytest.importorskip("pandas", reason="frames need: pip install pandas")
    table = np.round(X, 2).astype(np.float32).astype(float)
    model = OutOfFoldClassifier(LogisticRegression())
    expected = clone(model).fit(table, Y).predict_proba(table)
    frame = pandas.DataFrame(table, columns=list("abcdef"))
    framed = clone(model).fit(frame, Y)
    assert (framed.predict_proba(frame) == expected).all()
    assert framed.feature_names_in_.tolist() == list("abcdef")
    with pytest.raises(ValueError, match="feature names should match"):
        framed.predict(frame[list("fedcba")])
    rows = sparse.csr_matrix(table)
    assert np.allclose(clone(model).fit(rows, Y).predict_proba(rows), expected, atol=1e-6)
    labels = np.array(["low", "middle", "high"])[Y]
    assert set(clone(model).fit(table, labels).predict(table)) <= {"low", "middle", "high"}


def test_categories_of_a_frame_and_two_jobs() -> None:
    pandas = pytest.importorskip("pandas", reason="frames need: pip install pandas")
    from sklearn.compose import make_column_transformer
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder

    def frame(rows: Any) -> Any:
        table = pandas.DataFrame(rows, columns=list("abcdef"))
        table["ward"] = np.where(rows[:, 0] > 0, "north", "south")
        return table

    encoder = make_column_transformer((OneHotEncoder(), ["ward"]), remainder="passthrough")
    estimator = make_pipeline(encoder, LogisticRegression(max_iter=1000))
    cells = Cells.fit(frame(REFERENCE), folds=3, components=2)
    model = OutOfFoldClassifier(estimator, cells=cells).fit(frame(X), Y)
    with parallel_config(backend="threading"):
        parallel = OutOfFoldClassifier(estimator, cells=cells, n_jobs=2).fit(frame(X), Y)
    assert (model.predict_proba(frame(X)) == parallel.predict_proba(frame(X))).all()
    assert model.score(frame(X), Y) > 0.5


def test_few_training_records_are_worth_a_warning() -> None:
    alone, patients = replace(CELLS, folds=2, neighbourhood=None), np.arange(len(X)) // 4
    kept = Exclusion.of(alone, X, patients).kept
    assert kept < 1 / 3
    with pytest.warns(UserWarning, match=rf"fitted to {kept:.0%} of the 160 .* or more folds"):
        OutOfFoldClassifier(GaussianNB(), cells=alone).fit(X, Y, groups=patients)


def test_groups_are_an_array_or_a_column() -> None:
    alone = replace(CELLS, neighbourhood=None)
    patients = np.arange(len(X)) // 2
    grouped = OutOfFoldClassifier(GaussianNB(), cells=alone, groups=patients).fit(X, Y)
    left_out = grouped.exclusion_.left_out
    assert (left_out == Exclusion.of(alone, X, patients).left_out).all()
    for start in range(0, len(X), 2):
        assert (left_out[:, start : start + 2] == left_out[:, start : start + 1]).all()
    in_fit = OutOfFoldClassifier(GaussianNB(), cells=alone).fit(X, Y, groups=patients)
    assert (in_fit.exclusion_.left_out == left_out).all()
    column = np.column_stack([X, patients])
    by_column = OutOfFoldClassifier(GaussianNB(), cells=alone, groups=6).fit(column, Y)
    assert (by_column.exclusion_.left_out == left_out).all()
    assert (by_column.predict_proba(column) == grouped.predict_proba(X)).all()
    grouped.verify(X)
    by_column.verify(column)
    with pytest.raises(InputError, match="Records were left out by group"):
        in_fit.verify(X)
    with pytest.raises(InputError, match="position of a column"):
        OutOfFoldClassifier(GaussianNB(), groups="patient").fit(X, Y)


def test_it_composes_with_defenses_of_outputs() -> None:
    tree = DecisionTreeClassifier(max_depth=3)
    inner = OutOfFoldClassifier(tree, cells=CELLS, random_state=0)
    softer = DefendedClassifier(inner, Temperature(2.0), noise="fresh").fit(X, Y)
    expected = np.sqrt(np.maximum(inner.fit(X, Y).predict_proba(X), np.finfo(float).tiny))
    expected /= expected.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(softer.predict_proba(X), expected, atol=1e-9)


def test_a_written_proof_is_verified_and_damage_is_refused(tmp_path: Path) -> None:
    pytest.importorskip("safetensors", reason="files of cells need safetensors")
    model = OutOfFoldClassifier(GaussianNB(), cells=CELLS).fit(X, Y)
    model.write_proof(tmp_path)
    cells, exclusion = (
        Cells.read(tmp_path / "cells.json"),
        Exclusion.read(tmp_path / "exclusion.json"),
    )
    exclusion.verify(cells, X)
    model.verify(X)
    with pytest.raises(InputError, match="are not the 160 of the training"):
        model.verify(X[:-1])
    with pytest.raises(InputError, match="were trained with the cells"):
        exclusion.verify(replace(cells, key=ExperimentKey(9)), X)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (OutOfFoldClassifier(GaussianNB(), 1), "folds is 1"),
        (OutOfFoldClassifier(GaussianNB(), cells=X), "cells is of type ndarray"),
        (OutOfFoldClassifier(LinearSVC()), "LinearSVC has no predict_proba"),
        (
            OutOfFoldClassifier(
                GaussianNB(), cells=replace(CELLS, neighbourhood=NumberNoise(0.6, relative=True))
            ),
            r"Classifier 0 of 4 has none of the records \(n_samples = 160\)",
        ),
    ],
)
def test_impossible_parameters_are_refused(model: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        model.fit(X, Y)


def test_a_fold_of_one_class_predicts_it() -> None:
    few = np.array([[0.0], [1.0], [2.0], [3.0]])
    model = OutOfFoldClassifier(LogisticRegression(), 2).fit(few, [0, 0, 0, 1])
    probs = model.predict_proba(few)
    assert probs.shape == (4, 2) and np.allclose(probs.sum(axis=1), 1)


def test_a_secret_is_refused_where_its_place_belongs() -> None:
    secret = "5f" * 32
    message = r"not a reference to a secret.*never the secret itself"
    for refuse in (
        lambda: OutOfFoldClassifier(LogisticRegression(), key=secret),
        lambda: OutOfFoldClassifier(LogisticRegression()).set_params(key=secret),
    ):
        with pytest.raises(InputError, match=message) as caught:
            refuse()
        assert secret[:16] not in str(caught.value)
