"""Audits of estimators and data of every kind: they work, or are refused before any work."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import pytest
from scipy import sparse
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.calibration import CalibratedClassifierCV
from sklearn.datasets import make_classification
from sklearn.dummy import DummyClassifier
from sklearn.ensemble import (
    BaggingClassifier,
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    StackingClassifier,
    VotingClassifier,
)
from sklearn.feature_extraction import DictVectorizer
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression, Perceptron, SGDClassifier
from sklearn.metrics import f1_score, make_scorer
from sklearn.model_selection import (
    GridSearchCV,
    GroupKFold,
    RandomizedSearchCV,
    ShuffleSplit,
    StratifiedKFold,
    TunedThresholdClassifierCV,
)
from sklearn.multiclass import OneVsOneClassifier, OutputCodeClassifier
from sklearn.multioutput import ClassifierChain, MultiOutputClassifier
from sklearn.naive_bayes import GaussianNB
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.svm import SVC, LinearSVC

import dynanoise
from dynanoise.audits.random_halves import Records, draw_membership
from dynanoise.core.errors import InputError, TooFewRecordsError
from dynanoise.core.seeding import derive

pytestmark = pytest.mark.behaviour

N = 300
X, Y = make_classification(N, 8, n_classes=3, n_informative=5, flip_y=0.2, random_state=0)
NAMES = np.array(["a", "b", "c"])[Y]
TWO = np.where(Y > 0, "yes", "no")


def audit(estimator: Any, inputs: Any = X, labels: Any = Y) -> dict[str, float]:
    """The metrics of the strongest attack and of utility."""
    report = dynanoise.audit(estimator, inputs, labels, models=8, attacks=("gap",))
    return {
        name: metric.value
        for result in report.results
        if result.attack in {"strongest", None}
        for name, metric in result.metrics.items()
    }


def scored_by(label: str) -> Any:
    return make_scorer(f1_score, pos_label=label)


def search(scoring: Any, **options: Any) -> Any:
    return GridSearchCV(LogisticRegression(), {"C": [1e-6, 1]}, scoring=scoring, cv=2, **options)


class Recorder(LogisticRegression):  # type: ignore[misc]
    """Remembers the labels and inputs that it was fitted to."""

    fits: ClassVar[list[tuple[Any, Any]]] = []

    def fit(self, X: Any, y: Any) -> Any:
        self.fits.append((X, y))
        return super().fit(X, y)


class ReturnsNothing(LogisticRegression):  # type: ignore[misc]
    """Its ``fit`` returns nothing."""

    def fit(self, X: Any, y: Any) -> None:
        super().fit(X, y)


WORKING: dict[str, tuple[Any, Any]] = {
    "weights of classes": (LogisticRegression(class_weight={"a": 5, "b": 1, "c": 1}), NAMES),
    "weights of whole floats": (LogisticRegression(class_weight={1: 1, 2: 5, 3: 1}), Y + 1.0),
    "a tuned threshold": (
        TunedThresholdClassifierCV(GaussianNB(), scoring=scored_by("yes"), thresholds=9),
        TWO,
    ),
    "a search": (search(scored_by("yes")), TWO),
    "a search with two scores": (search(["accuracy", "f1_macro"], refit="accuracy"), NAMES),
    "stacked": (StackingClassifier([("a", LogisticRegression()), ("b", GaussianNB())]), NAMES),
    "stacked in a pipeline": (
        make_pipeline(StandardScaler(), StackingClassifier([("a", GaussianNB())])),
        NAMES,
    ),
    "voting": (VotingClassifier([("a", GaussianNB())], voting="soft"), NAMES),
    "calibrated": (CalibratedClassifierCV(LinearSVC(), cv=3), NAMES),
    "bagging": (BaggingClassifier(GaussianNB(), 3), NAMES),
    "a frozen transformer": (
        make_pipeline(FrozenEstimator(StandardScaler().fit(X)), LogisticRegression()),
        NAMES,
    ),
    "boosting that stops": (
        HistGradientBoostingClassifier(max_iter=9, early_stopping=True, min_samples_leaf=5),
        NAMES,
    ),
    "trees that stop": (GradientBoostingClassifier(n_estimators=5, n_iter_no_change=2), NAMES),
    "a gradient that stops": (SGDClassifier(loss="log_loss", early_stopping=True), NAMES),
    "a network that stops": (
        MLPClassifier(early_stopping=True, n_iter_no_change=3, learning_rate_init=0.02),
        NAMES,
    ),
    "decision values": (OneVsOneClassifier(LinearSVC()), NAMES),
    "distances": (SVC(), NAMES),
    "no probabilities": (Perceptron(), NAMES),
    "nothing returned": (ReturnsNothing(), NAMES),
}


@pytest.mark.parametrize("kind", WORKING)
def test_estimators_are_fitted_to_the_users_labels(kind: str) -> None:
    estimator, labels = WORKING[kind]
    assert audit(estimator, X, labels)["accuracy"] > 0.4


def test_a_search_audits_the_candidate_that_it_chooses_alone() -> None:
    """The audit of the search is that of its best candidate: C = 1e-6 would predict one class."""
    alone = search(scored_by("no")).fit(X, TWO)
    assert alone.best_params_ == {"C": 1}
    assert audit(search(scored_by("no")), X, TWO) == audit(LogisticRegression(C=1), X, TWO)


@pytest.mark.parametrize("labels", [NAMES, NAMES.astype(object), Y + 5, Y == 1, Y - 0.0])
def test_clones_see_the_labels_and_rows_as_they_are(labels: Any) -> None:
    Recorder.fits.clear()
    audit(Recorder(), X, labels)
    rows = {tuple(row): label for row, label in zip(X.tolist(), labels.tolist(), strict=True)}
    assert len(Recorder.fits) == 8
    for inputs, given in Recorder.fits:
        assert given.dtype == labels.dtype
        assert [rows[tuple(row)] for row in inputs.tolist()] == given.tolist()


def folds(splitter: Any) -> Any:
    return GridSearchCV(SGDClassifier(loss="log_loss"), {"alpha": [0.1, 1e-4]}, cv=splitter)


def skorch_net() -> Any:
    torch: Any = pytest.importorskip("torch", reason="pip install 'dynanoise[train]'")
    skorch: Any = pytest.importorskip("skorch", reason="skorch is not installed")
    options = {"max_epochs": 1, "verbose": 0, "criterion": torch.nn.CrossEntropyLoss}
    return skorch.NeuralNetClassifier(
        torch.nn.Linear, module__in_features=8, module__out_features=3, **options
    )


RANDOM: dict[str, Any] = {
    "folds": lambda: folds(StratifiedKFold(3, shuffle=True)),
    "splits": lambda: folds(ShuffleSplit(2)),
    "inside": lambda: CalibratedClassifierCV(
        make_pipeline(StandardScaler(), SGDClassifier()), cv=StratifiedKFold(2, shuffle=True)
    ),
    "torch": skorch_net,
}


@pytest.mark.parametrize("kind", RANDOM)
def test_everything_random_is_of_the_seed(kind: str) -> None:
    inputs = X.astype(np.float32)
    first, second = (
        dynanoise.audit(RANDOM[kind](), inputs, Y, models=8, seed=3, attacks=("gap",))
        for _ in range(2)
    )
    metrics = [[result.metrics for result in report.results] for report in (first, second)]
    assert metrics[0] == metrics[1]


def test_the_users_objects_and_generators_stay_as_they_are() -> None:
    splitter = StratifiedKFold(2, shuffle=True)
    torch: Any = pytest.importorskip("torch", reason="pip install 'dynanoise[train]'")
    state = torch.get_rng_state()
    audit(folds(splitter))
    assert splitter.random_state is None and torch.equal(state, torch.get_rng_state())


class Sigmoids(LogisticRegression):  # type: ignore[misc]
    """Probabilities that do not sum to 1."""

    def predict_proba(self, X: Any) -> Any:
        return np.full((len(X), 3), 0.9)


class OtherClasses(LogisticRegression):  # type: ignore[misc]
    """Classes of its own."""

    def fit(self, X: Any, y: Any) -> Any:
        super().fit(X, y)
        self.classes_ = np.array(["x", "y", "z"])
        return self


class NoBase:
    """A class that is not of scikit-learn."""

    _estimator_type = "classifier"

    def fit(self, X: Any, y: Any) -> Any:
        return self

    def predict_proba(self, X: Any) -> Any:
        return np.ones((len(X), 1))


class NotCloneable(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """Its constructor changes an argument."""

    def __init__(self, size: Any = (1,)) -> None:
        self.size = list(size)


class Forgetful(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """Its constructor forgets an argument."""

    def __init__(self, size: int = 1) -> None:
        pass


REFUSED: dict[str, tuple[Any, Any, str]] = {
    "a class": (LogisticRegression, Y, "is not a scikit-learn classifier"),
    "an object of no library": (NoBase(), Y, "is not a scikit-learn classifier. Pass an"),
    "no copies": (NotCloneable(), Y, "NotCloneable cannot be cloned.*RuntimeError"),
    "a lost argument": (Forgetful(), Y, "Forgetful cannot be cloned.*AttributeError.*'size'"),
    "no last step": (
        make_pipeline(StandardScaler(), "passthrough"),
        Y,
        "Pipeline.* is not a scikit-learn classifier",
    ),
    "fitted parts": (
        StackingClassifier([("a", GaussianNB().fit(X, Y))], cv="prefit"),
        Y,
        "StackingClassifier cannot be fitted .*is not fitted yet",
    ),
    "a fitted threshold": (
        TunedThresholdClassifierCV(GaussianNB().fit(X, TWO), cv="prefit", refit=False),
        TWO,
        "TunedThresholdClassifierCV cannot be fitted .*NotFittedError",
    ),
    "several targets": (MultiOutputClassifier(GaussianNB()), Y, "predicts several targets"),
    "a chain": (ClassifierChain(GaussianNB()), Y, "predicts several targets"),
    "frozen": (FrozenEstimator(GaussianNB().fit(X, Y)), Y, "GaussianNB in Frozen.* is frozen"),
    "a frozen part": (
        CalibratedClassifierCV(FrozenEstimator(GaussianNB().fit(X, Y))),
        Y,
        "GaussianNB in CalibratedClassifierCV is frozen",
    ),
    "a frozen step": (
        make_pipeline(StandardScaler(), FrozenEstimator(GaussianNB().fit(X, Y))),
        Y,
        "GaussianNB in Pipeline is frozen",
    ),
    "votes": (VotingClassifier([("a", GaussianNB())]), Y, "VotingClassifier gives labels only"),
    "codes": (OutputCodeClassifier(GaussianNB()), Y, "OutputCodeClassifier gives labels only"),
    "labels only": (search("accuracy", refit=False), Y, "GridSearchCV gives labels only"),
    "pairs of three": (SVC(decision_function_shape="ovo"), Y, r"shape \(300, 3\) for 3 classes"),
    "pairs of more": (
        SVC(decision_function_shape="ovo"),
        Y + 3 * (X[:, 0] > 0),
        r"shape \(300, 15\) for 6 classes.*decision_function_shape='ovr'",
    ),
    "scores of NaN": (
        search(scored_by("nobody")),
        TWO,
        "All scores of the GridSearchCV are NaN.*pos_label=nobody is not a valid label",
    ),
    "scores of NaN inside": (
        make_pipeline(StandardScaler(), BaggingClassifier(search(scored_by("nobody")), 2)),
        TWO,
        "All scores of the GridSearchCV are NaN.*pos_label=nobody is not a valid label",
    ),
    "one of two scores NaN": (
        search({"a": "accuracy", "f": scored_by("nobody")}, refit="f"),
        TWO,
        "All scores of the GridSearchCV are NaN.*pos_label=nobody",
    ),
    "a scorer of NaN": (
        RandomizedSearchCV(
            LogisticRegression(), {"C": [1]}, n_iter=1, scoring=lambda *parts: float("nan"), cv=2
        ),
        Y,
        "All scores of the RandomizedSearchCV are NaN.*its scorer returns NaN",
    ),
    "no candidate": (
        GridSearchCV(LogisticRegression(), {"C": [-1.0]}),
        Y,
        r"GridSearchCV cannot be fitted to \d+ of the records.*The 'C' parameter",
    ),
    "groups": (GridSearchCV(GaussianNB(), {}, cv=GroupKFold()), Y, "'groups' parameter should"),
    "a weight too few": (
        LogisticRegression(class_weight={"a": 1, "z": 2}),
        NAMES,
        r"are not in class_weight.*without further arguments",
    ),
    "sigmoids": (Sigmoids(), Y, r"Probabilities of Sigmoids .* sum to 2.7"),
    "other classes": (OtherClasses(), NAMES, r"has the classes \['x', 'y', 'z'\], and y \['a'"),
}


@pytest.mark.filterwarnings("ignore")  # scikit-learn tells of scores of NaN as well
@pytest.mark.parametrize("kind", REFUSED)
def test_what_cannot_be_audited_is_a_sentence_before_any_work(kind: str) -> None:
    estimator, labels, says = REFUSED[kind]
    steps: list[str] = []
    with pytest.raises(InputError, match=says):
        dynanoise.audit(estimator, X, labels, models=8, progress=steps.append)
    assert steps == []


@pytest.mark.filterwarnings("ignore")  # scikit-learn tells of the failed fits
def test_a_search_some_of_whose_candidates_fail_works() -> None:
    some = GridSearchCV(LogisticRegression(), {"C": [-1.0, 1.0]}, cv=2)
    assert audit(some) == audit(LogisticRegression())


@pytest.mark.filterwarnings("ignore")  # those of these libraries
@pytest.mark.parametrize("name", ["xgboost", "lightgbm", "catboost"])
def test_boosting_of_other_libraries(name: str) -> None:
    library = pytest.importorskip(name, reason=f"{name} is not installed")
    if name == "xgboost":
        assert audit(library.XGBClassifier(n_estimators=3))["accuracy"] > 0.4
        with pytest.raises(InputError, match="Must have at least 1 validation dataset"):
            audit(library.XGBClassifier(n_estimators=3, early_stopping_rounds=1))
        with pytest.raises(InputError, match=r"Invalid classes inferred.* got \['a' 'b' 'c'\]"):
            audit(library.XGBClassifier(n_estimators=3), X, NAMES)
    if name == "lightgbm":
        assert audit(library.LGBMClassifier(n_estimators=3, verbose=-1), X, NAMES)["accuracy"] > 0.4
    if name == "catboost":
        options = {"iterations": 3, "verbose": 0, "allow_writing_files": False}
        for labels in (NAMES, Y == 1, Y + 9):
            model = library.CatBoostClassifier(**options)
            assert audit(model, X, labels)["accuracy"] > 0.4


def frames(kind: str) -> tuple[Any, Any]:
    library: Any = pytest.importorskip(kind, reason=f"{kind} is not installed")
    columns = {f"f{k}": X[:, k] for k in range(8)}
    if kind == "pyarrow":
        return library.table(columns), library.array(NAMES.tolist())
    if kind == "pandas":
        frame = library.DataFrame(columns, index=np.arange(N)[::-1])
        return frame, library.Series(NAMES, index=np.arange(N) + 7, dtype="category")
    return library.DataFrame(columns), library.Series(NAMES)


@pytest.mark.parametrize("kind", ["pandas", "polars", "pyarrow"])
def test_frames_of_any_library_are_an_array(kind: str) -> None:
    assert audit(LogisticRegression(), *frames(kind)) == audit(LogisticRegression(), X, NAMES)


@pytest.mark.filterwarnings("ignore:Constructing a DIA matrix")
@pytest.mark.parametrize("array", [False, True])
@pytest.mark.parametrize("form", ["coo", "dia", "bsr", "lil", "dok", "csc", "csr"])
def test_sparse_inputs_of_any_format_are_one(form: str, array: bool) -> None:
    sparser = np.where(np.abs(X) > 1, X, 0)
    make = getattr(sparse, f"{form}_{'array' if array else 'matrix'}")
    expected = audit(LogisticRegression(), sparse.csr_array(sparser))
    assert audit(LogisticRegression(), make(sparser)) == expected


WORDS = [f"the film w{i % 50} was {'good' if i % 2 else 'bad'} x{i % 3}" for i in range(N)]


def as_frame(kind: str, values: Any) -> Any:
    library: Any = pytest.importorskip(kind, reason=f"{kind} is not installed")
    return library.Series(values)


@pytest.mark.parametrize("kind", ["a list", "an array", "pandas", "polars"])
def test_texts_and_dictionaries_go_to_the_pipeline_as_they_are(kind: str) -> None:
    forms: dict[str, Any] = {"a list": list, "an array": np.array}
    texts = forms[kind](WORDS) if kind in forms else as_frame(kind, WORDS)
    model = make_pipeline(TfidfVectorizer(), LogisticRegression())
    assert audit(model, texts) == audit(model, WORDS)
    if kind == "a list":
        rows = [{"a": float(row[0]), f"b{row[1] > 0}": 1.0} for row in X]
        assert "auc" in audit(make_pipeline(DictVectorizer(), LogisticRegression()), rows)
        lists = X.tolist(), NAMES.tolist()
        assert audit(LogisticRegression(), *lists) == audit(LogisticRegression(), X, NAMES)
        mixed = np.array([[word.split()[2], index % 7] for index, word in enumerate(WORDS)], object)
        encoder = OneHotEncoder(handle_unknown="ignore")
        assert "auc" in audit(make_pipeline(encoder, LogisticRegression()), mixed)


@pytest.mark.parametrize(
    ("inputs", "labels", "says"),
    [
        ({"a": X}, Y, "X is of type dict"),
        (None, Y, "X is of type NoneType"),
        ((row for row in X), Y, "X is of type generator"),
        (X[:, 0], Y, r"cannot be fitted .*Expected 2D array, got 1D array"),
        (np.where(X > 2, np.nan, X), Y, r"cannot be fitted .*Input X contains NaN"),
        (X, None, "y is None. Give every record a label"),
        (X, [*NAMES[:-1], None], "y holds None in row 299"),
        (X, [*NAMES[:9], float("nan"), *NAMES[10:]], "y holds nan in row 9"),
        (X, np.eye(3, dtype=int)[Y] | (np.arange(N) == 4)[:, None], "row 4 holds 3 ones"),
        (X[:9], Y, r"X has shape \(9, 8\) and y \(300,\)"),
    ],
)
def test_data_that_do_not_fit_are_a_sentence(inputs: Any, labels: Any, says: str) -> None:
    with pytest.raises(InputError, match=says):
        audit(LogisticRegression(), inputs, labels)


def test_lazy_frames_are_refused() -> None:
    polars: Any = pytest.importorskip("polars", reason="polars is not installed")
    with pytest.raises(InputError, match="X is of type LazyFrame"):
        audit(LogisticRegression(), polars.DataFrame(X).lazy())


def records(numbers: Any) -> Records:
    return Records(np.zeros((len(numbers), 1)), numbers, numbers, np.unique(numbers))


def test_coins_are_thrown_again_only_where_a_class_is_missing() -> None:
    rows = np.arange(200)
    numbers = np.where(rows < 8, 1, 0)
    member = draw_membership(records(numbers), rows, 3000, seed=0)
    assert (member[:, :8].any(axis=1)).all()
    first = np.array(
        [
            np.random.default_rng(derive(0, "membership", model)).random(200) < 0.5
            for model in range(3000)
        ]
    )
    missing = ~first[:, :8].any(axis=1)
    assert 0 < missing.sum() < 30  # of 3,000 / 256
    np.testing.assert_array_equal(member[~missing], first[~missing])
    # Each record is a member in half of the models, the rare ones in 50.2%.
    assert np.abs(member.mean(axis=0) - 0.5).max() < 0.04


@pytest.mark.parametrize("count", [1, 3, 9])
def test_a_class_with_too_few_records_is_refused_before_any_work(count: int) -> None:
    labels = NAMES.copy()
    labels[:count] = "d"
    steps: list[str] = []
    with pytest.raises(TooFewRecordsError, match=r"class 'd' has \d records beside the 30%"):
        dynanoise.audit(DummyClassifier(), X, labels, models=8, progress=steps.append)
    assert steps == []


def test_a_half_that_is_too_small_for_a_class_fails_at_the_first_clone() -> None:
    """Calibration by five folds needs five records of each class in every half."""
    labels = NAMES.astype("U9")
    labels[:13] = "rare"
    model = CalibratedClassifierCV(LogisticRegression(), cv=5)
    steps: list[str] = []
    with pytest.raises(InputError, match=r"\d of them of the rarest class 'rare' \(ValueError"):
        dynanoise.audit(model, X, labels, models=16, progress=steps.append)
    assert steps == []
    labels[:60] = "rare"
    assert audit(model, X, labels)["accuracy"] > 0.3
