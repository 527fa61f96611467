"""Seeds derived from one number and a path of names, so that no stream is used twice."""

from __future__ import annotations

import hashlib

from dynanoise.core.errors import InputError


def derive(seed: int, *path: str | int) -> int:
    """Derive a 64-bit seed for one purpose of a run.

    The value is the first 8 bytes of SHA-256 over the length-prefixed seed and path: the same on
    every machine and release, and unrelated for neighbouring seeds or paths. These seeds repeat
    experiments; they protect no secret.

    Args:
        seed: the run's seed, >= 0.
        path: the purpose, for example ``"model", "target"``.

    Returns:
        An integer in 0..2^64 - 1.

    Raises:
        InputError: if ``seed`` is negative or not an integer.

    >>> derive(0, "split")
    15146825285438434745
    >>> derive(0, "split") == derive(0, "model"), derive(0, "a", "b") == derive(0, "ab")
    (False, False)
    """
    return int.from_bytes(derive_bytes(seed, *path)[:8], "big")


def derive_bytes(seed: int, *path: str | int) -> bytes:
    """Derive the whole SHA-256 digest that `derive` shortens; as public as the seed.

    Args:
        seed: the run's seed, >= 0.
        path: the purpose; see `derive`.

    Returns:
        32 bytes.

    Raises:
        InputError: if ``seed`` is negative or not an integer.

    >>> int.from_bytes(derive_bytes(0, "split")[:8], "big") == derive(0, "split")
    True
    """
    if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
        raise InputError(f"The seed is {seed!r}.", "Use an integer of 0 or more.")
    digest = hashlib.sha256()
    for part in (seed, *path):
        raw = f"{type(part).__name__}:{part}".encode()
        digest.update(len(raw).to_bytes(4, "big") + raw)
    return digest.digest()
