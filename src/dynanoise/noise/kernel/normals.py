"""Standard normals for a tile of rows: normals_v1 for keyed noise, ChaCha8's for fresh noise."""

from __future__ import annotations

from typing import Any

import numpy as np

from dynanoise.noise.kernel import single
from dynanoise.noise.kernel.jit import cos_sin, exact, exact_inline, fast, log
from dynanoise.noise.kernel.stream import LANES, at, chacha, one_stream

_STEP = 2.0**-53


@exact_inline
def _uniform(low: Any, high: Any) -> Any:
    """Convert 53 random bits to a float64 in [0, 1)."""
    bits = np.uint64(low) | np.uint64(high) << np.uint64(32)
    return np.float64(np.int64(bits >> np.uint64(11))) * _STEP


@exact_inline
def _pair(words: Any, first: Any, lane: Any) -> Any:
    """Compute two normals from four rows of words; see `noise.normals`."""
    uniform = _uniform(words[at(first, lane)], words[at(first + 1, lane)])
    turns = _uniform(words[at(first + 2, lane)], words[at(first + 3, lane)])
    radius = np.sqrt(-2.0 * log(uniform + _STEP))
    cosine, sine = cos_sin(turns)
    return radius * cosine, radius * sine


@exact
def keyed_normals(row_keys: Any, nonce: Any, streams: Any, classes: Any, normals: Any) -> None:
    """Compute normals_v1 from each row's own stream.

    Args:
        row_keys: uint32 [8, B].
        nonce: uint32, index of the draw.
        streams: uint32 [2, 16 LANES], to work in.
        classes: K.
        normals: float64 [8, blocks B], filled: class 8 b + q of row j is at [q, b B + j].
    """
    words, state = streams[0], streams[1]
    rows = row_keys.shape[1]
    blocks = -(-classes // 8)
    jobs = blocks * rows
    last = (classes - 8 * (blocks - 1) + 1) // 2  # pairs of the last block
    for start in range(0, jobs, LANES):
        lanes = min(LANES, jobs - start)
        block, row = start // rows, start % rows
        filled = 0
        while filled < lanes:
            some = min(lanes - filled, rows - row)
            for i in range(8):
                keys = row_keys[i, row : row + some]
                for j in range(some):
                    state[at(4 + i, filled + j)] = keys[j]
            for j in range(some):
                state[at(12, filled + j)] = np.uint32(block)
                state[at(13, filled + j)] = nonce
                state[at(14, filled + j)] = state[at(15, filled + j)] = np.uint32(0)
            block, row, filled = block + 1, 0, filled + some
        chacha(words, state, 20, lanes)
        for p in range(4):
            needed = min(lanes, (jobs if p < last else jobs - rows) - start)
            cosines, sines = normals[2 * p, start:], normals[2 * p + 1, start:]
            for j in range(needed):
                cosines[j], sines[j] = _pair(words, 4 * p, j)


@exact
def _begin(state: Any, key: Any, nonce: Any, blocks: Any) -> None:
    """Write one key and nonce to the lanes of ``blocks`` blocks."""
    lanes = min(LANES, blocks)
    for i in range(8):
        for j in range(lanes):
            state[at(4 + i, j)] = key[i]
    for j in range(lanes):
        state[at(14, j)], state[at(15, j)] = nonce, np.uint32(0)


@exact
def fresh_normals_64(key: Any, first: Any, nonce: Any, streams: Any, normals: Any) -> None:
    """Compute float64 normals from one stream.

    Args:
        key: uint32 [8].
        first: uint64, the first block's counter; n / 8 blocks are used, rounded up.
        nonce: uint32.
        streams: uint32 [2, 16 LANES], to work in.
        normals: float64 [n + 8 LANES], filled up to n.
    """
    words, state = streams[0], streams[1]
    start, end, counter = 0, normals.size - 8 * LANES, np.uint64(first)
    _begin(state, key, nonce, -(-end // 8))
    while start < end:
        lanes = min(LANES, -(-(end - start) // 8))
        one_stream(words, state, counter, lanes)
        for p in range(min(4, -(-(end - start) // (2 * lanes)))):
            cosines, sines = (
                normals[start + 2 * p * lanes :],
                normals[start + (2 * p + 1) * lanes :],
            )
            for j in range(lanes):
                cosines[j], sines[j] = _pair(words, 4 * p, j)
        start, counter = start + 8 * lanes, counter + np.uint64(lanes)


@fast
def fresh_normals_32(key: Any, first: Any, nonce: Any, streams: Any, normals: Any) -> None:
    """Compute float32 normals [n + 16 LANES] likewise, one word each, from n / 16 blocks."""
    words, state = streams[0], streams[1]
    start, end, counter = 0, normals.size - 16 * LANES, np.uint64(first)
    _begin(state, key, nonce, -(-end // 16))
    while start < end:
        lanes = min(LANES, -(-(end - start) // 16))
        one_stream(words, state, counter, lanes)
        for p in range(min(8, -(-(end - start) // (2 * lanes)))):
            cosines, sines = (
                normals[start + 2 * p * lanes :],
                normals[start + (2 * p + 1) * lanes :],
            )
            for j in range(lanes):
                cosines[j], sines[j] = single.normals(words[at(2 * p, j)], words[at(2 * p + 1, j)])
        start, counter = start + 16 * lanes, counter + np.uint64(lanes)
