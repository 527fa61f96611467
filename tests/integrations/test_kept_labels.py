"""Labels that DefendedClassifier keeps are the classifier's own; saturated predictions warn."""

from __future__ import annotations

import pickle
import warnings
from typing import Any

import numpy as np
import pytest
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.calibration import CalibratedClassifierCV
from sklearn.datasets import make_classification
from sklearn.ensemble import RandomForestClassifier, StackingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import make_scorer, recall_score
from sklearn.model_selection import FixedThresholdClassifier, TunedThresholdClassifierCV
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler, scale
from sklearn.tree import DecisionTreeClassifier

import dynanoise as dn
from dynanoise.core.errors import InputError
from dynanoise.integrations.sklearn import predict_outputs
from dynanoise.noise.keys import ExperimentKey
from dynanoise.sklearn import DefendedClassifier

X, Y = make_classification(300, 8, n_informative=5, flip_y=0.2, random_state=0)
NAMES = np.array(["no", "yes"])[Y]
KEY = ExperimentKey(0)


class Rule(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """A classifier of three classes whose ``predict`` follows a rule of its own.

    Args:
        shape: of the predictions.
        unknown: predicted where no class is certain.
    """

    def __init__(self, shape: tuple[int, ...] = (-1,), unknown: str | None = None) -> None:
        self.shape = shape
        self.unknown = unknown

    def fit(self, X: Any, y: Any) -> Any:
        self.model_ = GaussianNB().fit(X, y)
        self.classes_ = self.model_.classes_
        return self

    def predict_proba(self, X: Any) -> Any:
        return self.model_.predict_proba(X)

    def predict(self, X: Any) -> Any:
        probs = self.predict_proba(X)
        labels = np.where(probs[:, 2] > 0.1, self.classes_[2], self.classes_[probs.argmax(axis=1)])
        if self.unknown is not None:
            labels = np.where(probs.max(axis=1) < 0.9, self.unknown, labels)
        return labels.reshape(self.shape)


class Shaped(Rule):
    """Probabilities in another shape.

    Args:
        make: of them.
    """

    def __init__(self, make: Any = None) -> None:
        self.make = make

    def predict_proba(self, X: Any) -> Any:
        return self.make(self.model_.predict_proba(X))

    def predict(self, X: Any) -> Any:
        return self.model_.predict(X)


class NoPredict(Rule):
    predict = property()


def tuned() -> Any:
    scorer = make_scorer(recall_score, pos_label="yes")
    return TunedThresholdClassifierCV(LogisticRegression(), scoring=scorer, cv=3, random_state=0)


THREE = np.array(["a", "b", "c"])[(Y + (X[:, 0] > 0)).astype(int)]

OWN = {
    "a fixed threshold": (FixedThresholdClassifier(LogisticRegression(), threshold=0.2), NAMES),
    "a high threshold": (FixedThresholdClassifier(LogisticRegression(), threshold=0.9), NAMES),
    "a tuned threshold": (tuned(), NAMES),
    "behind a scaler": (
        make_pipeline(StandardScaler(), FixedThresholdClassifier(GaussianNB(), threshold=0.9)),
        Y,
    ),
    "a rule": (Rule(), THREE),
    "a rule in a column": (Rule((-1, 1)), THREE),
}

DEFENSES: dict[str, Any] = {
    "noise": dn.DynaNoise(keep_label=True),
    "temperature": dn.Temperature(4),
    "calibrated label": dn.CalibratedLabel(),
}


@pytest.mark.behaviour
@pytest.mark.parametrize("noise", ["keyed", "fresh"])
@pytest.mark.parametrize("defense", DEFENSES)
@pytest.mark.parametrize("name", OWN)
def test_the_label_kept_is_that_of_predict(name: str, defense: str, noise: str) -> None:
    estimator, labels = OWN[name]
    model = DefendedClassifier(estimator, DEFENSES[defense], noise=noise, key=KEY, holdout=0.3).fit(
        X, labels
    )
    own = np.ravel(model.estimator_.predict(X))
    argmax = model.classes_[model.estimator_.predict_proba(X).argmax(axis=1)]
    assert (own != argmax).any()
    np.testing.assert_array_equal(model.predict(X), own)
    probs = model.predict_proba(X)
    np.testing.assert_allclose(probs.sum(axis=1), 1, atol=1e-9)
    np.testing.assert_array_equal(model.classes_[probs.argmax(axis=1)], own)
    replica = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(replica.predict(X), own)


def test_the_label_of_a_classifier_fitted_elsewhere_is_kept_too() -> None:
    inner = FixedThresholdClassifier(LogisticRegression(), threshold=0.2).fit(X, NAMES)
    np.testing.assert_array_equal(DefendedClassifier(inner, key=KEY).predict(X), inner.predict(X))


def test_without_keep_label_or_predict_the_most_probable_class_counts() -> None:
    inner = FixedThresholdClassifier(LogisticRegression(), threshold=0.2).fit(X, NAMES)
    assert predict_outputs(inner, X, keep_label=False)[1] is None
    plain = LogisticRegression().fit(X, NAMES)
    moved = DefendedClassifier(inner, dn.DynaNoise(base_variance=0, temperature=1), noise="fresh")
    np.testing.assert_array_equal(moved.predict(X), plain.predict(X))
    bare = NoPredict().fit(X, THREE)
    expected = bare.classes_[bare.predict_proba(X).argmax(axis=1)]
    np.testing.assert_array_equal(DefendedClassifier(bare, key=KEY).predict(X), expected)


def test_a_label_outside_of_the_classes_cannot_be_kept() -> None:
    model = DefendedClassifier(Rule(unknown="refused"), key=KEY)
    with pytest.raises(InputError, match="Rule predicts 'refused', which is not among its classes"):
        model.fit(X, THREE)
    model.set_params(defense=dn.DynaNoise()).fit(X, THREE)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda p: p[:, 1], r"predicts shape \(300,\) for 2 classes"),
        (lambda p: p[:, 1:], r"predicts shape \(300, 1\) for 2 classes.*\[1 - p, p\]"),
        (lambda p: p[:, 1].tolist(), r"predicts shape \(300,\) for 2 classes"),
        (lambda p: np.hstack([p, p]) / 2, r"predicts shape \(300, 4\) for 2 classes"),
        (lambda p: [p, p], "predicts 2 arrays"),
        (lambda p: p[None], r"predicts shape \(1, 300, 2\)"),
    ],
)
def test_one_output_a_record_is_never_a_row_of_classes(make: Any, says: str) -> None:
    for keyed in ("keyed", "fresh"):
        inner = Shaped(make).fit(X, NAMES)
        with pytest.raises(InputError, match=says):
            DefendedClassifier(inner, noise=keyed, key=KEY).predict_proba(X)
    with pytest.raises(InputError, match=says.replace("300", r"\d+")):
        dn.audit(Shaped(make), X, NAMES, models=8)


