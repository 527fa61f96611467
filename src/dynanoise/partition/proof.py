"""The files of a proof of exclusion: cells and exclusion in one folder."""

from __future__ import annotations

from pathlib import Path

from dynanoise.partition.cells import Cells
from dynanoise.partition.exclusion import Exclusion

CELLS, EXCLUSION = "cells.json", "exclusion.json"


def write_proof(folder: str | Path, cells: Cells, exclusion: Exclusion) -> None:
    """Write cells.json, its arrays, and exclusion.json.

    Args:
        folder: made if it is not there.
        cells: the partition.
        exclusion: the models that each training record was left out of.

    Raises:
        InputError: if a file cannot be written, or the exclusion is that of other cells.
        MissingExtraError: if safetensors is not installed.
    """
    exclusion.check_cells(cells)
    cells.write(Path(folder) / CELLS)
    exclusion.write(Path(folder) / EXCLUSION)


def read_proof(folder: str | Path) -> tuple[Cells, Exclusion]:
    """Read the files of `write_proof`.

    Args:
        folder: where they are.

    Raises:
        InputError: if a file cannot be read, is damaged, or is of another version; if the key is
            another one, or the exclusion that of other cells.
        SecretError: if the key is a secret and there is none.
        MissingExtraError: if safetensors is not installed.
    """
    exclusion = Exclusion.read(Path(folder) / EXCLUSION)
    cells = Cells.read(Path(folder) / CELLS)
    exclusion.check_cells(cells)
    return cells, exclusion
