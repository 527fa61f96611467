"""Small files in the layouts that are read."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from dynanoise.data.images import UInt8

pytest.importorskip("PIL", reason="data need pillow: pip install 'dynanoise[data]'")
arrow: Any = pytest.importorskip("pyarrow", reason="data need pyarrow")
parquet: Any = pytest.importorskip("pyarrow.parquet", reason="data need pyarrow")

SENTENCES = ["a good film", "a bad film", "not a good film ...", "bad , bad"]
TEST_SENTENCES = ["an excellent film", "good !"]


def pixels(count: int, side: int = 8, seed: int = 0) -> UInt8:
    """Random images uint8 [count, side, side, 3]."""
    return np.random.default_rng(seed).integers(0, 256, (count, side, side, 3), dtype=np.uint8)


def encoded(image: npt.NDArray[np.uint8], kind: str = "PNG") -> bytes:
    """One image as a PNG, which loses nothing, or another format."""
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(image).save(file, kind)
    return file.getvalue()


def image_table(images: UInt8, labels: list[Any], names: list[str] | None, column: str) -> Any:
    """A table in the layout of the hub's library: a struct column, class names in the schema."""
    structs = [{"bytes": encoded(image), "path": None} for image in images]
    table = arrow.table(
        {
            column: arrow.array(
                structs, arrow.struct([("bytes", arrow.binary()), ("path", arrow.string())])
            ),
            "label": labels,
        }
    )
    if names is None:
        return table
    features = {"label": {"names": names, "_type": "ClassLabel"}}
    body = json.dumps({"info": {"features": features}})
    return table.replace_schema_metadata({"huggingface": body})


def write_images(
    folder: Path,
    parts: dict[str, tuple[UInt8, list[Any]]],
    names: list[str] | None = None,
    column: str = "img",
) -> None:
    """PART-00000-of-00001.parquet for each part."""
    folder.mkdir(parents=True, exist_ok=True)
    for part, (images, labels) in parts.items():
        table = image_table(images, labels, names, column)
        parquet.write_table(table, folder / f"{part}-00000-of-00001.parquet")


def write_texts(folder: Path, parts: dict[str, tuple[list[str], list[int]]]) -> None:
    """The same of sentences."""
    folder.mkdir(parents=True, exist_ok=True)
    for part, (sentences, labels) in parts.items():
        table = arrow.table({"sentence": sentences, "label": labels})
        parquet.write_table(table, folder / f"{part}-00000-of-00001.parquet")
