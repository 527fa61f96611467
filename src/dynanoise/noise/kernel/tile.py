"""DynaNoise on a tile: a few rows of logits, in lanes of rows.

Buffers are [K, B] with a row in each column, so that loops run over contiguous memory and SIMD
lanes hold rows; for a single row the loops run over its classes. A row's sums run over its classes
in order, so that its bits do not depend on the other rows.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from dynanoise.noise.cells import FARTHEST
from dynanoise.noise.kernel import jit, single

_FAR = float(FARTHEST)


@jit.exact
def load(rows: Any, start: Any, tile: Any) -> bool:
    """Copy rows [start : start + B] of [n, K] to the tile's columns; False if one is not finite."""
    good = True
    for j in range(tile.shape[1]):
        row = rows[start + j]
        for i in range(tile.shape[0]):
            value = row[i]
            good &= value - value == 0
            tile[i, j] = value
    return good


@jit.exact
def find_top(tile: Any, top: Any, labels: Any) -> None:
    """Find the largest entry of each column and its first position."""
    if top.size == 1:
        flat, first = tile.reshape(-1), 0
        largest = flat[0]
        for i in range(1, flat.size):
            if flat[i] > largest:
                largest, first = flat[i], i
        top[0], labels[0] = largest, first
        return
    for j in range(top.size):
        top[j], labels[j] = tile[0, j], 0
    for i in range(1, tile.shape[0]):
        line, place = tile[i], np.int32(i)
        for j in range(top.size):
            value = line[j]
            better = value > top[j]
            top[j] = value if better else top[j]
            labels[j] = place if better else labels[j]


@jit.exact
def shift(tile: Any, top: Any, lowest: Any) -> None:
    """Subtract the largest entry of each column; values below ``lowest`` are clipped there."""
    if top.size == 1:
        flat, largest = tile.reshape(-1), top[0]
        for i in range(flat.size):
            value = flat[i] - largest
            flat[i] = value if value > lowest else lowest
        return
    for i in range(tile.shape[0]):
        line = tile[i]
        for j in range(top.size):
            value = line[j] - top[j]
            line[j] = value if value > lowest else lowest


@jit.exact
def snap(
    tile: Any, top: Any, labels: Any, width: Any, offsets: Any, message: Any, base_top: Any
) -> None:
    """Replace each entry by its cell's representative, and write the cells as SipHash's message.

    See `noise.cells` for both.

    Args:
        tile: float64 [K, B], logits, replaced in place.
        top: float64 [B], their maxima.
        labels: int32 [B], positions of the maxima.
        width: the cells' width, in logits.
        offsets: float64 [K].
        message: uint32 [2 q, B], filled except for its first word.
        base_top: float64 [B], filled with the representatives' maxima.
    """
    classes, lanes = tile.shape
    far = _FAR * width
    for j in range(lanes):
        base_top[j] = -np.inf
    for i in range(classes):
        line, cells, offset = tile[i], message[i + 1], offsets[i]
        for j in range(lanes):
            gap = top[j] - line[j]
            gap = gap if gap < far else far
            cell = np.int32(np.floor(gap / width + offset))
            cells[j] = np.uint32(cell)
            value = -(np.float64(cell) - offset + 0.5) * width
            line[j] = value
            base_top[j] = value if value > base_top[j] else base_top[j]
    words = message[classes + 1]
    for j in range(lanes):
        words[j] = np.uint32(labels[j])
    length = np.uint32(4 * (classes + 2) % 256) << np.uint32(24)
    for i in range(classes + 2, message.shape[0]):
        line = message[i]
        for j in range(lanes):
            line[j] = length if i == message.shape[0] - 1 else np.uint32(0)


