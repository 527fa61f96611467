"""Sources of published data sets: folders, and then the hub.

The order is the folder that is passed, ``DYNANOISE_DATA``, ``../shared/data`` where it exists, and
the hub, which is only contacted when no folder has the set.
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
"""A folder of data sets that is used where it exists, relative to the current folder."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Published:
    """A data set that is published in the hub's layout.

    Attributes:
        name: the registered name.
        folders: possible names of its folder, the likeliest first.
        hub_id: its id on the hub, or None.
        required: parts without which a source does not count.
    """

    name: str
    folders: tuple[str, ...]
    hub_id: str | None
    required: tuple[str, ...]


def folders(folder: Path | None = None) -> list[Path]:
    """The local folders of data sets, in the order in which they are tried.

    Args:
        folder: the first one, ``--data`` of the command line.

    Raises:
        MissingDataError: if it or DYNANOISE_DATA is given and not a folder.
    """
    places = []
    variable = os.environ.get("DYNANOISE_DATA")
    named = (("--data", folder), ("DYNANOISE_DATA", Path(variable) if variable else None))
    for setting, place in named:
        if place is None:
            continue
        if not place.is_dir():
            raise MissingDataError(
                f"{setting} is {place}, which is not a folder.",
                "Name the folder that holds the data sets' folders.",
            )
        places.append(place)
    return [*places, SHARED] if SHARED.is_dir() else places


def local(published: Published, folder: Path | None = None) -> list[Part]:
    """Find the parts of a data set in the first local folder that has it; [] without one.

    Its files lie in ``FOLDER/NAME``, or in FOLDER itself if that is its name.

    Args:
        published: the data set.
        folder: see `folders`.
    """
    for place in folders(folder):
        for name in published.folders:
            for candidate in (place / name, *([place] if place.resolve().name == name else [])):
                parts = parts_of_folder(candidate)
                if set(published.required) <= {part.name for part in parts}:
                    _log.info("%s is read from %s.", published.name, candidate)
                    return parts
        if place != SHARED:  # the user named it
            _log.warning("%s is not in %s; looking elsewhere.", published.name, place)
    return []


def find(published: Published, folder: Path | None = None) -> list[Part]:
    """Find the parts of a data set in the first source that has it, the training part first.

    Args:
        published: the data set.
        folder: see `folders`.

    Raises:
        MissingDataError: if no source has it.
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
    """The error of a data set that no source has.

    Args:
        published: the data set.
        because: the hub's reason in brackets, with a space before it, or "".
    """
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


def load_published(
    published: Published, folder: Path | None = None, decoding: Decoding = AS_PUBLISHED
) -> Data:
    """Load a published data set from the first source that has it, decoded or from the cache.

    Args:
        published: the data set.
        folder: see `folders`.
        decoding: see `Decoding`.

    Raises:
        MissingDataError: if no source has it.
        MissingExtraError: if pyarrow or Pillow is not installed.
        DataFileError: if its files do not hold what they should.
    """
    return decode(published.name, find(published, folder), decoding)
