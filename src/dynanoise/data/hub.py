"""Data sets of the hub, through the `datasets` library."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

from dynanoise.core.errors import DynaNoiseError, MissingDataError
from dynanoise.core.extras import require
from dynanoise.data import online
from dynanoise.data.dataset import Data
from dynanoise.data.hub_layout import AS_PUBLISHED, Decoding, decode
from dynanoise.data.parts import NAMES, Part, rows


def load(hub_id: str, how: Decoding = AS_PUBLISHED) -> Data:
    """Any data set of the hub with image or img, or text or sentence, and label.

    Its parts train, validation and test become one `Data`, see `layout.decode`.

    Args:
        hub_id: "owner/name", or "owner/name:configuration" where it has several.
        how: see `Decoding`.

    Raises:
        MissingDataError: if the hub does not give it.
        DataFileError: if it is laid out otherwise.
        MissingExtraError: if `datasets` is not installed.
    """
    try:
        found = parts(hub_id)
    except DynaNoiseError:
        raise
    except Exception as error:  # the library's and its HTTP client's errors have no common base
        raise MissingDataError(
            f"The hub does not give the data set {hub_id!r} ({online.reason(error)}).",
            "Check its name and the connection, or pass a local folder of the same layout.",
        ) from error
    return decode(hub_id, found, how)


def parts(hub_id: str) -> list[Part]:
    """The parts of a hub data set, the training part first.

    Where the hub is out of reach, only what the library has kept of earlier calls is looked at.

    Raises:
        MissingExtraError: if `datasets` is not installed.
        Exception: whatever the library raises if it has not got it.
    """
    datasets = require("datasets", f"Fetching {hub_id} from the hub")
    name, _, configuration = hub_id.partition(":")
    reachable = online.reachable()
    try:
        with _offline(datasets, when=not reachable):
            found = datasets.load_dataset(name, *([configuration] if configuration else []))
    except Exception as error:
        if reachable:
            raise
        raise ConnectionError("the hub is out of reach") from error
    if "train" not in found:
        raise ValueError(f"it has the parts {', '.join(map(str, found))}, and no train")
    return [_part(hub_id, part, found[part]) for part in NAMES if part in found]


def _part(hub_id: str, name: str, part: Any) -> Part:
    # As Arrow the library leaves images encoded: decoding is the same for files and the hub.
    read = rows(part.with_format("arrow")[:], f"The {name} part of {hub_id}")
    return Part(name, read.digest, lambda: read)


@contextmanager
def _offline(datasets: Any, when: bool) -> Iterator[None]:
    """Keeps the library from the network; its own switch is only read when it is imported."""
    if not when:
        yield
        return
    constants = require("huggingface_hub.constants", "Fetching data")
    with (
        mock.patch.object(datasets.config, "HF_HUB_OFFLINE", True),
        mock.patch.object(constants, "HF_HUB_OFFLINE", True),
    ):
        yield
