"""The proof of exclusion: the models that each training record was left out of."""

from __future__ import annotations

import base64
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np

from dynanoise.core.arrays.groups import check_groups
from dynanoise.core.errors import InputError
from dynanoise.core.files import write_json, writing
from dynanoise.core.numerics import Bools, Int64
from dynanoise.partition.cells import Cells
from dynanoise.partition.embeddings import Record
from dynanoise.partition.rows import count

VERSION = 2

_TRAIN_AGAIN = "Write it again with the models, or train them again."


@dataclass(frozen=True, eq=False)
class Exclusion:
    """The models that each training record was left out of.

    Attributes:
        left_out: bool [K, N], True where a model was not trained on a record.
        records: SHA-256 of the inputs of the records, in their order.
        cells: digest of the cells, see `Cells.digest`.
        groups: SHA-256 of the records' groups, which were left out together; "" without groups.

    >>> cells = Cells.fit(np.arange(8.0).reshape(4, 2), folds=2, width=0)
    >>> Exclusion.of(cells, np.array([[0.0, 1.0], [2.0, 3.0]])).left_out.sum(axis=0).tolist()
    [1, 1]
    """

    left_out: Bools
    records: str
    cells: str
    groups: str = ""

    @classmethod
    def of(cls, cells: Cells, inputs: Any, groups: Any = None) -> Self:
        """Leave each record out of the models whose folds its neighbourhood touches.

        Args:
            cells: the partition.
            inputs: [N, ...], the training records.
            groups: [N], the patient or user of each record; all records of a group are left out
                of every model that one of them is left out of.

        Raises:
            InputError: if there is no group for some record, or it is missing.
        """
        left_out, digest = cells.touched(inputs), ""
        if groups is not None:
            codes = _group_codes(groups, left_out.shape[1])
            digest = hashlib.sha256(codes.astype("<i8").tobytes()).hexdigest()
            together = np.zeros((len(left_out), codes.max(initial=-1) + 1), dtype=bool)
            for row, out in zip(together, left_out, strict=True):
                row[codes[out]] = True
            left_out = together[:, codes]
        return cls(left_out, records_digest(inputs), cells.digest, digest)

    @property
    def kept(self) -> float:
        """Share of the records that a model is trained on, on average."""
        return float(1 - self.left_out.mean()) if self.left_out.size else 0.0

    def rows(self, model: int) -> Int64:
        """Positions of the records that a model is trained on."""
        return np.flatnonzero(~self.left_out[model])

    def verify(self, cells: Cells, inputs: Any, groups: Any = None) -> None:
        """Compute the exclusion again from cells and records, and compare.

        Args:
            cells: the partition.
            inputs: [N, ...], the training records in the order of the training.
            groups: their groups, if they were left out by group.

        Raises:
            InputError: if the cells, the records or the groups are others, or a record is in a
                model that may answer its neighbourhood.
        """
        self.check_cells(cells)
        if records_digest(inputs) != self.records:
            raise InputError(
                f"These {count(inputs)} records are not the {self.left_out.shape[1]} of the "
                "training, or not in its order.",
                "Give the training data, with the columns of the training alone; a data frame as "
                "parquet.",
            )
        if self.groups and groups is None:
            raise InputError("Records were left out by group.", "Give the groups.")
        if not self.groups and groups is not None:
            raise InputError(
                "Records were not left out by group: the models were trained without groups.",
                "Verify without groups, or train the models again with groups.",
            )
        expected = Exclusion.of(cells, inputs, groups)
        if expected.groups != self.groups:
            raise InputError(
                "These are not the groups of the training.", "Give the groups of its records."
            )
        wrong = expected.left_out & ~self.left_out
        if wrong.any():
            model, record = np.argwhere(wrong)[0]
            raise InputError(
                f"{int(wrong.any(axis=0).sum())} records are in a model that may answer their "
                f"neighbourhood, such as record {record} in model {model}.",
                "Train the models again.",
            )

    def check_cells(self, cells: Cells) -> None:
        """Check that the exclusion is that of some cells.

        Raises:
            InputError: if it was made with other cells, or under another key.
        """
        if cells.digest != self.cells:
            raise InputError(
                f"The models were trained with the cells {self.cells[:12]}, and these are "
                f"{cells.digest[:12]}.",
                "Give the cells and the key of the training.",
            )

    def write(self, path: str | Path) -> None:
        """Write the exclusion as JSON with its own digest.

        Raises:
            InputError: if it cannot be written.
        """
        path = Path(path)
        packed = base64.b64encode(np.packbits(self.left_out).tobytes()).decode()
        content = {
            "version": VERSION,
            "models": len(self.left_out),
            "training_records": self.left_out.shape[1],
            "groups": self.groups,
            "cells": self.cells,
            "records": self.records,
            "left_out": packed,
        }
        with writing(path):
            write_json(path, {**content, "sha256": _digest(content)})

    @classmethod
    def read(cls, path: str | Path) -> Self:
        """Read the file of `write`.

        Raises:
            InputError: if it cannot be read, is damaged, or is of another version.
        """
        path = Path(path)
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            digest = content.pop("sha256")
            if digest != _digest(content):
                raise ValueError("its digest does not fit")
            if content["version"] != VERSION:
                raise ValueError(f"it is of version {content['version']!r}")
            models, records = content["models"], content["training_records"]
            packed = np.frombuffer(base64.b64decode(content["left_out"]), np.uint8)
            bits = np.unpackbits(packed, count=models * records).astype(bool)
        except OSError as error:
            raise InputError(f"{path} cannot be read ({error.strerror}).", _TRAIN_AGAIN) from error
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise InputError(f"{path} is damaged: {error}.", _TRAIN_AGAIN) from error
        return cls(
            bits.reshape(models, records), content["records"], content["cells"], content["groups"]
        )


def _group_codes(groups: Any, records: int) -> Int64:
    """Number of each record's group, int64 [N], in the order of their first records."""
    names = check_groups(groups, records)
    _, first, codes = np.unique(names, return_index=True, return_inverse=True)
    return np.asarray(np.argsort(np.argsort(first))[codes])


def records_digest(inputs: Any) -> str:
    """SHA-256 of inputs of any kind in their order; numbers as float32."""
    digest = hashlib.sha256(f"{count(inputs)} ".encode())
    digest.update(np.ascontiguousarray(Record().exact(inputs)).data)
    return digest.hexdigest()


def _digest(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