@pytest.mark.filterwarnings("ignore")  # those of catboost
def test_columns_of_labels_of_catboost_are_kept() -> None:
    catboost = pytest.importorskip("catboost", reason="catboost is not installed")
    options = {"iterations": 3, "verbose": 0, "allow_writing_files": False}
    for labels in (THREE, NAMES, Y, Y.astype(bool)):
        model = DefendedClassifier(catboost.CatBoostClassifier(**options), key=KEY).fit(X, labels)
        np.testing.assert_array_equal(model.predict(X), model.estimator_.predict(X).ravel())


def test_inputs_without_rows_are_a_sentence() -> None:
    for inputs in ({"a": X}, (row for row in X), 3):
        with pytest.raises(InputError, match=r"X is of type .*, of which no rows can be taken"):
            DefendedClassifier(LogisticRegression(), key=KEY, holdout=0.2).fit(inputs, Y)
    polars: Any = pytest.importorskip("polars", reason="polars is not installed")
    lazy = polars.DataFrame(X).lazy()
    with pytest.raises(InputError, match="X is of type LazyFrame"):
        DefendedClassifier(LogisticRegression(), key=KEY, holdout=0.2).fit(lazy, Y)


SATURATED = {
    "a tree": DecisionTreeClassifier(random_state=0),
    "a forest": RandomForestClassifier(20, max_features=None, bootstrap=False, random_state=0),
    "neighbours": KNeighborsClassifier(1),
    "a tree in a pipeline": make_pipeline(StandardScaler(), DecisionTreeClassifier(random_state=0)),
}
WARNS = r"\d+% of \d+ defended predictions have a probability above 0.99.*CalibratedClassifierCV"


