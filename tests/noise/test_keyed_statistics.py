"""Over keys: normal, independent, and unrelated after any change."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from scipy import stats

from dynanoise.core.numerics import Float64, centred
from dynanoise.defenses.dynanoise import DynaNoise
from dynanoise.noise import subkey
from dynanoise.noise.cells import Grid
from dynanoise.noise.chacha import Words, stream
from dynanoise.noise.fresh import Fresh
from dynanoise.noise.keyed import Keyed, canonical_setting, row_keys
from dynanoise.noise.keys import ExperimentKey
from dynanoise.noise.normals import count_words, normals_v1
from tests.factories.keyed_noise import keyed, normals_of, rows

KEYS = 300


def largest_correlation(samples: Float64) -> float:
    """Largest correlation of two columns of [n, d], in standard deviations of chance."""
    result = np.asarray(np.corrcoef(samples.T))[np.triu_indices(samples.shape[1], 1)]
    return float(np.abs(result).max() * np.sqrt(len(samples)))


def correlation(first: Float64, second: Float64) -> float:
    """In standard deviations of chance."""
    pair = np.asarray(np.corrcoef(first.ravel(), second.ravel()))
    return float(pair[0, 1] * np.sqrt(first.size))


# --- marginals and independence ------------------------------------------------------------------


@pytest.mark.behaviour
def test_over_keys_the_noise_of_answers_is_normal_with_the_cells_variance() -> None:
    """Given the cell, T (ln p_i - ln p_j) - (zc_i - zc_j) is N(0, 2 sigma(zc)^2)."""
    defense, logits = DynaNoise(0.3, 2.0, 10.0), rows(20, 6)
    result = []
    for seed in range(KEYS):
        noise = keyed(3.0, seed)
        base = noise.draw(logits, 1, defense.purpose)[0]
        noisy = defense.undo(np.log(defense(logits, noise))) - centred(base)
        sigma = np.sqrt(defense.variance(base))[:, None]
        result.append((noisy[:, 0::2] - noisy[:, 1::2]) / (sigma * np.sqrt(2)))
    standard = np.array(result)
    assert standard.shape == (KEYS, 20, 3)
    assert stats.kstest(standard.ravel(), "norm").pvalue > 0.001
    for column in standard.reshape(KEYS, -1).T:  # and of each query by itself
        assert stats.kstest(column, "norm").pvalue > 0.001 / 60


@pytest.mark.behaviour
def test_over_keys_classes_neighbouring_cells_and_draws_are_independent() -> None:
    """Three cells that differ by one step in one class, with three classes and two draws each."""
    groups = 30
    first = rows(groups, 3, spread=1000)  # no two groups share a cell
    first[:, 0] = 5000.0
    queries = np.stack([first, first - [0, 4, 0], first - [0, 0, 4]], axis=1)
    drawn = [normals_of(keyed(4.0, seed), queries, draws=2) for seed in range(KEYS)]
    samples = np.moveaxis(np.array(drawn), 1, 2).reshape(KEYS * groups, 18)
    assert largest_correlation(samples) < 5
    assert largest_correlation(samples**2) < 5
    assert abs(samples.mean()) < 5 / np.sqrt(samples.size)


def test_offsets_are_uniform_over_keys() -> None:
    result = [subkey.offsets(ExperimentKey(seed).root(), 4) for seed in range(KEYS)]
    assert stats.kstest(np.ravel(result), "uniform").pvalue > 0.001
    assert largest_correlation(np.array(result)) < 5


# --- avalanche -----------------------------------------------------------------------------------


def bits_changed(first: Words, second: Words) -> Float64:
    """The share of 256 bits that differ, of each row."""
    return np.asarray(np.bitwise_count(first ^ second).sum(axis=-1) / 256)


def assert_half(shares: Float64) -> None:
    """Within five standard deviations of a fair coin, all together and each by itself."""
    assert abs(shares.mean() - 0.5) < 5 * 0.5 / np.sqrt(256 * shares.size)
    assert np.abs(shares - 0.5).max() < 6 * 0.5 / np.sqrt(256)


def keys_and_normals(
    root: bytes, cells: npt.NDArray[np.int32], labels: npt.NDArray[np.int64]
) -> tuple[Words, Float64]:
    classes = cells.shape[1]
    text = canonical_setting(classes, 1, 4.0, "tests")
    key = subkey.subkey(root, "tests", bytes(32), text)
    cell_keys = row_keys(subkey.cell_key(key), cells, labels)
    return cell_keys, normals_v1(stream(cell_keys, 0, count_words(classes)), classes)


def some_cells(count: int, classes: int) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int64]]:
    return Grid(4.0, np.full(classes, 0.5)).find(rows(count, classes, spread=20))


def test_every_bit_of_the_root_changes_half_of_the_row_keys() -> None:
    root = np.frombuffer(ExperimentKey(1).root(), np.uint8)
    cells, labels = some_cells(20, 10)
    before, normals = keys_and_normals(root.tobytes(), cells, labels)
    shares, all_normals = [], []
    for bit in range(256):
        flipped = root.copy()
        flipped[bit // 8] ^= 1 << bit % 8
        after, changed = keys_and_normals(flipped.tobytes(), cells, labels)
        shares.append(bits_changed(before, after))
        all_normals.append(changed)
    assert_half(np.array(shares))
    assert (
        abs(correlation(np.broadcast_to(normals, (256, *normals.shape)), np.array(all_normals))) < 5
    )


def test_every_bit_of_a_cell_changes_half_of_its_row_key() -> None:
    """Also of the label: each of the 32 bits of each class of 20 cells."""
    root, classes = ExperimentKey(2).root(), 5
    cells, labels = some_cells(20, classes)
    before, normals = keys_and_normals(root, cells, labels)
    shares, pairs = [], []
    for bit in range(32 * (classes + 1)):
        flipped, other = cells.copy(), labels.copy()
        if bit < 32 * classes:
            flipped[:, bit // 32] ^= np.int32(-(2**31) if bit % 32 == 31 else 1 << bit % 32)
        else:
            other ^= 1 << min(bit % 32, 30)
        after, changed = keys_and_normals(root, flipped, other)
        shares.append(bits_changed(before, after))
        pairs.append(changed)
    assert_half(np.array(shares))
    assert (
        abs(correlation(np.broadcast_to(normals, (len(pairs), *normals.shape)), np.array(pairs)))
        < 5
    )


def test_the_halves_of_a_row_key_are_unrelated() -> None:
    cell_keys, _ = keys_and_normals(ExperimentKey(3).root(), *some_cells(200, 4))
    shares = np.bitwise_count(cell_keys[:, :4] ^ cell_keys[:, 4:]).sum(axis=-1) / 128
    assert abs(shares.mean() - 0.5) < 5 * 0.5 / np.sqrt(128 * 200)


# --- every parameter is in the subkey ------------------------------------------------------------


class Spy:
    """Keeps the normals that a defense drew."""

    repeatable = True

    def __init__(self, noise: Keyed) -> None:
        self.noise, self.normals = noise, np.empty(0)

    def draw(self, logits: Float64, draws: int, purpose: str) -> tuple[Float64, Float64]:
        base, self.normals = self.noise.draw(logits, draws, purpose)
        return base, self.normals


def drawn(defense: DynaNoise, noise: Keyed) -> Float64:
    spy = Spy(noise)
    defense(SAME_CELL, spy)
    return np.asarray(spy.normals[0])


SAME_CELL = np.eye(2, 400)
"""Rows whose cell is 0 under every key but for rare offsets, so that the subkey sets them apart."""

SETTING, NOISE = DynaNoise(samples=2), keyed(1e5)


@pytest.mark.parametrize(
    "change",
    [
        {"base_variance": 0.30000000000000004},
        {"lambda_scale": 2.0000000000000004},
        {"temperature": 4.0},
        {"samples": 3},
        {"keep_label": True},
        {"sensitivity": "margin"},
    ],
    ids=lambda change: next(iter(change)),
)
def test_another_setting_of_the_defense_is_other_noise(change: dict[str, Any]) -> None:
    """Two settings with the same normals would give the logits back exactly."""
    first, second = drawn(SETTING, NOISE), drawn(replace(SETTING, **change), NOISE)
    assert (first != second).all() and abs(correlation(first, second)) < 5
    np.testing.assert_array_equal(first, drawn(replace(SETTING), NOISE))


@pytest.mark.parametrize(
    "other",
    [
        keyed(1e5 + 1e-6),
        keyed(1e5, model="another"),
        keyed(1e5, weights="00" * 32),
        keyed(1e5, seed=1),
    ],
    ids=["cell_width", "model", "weights", "key"],
)
def test_another_noise_setting_is_other_noise(other: Keyed) -> None:
    first, second = drawn(SETTING, NOISE), drawn(SETTING, other)
    assert (first != second).all() and abs(correlation(first, second)) < 5


def test_another_number_of_classes_or_draws_is_other_noise() -> None:
    cells = np.zeros((1, 12))
    fewer = normals_of(NOISE, cells[:, :10])[0, 0]
    assert not np.intersect1d(fewer, normals_of(NOISE, cells)).size
    assert not np.intersect1d(fewer, normals_of(NOISE, cells[:, :10], draws=2)).size


def test_equal_settings_written_otherwise_are_the_same_noise() -> None:
    """1 and 1.0, 0.0 and -0.0 are equal, so their answers are, too."""
    first = DynaNoise(base_variance=1, lambda_scale=0.0)
    second = DynaNoise(base_variance=1.0, lambda_scale=-0.0)
    assert first == second
    np.testing.assert_array_equal(drawn(first, NOISE), drawn(second, NOISE))


# --- what holds and what does not, against who asks a thousand times -----------------------------

SIGMA, QUERIES, ASKED = 0.4, 1000, 24
PLAIN = DynaNoise(SIGMA**2, 0.0, 1.0)


def logits_of_victims() -> Float64:
    """One class leads by far: only the others' gaps are recovered, none of them 0."""
    logits = rows(ASKED, 10, seed=7, spread=3)
    logits[:, 0] = logits.max(axis=-1) + 40
    return logits


