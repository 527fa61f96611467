"""Input cells: the same bits everywhere, neighbourhoods that are covered, checked files."""

from __future__ import annotations

import datetime
import struct
from dataclasses import replace
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import sparse

from dynanoise.core.errors import InputError
from dynanoise.noise import subkey
from dynanoise.noise.keys import ExperimentKey, Secret
from dynanoise.noise.siphash import siphash128
from dynanoise.partition.cells import PUBLIC, Cells
from dynanoise.partition.embeddings import Record, Table, Words
from dynanoise.partition.exclusion import Exclusion
from dynanoise.partition.neighbourhood import ImageChanges, NumberNoise, WordDeletions, sample
from dynanoise.partition.proposal import candidates, propose
from dynanoise.partition.thumbnails import Thumbnails, thumbnails

GENERATOR = np.random.default_rng(7)
TABLE = GENERATOR.normal(size=(120, 5)) * [1, 10, 0.1, 1, 1] + 3
IMAGES = np.clip(
    GENERATOR.normal(130, 40, (60, 4, 4, 3)).repeat(4, 1).repeat(4, 2)
    + GENERATOR.normal(0, 15, (60, 16, 16, 3)),
    0,
    255,
).astype(np.uint8)
TEXTS = np.where(
    np.arange(12) < GENERATOR.integers(4, 13, (90, 1)), GENERATOR.integers(1, 40, (90, 12)), 0
).astype(np.int32)

CASES: dict[str, tuple[Any, dict[str, Any]]] = {
    "table": (TABLE, {"neighbourhood": NumberNoise(0.02, relative=True), "width": 2.0}),
    "images": (IMAGES, {"neighbourhood": ImageChanges(noise=4), "width": 2.0}),
    "texts": (
        TEXTS,
        {"neighbourhood": WordDeletions(), "components": 4, "texts": True},
    ),
    "records": (TABLE, {"width": 0}),
}


def cells_of(kind: str, **changes: Any) -> tuple[Cells, Any]:
    """Cells fitted to the first half, and the second half."""
    inputs, settings = CASES[kind]
    half = len(inputs) // 2
    return Cells.fit(inputs[:half], **{**settings, **changes}), inputs[half:]


@pytest.mark.parametrize("kind", CASES)
def test_the_fold_of_a_row_does_not_depend_on_its_batch(kind: str) -> None:
    cells, inputs = cells_of(kind)
    folds = cells.fold(inputs)
    alone = [int(cells.fold(inputs[row : row + 1])[0]) for row in range(len(inputs))]
    assert folds.tolist() == alone
    assert len(set(alone)) > 1 and min(alone) >= 0 and max(alone) < 5
    backwards = cells.embedding.coordinates(inputs[::-1])[::-1]
    assert cells.embedding.coordinates(inputs).tobytes() == backwards.tobytes()


def test_folds_follow_the_definition() -> None:
    """Against plain Python: an offset grid over projected rows, hashed under the derived key."""
    cells, inputs = cells_of("table", components=2)
    table = cells.embedding
    assert isinstance(table, Table)
    key = subkey.branch(PUBLIC.root(), "dynanoise/input cells/v1 table 5")
    offsets = subkey.offsets(key, 2)
    folds = []
    for row in inputs:
        place = []
        for axis in range(2):
            total = 0.0
            for value, centre, scale, weight in zip(
                row[table.used], table.centre, table.scale, table.axes[:, axis], strict=True
            ):
                total += (float(np.float32(value)) - centre) / scale * weight
            place.append(int(np.floor(total / 2.0 + offsets[axis])))
        message = np.frombuffer(struct.pack("<2q", *place), np.uint8)
        words = siphash128(message[None], subkey.cell_key(key))
        folds.append(int(words[0, 0]) % 5)
    assert cells.fold(inputs).tolist() == folds


