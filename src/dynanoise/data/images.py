"""Encoded images to one array, by Pillow."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable

import numpy as np
import numpy.typing as npt

from dynanoise.core.errors import DataFileError
from dynanoise.core.extras import require

UInt8 = npt.NDArray[np.uint8]


def decoder() -> str:
    """What decides the pixels besides the files: Pillow's version brings its own JPEG decoder."""
    return f"pillow {require('PIL', 'Reading images').__version__}"


def decode(
    images: Iterable[bytes], count: int, where: Callable[[int], str], side: int | None = None
) -> UInt8:
    """Images in RGB, upright, of one size.

    Args:
        images: encoded as PNG, JPEG or anything else Pillow reads; colours are converted to RGB.
        count: how many there are, >= 1.
        where: from the position of an image to its name for messages.
        side: if given, each image is cropped to its central square and resized to side x side
            (bicubic, antialiased); without it all must have the same size already.

    Returns:
        uint8 [count, H, W, 3].

    Raises:
        DataFileError: if something is not an image, or sizes differ.
        MissingExtraError: if Pillow is not installed.
    """
    require("PIL", "Reading images")
    from PIL import Image, ImageOps

    pixels: UInt8 | None = None
    for index, content in enumerate(images):
        try:
            with Image.open(io.BytesIO(content)) as opened:
                image = ImageOps.exif_transpose(opened).convert("RGB")
        # A damaged file can fail in any of Pillow's decoders, each with errors of its own.
        except (Exception, Image.DecompressionBombError) as error:
            raise DataFileError(
                f"{where(index)} is not an image that can be read ({type(error).__name__}).",
                "Repair it or take it away.",
            ) from error
        if side is not None and image.size != (side, side):
            image = ImageOps.fit(image, (side, side), method=Image.Resampling.BICUBIC)
        one = np.asarray(image)
        if pixels is None:
            pixels = np.empty((count, *one.shape), dtype=np.uint8)
        if one.shape != pixels.shape[1:]:
            height, width = pixels.shape[1:3]
            raise DataFileError(
                f"{where(index)} is {one.shape[1]} x {one.shape[0]} pixels and {where(0)} "
                f"{width} x {height}.",
                "Give all images one size, or pass a side to resize them to.",
            )
        pixels[index] = one
    if pixels is None:
        raise DataFileError("There are no images.", "Give at least one of each class.")
    return pixels
