"""Where published data sets come from.

In this order: the folder that is passed, ``DYNANOISE_DATA``, ``../shared/data`` when it exists,
and the hub, which is only asked when no folder has the set.
"""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass
from pathlib import Path

from dynanoise.core.errors import MissingDataError, MissingExtraError
from dynanoise.data.dataset import Data
from dynanoise.data.hub import HubError
from dynanoise.data.hub_layout import (
    AS_PUBLISHED,
    Decoding,
    Part,
    decode,
    parts_of_folder,
    parts_of_hub,
)

SHARED = Path("../shared/data")
"""Looked in when it exists, relative to the current folder."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Published:
    """A data set that somebody publishes in the hubs' layout.

    Attributes:
        name: the registered name.
        folders: what its folder is called, the likeliest first.
        hub_id: where the hub has it, or None.
        required: its parts without which it counts as not there.
    """

    name: str
    folders: tuple[str, ...]
    hub_id: str | None
    required: tuple[str, ...]


def folders(folder: Path | None = None) -> list[Path]:
    """The local folders that are looked in, in order.

    Args:
        folder: the one that is passed, ``--data`` of the command line.

    Raises:
        MissingDataError: if it or DYNANOISE_DATA is given and not a folder.
    """
    places = []
    told = os.environ.get("DYNANOISE_DATA")
    for said, place in (("--data", folder), ("DYNANOISE_DATA", Path(told) if told else None)):
        if place is None:
            continue
        if not place.is_dir():
            raise MissingDataError(
                f"{said} is {place}, which is not a folder.",
                "Name the folder that holds the data sets' folders.",
            )
        places.append(place)
    return [*places, SHARED] if SHARED.is_dir() else places


def local(published: Published, folder: Path | None = None) -> list[Part]:
    """The parts of a data set in the first local folder that has it, or [].

    Its files are looked for in ``FOLDER/NAME``, and in FOLDER itself if that is called so.
    """
    for place in folders(folder):
        for name in published.folders:
            for candidate in (place / name, *([place] if place.resolve().name == name else [])):
                parts = parts_of_folder(candidate)
                if set(published.required) <= {part.name for part in parts}:
                    _log.info("%s is read from %s.", published.name, candidate)
                    return parts
        if place != SHARED:  # somebody named it
            _log.warning("%s is not in %s; looking elsewhere.", published.name, place)
    return []


def find(published: Published, folder: Path | None = None) -> list[Part]:
    """The parts of a data set from the first place that has it, the training part first.

    Raises:
        MissingDataError: if no place has it.
    """
    parts = local(published, folder)
    if parts:
        return parts
    if published.hub_id is None:
        raise missing(published, "")
    try:
        parts = parts_of_hub(published.hub_id)
    except (MissingExtraError, HubError) as error:
        raise missing(published, f" ({error})") from error
    if not set(published.required) <= {part.name for part in parts}:
        raise missing(published, f" (whose copy lacks one of {', '.join(published.required)})")
    return parts


def missing(published: Published, because: str) -> MissingDataError:
    """What to say when no place has a data set."""
    third = (
        f"let it be fetched from the hub as {published.hub_id}{because}"
        if published.hub_id
        else f"put it into {SHARED}"
    )
    return MissingDataError(
        f"The data set {published.name} is not at hand.",
        f"Pass --data DIR where DIR/{published.folders[0]} holds its parquet files, or set "
        f"DYNANOISE_DATA to such a DIR, or {third}.",
    )


def load(
    published: Published, folder: Path | None = None, decoding: Decoding = AS_PUBLISHED
) -> Data:
    """A published data set from the first place that has it, decoded or from the cache.

    Raises:
        MissingDataError: if no place has it.
        MissingExtraError: if pyarrow or Pillow is not installed.
        DataFileError: if its files do not hold what they should.
    """
    return decode(published.name, find(published, folder), decoding)
