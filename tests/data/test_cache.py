"""The cache gives back the same bytes, and its failures cost nothing but time."""

from __future__ import annotations

import os
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dynanoise.data import cache, images
from dynanoise.data.cache import cached
from dynanoise.data.dataset import Data
from dynanoise.data.hub_layout import Decoding, Part, Rows, decode

DATA = Data(
    "mine",
    np.random.default_rng(0).integers(0, 5, (20, 6), dtype=np.int32),
    np.arange(20) % 3,
    3,
    test_from=15,
    vocabulary_size=5,
    class_names=("a", "b", "ö"),
)


class Maker:
    """Counts how often the data are decoded."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self) -> Data:
        self.calls += 1
        return DATA


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DYNANOISE_CACHE", str(tmp_path))
    return tmp_path / "data"


def assert_same(data: Data) -> None:
    for field in fields(Data):
        np.testing.assert_array_equal(getattr(data, field.name), getattr(DATA, field.name))
    assert data.inputs.dtype == DATA.inputs.dtype and data.digest == DATA.digest


def test_a_second_load_is_identical_and_decodes_nothing(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    make = Maker()
    assert_same(cached("mine", {"a": 1}, make))
    assert_same(cached("mine", {"a": 1}, make))
    assert make.calls == 1 and len(list(folder.iterdir())) == 1 and not caplog.text


@pytest.mark.parametrize("other", [{"a": 2}, {"a": 1, "b": None}, {}])
def test_another_key_is_another_file(folder: Path, other: dict[str, Any]) -> None:
    make = Maker()
    cached("owner/mine", {"a": 1}, make)
    cached("owner/mine", other, make)
    assert make.calls == 2 and len(list(folder.iterdir())) == 2


def damaged(content: bytes) -> list[bytes]:
    generator = np.random.default_rng(0)
    some = [b"", b"garbage", content[: len(content) // 2], content[:-1]]
    for position in generator.integers(0, len(content), 60):
        flipped = bytearray(content)
        flipped[position] ^= 0xFF
        some.append(bytes(flipped))
    return some


def test_a_damaged_file_never_gives_other_data(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Any flipped byte is noticed, or is one that holds no data (such as a date in the zip)."""
    cached("mine", {}, Maker())
    (path,) = folder.iterdir()
    whole = path.read_bytes()
    noticed = 0
    for content in damaged(whole):
        path.write_bytes(content)
        caplog.clear()
        make = Maker()
        assert_same(cached("mine", {}, make))
        assert (make.calls == 1) == ("The cached data of mine cannot be used" in caplog.text)
        noticed += make.calls
        if make.calls:
            assert_same(cache._load(path))  # written anew
    assert noticed > 40


def test_data_of_another_digest_are_noticed(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A valid file whose arrays are not what was stored."""
    cached("mine", {}, Maker())
    (path,) = folder.iterdir()
    with np.load(path) as file:
        arrays = dict(file)
    arrays["labels"] = arrays["labels"][::-1]
    np.savez(path, **arrays)
    make = Maker()
    assert_same(cached("mine", {}, make))
    assert make.calls == 1 and "digest" in caplog.text


def test_a_full_disk_loses_nothing(
    folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(*args: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    assert_same(cached("mine", {}, Maker()))
    assert "could not be cached ([Errno 28] No space left on device)" in caplog.text
    assert list(folder.iterdir()) == []


def test_a_cache_that_is_no_folder_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("DYNANOISE_CACHE", str(tmp_path / "file"))
    assert_same(cached("mine", {}, Maker()))
    assert "could not be cached" in caplog.text


def test_a_user_without_a_home_loses_nothing(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def homeless() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(cache, "folder", homeless)
    assert_same(cached("mine", {}, Maker()))
    assert "could not be cached" in caplog.text


def test_errors_of_decoding_are_not_swallowed(folder: Path) -> None:
    def fails() -> Data:
        raise ValueError("not an image")

    with pytest.raises(ValueError, match="not an image"):
        cached("mine", {}, fails)
    assert not folder.exists()


def test_where_the_cache_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DYNANOISE_CACHE", "mine")
    monkeypatch.setenv("XDG_CACHE_HOME", "xdg")
    assert cache.folder() == Path("mine")
    monkeypatch.delenv("DYNANOISE_CACHE")
    assert cache.folder() == Path("xdg/dynanoise")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache.folder() == Path.home() / ".cache" / "dynanoise"


def test_files_and_digests_stay_as_they_are(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Computed before the modules moved into rooms; another name would decode everything again."""
    monkeypatch.setattr(images, "decoder", lambda: "pillow 11.0")
    rows = Rows("texts", ["a good film", "a bad film"], [1, 0], ("negative", "positive"))
    assert rows.digest == "ccf6580a9f4482cb8583b7db9abfd03b9e459ded49519940c02f3af7dfb7e928"
    assert Decoding(side=8).key == {"side": 8, "least": 2, "most": 20000, "length": 64}
    data = decode("films", [Part("train", "ab" * 32, lambda: rows)])
    assert data.digest == "bc6616f16b91cc6d70f86a4b5357cc3afe4980226e54a281e88f50062bb97dd7"
    (path,) = folder.iterdir()
    assert path.name == "films-2620cb4382aeffe9ba93f8f1df159cff.npz"
