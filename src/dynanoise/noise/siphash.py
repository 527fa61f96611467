"""SipHash-2-4 with 128 bits of output (Aumasson & Bernstein 2012) on many messages at once."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

_FEW = 8
"""Messages up to which plain integers are faster than arrays, whose operations cost more than their
numbers."""

_MASK = 2**64 - 1

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
    if count <= _FEW:
        hashes = [_hash(message.tobytes(), key) for message in messages]
        return np.array(hashes, np.uint64).reshape(count, 2)
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


def _hash(message: bytes, key: bytes) -> tuple[int, int]:
    """The hash of one message, in plain integers."""
    k0, k1 = (int.from_bytes(half, "little") for half in (key[:8], key[8:]))
    state = (
        k0 ^ 0x736F6D6570736575,
        k1 ^ 0x646F72616E646F6D ^ 0xEE,
        k0 ^ 0x6C7967656E657261,
        k1 ^ 0x7465646279746573,
    )
    rest = len(message) % 8
    padded = message + bytes(7 - rest) + bytes([len(message) % 256])
    for start in range(0, len(padded), 8):
        word = int.from_bytes(padded[start : start + 8], "little")
        v0, v1, v2, v3 = _mix((*state[:3], state[3] ^ word), 2)
        state = (v0 ^ word, v1, v2, v3)
    v0, v1, v2, v3 = _mix((state[0], state[1], state[2] ^ 0xEE, state[3]), 4)
    first = v0 ^ v1 ^ v2 ^ v3
    v0, v1, v2, v3 = _mix((v0, v1 ^ 0xDD, v2, v3), 4)
    return first, v0 ^ v1 ^ v2 ^ v3


def _mix(state: tuple[int, int, int, int], count: int) -> tuple[int, int, int, int]:
    """SipRound ``count`` times, as `_rounds`."""
    v0, v1, v2, v3 = state
    for _ in range(count):
        v0 = (v0 + v1) & _MASK
        v2 = (v2 + v3) & _MASK
        v1 = (v1 << 13 & _MASK | v1 >> 51) ^ v0
        v3 = (v3 << 16 & _MASK | v3 >> 48) ^ v2
        v0 = v0 << 32 & _MASK | v0 >> 32
        v2 = (v2 + v1) & _MASK
        v0 = (v0 + v3) & _MASK
        v1 = (v1 << 17 & _MASK | v1 >> 47) ^ v2
        v3 = (v3 << 21 & _MASK | v3 >> 43) ^ v0
        v2 = v2 << 32 & _MASK | v2 >> 32
    return v0, v1, v2, v3
