"""Keyed noise: a keyed function of a coarse cell of the logits, the same at every query."""

from __future__ import annotations

import itertools
import json
import re
import struct
from dataclasses import dataclass
from typing import Any

import numpy as np

from dynanoise.core import numerics
from dynanoise.core.errors import InputError
from dynanoise.core.numerics import Float64, Int64
from dynanoise.noise import subkey
from dynanoise.noise.cells import Grid, Int32, checked_width, encoded
from dynanoise.noise.chacha import Words, stream
from dynanoise.noise.keys import DEFAULT, RootKey, Secret
from dynanoise.noise.normals import count_words, normals_v1
from dynanoise.noise.siphash import siphash128

_BATCH_BLOCKS = 1 << 13
"""ChaCha20 blocks computed at once: 512 KiB, which stay in the processor's cache."""


@dataclass(frozen=True)
class Keyed:
    """Noise that repeats with the query, so that repeated queries reveal nothing new (version 1).

    A row of logits is replaced by the representative of its cell, and its normals come from a
    stream keyed by the cell: `Grid`, SipHash-2-4-128, ChaCha20 and normals_v1. The output is
    computed from the cell and the predicted label alone. docs/keyed.md has the construction.

    Threat model: adaptive, black-box, colluding attackers with unlimited repeated queries, who
    know parameters, distribution, shadow models and the clean logits of other cells, but not the
    root secret, the server's memory or its metrics. Cell-mates are records in the same cell with
    the same predicted label.

    Claimed:

    - equal cells and labels give equal bits;
    - the noise of cells that were not queried is pseudorandom;
    - an output reveals only cell and label, even if the root secret leaks.

    Not claimed:

    - protection among cell-mates: the average of output minus shadow mean over them recovers
      the noise of their cell;
    - protection from queries of near-duplicates that fall into other cells;
    - protection of the label, or from model extraction.

    Args:
        cell_width: Delta > 0, in logits; start with 2 to 3 times the median gap between the two
            largest logits on held-out data.
        model: name of the model, any text.
        weights: SHA-256 of the model's weights, 64 hexadecimal digits. It gives every version of a
            model its own subkey. With a shared one, a record whose cell is the same in both
            versions would get equal bits, which reveals the records whose cell has changed.
        key: a `Secret` or its reference, "env:NAME" or "file:PATH", which is read for every
            output; or an `ExperimentKey`, which protects nothing.

    Raises:
        InputError: if a parameter is malformed, or logits are not finite or have fewer than two
            classes.
        SecretError: at a call, if there is no usable secret.

    >>> from dynanoise.noise.keys import ExperimentKey
    >>> noise = Keyed(4.0, "doctest", "ab" * 32, ExperimentKey(0, "doctest"))
    >>> base, normals = noise.draw(np.array([[5.0, 0.0], [5.1, 0.1], [0.0, 5.0]]), 1, "doctest")
    >>> base.round(3).tolist()  # the first two rows share a cell
    [[0.002, -3.417], [0.002, -3.417], [-3.998, 0.583]]
    >>> normals[0].round(3).tolist()
    [[0.023, -0.913], [0.023, -0.913], [-0.715, -0.289]]
    """

    cell_width: float
    model: str
    weights: str
    key: str | RootKey = DEFAULT
    repeatable = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "cell_width", checked_width(self.cell_width))
        if not isinstance(self.model, str) or not _encodable(self.model):
            raise InputError(f"model is {self.model!r}.", "Pass the model's name as text.")
        if not isinstance(self.weights, str) or not re.fullmatch("[0-9a-fA-F]{64}", self.weights):
            raise InputError(
                "weights are not a SHA-256.",  # the value is not shown: it may be the secret
                "Pass the SHA-256 of the model's weights as 64 hexadecimal digits; of a file, "
                "`sha256sum FILE` prints it.",
            )
        object.__setattr__(self, "weights", self.weights.lower())
        if isinstance(self.key, str):
            object.__setattr__(self, "key", Secret(self.key))
        elif isinstance(self.key, type) or not callable(getattr(self.key, "root", None)):
            # The value is not shown: it may be the secret itself.
            raise InputError(
                f"key is of type {type(self.key).__name__}.",
                "Pass a reference to it, env:NAME or file:PATH, never the secret.",
            )

    def draw(self, logits: Float64, draws: int, purpose: str) -> tuple[Float64, Float64]:
        """Draw normals for the cells of logits; see `core.defense.Noise`.

        Args:
            logits: [..., K], finite, K >= 2.
            draws: M, from 0 to 2^32.
            purpose: canonical text of the defense with all its parameters; part of the subkey.

        Returns:
            base: float64 [..., K], the cells' representatives.
            normals: float64 [draws, ..., K].

        Raises:
            InputError: for other logits.
            SecretError: if there is no usable secret.
        """
        checked, _ = numerics.as_logits(logits)
        rows = checked.reshape(-1, checked.shape[-1])
        classes = rows.shape[1]
        key = self.subkey(classes, draws, purpose)
        grid = Grid(self.cell_width, subkey.offsets(key, classes))
        cells, labels = grid.find(rows)
        normals = np.empty((draws, *rows.shape))
        if draws:
            keys = row_keys(subkey.cell_key(key), cells, labels)
            words = count_words(classes)
            step = max(1, 16 * _BATCH_BLOCKS // words)
            for nonce, start in itertools.product(range(draws), range(0, len(rows), step)):
                part = slice(start, start + step)
                normals[nonce, part] = normals_v1(stream(keys[part], nonce, words), classes)
        base = grid.representatives(cells).reshape(checked.shape)
        return base, normals.reshape(draws, *checked.shape)

    def subkey(self, classes: int, draws: int, purpose: str) -> bytes:
        """Derive the subkey of one setting, 32 bytes, as secret as the root.

        Args:
            classes: K.
            draws: M.
            purpose: canonical text of the defense; see `draw`.

        Raises:
            SecretError: if there is no usable secret.
        """
        assert not isinstance(self.key, str)
        return self.subkey_of(self.key.root(), classes, draws, purpose)

    def subkey_of(self, root: bytes, classes: int, draws: int, purpose: str) -> bytes:
        """Derive the subkey from the bytes of a root secret; see `subkey`."""
        text = canonical_setting(classes, draws, self.cell_width, purpose)
        return subkey.subkey(root, self.model, bytes.fromhex(self.weights), text)


def _encodable(text: str) -> bool:
    """False for text with unpaired surrogates, which UTF-8 cannot encode."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def canonical_setting(classes: int, draws: int, cell_width: float, purpose: str) -> str:
    """Write all parameters as canonical text: JSON with sorted keys, floats by their bits.

    Args:
        classes: K.
        draws: M.
        cell_width: in logits.
        purpose: canonical text of the defense; see `Keyed.draw`.

    >>> canonical_setting(10, 1, 12.0, "doctest")
    '{"cell_width":"4028000000000000","classes":10,"draws":1,"purpose":"doctest"}'
    """
    values: dict[str, Any] = {
        "classes": int(classes),
        "draws": int(draws),
        "cell_width": struct.pack(">d", cell_width).hex(),
        "purpose": purpose,
    }
    return json.dumps(values, sort_keys=True, separators=(",", ":"))


def row_keys(cell_key: bytes, cells: Int32, labels: Int64) -> Words:
    """Derive the ChaCha20 key of each cell and label.

    It is the SipHash-2-4-128 of (0 | c | label), then of (1 | c | label): see `cells.encoded`.

    Args:
        cell_key: Kc, 16 bytes.
        cells: int32 [n, K].
        labels: int64 [n].

    Returns:
        uint32 [n, 8].
    """
    messages = np.concatenate([encoded(cells, labels, tag) for tag in (0, 1)])
    pairs = np.concatenate(np.split(siphash128(messages, cell_key), 2), axis=1)
    low, high = pairs & np.uint64(0xFFFFFFFF), pairs >> np.uint64(32)
    return np.stack([low, high], axis=-1).reshape(len(cells), 8).astype(np.uint32)


NOISES = {"keyed": Keyed}