@pytest.mark.parametrize("kind", ["table", "images", "texts"])
def test_points_of_the_neighbourhood_are_in_folds_that_are_left_out(kind: str) -> None:
    cells, inputs = cells_of(kind)
    assert cells.neighbourhood is not None
    touched = cells.touched(inputs)
    assert 0.2 < touched.mean() < 0.8
    own = touched[cells.fold(inputs), np.arange(len(inputs))]
    assert own.all()
    moved = 0
    for points in sample(cells.neighbourhood, inputs, np.random.default_rng(1), 60, cells.scale):
        fold = cells.fold(points)
        assert touched[fold, np.arange(len(inputs))].all()
        moved += int((fold != cells.fold(inputs)).sum())
    assert moved  # cells alone would not cover them


def test_a_narrower_neighbourhood_misses_points() -> None:
    """The test above sees a neighbourhood that is too small."""
    cells, inputs = cells_of("table", neighbourhood=None)
    own = cells.touched(inputs)
    assert (own.sum(axis=0) == 1).all()
    near = NumberNoise(0.02, relative=True)
    outside = [
        ~own[cells.fold(points), np.arange(len(inputs))]
        for points in sample(near, inputs, np.random.default_rng(1), 60, cells.scale)
    ]
    assert np.any(outside)


def test_thumbnails_ignore_mirroring_brightness_and_contrast() -> None:
    flat = IMAGES // 2 + 40
    assert thumbnails(flat)[0].tobytes() == thumbnails(flat[:, :, ::-1])[0].tobytes()
    np.testing.assert_allclose(thumbnails(flat)[0], thumbnails(flat + 20)[0], atol=1e-12)
    odd = IMAGES[:, :, :13]
    assert thumbnails(odd)[0].tobytes() == thumbnails(odd[:, :, ::-1])[0].tobytes()
    assert np.isfinite(thumbnails(np.zeros((1, 8, 8, 3), np.uint8))[0]).all()
    # A block is the mean of its pixels.
    one = np.zeros((1, 16, 16, 1), np.uint8)
    one[0, :2, :2] = 200
    rows = thumbnails(one)[0][:, 0].reshape(8, 8)
    assert rows[0, 0] == rows[0, 7] > 0 > rows[3, 3]


def test_displacement_of_images_is_that_of_sampled_noise() -> None:
    cells, images = cells_of("images")
    assert isinstance(cells.embedding, Thumbnails)
    generator, near = np.random.default_rng(3), ImageChanges(noise=4)
    before = cells.embedding.coordinates(images)
    changes = [
        cells.embedding.coordinates(near.noisy(images, generator)) - before for _ in range(200)
    ]
    measured = np.sqrt(np.mean(np.square(changes), axis=0))
    bound = cells.embedding.displacement(images, 4)
    assert (measured < 1.2 * bound).all() and (measured > 0.4 * bound).all()


def test_frames_sparse_rows_and_other_dtypes_are_the_same_rows() -> None:
    pandas = pytest.importorskip("pandas", reason="frames need: pip install pandas")
    table = np.round(TABLE, 2).astype(np.float32)
    frame = pandas.DataFrame(table.astype(float))
    for width in (0, 2.0):
        cells = Cells.fit(table[:60], width=width)
        folds = cells.fold(table).tolist()
        assert folds == cells.fold(frame).tolist() == cells.fold(table.astype(float)).tolist()
        assert folds == cells.fold(sparse.csc_matrix(table)).tolist()
    frame["city"] = ["a", "b", None] * 40
    frame[0] = frame[0].astype("Float64").mask(frame[0] > 4)
    cells = Cells.fit(frame[:60])
    assert isinstance(cells.embedding, Table)
    assert cells.embedding.categories.tolist() == [5]
    exact = cells.embedding.exact(frame)
    assert len({row.tobytes() for row in exact}) == 3
    assert cells.fold(frame)[:1].tolist() == cells.fold(frame[:1]).tolist()


def test_words_are_frequent_and_not_in_most_texts() -> None:
    texts = np.array([[2, 3, 0], [2, 4, 0], [2, 3, 5], [2, 0, 0], [2, 6, 4]])
    assert Words.fit(texts, 2, most=0.5).ids.tolist() == [3, 4]
    with pytest.raises(InputError, match="No word is in at most 10%"):
        Words.fit(texts, 2, most=0.1)


