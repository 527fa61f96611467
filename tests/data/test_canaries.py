"""Canaries are what they are said to be, and every other record stays as it is."""

from __future__ import annotations

import numpy as np
import pytest

from dynanoise.core.errors import InputError
from dynanoise.data.canaries import Canaries, plant
from dynanoise.data.dataset import Data

IDS = np.arange(20, 220)


def made_up(kind: str, classes: int = 5) -> Data:
    generator = np.random.default_rng(0)
    labels = generator.integers(0, classes, 300)
    if kind == "numbers":
        return Data(kind, generator.normal(size=(300, 6)).astype(np.float32), labels, classes)
    if kind == "images":
        pixels = generator.integers(0, 256, (300, 4, 4, 3), dtype=np.uint8)
        return Data(kind, pixels, labels, classes, test_from=250)
    tokens = generator.integers(2, 50, (300, 8), dtype=np.int32)
    tokens[np.arange(8) >= generator.integers(1, 9, 300)[:, None]] = 0
    return Data(kind, tokens, labels, classes, vocabulary_size=50)


KINDS = ("numbers", "images", "texts")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("count", [1, 60, 200])
def test_only_canaries_change(kind: str, count: int) -> None:
    data = made_up(kind)
    inputs, labels = data.inputs.copy(), data.labels.copy()
    changed, found = plant(data, IDS, count, seed=3)
    np.testing.assert_array_equal(data.inputs, inputs)  # nothing is changed in place
    np.testing.assert_array_equal(data.labels, labels)
    assert len(found.ids) == len(set(found.ids)) == count and np.isin(found.ids, IDS).all()
    assert found.counts == {
        "canaries_mislabelled": (count + 1) // 2, "canaries_atypical": count // 2,
    }  # fmt: skip
    others = np.setdiff1d(np.arange(300), found.ids)
    np.testing.assert_array_equal(changed.inputs[others], inputs[others])
    np.testing.assert_array_equal(changed.labels[others], labels[others])
    # Mislabelled records keep their inputs, and every one of them has another label.
    wrong = found.mislabelled
    np.testing.assert_array_equal(changed.inputs[wrong], inputs[wrong])
    assert (changed.labels[wrong] != labels[wrong]).all()
    assert changed.inputs.dtype == inputs.dtype and changed.labels.dtype == labels.dtype
    assert (changed.name, changed.test_from) == (data.name, data.test_from)
    assert changed.digest != data.digest  # so no stored model of the one is taken for the other's


def test_wrong_labels_are_uniform_over_the_other_classes() -> None:
    data = made_up("numbers")
    away = np.zeros(5, dtype=int)
    for seed in range(40):
        changed, found = plant(data, IDS, 200, seed)
        moved = (changed.labels - data.labels)[found.mislabelled] % 5
        away += np.bincount(moved, minlength=5)
    assert away[0] == 0
    assert away[1:].min() > 920 and away[1:].max() < 1080  # of 1,000 each


@pytest.mark.parametrize("kind", ["numbers", "images"])
def test_atypical_inputs_are_the_mean_of_two_records_of_different_classes(kind: str) -> None:
    data = made_up(kind)
    changed, found = plant(data, IDS, 60, seed=4)
    pool = data.inputs[IDS].astype(np.float64)
    own = other = 0
    for index in found.atypical:
        means = (data.inputs[index].astype(np.float64) + pool) / 2
        expected = np.rint(means) if kind == "images" else means
        off = abs(expected - changed.inputs[index]).reshape(len(IDS), -1).max(axis=1)
        partner = IDS[off.argmin()]
        assert off.min() < 1e-6  # of a record of the pool as it was
        assert data.labels[partner] != data.labels[index]
        assert changed.labels[index] in (data.labels[partner], data.labels[index])
        own += changed.labels[index] == data.labels[index]
        other += changed.labels[index] == data.labels[partner]
    assert own > 5 and other > 5 and own + other == 30


def test_atypical_texts_take_turns() -> None:
    data = made_up("texts")
    changed, found = plant(data, IDS, 60, seed=5)

    def by_turns(first: list[int], second: list[int]) -> list[int]:
        queues, out = [list(first), list(second)], []
        while any(queues):
            for queue in queues:
                out += [queue.pop(0)] if queue else []
        return (out + [0] * 8)[:8]

    texts = [[token for token in row.tolist() if token] for row in data.inputs]
    for index in found.atypical:
        said = changed.inputs[index].tolist()
        partners = [
            other
            for other in IDS
            if data.labels[other] != data.labels[index]
            and by_turns(texts[index], texts[other]) == said
        ]
        assert partners, said


def test_the_seed_decides() -> None:
    data = made_up("images")

    def drawn(seed: int) -> tuple[str, Canaries]:
        changed, found = plant(data, IDS, 50, seed)
        return changed.digest, found

    (one, first), (same, again), (other, different) = drawn(0), drawn(0), drawn(1)
    assert one == same != other
    np.testing.assert_array_equal(first.ids, again.ids)
    assert set(first.ids) != set(different.ids)


@pytest.mark.parametrize("count", [0, -1, 201])
def test_impossible_numbers_are_refused(count: int) -> None:
    with pytest.raises(InputError, match=f"{count} canaries do not fit a pool of 200"):
        plant(made_up("numbers"), IDS, count, seed=0)


def test_a_pool_of_one_class_is_refused() -> None:
    data = made_up("numbers")
    with pytest.raises(InputError, match="of one class"):
        plant(data, np.flatnonzero(data.labels == 2), 4, seed=0)
