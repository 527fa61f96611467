"""Nobody plays two parts, the proportions are the paper's, and a split can be recognised."""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dynanoise.core.errors import InputError
from dynanoise.data.dataset import Data
from dynanoise.data.splits import PaperSplit, paper_split, published_split, split_of


def parts(split: PaperSplit) -> list[np.ndarray]:
    return [getattr(split, field.name) for field in fields(split)]


@given(st.integers(10, 300), st.integers(1, 50), st.integers(1, 100), st.integers(0, 10**9))
def test_every_record_plays_exactly_one_part(pool: int, ref: int, test: int, seed: int) -> None:
    split = paper_split(pool + ref + test, pool, ref, seed)
    np.testing.assert_array_equal(
        np.sort(np.concatenate(parts(split))), np.arange(pool + ref + test)
    )
    assert all(len(part) > 0 for part in parts(split))
    counts = split.counts
    target = counts["members"] + counts["non_members"]
    assert target == int(0.7 * pool) and counts["members"] == int(0.8 * target)
    assert 0 <= counts["shadow_non_members"] - counts["shadow_members"] <= 1
    assert (counts["reference"], counts["test"]) == (ref, test)


def test_the_papers_cifar10_numbers() -> None:
    """arXiv:2505.13362v2: 28,000 / 7,000 / 7,500 / 7,500."""
    assert list(paper_split(60_000, 50_000, 5_000, 0).counts.values())[:4] == [
        28_000, 7_000, 7_500, 7_500,
    ]  # fmt: skip


def test_a_split_depends_on_the_seed_alone() -> None:
    first, again, other = (paper_split(100, 50, 10, seed) for seed in (0, 0, 1))
    assert first.digest == again.digest != other.digest


def test_the_digest_sees_who_plays_which_part() -> None:
    split = paper_split(100, 50, 10, 0)
    swapped = replace(split, shadow_members=split.non_members, non_members=split.shadow_members)
    assert swapped.digest != split.digest


@pytest.mark.parametrize(("records", "pool", "ref"), [(100, 9, 1), (100, 50, 0), (100, 90, 10)])
def test_parts_that_do_not_fit_are_refused(records: int, pool: int, ref: int) -> None:
    with pytest.raises(InputError, match=f"A pool of {pool} and {ref} reference"):
        paper_split(records, pool, ref, 0)


@given(
    st.integers(10, 300),
    st.integers(0, 50),
    st.integers(1, 50),
    st.integers(1, 100),
    st.integers(0),
)
def test_published_test_data_stay_test_data(
    pool: int, unused: int, ref: int, test: int, seed: int
) -> None:
    before, records = pool + unused, pool + unused + ref + test
    split = published_split(records, before, pool, ref, seed)
    everyone = np.concatenate(parts(split))
    # The reference is taken from the training part where it fits, so that no test data are lost.
    taken = 0 if ref <= unused else ref
    assert len(np.unique(everyone)) == len(everyone) == pool + ref + records - before - taken
    fitted = np.concatenate(parts(split)[:4])
    assert len(fitted) == pool and fitted.max() < before
    after = np.concatenate([split.reference, split.test])
    np.testing.assert_array_equal(np.sort(after[after >= before]), np.arange(before, records))
    assert (split.reference < before).all() if ref <= unused else (split.reference >= before).all()
    assert len(split.reference) == ref and len(split.test) == records - before - taken
    assert split.counts == paper_split(len(everyone), pool, ref, seed).counts
    np.testing.assert_array_equal(split.ids, np.unique(everyone))
    assert all((np.diff(part) > 0).all() for part in parts(split))


def test_published_splits_are_random_in_both_parts() -> None:
    first, again, other = (published_split(350, 200, 150, 60, seed) for seed in (0, 0, 1))
    assert first.digest == again.digest
    for part in fields(PaperSplit):
        assert not np.array_equal(getattr(first, part.name), getattr(other, part.name))


@pytest.mark.parametrize(("pool", "ref"), [(9, 1), (51, 1), (50, 0), (50, 50)])
def test_published_parts_that_do_not_fit_are_refused(pool: int, ref: int) -> None:
    with pytest.raises(InputError, match=f"A pool of {pool} and {ref} ref.* 50 .* and 50 for test"):
        published_split(100, 50, pool, ref, 0)


def test_the_data_decide_which_split_they_get() -> None:
    plain = Data("a", np.zeros((100, 4)), np.arange(100) % 2, 2)
    assert split_of(plain, 50, 10, 3).digest == paper_split(100, 50, 10, 3).digest
    official = replace(plain, test_from=60)
    assert split_of(official, 50, 10, 3).digest == published_split(100, 60, 50, 10, 3).digest


def test_paper_splits_are_those_of_the_committed_records() -> None:
    """Their digests, so that sharing code with other splits cannot move them."""
    assert paper_split(1797, 600, 300, 0).digest == "39f8bec8810a0caa"
    assert paper_split(1797, 600, 300, 1).digest == "67de3b62e689d673"


def test_data_with_wrong_labels_are_refused() -> None:
    with pytest.raises(InputError, match="labels from 1 to 3 with 3 classes"):
        Data("mine", np.zeros((2, 4)), np.array([1, 3]), 3)
    with pytest.raises(InputError, match="2 inputs and 3 labels"):
        Data("mine", np.zeros((2, 4)), np.array([0, 1, 2]), 3)


def test_data_that_no_classifier_can_learn_are_refused() -> None:
    with pytest.raises(InputError, match="one class only"):
        Data("mine", np.zeros((2, 4)), np.array([0, 0]), 1)
    with pytest.raises(InputError, match="no records"):
        Data("mine", np.zeros((0, 4)), np.zeros(0, np.int64), 2)
    with pytest.raises(InputError, match="input nan in row 1, column 2"):
        Data("mine", np.array([[0.0, 1, 2], [0, 1, np.nan]]), np.array([0, 1]), 2)
    for position in (0, 2):
        with pytest.raises(InputError, match=f"2 records and test_from {position}"):
            Data("mine", np.zeros((2, 4)), np.array([0, 1]), 2, test_from=position)
    with pytest.raises(InputError, match="token 5 with a vocabulary of 5"):
        Data("mine", np.array([[5]] * 2, np.int32), np.array([0, 1]), 2, vocabulary_size=5)


def test_the_data_digest_sees_values_shape_and_dtype() -> None:
    base = Data("a", np.zeros((2, 4), np.float32), np.array([0, 1]), 2)
    others = [
        Data("a", np.ones((2, 4), np.float32), np.array([0, 1]), 2),
        Data("a", np.zeros((2, 2, 2), np.float32), np.array([0, 1]), 2),
        Data("a", np.zeros((2, 2), np.float64), np.array([0, 1]), 2),
        Data("a", np.zeros((2, 4), np.float32), np.array([1, 1]), 2),
        replace(base, classes=3),
        replace(base, test_from=1),
        replace(base, vocabulary_size=1),
    ]
    assert len({data.digest for data in [base, *others]}) == 8
    assert replace(base, name="b", class_names=("x", "y")).digest == base.digest
