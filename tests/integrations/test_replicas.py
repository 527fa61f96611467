"""Replicas of one model agree: the same digest in every process, before and after predictions."""

from __future__ import annotations

import importlib.util
import io
import itertools
import os
import pickle
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import loguniform
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.compose import ColumnTransformer
from sklearn.datasets import make_classification
from sklearn.decomposition import LatentDirichletAllocation
from sklearn.ensemble import StackingClassifier, VotingClassifier
from sklearn.feature_extraction.text import CountVectorizer, HashingVectorizer, TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import RandomizedSearchCV
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import FeatureUnion, make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler

from dynanoise.core.errors import InputError
from dynanoise.integrations.digests import fitted_digest, replicas_digest
from dynanoise.noise.keys import ExperimentKey
from dynanoise.sklearn import DefendedClassifier
from tests.factories.waiting import LONG

N = 120
X, Y = make_classification(N, 8, random_state=0)
X = X.astype(np.float32)
TEXTS = [f"the film number w{i} was {'good' if i % 2 else 'bad'} and x{i % 3}" for i in range(N)]
WORDS = np.array([[f"w{i % 5}", f"v{i % 3}"] for i in range(N)], dtype=object)


def optional(library: str) -> Any:
    return pytest.importorskip(library, reason=f"{library} is not installed")


def searched() -> Any:
    options = {"C": loguniform(0.1, 1)}
    return RandomizedSearchCV(LogisticRegression(), options, n_iter=2, cv=2, random_state=0)


def after(*steps: Any) -> Any:
    return make_pipeline(*steps, LogisticRegression())


MODELS: dict[str, Any] = {
    "words left out by language": (after(TfidfVectorizer(stop_words="english")), TEXTS),
    "words left out by list": (after(TfidfVectorizer(stop_words=["the", "was"])), TEXTS),
    "counts": (after(CountVectorizer(analyzer="char", ngram_range=(1, 2))), TEXTS),
    "hashes": (after(HashingVectorizer(stop_words="english", n_features=64)), TEXTS),
    "union": (after(FeatureUnion([("a", TfidfVectorizer()), ("b", CountVectorizer())])), TEXTS),
    "topics": (after(CountVectorizer(), LatentDirichletAllocation(2, max_iter=2)), TEXTS),
    "columns": (
        after(ColumnTransformer([("a", OneHotEncoder(), [0]), ("b", OneHotEncoder(), [1])])),
        WORDS,
    ),
    "a function of NumPy": (after(FunctionTransformer(np.tanh)), X),
    "neighbours": (KNeighborsClassifier(algorithm="ball_tree"), X),
    "stacked": (StackingClassifier([("a", GaussianNB()), ("b", KNeighborsClassifier())]), X),
    "voting": (VotingClassifier([("a", GaussianNB()), ("b", GaussianNB())], voting="soft"), X),
    "searched": (searched(), X),
    "a generator": (MLPClassifier(max_iter=900, random_state=np.random.RandomState(0)), X),
}


def catboost() -> Any:
    options = {"iterations": 3, "verbose": 0, "allow_writing_files": False, "random_seed": 0}
    return optional("catboost").CatBoostClassifier(**options)


def skorch(**options: Any) -> Any:
    torch = optional("torch")
    net = optional("skorch").NeuralNetClassifier
    torch.manual_seed(0)
    layers = torch.nn.Sequential(torch.nn.Linear(8, 2), torch.nn.Softmax(-1))
    loss = torch.nn.NLLLoss
    return net(layers, max_epochs=2, verbose=0, criterion=loss, **options)


OTHERS = {
    "catboost": catboost,
    "skorch": skorch,
    "skorch with Adam": lambda: skorch(optimizer=optional("torch").optim.Adam),
    "skorch in a pipeline": lambda: make_pipeline(StandardScaler(), skorch()),
    "xgboost": lambda: optional("xgboost").XGBClassifier(n_estimators=3),
    "lightgbm": lambda: optional("lightgbm").LGBMClassifier(n_estimators=3, verbose=-1),
}

REPLICA = """
import pickle, sys, warnings
from pathlib import Path
from dynanoise.integrations.digests import fitted_digest
warnings.simplefilter("ignore")
models = pickle.loads(Path(sys.argv[1]).read_bytes())
for name, (model, inputs) in models.items():
    before = fitted_digest(model)
    model.predict_proba(inputs), model.predict(inputs)
    print(name, before, fitted_digest(model), sep="|")
"""


def digests_in_processes(folder: Path, models: dict[str, tuple[Any, Any]]) -> list[dict[str, Any]]:
    """Digests before and after predictions, in three processes with hashes of their own."""
    path = folder / "models.pickle"
    path.write_bytes(pickle.dumps(models))
    processes = [
        subprocess.run(
            [sys.executable, "-c", REPLICA, str(path)],
            check=True,
            capture_output=True,
            text=True,
            env={**os.environ, "PYTHONHASHSEED": str(seed), "OMP_NUM_THREADS": "1"},
            timeout=LONG,
        )
        for seed in (1, 2, 3)
    ]
    lines = [process.stdout.splitlines() for process in processes]
    return [{line.split("|")[0]: line.split("|")[1:] for line in output} for output in lines]


