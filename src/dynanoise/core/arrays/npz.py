"""Arrays of a user's npz and npy files, read without pickle."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from dynanoise.core.errors import DataFileError, DynaNoiseError

UNREADABLE = (OSError, ValueError, EOFError, TypeError, zipfile.BadZipFile)
"""Errors of NumPy at files that it cannot read."""


class Npz(NamedTuple):
    """An open npz file.

    Attributes:
        path: the file.
        names: names of its arrays.
        arrays: the file as NumPy opens it.
    """

    path: Path
    names: tuple[str, ...]
    arrays: Any

    def read(self, name: str) -> npt.NDArray[Any]:
        """Read an array.

        Raises:
            DataFileError: if it holds Python objects, such as texts of pandas.
        """
        try:
            array: npt.NDArray[Any] = self.arrays[name]
        except ValueError as error:
            if holds_objects(error):
                raise objects_error(f"{self.path}", "npz", repr(name)) from error
            raise
        return array


@contextmanager
def open_npz(path: Path, remedy: str) -> Iterator[Npz]:
    """Open a file of arrays.

    Args:
        path: the file.
        remedy: a sentence on the arrays to save, if the file cannot be read.

    Raises:
        DataFileError: if it cannot be read, also inside the ``with`` statement.
    """
    try:
        # Opened here, because NumPy leaves a damaged file open.
        with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
            yield Npz(path, tuple(file.files), file)
    except UNREADABLE as error:
        if isinstance(error, DynaNoiseError):
            raise
        raise DataFileError(
            f"{path} cannot be read as npz without pickle ({type(error).__name__}).", remedy
        ) from error


def holds_objects(error: Exception) -> bool:
    """Tell NumPy's refusal of Python objects from its other errors."""
    return any(words in str(error) for words in ("Object arrays", "Python objects"))


def objects_error(file: str, kind: str, array: str) -> DataFileError:
    """Make the error of an array of Python objects.

    Args:
        file: the file.
        kind: its kind, "npz" or "an array".
        array: its array in messages.
    """
    return DataFileError(
        f"{file} cannot be read as {kind} without pickle: {array} holds Python objects.",
        "Save texts with dtype=str, such as y.to_numpy(dtype=str) of pandas, and numbers with "
        "dtype=float.",
    )
