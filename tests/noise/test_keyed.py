"""Keyed answers: known ones, the same everywhere, and functions of the cell alone."""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dynanoise.core.errors import InputError
from dynanoise.core.numerics import Float64
from dynanoise.defenses.dynanoise import DynaNoise
from dynanoise.noise import subkey
from dynanoise.noise.cells import FARTHEST, Grid
from dynanoise.noise.keyed import Keyed, canonical_setting, row_keys
from dynanoise.noise.keys import ExperimentKey
from tests.factories.keyed_noise import Raw, keyed, normals_of, rows
from tests.factories.outputs import logit_arrays, read_only_copy
from tests.factories.waiting import LONG
from tests.noise import reference
from tests.noise.test_primitives import load

DEFENSES = [
    DynaNoise(),
    DynaNoise(samples=3, keep_label=True),
    DynaNoise(base_variance=0.0, keep_label=True),
]


def parts_of(known: reference.Setting) -> tuple[Keyed, DynaNoise]:
    noise = Keyed(known.cell_width, known.model, known.weights, Raw(bytes.fromhex(known.root)))
    defense = DynaNoise(
        known.base_variance,
        known.lambda_scale,
        known.temperature,
        known.samples,
        keep_label=known.keep_label,
    )
    return noise, defense


# --- known answers -------------------------------------------------------------------------------


@pytest.mark.parametrize("known", load("keyed_v1.json"), ids=lambda vector: vector["row_key"][:8])
def test_whole_answers_are_the_committed_ones(known: dict[str, Any]) -> None:
    """Every step before a logarithm bit for bit; probabilities to 1e-6."""
    chosen = reference.Setting(**known["setting"])
    noise, defense = parts_of(chosen)
    logits = np.array([known["logits"]])
    classes, root = logits.shape[1], bytes.fromhex(chosen.root)
    draws = chosen.samples if chosen.base_variance > 0 else 0

    assert subkey.key_id(root) == known["key_id"]
    text = canonical_setting(classes, draws, chosen.cell_width, defense.purpose)
    key = subkey.subkey(root, chosen.model, bytes.fromhex(chosen.weights), text)
    assert key.hex() == known["subkey"]
    assert subkey.cell_key(key).hex() == known["cell_key"]
    offsets = subkey.offsets(key, classes)
    assert [float(value).hex() for value in offsets] == known["offsets"]
    cells, labels = Grid(chosen.cell_width, offsets).find(logits)
    assert cells.tolist() == [known["cell"]] and labels.tolist() == [known["label"]]
    result = row_keys(subkey.cell_key(key), cells, labels)
    assert result.astype("<u4").tobytes().hex() == known["row_key"]

    base, normals = noise.draw(logits, draws, defense.purpose)
    np.testing.assert_array_equal(base, Grid(chosen.cell_width, offsets).representatives(cells))
    if draws:
        np.testing.assert_allclose(normals[:, 0], known["normals"], rtol=1e-13, atol=1e-14)
    np.testing.assert_allclose(defense(logits, noise)[0], known["probs"], atol=1e-6)


@pytest.mark.behaviour
@given(
    logit_arrays(largest=1e3, rows=3),
    st.builds(
        reference.Setting,
        root=st.binary(min_size=32, max_size=32).filter(any).map(bytes.hex),
        model=st.text(max_size=5),
        weights=st.binary(min_size=32, max_size=32).map(bytes.hex),
        cell_width=st.floats(1e-3, 100),
        base_variance=st.sampled_from([0.0, 0.3, 4.0]),
        lambda_scale=st.floats(0, 4),
        temperature=st.floats(1, 20),
        samples=st.integers(1, 3),
        keep_label=st.booleans(),
    ),
)
def test_answers_are_those_of_plain_python(logits: Float64, chosen: reference.Setting) -> None:
    noise, defense = parts_of(chosen)
    expected = [reference.answer(chosen, row.tolist()).probs for row in logits]
    # Where two entries are as good as equal, which of them is exchanged is the last digit's choice.
    np.testing.assert_allclose(defense(logits, noise), expected, rtol=1e-6, atol=1e-9)


# --- the same bits everywhere --------------------------------------------------------------------


