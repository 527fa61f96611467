"""DefendedClassifier: scikit-learn's own checks, and what a defense promises."""

from __future__ import annotations

import io
import os
import pickle
import subprocess
import sys
import textwrap
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse import csr_array
from sklearn import config_context
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.datasets import load_iris, make_classification
from sklearn.ensemble import RandomForestClassifier
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC
from sklearn.tree import DecisionTreeClassifier
from sklearn.utils import estimator_html_repr
from sklearn.utils.estimator_checks import parametrize_with_checks
from sklearn.utils.validation import check_is_fitted

import dynanoise as dn
from dynanoise.core.errors import InputError, SecretError
from dynanoise.defenses.hamp import HAMP
from dynanoise.defenses.memguard import MemGuard
from dynanoise.defenses.static import Static
from dynanoise.noise.keys import ExperimentKey, Secret
from dynanoise.sklearn import DefendedClassifier
from tests.factories.waiting import LONG

SECRET = "5f" * 32
KEEP, MOVE = dn.DynaNoise(keep_label=True), dn.DynaNoise()
X, Y = load_iris(return_X_y=True)
NAMES = np.array(["setosa", "versicolor", "virginica"])[Y]


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DYNANOISE_KEY", SECRET)


def wrapped(estimator: Any = None, defense: Any = None, **choices: Any) -> Any:
    inner = LogisticRegression(max_iter=500) if estimator is None else estimator
    return DefendedClassifier(inner, defense, **choices)


def moved(estimator: DefendedClassifier) -> dict[str, str]:
    """Checks that a defense which moves labels must fail."""
    if estimator.defense == KEEP or isinstance(estimator.estimator, LogisticRegression):
        return {}
    why = "answers of 0 and 1 share cells with others, and without keep_label labels move there"
    return {"check_classifiers_one_label_sample_weights": why}


@pytest.mark.behaviour
@pytest.mark.filterwarnings("ignore:divide by zero encountered in log")  # of GaussianNB
@pytest.mark.filterwarnings("ignore:.* of .* defended predictions")  # of trees
@parametrize_with_checks(  # type: ignore[untyped-decorator]
    [
        DefendedClassifier(LogisticRegression()),
        DefendedClassifier(LogisticRegression(), MOVE),
        DefendedClassifier(GaussianNB(), MOVE),
        DefendedClassifier(DecisionTreeClassifier(random_state=0), KEEP),
    ],
    expected_failed_checks=moved,
)
def test_scikit_learns_own_checks(estimator: Any, check: Any) -> None:
    check(estimator)


rows = st.lists(st.lists(st.floats(-1e3, 1e3), min_size=4, max_size=4), min_size=1, max_size=8)


