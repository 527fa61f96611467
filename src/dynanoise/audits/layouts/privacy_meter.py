"""The log_dir of Privacy Meter: probabilities of the true class alone.

```text
FOLDER/models/memberships.npy           bool [M, N]
FOLDER/signals/*_signals.npy            float [N, M], softmax of the true class
FOLDER/signals/*_signals_pop.npy        float [P, M], of records that no model was trained on
FOLDER/report/exp/attack_result_*.npz   the tool's own numbers
```

They are read as two classes [p_y, 1 - p_y] with label 0.
"""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dynanoise.audits.layouts.arrays import BroughtPool, in_order, open_array
from dynanoise.audits.layouts.lira import OF_SCORES
from dynanoise.core import numerics
from dynanoise.core.errors import DataFileError, check
from dynanoise.core.numerics import Float64, Int8, Int64
from dynanoise.core.outputs import Outputs
from dynanoise.evaluation.shards import PartedPool

MEMBERSHIPS = Path("models", "memberships.npy")

_TRUE_CLASS_ONLY = (
    "The folder holds the probability of the true class alone, so attacks that need all "
    "probabilities, and accuracy, were left out."
)


@dataclass(frozen=True, eq=False)
class SignalFile(PartedPool):
    """Probabilities of the true class, as outputs of two classes.

    Attributes:
        path: file of float [N, M].
        member: int8 [M, N].
        first: id of the first record.
        size: records of one part.
    """

    path: Path
    member: Int8
    first: int = 0
    size: int = 5_000

    @property
    def use(self) -> Int8:
        """See `PartedPool`."""
        return self.member

    @property
    def labels(self) -> Int64:
        """See `PartedPool`: the true class is the first of two."""
        return np.zeros(self.member.shape[1], dtype=np.int64)

    def part(self, records: slice) -> Outputs:
        """See `PartedPool`.

        Raises:
            InputError: if a value is not a probability.
        """
        mapped = open_array(self.path)
        check(mapped.dtype.kind == "f", f"{self.path} has dtype {mapped.dtype}.", "Save floats.")
        probs: Float64 = np.array(mapped[records], dtype=np.float64).T
        check(
            bool(((probs >= 0) & (probs <= 1)).all()),
            f"{self.path} holds values that are not in 0..1.",
            "Signals are the softmax of the true class, as get_signals.py of the tool writes them.",
        )
        # Where rounding made p_y 1, the rest is about half of the last place.
        rest = np.maximum(1 - probs, np.finfo(mapped.dtype).epsneg / 2)
        logits = numerics.log_probabilities(np.stack([probs, rest], axis=-1))[:, :, None]
        ids = self.first + np.arange(self.member.shape[1])[records]
        return Outputs(logits, np.zeros(len(ids), dtype=np.int64), ids, self.member[:, records])


def is_privacy_meter_folder(folder: Path) -> bool:
    """True if the folder holds the tool's file of memberships."""
    return (folder / MEMBERSHIPS).is_file()


def read_privacy_meter_folder(folder: Path) -> BroughtPool:
    """Open a log_dir of Privacy Meter.

    Args:
        folder: with memberships and signals.

    Returns:
        Outputs and membership; the signals of the population are the reference set.

    Raises:
        DataFileError: if there are no signals, or a file cannot be read.
        InputError: if shapes do not fit together.
    """
    signals = [
        path
        for path in in_order((folder / "signals").glob("*_signals.npy"))
        if not path.name.endswith("_ramia_signals.npy")
    ]
    if not signals:
        raise DataFileError(
            f"{folder / 'signals'} holds no *_signals.npy.",
            "Run the tool's run_mia.py, which writes the signals of all models.",
        )
    path = signals[0]
    member = np.array(open_array(folder / MEMBERSHIPS))
    shape = open_array(path).shape
    check(
        member.ndim == 2 and bool(np.isin(member, (0, 1)).all()),
        f"{folder / MEMBERSHIPS} has shape {member.shape} and dtype {member.dtype}.",
        "It tells for M models and N records whether the model was trained on the record.",
    )
    check(
        shape == member.shape[::-1],
        f"{path} has shape {shape}, and the memberships {member.shape}.",
        "Signals are [N, M] of all N records of the memberships [M, N]; the tool does not record "
        "which ones audit.data_size draws, so run it without.",
    )
    use = member.astype(np.int8)
    population = path.with_name(f"{path.stem}_pop.npy")
    reference = None
    if population.is_file():
        beyond = open_array(population).shape
        check(
            len(beyond) == 2 and beyond[1] == len(use),
            f"{population} has shape {beyond} for {len(use)} models.",
            "Signals of the population are [P, M].",
        )
        nowhere = np.zeros(beyond[::-1], dtype=np.int8)
        reference = SignalFile(population, nowhere, first=shape[0])
    notes = (
        f"{len(use)} models were read from {folder.name}, in the layout of Privacy Meter.",
        *_own_numbers(folder / "report" / "exp"),
    )
    pool = SignalFile(path, use)
    kind = "Privacy Meter signals"
    return BroughtPool(folder.name, kind, pool, reference, OF_SCORES, _TRUE_CLASS_ONLY, notes)


def _own_numbers(folder: Path) -> tuple[str, ...]:
    """A sentence with the AUC that the tool found itself, where it was kept."""
    areas = []
    for path in in_order(folder.glob("attack_result_*.npz")):
        number = path.stem.rpartition("_")[2]
        try:
            with np.load(path, allow_pickle=False) as file:
                area: Any = file["auc"]
                areas.append(f"{float(area):.4f} for model {number}")
        except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile):
            continue  # its numbers are not ours to judge
    if not areas:
        return ()
    return (f"Privacy Meter's own AUC, with its settings: {', '.join(areas)}.",)
