"""Random streams in compiled code: ChaCha and SipHash-2-4-128, many at once in SIMD lanes.

Arrays hold one lane (a row of logits, or a block of a row's stream) in the last axis, so that each
step is one loop over contiguous memory. The bits are those of `noise.chacha` and `noise.siphash`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from dynanoise.noise.kernel.jit import exact, exact_inline

_C0, _C1, _C2, _C3 = (np.uint32(word) for word in (0x61707865, 0x3320646E, 0x79622D32, 0x6B206574))


@exact_inline
def _quarter(a: Any, b: Any, c: Any, d: Any) -> Any:
    """Apply the quarter round (RFC 8439, section 2.1)."""
    a = np.uint32(a + b)
    d ^= a
    d = np.uint32(d << np.uint32(16)) | np.uint32(d >> np.uint32(16))
    c = np.uint32(c + d)
    b ^= c
    b = np.uint32(b << np.uint32(12)) | np.uint32(b >> np.uint32(20))
    a = np.uint32(a + b)
    d ^= a
    d = np.uint32(d << np.uint32(8)) | np.uint32(d >> np.uint32(24))
    c = np.uint32(c + d)
    b ^= c
    b = np.uint32(b << np.uint32(7)) | np.uint32(b >> np.uint32(25))
    return np.uint32(a), np.uint32(b), np.uint32(c), np.uint32(d)


@exact_inline
def _double_round(x: Any) -> Any:
    """Apply a column round and a diagonal round to a tuple of 16 words."""
    x0, x1, x2, x3, x4, x5, x6, x7, x8, x9, x10, x11, x12, x13, x14, x15 = x
    x0, x4, x8, x12 = _quarter(x0, x4, x8, x12)
    x1, x5, x9, x13 = _quarter(x1, x5, x9, x13)
    x2, x6, x10, x14 = _quarter(x2, x6, x10, x14)
    x3, x7, x11, x15 = _quarter(x3, x7, x11, x15)
    x0, x5, x10, x15 = _quarter(x0, x5, x10, x15)
    x1, x6, x11, x12 = _quarter(x1, x6, x11, x12)
    x2, x7, x8, x13 = _quarter(x2, x7, x8, x13)
    x3, x4, x9, x14 = _quarter(x3, x4, x9, x14)
    return (x0, x1, x2, x3, x4, x5, x6, x7, x8, x9, x10, x11, x12, x13, x14, x15)


LANES = 64
"""Blocks computed at once; a constant, because LLVM uses SIMD only for a known row stride."""

_LANES = np.uintp(LANES)


@exact_inline
def at(row: Any, lane: Any) -> Any:
    """Compute a lane's index in a buffer of rows; unsigned, since numba wraps negative ones."""
    return np.uintp(row) * _LANES + np.uintp(lane)


