"""The hubs' layout to `Data`: parts of encoded images or sentences, decoded once."""

from __future__ import annotations

import logging
from dataclasses import asdict, dataclass
from typing import Any

from dynanoise.core.errors import DataFileError
from dynanoise.data import images, labels, pretrained, subwords, text
from dynanoise.data.cache import cached
from dynanoise.data.dataset import Data
from dynanoise.data.parts import Part, Rows
from dynanoise.data.subwords import Subwords
from dynanoise.data.text import Vocabulary

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Decoding:
    """How parts become arrays.

    Attributes:
        side: of images: resize to side x side; None leaves them as they are.
        least, most: of texts: how often a word of the vocabulary occurs at least, and how many
            words are kept.
        length: of texts: tokens of a record; None for 64 words, or up to 128 of a tokenizer's.
        tokenizer: of texts: the pretrained model whose tokenizer is used (see `pretrained.find`),
            instead of a vocabulary of the words of the training part.
    """

    side: int | None = None
    least: int = 2
    most: int = 20_000
    length: int | None = None
    tokenizer: str | None = None

    @property
    def longest(self) -> int:
        """Tokens of a record at most."""
        return self.length or (subwords.LENGTH if self.tokenizer else text.LENGTH)

    @property
    def key(self) -> dict[str, Any]:
        """What decides the arrays besides the parts; a tokenizer's contents, not its place.

        Raises:
            DynaNoiseError: as `pretrained.find` does.
        """
        chosen = {**asdict(self), "length": self.longest}
        del chosen["tokenizer"]
        if self.tokenizer is None:
            return chosen
        folder = pretrained.find(self.tokenizer).folder
        found = [pretrained.digest(folder, weights=False), pretrained.versions()]
        return {**chosen, "tokenizer": found}


AS_PUBLISHED = Decoding()


def decode(name: str, parts: list[Part], how: Decoding = AS_PUBLISHED) -> Data:
    """All labelled parts one after the other, the training part first.

    A part whose labels are all hidden (missing or -1) is left out, and a log line says so.

    Args:
        name: for `Data`.
        parts: the training part first.
        how: see `Decoding`.

    Returns:
        Images uint8 [N, H, W, 3] or tokens int32 [N, L], as `Vocabulary` or `Subwords` encode them;
        ``test_from`` is the end of the training part if another part follows.

    Raises:
        DataFileError, InputError: if a part does not hold what it should.
        MissingExtraError: if pyarrow or Pillow is not installed.
        DynaNoiseError: of `pretrained.find`, where a tokenizer is named.
    """
    key = {"parts": [[part.name, part.digest] for part in parts], "how": how.key}
    # Sentences need no Pillow, but then this costs nothing: the extra brings both.
    return cached(name, key | {"decoder": images.decoder()}, lambda: _decode(name, parts, how))


def _decode(name: str, parts: list[Part], how: Decoding) -> Data:
    read: list[Rows] = []
    for part in parts:
        rows = part.read()
        if rows.hidden and read:
            _log.info(
                "The labels of the %s part of %s are hidden; it is left out.", part.name, name
            )
        else:
            read.append(rows)
    train = read[0]
    if any(rows.kind != train.kind for rows in read):
        raise DataFileError(f"{name} has parts of images and of texts.", "Give it one kind.")
    numbers, found = labels.encode([label for rows in read for label in rows.labels], name)
    names = found or train.class_names
    values = [value for rows in read for value in rows.values]
    vocabulary: Vocabulary | Subwords | None = None
    if train.kind == "images":
        inputs = images.decode(values, len(values), lambda row: f"Row {row} of {name}", how.side)
    else:
        vocabulary = (
            Subwords.of(how.tokenizer)
            if how.tokenizer
            else Vocabulary.learn(train.values, least=how.least, most=how.most)
        )
        inputs = vocabulary.encode(values, how.longest)  # type: ignore[assignment]
    return Data(
        name=name,
        inputs=inputs,
        labels=numbers,
        classes=labels.count(numbers, names),
        test_from=len(train.values) if len(read) > 1 else None,
        vocabulary_size=vocabulary.size if vocabulary else None,
        class_names=names,
    )
