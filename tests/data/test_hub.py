"""The hub's data sets, by data sets in memory of the same layout; no test uses the network."""

from __future__ import annotations

import importlib
import shutil
import socket
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dynanoise.core.errors import DataFileError, MissingDataError, MissingExtraError
from dynanoise.data import catalog, hub, sources
from dynanoise.data.datasets.cifar10 import cifar10
from tests.factories.data_files import (
    SENTENCES,
    TEST_SENTENCES,
    encoded,
    pixels,
    write_images,
    write_texts,
)

datasets: Any = pytest.importorskip("datasets", reason="pip install 'dynanoise[data]'")

NAMES = ["cat", "dog"]
IMAGES = pixels(6)


def image_part(images: np.ndarray, labels: list[int], column: str = "img") -> Any:
    features = datasets.Features(
        {column: datasets.Image(), "label": datasets.ClassLabel(names=NAMES)}
    )
    rows = [{"bytes": encoded(image), "path": None} for image in images]
    return datasets.Dataset.from_dict({column: rows, "label": labels}, features=features)


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What the hub has, by id and configuration."""
    there: dict[str, Any] = {}

    def load_dataset(*names: str) -> Any:
        if " ".join(names) not in there:
            raise FileNotFoundError(f"Dataset '{names[0]}' doesn't exist on the Hub")
        return there[" ".join(names)]

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    monkeypatch.setattr(hub, "reachable", lambda: True)
    return there


def two_parts(column: str = "img") -> Any:
    return datasets.DatasetDict(
        test=image_part(IMAGES[4:], [1, 0], column),
        train=image_part(IMAGES[:4], [0, 1, 1, 0], column),
    )


def test_a_named_set_from_the_hub_is_that_of_a_folder(
    served: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    served["uoft-cs/cifar10"] = two_parts()
    monkeypatch.setattr(sources, "folders", lambda folder: [folder] if folder else [])
    fetched = cifar10()
    write_images(
        tmp_path / "cifar10",
        {"train": (IMAGES[:4], [0, 1, 1, 0]), "test": (IMAGES[4:], [1, 0])},
        NAMES,
    )
    local = cifar10(tmp_path)
    np.testing.assert_array_equal(fetched.inputs, IMAGES)
    assert fetched.digest == local.digest
    assert (fetched.test_from, fetched.class_names) == (4, ("cat", "dog"))
    assert (local.test_from, local.class_names) == (4, ("cat", "dog"))


@pytest.mark.parametrize("column", ["img", "image"])
def test_any_images(served: dict[str, Any], column: str) -> None:
    served["me/pets"] = two_parts(column)
    data = catalog.load_data("hub:me/pets", side=4)
    assert data.inputs.shape == (6, 4, 4, 3) and data.name == "me/pets"
    assert data.labels.tolist() == [0, 1, 1, 0, 1, 0]


def test_a_changed_set_is_not_taken_from_the_cache(served: dict[str, Any]) -> None:
    for images in (IMAGES, IMAGES[::-1]):
        served["me/pets"] = datasets.DatasetDict(train=image_part(images, [0, 1, 1, 0, 1, 0]))
        np.testing.assert_array_equal(catalog.load_from_hub("me/pets").inputs, images)


def test_images_that_the_library_keeps_as_files(served: dict[str, Any], tmp_path: Path) -> None:
    """So it does with image folders on the hub."""
    paths = [tmp_path / f"{index}.png" for index in range(2)]
    for path, image in zip(paths, IMAGES, strict=False):
        path.write_bytes(encoded(image))
    features = datasets.Features(image=datasets.Image(), label=datasets.Value("string"))
    columns = {"image": [str(path) for path in paths], "label": ["dog", "cat"]}
    part = datasets.Dataset.from_dict(columns, features=features)
    served["me/pets"] = datasets.DatasetDict(train=part)
    data = catalog.load_from_hub("me/pets")
    np.testing.assert_array_equal(data.inputs, IMAGES[:2])
    assert data.labels.tolist() == [1, 0] and data.class_names == ("cat", "dog")


def test_rows_that_were_selected_or_shuffled(served: dict[str, Any]) -> None:
    """The library keeps such rows as positions in the whole table."""
    served["me/pets"] = datasets.DatasetDict(train=two_parts()["train"].select([3, 1]))
    data = catalog.load_from_hub("me/pets")
    np.testing.assert_array_equal(data.inputs, IMAGES[[3, 1]])
    assert data.class_names == ("cat", "dog")
    assert data.test_from is None


@pytest.mark.parametrize("column", ["text", "sentence"])
def test_any_texts(served: dict[str, Any], tmp_path: Path, column: str) -> None:
    parts = {"train": (SENTENCES, [1, 0, 0, 0]), "validation": (TEST_SENTENCES, [1, 1])}
    served["me/texts"] = datasets.DatasetDict(
        {
            name: datasets.Dataset.from_dict({column: texts, "label": labels})
            for name, (texts, labels) in parts.items()
        }
        | {"test": datasets.Dataset.from_dict({column: ["hidden"], "label": [-1]})}
    )
    data = catalog.load_from_hub("me/texts")
    write_texts(tmp_path / "texts", parts)
    assert data.digest == catalog.load_data(str(tmp_path / "texts")).digest
    assert len(data) == 6 and data.test_from == 4 and data.vocabulary_size == 6


def test_a_configuration(served: dict[str, Any]) -> None:
    served["me/many second"] = two_parts()
    assert len(catalog.load_from_hub("me/many:second")) == 6


def test_what_the_hub_has_not_got(served: dict[str, Any]) -> None:
    with pytest.raises(MissingDataError, match=r"'me/typo' .FileNotFoundError: Dataset 'me/typo'"):
        catalog.load_from_hub("me/typo")
    served["me/odd"] = datasets.DatasetDict(test=two_parts()["test"])
    with pytest.raises(MissingDataError, match="it has the parts test, and no train"):
        catalog.load_from_hub("me/odd")
    served["me/table"] = datasets.DatasetDict(train=datasets.Dataset.from_dict({"a": [1]}))
    with pytest.raises(DataFileError, match="train part of me/table has the columns a"):
        catalog.load_from_hub("me/table")


def test_without_the_library_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(MissingExtraError, match=r"me/pets.*pip install .*pyarrow"):
        catalog.load_from_hub("me/pets")


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The library's cache, on a machine that has no network."""

    def no_network(*args: Any, **kwargs: Any) -> Any:
        raise AssertionError("the library was let out")

    monkeypatch.setattr(socket, "create_connection", no_network)
    monkeypatch.setattr(socket.socket, "connect", no_network)
    monkeypatch.setattr(hub, "reachable", lambda: False)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path)
    return tmp_path


