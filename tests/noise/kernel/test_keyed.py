"""Keyed answers of the kernel and of NumPy are the same bits, whatever is asked and how."""

from __future__ import annotations

import os
import pickle
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import special

from dynanoise.core.errors import InputError, SecretError
from dynanoise.core.numerics import Float64
from dynanoise.defenses import kernel_outputs
from dynanoise.defenses.dynanoise import DynaNoise
from dynanoise.noise.cells import Grid, encoded
from dynanoise.noise.fresh import SystemFresh
from dynanoise.noise.keyed import Keyed, row_keys
from dynanoise.noise.siphash import siphash128
from tests.factories.keyed_noise import keyed, rows
from tests.factories.outputs import LARGEST_FLOAT32, logit_arrays, read_only_copy
from tests.noise.test_primitives import load

pytest.importorskip("numba", reason="the kernel needs: pip install 'dynanoise[fast]'")

from dynanoise.noise.kernel import stream, threads

SETTINGS = st.builds(
    DynaNoise,
    base_variance=st.sampled_from([0.0, 1e-12, 0.3, 30.0]) | st.floats(0, 5),
    lambda_scale=st.sampled_from([0.0, 2.0]) | st.floats(0, 6),
    temperature=st.sampled_from([5e-324, 1e-300, 1e-3, 0.5, 10.0, 1e8, 1e300]) | st.floats(0.5, 20),
    samples=st.integers(1, 4),
    keep_label=st.booleans(),
)
"""With ties under rounding, temperatures whose inverse overflows, and no variance."""


@st.composite
def any_logits(draw: st.DrawFn) -> npt.NDArray[Any]:
    """Logits of 2 to 50 classes and up to 70 rows, plain, extreme, or with ties."""
    dtype = draw(st.sampled_from([np.float32, np.float64]))
    shape = draw(st.integers(1, 70)), draw(st.integers(2, 50))
    generator = np.random.default_rng(draw(st.integers(0, 2**32)))
    result = generator.normal(0, draw(st.sampled_from([0.1, 4.0, 1e4])), shape).astype(dtype)
    kind = draw(st.sampled_from(["plain", "extreme", "ties"]))
    if kind == "extreme":
        largest = LARGEST_FLOAT32 if dtype is np.float32 else 1.7e308
        values = np.array([1e30, -1e30, largest, -largest, 0.0, 1e-40], dtype)
        result = np.where(generator.random(shape) < 0.3, generator.choice(values, shape), result)
    return np.round(result) if kind == "ties" else result


@settings(max_examples=60)
@given(SETTINGS, any_logits(), st.sampled_from([1e-6, 0.3, 4.0, 1e4]))
def test_the_kernel_and_numpy_agree_bit_for_bit(
    defense: DynaNoise, logits: npt.NDArray[Any], width: float
) -> None:
    noise = keyed(width)
    result = defense.by_kernel(logits, noise)
    assert result is not None and result.dtype == logits.dtype
    np.testing.assert_array_equal(result, defense.by_numpy(logits, noise))


@pytest.mark.parametrize("classes", [2, 3, 8, 9, 16, 200, 1000])
def test_tiles_and_what_is_left_of_them_agree(classes: int) -> None:
    logits, defense = rows(131, classes).astype(np.float32), DynaNoise(samples=2)
    whole = defense(logits, keyed())
    np.testing.assert_array_equal(whole, defense.by_numpy(logits, keyed()))
    for begin, end in ((0, 1), (3, 10), (60, 131)):
        np.testing.assert_array_equal(defense(logits[begin:end], keyed()), whole[begin:end])


def test_shapes_and_layouts_do_not_matter() -> None:
    logits, defense, noise = rows(24, 7), DynaNoise(keep_label=True), keyed()
    whole = defense(logits, noise)
    spaced = np.zeros((24, 14))[:, ::2]
    spaced[:] = logits
    unaligned = np.frombuffer(b"x" + logits.tobytes(), np.uint8)[1:].view(np.float64)
    for same in (np.asfortranarray(logits), spaced, read_only_copy(logits), logits.tolist()):
        np.testing.assert_array_equal(defense(same, noise), whole)
    np.testing.assert_array_equal(defense(unaligned.reshape(24, 7), noise), whole)
    np.testing.assert_array_equal(defense(logits.reshape(2, 3, 4, 7), noise).reshape(24, 7), whole)
    np.testing.assert_array_equal(defense(logits[5], noise), whole[5])
    assert defense(logits[:0], noise).shape == (0, 7)
    np.testing.assert_array_equal(logits, rows(24, 7))


