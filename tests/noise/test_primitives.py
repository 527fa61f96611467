"""ChaCha20, SipHash-2-4-128 and normals_v1 against published vectors and plain Python."""

from __future__ import annotations

import hashlib
import hmac
import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from dynanoise.noise import chacha, normals, siphash, subkey
from dynanoise.noise.chacha import Words
from tests.noise import reference
from tests.noise.vectors import make

VECTORS = Path(__file__).parent / "vectors"


def load(name: str) -> Any:
    return json.loads((VECTORS / name).read_text())


def as_words(raw: bytes) -> Words:
    return np.frombuffer(raw, "<u4").astype(np.uint32)


def as_bytes(words: npt.NDArray[Any]) -> bytes:
    return words.astype(words.dtype.newbyteorder("<")).tobytes()


# --- ChaCha20 ------------------------------------------------------------------------------------


def test_chacha20_blocks_are_those_of_rfc_8439() -> None:
    """All at once, so that neighbours in a batch do not disturb each other."""
    vectors = load("chacha20.json")["blocks"]
    keys, nonces = (
        np.stack([as_words(bytes.fromhex(vector[name])) for vector in vectors])
        for name in ("key", "nonce")
    )
    counters = np.array([vector["counter"] for vector in vectors], np.uint32)
    result = chacha.blocks(keys, counters, nonces)
    assert [as_bytes(row).hex() for row in result] == [vector["block"] for vector in vectors]


@given(st.lists(st.binary(min_size=32, max_size=32), min_size=1, max_size=4), st.data())
def test_streams_are_those_of_plain_python(keys: list[bytes], data: st.DataObject) -> None:
    nonce = data.draw(st.integers(0, 2**32 - 1))
    count = data.draw(st.integers(1, 50))
    result = chacha.stream(np.stack([as_words(key) for key in keys]), nonce, count)
    assert result.tolist() == [
        list(itertools.islice(reference.words(key, nonce), count)) for key in keys
    ]


# --- SipHash -------------------------------------------------------------------------------------


def test_siphash_is_that_of_its_authors() -> None:
    vectors = load("siphash128.json")["hashes"]
    assert len(vectors) == 64
    for length, expected in enumerate(vectors):
        message = np.arange(length, dtype=np.uint8)[None]
        for count in (1, 9):  # in plain integers, and in arrays
            hashes = siphash.siphash128(message.repeat(count, axis=0), bytes(range(16)))
            assert {as_bytes(row).hex() for row in hashes} == {expected}


@given(
    st.binary(min_size=16, max_size=16),
    st.integers(0, 300).flatmap(
        lambda size: st.lists(st.binary(min_size=size, max_size=size), min_size=1, max_size=3)
    ),
)
def test_siphash_is_that_of_plain_python(key: bytes, messages: list[bytes]) -> None:
    rows = np.stack([np.frombuffer(message, np.uint8) for message in messages])
    result = siphash.siphash128(rows, key)
    np.testing.assert_array_equal(
        siphash.siphash128(np.concatenate([rows] * 9), key), np.concatenate([result] * 9)
    )
    assert [as_bytes(row) for row in result] == [
        reference.siphash128(key, message) for message in messages
    ]


# --- HMAC ----------------------------------------------------------------------------------------


@given(st.binary(min_size=1, max_size=80), st.text())
def test_branches_are_hmac_by_its_definition(key: bytes, label: str) -> None:
    """RFC 2104 from two SHA-256, and the standard library's other entry."""
    block = (
        key.ljust(64, b"\0") if len(key) <= 64 else hashlib.sha256(key).digest().ljust(64, b"\0")
    )
    inner = hashlib.sha256(bytes(b ^ 0x36 for b in block) + label.encode()).digest()
    outer = hashlib.sha256(bytes(b ^ 0x5C for b in block) + inner).digest()
    assert subkey.branch(key, label) == outer
    assert hmac.new(key, label.encode(), "sha256").digest() == outer


def test_hmac_is_that_of_rfc_4231() -> None:
    digest = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
    assert subkey.branch(b"Jefe", "what do ya want for nothing?").hex() == digest


@given(st.lists(st.binary(max_size=5), max_size=4), st.lists(st.binary(max_size=5), max_size=4))
def test_length_prefixed_parts_cannot_run_together(first: list[bytes], second: list[bytes]) -> None:
    same = subkey.length_prefixed(*first) == subkey.length_prefixed(*second)
    assert same == (first == second)


# --- normals_v1 ----------------------------------------------------------------------------------


@pytest.mark.parametrize("vector", load("normals_v1.json"), ids=lambda vector: str(vector["nonce"]))
def test_normals_v1_are_the_committed_ones(vector: dict[str, Any]) -> None:
    """Uniforms bit for bit; normals to what mathematics libraries differ by."""
    count = len(vector["normals"])
    key = as_words(bytes.fromhex(vector["key"]))[None]
    words = chacha.stream(key, vector["nonce"], normals.count_words(count))
    uniforms = normals.uniforms_v1(words)[0]
    assert [float(value).hex() for value in uniforms] == vector["uniforms"]
    np.testing.assert_allclose(
        normals.normals_v1(words, count)[0], vector["normals"], rtol=1e-13, atol=1e-14
    )


@pytest.mark.parametrize("name", make.FILES)
def test_committed_vectors_are_what_their_script_makes(name: str) -> None:
    """Up to the last digits of logarithms and exponentials."""
    for vector, result in zip(load(name), json.loads(make.text(make.FILES[name]())), strict=True):
        assert vector.keys() == result.keys()
        for field, value in vector.items():
            if field in ("normals", "probs"):
                np.testing.assert_allclose(value, result[field], rtol=1e-12, atol=1e-13)
            else:
                assert value == result[field], field


def test_the_extremes_of_the_words_are_finite() -> None:
    """ln 0 never happens: the smallest radius is 0 and the largest 8.57."""
    words = np.array([[2**32 - 1] * 4, [0] * 4], np.uint32)
    result = normals.normals_v1(words, 2)
    assert np.abs(result[0]).max() < 1e-7
    np.testing.assert_allclose(result[1], [np.sqrt(106 * np.log(2)), 0])


def test_normals_v1_are_normal_and_independent() -> None:
    keys = np.random.default_rng(0).integers(0, 2**32, (20_000, 8), dtype=np.uint32)
    result = normals.normals_v1(chacha.stream(keys, 0, normals.count_words(10)), 10)
    assert stats.kstest(result.ravel(), "norm").pvalue > 0.001
    correlations = np.corrcoef(np.concatenate([result, result**2], axis=1).T)[
        np.triu_indices(20, 1)
    ]
    assert np.abs(correlations).max() < 5 / np.sqrt(20_000)
