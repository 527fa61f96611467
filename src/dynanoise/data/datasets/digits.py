"""scikit-learn's bundled digits: 1,797 handwritten digits of 8 x 8 pixels, ten classes."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from dynanoise.data.dataset import Data


def digits(folder: Path | None = None) -> Data:
    """Load the whole set, inputs float32 [1797, 64] within [0, 1].

    Args:
        folder: not used; the data come with scikit-learn.

    >>> data = digits()
    >>> data.inputs.shape, data.inputs.dtype.name, data.classes
    ((1797, 64), 'float32', 10)
    """
    from sklearn.datasets import load_digits

    inputs, labels = load_digits(return_X_y=True)
    return Data("digits", (inputs / 16).astype(np.float32), labels.astype(np.int64), 10)


DATASETS = {"digits": digits}