def test_threads_of_a_call_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    logits, defense, noise = rows(300), DynaNoise(), keyed()
    whole = defense(logits, noise)
    monkeypatch.setattr(kernel_outputs, "_SINGLE_THREAD", 0)
    monkeypatch.setattr(threads, "ENTRIES", 10)
    for count in (1, 2, 3, 8, 500):
        monkeypatch.setattr(threads, "usable", lambda count=count: count)
        np.testing.assert_array_equal(defense(logits, noise), whole)
    bad = logits.copy()
    bad[250, 3] = np.nan
    with pytest.raises(InputError, match=r"logits\[250, 3\] is nan"):
        defense(bad, noise)


def test_eight_python_threads_with_threads_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    logits, defense, noise = rows(800), DynaNoise(), keyed()
    whole = defense(logits, noise)
    monkeypatch.setattr(kernel_outputs, "_SINGLE_THREAD", 0)
    monkeypatch.setattr(threads, "ENTRIES", 100)
    monkeypatch.setattr(threads, "usable", lambda: 3)
    with ThreadPoolExecutor(8) as pool:
        result = list(pool.map(lambda i: defense(logits[i : i + 100], noise), range(0, 800, 100)))
    np.testing.assert_array_equal(np.concatenate(result), whole)


def test_no_more_threads_are_no_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    class Refused:
        def __init__(self, **_: Any) -> None:
            raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threads, "Thread", Refused)
    monkeypatch.setattr(threads, "ENTRIES", 1)
    parts: list[tuple[int, int]] = []

    def call(begin: int, end: int) -> bool:
        parts.append((begin, end))
        return True

    assert threads.share(call, 10, 1, 4)
    assert sorted(parts) == [(0, 3), (3, 5), (5, 8), (8, 10)]


