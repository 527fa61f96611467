"""A pool's examples in parts: slices of arrays, in memory or of files that are mapped into it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from dynanoise.core.errors import DataFileError, InputError
from dynanoise.core.numerics import Int8, Int64
from dynanoise.core.outputs import Outputs

_FILES = ("logits", "labels", "ids", "use")


class Shards(Protocol):
    """A pool's examples in parts."""

    @property
    def use(self) -> Int8:
        """int8 [M, N], 1 = in, 0 = out, -1 = hidden; of all examples."""

    @property
    def slices(self) -> list[slice]:
        """Which examples each part has, in order."""

    def part(self, examples: slice) -> Outputs:
        """What all models said about the examples of one part."""


@dataclass(frozen=True, eq=False)
class Slices:
    """Outputs in memory, looked at in parts of ``size`` examples."""

    outputs: Outputs
    size: int = 5_000

    @property
    def use(self) -> Int8:
        """See `Shards`."""
        return self.outputs.use

    @property
    def slices(self) -> list[slice]:
        """See `Shards`."""
        return _slices(len(self.outputs.ids), self.size)

    def part(self, examples: slice) -> Outputs:
        """See `Shards`."""
        return self.outputs.select(examples=examples)


@dataclass(frozen=True, eq=False)
class PoolFiles:
    """A folder with ``logits.npy`` and others as `write` makes them, mapped into memory.

    Args:
        folder: of the files; logits are float16, float32 or float64 [M, N, A, K].
        size: examples that are looked at together; memory grows with it.

    Raises:
        DataFileError: on use, if a file is missing or no array.
    """

    folder: Path
    size: int = 5_000

    def _array(self, name: str) -> npt.NDArray[Any]:
        try:
            found: npt.NDArray[Any] = np.load(
                self.folder / f"{name}.npy", mmap_mode="r", allow_pickle=False
            )
        except (OSError, ValueError) as error:
            raise DataFileError(
                f"{self.folder / name}.npy cannot be read ({error}).", "Write the pool anew."
            ) from error
        return found

    @property
    def use(self) -> Int8:
        """See `Shards`."""
        return self._array("use")

    @property
    def slices(self) -> list[slice]:
        """See `Shards`."""
        return _slices(self.use.shape[1], self.size)

    def part(self, examples: slice) -> Outputs:
        """See `Shards`."""
        logits = np.array(self._array("logits")[:, examples])
        if logits.dtype == np.float16:
            logits = logits.astype(np.float32)
        rest = {name: np.array(self._array(name)[..., examples]) for name in _FILES[1:]}
        return Outputs(logits, **rest)


def write(
    folder: Path,
    models: Iterable[npt.NDArray[Any]],
    labels: Int64,
    ids: Int64,
    use: Int8,
    *,
    dtype: npt.DTypeLike = np.float32,
) -> None:
    """Writes a pool's files model by model, so that one model's answers are in memory at a time.

    Args:
        folder: made if it is not there.
        models: for each model its logits [N, A, K], such as stored models' answers.
        labels: int64 [N].
        ids: int64 [N].
        use: int8 [M, N].
        dtype: of the logits on disk; float16 keeps three decimal digits.

    Raises:
        InputError: if there are fewer or more models than rows of ``use``, or of other shapes.
        OSError: if it cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    mapped: Any = None
    count = 0
    for model, logits in enumerate(models):
        if mapped is None:
            shape = (len(use), *logits.shape)
            mapped = np.lib.format.open_memmap(folder / "logits.npy", "w+", dtype, shape)
        if model >= len(use) or logits.shape != mapped.shape[1:] or len(logits) != use.shape[1]:
            raise InputError(
                f"Model {model} answered with shape {logits.shape}, and use has shape {use.shape}.",
                "Give logits [N, A, K] for each of the M rows of use [M, N].",
            )
        mapped[model] = logits
        count += 1
    if count != len(use):
        raise InputError(f"There are {count} models, and use has {len(use)}.", "Give all.")
    mapped.flush()
    for name, array in (("labels", labels), ("ids", ids), ("use", use)):
        np.save(folder / f"{name}.npy", array)


def _slices(count: int, size: int) -> list[slice]:
    if size < 1:
        raise InputError(f"Parts have {size} examples.", "Use at least one.")
    return [slice(start, min(start + size, count)) for start in range(0, count, size)]
