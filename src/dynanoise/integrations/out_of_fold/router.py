"""Out-of-fold answers as a torch module: K models, and the cells that choose one of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from dynanoise.core.errors import InputError
from dynanoise.partition.cells import Cells
from dynanoise.partition.thumbnails import Thumbnails


def _pixels(values: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    """Pixels uint8 of whole numbers in floating point."""
    whole = np.rint(values)
    if not ((np.abs(values - whole) < 1e-3) & (whole >= 0) & (whole <= 255)).all():
        raise InputError(
            "Pixels are not whole numbers from 0 to 255.",
            "Pass the pixels that the cells were fitted to, and normalise them in the models.",
        )
    pixels: npt.NDArray[np.uint8] = whole.astype(np.uint8)
    return pixels


class Router(nn.Module):
    """K models, of which the one of an input's fold answers it.

    Each model must have been trained without the records that `partition.exclusion.Exclusion`
    leaves out of it. The fold is found on the processor in float64, whatever the device and
    precision of the models, so that training and serving agree bit for bit; inputs must therefore
    have the precision of the training. Wrap it in `Defended` for a defense on top.

    Args:
        models: the K models, in the order of the folds; each maps inputs [b, ...] to logits
            [b, classes].
        cells: the partition of the inputs into K folds.

    Raises:
        InputError: if the cells have another number of folds; from `forward`, if the inputs are of
            another kind than the reference of the cells, or rounded to half precision, if the
            loaded weights belong to other cells, or if the key of the cells has changed.

    >>> from dynanoise.partition.cells import Cells
    >>> cells = Cells.fit(np.arange(12.0).reshape(6, 2), folds=2, width=0)
    >>> models = [nn.Linear(2, 3) for _ in range(2)]
    >>> for number, model in enumerate(models):
    ...     _ = nn.init.zeros_(model.weight), nn.init.constant_(model.bias, number)
    >>> Router(models, cells)(torch.tensor([[0.0, 1.0], [6.0, 7.0]]))[:, 0].tolist()
    [0.0, 1.0]
    """

    def __init__(self, models: Sequence[nn.Module], cells: Cells | None = None) -> None:
        super().__init__()
        self.models = nn.ModuleList(models)
        self._cells = cells
        if cells is not None:
            if cells.folds != len(models):
                raise InputError(
                    f"There are {len(models)} models, and the cells have {cells.folds} folds.",
                    "Pass a model for each fold, in their order.",
                )
            # Part of the weights: another partition of the same models must not share keyed noise.
            digest = np.frombuffer(bytes.fromhex(cells.digest), np.uint8).copy()
            self.register_buffer("partition", torch.from_numpy(digest))

    @property
    def cells(self) -> Cells:
        """The partition of the inputs."""
        if self._cells is None:
            raise InputError("The router has no cells.", "Pass them to Router.")
        return self._cells

    def forward(self, inputs: Tensor) -> Tensor:
        """Logits [b, classes], each row by the model of its fold.

        Args:
            inputs: raw inputs [b, ...]; pixels as uint8, or whole numbers in float32 for gradients.
        """
        if inputs.dtype in (torch.float16, torch.bfloat16):
            raise InputError(
                f"The inputs are {inputs.dtype}, and a rounded record may be in another cell.",
                "Pass float32, and convert it in the models.",
            )
        partition = getattr(self, "partition", None)
        if partition is not None and partition.cpu().numpy().tobytes().hex() != self.cells.digest:
            raise InputError(
                "The weights belong to other cells, or the key of the cells has changed.",
                "Give the cells and the key of the training.",
            )
        rows = inputs.detach().cpu().numpy()
        if isinstance(self.cells.embedding, Thumbnails) and rows.dtype.kind == "f":
            rows = _pixels(rows)
        folds = torch.from_numpy(self.cells.fold(rows))
        order, parts = [], []
        for fold, model in enumerate(self.models):
            chosen = (folds == fold).nonzero()[:, 0].to(inputs.device)
            if len(chosen) or not len(folds):
                order.append(chosen)
                parts.append(model(inputs[chosen]))
        return torch.cat(parts)[torch.cat(order).argsort()]
