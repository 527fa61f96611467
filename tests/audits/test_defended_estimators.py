"""Audits of estimators that are defended already: taken apart, with their own defense and noise."""

from __future__ import annotations

import copy
import importlib
from typing import Any

import numpy as np
import pytest
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.datasets import make_classification
from sklearn.ensemble import StackingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import FixedThresholdClassifier, GridSearchCV
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler, StandardScaler

import dynanoise
from dynanoise.audits.estimator import _logits
from dynanoise.audits.undefended_estimator import UndefendedEstimator, undefended_estimator
from dynanoise.config.configuration import Configuration
from dynanoise.core.errors import InputError
from dynanoise.noise.keyed import Keyed
from dynanoise.noise.keys import ExperimentKey
from dynanoise.sklearn import DefendedClassifier

pytestmark = pytest.mark.behaviour

X, Y = make_classification(300, 30, n_classes=3, n_informative=5, flip_y=0.3, random_state=0)
NAMES = np.array(["a", "b", "c"])[Y]
MODEL = LogisticRegression(C=100, max_iter=2000)
KEEP = dynanoise.DynaNoise(keep_label=True)
KEY = ExperimentKey(0)


def audit(estimator: Any, inputs: Any = X, labels: Any = NAMES, **options: Any) -> Any:
    options = {"models": 8, "attacks": ("lira",), **options}
    return dynanoise.audit(estimator, inputs, labels, **options)


def numbers(report: Any) -> list[Any]:
    return [
        (result.method, result.attack, result.threat.repeats, result.metrics)
        for result in report.results
    ]


def leakage(report: Any) -> dict[tuple[str, int], float]:
    return {
        (result.method, result.threat.repeats): result.metrics["auc"].value
        for result in report.results
        if result.attack == "strongest"
    }


def keyed(width: float, defense: Any = KEEP) -> Configuration:
    return Configuration(defense, Keyed(width, "m", "ab" * 32), input="probabilities")


FITTED: Any = DefendedClassifier(MODEL, key=KEY).fit(X, NAMES)
LABEL = dynanoise.CalibratedLabel()
SAME: dict[str, tuple[Any, Any, Any]] = {
    "fresh": (DefendedClassifier(MODEL, noise="fresh"), MODEL, KEEP),
    "another defense": (
        DefendedClassifier(MODEL, dynanoise.Temperature(3), noise="fresh"),
        MODEL,
        dynanoise.Temperature(3),
    ),
    "keyed": (DefendedClassifier(MODEL, cell_width=4), MODEL, keyed(4.0)),
    "an experiment's key": (DefendedClassifier(MODEL, cell_width=4, key=KEY), MODEL, keyed(4.0)),
    "fitted": (FITTED, MODEL, keyed(FITTED.noise_.cell_width)),
    "around a fitted one": (
        DefendedClassifier(GaussianNB().fit(X, NAMES)),
        GaussianNB(),
        keyed(8.0),
    ),
    "learns from held-out records": (
        DefendedClassifier(MODEL, LABEL, holdout=0.3, noise="fresh"),
        MODEL,
        Configuration(LABEL, "fresh", input="probabilities"),
    ),
    "a pipeline inside": (
        DefendedClassifier(make_pipeline(StandardScaler(), GaussianNB()), noise="fresh"),
        make_pipeline(StandardScaler(), GaussianNB()),
        KEEP,
    ),
    "the last step": (
        make_pipeline(StandardScaler(), DefendedClassifier(GaussianNB(), noise="fresh")),
        make_pipeline(StandardScaler(), GaussianNB()),
        KEEP,
    ),
    "the last step of the last step": (
        make_pipeline(
            StandardScaler(),
            make_pipeline(MinMaxScaler(), DefendedClassifier(GaussianNB(), cell_width=3)),
        ),
        make_pipeline(StandardScaler(), make_pipeline(MinMaxScaler(), GaussianNB())),
        keyed(3.0),
    ),
    "stacked inside": (
        DefendedClassifier(StackingClassifier([("a", GaussianNB())]), noise="fresh"),
        StackingClassifier([("a", GaussianNB())]),
        KEEP,
    ),
}


