"""SystemFresh in the kernel: the definition with float32 rounding, and noise that is noise."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import special, stats

from dynanoise.core import numerics
from dynanoise.core.numerics import Float64
from dynanoise.defenses import kernel_outputs
from dynanoise.defenses.dynanoise import DynaNoise
from dynanoise.noise.chacha import _quarter_rounds
from dynanoise.noise.fresh import SystemFresh
from tests.factories.keyed_noise import rows
from tests.noise.kernel.test_keyed import any_logits

pytest.importorskip("numba", reason="the kernel needs: pip install 'dynanoise[fast]'")

KEY = bytes(range(32))


def chacha8(counter: int, nonce: int = 0) -> npt.NDArray[np.uint32]:
    """A block under KEY, by NumPy's code for ChaCha20."""
    start = np.zeros((16, 1), np.uint32)
    start[:4, 0] = np.frombuffer(b"expand 32-byte k", "<u4")
    start[4:12, 0] = np.frombuffer(KEY, "<u4")
    start[12], start[13], start[14] = counter % 2**32, counter >> 32, nonce
    a, b, c, d = start.reshape(4, 4, 1).copy()
    for _ in range(4):
        _quarter_rounds(a, b, c, d)
        b, c, d = b[[1, 2, 3, 0]], c[[2, 3, 0, 1]], d[[3, 0, 1, 2]]
        _quarter_rounds(a, b, c, d)
        b, c, d = b[[3, 0, 1, 2]], c[[2, 3, 0, 1]], d[[1, 2, 3, 0]]
    return np.asarray((np.concatenate([a, b, c, d]) + start)[:, 0])


def box_muller(words: npt.NDArray[np.uint32]) -> Float64:
    """Float32's way, in float64: 31 bits of the radius, a signed angle."""
    radius = np.sqrt(-2 * np.log(((words[0::2] >> 1) + 0.5) * 2.0**-31))
    angle = words[1::2].astype(np.int32) * 2.0**-32 * 2 * np.pi
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=-1).ravel()


def definition(defense: DynaNoise, row: Any, normals: Any) -> Float64:
    """A row's answer by scipy from given normals."""
    nats = special.entr(special.softmax(row)).sum()
    spread = 1 + defense.lambda_scale * (1 - nats / np.log(len(row)))
    noisy = row + np.sqrt(defense.base_variance * spread) * np.asarray(normals)
    return np.asarray(special.softmax(noisy / defense.temperature, axis=-1).mean(axis=0))


