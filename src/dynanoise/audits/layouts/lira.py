"""Folders of LiRA: tensorflow/privacy's mi_lira_2021, orientino/lira-pytorch, and their forks.

```text
FOLDER/y_train.npy                    int [N], the true classes (missing in forks: --labels FILE)
FOLDER/experiment-*/keep.npy          bool [N], the model's members (forks: NUMBER/keep.npy)
FOLDER/experiment-*/keep_indices.npy  or int, positions of the members
FOLDER/experiment-*/logits/*.npy      float [N, 1, A, K], [N, A, K] or [N, K], the last by name
FOLDER/experiment-*/logits.npy        or one file
FOLDER/experiment-*/scores/*.npy      or, where logits are gone, [N, A]: ln(p_y / (1 - p_y))
```

A = inputs for each record (augmentations), K = classes.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from dynanoise.audits.layouts.arrays import BroughtPool, in_order, open_array
from dynanoise.core.arrays.labels import check_labels
from dynanoise.core.errors import DataFileError, InputError, check
from dynanoise.core.numerics import Int8, Int64
from dynanoise.core.outputs import Outputs
from dynanoise.evaluation.shards import PartedPool

LABELS = "y_train.npy"
_KEPT = ("keep.npy", "keep_indices.npy")

OF_SCORES = (
    "lira",
    "rmia",
    "population",
    "tempered_ratio(temperature=1)",
    "threshold(statistic=scaled_logit)",
)
"""Attacks that need no more of an output than the probability of the true class."""

_SCORES_ONLY = (
    "The folder holds LiRA's scores and no logits, so attacks that need all probabilities were "
    "left out: keep the logits to run them."
)


@dataclass(frozen=True, eq=False)
class LiraFiles(PartedPool):
    """Outputs of the models of a LiRA folder.

    Attributes:
        files: one for each of M models, logits or scores.
        truth: int64 [N], the true classes; zeros for scores.
        member: int8 [M, N].
        scores: True for files of scores [N, A], read as logits [phi, 0] of two classes.
        size: records of one part.
    """

    files: tuple[Path, ...]
    truth: Int64
    member: Int8
    scores: bool
    size: int = 5_000

    @property
    def use(self) -> Int8:
        """See `PartedPool`."""
        return self.member

    @property
    def labels(self) -> Int64:
        """See `PartedPool`."""
        return self.truth

    def part(self, records: slice) -> Outputs:
        """See `PartedPool`.

        Raises:
            InputError: if a file holds NaN or infinity.
        """
        first = _rows(self.files[0], records, self.scores)
        logits = np.empty((len(self.files), *first.shape), dtype=first.dtype)
        for model, path in enumerate(self.files):
            logits[model] = first if model == 0 else _rows(path, records, self.scores)
        ids = np.arange(len(self.labels))[records]
        return Outputs(logits, self.labels[records], ids, self.member[:, records])


def is_lira_folder(folder: Path) -> bool:
    """True if a subfolder tells the members of a model."""
    return bool(_models(folder))


def read_lira_folder(folder: Path, labels: Path | None = None) -> BroughtPool:
    """Open a LiRA folder.

    Args:
        folder: with one subfolder for each model.
        labels: npy file of the true classes, for folders without ``y_train.npy``.

    Returns:
        Outputs and membership.

    Raises:
        DataFileError: if a file is missing or cannot be read.
        InputError: if shapes, labels or membership do not fit together.
    """
    models = _models(folder)
    outputs = [_outputs(model) for model in models]
    scores = {is_scores for _, is_scores in outputs}
    check(
        len(scores) == 1,
        f"Some models of {folder} have logits and others have only scores.",
        "Keep the logits of all models.",
    )
    files = tuple(path for path, _ in outputs)
    shapes = [open_array(path).shape for path in files]
    of_scores = scores.pop()
    records = _check_shapes(files, shapes, of_scores)
    truth = np.zeros(records, np.int64) if of_scores else _labels(folder, labels, files[0], records)
    member = np.stack([_membership(model, records) for model in models])
    inputs = shapes[0][-1] if of_scores else 1 if len(shapes[0]) == 2 else shapes[0][-2]
    notes = [f"{len(models)} models were read from {folder.name}, in the layout of LiRA."]
    if inputs > 1:
        notes.append(
            f"LiRA, RMIA and the tempered ratio use the outputs on all {inputs} inputs of a "
            "record, other attacks that on the first."
        )
    pool = LiraFiles(files, truth, member, of_scores)
    if of_scores:
        return BroughtPool(
            folder.name, "LiRA scores", pool, None, OF_SCORES, _SCORES_ONLY, tuple(notes)
        )
    return BroughtPool(folder.name, "LiRA logits", pool, notes=tuple(notes))


def _models(folder: Path) -> list[Path]:
    return in_order(
        path
        for path in folder.iterdir()
        if path.is_dir() and any((path / name).is_file() for name in _KEPT)
    )


def _outputs(model: Path) -> tuple[Path, bool]:
    """The newest file of logits of a model, else of scores; and True for scores."""
    for name, is_scores in (("logits", False), ("scores", True)):
        if (model / f"{name}.npy").is_file():
            return model / f"{name}.npy", is_scores
        if files := sorted((model / name).glob("*.npy")):
            return files[-1], is_scores
    raise DataFileError(
        f"{model} holds neither logits nor scores.",
        "Run the tool's inference step, which writes logits.npy or logits/*.npy, on every model.",
    )


def _check_shapes(files: tuple[Path, ...], shapes: list[tuple[int, ...]], scores: bool) -> int:
    """The number of records N, if all files have one shape."""
    first = shapes[0]
    for path, shape in zip(files, shapes, strict=True):
        check(
            shape == first,
            f"{path} has shape {shape}, and {files[0]} {first}.",
            "Query all models with the same records and inputs.",
        )
    fits = len(first) == 2 if scores else len(first) in {2, 3} or (len(first) == 4 == 3 + first[1])
    layout = "[N, A]" if scores else "[N, K], [N, A, K] or [N, 1, A, K]"
    check(fits, f"{files[0]} has shape {first}.", f"A LiRA folder holds {layout}.")
    return first[0]


def _rows(path: Path, records: slice, scores: bool) -> npt.NDArray[Any]:
    """Logits [n, A, K] of some records; the file is open no longer than that."""
    mapped = open_array(path)
    check(mapped.dtype.kind == "f", f"{path} has dtype {mapped.dtype}.", "Logits are floats.")
    rows = np.array(mapped[records], dtype=np.float32 if mapped.dtype.itemsize <= 4 else np.float64)
    check(bool(np.isfinite(rows).all()), f"{path} holds NaN or infinity.", "Query the model anew.")
    if scores:
        return np.stack([rows, np.zeros_like(rows)], axis=-1)
    return rows.reshape(len(rows), -1, rows.shape[-1])


def _labels(folder: Path, given: Path | None, outputs: Path, records: int) -> Int64:
    path = folder / LABELS
    if given is not None:
        path = given
    elif not path.is_file():
        raise DataFileError(
            f"{folder} holds no {LABELS}, the true classes of its {records:,} records.",
            "Name a file of them, in the order of the logits: --labels FILE.npy.",
        )
    values = open_array(path)
    classes = open_array(outputs).shape[-1]
    numbers = check_labels(np.array(values), path.name, classes=classes)
    check(
        len(numbers) >= records,
        f"{path} holds {len(numbers):,} labels for {records:,} records.",
        "Give the true class of each record.",
    )
    # The tool itself scores the first records where there are logits of some only.
    return np.asarray(numbers[:records], dtype=np.int64)


def _membership(model: Path, records: int) -> Int8:
    """Membership int8 [N] of one model."""
    path = model / _KEPT[0]
    if not path.is_file():
        path = model / _KEPT[1]
        positions = np.array(open_array(path))
        kept = np.zeros(records, dtype=np.int8)
        inside = (positions >= 0) & (positions < records)
        whole = positions.ndim == 1 and positions.dtype.kind in "iu" and bool(inside.all())
        check(
            whole,
            f"{path} holds other than positions from 0 to {records - 1}.",
            "It lists the positions of the model's members.",
        )
        kept[positions] = 1
        return kept
    values = np.array(open_array(path))
    fits = values.ndim == 1 and len(values) >= records and bool(np.isin(values, (0, 1)).all())
    if not fits:
        raise InputError(
            f"{path} has shape {values.shape} and dtype {values.dtype} for {records:,} records.",
            "It tells for each record, True or False, whether the model was trained on it.",
        )
    return values[:records].astype(np.int8)