def test_every_record_is_a_cell_of_its_own_at_width_0() -> None:
    cells, inputs = cells_of("records", folds=2)
    assert (cells.touched(inputs).sum(axis=0) == 1).all()
    near = inputs + 1e-4
    assert 0.3 < (cells.fold(near) != cells.fold(inputs)).mean() < 0.7


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64])
def test_an_image_is_the_same_record_in_every_dtype(dtype: Any) -> None:
    """A gateway or an exported model may take pixels as floats that were trained on as bytes."""
    images = np.random.default_rng(0).integers(0, 256, (60, 8, 8, 3), dtype=np.uint8)
    cells = Cells.fit(images, width=0)
    assert cells.fold(images.astype(dtype)).tolist() == cells.fold(images).tolist()


@pytest.mark.parametrize(
    ("kind", "near", "says"),
    [
        ("records", NumberNoise(0.02), "NumberNoise has noise of 0.02, which cells of record"),
        ("images", NumberNoise(0.02), "cells of thumbnails do not cover"),
        ("table", ImageChanges(0, 0, 8), "cells of table do not cover"),
    ],
)
def test_noise_that_the_cells_do_not_cover_is_refused(kind: str, near: Any, says: str) -> None:
    with pytest.raises(InputError, match=says):
        replace(cells_of(kind)[0], neighbourhood=near)


@pytest.mark.parametrize("folds", [1, 0, True, 2.0])
def test_one_model_is_refused(folds: Any) -> None:
    with pytest.raises(InputError, match="folds is"):
        cells_of("records", folds=folds)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"width": -1.0}, "width is -1.0"),
        ({"width": float("nan")}, "width is nan"),
        ({"components": 0}, "components is 0"),
        ({"key": "5f" * 32}, "key is of type str"),
    ],
)
def test_impossible_parameters_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        cells_of("table", **changes)
    assert "5f5f" not in str(caught.value)


def test_inputs_of_another_shape_are_refused() -> None:
    cells, inputs = cells_of("table")
    with pytest.raises(InputError, match="4 columns, and the cells were fitted to 5"):
        cells.fold(inputs[:, :4])
    cells, images = cells_of("images")
    with pytest.raises(InputError, match="fitted to 3 channels"):
        cells.fold(images[..., :1])
    with pytest.raises(InputError, match="Thumbnails are made of images"):
        cells.fold(images / 255)


@pytest.mark.parametrize("kind", CASES)
def test_written_cells_are_the_same_cells(kind: str, tmp_path: Path) -> None:
    pytest.importorskip("safetensors", reason="files of cells need safetensors")
    cells, inputs = cells_of(kind)
    cells.write(tmp_path / "cells.json")
    again = Cells.read(tmp_path / "cells.json")
    assert again.digest == cells.digest
    assert (again.fold(inputs) == cells.fold(inputs)).all()
    assert (again.touched(inputs) == cells.touched(inputs)).all()


def test_another_key_version_or_a_damaged_file_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("safetensors", reason="files of cells need safetensors")
    monkeypatch.setenv("CELLS", "5f" * 32)
    cells, inputs = cells_of("table", key=Secret("env:CELLS"))
    path = tmp_path / "cells.json"
    cells.write(path)
    text = path.read_text()
    assert "5f5f" not in text
    assert (Cells.read(path).fold(inputs) == cells.fold(inputs)).all()
    monkeypatch.setenv("CELLS", "60" * 32)
    with pytest.raises(InputError, match=r"The key has the id .*, and the cells were made under"):
        Cells.read(path)
    monkeypatch.setenv("CELLS", "5f" * 32)
    path.write_text(text.replace('"version": 1', '"version": 2'))
    with pytest.raises(InputError, match="of version 2, and this release reads 1"):
        Cells.read(path)
    path.write_text(text.replace('"width": 2.0', '"width": 2.5'))
    with pytest.raises(InputError, match="damaged: their digest does not fit"):
        Cells.read(path)
    path.write_text(text)
    (arrays,) = tmp_path.glob("*.safetensors")
    content = bytearray(arrays.read_bytes())
    content[-1] ^= 1
    arrays.write_bytes(content)
    with pytest.raises(InputError, match="damaged"):
        Cells.read(path)
    arrays.unlink()
    with pytest.raises(InputError, match="cannot be read"):
        Cells.read(path)