@given(rows=rows, keep=st.booleans())
def test_answers_are_probabilities_that_repeat_in_any_batch(
    rows: list[list[float]], keep: bool
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DYNANOISE_KEY", SECRET)
        model = FITTED[keep]
        answers = model.predict_proba(rows)
        np.testing.assert_allclose(answers.sum(axis=1), 1, rtol=1e-12)
        assert (answers >= 0).all()
        np.testing.assert_array_equal(answers, model.predict_proba(rows))
        backwards = model.predict_proba(rows[::-1])[::-1]
        alone = np.concatenate([model.predict_proba([row]) for row in rows])
        # The classifier's own products may differ in the last bit with the batch.
        np.testing.assert_allclose(answers, backwards, rtol=1e-9)
        np.testing.assert_allclose(answers, alone, rtol=1e-9)
        np.testing.assert_array_equal(model.predict(rows), model.classes_[answers.argmax(1)])
        if keep:
            inner = model.estimator_.predict_proba(rows).argmax(1)
            np.testing.assert_array_equal(answers.argmax(1), inner)


FITTED = {
    keep: DefendedClassifier(
        LogisticRegression(max_iter=500),
        replace(MOVE, keep_label=keep),
        key=ExperimentKey(int(keep)),
    ).fit(X, NAMES)
    for keep in (False, True)
}


def test_the_logits_are_the_logarithm_of_the_probabilities() -> None:
    """By hand, for two classes and for three."""
    for labels in (Y, Y > 0):
        model = wrapped(None, dn.Temperature(2.0)).fit(X, labels)
        root = np.sqrt(model.estimator_.predict_proba(X))
        expected = root / root.sum(axis=1, keepdims=True)
        np.testing.assert_allclose(model.predict_proba(X), expected, rtol=1e-12)
        np.testing.assert_allclose(model.predict_log_proba(X), np.log(expected), rtol=1e-9)


def test_keep_label_keeps_and_cells_move_labels() -> None:
    for defense, same in ((KEEP, True), (None, True), (MOVE, False)):
        model = wrapped(None, defense).fit(X, NAMES)
        assert (model.predict(X) == model.estimator_.predict(X)).all() == same
        assert (model.predict(X) == model.classes_[model.predict_proba(X).argmax(1)]).all()
        assert not hasattr(model, "decision_function")


def test_keyed_answers_need_the_secret_and_fitting_does_not(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("DYNANOISE_KEY")
    model = wrapped().fit(X, Y)
    with pytest.raises(SecretError, match="is not set"):
        model.predict_proba(X)
    monkeypatch.setenv("DYNANOISE_KEY", SECRET)
    first = model.predict_proba(X)
    place = tmp_path / "the.key"
    place.write_text(SECRET)
    place.chmod(0o600)
    by_file = wrapped(key=Secret(f"file:{place}")).fit(X, Y).predict_proba(X)
    np.testing.assert_array_equal(by_file, first)
    monkeypatch.setenv("DYNANOISE_KEY", "6f" * 32)
    assert (model.predict_proba(X) != first).all(axis=1).all()


def test_fresh_answers_differ_and_keyed_ones_do_not_in_eight_threads() -> None:
    for noise, different in (("keyed", 1), ("fresh", 24)):
        for model in (
            wrapped(noise=noise).fit(X, Y),
            wrapped(LogisticRegression(max_iter=500).fit(X, Y), noise=noise),
        ):
            with ThreadPoolExecutor(8) as pool:
                found = list(pool.map(lambda _, one=model: one.predict_proba(X[:20]), range(24)))
            assert len({one.tobytes() for one in found}) == different


def holding(model: DefendedClassifier) -> bytes:
    file = io.BytesIO()
    joblib.dump(model, file)
    return pickle.dumps(model) + file.getvalue() + repr((model, model.get_params())).encode()


def test_no_secret_is_in_repr_parameters_or_pickle() -> None:
    fitted = wrapped().fit(X, Y)
    given_fitted = wrapped(LogisticRegression(max_iter=500).fit(X, Y))
    for model in (fitted, given_fitted, clone(fitted).fit(X, Y)):
        model.predict_proba(X)
        held = holding(model) + estimator_html_repr(model).encode()
        assert b"DYNANOISE_KEY" in held
        for secret in (SECRET.encode(), bytes.fromhex(SECRET)[:8]):
            assert secret not in held


@pytest.mark.parametrize(
    "key", [SECRET, SECRET[:40], f" {SECRET}\n", bytes(32), f"env:{SECRET}", f"file:{SECRET}"]
)
def test_a_secret_is_refused_where_its_place_belongs(key: Any) -> None:
    for method in ("__init__", "set_params"):
        with pytest.raises(InputError, match="never the secret itself") as caught:
            wrapped(key=key) if method == "__init__" else wrapped().set_params(key=key)
        assert SECRET[:16] not in str(caught.value)


def test_copies_of_a_fitted_model_answer_alike() -> None:
    model = wrapped(RandomForestClassifier(5, min_samples_leaf=30, random_state=0)).fit(X, Y)
    answers = model.predict_proba(X)
    again = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(again.predict_proba(X), answers)
    assert again.noise_ == model.noise_


@pytest.mark.filterwarnings("ignore:.* of .* defended predictions")
def test_another_version_of_a_model_has_other_noise() -> None:
    """Also where both say the same about the training data, as trees do."""
    trees = [DecisionTreeClassifier(random_state=seed) for seed in (0, 1)]
    first, second = (wrapped(tree).fit(X, Y) for tree in trees)
    assert (first.estimator_.predict_proba(X) == second.estimator_.predict_proba(X)).all()
    assert first.noise_.weights != second.noise_.weights
    assert first.noise_.weights == wrapped(trees[0]).fit(X, Y).noise_.weights


def test_a_fitted_classifier_answers_without_fit() -> None:
    inner = LogisticRegression(max_iter=500).fit(X, NAMES)
    model = wrapped(inner)
    check_is_fitted(model)
    assert (model.predict(X) == inner.predict(X)).all() and model.n_features_in_ == 4
    assert model.classes_.tolist() == inner.classes_.tolist()
    replica = wrapped(pickle.loads(pickle.dumps(inner)))
    np.testing.assert_array_equal(model.predict_proba(X), replica.predict_proba(X))
    # The same digest, name and width, told instead of found.
    told = wrapped(
        inner,
        **{k: getattr(model.configuration().noise, k) for k in ("weights", "model", "cell_width")},
    )
    np.testing.assert_array_equal(model.predict_proba(X), told.predict_proba(X))
    before = model.predict_proba(X)
    model.set_params(estimator=LogisticRegression(C=2, max_iter=500).fit(X, NAMES))
    assert (model.predict_proba(X) != before).all(axis=1).all()


def test_a_frozen_classifier_stays_as_it_is() -> None:
    inner = LogisticRegression(max_iter=500).fit(X[::2], NAMES[::2])
    model = DefendedClassifier(FrozenEstimator(inner)).fit(X, NAMES)
    assert model.estimator_.estimator is inner
    np.testing.assert_array_equal(model.predict(X), inner.predict(X))


def test_an_unfitted_one_says_so() -> None:
    for ask in ("predict", "predict_proba", "predict_log_proba"):
        with pytest.raises(NotFittedError, match="Call fit"):
            getattr(wrapped(), ask)(X)
    assert not hasattr(wrapped(), "classes_") and not hasattr(wrapped(), "n_features_in_")


def test_the_cell_width_is_from_held_out_answers_where_there_are_some() -> None:
    def by_hand(model: Any, inputs: Any) -> float:
        ordered = np.sort(np.log(model.estimator_.predict_proba(inputs)), axis=1)
        return float(f"{2.5 * np.median(ordered[:, -1] - ordered[:, -2]):.3g}")

    forest = LogisticRegression(max_iter=500)
    plain = wrapped(forest).fit(X[::2], Y[::2])
    assert plain.noise_.cell_width == by_hand(plain, X[::2])
    other = wrapped(forest).fit(X[::2], Y[::2], reference=(X[1::2], Y[1::2]))
    assert other.noise_.cell_width == by_hand(other, X[1::2]) != plain.noise_.cell_width
    assert wrapped(forest, cell_width=3).fit(X, Y).noise_.cell_width == 3.0


def confidences(model: Any, inputs: Any, labels: Any) -> list[float]:
    """CalibratedLabel's rule by hand."""
    said = model.estimator_.predict(inputs)
    return [
        (int((labels[said == one] == one).sum()) + 1) / (int((said == one).sum()) + 2)
        for one in model.classes_
    ]


def test_calibrated_label_learns_from_reference_or_holdout() -> None:
    inner = DecisionTreeClassifier(max_depth=2, random_state=0)
    train, held = np.arange(len(Y)) % 3 > 0, np.arange(len(Y)) % 3 == 0
    model = wrapped(inner, dn.CalibratedLabel()).fit(
        X[train], NAMES[train], reference=(X[held], NAMES[held])
    )
    np.testing.assert_allclose(model.defense_.confidences, confidences(model, X[held], NAMES[held]))
    # Of iris' classes of 50 in order, a share of 1/5 is every fifth record.
    apart = np.arange(len(Y)) % 5 == 4
    model = wrapped(inner, dn.CalibratedLabel(), holdout=0.2).fit(
        X, NAMES, sample_weight=np.ones(len(Y))
    )
    np.testing.assert_allclose(
        model.defense_.confidences, confidences(model, X[apart], NAMES[apart])
    )
    alike = clone(inner).fit(X[~apart], NAMES[~apart])
    np.testing.assert_array_equal(alike.predict(X), model.predict(X))
    assert model.get_params()["defense"] == dn.CalibratedLabel()  # the parameter stays


@pytest.mark.parametrize("held_out", [False, True])
def test_groups_that_nothing_uses_are_refused(held_out: bool) -> None:
    reference = (X[:40], Y[:40]) if held_out else None
    model = wrapped(LogisticRegression(), holdout=0.2 if held_out else None)
    with pytest.raises(InputError, match="neither holdout nor the classifier uses them"):
        model.fit(X, Y, groups=np.arange(len(Y)), reference=reference)


def test_records_of_a_group_are_held_out_together() -> None:
    """With three copies of each record a tree knows what is held out by record."""
    from sklearn.model_selection import GroupKFold, GroupShuffleSplit

    patients = np.repeat(np.arange(len(Y)), 3)
    labels = np.random.default_rng(0).integers(3, size=len(Y))[patients]  # nothing to be learnt
    rows, tree = X[patients], DecisionTreeClassifier(random_state=0)
    for inner in (tree, make_pipeline(StandardScaler(), tree)):
        model = wrapped(inner, dn.CalibratedLabel(), holdout=0.2)
        assert model.fit(rows, labels).defense_.confidences.min() > 0.9
        weights = np.ones(len(labels)) if inner is tree else None
        model.fit(rows, labels, groups=patients, sample_weight=weights)
        assert model.defense_.confidences.max() < 0.6
        split = GroupShuffleSplit(1, test_size=0.2, random_state=0).split(rows, groups=patients)
        held = next(split)[1]
        np.testing.assert_allclose(
            model.defense_.confidences, confidences(model, rows[held], labels[held])
        )
    search = GridSearchCV(tree, {"max_depth": [1, 2]}, cv=GroupKFold(3))  # takes groups as well
    wrapped(search, dn.CalibratedLabel(), holdout=0.2).fit(rows, labels, groups=patients)
    piped = make_pipeline(StandardScaler(), tree)
    with config_context(enable_metadata_routing=True):
        wrapped(piped, dn.CalibratedLabel(), holdout=0.2).fit(rows, labels, groups=patients)


@pytest.mark.behaviour
def test_other_defenses_that_learn() -> None:
    reference = (X[1::2], Y[1::2])
    model = wrapped(None, MemGuard(epochs=3)).fit(X[::2], Y[::2], reference=reference)
    assert (model.predict(X) == model.estimator_.predict(X)).all()
    model = wrapped(None, Static()).fit(X[::2], Y[::2], reference=reference)
    assert model.defense_.lambda_scale == 0 and 0.3 < model.defense_.base_variance < 0.9
    fitted = HAMP(np.array([[0.5, 0.3, 0.2]]))
    assert set(wrapped(None, fitted).fit(X, Y).predict_proba(X)[0]) == {0.5, 0.3, 0.2}


@pytest.mark.parametrize(
    ("choices", "fitting", "said"),
    [
        ({"defense": dn.CalibratedLabel()}, {}, r"fit\(X, y, reference="),
        ({"defense": MemGuard()}, {}, r"or\s+DefendedClassifier\(..., holdout=0.2\)"),
        ({"defense": HAMP()}, {"reference": (X, Y)}, "outputs on random inputs"),
        ({"defense": dn.DynaNoise}, {}, "Pass a defense"),
        ({"noise": "frsh"}, {}, 'noise is \'frsh\'. Use "keyed" or "fresh"'),
        ({"noise": dn.Fresh(0)}, {}, 'Use "keyed" or "fresh"'),
        ({"key": "elsewhere"}, {}, "Pass env:NAME or file:PATH"),
        ({"cell_width": 0}, {}, "cell_width is 0"),
        ({"weights": "ab"}, {}, "64 hexadecimal digits"),
        ({"model": 3}, {}, "model's name"),
        ({"holdout": 1.0}, {}, "between 0 and 1"),
        ({"holdout": "half"}, {}, "between 0 and 1"),
        ({"holdout": 0.001}, {}, "sets none aside"),
        ({"holdout": 0.2}, {"groups": Y[:-1]}, "one value for each record"),
        ({"holdout": 0.2}, {"groups": np.zeros(len(Y))}, "of one group, of which none can be"),
        ({}, {"reference": X}, r"Pass a pair \(X, y\)"),
        ({"defense": dn.CalibratedLabel()}, {"reference": (X, Y + 1)}, "is of class 3"),
        ({"estimator": LinearSVC()}, {}, "CalibratedClassifierCV"),
    ],
)
def test_what_cannot_be_is_said_with_its_remedy(
    choices: dict[str, Any], fitting: dict[str, Any], said: str
) -> None:
    with pytest.raises(InputError, match=said):
        wrapped(**choices).fit(X, Y, **fitting)


@pytest.mark.parametrize("second", [Y, Y > 0])
def test_several_targets_are_refused(second: Any) -> None:
    targets = np.stack([Y, second], axis=1)
    with pytest.raises(ValueError, match="1d array"):
        wrapped(DecisionTreeClassifier()).fit(X, targets)
    inner = DecisionTreeClassifier().fit(X, targets)
    with pytest.raises(InputError, match="one target"):
        wrapped(inner).predict_proba(X)


@pytest.mark.parametrize("kind", ["csr", "coo", "bsr"])
def test_records_of_every_sparse_format_can_be_set_aside(kind: str) -> None:
    model = wrapped(LogisticRegression(max_iter=1000), holdout=0.3)
    said = model.fit(csr_array(X).asformat(kind), Y).predict(csr_array(X))
    assert (said == model.fit(X, Y).predict(X)).all()


def test_it_works_inside_and_around_other_estimators() -> None:
    around = make_pipeline(StandardScaler(), wrapped()).fit(X, NAMES)
    inside = wrapped(make_pipeline(StandardScaler(), LogisticRegression())).fit(X, NAMES)
    assert around.score(X, NAMES) > 0.9 and inside.score(X, NAMES) > 0.9
    grid = {"estimator__C": [0.1, 1.0], "defense": [KEEP, dn.Temperature(2)], "cell_width": [4]}
    search = GridSearchCV(wrapped(), grid, cv=3, scoring="neg_log_loss").fit(X, NAMES)
    assert search.best_params_["defense"] == dn.Temperature(2)
    assert wrapped(search.best_estimator_.estimator).fit(X, NAMES).score(X, NAMES) > 0.9
    searched = wrapped(GridSearchCV(LogisticRegression(max_iter=500), {"C": [0.1, 1]}, cv=3))
    assert searched.fit(X, NAMES).score(X, NAMES) > 0.9
    calibrated = CalibratedClassifierCV(wrapped(), cv=3).fit(X, NAMES)
    assert calibrated.score(X, NAMES) > 0.8
    assert cross_val_score(wrapped(), X, NAMES, cv=3).mean() > 0.9


class Noted(LogisticRegression):  # type: ignore[misc]
    """Remembers its weights."""

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Any:
        self.weights_ = sample_weight
        return super().fit(X, y, sample_weight)


def test_sample_weights_arrive_with_and_without_routing() -> None:
    weights = np.linspace(0.1, 2, len(Y))
    model = wrapped(Noted(max_iter=500)).fit(X, Y, sample_weight=weights)
    np.testing.assert_array_equal(model.estimator_.weights_, weights)
    held = wrapped(Noted(max_iter=500), holdout=0.2).fit(X, Y, sample_weight=weights)
    np.testing.assert_array_equal(held.estimator_.weights_, weights[np.arange(len(Y)) % 5 < 4])
    piped = make_pipeline(StandardScaler(), wrapped(Noted(max_iter=500)))
    piped.fit(X, Y, defendedclassifier__sample_weight=weights)
    np.testing.assert_array_equal(piped[-1].estimator_.weights_, weights)
    with config_context(enable_metadata_routing=True):
        asks = Noted(max_iter=500).set_fit_request(sample_weight=True)
        routed = make_pipeline(wrapped(asks)).fit(X, Y, sample_weight=weights)
        np.testing.assert_array_equal(routed[-1].estimator_.weights_, weights)
        with pytest.raises(Exception, match="sample_weight"):
            wrapped(Noted(max_iter=500)).fit(X, Y, sample_weight=weights)
        taken = wrapped(asks, dn.CalibratedLabel()).set_fit_request(reference=True)
        piped = make_pipeline(taken).fit(X, Y, reference=(X, Y), sample_weight=weights)
        assert piped[-1].defense_.confidences is not None


def test_data_frames_keep_their_names() -> None:
    pandas = pytest.importorskip("pandas", reason="optional: data frames")
    frame = pandas.DataFrame(X, columns=list("abcd"), index=np.arange(len(Y))[::-1])
    labels = pandas.Series(NAMES, index=frame.index)
    model = wrapped(None, dn.CalibratedLabel(), holdout=0.2).fit(frame, labels)
    assert model.feature_names_in_.tolist() == list("abcd")
    plain = wrapped(None, dn.CalibratedLabel(), holdout=0.2).fit(X, NAMES)
    np.testing.assert_array_equal(model.predict_proba(frame), plain.predict_proba(X))


def test_narrow_probabilities_stay_narrow() -> None:
    class Narrow(LogisticRegression):  # type: ignore[misc]
        def predict_proba(self, X: Any) -> Any:
            return super().predict_proba(X).astype(np.float32)

    model = wrapped(Narrow(max_iter=500)).fit(X, Y)
    assert model.predict_proba(X).dtype == model.predict_log_proba(X).dtype == np.float32


def test_a_configuration_makes_the_same_classifier(tmp_path: Path) -> None:
    inner = LogisticRegression(max_iter=500).fit(X, Y)
    model = DefendedClassifier(FrozenEstimator(inner), MOVE).fit(X, Y)
    model.configuration().write(tmp_path / "defense.yaml")
    again = DefendedClassifier.configured(inner, tmp_path / "defense.yaml")
    np.testing.assert_array_equal(again.predict_proba(X), model.predict_proba(X))
    answers = dn.Configuration.read(tmp_path / "defense.yaml").defend(inner.predict_proba(X))
    np.testing.assert_array_equal(answers, model.predict_proba(X))
    fresh = DefendedClassifier.configured(inner, dn.Configuration(MOVE, "fresh"))
    assert fresh.noise == "fresh" and fresh.configuration() == dn.Configuration(
        MOVE, "fresh", input="probabilities"
    )


@pytest.mark.process
def test_it_works_without_torch_and_across_processes(tmp_path: Path) -> None:
    """Another process that loads the pickle gives the same bits."""
    data, labels = make_classification(100, random_state=0)
    forest = RandomForestClassifier(3, min_samples_leaf=30, random_state=0)
    model = wrapped(forest).fit(data, labels)
    (tmp_path / "model.pickle").write_bytes(pickle.dumps(model))
    np.save(tmp_path / "data.npy", data)
    code = """
        import sys
        class Missing:
            def find_spec(self, name, path=None, target=None):
                extras = ("torch", "numba", "optuna", "onnx", "pandas", "safetensors")
                if name.split(".")[0] in extras:
                    raise ModuleNotFoundError(name)
        sys.meta_path.insert(0, Missing())
        import pickle, numpy as np
        from pathlib import Path
        from dynanoise.sklearn import DefendedClassifier
        model = pickle.loads(Path("model.pickle").read_bytes())
        assert type(model) is DefendedClassifier
        np.save("answers.npy", model.predict_proba(np.load("data.npy")))
    """
    subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        check=True,
        cwd=tmp_path,
        env=os.environ,
        timeout=LONG,
    )
    np.testing.assert_array_equal(np.load(tmp_path / "answers.npy"), model.predict_proba(data))
