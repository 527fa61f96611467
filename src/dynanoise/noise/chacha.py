"""ChaCha20 (RFC 8439) on many keys at once, in NumPy."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Words = npt.NDArray[np.uint32]

_CONSTANTS = np.frombuffer(b"expand 32-byte k", dtype="<u4").astype(np.uint32)[:, None]


def _turn(words: Words, bits: int) -> Words:
    """Rotate each word to the left."""
    return np.asarray((words << np.uint32(bits)) | (words >> np.uint32(32 - bits)))


def _quarter_rounds(a: Words, b: Words, c: Words, d: Words) -> None:
    """Apply the quarter round (RFC 8439, section 2.1) to four columns of the state, in place."""
    for first, second in ((16, 12), (8, 7)):
        a += b
        d ^= a
        d[:] = _turn(d, first)
        c += d
        b ^= c
        b[:] = _turn(b, second)


def blocks(keys: Words, counters: Words, nonces: Words) -> Words:
    """Compute one block of the key stream for each key (RFC 8439, section 2.3).

    Args:
        keys: uint32 [n, 8], the key's bytes as little-endian words.
        counters: uint32 [n].
        nonces: uint32 [n, 3].

    Returns:
        uint32 [n, 16], the block's bytes as little-endian words.

    >>> zeros = np.zeros((1, 8), np.uint32)
    >>> blocks(zeros, zeros[:, 0], zeros[:, :3]).astype("<u4").tobytes().hex()[:16]
    '76b8e0ada0f13d90'
    """
    start = np.empty((16, len(keys)), np.uint32)
    start[:4], start[4:12] = _CONSTANTS, keys.T
    start[12], start[13:] = counters, nonces.T
    a, b, c, d = start.reshape(4, 4, len(keys)).copy()
    for _ in range(10):
        _quarter_rounds(a, b, c, d)
        # The diagonals become columns, and columns again afterwards.
        b, c, d = b[[1, 2, 3, 0]], c[[2, 3, 0, 1]], d[[3, 0, 1, 2]]
        _quarter_rounds(a, b, c, d)
        b, c, d = b[[3, 0, 1, 2]], c[[2, 3, 0, 1]], d[[1, 2, 3, 0]]
    return np.asarray((np.concatenate([a, b, c, d]) + start).T)


def stream(keys: Words, nonce: int, count: int) -> Words:
    """Compute the first words of each key's stream, with block counters from 0.

    Args:
        keys: uint32 [n, 8].
        nonce: 0..2^32 - 1, the first of the nonce's three little-endian words; the others are 0.
        count: number of words for each key.

    Returns:
        uint32 [n, count]; a row depends on its key and the nonce alone.

    >>> stream(np.zeros((2, 8), np.uint32), nonce=0, count=17).shape
    (2, 17)
    """
    each = -(-count // 16)
    counters = np.tile(np.arange(each, dtype=np.uint32), len(keys))
    nonces = np.zeros((len(counters), 3), np.uint32)
    nonces[:, 0] = nonce
    words = blocks(np.repeat(keys, each, axis=0), counters, nonces)
    return words.reshape(len(keys), 16 * each)[:, :count]
