"""Trained models that can be asked again, as a server would ask them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from threadpoolctl import threadpool_limits
from torch import Tensor, nn

from dynanoise.core.numerics import Int64
from dynanoise.data.dataset import Data
from dynanoise.training.execution.outputs import built, rebuilt, train_and_store
from dynanoise.training.jobs import Answers, Float32, Job
from dynanoise.training.store.store import Store, key


@dataclass(frozen=True, eq=False)
class Forward:
    """From raw inputs to logits, nothing else: what every answer begins with.

    Args:
        model: in evaluation mode, on the device.
        data: where the raw inputs are.
        device: "cpu" or "cuda".

    >>> import numpy as np
    >>> rows = np.zeros((3, 4), np.float32)
    >>> data = Data("zeros", rows, np.array([0, 1, 0]), 2)
    >>> forward = Forward(nn.Linear(4, 2).eval(), data, "cpu")
    >>> forward(forward.inputs(np.array([0, 2]))).shape
    (2, 2)
    """

    model: nn.Module
    data: Data
    device: str

    def inputs(self, ids: Int64) -> Tensor:
        """Raw inputs [len(ids), ...] in main memory, whatever the device."""
        return torch.from_numpy(self.data.inputs[ids])

    def __call__(self, inputs: Tensor) -> Float32:
        """Logits float32 [b, K] of raw inputs [b, ...], all at once; back in main memory."""
        with torch.inference_mode():
            logits: Float32 = self.model(inputs.to(self.device)).float().cpu().numpy()
        return logits


def trained(job: Job, data: Data, store: Store | None) -> tuple[Forward, Answers]:
    """A job's model and what it said, from the store where it is there, else trained now.

    Raises:
        DivergedError: if training came to nothing.
    """
    name = key(job, data)
    answers = None if store is None else store.get(name)
    if store is not None and answers is not None:
        model = rebuilt(job, data, store)
    else:
        made = train_and_store(job, data, store)
        model, answers = made.model, made.answers
    return Forward(model.eval().to(job.device), data, job.device), answers


def untrained(architecture: Any, data: Data, seed: int, device: str = "cpu") -> Forward:
    """An architecture with its initial weights, which answers as fast as a trained one."""
    return Forward(built(architecture, data, seed).eval().to(device), data, device)


@contextmanager
def threads(count: int) -> Iterator[None]:
    """So many threads for torch, and for NumPy's BLAS, inside; as before afterwards."""
    before = torch.get_num_threads()
    with threadpool_limits(count):
        torch.set_num_threads(count)
        try:
            yield
        finally:
            torch.set_num_threads(before)  # builds without OpenMP have threads of their own