@pytest.mark.parametrize(
    ("wanted", "expected"), [("1", 1), ("0", None), ("many", None), ("", None)]
)
def test_the_usual_variable_limits_the_threads(
    wanted: str, expected: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    cores = threads.usable()
    monkeypatch.setenv("OMP_NUM_THREADS", wanted)
    assert threads.usable() == (expected or cores)


# --- known answers -------------------------------------------------------------------------------


@pytest.mark.behaviour
def test_chacha20_has_the_known_answers() -> None:
    """And so has every lane, beside others."""
    vectors = load("chacha20.json")["blocks"]
    words, state = np.zeros((2, 16 * stream.LANES), np.uint32)
    lanes = state.reshape(16, stream.LANES)
    lanes[:] = np.random.default_rng(0).integers(0, 2**32, lanes.shape, np.uint32)
    for i, vector in enumerate(vectors):
        lanes[4:12, i] = np.frombuffer(bytes.fromhex(vector["key"]), "<u4")
        lanes[12, i] = vector["counter"]
        lanes[13:, i] = np.frombuffer(bytes.fromhex(vector["nonce"]), "<u4")
    stream.chacha(words, state, 20, len(vectors))
    result = words.reshape(16, stream.LANES)[:, : len(vectors)].T.astype("<u4")
    assert [row.tobytes().hex() for row in result] == [vector["block"] for vector in vectors]


@pytest.mark.behaviour
@pytest.mark.parametrize("classes", [2, 3, 10, 61, 62, 63, 126])
def test_row_keys_are_siphashes_of_the_encoded_cells(classes: int) -> None:
    """Also where the message's length does not fit into its byte."""
    generator = np.random.default_rng(classes)
    cells = generator.integers(0, 2**20, (5, classes)).astype(np.int32)
    labels = generator.integers(0, classes, 5)
    key = generator.bytes(16)
    message = np.zeros((2 * (classes // 2 + 2), 5), np.uint32)
    message[1 : classes + 1], message[classes + 1] = cells.T, labels
    message[-1] = np.uint32(4 * (classes + 2) % 256 << 24)
    keys = np.zeros((8, 5), np.uint32)
    low, high = np.frombuffer(key, "<u8").astype(np.uint64)
    stream.row_keys(low, high, message, np.zeros((8, 5), np.uint64), keys)
    np.testing.assert_array_equal(keys.T, row_keys(key, cells, labels))
    assert siphash128(encoded(cells, labels, 0), key)[0, 0] & 0xFFFFFFFF == keys[0, 0]


@given(SETTINGS, logit_arrays(largest=30))
def test_both_are_the_definition_to_1e_12(defense: DynaNoise, logits: Float64) -> None:
    """By scipy, for temperatures that do not blow up the last digit."""
    noise = keyed()
    draws = defense.samples if defense.base_variance > 0 else 0
    base, normals = noise.draw(logits, draws, defense.purpose)
    nats = special.entr(special.softmax(base, axis=-1)).sum(axis=-1)
    spread = 1 + defense.lambda_scale * np.clip(1 - nats / np.log(base.shape[-1]), 0, 1)
    sigma = np.sqrt(defense.base_variance * spread)[:, None]
    if defense.temperature < 0.1 or defense.keep_label:
        return
    noisy = [base + sigma * normal for normal in normals] or [base]
    expected = np.mean([special.softmax(row / defense.temperature, axis=-1) for row in noisy], 0)
    np.testing.assert_allclose(defense(logits, noise), expected, rtol=1e-9, atol=1e-12)


# --- secrets -------------------------------------------------------------------------------------


def test_a_secret_is_looked_up_for_every_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Derived keys are remembered, by the secret that was just read."""
    noise, logits, defense = Keyed(4.0, "tests", "ab" * 32), rows(3), DynaNoise()
    answers: dict[str, npt.NDArray[Any]] = {}
    for digits in ("5a" * 32, "5b" * 32, "5a" * 32):
        monkeypatch.setenv("DYNANOISE_KEY", digits)
        answers.setdefault(digits, defense(logits, noise))
        np.testing.assert_array_equal(defense(logits, noise), answers[digits])
        np.testing.assert_array_equal(defense.by_numpy(logits, noise), answers[digits])
    assert (answers["5a" * 32] != answers["5b" * 32]).all()
    monkeypatch.delenv("DYNANOISE_KEY")
    with pytest.raises(SecretError, match="is not set"):
        defense(logits, noise)


def test_no_object_holds_what_is_derived(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DYNANOISE_KEY", "5c" * 32)
    noise, defense = Keyed(4.0, "tests", "ab" * 32), DynaNoise()
    defense(rows(3), noise)
    numbers, words = kernel_outputs.keyed_arguments(defense.kernel_setting, noise, 10)
    written = pickle.dumps((noise, defense)) + repr((noise, defense, vars(defense))).encode()
    for secret in (os.environ["DYNANOISE_KEY"].encode(), b"\x5c" * 32, words.tobytes()[:16]):
        assert secret not in written
    assert numbers[4:].tobytes()[:8] not in written


def test_settings_are_not_mixed_up_and_not_hoarded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernel_outputs, "_REMEMBERED", 3)
    logits = rows(2, 4)
    for _ in range(2):
        for seed in range(3):
            for defense in (DynaNoise(), DynaNoise(temperature=3.0), DynaNoise(samples=2)):
                noise = keyed(seed=seed)
                np.testing.assert_array_equal(
                    defense(logits, noise), defense.by_numpy(logits, noise)
                )
                assert len(kernel_outputs._derived) <= 3


# --- what is refused, and what is not covered ----------------------------------------------------


@pytest.mark.parametrize(
    "bad",
    [
        [[0.0, np.nan]],
        [[0.0, 1.0], [np.inf, 0.0]],
        np.array([[-np.inf, 0.0]], np.float32),
        np.zeros((2, 1)),
        np.zeros((2, 0)),
        np.float64(1.0),
        np.zeros((1, 3), np.float16),
        np.zeros((1, 3), ">f4"),
        np.zeros((1, 3), int),
        [[0.0, 1.0], [0.0]],
        "text",
        None,
    ],
)
def test_bad_logits_are_refused_in_the_same_words(bad: Any) -> None:
    for noise in (keyed(), SystemFresh()):
        with pytest.raises(InputError) as expected:
            DynaNoise().by_numpy(bad, noise)
        with pytest.raises(InputError) as caught:
            DynaNoise()(bad, noise)
        assert str(caught.value) == str(expected.value)


def test_without_numba_and_for_other_settings_numpy_answers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    logits = rows(5)
    with_it = DynaNoise()(logits, keyed())
    for defense in (DynaNoise(sensitivity="margin"), DynaNoise(sensitivity="max_probability")):
        assert defense.by_kernel(logits, keyed()) is None
        assert defense(logits, keyed()).shape == (5, 10)
    monkeypatch.setattr(kernel_outputs, "kernel_entries", lambda: None)
    assert DynaNoise().by_kernel(logits, keyed()) is None
    np.testing.assert_array_equal(DynaNoise()(logits, keyed()), with_it)
    assert DynaNoise()(logits, SystemFresh()).shape == (5, 10)


def test_the_grid_is_that_of_cells() -> None:
    """A wrong offset or label would still give a valid cell, so they are compared directly."""
    noise, defense, logits = keyed(2.0), DynaNoise(base_variance=0.0, temperature=2.0), rows(50, 6)
    numbers, words = kernel_outputs.keyed_arguments(defense.kernel_setting, noise, 6)
    grid = Grid(2.0, numbers[4:])
    base = grid.representatives(grid.find(logits)[0])
    np.testing.assert_allclose(defense(logits, noise), special.softmax(base / 2, axis=-1))
    assert words[2] == 0