@pytest.mark.parametrize("defense", DEFENSES, ids=["one", "three", "no noise"])
@pytest.mark.parametrize("classes", [2, 10, 33])
def test_batches_positions_and_layouts_do_not_matter(defense: DynaNoise, classes: int) -> None:
    noise, logits = keyed(), rows(8, classes)
    whole = defense(logits, noise)
    spaced = np.zeros((8, 2 * classes))[:, ::2]
    spaced[:] = logits
    for batch in (np.asfortranarray(logits), spaced, read_only_copy(logits)):
        np.testing.assert_array_equal(defense(batch, noise), whole)
    for row, answer in zip(logits, whole, strict=True):
        np.testing.assert_array_equal(defense(row, noise), answer)
    np.testing.assert_array_equal(defense(logits[::-1], noise), whole[::-1])
    np.testing.assert_array_equal(
        defense(logits.reshape(2, 1, 4, classes), noise), whole.reshape(2, 1, 4, classes)
    )
    many = np.concatenate([rows(3000, classes, seed=1), logits, rows(5, classes, seed=2)])
    np.testing.assert_array_equal(defense(many, noise)[3000:3008], whole)
    empty = defense(logits[:0], noise)
    assert empty.shape == (0, classes)


def test_more_rows_than_fit_into_one_block_of_the_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    from dynanoise.noise import keyed as module

    whole = normals_of(keyed(), rows(40, 33), draws=2)
    monkeypatch.setattr(module, "_BATCH_BLOCKS", 7)
    np.testing.assert_array_equal(normals_of(keyed(), rows(40, 33), draws=2), whole)


ANSWER = """
import hashlib
import numpy as np
from dynanoise.defenses.dynanoise import DynaNoise
from dynanoise.noise.keyed import Keyed
logits = np.random.default_rng(0).normal(0, 4, (50, 10))
noise = Keyed(4.0, "tests", "ab" * 32)
batches = [DynaNoise(samples=2)(logits[i : i + 7], noise) for i in range(0, 50, 7)]
print(hashlib.sha256(np.concatenate(batches).tobytes()).hexdigest())
"""


@pytest.mark.process
def test_two_processes_agree_bit_for_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DYNANOISE_KEY", "5a" * 31 + "01")
    here = DynaNoise(samples=2)(rows(50), Keyed(4.0, "tests", "ab" * 32))
    there = subprocess.run(
        [sys.executable, "-c", ANSWER],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ,
        timeout=LONG,
    )
    assert there.stdout.strip() == hashlib.sha256(here.tobytes()).hexdigest()


def test_eight_threads_agree_with_one() -> None:
    noise, defense, logits = keyed(), DynaNoise(samples=2), rows(64)
    whole = defense(logits, noise)
    with ThreadPoolExecutor(8) as pool:
        result = list(pool.map(lambda i: defense(logits[i : i + 4], noise), range(0, 64, 4)))
    np.testing.assert_array_equal(np.concatenate(result), whole)


def test_asking_again_and_copies_of_the_source_change_nothing() -> None:
    noise, logits = keyed(), rows(5)
    first = DynaNoise()(logits, noise)
    for same in (noise, pickle.loads(pickle.dumps(noise)), replace(noise)):
        assert same == noise and hash(same) == hash(noise) and same.repeatable
        np.testing.assert_array_equal(DynaNoise()(logits, same), first)


# --- nothing but the cell ------------------------------------------------------------------------


@pytest.mark.parametrize("defense", DEFENSES, ids=["one", "three", "no noise"])
@pytest.mark.parametrize("classes", [3, 10])
def test_inputs_of_one_cell_get_identical_answers(defense: DynaNoise, classes: int) -> None:
    """Their difference would be a clean difference of their logits."""
    noise, logits = keyed(6.0), rows(300, classes)
    moved = logits + np.random.default_rng(1).uniform(-0.5, 0.5, logits.shape)
    draws = defense.samples if defense.base_variance > 0 else 0
    key = noise.subkey(classes, draws, defense.purpose)
    grid = Grid(6.0, subkey.offsets(key, classes))
    (here, labels), (there, its) = grid.find(logits), grid.find(moved)
    same = (here == there).all(axis=-1) & (labels == its)
    assert 20 < same.sum() < 300 and (logits[same] != moved[same]).all()
    first, second = (defense(batch, noise) for batch in (logits, moved))
    np.testing.assert_array_equal(first[same], second[same])
    assert (first[~same] != second[~same]).any(axis=-1).all()


@given(logit_arrays(largest=50), st.floats(-100, 100))
def test_a_constant_on_a_row_changes_at_most_a_cell_at_its_very_edge(
    logits: Float64, constant: float
) -> None:
    """Sums are rounded; exactly representable ones leave every bit."""
    exact = np.round(logits * 64) / 64
    noise = keyed()
    moved = exact + round(constant)
    np.testing.assert_array_equal(DynaNoise()(exact, noise), DynaNoise()(moved, noise))


@given(logit_arrays(largest=200), st.floats(0.01, 50))
def test_representatives_are_within_half_a_width(logits: Float64, width: float) -> None:
    grid = Grid(width, subkey.offsets(bytes(32), logits.shape[1]))
    cells, labels = grid.find(logits)
    gaps = logits.max(axis=-1, keepdims=True) - logits
    distance = np.abs(grid.representatives(cells) + gaps)
    assert (distance <= width / 2 * (1 + 1e-9) + 1e-9).all()
    assert (cells >= 0).all() and (labels == logits.argmax(-1)).all()