def error(noise: Keyed | Fresh, shifts: Float64) -> float:
    """Root-mean-square error of logits recovered from shifted queries [victims, queries, K]."""
    logits = logits_of_victims()
    answers = PLAIN.undo(np.log(PLAIN(logits[:, None] + shifts, noise))) - shifts
    result = centred(answers[..., 1:]).mean(axis=1) - centred(logits[:, 1:])
    return float(np.sqrt(np.mean(result**2)))


def test_what_a_single_answer_without_noise_shows_of_the_offsets() -> None:
    """All differences modulo 1, which docs/keyed.md says."""
    defense, noise = DynaNoise(0.0, 2.0, 10.0), keyed(12.0)
    result = defense.undo(np.log(defense(rows(1, 6), noise)))[0] / 12.0
    offsets = subkey.offsets(noise.subkey(6, 0, defense.purpose), 6)
    off = (result - result[0]) - (offsets - offsets[0])
    assert np.abs(off - np.round(off)).max() < 1e-9


def test_two_models_under_one_digest_share_answers_of_cells_and_nothing_else() -> None:
    """Why a new version needs a new digest: where bits differ, the new weights moved the cell."""
    defense, noise = DynaNoise(0.5, 0.0, 1.0), keyed(1.0)
    old = rows(4000, 3)
    new = old + np.random.default_rng(1).normal(0, 0.3, old.shape)
    first, second = (centred(np.log(defense(logits, noise))) for logits in (old, new))
    base, other = (centred(noise.draw(logits, 1, defense.purpose)[0]) for logits in (old, new))
    same = (first == second).all(axis=-1)
    assert 100 < same.sum() < 3900
    assert (base[same] == other[same]).all()
    left = (first - second - (base - other))[~same]  # the noise does not cancel: 2 s0, centred
    assert abs(np.mean(left**2) / (2 * 0.5 * 2 / 3) - 1) < 0.1


