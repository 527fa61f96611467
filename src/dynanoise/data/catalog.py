"""Data by whatever names them: a registered name, a path, or an id of the hub."""

from __future__ import annotations

import inspect
from pathlib import Path

from dynanoise.core.errors import DataFileError
from dynanoise.core.registry import DATASETS
from dynanoise.data import hub, image_folder, tables
from dynanoise.data.dataset import Data
from dynanoise.data.hub_layout import Decoding, decode
from dynanoise.data.parts import from_files

HUB = "hub:"


def load(
    what: str,
    folder: Path | None = None,
    *,
    side: int | None = None,
    standardise: bool = False,
    tokenizer: str | None = None,
) -> Data:
    """The data that ``what`` names.

    What fits first: a registered name; ``hub:OWNER/NAME``; a file, see `tables.load`; a folder
    with ``train-*.parquet``, see `layout.decode`; a folder of images, see `image_folder.load`.

    Args:
        what: the name.
        folder: where registered data sets are looked for first.
        side: of images that are not registered: resize to side x side.
        standardise: of tables: bring the columns to mean 0 and standard deviation 1.
        tokenizer: of texts: the pretrained model whose tokenizer is used, see `checkpoints.find`.

    Raises:
        UnknownNameError, DataFileError: if it is neither a registered name nor there.
        DynaNoiseError: whatever the loader raises.

    >>> load("digits").inputs.shape
    (1797, 64)
    """
    if what in DATASETS.names():
        loader = DATASETS.get(what)
        texts = tokenizer is not None and "tokenizer" in inspect.signature(loader).parameters
        named: Data = loader(folder, tokenizer=tokenizer) if texts else loader(folder)
        return named
    how = Decoding(side=side, tokenizer=tokenizer)
    if what.startswith(HUB):
        return hub.load(what.removeprefix(HUB), how)
    path = Path(what)
    if path.is_file():
        return tables.load(path, standardise=standardise)
    if path.is_dir():
        parts = from_files(path)
        if parts:
            return decode(path.resolve().name, parts, how)
        return image_folder.load(path, side)
    if len(path.parts) < 2 and not path.suffix:
        DATASETS.get(what)  # raises, and suggests the closest name
    raise DataFileError(
        f"There is nothing at {what}.",
        f"Pass a registered name ({', '.join(DATASETS.names())}), a path, or {HUB}OWNER/NAME.",
    )
