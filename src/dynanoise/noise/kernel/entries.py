"""Entries of the kernel, called from Python: rows of logits in, probabilities out."""

from __future__ import annotations

from typing import Any

import numpy as np

from dynanoise.noise.kernel import jit, single
from dynanoise.noise.kernel.normals import fresh_normals_32, fresh_normals_64, keyed_normals
from dynanoise.noise.kernel.row import make_row
from dynanoise.noise.kernel.stream import LANES, row_keys
from dynanoise.noise.kernel.tile import (
    exchange_top,
    favour,
    find_top,
    load,
    parts_32,
    parts_64,
    shift,
    snap,
    store,
)

WIDEST, NARROWEST, ENTRIES = 64, 16, 4096
"""Largest and smallest number of rows in a tile, and the number of its entries aimed at."""

_deviations, _perturbed_softmax, _add = parts_64
_LOWEST = float(np.finfo(np.float64).min)


@jit.exact
def _tile_rows(classes: Any, rows: Any) -> Any:
    """Choose the number of rows in a tile."""
    return max(1, min(rows, max(NARROWEST, min(WIDEST, ENTRIES // classes))))


@jit.exact_whole
def _keyed_tiles(
    rows: Any, out: Any, numbers: Any, words: Any, begin: Any, end: Any, lanes: Any
) -> bool:
    """Compute rows [begin : end] in tiles of exactly ``lanes`` rows; see `make_keyed`."""
    classes = rows.shape[1]
    draws, keep = np.int64(words[2]), words[3] != 0
    blocks = -(-classes // 8)
    buffers = np.empty((3 if draws > 1 else 2, classes, lanes))
    tile, work, total = buffers[0], buffers[1], buffers[-1]
    normals = np.empty((8, blocks * lanes))
    if draws == 0:
        normals[:] = 0.0
    per_row = np.zeros((4, lanes))
    places = np.empty((2, lanes), np.int32)
    message = np.empty((2 * (classes // 2 + 2), lanes), np.uint32)
    keys = np.empty((8, lanes), np.uint32)
    state = np.empty((8, lanes), np.uint64)
    streams = np.empty((2, 16 * LANES), np.uint32)
    narrow = np.empty(lanes, rows.dtype)
    top, sigma, sums = per_row[0], per_row[1], per_row[2:]
    labels, winners = places[0], places[1]
    for start in range(begin, end, lanes):
        if not load(rows, start, tile):
            return False
        find_top(tile, top, labels)
        snap(tile, top, labels, numbers[0], numbers[4:], message, sigma)
        shift(tile, sigma, _LOWEST)
        if draws > 0:
            _deviations(tile, work, numbers[1], numbers[2], sums, sigma)
            row_keys(words[0], words[1], message, state, keys)
        else:
            sigma[:] = 0.0
        result = work
        for m in range(draws if draws > 0 else 1):
            if draws > 0:
                keyed_normals(keys, np.uint32(m), streams, classes, normals)
            _perturbed_softmax(tile, normals, True, sigma, numbers[3], work, top, winners, sums)
            if draws > 1:
                _add(work, total, m == 0, np.float64(draws if m == draws - 1 else 1))
                result = total
        if keep:
            exchange_top(result, labels, top, winners)
            favour(result, labels, narrow, top, winners)
        elif draws <= 1:
            favour(result, winners, narrow, top, labels)
        store(result, out, start)
    return True


def make_keyed(version: str) -> Any:
    """Make the entry for keyed noise; the version enters numba's name of the compiled code."""

    def keyed(rows: Any, out: Any, numbers: Any, words: Any, begin: Any, end: Any) -> Any:
        """Compute outputs for rows [begin : end].

        Args:
            rows: float32 or float64 [n, K], logits.
            out: same dtype [n, K], filled with probabilities.
            numbers: float64 [4 + K]: cell width, s0, lambda, 1 / T, then the grid's offsets.
            words: uint64 [4]: the two words of the cell key, M (0 without noise), keep_label.
            begin: first row, in 0..n.
            end: after the last row, in 0..n.

        Returns:
            False, with some outputs computed, if a logit is not finite.
        """
        assert version
        good, lanes = True, _tile_rows(rows.shape[1], end - begin)
        middle = end - (end - begin) % lanes
        while good and begin < end:
            good = _keyed_tiles(rows, out, numbers, words, begin, middle, lanes)
            begin, middle, lanes = middle, end, end - middle
        return good

    return jit.entry(keyed)


def make_fresh_tiles(real: Any, parts: Any, draw: Any, block: int, lowest: Any) -> Any:
    """Make the function for tiles of rows under fresh noise, in one precision.

    Args:
        real: dtype of logits, outputs and arithmetic.
        parts: functions of `tile.make_parts`.
        draw: function that draws normals of that dtype.
        block: number of normals from one ChaCha block.
        lowest: bound on logits below the maximum, which are clipped there.
    """
    deviations, perturbed_softmax, add = parts
    room = block * LANES

    @jit.exact_whole
    def tiles(
        rows: Any, out: Any, numbers: Any, key: Any, begin: Any, end: Any, lanes: Any
    ) -> bool:
        classes = rows.shape[1]
        draws, keep = np.int64(numbers[3]), numbers[4] != 0.0
        inverse = real(numbers[2])
        # One array for each dtype: for a single row, making them is a good part of the time.
        size, many = classes * lanes, 3 if draws > 1 else 2
        store_of_reals = np.empty(many * size + size + room + 3 * lanes, real)
        buffers = store_of_reals[: many * size].reshape((many, classes, lanes))
        tile, work, total = buffers[0], buffers[1], buffers[-1]
        rest = store_of_reals[many * size :]
        top, sigma, narrow = rest[:lanes], rest[lanes : 2 * lanes], rest[2 * lanes : 3 * lanes]
        normals = rest[3 * lanes :].reshape((1, size + room))
        if draws == 0:
            sigma[:] = 0
            normals[:] = 0
        integers = np.empty(2 * lanes + 32 * LANES, np.uint32)
        labels = integers[:lanes].view(np.int32)
        winners = integers[lanes : 2 * lanes].view(np.int32)
        streams = integers[2 * lanes :].reshape((2, 16 * LANES))
        sums = np.empty((2, lanes))
        for start in range(begin, end, lanes):
            if not load(rows, start, tile):
                return False
            find_top(tile, top, labels)
            shift(tile, top, lowest)
            if draws > 0:
                deviations(tile, work, numbers[0], numbers[1], sums, sigma)
            result = work
            # Tiles use counters from start K, and fewer than K a row: no block is used twice.
            first = np.uint64(start) * np.uint64(classes)
            for m in range(draws if draws > 0 else 1):
                if draws > 0:
                    draw(key, first, np.uint32(m), streams, normals[0])
                perturbed_softmax(tile, normals, False, sigma, inverse, work, top, winners, sums)
                if draws > 1:
                    add(work, total, m == 0, real(draws if m == draws - 1 else 1))
                    result = total
            if keep:
                exchange_top(result, labels, top, winners)
                favour(result, labels, narrow, top, winners)
            elif draws <= 1:
                favour(result, winners, narrow, top, labels)
            store(result, out, start)
        return True

    return tiles


_VERSION = jit.source_digest()

keyed = make_keyed(_VERSION)
_row_32 = make_row(
    np.float32, single.exp, jit.fast, fresh_normals_32, block=16, lowest=np.float32(-1e30)
)
_row_64 = make_row(np.float64, jit.exp, jit.exact, fresh_normals_64, block=8, lowest=_LOWEST)
_fresh_tiles_32 = make_fresh_tiles(np.float32, parts_32, fresh_normals_32, 16, np.float32(-1e30))
_fresh_tiles_64 = make_fresh_tiles(np.float64, parts_64, fresh_normals_64, 8, _LOWEST)


@jit.exact
def _words(key: Any) -> Any:
    """Read 32 bytes as little-endian uint32 [8]."""
    words = np.empty(8, np.uint32)
    for i in range(8):
        word = np.uint32(key[4 * i]) | np.uint32(key[4 * i + 1]) << np.uint32(8)
        word |= np.uint32(key[4 * i + 2]) << np.uint32(16)
        words[i] = word | np.uint32(key[4 * i + 3]) << np.uint32(24)
    return words


def make_fresh(version: str) -> tuple[Any, Any]:
    """Make the entries for fresh noise in float32 and float64.

    They close over the version alone and use all else as globals of this file: closures over
    compiled functions have another name in every process, so that no code on disk would fit.
    """

    def fresh_32(rows: Any, out: Any, numbers: Any, key: Any, begin: Any, end: Any) -> Any:
        """Compute outputs for rows [begin : end].

        Args:
            rows: float32 [n, K], logits.
            out: float32 [n, K], filled with probabilities.
            numbers: float64 [5]: s0, lambda, 1 / T, M (0 without noise), keep_label.
            key: 32 bytes, used for no other rows.
            begin: first row, in 0..n.
            end: after the last row, in 0..n.

        Returns:
            False, with some outputs computed, if a logit is not finite.
        """
        assert version
        words, good, lanes = _words(key), True, _tile_rows(rows.shape[1], end - begin)
        middle = end - (end - begin) % lanes
        while good and begin < end:
            if lanes == 1:
                counter = np.uint64(begin) * np.uint64(rows.shape[1])
                good = _row_32(rows[begin], out[begin], numbers, words, counter)
            else:
                good = _fresh_tiles_32(rows, out, numbers, words, begin, middle, lanes)
            begin, middle, lanes = middle, end, end - middle
        return good

    def fresh_64(rows: Any, out: Any, numbers: Any, key: Any, begin: Any, end: Any) -> Any:
        """Compute the same in float64."""
        assert version
        words, good, lanes = _words(key), True, _tile_rows(rows.shape[1], end - begin)
        middle = end - (end - begin) % lanes
        while good and begin < end:
            if lanes == 1:
                counter = np.uint64(begin) * np.uint64(rows.shape[1])
                good = _row_64(rows[begin], out[begin], numbers, words, counter)
            else:
                good = _fresh_tiles_64(rows, out, numbers, words, begin, middle, lanes)
            begin, middle, lanes = middle, end, end - middle
        return good

    return jit.entry(fresh_32), jit.entry(fresh_64)


fresh_32, fresh_64 = make_fresh(_VERSION)
