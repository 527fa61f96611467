"""Writes the project's own known answers, with the plain-Python reference beside this folder.

Run from the repository's root: ``python -m tests.noise.vectors.make``. They should never change:
another version of the construction is another file. chacha20.json and siphash128.json hold
published vectors and are not made here.
"""

from __future__ import annotations

import itertools
import json
import random
from pathlib import Path
from typing import Any

from tests.noise import reference
from tests.noise.reference import Setting

FOLDER = Path(__file__).parent

ROOT = bytes(range(32)).hex()
WEIGHTS = bytes(range(32, 64)).hex()
PLAIN = Setting(ROOT, "a model", WEIGHTS, cell_width=4.0)

SETTINGS = (
    PLAIN,
    PLAIN._replace(cell_width=12.0, base_variance=0.0, keep_label=True),
    PLAIN._replace(samples=3, temperature=4.0, base_variance=0.1, lambda_scale=3.0),
    PLAIN._replace(keep_label=True, model="ein Modell, größer", lambda_scale=0.0),
    PLAIN._replace(root="ff" * 32, weights="00" * 32, cell_width=0.125, base_variance=2.5),
)


def rows() -> list[list[float]]:
    """Logits for 2, 3, 10 and 33 classes: usual, tied, constant, huge, and clipped ones."""
    generator = random.Random(1)
    entry = [
        [round(generator.gauss(0, 4), 3) for _ in range(classes)]
        for classes in (2, 3, 10, 33)
        for _ in range(2)
    ]
    return [*entry, [0.0, 0.0, 0.0], [1.5, 3.25, 3.25, -2.0], [1e308, -1e308], [5e7, 0.0, -0.0]]


def normals() -> list[dict[str, Any]]:
    """Known answers of normals_v1: key and nonce of a ChaCha20 stream, uniforms and normals."""
    entries = []
    for nonce, count in ((0, 1), (1, 2), (2, 7), (3, 8), (4, 9), (2**32 - 1, 20)):
        key = bytes((7 * i + nonce) % 256 for i in range(32))
        pairs = count + count % 2
        entries.append(
            {
                "key": key.hex(),
                "nonce": nonce,
                "uniforms": [
                    value.hex()
                    for value in itertools.islice(
                        reference.uniforms(reference.words(key, nonce)), pairs
                    )
                ],
                "normals": reference.normals(reference.words(key, nonce), count),
            }
        )
    return entries


def keyed() -> list[dict[str, Any]]:
    """Whole answers; floats that must agree bit for bit are hexadecimal."""
    entries = []
    for setting, logits in itertools.product(SETTINGS, rows()):
        entry = reference.answer(setting, logits)._asdict()
        entry["offsets"] = [value.hex() for value in entry["offsets"]]
        entries.append({"setting": setting._asdict(), "logits": logits, **entry})
    return entries


FILES = {"normals_v1.json": normals, "keyed_v1.json": keyed}


def text(values: list[dict[str, Any]]) -> str:
    """One known answer a line."""
    return "[\n" + ",\n".join(json.dumps(value) for value in values) + "\n]\n"


if __name__ == "__main__":
    for name, make in FILES.items():
        (FOLDER / name).write_text(text(make()))
