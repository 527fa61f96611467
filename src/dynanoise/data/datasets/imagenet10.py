"""Ten classes of ImageNet at 64 x 64 pixels: 5,000 photographs and 500 for testing."""

from __future__ import annotations

from pathlib import Path

from dynanoise.data.dataset import Data
from dynanoise.data.sources import Published, load_published

IMAGENET10 = Published(
    "imagenet10", ("imagenet10-64px", "imagenet10"), None, ("train", "validation")
)


def imagenet10(folder: Path | None = None) -> Data:
    """Load 5,000 records for training and, from id 5,000 on, ImageNet's 500 for validation.

    Args:
        folder: first folder to look in, for ``imagenet10-64px`` or ``imagenet10``.

    Returns:
        Inputs uint8 [5500, 64, 64, 3] in RGB.

    Raises:
        MissingDataError: if no source has it; the hub has no copy of these classes and this size.
        MissingExtraError: if pyarrow or Pillow is not installed.
    """
    return load_published(IMAGENET10, folder)


DATASETS = {"imagenet10": imagenet10}