@pytest.mark.parametrize("name", SATURATED)
def test_probabilities_of_0_and_1_warn_in_fit_and_at_first_use(name: str) -> None:
    model = DefendedClassifier(SATURATED[name], key=KEY)
    with pytest.warns(UserWarning, match=WARNS) as caught:
        model.fit(X, Y)
    assert caught[0].filename == __file__
    fitted = DefendedClassifier(model.estimator_, key=KEY)
    fitted.predict_proba(X[:20])
    with pytest.warns(UserWarning, match=r"100% of 60 defended.*") as caught:
        fitted.predict_proba(X[:40])
    assert caught[0].filename == __file__
    fitted.predict_proba(X)  # only once
    model.predict_proba(X)  # neither after fit


@pytest.mark.parametrize("options", [{"noise": "fresh"}, {"cell_width": 4.0}], ids=str)
def test_a_fit_without_outputs_warns_at_first_use(options: dict[str, Any]) -> None:
    model = DefendedClassifier(SATURATED["a tree"], key=KEY, **options).fit(X, Y)
    with pytest.warns(UserWarning, match=r"100% of 300 defended"):
        model.predict(X)
    model.predict(X)


@pytest.mark.parametrize(
    "estimator",
    [
        LogisticRegression(),
        RandomForestClassifier(20, min_samples_leaf=10, random_state=0),
        CalibratedClassifierCV(DecisionTreeClassifier(random_state=0)),
        StackingClassifier([("a", GaussianNB()), ("b", LogisticRegression())]),
    ],
    ids=lambda estimator: type(estimator).__name__,
)
def test_probabilities_that_noise_reaches_do_not(estimator: Any) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = DefendedClassifier(estimator, key=KEY).fit(X, Y)
        DefendedClassifier(model.estimator_, key=KEY).predict_proba(X)


def test_the_share_is_that_of_the_predictions() -> None:
    """A rule that is certain about every fifth record."""

    bound = np.quantile(X[:, 0], 0.2)

    class Certain(Rule):
        def predict_proba(self, X: Any) -> Any:
            probs = np.full((len(X), 2), 0.5)
            probs[X[:, 0] <= bound] = [1, 0]
            return probs

        predict = property()

    with pytest.warns(UserWarning, match=r"20% of 300 defended predictions"):
        DefendedClassifier(Certain(), key=KEY, cell_width=None).fit(X, Y)


def test_keyed_noise_is_not_put_on_probabilities_that_change_with_the_batch() -> None:
    """Inputs that are scaled by the mean and spread of each query."""
    mixing = make_pipeline(FunctionTransformer(scale), LogisticRegression())
    with pytest.raises(InputError, match=r"Pipeline predicts other probabilities .* beside other"):
        DefendedClassifier(mixing, key=KEY, cell_width=4.0).fit(X, Y)
    prefit = DefendedClassifier(mixing.fit(X, Y), key=KEY, cell_width=4.0)
    for _ in range(2):
        with pytest.raises(InputError, match=r"Pipeline predicts other probabilities"):
            prefit.predict_proba(X[:9])
    DefendedClassifier(mixing, noise="fresh").fit(X, Y).predict_proba(X[:9])
