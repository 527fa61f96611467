"""Digests of fitted objects: the same for copies, another for anything else."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import threading
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.base import clone
from sklearn.datasets import make_classification
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.gaussian_process import GaussianProcessClassifier
from sklearn.linear_model import LogisticRegression, SGDClassifier
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from dynanoise.core.errors import InputError
from dynanoise.integrations.digests import fitted_digest
from tests.factories.waiting import LONG

X, Y = make_classification(60, n_classes=2, random_state=0)

plain = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text()
    | st.binary(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner) | st.tuples(inner, inner),
    max_leaves=10,
)


def same(one: Any, other: Any) -> bool:
    """Equality that tells types and the sign of zero apart."""
    if type(one) is not type(other):
        return False
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    return bool(repr(one) == repr(other))


@given(one=plain, other=plain)
def test_values_and_digests_are_equal_together(one: Any, other: Any) -> None:
    assert (fitted_digest(one) == fitted_digest(other)) == same(one, other)
    assert fitted_digest(one) == fitted_digest(pickle.loads(pickle.dumps(one)))


@pytest.mark.parametrize(
    "estimator",
    [
        LogisticRegression(),
        SGDClassifier(loss="log_loss", random_state=0),
        KNeighborsClassifier(algorithm="kd_tree"),
        RandomForestClassifier(4, random_state=0),
        HistGradientBoostingClassifier(max_iter=3, random_state=0),
        SVC(random_state=0),
        GaussianProcessClassifier(random_state=0),
        make_pipeline(StandardScaler(), MLPClassifier(max_iter=500, random_state=0)),
    ],
    ids=lambda one: type(one).__name__,
)
def test_copies_agree_and_models_of_other_data_do_not(estimator: Any) -> None:
    fitted = clone(estimator).fit(X, Y)
    digest = fitted_digest(fitted)
    fitted.predict(X)
    assert digest == fitted_digest(pickle.loads(pickle.dumps(fitted)))
    assert digest == fitted_digest(clone(estimator).fit(X, Y))
    flipped = Y.copy()
    flipped[0] = 1 - flipped[0]
    assert digest != fitted_digest(clone(estimator).fit(X, flipped))


def test_one_bit_counts_and_the_layout_does_not() -> None:
    model = LogisticRegression().fit(X, Y)
    digest = fitted_digest(model)
    model.coef_ = np.asfortranarray(model.coef_).astype(">f8").astype("<f8")
    model.set_params(n_jobs=7, verbose=3)
    assert fitted_digest(model) == digest
    model.coef_[0, 3] = np.nextafter(model.coef_[0, 3], np.inf)
    assert fitted_digest(model) != digest
    wide = np.arange(12.0).reshape(3, 4)
    assert fitted_digest(wide[:, ::2]) == fitted_digest(wide[:, ::2].copy(order="F"))
    assert fitted_digest(wide) == fitted_digest(wide.astype(">f8"))
    apart = {
        fitted_digest(one) for one in (wide, wide.T, wide.ravel(), wide.astype("f4"), wide.tolist())
    }
    assert len(apart) == 5


def test_what_lies_between_fields_does_not_count() -> None:
    kind = np.dtype([("a", "i1"), ("b", "f8")], align=True)
    one, other = (np.frombuffer(bytes([fill]) * 32, kind).copy() for fill in (1, 2))
    other["a"], other["b"] = one["a"], one["b"]
    assert one.tobytes() != other.tobytes() and fitted_digest(one) == fitted_digest(other)
    other["a"][1] = 9
    assert fitted_digest(one) != fitted_digest(other)


@pytest.mark.process
def test_the_order_of_dictionaries_and_sets_does_not_count() -> None:
    names = [f"name {index}" for index in range(50)]
    forwards, backwards = ({name: [name] for name in order} for order in (names, names[::-1]))
    assert fitted_digest(forwards) == fitted_digest(backwards)
    assert fitted_digest(names) != fitted_digest(names[::-1])
    # In a set, the order of names is another one in every process.
    code = f"""
from dynanoise.integrations.digests import fitted_digest
print(fitted_digest(set({names!r})))
"""
    found = [
        subprocess.run(
            [sys.executable, "-c", code],
            check=True,
            capture_output=True,
            env={**os.environ, "PYTHONHASHSEED": str(seed)},
            timeout=LONG,
        ).stdout
        for seed in (1, 2)
    ]
    assert found[0] == found[1]


def test_an_object_inside_itself_ends() -> None:
    ring: list[Any] = [1]
    ring.append(ring)
    assert fitted_digest(ring) != fitted_digest([1, [1]])


def test_what_has_no_state_is_refused() -> None:
    with pytest.raises(InputError, match=r"lock.*weights="):
        fitted_digest({"model": threading.Lock()})
