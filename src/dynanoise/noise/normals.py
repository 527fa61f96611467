"""normals_v1: standard normals from random words, by a definition that no release changes.

numpy's ``Generator.standard_normal`` promises no stable stream, so keyed noise has its own. From
the words w[0], w[1], ... of a row:

- 53-bit uniforms: U[i] = ((w[2i] + 2^32 w[2i+1]) >> 11) 2^-53, in [0, 1).
- Pairs of normals by Box & Muller (1958): with r = sqrt(-2 ln(U[2i] + 2^-53)), whose argument is in
  (0, 1], and t = 2 pi U[2i+1]: n[2i] = r cos t, n[2i+1] = r sin t.

So one ChaCha20 block of 16 words makes 8 normals. An odd count drops the last sine. The uniforms
and, by `noise.portable`, the normals are the same bits everywhere. The largest possible normal is
sqrt(106 ln 2) = 8.57; a true normal is beyond it in 1e-17 of all draws.
"""

from __future__ import annotations

import numpy as np

from dynanoise.core.numerics import Float64
from dynanoise.noise import portable
from dynanoise.noise.chacha import Words

_STEP = 2.0**-53


def count_words(normals: int) -> int:
    """Count the random words that ``normals`` standard normals take.

    >>> count_words(8), count_words(9), count_words(10)
    (16, 20, 20)
    """
    return 4 * (-(-normals // 2))


def uniforms_v1(words: Words) -> Float64:
    """Compute uniforms in [0, 1), float64 [n, j], from uint32 words [n, 2j].

    >>> uniforms_v1(np.array([[0, 2**31, 2**32 - 1, 2**32 - 1]], np.uint32)).tolist()
    [[0.5, 0.9999999999999999]]
    """
    low, high = words[:, 0::2].astype(np.uint64), words[:, 1::2].astype(np.uint64)
    return np.asarray(((high << np.uint64(32) | low) >> np.uint64(11)).astype(np.float64) * _STEP)


def normals_v1(words: Words, count: int) -> Float64:
    """Compute standard normals by Box & Muller (1958), see the module.

    Args:
        words: uint32 [n, count_words(count)], uniform and independent.
        count: number of normals in each row.

    Returns:
        float64 [n, count], C-contiguous, within [-8.58, 8.58].

    >>> normals_v1(np.array([[0, 2**31, 0, 2**30]], np.uint32), 2).round(6).tolist()
    [[-0.0, 1.17741]]
    """
    uniforms = uniforms_v1(words)
    radius = np.sqrt(-2.0 * portable.log(uniforms[:, 0::2] + _STEP))
    cosines, sines = portable.cos_sin(np.ascontiguousarray(uniforms[:, 1::2]))
    pairs = np.stack([radius * cosines, radius * sines], axis=-1)
    return np.ascontiguousarray(pairs.reshape(len(words), -1)[:, :count])