@pytest.mark.parametrize("kind", SAME)
def test_the_audit_is_that_of_the_parts(kind: str) -> None:
    defended, model, defense = SAME[kind]
    before = repr(defended)
    report = audit(defended)
    assert numbers(report) == numbers(audit(model, defense=defense))
    assert {repeats for _, repeats in leakage(report)} == {1, 16}
    assert report.notes[0].startswith("The estimator is defended: clones of its ")
    assert report.results[0].command.startswith("dynanoise.audit(")
    assert repr(defended) == before


def test_repeated_queries_are_counted() -> None:
    """Fresh noise is averaged away, which one query does not show."""
    noisy = dynanoise.DynaNoise(base_variance=3.0)
    auc = leakage(audit(DefendedClassifier(MODEL, noisy, noise="fresh"), queries=(1, 64)))
    assert auc["dynanoise", 64] > auc["dynanoise", 1] + 0.03
    assert auc["none", 1] > auc["dynanoise", 1] + 0.03


@pytest.mark.parametrize("model", [MODEL, GaussianNB()], ids=["linear", "Bayes"])
def test_a_width_that_fit_measures_is_that_of_the_clones(model: Any) -> None:
    widths = []
    for holdout in (None, 0.3):
        report = audit(DefendedClassifier(model, holdout=holdout))
        assert "the median of the clones'" in report.notes[0]
        words = report.notes[0].split()
        widths.append(float(words[words.index("cells") + 1]))
        assert numbers(report) == numbers(audit(model, defense=keyed(widths[-1])))
    # What `fit` measures on random halves of its own: on members, and on others.
    fits: dict[bool, list[float]] = {True: [], False: []}
    for seed in range(4):
        order = np.random.default_rng(seed).permutation(len(X))
        inside, outside = order[:105], order[105:]
        for apart, measured in fits.items():
            fitted: Any = DefendedClassifier(model, key=KEY).fit(
                X[inside], NAMES[inside], reference=(X[outside], NAMES[outside]) if apart else None
            )
            measured.append(fitted.noise_.cell_width)
    expected = [np.median(fits[False]), np.median(fits[True])]
    assert (widths[0] < widths[1]) == (expected[0] < expected[1])


def test_the_width_is_the_median_of_the_models() -> None:
    logits = np.random.default_rng(0).normal(0, 3, (3, 50, 4)) * np.array([1, 2, 5])[:, None, None]
    measured = np.random.default_rng(1).random((3, 50)) < 0.5
    setting = UndefendedEstimator(MODEL, KEEP, keyed=True)
    ordered = np.sort(logits[1][measured[1]], axis=1)  # the second of three scales
    width = float(f"{2.5 * np.median(ordered[:, -1] - ordered[:, -2]):.3g}")
    assert setting.configuration(logits, measured).cell_width == width
    fixed = UndefendedEstimator(MODEL, KEEP, keyed=True, cell_width=7.0)
    assert fixed.configuration(logits, measured).cell_width == 7.0
    assert UndefendedEstimator(MODEL, KEEP).configuration(logits, measured).cell_width is None


def test_labels_are_those_of_predict() -> None:
    labels = np.where(Y > 0, "yes", "no")
    threshold = FixedThresholdClassifier(MODEL, threshold=0.9)
    fitted = threshold.fit(X, labels)
    setting = undefended_estimator(DefendedClassifier(threshold))
    classes = np.array(["no", "yes"])
    rows = _logits(fitted, X, classes, setting)
    np.testing.assert_array_equal(classes[rows.argmax(axis=1)], fitted.predict(X))
    raw = _logits(fitted, X, classes, UndefendedEstimator(threshold))
    np.testing.assert_allclose(np.exp(raw), fitted.predict_proba(X))
    assert (raw.argmax(axis=1) != rows.argmax(axis=1)).any()


@pytest.mark.parametrize(
    ("estimator", "options", "says"),
    [
        (GridSearchCV(DefendedClassifier(MODEL), {}), {}, r"DefendedClassifier\(GridSearchCV"),
        (StackingClassifier([("a", DefendedClassifier(MODEL))]), {}, "inside of the Stacking"),
        (make_pipeline(DefendedClassifier(MODEL), MODEL), {}, "inside of the Pipeline"),
        (DefendedClassifier(DefendedClassifier(MODEL)), {}, "defended twice"),
        (DefendedClassifier(MODEL), {"defense": "temperature"}, "defended already"),
        (DefendedClassifier(MODEL, noise="loud"), {}, "noise is 'loud'"),
    ],
)
def test_what_cannot_be_taken_apart_is_refused(estimator: Any, options: Any, says: str) -> None:
    with pytest.raises(InputError, match=says):
        audit(estimator, **options)