def answered(defense: DynaNoise, logits: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """By the kernel's fresh entry, under KEY."""
    entries = kernel_outputs.kernel_entries()
    assert entries is not None
    out = np.empty_like(logits)
    name = "fresh_32" if logits.dtype == np.float32 else "fresh_64"
    assert entries[name](logits, out, defense.kernel_setting.fresh_numbers, KEY, 0, len(logits))
    return out


@pytest.mark.parametrize("samples", [1, 3])
def test_a_single_row_is_the_definition_from_the_stream_of_its_key(samples: int) -> None:
    defense, row = DynaNoise(0.3, 2.0, 3.0, samples), rows(1, 10).astype(np.float32)
    normals = [box_muller(chacha8(0, draw))[:10] for draw in range(samples)]
    expected = definition(defense, row[0].astype(float), normals)
    np.testing.assert_allclose(answered(defense, row)[0], expected, atol=1e-6)


def test_rows_have_counters_of_their_own() -> None:
    """Counters have 64 bits; tiles begin at row times classes."""
    defense, logits = DynaNoise(0.3, 2.0, 3.0), rows(65, 10).astype(np.float32)
    expected = definition(defense, logits[64].astype(float), [box_muller(chacha8(640))[:10]])
    np.testing.assert_allclose(answered(defense, logits)[64], expected, atol=1e-6)
    entries = kernel_outputs.kernel_entries()
    assert entries is not None
    out = np.empty_like(logits)
    entries["fresh_32"](logits, out, defense.kernel_setting.fresh_numbers, KEY, 64, 65)
    np.testing.assert_array_equal(out[64], answered(defense, logits)[64])


@pytest.mark.parametrize("keep", [False, True])
def test_rows_of_a_tile_share_its_blocks_and_no_word(keep: bool) -> None:
    """Five rows of ten classes: four blocks, whose pairs stand lane beside lane."""
    defense = DynaNoise(30.0, 2.0, 3.0, keep_label=keep)
    logits = rows(5, 10).astype(np.float32)
    blocks = [box_muller(chacha8(counter)) for counter in range(4)]
    normals = np.stack(blocks, axis=1).ravel()[:50].reshape(10, 5)
    result = answered(defense, logits)
    for row, normal, answer in zip(logits, normals.T, result, strict=True):
        expected = definition(defense, row.astype(float), normal[None])
        if keep:
            places = [row.argmax(), expected.argmax()]
            expected[places] = expected[places[::-1]]
        np.testing.assert_allclose(answer, expected, atol=2e-6)


@settings(max_examples=50)
@given(
    any_logits(),
    st.floats(1e-3, 1e6),
    st.sampled_from([0.0, 0.3, 30.0]),
    st.integers(1, 3),
    st.booleans(),
)
def test_answers_are_probabilities(
    logits: npt.NDArray[Any], temperature: float, base: float, samples: int, keep: bool
) -> None:
    defense = DynaNoise(base, 2.0, temperature, samples, keep_label=keep)
    answer = defense(logits, SystemFresh())
    assert answer.dtype == logits.dtype and (answer >= 0).all()
    tolerance = 1e-6 if logits.dtype == np.float32 else 1e-13
    np.testing.assert_allclose(answer.sum(axis=-1, dtype=float), 1, atol=tolerance)
    if keep or base == 0:
        np.testing.assert_array_equal(answer.argmax(axis=-1), logits.argmax(axis=-1))


@given(any_logits(), st.floats(0.1, 100))
def test_without_noise_it_is_the_tempered_softmax(
    logits: npt.NDArray[Any], temperature: float
) -> None:
    result = DynaNoise(base_variance=0, temperature=temperature)(logits, SystemFresh())
    shifted = numerics.shift(logits.astype(float))
    with np.errstate(over="ignore"):
        expected = special.softmax(shifted / temperature, axis=-1)
    tolerance = 2e-6 if logits.dtype == np.float32 else 1e-12
    np.testing.assert_allclose(result, expected, atol=tolerance)


@pytest.mark.parametrize("temperature", [1e-30, 1e-7, 1e31])
def test_what_float32_cannot_hold_is_left_to_numpy(temperature: float) -> None:
    logits = rows(20, 5).astype(np.float32)
    defense = DynaNoise(temperature=temperature)
    assert defense.by_kernel(logits, SystemFresh()) is None
    answer = defense(logits, SystemFresh())
    np.testing.assert_allclose(answer.sum(axis=-1), 1, rtol=1e-6)


# --- statistics ----------------------------------------------------------------------------------


def recovered(dtype: Any, count: int, classes: int = 4) -> Float64:
    """The noise of answers about equal logits: T ln p over sigma, less its unknown constant."""
    logits = np.zeros((count, classes), dtype)
    answer = DynaNoise(1.0, 0.0, 10.0)(logits, SystemFresh()).astype(float)
    return np.asarray(10 * np.log(answer))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_noise_of_answers_is_normal(dtype: Any) -> None:
    noise = recovered(dtype, 200_000)
    standard = (noise[:, 0::2] - noise[:, 1::2]).ravel() / np.sqrt(2)
    assert stats.kstest(standard, "norm").pvalue > 0.0005
    for power, expected in ((1, 0), (2, 1), (3, 0), (4, 3)):
        spread = np.std(standard**power) / np.sqrt(standard.size)
        assert abs(np.mean(standard**power) - expected) < 5 * spread


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_tails_are_as_heavy_as_they_should_be(dtype: Any) -> None:
    """Out to five standard deviations, 3,000,000 draws."""
    noise = recovered(dtype, 750_000, 8)
    result = (noise[:, 0::2] - noise[:, 1::2]).ravel() / np.sqrt(2)
    assert np.isfinite(result).all()
    for limit in (1.0, 2.0, 3.0, 4.0, 4.5, 5.0):
        for tail in (result > limit, result < -limit):
            expected = float(stats.norm.sf(limit))
            assert stats.binomtest(int(tail.sum()), result.size, expected).pvalue > 1e-5


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_rows_classes_and_calls_are_independent(dtype: Any) -> None:
    """Differences of classes, in rows of one tile and of the next, and in two calls."""
    calls = np.stack([recovered(dtype, 70 * 600).reshape(600, 70, 4) for _ in range(2)], axis=1)
    pairs = calls[..., 0::2] - calls[..., 1::2]
    picked = pairs[:, :, [0, 1, 2, 15, 16, 63, 64, 65, 69]].reshape(600, -1)
    for columns in (picked, picked**2):
        result = np.asarray(np.corrcoef(columns.T))[np.triu_indices(columns.shape[1], 1)]
        assert np.abs(result).max() < 5.5 / np.sqrt(600)