def test_keys_move_records_to_other_folds() -> None:
    cells, inputs = cells_of("records")
    other = replace(cells, key=ExperimentKey(1))
    assert 0.5 < (cells.fold(inputs) != other.fold(inputs)).mean() < 1
    assert cells.digest != other.digest


def test_groups_are_left_out_together() -> None:
    cells, inputs = cells_of("table")
    groups = np.arange(len(inputs)) // 3
    alone = Exclusion.of(cells, inputs).left_out
    together = Exclusion.of(cells, inputs, [f"patient {group}" for group in groups]).left_out
    for record in range(len(inputs)):
        expected = alone[:, groups == groups[record]].any(axis=1)
        assert (together[:, record] == expected).all()
    mixed = np.array(
        [[group, float(group), str(group)][row % 3] for row, group in enumerate(groups)],
        dtype=object,
    )
    np.testing.assert_array_equal(Exclusion.of(cells, inputs, mixed).left_out, together)
    for missing in (None, np.nan):
        with pytest.raises(InputError, match="groups holds no person in row 4"):
            Exclusion.of(cells, inputs, ["a"] * 4 + [missing] + ["b"] * 55)
    with pytest.raises(InputError, match=r"groups has shape \(3,\) for 60 records"):
        Exclusion.of(cells, inputs, [1, 2, 3])


def test_an_exclusion_is_computed_again_from_cells_and_records(tmp_path: Path) -> None:
    cells, inputs = cells_of("table")
    exclusion = Exclusion.of(cells, inputs)
    path = tmp_path / "exclusion.json"
    exclusion.write(path)
    read = Exclusion.read(path)
    assert (read.left_out == exclusion.left_out).all()
    read.verify(cells, inputs)
    with pytest.raises(InputError, match="are not the 60 of the training"):
        read.verify(cells, inputs[::-1])
    with pytest.raises(InputError, match="were trained with the cells"):
        read.verify(replace(cells, key=ExperimentKey(1)), inputs)
    # One record too many in one model.
    broken = exclusion.left_out.copy()
    model, record = np.argwhere(broken)[5]
    broken[model, record] = False
    with pytest.raises(InputError, match=f"1 records .* record {record} in model {model}"):
        replace(exclusion, left_out=broken).verify(cells, inputs)
    # Left out of more models is no harm.
    replace(exclusion, left_out=np.ones_like(broken)).verify(cells, inputs)