def make_parts(  # noqa: PLR0915
    real: Any, exponential: Any, compiled: Callable[..., Any]
) -> tuple[Any, Any, Any]:
    """Make `deviations`, `perturbed_softmax` and `add` in one precision.

    Args:
        real: the dtype.
        exponential: exp in that dtype.
        compiled: decorator of the functions that may use fast arithmetic.
    """

    @jit.exact
    def deviations(tile: Any, work: Any, variance: Any, scale: Any, sums: Any, sigma: Any) -> None:
        """Compute sigma [B] = sqrt(s0 (1 + lambda R)) of columns whose maximum is 0."""
        flat, weights = tile.reshape(-1), work.reshape(-1)
        _exps(flat, weights)
        for j in range(sigma.size):
            sums[0, j], sums[1, j] = 0.0, 0.0
        first, second = sums[0], sums[1]
        for i in range(tile.shape[0]):
            line, weight = tile[i], work[i]
            for j in range(sigma.size):
                first[j] += np.float64(weight[j])
                second[j] += np.float64(weight[j]) * np.float64(line[j])
        uniform = jit.log(np.float64(tile.shape[0]))
        for j in range(sigma.size):
            nats = jit.log(first[j]) - second[j] / first[j]
            sensitivity = 1.0 - nats / uniform
            sensitivity = sensitivity if sensitivity > 0.0 else 0.0
            sensitivity = sensitivity if sensitivity < 1.0 else 1.0
            sigma[j] = real(np.sqrt(variance * (1.0 + scale * sensitivity)))

    @compiled
    def _exps(flat: Any, weights: Any) -> None:
        for t in range(flat.size):
            weights[t] = exponential(flat[t])

    @compiled
    def _exps_in_place(flat: Any) -> None:
        # Not _exps(flat, flat): where arrays overlap, LLVM's SIMD loop gives way to a plain one.
        for t in range(flat.size):
            flat[t] = exponential(flat[t])

    @compiled
    def _perturb(tile: Any, normals: Any, grouped: Any, sigma: Any, work: Any) -> None:
        classes, lanes = tile.shape
        for i in range(classes):
            row, start = (i % 8, i // 8 * lanes) if grouped else (0, i * lanes)
            line, noisy, noise = tile[i], work[i], normals[row, start : start + lanes]
            for j in range(lanes):
                noisy[j] = line[j] + sigma[j] * noise[j]

    @compiled
    def _temper(work: Any, top: Any, inverse: Any) -> None:
        if top.size == 1:
            flat, largest = work.reshape(-1), top[0]
            for i in range(flat.size):
                flat[i] = (flat[i] - largest) * inverse
            return
        for i in range(work.shape[0]):
            line = work[i]
            for j in range(top.size):
                line[j] = (line[j] - top[j]) * inverse

    @jit.exact
    def _normalise(work: Any, total: Any) -> None:
        """Divide columns by their sums."""
        if total.size == 1:
            flat, row_total = work.reshape(-1), 0.0
            for i in range(flat.size):
                row_total += np.float64(flat[i])
            factor = real(1.0 / row_total)
            for i in range(flat.size):
                flat[i] = flat[i] * factor
            return
        for j in range(total.size):
            total[j] = 0.0
        for i in range(work.shape[0]):
            line = work[i]
            for j in range(total.size):
                total[j] += np.float64(line[j])
        for j in range(total.size):
            total[j] = 1.0 / total[j]
        for i in range(work.shape[0]):
            line = work[i]
            for j in range(total.size):
                line[j] = line[j] * real(total[j])

    @jit.exact
    def perturbed_softmax(
        tile: Any,
        normals: Any,
        grouped: Any,
        sigma: Any,
        inverse: Any,
        work: Any,
        top: Any,
        labels: Any,
        sums: Any,
    ) -> None:
        """Compute softmax((tile + sigma n) / T), and the positions of the largest noisy logits.

        Args:
            tile: [K, B], columns whose maximum is 0.
            normals: [8, blocks B] if grouped, see `normals.keyed_normals`, else [1, K B].
            grouped: True for the first layout.
            sigma: [B].
            inverse: 1 / T, finite.
            work: [K, B], filled.
            top: [B], to work in.
            labels: int32 [B], filled.
            sums: float64 [2, B], to work in.
        """
        _perturb(tile, normals, grouped, sigma, work)
        find_top(work, top, labels)
        _temper(work, top, inverse)
        _exps_in_place(work.reshape(-1))
        _normalise(work, sums[0])

    @jit.exact
    def add(work: Any, total: Any, first: Any, divisor: Any) -> None:
        """Compute total = (total + work) / divisor in place, or work / divisor if ``first``."""
        flat, sums = work.reshape(-1), total.reshape(-1)
        for t in range(flat.size):
            sums[t] = (flat[t] if first else sums[t] + flat[t]) / divisor

    return deviations, perturbed_softmax, add


parts_64 = make_parts(np.float64, jit.exp, jit.exact)
parts_32 = make_parts(np.float32, single.exp, jit.fast)


@jit.exact
def exchange_top(tile: Any, labels: Any, top: Any, best: Any) -> None:
    """Exchange in each column the entry ``labels`` and the largest one, the first of several."""
    find_top(tile, top, best)
    for j in range(labels.size):
        value = tile[labels[j], j]
        tile[labels[j], j] = tile[best[j], j]
        tile[best[j], j] = value


@jit.exact
def favour(tile: Any, labels: Any, narrow: Any, top: Any, best: Any) -> None:
    """Raise the winner where rounding to ``narrow``'s dtype made a tie; see `numerics.favour`.

    Args:
        tile: [K, B], changed in place.
        labels: int32 [B], the winners.
        narrow: [B] of the output's dtype, to work in.
        top: [B] of the tile's dtype, to work in.
        best: int32 [B], to work in.
    """
    if labels.size == 1:
        flat, first, rounded = tile.reshape(-1), 0, narrow[:1]
        rounded[0] = flat[0]
        largest = rounded[0]
        for i in range(1, flat.size):
            rounded[0] = flat[i]
            if rounded[0] > largest:
                largest, first = rounded[0], i
        if first != labels[0]:
            flat[labels[0]] = np.nextafter(largest, narrow.dtype.type(2))
        return
    for j in range(labels.size):
        narrow[0], best[j] = tile[0, j], 0
        top[j] = narrow[0]
    for i in range(1, tile.shape[0]):
        line, place = tile[i], np.int32(i)
        for j in range(labels.size):
            narrow[j] = line[j]
            better = narrow[j] > top[j]
            top[j] = narrow[j] if better else top[j]
            best[j] = place if better else best[j]
    for j in range(labels.size):
        if best[j] != labels[j]:
            narrow[0] = top[j]
            tile[labels[j], j] = np.nextafter(narrow[0], narrow.dtype.type(2))


@jit.exact
def store(tile: Any, out: Any, start: Any) -> None:
    """Copy the tile's columns to rows [start : start + B] of [n, K], in their dtype."""
    for j in range(tile.shape[1]):
        row = out[start + j]
        for i in range(tile.shape[0]):
            row[i] = tile[i, j]
