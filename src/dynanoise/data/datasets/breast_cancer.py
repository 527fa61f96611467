"""scikit-learn's bundled Wisconsin breast cancer table: 569 tumours, 30 numbers, two classes."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from dynanoise.data.dataset import Data
from dynanoise.data.tables import standardised


def breast_cancer(folder: Path | None = None) -> Data:
    """Load the whole set, inputs float32 [569, 30], each column standardised over all of it.

    Args:
        folder: not used; the data come with scikit-learn.

    >>> data = breast_cancer()
    >>> data.inputs.shape, data.inputs.dtype.name, data.class_names
    ((569, 30), 'float32', ('malignant', 'benign'))
    >>> np.bincount(data.labels).tolist()
    [212, 357]
    """
    from sklearn.datasets import load_breast_cancer

    inputs, labels = load_breast_cancer(return_X_y=True)
    return Data(
        "breast_cancer",
        standardised(inputs),
        labels.astype(np.int64),
        2,
        class_names=("malignant", "benign"),
    )


DATASETS = {"breast_cancer": breast_cancer}
