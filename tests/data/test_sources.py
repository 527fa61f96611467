"""Where data come from, in which order, and what is said when they come from nowhere."""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from dynanoise.core.errors import DataFileError, MissingDataError
from dynanoise.data import hub, sources
from dynanoise.data.dataset import Data
from dynanoise.data.datasets.cifar10 import CIFAR10, cifar10
from dynanoise.data.datasets.imagenet10 import imagenet10
from dynanoise.data.datasets.sst2 import sst2
from dynanoise.data.hub_layout import Part
from tests.factories.data_files import SENTENCES, TEST_SENTENCES, pixels, write_images, write_texts


@pytest.fixture(autouse=True)
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder from which no data are seen, and a hub that must not be asked."""
    work = tmp_path / "project" / "work"
    work.mkdir(parents=True)
    monkeypatch.chdir(work)
    monkeypatch.delenv("DYNANOISE_DATA", raising=False)

    def unasked(hub_id: str) -> list[Part]:
        raise AssertionError(f"the hub was asked for {hub_id}")

    monkeypatch.setattr(sources, "parts_of_hub", unasked)
    return work


def put(folder: Path, seed: int, subfolder: str = "cifar10/plain_text") -> np.ndarray:
    images = pixels(6, seed=seed)
    parts = {"train": (images[:4], [0, 1, 0, 1]), "test": (images[4:], [0, 1])}
    write_images(folder / subfolder, parts)
    return images


def test_the_order_of_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told, env, shared = tmp_path / "told", tmp_path / "env", tmp_path / "project/shared/data"
    images = {place: put(place, seed) for seed, place in enumerate((told, env, shared))}
    np.testing.assert_array_equal(cifar10().inputs, images[shared])
    monkeypatch.setenv("DYNANOISE_DATA", str(env))
    np.testing.assert_array_equal(cifar10().inputs, images[env])
    np.testing.assert_array_equal(cifar10(told).inputs, images[told])


def test_a_folder_without_the_set_is_passed_over_and_said_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    env, told = tmp_path / "env", tmp_path / "told"
    told.mkdir()
    images = put(env, 0)
    monkeypatch.setenv("DYNANOISE_DATA", str(env))
    np.testing.assert_array_equal(cifar10(told).inputs, images)
    assert f"cifar10 is not in {told}" in caplog.text


@pytest.mark.parametrize("subfolder", ["cifar10", "cifar10/data", "cifar10/plain_text"])
def test_the_files_may_lie_in_a_subfolder(tmp_path: Path, subfolder: str) -> None:
    images = put(tmp_path, 0, subfolder)
    np.testing.assert_array_equal(cifar10(tmp_path).inputs, images)
    np.testing.assert_array_equal(cifar10(tmp_path / "cifar10").inputs, images)


def test_a_set_without_its_test_part_is_not_taken(tmp_path: Path) -> None:
    write_images(tmp_path / "cifar10", {"train": (pixels(2), [0, 1])})
    assert sources.local(CIFAR10, tmp_path) == []


def test_the_hub_is_asked_last(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    put(tmp_path, 3)
    found = sources.local(CIFAR10, tmp_path)
    asked: list[str] = []

    def parts(hub_id: str) -> list[Part]:
        asked.append(hub_id)
        return found

    monkeypatch.setattr(sources, "parts_of_hub", parts)
    assert cifar10().test_from == 4
    assert asked == ["uoft-cs/cifar10"]


def test_a_copy_of_the_hub_without_its_test_part_is_not_taken(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    put(tmp_path, 3)
    (train, _) = sources.local(CIFAR10, tmp_path)
    monkeypatch.setattr(sources, "parts_of_hub", lambda hub_id: [train])
    with pytest.raises(MissingDataError, match="whose copy lacks one of train, test"):
        cifar10()


@pytest.mark.parametrize("error", [ConnectionError("no\nnetwork"), Exception("no such set")])
def test_a_missing_set_names_the_three_ways(
    monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fails(name: str) -> None:
        raise error

    monkeypatch.undo()
    monkeypatch.setattr(sources, "folders", lambda folder: [])
    monkeypatch.setattr(hub, "reachable", lambda: True)
    monkeypatch.setitem(sys.modules, "datasets", SimpleNamespace(load_dataset=fails))
    with pytest.raises(MissingDataError) as caught:
        cifar10()
    sentence = str(caught.value)
    assert sentence.startswith("The data set cifar10 is not at hand. Pass --data DIR where DIR/cif")
    assert "set DYNANOISE_DATA to such a DIR" in sentence
    assert "from the hub as uoft-cs/cifar10" in sentence and type(error).__name__ in sentence
    assert "\n" not in sentence


def test_a_missing_set_that_the_hub_has_not_got() -> None:
    with pytest.raises(MissingDataError, match=r"or put it into \.\./shared/data\.$"):
        imagenet10()


def test_without_the_hubs_library_the_ways_are_named_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    monkeypatch.setitem(sys.modules, "datasets", None)
    monkeypatch.setattr(sources, "folders", lambda folder: [])
    with pytest.raises(MissingDataError, match=r"--data DIR .* pip install .*pyarrow"):
        cifar10()


def test_a_folder_that_is_none_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(MissingDataError, match=r"--data is .*elsewhere, which is not a folder"):
        cifar10(tmp_path / "elsewhere")
    monkeypatch.setenv("DYNANOISE_DATA", str(tmp_path / "typo"))
    with pytest.raises(MissingDataError, match=r"DYNANOISE_DATA is .*typo, which is not a folder"):
        cifar10()


def texts(tmp_path: Path, test_labels: list[int]) -> Data:
    write_texts(
        tmp_path / "sst2" / "data",
        {
            "train": (SENTENCES, [1, 0, 0, 0]),
            "validation": (TEST_SENTENCES, [1, 1]),
            "test": (["unseen words"], test_labels),
        },
    )
    return sst2(tmp_path)


def test_texts_know_the_words_of_the_training_part_alone(tmp_path: Path) -> None:
    data = texts(tmp_path, [0])
    # bad 3 times, a 3, film 3, good 2; not once. Of the same frequency in alphabetical order.
    a, bad, film, good, unknown = 2, 3, 4, 5, 1
    assert data.vocabulary_size == 6 and data.inputs.dtype == np.int32
    assert data.inputs.shape == (7, 64) and not data.inputs[:, 4:].any()
    assert data.inputs[:, :4].tolist() == [
        [a, good, film, 0],
        [a, bad, film, 0],
        [unknown, a, good, film],
        [bad, bad, 0, 0],
        [unknown, unknown, film, 0],
        [good, 0, 0, 0],
        [unknown, unknown, 0, 0],
    ]
    assert data.labels.tolist() == [1, 0, 0, 0, 1, 1, 0] and data.test_from == 4


def test_a_test_part_with_hidden_labels_is_left_out(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        data = texts(tmp_path, [-1])
    assert len(data) == 6 and data.test_from == 4
    assert "labels of the test part of sst2 are hidden" in caplog.text


def test_a_vocabulary_of_another_size(tmp_path: Path) -> None:
    texts(tmp_path, [0])
    assert sst2(tmp_path, least=1, most=100).vocabulary_size == 7
    assert sst2(tmp_path, most=1).vocabulary_size == 3
    assert sst2(tmp_path, length=2).inputs.shape == (7, 2)


def test_labels_out_of_range_are_refused(tmp_path: Path) -> None:
    parts: dict[str, Any] = {"train": (pixels(3), [0, 1, 2]), "test": (pixels(1), [0])}
    write_images(tmp_path / "cifar10", parts, names=["a", "b"])
    with pytest.raises(ValueError, match="cifar10 has labels from 0 to 2 with 2 classes"):
        cifar10(tmp_path)


def test_class_names_are_remembered(tmp_path: Path) -> None:
    parts: dict[str, Any] = {"train": (pixels(2), [0, 1]), "validation": (pixels(1), [0])}
    write_images(tmp_path / "imagenet10" / "data", parts, names=["lion", "orange"], column="image")
    data = imagenet10(tmp_path)
    assert data.class_names == ("lion", "orange") and data.test_from == 2


def test_files_that_are_no_parquet_or_another_layout_are_named(tmp_path: Path) -> None:
    put(tmp_path, 0, "cifar10")
    train = tmp_path / "cifar10" / "train-00000-of-00001.parquet"
    whole = train.read_bytes()
    train.write_bytes(whole[:100])
    with pytest.raises(DataFileError, match=r"train-00000.* cannot be read as parquet"):
        cifar10(tmp_path)
    write_texts(tmp_path / "cifar10", {"train": (SENTENCES, [0, 1, 0, 1])})
    with pytest.raises(DataFileError, match="parts of images and of texts"):
        cifar10(tmp_path)


def test_damaged_images_and_mixed_sizes_are_named(tmp_path: Path) -> None:
    from tests.factories.data_files import arrow, image_table, parquet

    put(tmp_path, 0, "cifar10")
    train = tmp_path / "cifar10" / "train-00000-of-00001.parquet"
    table = arrow.concat_tables(
        [image_table(pixels(1, side), [0], None, "img") for side in (8, 9)],
    )
    parquet.write_table(table, train)
    with pytest.raises(DataFileError, match="Row 1 of cifar10 is 9 x 9 pixels and Row 0 of cifar"):
        cifar10(tmp_path)
    parquet.write_table(arrow.table({"img": [b"no image", b""], "label": [0, 1]}), train)
    with pytest.raises(DataFileError, match="Row 0 of cifar10 is not an image"):
        cifar10(tmp_path)
    parquet.write_table(arrow.table({"img": [None, b""], "label": [0, 1]}), train)
    with pytest.raises(DataFileError, match="no bytes in row 0 of its column img"):
        cifar10(tmp_path)
    parquet.write_table(arrow.table({"picture": [b""], "label": [0]}), train)
    with pytest.raises(DataFileError, match="has the columns picture, label"):
        cifar10(tmp_path)
