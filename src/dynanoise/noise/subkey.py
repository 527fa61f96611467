"""From the root secret to the keys of one deployment: HMAC-SHA256 over all that sets it apart."""

from __future__ import annotations

import hmac
from hashlib import sha256

import numpy as np

from dynanoise.core.numerics import Float64
from dynanoise.noise.chacha import stream
from dynanoise.noise.normals import uniforms_v1

PURPOSE = "dynanoise/keyed/v1"


def branch(key: bytes, label: str) -> bytes:
    """HMAC-SHA256 of a label, 32 bytes: keys that do not tell of one another.

    >>> branch(b"key", "The quick brown fox jumps over the lazy dog").hex()[:8]
    'f7bc83f4'
    """
    return hmac.digest(key, label.encode(), sha256)


def key_id(root: bytes) -> str:
    """16 hexadecimal digits that name a root secret; who sees them learns nothing else of it.

    >>> key_id(bytes(32))
    'fe21c15d333ef73c'
    """
    return branch(root, "dynanoise/key id/v1")[:8].hex()


def length_prefixed(*parts: bytes) -> bytes:
    """Each part behind its length (4 bytes, big-endian), so that parts cannot run together.

    >>> length_prefixed(b"ab", b"").hex()
    '00000002616200000000'
    """
    return b"".join(len(part).to_bytes(4, "big") + part for part in parts)


def subkey(root: bytes, model: str, weights: bytes, setting: str) -> bytes:
    """K: 32 bytes that belong to one root, model and setting.

    Two settings under one subkey would give the logits back: their answers hold the same noise.

    Args:
        root: 32 bytes.
        model: the model's name.
        weights: SHA-256 of its weights, 32 bytes.
        setting: every parameter of noise and defense, in canonical form.
    """
    parts = (PURPOSE.encode(), model.encode(), weights, key_id(root).encode(), setting.encode())
    return hmac.digest(root, length_prefixed(*parts), sha256)


def cell_key(key: bytes) -> bytes:
    """Kc, 16 bytes, under which cells are hashed."""
    return branch(key, "cell")[:16]


def offsets(key: bytes, classes: int) -> Float64:
    """u: where the grid of cells lies, float64 [K] in [0, 1), as secret as the key."""
    seed = np.frombuffer(branch(key, "dither"), dtype="<u4").astype(np.uint32)
    return np.asarray(uniforms_v1(stream(seed[None], 0, 2 * classes))[0])