@exact
def chacha(words: Any, start: Any, rounds: Any, lanes: Any) -> None:
    """Compute one block for each lane.

    Args:
        words: uint32 [16 LANES], filled: a row of lanes for each word of the block.
        start: uint32 [16 LANES], the state: keys in the rows from 4, the counter in 12, the nonce
            from 13. The constants are filled in.
        rounds: 20 for ChaCha20 (RFC 8439); a multiple of 4.
        lanes: number of lanes to compute, at most LANES.
    """
    for j in range(lanes):
        start[at(0, j)], start[at(1, j)], start[at(2, j)], start[at(3, j)] = _C0, _C1, _C2, _C3
    for i in range(16):
        for j in range(lanes):
            words[at(i, j)] = start[at(i, j)]
    # Four rounds at a time: further unrolling takes long to compile.
    for _ in range(rounds // 4):
        for j in range(lanes):
            x = (
                words[at(0, j)], words[at(1, j)], words[at(2, j)], words[at(3, j)],
                words[at(4, j)], words[at(5, j)], words[at(6, j)], words[at(7, j)],
                words[at(8, j)], words[at(9, j)], words[at(10, j)], words[at(11, j)],
                words[at(12, j)], words[at(13, j)], words[at(14, j)], words[at(15, j)],
            )  # fmt: skip
            x = _double_round(_double_round(x))
            words[at(0, j)], words[at(1, j)], words[at(2, j)], words[at(3, j)] = x[:4]
            words[at(4, j)], words[at(5, j)], words[at(6, j)], words[at(7, j)] = x[4:8]
            words[at(8, j)], words[at(9, j)], words[at(10, j)], words[at(11, j)] = x[8:12]
            words[at(12, j)], words[at(13, j)], words[at(14, j)], words[at(15, j)] = x[12:]
    for i in range(16):
        for j in range(lanes):
            words[at(i, j)] += start[at(i, j)]


@exact
def one_stream(words: Any, start: Any, first: Any, lanes: Any) -> None:
    """Compute blocks of one key's stream, by ChaCha with 8 rounds and a counter of 64 bits.

    Args:
        words: uint32 [16 LANES], filled.
        start: uint32 [16 LANES], with key and nonce; its counters, in 12 and 13, are filled in.
        first: uint64, the first lane's counter.
        lanes: number of lanes to compute.
    """
    for j in range(lanes):
        counter = np.uint64(first + np.uint64(j))
        start[at(12, j)], start[at(13, j)] = np.uint32(counter), np.uint32(counter >> np.uint64(32))
    chacha(words, start, 8, lanes)


@exact_inline
def _turned(word: Any, bits: Any) -> Any:
    return np.uint64(word << np.uint64(bits)) | np.uint64(word >> np.uint64(64 - bits))


@exact_inline
def _sip_round(v0: Any, v1: Any, v2: Any, v3: Any) -> Any:
    v0 += v1
    v2 += v3
    v1 = _turned(v1, 13) ^ v0
    v3 = _turned(v3, 16) ^ v2
    v0 = _turned(v0, 32)
    v2 += v1
    v0 += v3
    v1 = _turned(v1, 17) ^ v2
    v3 = _turned(v3, 21) ^ v0
    v2 = _turned(v2, 32)
    return v0, v1, v2, v3


@exact
def row_keys(low: Any, high: Any, message: Any, state: Any, keys: Any) -> None:
    """Derive ChaCha keys: SipHash-2-4-128 of (0 | message), then of (1 | message), in each lane.

    Args:
        low: uint64, first word of the hash's key.
        high: uint64, second word.
        message: uint32 [2 q, L], words of 32 bits: the first is the tag's place and ignored, the
            last has the message's length in its highest byte.
        state: uint64 [8, L], to work in.
        keys: uint32 [8, L], filled.
    """
    a, b, c, d = state[0], state[1], state[2], state[3]
    e, f, g, h = state[4], state[5], state[6], state[7]
    lanes = a.size
    for j in range(lanes):
        a[j] = e[j] = low ^ np.uint64(0x736F6D6570736575)
        b[j] = f[j] = high ^ np.uint64(0x646F72616E646F6D ^ 0xEE)
        c[j] = g[j] = low ^ np.uint64(0x6C7967656E657261)
        d[j] = h[j] = high ^ np.uint64(0x7465646279746573)
    for i in range(message.shape[0] // 2):
        first, second = message[2 * i], message[2 * i + 1]
        for j in range(lanes):
            upper = np.uint64(second[j]) << np.uint64(32)
            word = upper if i == 0 else upper | np.uint64(first[j])
            v0, v1, v2, v3 = _sip_round(a[j], b[j], c[j], d[j] ^ word)
            v0, v1, v2, v3 = _sip_round(v0, v1, v2, v3)
            a[j], b[j], c[j], d[j] = v0 ^ word, v1, v2, v3
            word = upper | np.uint64(1) if i == 0 else word
            v0, v1, v2, v3 = _sip_round(e[j], f[j], g[j], h[j] ^ word)
            v0, v1, v2, v3 = _sip_round(v0, v1, v2, v3)
            e[j], f[j], g[j], h[j] = v0 ^ word, v1, v2, v3
    _finish(state[:4], keys[:4])
    _finish(state[4:], keys[4:])


@exact
def _finish(state: Any, keys: Any) -> None:
    """Finish the hash and write both halves as words."""
    a, b, c, d = state[0], state[1], state[2], state[3]
    k0, k1, k2, k3 = keys[0], keys[1], keys[2], keys[3]
    for j in range(a.size):
        v0, v1, v2, v3 = _sip_round(a[j], b[j], c[j] ^ np.uint64(0xEE), d[j])
        v0, v1, v2, v3 = _sip_round(*_sip_round(*_sip_round(v0, v1, v2, v3)))
        word = v0 ^ v1 ^ v2 ^ v3
        k0[j], k1[j] = np.uint32(word), np.uint32(word >> np.uint64(32))
        v0, v1, v2, v3 = _sip_round(v0, v1 ^ np.uint64(0xDD), v2, v3)
        v0, v1, v2, v3 = _sip_round(*_sip_round(*_sip_round(v0, v1, v2, v3)))
        word = v0 ^ v1 ^ v2 ^ v3
        k2[j], k3[j] = np.uint32(word), np.uint32(word >> np.uint64(32))
