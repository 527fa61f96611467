"""Trained models that are queried again, as a server queries them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from threadpoolctl import threadpool_limits
from torch import Tensor, nn

from dynanoise.core.numerics import Int64
from dynanoise.data.dataset import Data
from dynanoise.training.execution.outputs import built, rebuilt, train_and_store
from dynanoise.training.jobs import Float32, Job, ModelOutputs, isolated
from dynanoise.training.store.store import Store, key


@dataclass(frozen=True, eq=False)
class Forward:
    """The forward pass from raw inputs to logits, with which every query begins.

    Args:
        model: in evaluation mode, on the device.
        data: the raw inputs.
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

    @property
    def nbytes(self) -> int:
        """Bytes of the model's parameters and buffers."""
        return sum(part.nbytes for part in (*self.model.parameters(), *self.model.buffers()))

    def inputs(self, ids: Int64) -> Tensor:
        """Raw inputs [len(ids), ...] in main memory, whatever the device."""
        return torch.from_numpy(self.data.inputs[ids])

    def __call__(self, inputs: Tensor) -> Float32:
        """Compute logits of raw inputs, all at once.

        Args:
            inputs: raw inputs [b, ...].

        Returns:
            float32 [b, K], in main memory.
        """
        with torch.inference_mode():
            logits: Float32 = self.model(inputs.to(self.device)).float().cpu().numpy()
        return logits


def trained(job: Job, data: Data, store: Store | None) -> tuple[Forward, ModelOutputs]:
    """Load a job's model and its outputs from the store, or train it now.

    Args:
        job: the model.
        data: the data set.
        store: where trained models are kept and found, or None.

    Raises:
        DivergedError: if training failed.
    """
    name = key(job, data)
    outputs = None if store is None else store.get(name)
    if store is not None and outputs is not None:
        model = rebuilt(job, data, store)
    else:
        result = train_and_store(job, data, store)
        model, outputs = result.model, result.outputs
    return Forward(model.eval().to(job.device), data, job.device), outputs


def untrained(job: Job, data: Data) -> Forward:
    """Build a job's module with initial weights, which is as fast as a trained one.

    Args:
        job: the model.
        data: the data set.
    """
    if hasattr(job.recipe, "untrained"):
        with isolated(job.seed, job.threads):
            module: nn.Module = job.recipe.untrained(job.material(data))
    else:
        module = built(job.model, data, job.seed)
    return Forward(module.eval().to(job.device), data, job.device)


@contextmanager
def threads(count: int) -> Iterator[None]:
    """Set the threads of torch and of NumPy's BLAS, and restore them afterwards."""
    before = torch.get_num_threads()
    with threadpool_limits(count):
        torch.set_num_threads(count)
        try:
            yield
        finally:
            torch.set_num_threads(before)  # builds without OpenMP have threads of their own
