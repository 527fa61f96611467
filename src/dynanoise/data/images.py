"""Images: encoded ones decoded to one array by Pillow, and folders with one sub-folder a class."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from dynanoise.core.arrays.labels import class_numbers
from dynanoise.core.errors import DataFileError
from dynanoise.core.extras import require
from dynanoise.data.cache import cached
from dynanoise.data.dataset import Data

UInt8 = npt.NDArray[np.uint8]

_TEST = ("test", "validation", "val")


def decoder() -> str:
    """The decoder that decides the pixels of a file: Pillow and its version, for cache keys."""
    return f"pillow {require('PIL', 'Reading images').__version__}"


def decode_images(
    images: Iterable[bytes], count: int, where: Callable[[int], str], side: int | None = None
) -> UInt8:
    """Decode images to RGB, upright, of one size.

    Args:
        images: encoded as PNG, JPEG or anything else Pillow reads; colours are converted to RGB, 16
            bits to 8.
        count: number of images, >= 1.
        where: makes the name for messages from the position of an image.
        side: if given, each image is cropped to its central square and resized to side x side
            (bicubic, antialiased); without it all must have the same size already.

    Returns:
        uint8 [count, H, W, 3].

    Raises:
        DataFileError: if a file is not an image, its pixels have 32 bits, or sizes differ.
        MissingExtraError: if Pillow is not installed.
    """
    require("PIL", "Reading images")
    from PIL import Image, ImageOps

    pixels: UInt8 | None = None
    for index, content in enumerate(images):
        try:
            with Image.open(io.BytesIO(content)) as opened:
                image = ImageOps.exif_transpose(opened)
                if image.mode.startswith("I;16"):  # which Pillow would clip at 255
                    image = Image.fromarray(_narrow(np.asarray(image)))
                wide = image.mode in ("I", "F")
                image = image.convert("RGB")
        # A damaged file can fail in any of Pillow's decoders, each with errors of its own.
        except (Exception, Image.DecompressionBombError) as error:
            raise DataFileError(
                f"{where(index)} is not an image that can be read ({type(error).__name__}).",
                "Repair it or take it away.",
            ) from error
        if wide:
            raise DataFileError(
                f"{where(index)} has pixels of 32 bits, whose range is not known.",
                "Save it with 8 or 16 bits.",
            )
        if side is not None and image.size != (side, side):
            image = ImageOps.fit(image, (side, side), method=Image.Resampling.BICUBIC)
        values = np.asarray(image)
        if pixels is None:
            pixels = np.empty((count, *values.shape), dtype=np.uint8)
        if values.shape != pixels.shape[1:]:
            height, width = pixels.shape[1:3]
            raise DataFileError(
                f"{where(index)} is {values.shape[1]} x {values.shape[0]} pixels and {where(0)} "
                f"{width} x {height}.",
                "Give all images one size, or pass a side to resize them to.",
            )
        pixels[index] = values
    if pixels is None:
        raise DataFileError("There are no images.", "Give at least one of each class.")
    return pixels


def _narrow(pixels: npt.NDArray[Any]) -> UInt8:
    """Pixels of 16 bits in 8 bits.

    >>> _narrow(np.array([0, 257, 65535], dtype=np.uint16)).tolist()
    [0, 1, 255]
    """
    return np.asarray((pixels.astype(np.uint32) + 128) // 257).astype(np.uint8)


class _File(NamedTuple):
    path: Path
    label: str


def _files(folder: Path) -> list[_File]:
    """All files below the sub-folders of a folder, sorted."""
    if not folder.is_dir():
        raise DataFileError(f"{folder} is not a folder.", "Check the path.")
    classes = sorted(path for path in folder.iterdir() if path.is_dir() and _visible(path))
    if not classes:
        raise DataFileError(f"{folder} has no sub-folders.", "Give it one for each class.")
    labelled = []
    for each in classes:
        files = [path for path in sorted(each.rglob("*")) if path.is_file() and _visible(path)]
        if not files:
            raise DataFileError(f"{each} holds no images.", "Fill it or take it away.")
        labelled += [_File(path, each.name) for path in files]
    return labelled


def _visible(path: Path) -> bool:
    return not path.name.startswith(".")


def load_folder(folder: Path, side: int | None = None) -> Data:
    """Load the images of a folder with one sub-folder a class, in sorted order.

    A folder with ``train`` and one of ``test``, ``validation`` or ``val``, each with a sub-folder a
    class, gives the official test part too. Hidden files (``.DS_Store``) are passed over.

    Args:
        folder: the folder.
        side: crop each image to its central square and resize it to side x side; without it all
            must have one size.

    Returns:
        Inputs uint8 [N, H, W, 3] in RGB; classes have the names of the sub-folders.

    Raises:
        DataFileError: if a file is not an image, sizes differ, a sub-folder is empty, or the two
            parts have different classes.
        InputError: if there is one class only.
        MissingExtraError: if Pillow is not installed.
    """
    train, test = folder / "train", [folder / name for name in _TEST if (folder / name).is_dir()]
    if train.is_dir() and test:
        parts = [_files(train), _files(test[0])]
        names = [sorted({file.label for file in part}) for part in parts]
        if names[0] != names[1]:
            odd = sorted(set(names[0]) ^ set(names[1]))
            raise DataFileError(
                f"{train} and {test[0]} differ in the classes {', '.join(odd)}.",
                "Give both a sub-folder for each class.",
            )
    else:
        parts = [_files(folder)]
    files = [file for part in parts for file in part]
    texts = [file.label for file in files]
    labels, class_names = class_numbers(texts, f"The labels of {folder}", names=sorted({*texts}))
    digest = hashlib.sha256()
    for file in files:
        relative = file.path.relative_to(folder).as_posix()
        with file.path.open("rb") as opened:
            digest.update(relative.encode() + hashlib.file_digest(opened, "sha256").digest())

    def make() -> Data:
        return Data(
            name=folder.resolve().name,
            inputs=decode_images(
                (file.path.read_bytes() for file in files),
                len(files),
                lambda index: str(files[index].path),
                side,
            ),
            labels=labels,
            classes=len(class_names),
            test_from=len(parts[0]) if len(parts) > 1 else None,
            class_names=class_names,
        )

    key = {"folder": digest.hexdigest(), "side": side, "decoder": decoder()}
    return cached(folder.resolve().name, key, make)
