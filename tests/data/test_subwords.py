"""Texts by a pretrained tokenizer: its own ids plus one, kept under what is in its files."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dynanoise.core.errors import DataFileError, MissingExtraError
from dynanoise.data import cache, catalog, hub_layout
from dynanoise.data.datasets.sst2 import sst2
from dynanoise.data.text import Subwords
from tests.factories import checkpoints, data_files
from tests.factories.checkpoints import KINDS, SENTENCES, SIZE


@pytest.fixture
def subwords(tmp_path: Path) -> Subwords:
    return Subwords.of(str(checkpoints.write(tmp_path / "tiny")))


def test_ids_count_from_one_and_special_tokens_stay(subwords: Subwords) -> None:
    # [PAD] [UNK] [CLS] [SEP] a bad film good not have 0 to 8, so 1 to 9 here.
    tokens = subwords.encode(["A good film", "", "bad unheard"])
    assert tokens.tolist() == [[3, 5, 8, 7, 4], [3, 4, 0, 0, 0], [3, 6, 2, 4, 0]]
    assert tokens.dtype == np.int32 and subwords.size == SIZE + 1


def test_long_texts_are_cut_and_keep_their_end(subwords: Subwords) -> None:
    assert subwords.encode(["a good film", "bad"], length=4).tolist() == [
        [3, 5, 8, 4],
        [3, 6, 4, 0],
    ]
    assert subwords.encode(["a " * 500]).shape == (1, 128)
    subwords.tokenizer.model_max_length = 6
    assert subwords.encode(["a " * 500]).shape == (1, 6)


@pytest.mark.parametrize("kind", KINDS)
def test_they_are_the_tokenizers_own(tmp_path: Path, kind: str) -> None:
    tokens = Subwords.of(str(checkpoints.write(tmp_path / kind, kind))).encode(SENTENCES)
    for row, sentence in zip(tokens, SENTENCES, strict=True):
        expected = checkpoints.tokenizer(kind)(sentence)["input_ids"]
        assert (row[row > 0] - 1).tolist() == expected and not row[len(expected) :].any()


def test_no_row_is_padding_alone(tmp_path: Path) -> None:
    """Where a tokenizer puts nothing around a text, an empty one is an unknown word."""
    tokens = Subwords.of(str(checkpoints.write(tmp_path / "gpt2", "gpt2"))).encode(["", "a film"])
    assert tokens.tolist() == [[2, 0], [5, 7]]


@pytest.fixture
def texts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DYNANOISE_CACHE", str(tmp_path / "cache"))
    parts = {
        "train": (SENTENCES, [1, 0, 1, 0, 0, 1]),
        "validation": (["a film"], [1]),
        "test": (["good bad"], [-1]),
    }
    data_files.write_texts(tmp_path / "data" / "sst2", parts)
    return tmp_path / "data"


def test_a_data_set_by_a_tokenizer(texts: Path, tmp_path: Path) -> None:
    tiny = str(checkpoints.write(tmp_path / "tiny"))
    expected = Subwords.of(tiny).encode([*SENTENCES, "a film"])
    for data in (
        sst2(texts, tokenizer=tiny),
        catalog.load_data("sst2", texts, tokenizer=tiny),
        catalog.load_data(str(texts / "sst2"), tokenizer=tiny),
    ):
        np.testing.assert_array_equal(data.inputs, expected)
        assert data.vocabulary_size == SIZE + 1 and data.test_from == 6
    assert sst2(texts, tokenizer=tiny, length=3).inputs.shape == (7, 3)
    assert sst2(texts).inputs.shape == (7, 64) and sst2(texts).vocabulary_size == 6
    assert catalog.load_data("digits", tokenizer=tiny).inputs.shape == (1797, 64)


def test_the_cache_knows_a_tokenizer_by_what_is_in_it(
    texts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny = checkpoints.write(tmp_path / "tiny")
    first = sst2(texts, tokenizer=str(tiny))
    elsewhere = Path(shutil.copytree(tiny, tmp_path / "elsewhere" / "copy"))
    checkpoints.write(elsewhere, seed=1)  # other weights, which make no tokens
    with monkeypatch.context() as patch:
        patch.setattr(hub_layout, "_decode", lambda *args: pytest.fail("decoded again"))
        assert sst2(texts, tokenizer=str(elsewhere)).digest == first.digest
    assert str(tmp_path) not in json.dumps(hub_layout.Decoding(tokenizer=str(tiny)).key)
    path = elsewhere / "tokenizer.json"
    content = path.read_text()
    assert '"film": 6' in content
    path.write_text(content.replace('"film": 6', '"film": 7').replace('"good": 7', '"good": 6'))
    other = sst2(texts, tokenizer=str(elsewhere))
    assert first.inputs[0].tolist() == [3, 5, 8, 7, 4, 0]
    assert other.inputs[0].tolist() == [3, 5, 7, 8, 4, 0]
    assert len(list((cache.folder() / "data").iterdir())) == 2


def test_other_versions_of_the_library_decode_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    how = hub_layout.Decoding(tokenizer=str(checkpoints.write(tmp_path / "tiny")))
    before = how.key
    # The library replaces its own module after it was imported.
    monkeypatch.setattr(sys.modules["transformers"], "__version__", "5.99")
    assert how.key != before


def test_data_without_a_tokenizer_keep_their_key() -> None:
    """Or everybody's cached data would be decoded again."""
    expected = {"side": None, "least": 2, "most": 20_000, "length": 64}
    assert hub_layout.AS_PUBLISHED.key == expected


def test_a_folder_without_a_tokenizer_is_named(tmp_path: Path) -> None:
    tiny = checkpoints.write(tmp_path / "tiny")
    (tiny / "tokenizer.json").unlink()
    with pytest.raises(DataFileError, match=r"^transformers cannot read tiny \(ValueError: "):
        Subwords.of(str(tiny))
    (tiny / "tokenizer_config.json").unlink()  # then the library makes up an empty one
    with pytest.raises(DataFileError, match="There is no tokenizer beside tiny"):
        Subwords.of(str(tiny))


def test_without_the_library_the_extra_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, texts: Path
) -> None:
    tiny: Any = checkpoints.write(tmp_path / "tiny")
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(MissingExtraError, match=r"pip install .*transformers"):
        sst2(texts, tokenizer=str(tiny))
