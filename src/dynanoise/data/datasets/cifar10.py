"""CIFAR-10 (Krizhevsky 2009): 60,000 photographs of 32 x 32 pixels, ten classes."""

from __future__ import annotations

from pathlib import Path

from dynanoise.data.dataset import Data
from dynanoise.data.sources import Published, load_published

CIFAR10 = Published("cifar10", ("cifar10",), "uoft-cs/cifar10", ("train", "test"))


def cifar10(folder: Path | None = None) -> Data:
    """Load 50,000 records for training and, from id 50,000 on, 10,000 for testing.

    Args:
        folder: first folder to look in, for ``cifar10``.

    Returns:
        Inputs uint8 [60000, 32, 32, 3] in RGB.

    Raises:
        MissingDataError: if no source has it.
        MissingExtraError: if pyarrow or Pillow is not installed.
    """
    return load_published(CIFAR10, folder)


DATASETS = {"cifar10": cifar10}
