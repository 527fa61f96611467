"""SipHash-2-4 with 128 bits of output (Aumasson & Bernstein 2012) on many messages at once."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Bytes = npt.NDArray[np.uint8]
Uint64 = npt.NDArray[np.uint64]


def _turn(words: Uint64, bits: int) -> Uint64:
    """Rotate each word to the left."""
    return np.asarray((words << np.uint64(bits)) | (words >> np.uint64(64 - bits)))


def _rounds(v: list[Uint64], count: int) -> None:
    """Apply SipRound ``count`` times to the state v0 .. v3, each [n]."""
    for _ in range(count):
        v[0] = v[0] + v[1]
        v[2] = v[2] + v[3]
        v[1] = _turn(v[1], 13) ^ v[0]
        v[3] = _turn(v[3], 16) ^ v[2]
        v[0] = _turn(v[0], 32)
        v[2] = v[2] + v[1]
        v[0] = v[0] + v[3]
        v[1] = _turn(v[1], 17) ^ v[2]
        v[3] = _turn(v[3], 21) ^ v[0]
        v[2] = _turn(v[2], 32)


def siphash128(messages: Bytes, key: bytes) -> Uint64:
    """Compute the keyed hash of each message, pseudorandom without the key.

    Args:
        messages: uint8 [n, L].
        key: 16 bytes.

    Returns:
        uint64 [n, 2], the 16 bytes of each hash as two little-endian words.

    >>> siphash128(np.zeros((1, 0), np.uint8), bytes(range(16))).astype("<u8").tobytes().hex()
    'a3817f04ba25a8e66df67214c7550293'
    """
    count, length = messages.shape
    padded = np.zeros((count, length // 8 * 8 + 8), np.uint8)
    padded[:, :length] = messages
    padded[:, -1] = length % 256
    words = padded.view("<u8").astype(np.uint64)
    # Arrays of one row, because numpy warns of overflow in scalars and not in arrays.
    k0, k1 = np.frombuffer(key, dtype="<u8").astype(np.uint64)[:, None]
    ones = np.ones(count, np.uint64)
    v = [
        (k0 ^ np.uint64(0x736F6D6570736575)) * ones,
        (k1 ^ np.uint64(0x646F72616E646F6D ^ 0xEE)) * ones,
        (k0 ^ np.uint64(0x6C7967656E657261)) * ones,
        (k1 ^ np.uint64(0x7465646279746573)) * ones,
    ]
    for word in words.T:
        v[3] = v[3] ^ word
        _rounds(v, 2)
        v[0] = v[0] ^ word
    v[2] = v[2] ^ np.uint64(0xEE)
    _rounds(v, 4)
    first = v[0] ^ v[1] ^ v[2] ^ v[3]
    v[1] = v[1] ^ np.uint64(0xDD)
    _rounds(v, 4)
    return np.stack([first, v[0] ^ v[1] ^ v[2] ^ v[3]], axis=-1)
