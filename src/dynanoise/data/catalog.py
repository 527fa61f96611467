"""Data by name: a registered name with or without parameters, a path, or an id of the hub."""

from __future__ import annotations

from pathlib import Path

from dynanoise.core.errors import DataFileError, InputError, MissingDataError
from dynanoise.core.registry import DATASETS, parse
from dynanoise.data import images, tables
from dynanoise.data.dataset import Data
from dynanoise.data.hub import HubError
from dynanoise.data.hub_layout import AS_PUBLISHED, Decoding, decode, parts_of_folder, parts_of_hub

HUB = "hub:"


def registered_name(what: str) -> str | None:
    """Name of the registered data set that a specification is of; None for other data.

    Args:
        what: see `load_data`.

    >>> registered_name("digits"), registered_name("digits.csv")
    ('digits', None)
    """
    try:
        name = parse(what).name
    except InputError:  # a path with brackets in it
        return None
    return name if name in DATASETS.names() else None


def load_data(
    what: str,
    folder: Path | None = None,
    *,
    side: int | None = None,
    standardise: bool = False,
    tokenizer: str | None = None,
    label: str | None = None,
) -> Data:
    """Load the data set of a name or a path.

    The first of these that fits: a registered name, or a specification
    "NAME(PARAMETER=VALUE, ...)" of it; ``hub:OWNER/NAME``; a file, see `tables.load_table`; a
    folder with ``train-*.parquet``, see `hub_layout.decode`; a folder of images, see
    `images.load_folder`.

    Args:
        what: the name or the path.
        folder: where registered data sets are looked for first.
        side: size to which images that are not registered are resized, side x side.
        standardise: True brings the columns of a table to mean 0 and standard deviation 1.
        tokenizer: the pretrained model whose tokenizer is used for texts, see `pretrained.find`.
        label: name of the column of labels of a table, see `tables.read_table`.

    Raises:
        UnknownNameError, DataFileError: if there is neither such a name nor such a path.
        InputError: if there is a name of labels for something else than a table.
        DynaNoiseError: if the data set cannot be loaded.

    >>> load_data("digits").inputs.shape
    (1797, 64)
    """
    registered, path = registered_name(what), Path(what)
    table = registered is None and not what.startswith(HUB) and path.is_file()
    if label is not None and not table:
        raise InputError(
            f"The column of labels is {label!r}, and {what} is not a table.", "Leave --label out."
        )
    if registered is not None:
        context = {"folder": folder, "tokenizer": tokenizer}
        names = DATASETS.parameters(registered)
        parameters = {**parse(what).parameters, **{k: v for k, v in context.items() if k in names}}
        data: Data = DATASETS.make(registered, parameters)
        return data
    decoding = Decoding(side=side, tokenizer=tokenizer)
    if what.startswith(HUB):
        return load_from_hub(what.removeprefix(HUB), decoding)
    if table:
        return tables.load_table(path, standardise=standardise, label=label)
    if path.is_dir():
        parts = parts_of_folder(path)
        if parts:
            return decode(path.resolve().name, parts, decoding)
        return images.load_folder(path, side)
    if len(path.parts) < 2 and not path.suffix:
        DATASETS.get(what)  # raises, and suggests the closest name
    raise DataFileError(
        f"There is nothing at {what}.",
        f"Pass a registered name ({', '.join(DATASETS.names())}), a path, or {HUB}OWNER/NAME.",
    )


def load_from_hub(hub_id: str, decoding: Decoding = AS_PUBLISHED) -> Data:
    """Load a data set of the hub with image or img, or text or sentence, and label.

    Its parts train, validation and test become one `Data`, see `hub_layout.decode`.

    Args:
        hub_id: "OWNER/NAME", or "OWNER/NAME:CONFIGURATION" where it has several.
        decoding: see `Decoding`.

    Raises:
        MissingDataError: if the hub does not give it.
        DataFileError: if it has another layout.
        MissingExtraError: if `datasets` is not installed.
    """
    try:
        parts = parts_of_hub(hub_id)
    except HubError as error:
        raise MissingDataError(
            f"The hub does not give the data set {hub_id!r} ({error}).",
            "Check its name and the connection, or pass a local folder of the same layout.",
        ) from error
    return decode(hub_id, parts, decoding)