def test_repeats_give_nothing_and_near_duplicates_give_less_the_coarser_the_cells() -> None:
    """Repeats: as one query. Isotropic near-duplicates: known limit, less with wider cells."""
    generator = np.random.default_rng(3)
    again = np.zeros((ASKED, 20, 10))
    jitter = generator.normal(0, SIGMA, (ASKED, QUERIES, 10)) * (np.arange(10) > 0)
    fresh = error(Fresh(1), jitter)
    assert fresh == pytest.approx(SIGMA * np.sqrt(8 / 9 / QUERIES), rel=0.2)
    assert error(Fresh(1), again) < 0.1
    for width, low, high in ((0.25, 0.010, 0.02), (2.5, 0.02, 0.1), (5.0, 0.1, 0.4)):
        noise = keyed(width * SIGMA, 5)
        once = error(noise, again[:, :1])
        assert error(noise, again) == pytest.approx(once, abs=1e-9) and once > 0.3
        assert low < error(noise, jitter) < high


@pytest.mark.parametrize("width", [0.25, 2.5, 5.0])
def test_antithetic_shifts_recover_logits_at_every_width(width: float) -> None:
    """Not claimed, and shown: pairs z + d, z - d over several cells average everything away."""
    generator = np.random.default_rng(4)
    steps = (np.arange(QUERIES // 2) + 0.5) / (QUERIES // 2) * 2 * width * SIGMA
    half = np.tile(steps[:, None], (ASKED, 1, 10))
    half = generator.permuted(half, axis=1) * generator.choice([-1, 1], half.shape)
    half[..., 0] = 0
    result = error(keyed(width * SIGMA, 6), np.concatenate([half, -half], axis=1))
    assert result == pytest.approx(SIGMA * np.sqrt(8 / 9 / QUERIES), rel=0.35)