@pytest.fixture(scope="module")
def replicas(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Fitted models with inputs; and what three processes found of each."""
    models = {name: (model.fit(inputs, Y), inputs[:5]) for name, (model, inputs) in MODELS.items()}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # those of other libraries
        for name, make in OTHERS.items():
            if importlib.util.find_spec(name.split()[0]) is not None:
                models[name] = (make().fit(X, Y.astype(np.int64)), X[:5])
        return models, digests_in_processes(tmp_path_factory.mktemp("replicas"), models)


@pytest.mark.process
@pytest.mark.behaviour
@pytest.mark.filterwarnings("ignore:X does not have valid feature names")  # of lightgbm
@pytest.mark.parametrize("name", [*MODELS, *OTHERS])
def test_the_digest_is_the_same_in_every_process(replicas: Any, name: str) -> None:
    if name in OTHERS:
        optional(name.split(maxsplit=1)[0])
    model, inputs = replicas[0][name]
    expected = fitted_digest(model)
    assert [found[name] for found in replicas[1]] == 3 * [[expected, expected]]
    model.predict(inputs)
    assert fitted_digest(model) == expected
    assert replicas_digest(model, lambda replica: replica.predict(inputs)) == expected


@pytest.mark.behaviour
@pytest.mark.filterwarnings("ignore")  # those of other libraries
@pytest.mark.parametrize("name", OTHERS)
def test_another_model_of_the_same_kind_has_another_digest(name: str) -> None:
    optional(name.split(maxsplit=1)[0])
    first, second = (OTHERS[name]().fit(X, labels) for labels in (Y.astype(int), 1 - Y))
    assert fitted_digest(first) != fitted_digest(second)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "int64"])
def test_tensors_count_by_value(dtype: str) -> None:
    torch = optional("torch")
    values = torch.arange(6).reshape(2, 3).to(getattr(torch, dtype))
    digest = fitted_digest({"weights": values})
    assert digest == fitted_digest({"weights": values.t().contiguous().t()})
    assert digest == fitted_digest({"weights": torch.nn.Parameter(values, requires_grad=False)})
    others = [values + 1, values.double().half(), values.reshape(3, 2), values.tolist()]
    assert len({digest, *(fitted_digest({"weights": other}) for other in others)}) == 5


class Unstable(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """A classifier whose state is not that of its replicas.

    Args:
        kind: what its state holds.
    """

    counter = itertools.count()

    def __init__(self, kind: str = "nothing") -> None:
        self.kind = kind

    def fit(self, X: Any, y: Any) -> Any:
        self.classes_ = np.unique(y)
        return self

    def predict_proba(self, X: Any) -> Any:
        if self.kind == "the last query":
            self.last_ = np.array(X)
        if self.kind == "the number of queries":
            self.queries_ = getattr(self, "queries_", 0) + len(X)
        if self.kind == "the address of a cache":
            self.cache_ = id(self.classes_)
        if self.kind == "a generator":
            self.random_ = getattr(self, "random_", np.random.RandomState(0))
            self.random_.rand()
        return np.full((len(X), len(self.classes_)), 1 / len(self.classes_))

    def predict(self, X: Any) -> Any:
        return self.classes_[self.predict_proba(X).argmax(axis=1)]

    def __getstate__(self) -> dict[str, Any]:
        state = dict(vars(self))
        if self.kind == "random bytes":
            state["blob_"] = os.urandom(8)
        if self.kind == "a copy's number":
            state.pop("number_", None)
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        if self.kind == "a copy's number":
            self.number_ = next(self.counter)

    def __reduce_ex__(self, protocol: Any) -> Any:
        if self.kind == "a copy's number" and hasattr(self, "number_"):
            return Unstable, (self.kind,), dict(vars(self))
        return super().__reduce_ex__(protocol)


@pytest.mark.parametrize(
    "kind",
    [
        "the last query",
        "the number of queries",
        "the address of a cache",
        "a generator",
        "random bytes",
        "a copy's number",
    ],
)
def test_a_state_that_is_not_that_of_replicas_needs_a_digest(kind: str) -> None:
    model = Unstable(kind).fit(X, Y)
    defended = DefendedClassifier(model, key=ExperimentKey(0))
    with pytest.raises(InputError, match=r"state of the Unstable changes .* weights="):
        defended.predict_proba(X)
    named = DefendedClassifier(model, key=ExperimentKey(0), weights="ab" * 32)
    assert named.predict_proba(X).shape == (N, 2)


def test_a_state_of_its_own_is_fine() -> None:
    model = Unstable().fit(X, Y)
    defended = DefendedClassifier(model, key=ExperimentKey(0))
    assert defended.predict_proba(X).shape == (N, 2)
    assert replicas_digest(model, lambda replica: replica.predict(X)) == fitted_digest(model)


def test_what_cannot_be_pickled_is_digested_itself() -> None:
    lambdas = make_pipeline(FunctionTransformer(lambda X: X), LogisticRegression()).fit(X, Y)
    with pytest.raises((pickle.PicklingError, AttributeError)):
        pickle.dump(lambdas, io.BytesIO())
    digest = replicas_digest(lambdas, lambda replica: replica.predict(X))
    assert digest == fitted_digest(lambdas)
    model = Unstable("the last query").fit(X, Y)
    model.extra_ = lambda: None
    with pytest.raises(InputError, match="state of the Unstable changes"):
        replicas_digest(model, lambda replica: replica.predict(X))
