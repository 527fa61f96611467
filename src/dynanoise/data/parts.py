"""The parts of a published data set: rows of images or sentences with labels."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from dynanoise.core.errors import DataFileError
from dynanoise.core.extras import require

NAMES = ("train", "validation", "test")
"""Parts as the hubs call them, in the order of their rows in `Data`."""

IMAGES = ("image", "img")
TEXTS = ("sentence", "text")


@dataclass(frozen=True, eq=False)
class Rows:
    """What a part holds, not decoded.

    Attributes:
        kind: what the values are.
        values: encoded images (bytes) or sentences (str).
        labels: whole numbers or texts; None or -1 where they are hidden.
        class_names: as the publisher numbers them, or ().
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
        """SHA-256 over everything, 64 hexadecimal digits."""
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
        digest: SHA-256 of where it comes from.
        read: reads it.
    """

    name: str
    digest: str
    read: Callable[[], Rows]


def from_files(folder: Path) -> list[Part]:
    """The parts that lie in a folder as ``train-*.parquet`` and the like; [] without a train part.

    They lie in the folder itself or in one of its sub-folders, as the hubs lay them out.

    Raises:
        DataFileError: later, when a part is read that is no parquet file of that layout.
    """
    if not folder.is_dir():
        return []
    subfolders = sorted(path for path in folder.iterdir() if path.is_dir())
    for place in (folder, *subfolders):
        files = {name: sorted(place.glob(f"{name}[-.]*parquet")) for name in NAMES}
        if files["train"]:
            return [_from_files(name, paths) for name, paths in files.items() if paths]
    return []


def _from_files(name: str, paths: list[Path]) -> Part:
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


def rows(table: Any, where: str) -> Rows:
    """The image or sentence column of an Arrow table, and its labels.

    Args:
        table: a ``pyarrow.Table`` with ``label`` and one of `IMAGES` (a struct of bytes and path,
            or plain bytes) or `TEXTS`.
        where: its name for messages.

    Raises:
        DataFileError: if a column is missing, or a row has no value.
    """
    columns = table.column_names
    found = [name for name in (*IMAGES, *TEXTS) if name in columns]
    if "label" not in columns or not found:
        raise DataFileError(
            f"{where} has the columns {', '.join(columns)}.",
            "A data set of the hubs' layout has label, and image or img, or sentence or text.",
        )
    values = table.column(found[0]).to_pylist()
    if found[0] in IMAGES:
        values = [_content(value) for value in values]
    expected: type = bytes if found[0] in IMAGES else str
    odd = next((row for row, value in enumerate(values) if not isinstance(value, expected)), None)
    if odd is not None:
        raise DataFileError(
            f"{where} has no {expected.__name__} in row {odd} of its column {found[0]}.",
            "Fill it in or leave the row out.",
        )
    return Rows(
        kind="images" if found[0] in IMAGES else "texts",
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
    """Names from what the hub's library writes beside the schema."""
    try:
        features = json.loads((metadata or {})[b"huggingface"])["info"]["features"]
        return tuple(features["label"]["names"])
    except (LookupError, ValueError, TypeError):
        return ()
