"""Coarse cells of logits; a keyed output depends on its query through cell and label alone."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from dynanoise.core import numerics
from dynanoise.core.errors import InputError
from dynanoise.core.numerics import Float64, Int64

Int32 = npt.NDArray[np.int32]

FARTHEST = 2**20
"""Largest cell index; gaps to the largest logit beyond it are clipped."""


GAPS = 2.5
"""Cell width to start with, in median gaps between the two largest logits."""


def starting_width(logits: npt.NDArray[Any]) -> float:
    """Compute a cell width to start with: 2.5 times the median gap, to 3 significant digits.

    Args:
        logits: [..., K], K >= 2, of at least one record.

    Returns:
        In logits, >= 0; 0 where most rows are ties.

    >>> starting_width(np.array([[1.234, 0.0], [0.0, 9.0], [-1.0, 0.0]]))
    3.08
    """
    return float(f"{GAPS * float(np.median(numerics.top_gaps(logits))):.3g}")


def checked_width(width: Any) -> float:
    """Check a cell width.

    Args:
        width: in logits.

    Returns:
        The width as a float.

    Raises:
        InputError: if it is not a finite number above 0, so large that 2^20 widths overflow, or so
            small that they lose digits.

    >>> checked_width(12)
    12.0
    """
    try:
        number = math.nan if isinstance(width, bool) else float(width)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not (number >= numerics.TINY and math.isfinite(number * FARTHEST)):
        raise InputError(
            f"cell_width is {width!r}.",
            "Use a finite number above 0; start with 2 to 3 times the median gap between the "
            "two largest logits.",
        )
    return number


@dataclass(frozen=True, eq=False)
class Grid:
    """A grid of cells over the gaps to the largest logit, moved by an offset for each class.

    With g = max z - z the cell of a row is c = floor(g / width + offset), where g is clipped at
    2^20 widths first. Its representative is z_c = -(c - offset + 1/2) width, within half a width
    of -g.

    Args:
        width: the cells' width, in logits; equal for all rows, because a width that followed a
            row's own sigma would move the boundaries with the row.
        offsets: float64 [K], in [0, 1).

    >>> grid = Grid(4.0, np.array([0.25, 0.75]))
    >>> cells, labels = grid.find(np.array([[9.0, 2.0], [9.0, 4.0], [9.0, 8.5]]))
    >>> cells.tolist(), labels.tolist()
    ([[0, 2], [0, 2], [0, 0]], [0, 0, 0])
    >>> grid.representatives(cells).tolist()
    [[-1.0, -7.0], [-1.0, -7.0], [-1.0, 1.0]]
    """

    width: float
    offsets: Float64

    def find(self, logits: Float64) -> tuple[Int32, Int64]:
        """Find the cell and the label of each row.

        Args:
            logits: float64 [n, K], finite.

        Returns:
            cells: int32 [n, K], in 0..2^20.
            labels: int64 [n], the lowest index of each row's maximum.
        """
        gaps = np.minimum(-numerics.shift(logits), FARTHEST * self.width)
        cells = np.floor(gaps / self.width + self.offsets).astype(np.int32)
        return cells, np.asarray(logits.argmax(axis=-1))

    def representatives(self, cells: Int32) -> Float64:
        """Compute the logits that stand for cells [n, K], float64 [n, K], C-contiguous."""
        return np.ascontiguousarray(-(cells - self.offsets + 0.5) * self.width)


def encoded(cells: Int32, labels: Int64, tag: int) -> npt.NDArray[np.uint8]:
    """Encode (tag | cell | label) as little-endian 32-bit words.

    Args:
        cells: int32 [n, K].
        labels: int64 [n], in 0..K-1.
        tag: 0 or 1, for the two hashes of a cell.

    Returns:
        uint8 [n, 4 (K + 2)].

    >>> encoded(np.array([[0, 258]], np.int32), np.array([1]), tag=1).tobytes().hex(" ", 4)
    '01000000 00000000 02010000 01000000'
    """
    words = np.empty((len(cells), cells.shape[1] + 2), "<i4")
    words[:, 0], words[:, 1:-1], words[:, -1] = tag, cells, labels
    return words.view(np.uint8)
