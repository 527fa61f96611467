"""Outputs that depend on the other records of a query, which keyed noise must not be put on."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

TOLERANCE = 0.02
"""Largest difference, as a part of the largest output, that rounding in batches of another size
makes; half precision rounds to one part in 256."""


def differs(outputs: npt.ArrayLike, again: npt.ArrayLike) -> bool:
    """Whether outputs for the same records differ by more than rounding.

    A client chooses the records beside a record. Where its output depends on them, each query has
    logits of its own, perhaps in another cell of keyed noise, and the noise averages out.

    Args:
        outputs: outputs of some records, [...].
        again: outputs of the same records beside other records, or from a second call.

    >>> differs([[2.0, 0.0]], [[2.001, 0.0]]), differs([[2.0, 0.0]], [[1.5, 0.0]])
    (False, True)
    """
    first, second = np.asarray(outputs, np.float64), np.asarray(again, np.float64)
    if first.shape != second.shape:
        return True
    with np.errstate(invalid="ignore"):
        change = np.abs(first - second)  # NaN where both are infinite or not numbers
    finite = np.abs(first[np.isfinite(first)])
    return bool((change > TOLERANCE * finite.max(initial=0.0)).any())
