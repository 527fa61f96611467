"""Keyed noise, version 1, once more: plain Python, a row at a time, no NumPy and none of our code.

What the tests compare with, and what the committed vectors were made with. Integers are Python's
own, hashes the standard library's; docs/keyed.md is all that it shares with the package.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import math
import struct
from collections.abc import Iterator
from typing import Any, NamedTuple

MASK32, MASK64 = 2**32 - 1, 2**64 - 1


def turned(word: int, bits: int, size: int) -> int:
    return (word << bits | word >> (size - bits)) & ((1 << size) - 1)


# --- ChaCha20, RFC 8439 --------------------------------------------------------------------------


def quarter_round(state: list[int], a: int, b: int, c: int, d: int) -> None:
    for into, other, turn, bits in ((a, b, d, 16), (c, d, b, 12), (a, b, d, 8), (c, d, b, 7)):
        state[into] = (state[into] + state[other]) & MASK32
        state[turn] = turned(state[turn] ^ state[into], bits, 32)


def chacha_block(key: bytes, counter: int, nonce: bytes) -> bytes:
    start = list(
        struct.unpack("<16I", b"expand 32-byte k" + key + struct.pack("<I", counter) + nonce)
    )
    state = start.copy()
    for _ in range(10):
        for column in range(4):
            quarter_round(state, column, column + 4, column + 8, column + 12)
        for i in range(4):
            quarter_round(state, i, 4 + (i + 1) % 4, 8 + (i + 2) % 4, 12 + (i + 3) % 4)
    return struct.pack("<16I", *((a + b) & MASK32 for a, b in zip(state, start, strict=True)))


def words(key: bytes, nonce: int) -> Iterator[int]:
    """The stream of a key as 32-bit words, counter from 0, nonce as a 96-bit integer."""
    counter = 0
    while True:
        yield from struct.unpack("<16I", chacha_block(key, counter, nonce.to_bytes(12, "little")))
        counter += 1


# --- SipHash-2-4-128 -----------------------------------------------------------------------------


def siphash128(key: bytes, message: bytes) -> bytes:
    k0, k1 = struct.unpack("<2Q", key)
    v0, v1 = k0 ^ 0x736F6D6570736575, k1 ^ 0x646F72616E646F6D ^ 0xEE
    v2, v3 = k0 ^ 0x6C7967656E657261, k1 ^ 0x7465646279746573

    def rounds(count: int) -> None:
        nonlocal v0, v1, v2, v3
        for _ in range(count):
            v0 = (v0 + v1) & MASK64
            v1 = turned(v1, 13, 64) ^ v0
            v0 = turned(v0, 32, 64)
            v2 = (v2 + v3) & MASK64
            v3 = turned(v3, 16, 64) ^ v2
            v0 = (v0 + v3) & MASK64
            v3 = turned(v3, 21, 64) ^ v0
            v2 = (v2 + v1) & MASK64
            v1 = turned(v1, 17, 64) ^ v2
            v2 = turned(v2, 32, 64)

    padded = message + bytes(-(len(message) + 1) % 8) + bytes([len(message) % 256])
    for (word,) in struct.iter_unpack("<Q", padded):
        v3 ^= word
        rounds(2)
        v0 ^= word
    v2 ^= 0xEE
    rounds(4)
    first = v0 ^ v1 ^ v2 ^ v3
    v1 ^= 0xDD
    rounds(4)
    return struct.pack("<2Q", first, v0 ^ v1 ^ v2 ^ v3)


# --- normals_v1 ----------------------------------------------------------------------------------


def uniforms(stream: Iterator[int]) -> Iterator[float]:
    while True:
        low = next(stream)
        high = next(stream)
        yield math.ldexp((low | high << 32) >> 11, -53)


def normals(stream: Iterator[int], count: int) -> list[float]:
    result: list[float] = []
    draw = uniforms(stream)
    while len(result) < count:
        radius = math.sqrt(-2.0 * math.log(next(draw) + math.ldexp(1, -53)))
        angle = 2.0 * math.pi * next(draw)
        result += [radius * math.cos(angle), radius * math.sin(angle)]
    return result[:count]


# --- the construction ----------------------------------------------------------------------------


class Setting(NamedTuple):
    """Everything that an answer depends on, besides its query."""

    root: str
    model: str
    weights: str
    cell_width: float
    base_variance: float = 0.3
    lambda_scale: float = 2.0
    temperature: float = 10.0
    samples: int = 1
    keep_label: bool = False


class Answer(NamedTuple):
    """An answer, and the steps to it."""

    key_id: str
    subkey: str
    cell_key: str
    offsets: list[float]
    cell: list[int]
    label: int
    row_key: str
    normals: list[list[float]]
    probs: list[float]


def mac(key: bytes, message: bytes) -> bytes:
    return hmac.new(key, message, hashlib.sha256).digest()


def canonical(setting: Setting, classes: int) -> str:
    def bits(value: float) -> str:
        return struct.pack(">d", value).hex()

    def written(value: dict[str, Any]) -> str:
        return json.dumps(value, sort_keys=True, separators=(",", ":"))

    purpose = written(
        {
            "defense": "dynanoise",
            "base_variance": bits(setting.base_variance),
            "lambda_scale": bits(setting.lambda_scale),
            "temperature": bits(setting.temperature),
            "samples": setting.samples,
            "sensitivity": "entropy",
            "keep_label": setting.keep_label,
        }
    )
    draws = setting.samples if setting.base_variance > 0 else 0
    width = bits(setting.cell_width)
    return written({"cell_width": width, "classes": classes, "draws": draws, "purpose": purpose})


def softmax(row: list[float]) -> list[float]:
    top = max(row)
    weights = [math.exp(value - top) for value in row]
    total = math.fsum(weights)
    return [weight / total for weight in weights]


def answer(setting: Setting, logits: list[float]) -> Answer:
    """Version 1 of the construction, step by step; see docs/keyed.md."""
    k, width = len(logits), setting.cell_width
    root = bytes.fromhex(setting.root)
    key_id = mac(root, b"dynanoise/key id/v1")[:8].hex()
    parts = [
        b"dynanoise/keyed/v1",
        setting.model.encode(),
        bytes.fromhex(setting.weights),
        key_id.encode(),
        canonical(setting, k).encode(),
    ]
    subkey = mac(root, b"".join(struct.pack(">I", len(part)) + part for part in parts))
    cell_key = mac(subkey, b"cell")[:16]
    dither = uniforms(words(mac(subkey, b"dither"), 0))
    u = [next(dither) for _ in range(k)]

    label = logits.index(max(logits))
    gaps = [min(max(logits) - value, 2**20 * width) for value in logits]
    cell = [math.floor(gap / width + offset) for gap, offset in zip(gaps, u, strict=True)]
    z = [-(c - offset + 0.5) * width for c, offset in zip(cell, u, strict=True)]

    clean = softmax(z)
    entropy = -math.fsum(p * math.log(p) for p in clean if p > 0)
    sensitivity = min(max(1 - entropy / math.log(k), 0.0), 1.0)
    sigma = math.sqrt(setting.base_variance * (1 + setting.lambda_scale * sensitivity))

    row_key = b"".join(
        siphash128(cell_key, struct.pack(f"<I{k}iI", tag, *cell, label)) for tag in (0, 1)
    )
    noise = [[0.0] * k]
    if setting.base_variance > 0:
        noise = [normals(words(row_key, m), k) for m in range(setting.samples)]
    singles = [
        softmax([(a + sigma * n) / setting.temperature for a, n in zip(z, row, strict=True)])
        for row in noise
    ]
    p = [math.fsum(column) / len(singles) for column in zip(*singles, strict=True)]
    if setting.keep_label:
        top = p.index(max(p))
        p[label], p[top] = p[top], p[label]
    return Answer(key_id, subkey.hex(), cell_key.hex(), u, cell, label, row_key.hex(), noise, p)