def test_a_damaged_exclusion_is_refused(tmp_path: Path) -> None:
    cells, inputs = cells_of("table")
    path = tmp_path / "exclusion.json"
    Exclusion.of(cells, inputs).write(path)
    text = path.read_text()
    place = text.index('"left_out"') + 14
    changed = "A" if text[place] != "A" else "B"
    path.write_text(text[:place] + changed + text[place + 1 :])
    with pytest.raises(InputError, match="damaged: its digest does not fit"):
        Exclusion.read(path)
    path.write_text(text[: len(text) // 2])
    with pytest.raises(InputError, match="damaged"):
        Exclusion.read(path)
    path.unlink()
    with pytest.raises(InputError, match="cannot be read"):
        Exclusion.read(path)


def test_proposals_measure_what_is_kept_and_moved() -> None:
    near = NumberNoise(0.02, relative=True)
    measured = candidates(TABLE, near, folds=(2, 5), widths=(0.5, 2.0), components=(1, 2))
    assert len(measured) == 8
    assert all(0 <= candidate.kept < 1 for candidate in measured)
    by = {(c.folds, c.width, c.components): c for c in measured}
    assert by[5, 2.0, 2].moved < by[5, 0.5, 2].moved
    chosen = propose(measured, kept=0.5)
    assert chosen.kept >= 0.5 or chosen.kept == max(c.kept for c in measured)
    alone = candidates(TABLE, near, covered=False, folds=(5,), widths=(2.0,), components=(2,))
    assert alone[0].kept > by[5, 2.0, 2].kept and alone[0].moved == by[5, 2.0, 2].moved


def test_folds_do_not_change_between_releases() -> None:
    """Stored models answer by them: known answers of version 1."""
    grid = np.linspace(-2, 2, 40).reshape(20, 2)
    one = np.ones(2)
    table = Table(np.arange(2), 0 * one, one, np.eye(2), np.zeros(0, np.int64), np.array([2]))
    folds = [Cells(table, width=0.7).fold(grid), Cells.fit(grid, width=0).fold(grid)]
    assert ["".join(map(str, part)) for part in folds] == KNOWN


KNOWN = ["44144332232222411112", "44224113411322302104"]


def test_a_record_of_another_width_is_refused_and_padding_of_texts_counts_for_nothing() -> None:
    cells = Cells.fit(TABLE, width=0)
    with pytest.raises(InputError, match="have 4 columns, and the cells were fitted to 5"):
        cells.fold(TABLE[:, :4])
    texts = Cells.fit(TEXTS, width=0, texts=True)
    longer = np.pad(TEXTS, ((0, 0), (0, 5))).astype(np.int64)
    assert (texts.fold(longer) == texts.fold(TEXTS)).all()
    assert (texts.fold(TEXTS[:, ::-1]) != texts.fold(TEXTS)).any()
    assert texts.fold(np.zeros((1, 3), int)) == texts.fold(np.zeros((1, 0), int))


def test_equal_values_of_categories_are_in_one_fold_in_any_batch() -> None:
    """Also next to others that Python takes for equal."""
    noon = datetime.datetime(2026, 1, 1, 12, tzinfo=datetime.UTC)
    later = datetime.timezone(datetime.timedelta(hours=2))
    for values in (
        [True, np.True_, 1, 1.0, np.float32(1), Decimal(1), Fraction(1)],
        [noon, noon.astimezone(later)],
        [10**400, np.inf],
        [None, np.nan],
    ):
        rows = np.array(values, dtype=object)[:, None]
        cells = Cells(Record(), folds=97, width=0)
        alone = [int(cells.fold(row[None])[0]) for row in rows]
        assert len(set(alone)) == 1 and cells.fold(rows).tolist() == alone
        assert cells.fold(rows[::-1]).tolist() == alone
    assert len(set(cells.fold(np.array([["1"], [1], [-(10**400)]], dtype=object)))) == 3


def test_absolute_noise_moves_no_categories_and_rounds_whole_numbers() -> None:
    table = np.column_stack([TABLE, GENERATOR.integers(0, 3, len(TABLE))])
    near = NumberNoise(0.05)
    cells = Cells.fit(table[:60], categories=np.array([5]), width=2.0, neighbourhood=near)
    touched = cells.touched(table[60:])
    for point in sample(near, table[60:], np.random.default_rng(0), 50, cells.scale):
        assert (point[:, 5] == table[60:, 5]).all() and (point[:, 0] != table[60:, 0]).all()
        assert touched[cells.fold(point), np.arange(60)].all()
    whole = np.zeros((4000, 1), int)
    moved = NumberNoise(0.3).noisy(whole, np.random.default_rng(0), None)
    assert abs(moved.mean()) < 0.05 and 0 < (moved != 0).mean() < 0.2


def test_numbers_that_float32_rounds_stay_covered() -> None:
    """Unix seconds with a spread of minutes: float32 has steps of 128 there."""
    generator = np.random.default_rng(0)
    table = 1.7e9 + generator.normal(0, 600, (400, 2))
    near = NumberNoise(0.005, relative=True)
    cells = Cells.fit(table[:100], folds=97, width=1.0, components=2, neighbourhood=near)
    records = table[100:]
    touched = cells.touched(records)
    for point in sample(near, records, generator, 40, cells.scale):
        assert touched[cells.fold(point), np.arange(len(records))].all()


@pytest.mark.parametrize(
    ("kind", "near", "inputs", "says"),
    [
        ("records", ImageChanges(noise=0), IMAGES / 255, "ImageChanges is for images, uint8"),
        ("records", WordDeletions(), np.array([["a", "b"]]), "WordDeletions is for token ids"),
        ("texts", WordDeletions(), TEXTS[:, ::-1], "Texts have padding before a word"),
    ],
)
def test_inputs_that_a_neighbourhood_does_not_describe(
    kind: str, near: Any, inputs: Any, says: str
) -> None:
    embedding = Record() if kind == "records" else cells_of(kind)[0].embedding
    cells = Cells(embedding, 5, 0 if kind == "records" else 1.0, near)
    with pytest.raises(InputError, match=says):
        cells.touched(inputs)


def test_impossible_neighbourhoods_and_references_are_refused() -> None:
    for changes in ({"shift": 0.5}, {"noise": 2.5}, {"brightness": 256}):
        with pytest.raises(InputError, match="Use whole numbers from 0 to 255"):
            ImageChanges(**changes)
    with pytest.raises(InputError, match=r"components is 2\.5"):
        Cells.fit(TABLE, components=2.5)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="The 5 reference images do not differ"):
        Cells.fit(np.full((5, 8, 8, 3), 9, np.uint8))


def test_noise_that_is_cut_off_at_black_is_covered_in_large_images() -> None:
    """Dark discs on black, where noise can only brighten."""
    generator = np.random.default_rng(3)
    side, count = 224, 40
    ends = np.linspace(-1, 1, side)
    radius = generator.uniform(0.4, 1.1, (2, count, 1, 1))
    inside = (ends[:, None] / radius[0]) ** 2 + (ends / radius[1]) ** 2 < 1
    tones = generator.normal(18, 8, (count, 7, 7)).repeat(32, 1).repeat(32, 2)
    images = np.clip(np.where(inside, tones, 0), 0, 255).astype(np.uint8)[..., None]
    near = ImageChanges(shift=0, brightness=0, noise=8)
    cells = Cells.fit(images, neighbourhood=near)
    embedding, inputs = cells.embedding, images[:10]
    assert isinstance(embedding, Thumbnails)
    expected = embedding.clipping(inputs, 8)
    moved = [
        embedding.coordinates(near.noisy(inputs, generator)) - embedding.coordinates(inputs)
        for _ in range(5)
    ]
    # The mean change is the expected one, and beyond what random noise alone could do.
    np.testing.assert_allclose(np.abs(np.mean(moved, axis=0)), expected, rtol=0.3, atol=0.01)
    assert (np.abs(moved) > 6 * embedding.displacement(inputs, 8)).any()
    assert (np.abs(moved) <= 6 * embedding.displacement(inputs, 8) + expected).all()
    for seed in range(30):
        keyed = replace(cells, key=ExperimentKey(seed), width=0.5)
        touched = keyed.touched(inputs)
        for _ in range(2):
            assert touched[keyed.fold(near.noisy(inputs, generator)), np.arange(10)].all()
    assert not embedding.clipping(inputs[:, :64, :64], 8).any()


def test_a_column_that_a_model_ignores_leads_to_few_cells_that_are_counted() -> None:
    """The fold has no such end, for it would put more records into one fold."""
    cells = Cells.fit(np.random.default_rng(0).normal(size=(500, 10)), width=2.0, components=8)
    rows = np.zeros((2001, 10))
    rows[:, 9] = np.linspace(-1000, 1000, 2001)
    assert len(set(cells.digests(rows))) <= 8 * (2 * 4 / 2 + 2)
    assert len(set(cells.fold(rows).tolist())) == cells.folds
