"""A user's folder of images."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import numpy as np
import pytest

from dynanoise.core.errors import DataFileError, InputError, MissingExtraError
from dynanoise.data import catalog, images
from tests.factories.data_files import encoded, pixels, write_images

IMAGES = pixels(4)


@pytest.fixture
def pets(tmp_path: Path) -> Path:
    for index, name in enumerate(["dog/a.png", "dog/b.png", "cat/c.png", "cat/sub/d.png"]):
        (tmp_path / "pets" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "pets" / name).write_bytes(encoded(IMAGES[index]))
    return tmp_path / "pets"


def test_one_subfolder_a_class_in_sorted_order(pets: Path) -> None:
    (pets / ".DS_Store").write_text("hidden")
    (pets / "dog" / ".DS_Store").write_text("hidden")
    data = images.load_folder(pets)
    np.testing.assert_array_equal(data.inputs, IMAGES[[2, 3, 0, 1]])
    assert data.labels.tolist() == [0, 0, 1, 1] and data.class_names == ("cat", "dog")
    assert data.name == "pets" and data.test_from is None
    np.testing.assert_array_equal(catalog.load_data(str(pets)).inputs, data.inputs)


def test_a_changed_image_is_not_taken_from_the_cache(pets: Path) -> None:
    before = images.load_folder(pets)
    (pets / "dog" / "a.png").write_bytes(encoded(IMAGES[3]))
    np.testing.assert_array_equal(images.load_folder(pets).inputs[2], IMAGES[3])
    assert images.load_folder(pets).digest != before.digest
    (pets / "dog" / "a.png").rename(pets / "cat" / "z.png")  # the same images in the same order
    assert images.load_folder(pets).labels.tolist() == [0, 0, 0, 1]


def test_a_train_and_a_test_folder(pets: Path, tmp_path: Path) -> None:
    both = tmp_path / "both"
    both.mkdir()
    pets.rename(both / "train")
    for index, name in enumerate(("cat", "dog")):
        (both / "val" / name).mkdir(parents=True)
        (both / "val" / name / "x.png").write_bytes(encoded(IMAGES[index]))
    data = images.load_folder(both)
    assert data.test_from == 4 and data.labels.tolist() == [0, 0, 1, 1, 0, 1]
    (both / "val" / "cat").rename(both / "val" / "cow")
    with pytest.raises(DataFileError, match="differ in the classes cat, cow"):
        images.load_folder(both)


def test_images_are_resized_when_asked(pets: Path) -> None:
    """A flat colour stays what it is, a wide image is cropped to its middle."""
    wide = np.zeros((10, 30, 3), dtype=np.uint8)
    wide[:, 10:20] = (10, 20, 30)
    (pets / "dog" / "wide.png").write_bytes(encoded(wide))
    with pytest.raises(DataFileError, match=r"wide\.png is 30 x 10 pixels and .*c\.png 8 x 8"):
        images.load_folder(pets)
    data = images.load_folder(pets, side=5)
    assert data.inputs.shape == (5, 5, 5, 3)
    middle = np.broadcast_to((10, 20, 30), (5, 5, 3))
    # Interpolation looks a pixel beyond the crop, where the picture is black.
    np.testing.assert_allclose(data.inputs[-1].astype(int), middle, atol=2)


def test_other_colours_become_rgb_and_photographs_are_turned_upright(tmp_path: Path) -> None:
    from PIL import Image

    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    Image.new("L", (4, 2), 7).save(tmp_path / "a" / "grey.png")
    Image.new("RGBA", (4, 2), (1, 2, 3, 255)).save(tmp_path / "a" / "clear.png")
    turned = Image.new("RGB", (2, 4), (9, 9, 9))
    exif = turned.getexif()
    exif[0x0112] = 6  # the camera was held on its side
    turned.save(tmp_path / "b" / "turned.png", exif=exif)
    data = images.load_folder(tmp_path)
    assert data.inputs.shape == (3, 2, 4, 3)
    assert data.inputs[0, 0, 0].tolist() == [1, 2, 3] and data.inputs[1, 0, 0].tolist() == [7] * 3


@pytest.mark.parametrize("content", [b"", b"no image at all", encoded(IMAGES[0])[:60]])
def test_a_file_that_is_no_image_is_named(pets: Path, content: bytes) -> None:
    (pets / "dog" / "notes.png").write_bytes(content)
    with pytest.raises(DataFileError, match=r"pets/dog/notes\.png is not an image that can be re"):
        images.load_folder(pets)


def test_folders_that_are_refused(pets: Path, tmp_path: Path) -> None:
    with pytest.raises(DataFileError, match="is not a folder"):
        images.load_folder(tmp_path / "nowhere")
    with pytest.raises(DataFileError, match="has no sub-folders"):
        images.load_folder(pets / "dog")
    (pets / "empty").mkdir()
    with pytest.raises(DataFileError, match="empty holds no images"):
        images.load_folder(pets)
    (tmp_path / "one" / "only").mkdir(parents=True)
    (tmp_path / "one" / "only" / "a.png").write_bytes(encoded(IMAGES[0]))
    with pytest.raises(InputError, match="one has labels of one class only"):
        images.load_folder(tmp_path / "one")


def test_a_folder_in_the_hubs_layout_is_recognised(tmp_path: Path) -> None:
    write_images(tmp_path / "mine", {"train": (IMAGES, [0, 1, 1, 0])}, column="image")
    data = catalog.load_data(str(tmp_path / "mine"))
    np.testing.assert_array_equal(data.inputs, IMAGES)
    assert data.name == "mine" and data.test_from is None
    assert catalog.load_data(str(tmp_path / "mine"), side=4).inputs.shape == (4, 4, 4, 3)


def test_without_pillow_the_extra_is_named(pets: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(MissingExtraError, match=r"pillow.*pip install .*pyarrow"):
        images.load_folder(pets)


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_pixels_of_16_bits_are_scaled_and_not_clipped(kind: str) -> None:
    """Pillow alone makes 255 of all that is above it."""
    image = pytest.importorskip("PIL.Image")
    wide = np.arange(0, 65536, 1024, dtype=np.uint16).reshape(8, 8)
    file = io.BytesIO()
    image.fromarray(wide).save(file, kind)
    decoded = images.decode_images([file.getvalue()], 1, lambda index: "x")
    expected = np.round(wide / 65535 * 255)
    np.testing.assert_array_equal(decoded[0], np.repeat(expected[..., None], 3, axis=2))


@pytest.mark.parametrize("dtype", [np.int32, np.float32])
def test_pixels_of_32_bits_are_refused(dtype: type) -> None:
    image = pytest.importorskip("PIL.Image")
    file = io.BytesIO()
    image.fromarray(np.arange(64).reshape(8, 8).astype(dtype)).save(file, "TIFF")
    with pytest.raises(DataFileError, match=r"x has pixels of 32 bits, whose range is not known"):
        images.decode_images([file.getvalue()], 1, lambda index: "x")


def test_folders_called_by_numbers_stay_in_the_order_of_texts(tmp_path: Path) -> None:
    """As they were numbered always: "10" goes before "2"."""
    for index, name in enumerate(["2", "10", "1", "9"]):
        (tmp_path / "digits" / name).mkdir(parents=True)
        (tmp_path / "digits" / name / "a.png").write_bytes(encoded(IMAGES[index]))
    data = images.load_folder(tmp_path / "digits")
    assert data.class_names == ("1", "10", "2", "9") and data.labels.tolist() == [0, 1, 2, 3]
