"""Published data sets in the hub's layout: parts of encoded images or sentences, with labels."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from dynanoise.core.arrays.labels import class_numbers
from dynanoise.core.errors import DataFileError
from dynanoise.core.extras import require
from dynanoise.data import hub, images, pretrained, tables, text
from dynanoise.data.cache import cached
from dynanoise.data.dataset import Data
from dynanoise.data.text import Subwords, Vocabulary

NAMES = ("train", "validation", "test")
"""Parts as the hub calls them, in the order of their rows in `Data`."""

IMAGES = ("image", "img")
TEXTS = ("sentence", "text")

_log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Rows:
    """The contents of a part, not decoded.

    Attributes:
        kind: "images" or "texts".
        values: encoded images (bytes) or sentences (str).
        labels: whole numbers or texts; None or -1 where they are hidden.
        class_names: names in the order of the class numbers, or ().
    """

    kind: Literal["images", "texts"]
    values: list[Any]
    labels: list[Any]
    class_names: tuple[str, ...]

    @property
    def hidden(self) -> bool:
        """True if no row has a label, as in the test part of a competition."""
        return all(label is None or label == -1 for label in self.labels)

    @property
    def digest(self) -> str:
        """SHA-256 of all contents, 64 hexadecimal digits."""
        about = json.dumps([self.kind, self.labels, self.class_names], default=str)
        digest = hashlib.sha256(about.encode())
        for value in self.values:
            content = value.encode() if isinstance(value, str) else value
            digest.update(f"{len(content)}:".encode())
            digest.update(content)
        return digest.hexdigest()


@dataclass(frozen=True, eq=False)
class Part:
    """A part that can be recognised before it is read.

    Attributes:
        name: one of `NAMES`.
        digest: SHA-256 of its source.
        read: reads it.
    """

    name: str
    digest: str
    read: Callable[[], Rows]


def parts_of_folder(folder: Path) -> list[Part]:
    """Find the parts that lie in a folder as ``train-*.parquet`` and the like.

    They lie in the folder itself or in one of its sub-folders, as the hub lays them out.

    Args:
        folder: it may not exist.

    Returns:
        The parts, the training part first; [] without one.

    Raises:
        DataFileError: later, when a file is read that is not parquet of that layout.
    """
    if not folder.is_dir():
        return []
    subfolders = sorted(path for path in folder.iterdir() if path.is_dir())
    for place in (folder, *subfolders):
        files = {name: sorted(place.glob(f"{name}[-.]*parquet")) for name in NAMES}
        if files["train"]:
            return [_part_of_files(name, paths) for name, paths in files.items() if paths]
    return []


def _part_of_files(name: str, paths: list[Path]) -> Part:
    digest = hashlib.sha256()
    for path in paths:
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())

    def read() -> Rows:
        parquet = require("pyarrow.parquet", "Reading parquet files")
        arrow = require("pyarrow", "Reading parquet files")
        try:
            table = arrow.concat_tables([parquet.read_table(path) for path in paths])
        except (OSError, ValueError) as error:  # Arrow's errors are one or the other
            raise DataFileError(
                f"{paths[0]} cannot be read as parquet ({type(error).__name__}).",
                "Fetch it again.",
            ) from error
        return rows(table, str(paths[0]))

    return Part(name, digest.hexdigest(), read)


def parts_of_hub(hub_id: str) -> list[Part]:
    """Fetch the parts of a data set of the hub, the training part first.

    Args:
        hub_id: see `hub.tables`.

    Raises:
        HubError: if the hub does not give it.
        DataFileError: if it has another layout.
        MissingExtraError: if `datasets` is not installed.
    """
    fetched = hub.tables(hub_id)

    def part(name: str) -> Part:
        read = rows(fetched[name], f"The {name} part of {hub_id}")
        return Part(name, read.digest, lambda: read)

    return [part(name) for name in NAMES if name in fetched]


def rows(table: Any, where: str) -> Rows:
    """Read the image or sentence column of an Arrow table, and its labels.

    Args:
        table: a ``pyarrow.Table`` with ``label`` and one of `IMAGES` (a struct of bytes and path,
            or plain bytes) or `TEXTS`.
        where: its name for messages.

    Raises:
        DataFileError: if a column is missing, or a row has no value.
    """
    columns = table.column_names
    named = [name for name in (*IMAGES, *TEXTS) if name in columns]
    if "label" not in columns or not named:
        raise DataFileError(
            f"{where} has the columns {', '.join(columns)}.",
            "A data set of the hubs' layout has label, and image or img, or sentence or text.",
        )
    values = table.column(named[0]).to_pylist()
    if named[0] in IMAGES:
        values = [_content(value) for value in values]
    expected: type = bytes if named[0] in IMAGES else str
    odd = next((row for row, value in enumerate(values) if not isinstance(value, expected)), None)
    if odd is not None:
        raise DataFileError(
            f"{where} has no {expected.__name__} in row {odd} of its column {named[0]}.",
            "Fill it in or leave the row out.",
        )
    return Rows(
        kind="images" if named[0] in IMAGES else "texts",
        values=values,
        labels=table.column("label").to_pylist(),
        class_names=_class_names(table.schema.metadata),
    )


def _content(value: Any) -> Any:
    """The bytes of an image, which the hub's library may leave in a file of its cache."""
    if not isinstance(value, dict):
        return value
    content, path = value.get("bytes"), value.get("path")
    if content is None and path is not None and Path(path).is_file():
        return Path(path).read_bytes()
    return content