def test_ties_have_the_lowest_index_and_labels_set_cells_apart() -> None:
    """Equal cells under another label have another stream."""
    noise = keyed(1000.0)
    logits = np.array([[1.0, 1.0, 0.0], [1.0, 0.5, 0.0], [0.5, 1.0, 0.0]])
    base, normals = noise.draw(logits, 1, "tests")
    assert (base == base[0]).all()
    np.testing.assert_array_equal(normals[0, 0], normals[0, 1])
    assert (normals[0, 0] != normals[0, 2]).all()


@pytest.mark.parametrize("width", [1e-3, 4.0, 1e6])
def test_what_is_farther_than_2_to_the_20_cells_counts_as_so_far(width: float) -> None:
    noise = keyed(width)
    far = FARTHEST * width
    logits = np.array([[0.0, -far, -1.0], [0.0, -far * 1.5, -1.0], [0.0, -1.7e308, -1.0]])
    base, normals = noise.draw(logits, 1, "tests")
    assert (base == base[0]).all() and (normals == normals[:, :1]).all()
    near = noise.draw(np.array([[0.0, -far + 2 * width, -1.0]]), 1, "tests")
    assert near[0][0, 1] != base[0, 1]
    cells, _ = Grid(width, np.array([0.0, 1 - 2**-53, 0.5])).find(logits)
    assert cells.dtype == np.int32 and cells[0, 1] in (FARTHEST, FARTHEST + 1)


def test_the_grid_is_moved_by_a_secret_offset() -> None:
    """Without it attackers would know the boundaries and query both sides of one."""
    result = np.array([subkey.offsets(bytes([i]) * 32, 3) for i in range(200)])
    assert (result >= 0).all() and (result < 1).all()
    assert (np.abs(result.mean(axis=0) - 0.5) < 5 * np.sqrt(1 / 12 / 200)).all()
    assert len(np.unique(result)) == 600


# --- what is refused -----------------------------------------------------------------------------


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_logits_that_are_not_finite_are_refused(bad: float) -> None:
    with pytest.raises(InputError, match="Logits must be finite"):
        keyed().draw(np.array([[0.0, bad]]), 1, "tests")


def test_a_single_class_is_refused() -> None:
    with pytest.raises(InputError, match="single class"):
        keyed().draw(np.array([[0.0]]), 1, "tests")


@pytest.mark.parametrize("width", [0, -1.0, np.nan, np.inf, 1e305, 1e-310, True, None, "4"])
def test_widths_that_are_no_widths_are_named(width: Any) -> None:
    if width == "4":
        assert keyed(width).cell_width == 4.0
        return
    with pytest.raises(InputError, match="cell_width is"):
        keyed(width)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"model": None}, "model is None"),
        ({"model": "m\ud800"}, "model is 'm"),
        ({"weights": "ab"}, "weights are not a SHA-256"),
        ({"weights": b"\0" * 32}, "weights are not a SHA-256"),
        ({"key": None}, "key is of type NoneType"),
        ({"key": b"\7" * 32}, "key is of type bytes"),
        ({"key": ExperimentKey}, "key is of type type"),
        ({"key": "ab" * 32}, "The key is not a reference"),
    ],
)
def test_bad_parameters_are_named_and_secrets_are_not(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(InputError, match=says) as caught:
        keyed(**changes)
    assert "abab" not in str(caught.value) and "\\x07" not in str(caught.value)


def test_a_digest_in_capitals_is_the_same() -> None:
    assert keyed(weights="AB" * 32) == keyed(weights="ab" * 32)


# --- experiments ---------------------------------------------------------------------------------


def test_experiment_keys_are_values_of_seed_and_path() -> None:
    key = ExperimentKey(3, "target", 1)
    assert key == ExperimentKey(3, "target", 1) and hash(key) == hash(ExperimentKey(3, "target", 1))
    others = [ExperimentKey(4, "target", 1), ExperimentKey(3, "shadow", 1), ExperimentKey(3)]
    assert len({key.root(), *(other.root() for other in others)}) == 4
    assert pickle.loads(pickle.dumps(key)) == key and repr(key) == "ExperimentKey(3, 'target', 1)"
    with pytest.raises(InputError, match="seed is -1"):
        ExperimentKey(-1)


def test_json_of_a_setting_has_no_two_meanings() -> None:
    assert json.loads(canonical_setting(3, 1, 4.0, 'a"b'))["purpose"] == 'a"b'