def linear_network(torch: Any) -> Any:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return torch.nn.Linear(30, 3).eval()


class Network(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """A classifier around a torch module.

    Args:
        module: gives one output a class.
        softmax: True if probabilities are made of its outputs.
    """

    def __init__(self, module: Any = None, softmax: bool = False) -> None:
        self.module = module
        self.softmax = softmax

    def fit(self, X: Any, y: Any) -> Any:
        torch: Any = importlib.import_module("torch")
        self.classes_, numbers = np.unique(y, return_inverse=True)
        self.net_ = copy.deepcopy(self.module).train()
        optimizer = torch.optim.Adam(self.net_.parameters(), 0.1)
        for _ in range(30):
            optimizer.zero_grad()
            loss = torch.nn.functional.cross_entropy(self.outputs(X), torch.as_tensor(numbers))
            loss.backward()
            optimizer.step()
        self.net_.eval()
        return self

    def outputs(self, X: Any) -> Any:
        import torch

        return self.net_(torch.as_tensor(X, dtype=torch.float32))

    def predict_proba(self, X: Any) -> Any:
        outputs = self.outputs(X).detach()
        return (outputs.softmax(dim=-1) if self.softmax else outputs).numpy()

    def predict(self, X: Any) -> Any:
        return self.classes_[self.predict_proba(X).argmax(axis=1)]


@pytest.mark.parametrize("place", ["a parameter", "a step", "an attribute"])
@pytest.mark.parametrize("noise", ["fresh", "keyed"])
def test_modules_of_torch_are_taken_apart(place: str, noise: str) -> None:
    torch: Any = pytest.importorskip("torch", reason="pip install 'dynanoise[train]'")
    from dynanoise.torch import Defended

    plain = Network(linear_network(torch), softmax=True)
    module = Defended(linear_network(torch), KEEP, None)
    if noise == "keyed":
        module = Defended.keyed(linear_network(torch), KEEP, cell_width=4.0, model="m", key=KEY)
    if place == "an attribute":  # trained first, defended then
        estimator = Network(linear_network(torch), softmax=True).fit(X, NAMES)
        estimator.net_ = module
    else:
        estimator = Network(module)  # with a softmax of its own
    expected: Any = plain
    if place == "a step":
        estimator = make_pipeline(StandardScaler(), estimator)
        expected = make_pipeline(StandardScaler(), plain)
    found = leakage(audit(estimator))
    defense = KEEP if noise == "fresh" else keyed(4.0)
    wanted = leakage(audit(expected, defense=defense))
    assert found.keys() == wanted.keys() == {("none", 1), ("dynanoise", 1), ("dynanoise", 16)}
    # Logits instead of ln of float32 probabilities differ by a constant of each row and rounding.
    np.testing.assert_allclose([*found.values()], [*wanted.values()], atol=0.02)
    if place == "a parameter":
        assert estimator.module is module


def test_skorch_with_a_defended_module() -> None:
    torch: Any = pytest.importorskip("torch", reason="pip install 'dynanoise[train]'")
    skorch: Any = pytest.importorskip("skorch", reason="skorch is not installed")
    from dynanoise.torch import Defended

    torch.manual_seed(0)
    options = {"max_epochs": 2, "verbose": 0, "criterion": torch.nn.CrossEntropyLoss}
    net = skorch.NeuralNetClassifier(linear_network(torch), **options)
    inputs = X.astype(np.float32)
    net.fit(inputs, Y.astype(np.int64))
    net.module_ = Defended(net.module_.eval(), KEEP, None)
    for estimator in (net, make_pipeline(StandardScaler(), net)):
        found = leakage(audit(estimator, inputs, Y.astype(np.int64)))
        assert found.keys() == {("none", 1), ("dynanoise", 1), ("dynanoise", 16)}


def test_a_report_tells_of_the_defense() -> None:
    report = audit(DefendedClassifier(MODEL, noise="fresh"))
    for page in (str(report), report.to_markdown(), report.to_html()):
        assert "The estimator is defended" in page