def _class_names(metadata: dict[bytes, bytes] | None) -> tuple[str, ...]:
    """Names that the hub's library writes beside the schema."""
    try:
        features = json.loads((metadata or {})[b"huggingface"])["info"]["features"]
        return tuple(features["label"]["names"])
    except (LookupError, ValueError, TypeError):
        return ()


@dataclass(frozen=True)
class Decoding:
    """Parameters of decoding parts to arrays.

    Attributes:
        side: size to which images are resized, side x side; None leaves them as they are.
        least: number of times a word must occur in texts to be in the vocabulary, >= 1.
        most: largest number of words in the vocabulary, >= 1.
        length: tokens of a text; None for 64 words, or up to 128 tokens of a tokenizer.
        tokenizer: the pretrained model whose tokenizer is used for texts (see `pretrained.find`),
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
        return self.length or (text.SUBWORDS if self.tokenizer else text.WORDS)

    @property
    def key(self) -> dict[str, Any]:
        """All that decides the arrays besides the parts; a tokenizer's contents, not its place.

        Raises:
            DynaNoiseError: if `pretrained.find` does not find the tokenizer.
        """
        parameters = {**asdict(self), "length": self.longest}
        del parameters["tokenizer"]
        if self.tokenizer is None:
            return parameters
        folder = pretrained.find(self.tokenizer).folder
        contents = [pretrained.digest(folder, weights=False), pretrained.versions()]
        return {**parameters, "tokenizer": contents}


AS_PUBLISHED = Decoding()


def decode(name: str, parts: list[Part], decoding: Decoding = AS_PUBLISHED) -> Data:
    """Decode all labelled parts one after the other, or read them from the cache.

    A part whose labels are all hidden (missing or -1) is left out, and a log line says so.

    Args:
        name: for `Data`.
        parts: the training part first.
        decoding: see `Decoding`.

    Returns:
        Images uint8 [N, H, W, 3] or tokens int32 [N, L], as `Vocabulary` or `Subwords` encode them;
        ``test_from`` is the end of the training part if another part follows.

    Raises:
        DataFileError, InputError: if a part does not hold what it should.
        MissingExtraError: if pyarrow or Pillow is not installed.
        DynaNoiseError: if `pretrained.find` does not find the tokenizer.
    """
    key = {"parts": [[part.name, part.digest] for part in parts], "how": decoding.key}
    # Sentences need no Pillow, but then this costs nothing: the extra brings both.
    return cached(name, key | {"decoder": images.decoder()}, lambda: _decode(name, parts, decoding))


def _decode(name: str, parts: list[Part], decoding: Decoding) -> Data:
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
    labels = [label for rows in read for label in rows.labels]
    texts = sorted({*labels}) if all(isinstance(label, str) for label in labels) else ()
    numbers, names = class_numbers(labels, f"The labels of {name}", names=texts)
    names = names or train.class_names
    values = [value for rows in read for value in rows.values]
    vocabulary: Vocabulary | Subwords | None = None
    if train.kind == "images":
        side = decoding.side
        inputs = images.decode_images(values, len(values), lambda row: f"Row {row} of {name}", side)
    else:
        vocabulary = (
            Subwords.of(decoding.tokenizer)
            if decoding.tokenizer
            else Vocabulary.learn(train.values, least=decoding.least, most=decoding.most)
        )
        inputs = vocabulary.encode(values, decoding.longest)  # type: ignore[assignment]
    return Data(
        name=name,
        inputs=inputs,
        labels=numbers,
        classes=tables.count_classes(numbers, names),
        test_from=len(train.values) if len(read) > 1 else None,
        vocabulary_size=vocabulary.size if vocabulary else None,
        class_names=names,
    )
