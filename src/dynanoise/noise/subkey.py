"""Derivation of a deployment's keys from the root secret, by HMAC-SHA256."""

from __future__ import annotations

import hmac
from hashlib import sha256

import numpy as np

from dynanoise.core.numerics import Float64
from dynanoise.noise.chacha import stream
from dynanoise.noise.normals import uniforms_v1

PURPOSE = "dynanoise/keyed/v1"


def branch(key: bytes, label: str) -> bytes:
    """Derive an independent key for a label: its HMAC-SHA256, 32 bytes.

    >>> branch(b"key", "The quick brown fox jumps over the lazy dog").hex()[:8]
    'f7bc83f4'
    """
    return hmac.digest(key, label.encode(), sha256)


def key_id(root: bytes) -> str:
    """Compute the 16 hexadecimal digits that identify a root secret without revealing it.

    >>> key_id(bytes(32))
    'fe21c15d333ef73c'
    """
    return branch(root, "dynanoise/key id/v1")[:8].hex()


def length_prefixed(*parts: bytes) -> bytes:
    """Join parts, each behind its length (4 bytes, big-endian), so that the result is unambiguous.

    >>> length_prefixed(b"ab", b"").hex()
    '00000002616200000000'
    """
    return b"".join(len(part).to_bytes(4, "big") + part for part in parts)


def subkey(root: bytes, model: str, weights: bytes, setting: str) -> bytes:
    """Derive the subkey K of one root, model and setting.

    Two settings must not share a subkey: their outputs would hold the same noise, and together
    reveal the logits.

    Args:
        root: 32 bytes.
        model: name of the model.
        weights: SHA-256 of the model's weights, 32 bytes.
        setting: canonical text of every parameter of noise and defense.

    Returns:
        32 bytes.

    >>> subkey(bytes(32), "model", bytes(32), "setting").hex()[:8]
    'd0eade40'
    """
    parts = (PURPOSE.encode(), model.encode(), weights, key_id(root).encode(), setting.encode())
    return hmac.digest(root, length_prefixed(*parts), sha256)


def cell_key(key: bytes) -> bytes:
    """Derive Kc, the 16 bytes under which cells are hashed, from the subkey."""
    return branch(key, "cell")[:16]


def offsets(key: bytes, classes: int) -> Float64:
    """Derive the offsets of the grid of cells, as secret as the key.

    Args:
        key: the subkey, 32 bytes.
        classes: K.

    Returns:
        float64 [K], in [0, 1).
    """
    seed = np.frombuffer(branch(key, "dither"), dtype="<u4").astype(np.uint32)
    return np.asarray(uniforms_v1(stream(seed[None], 0, 2 * classes))[0])