def keep(cache: Path, configuration: str, images: np.ndarray) -> None:
    """Prepare a data set of the hub as the library does after a download."""
    files = {}
    for part, rows in (("train", images[:4]), ("test", images[4:])):
        path = cache / f"{configuration}-{part}.parquet"
        image_part(rows, [0, 1, 1, 0][: len(rows)]).to_parquet(path)
        files[part] = str(path)
    importlib.import_module("datasets.packaged_modules.parquet.parquet").Parquet(
        cache_dir=str(cache),
        dataset_name="pets",
        config_name=configuration,
        hash="0" * 40,
        data_files=files,
    ).download_and_prepare()
    # It calls folders so where the files come from the hub.
    (prepared,) = (cache / "pets").glob(f"{configuration}-*")
    shutil.move(prepared, cache / "me___pets" / configuration)


def test_offline_the_librarys_cache_is_read(offline: Path) -> None:
    keep(offline, "default", IMAGES)
    data = catalog.load_from_hub("me/pets")
    np.testing.assert_array_equal(data.inputs, IMAGES)
    assert (data.test_from, data.class_names) == (4, ("cat", "dog"))
    assert datasets.config.HF_HUB_OFFLINE is False
    with pytest.raises(
        MissingDataError, match=r"'me/dogs' \(ConnectionError: the hub is out of re"
    ):
        catalog.load_from_hub("me/dogs")


def test_offline_a_configuration_is_chosen(offline: Path) -> None:
    for configuration, images in (("first", IMAGES), ("second", IMAGES[::-1])):
        keep(offline, configuration, images)
    for configuration, images in (("first", IMAGES), ("second", IMAGES[::-1])):
        data = catalog.load_from_hub(f"me/pets:{configuration}")
        np.testing.assert_array_equal(data.inputs, images)
    with pytest.raises(MissingDataError, match="the hub is out of reach"):
        catalog.load_from_hub("me/pets:third")


@pytest.mark.parametrize("hangs", [False, True])
def test_offline_it_fails_quickly_with_the_same_sentence(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, hangs: bool
) -> None:
    """Through the real library, which on its own would knock for half a minute."""
    asked: list[Any] = []

    def no_network(*args: Any, **kwargs: Any) -> Any:
        asked.append(args)
        if hangs:
            time.sleep(2)
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "create_connection", no_network)
    monkeypatch.setattr(hub, "PATIENCE", 0.1)
    monkeypatch.setattr("urllib.request.getproxies", dict)
    monkeypatch.setattr(sources, "folders", lambda folder: [])
    monkeypatch.setattr(datasets.config, "HF_CACHE_HOME", tmp_path)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path)
    with pytest.raises(
        MissingDataError, match=r"^The data set cifar10 .* the hub is out of reach\)\."
    ):
        cifar10()
    assert len(asked) == 1  # once by us; the library was not let out
    with pytest.raises(MissingDataError, match="hub does not give the data set 'me/pets'"):
        catalog.load_from_hub("me/pets")
    assert datasets.config.HF_HUB_OFFLINE is False
