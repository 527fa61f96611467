"""Arrays of other tools' folders, mapped into memory."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from dynanoise.audits.columns import Columns
from dynanoise.core.arrays.npz import UNREADABLE, holds_objects, objects_error
from dynanoise.core.errors import DataFileError
from dynanoise.evaluation.shards import PartedPool


@dataclass(frozen=True, eq=False)
class BroughtPool:
    """Outputs of another tool's folder.

    Attributes:
        name: the folder's name.
        kind: the tool, as results name it.
        pool: outputs with membership, read some records at a time.
        reference: outputs on records that no model was trained on, likewise; None without any.
        attacks: specifications of the attacks that these outputs allow; None for all.
        reason: why others are left out; empty if none are.
        notes: sentences for the report.
        columns: groups and persons of the records.
    """

    name: str
    kind: str
    pool: PartedPool
    reference: PartedPool | None = None
    attacks: tuple[str, ...] | None = None
    reason: str = ""
    notes: tuple[str, ...] = ()
    columns: Columns = field(default_factory=Columns)


def open_array(path: Path, *, texts: bool = False) -> npt.NDArray[Any]:
    """Open an npy file of numbers or booleans, mapped into memory.

    Args:
        path: the file.
        texts: whether texts are allowed as well.

    Returns:
        A read-only array.

    Raises:
        DataFileError: if the file is not found, or holds pickled objects, texts or no array.
    """
    try:
        array: npt.NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
    except FileNotFoundError as error:
        raise DataFileError(f"There is no file {path}.", "Check the folder.") from error
    except UNREADABLE as error:
        if holds_objects(error):
            raise objects_error(f"{path}", "an array", "it") from error
        raise DataFileError(
            f"{path} cannot be read as an array without pickle ({type(error).__name__}).",
            "Save an array of numbers: np.save(path, array).",
        ) from error
    if not isinstance(array, np.ndarray) or array.dtype.kind not in ("biufUS" if texts else "biuf"):
        raise DataFileError(
            f"{path} does not hold an array of numbers.", "Save one: np.save(path, array)."
        )
    return array


def in_order(paths: Iterable[Path]) -> list[Path]:
    """Sort paths by their names, numbers within them by value.

    >>> [path.name for path in in_order([Path("experiment-10"), Path("experiment-9")])]
    ['experiment-9', 'experiment-10']
    """

    def key(path: Path) -> list[tuple[int, str]]:
        parts = re.split(r"(\d+)", path.name)
        return [(int(part), "") if part.isdigit() else (0, part) for part in parts]

    return sorted(paths, key=key)
