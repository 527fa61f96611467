"""Data that users bring: what is taken, and that each mistake has its sentence."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from dynanoise.audits.inputs import check_inputs
from dynanoise.core.errors import InputError, TooFewRecordsError
from tests.factories.audit_files import Arrays, arrays, probabilities


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("models", [1, 4])
def test_probabilities_become_their_logarithms(dtype: Any, models: int) -> None:
    data = probabilities(arrays(models), dtype)
    inputs = check_inputs("x", **data)
    assert inputs.logits.shape == (models, 200, 3) and inputs.test_logits.shape == (models, 100, 3)
    assert inputs.member.shape == (models, 200)
    expected = np.log(np.asarray(data["probs"], dtype=np.float64)).reshape(models, 200, 3)
    np.testing.assert_allclose(inputs.logits, expected)


def test_a_probability_of_0_is_finite() -> None:
    data = probabilities(arrays(1))
    data["probs"][0] = [1.0, 0.0, 0.0]
    assert np.isfinite(check_inputs("x", **data).logits).all()


def test_half_of_the_test_data_are_the_reference() -> None:
    pool = check_inputs("x", **arrays()).pool(seed=3)
    assert len(pool.test.labels) == len(pool.reference.labels) == 50
    every = np.concatenate([pool.records.ids, pool.test.ids, pool.reference.ids])
    assert len(np.unique(every)) == 300
    assert not (pool.test.use.any() or pool.reference.use.any())


def test_without_test_data_records_of_no_model_are_the_reference() -> None:
    data = arrays(tests=0)
    data["member"][:, :30] = 0
    pool = check_inputs("x", **data).pool()
    assert len(pool.reference.labels) >= 30 and len(pool.test.labels) == 0
    assert not np.intersect1d(pool.reference.ids, pool.records.ids).size
    assert (pool.records.use == 1).any(axis=0).all()
    np.testing.assert_array_equal(
        pool.reference.logits[:, :, 0], data["logits"][:, pool.reference.ids]
    )


def change(**changes: Any) -> Arrays:
    data = arrays(1)
    return {**data, **{name: np.asarray(value) for name, value in changes.items()}}


def without(*names: str) -> Arrays:
    return {name: value for name, value in arrays(1).items() if name not in names}


MEMBER, LABELS = (arrays(1)[name] for name in ("member", "labels"))
TWO = arrays(1, classes=2)

MISTAKES: dict[str, tuple[Arrays, str]] = {
    "labels and member": (
        change(labels=MEMBER, member=LABELS),
        "labels hold only 0 and 1, and member holds 2: labels and member look exchanged. Exchange",
    ),
    "labels and member of two classes": (
        {**TWO, "labels": TWO["member"], "member": TWO["labels"]},
        "labels and member look exchanged",
    ),
    "labels from 1": (
        change(labels=LABELS + 1),
        "labels go from 1 to 3 with 3 classes. Count classes from 0: subtract 1.",
    ),
    "a label beyond": (change(labels=LABELS * 2), "labels hold 4 with 3 classes."),
    "sums": (
        {**probabilities(arrays(1)), "probs": 0.9 * probabilities(arrays(1))["probs"]},
        "sum to 0.9. Probabilities of all K classes sum to 1; is a column missing or exchanged?",
    ),
    "logits as probs": (
        {**without("logits"), "probs": arrays(1)["logits"]},
        "which is not a probability. Give probabilities, or call them",
    ),
    "probs as logits": (
        change(logits=probabilities(arrays(1))["probs"]),
        "sums to 1: these are probabilities. Call them probs.",
    ),
    "all members": (change(member=np.ones(200, bool)), "Model 0 has no non-members among 200"),
    "-1 for non-members": (
        change(member=2 * MEMBER - 1),
        f"are members here, or unknown: {(MEMBER == 0).sum()} are -1, and non-members are 0.",
    ),
    "rounded": (
        {**probabilities(arrays(1)), "probs": probabilities(arrays(1))["probs"].round(2)},
        "sum to 1.01. All are rounded to 2 decimal places: give more digits.",
    ),
    "rounded and of ten classes": (
        {
            **probabilities(arrays(1, classes=10)),
            "probs": probabilities(arrays(1, classes=10))["probs"].round(1),
        },
        "All are rounded to 1 decimal place: give more digits.",
    ),
    "no members": (change(member=np.zeros(200, bool)), "Model 0 has no members among 200"),
    "NaN": (
        change(logits=np.where(np.arange(600).reshape(200, 3) == 4, np.nan, 1.0)),
        "logits hold nan for model 0, record 1, class 1.",
    ),
    "labels that are probabilities": (
        change(labels=LABELS + 0.25),
        "is a column of probabilities in their place?",
    ),
    "NaN labels": (change(labels=np.where(LABELS == 1, np.nan, 0.0)), "labels hold nan in row 1."),
    "other member": (change(member=2 * MEMBER), "member holds 2 in row 0. Use 1 for trained on"),
    "integers": (change(logits=np.ones((200, 3), int)), "logits have dtype int64."),
    "one axis": (change(logits=np.ones(200)), "logits have shape (200,): one number a record."),
    "one class": (
        change(logits=np.ones((200, 1))),
        "logits have shape (200, 1): one number a record.",
    ),
    "other N": (change(labels=LABELS[:150]), "labels have shape (150,) for 200 records."),
    "member of other models": (
        {**arrays(4), "member": arrays(5)["member"]},
        "member has shape (5, 200) for 4 models and 200 records.",
    ),
    "one member for several models": (
        {**arrays(4), "member": MEMBER},
        "member has shape (200,) for 4 models and 200 records.",
    ),
    "test of other models": (
        {**arrays(4), "test_logits": arrays(5)["test_logits"]},
        "The test outputs have shape (5, 100, 3), the others (4, 200, 3).",
    ),
    "test without labels": (without("test_labels"), "one without the other"),
    "labels without test": (without("test_logits"), "one without the other"),
    "no answers": (without("logits"), "x holds neither logits nor probs."),
    "no labels": (without("labels"), "x holds no labels."),
    "no member": (without("member"), "x holds no member."),
    "class names": (
        {**arrays(1), "class_names": ("a", "b")},
        "There are 2 names of classes and 3 classes.",
    ),
    "both": ({**arrays(1), **probabilities(arrays(1))}, "Both logits and probs were given."),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_each_mistake_has_its_sentence(mistake: str) -> None:
    data, says = MISTAKES[mistake]
    with pytest.raises(InputError) as error:
        check_inputs("x", **data)
    assert says in str(error.value)


def test_three_rows_are_too_few() -> None:
    data = {name: value[:3] for name, value in arrays(1, seed=2).items()}
    data["member"] = np.array([0, 1, 1])
    with pytest.raises(TooFewRecordsError, match=r"Model 0 has 2 members among 3 records. Give at"):
        check_inputs("x", **data)
