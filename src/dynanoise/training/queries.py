"""Stored models as functions of inputs, with gradients: for attackers who choose their inputs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from safetensors.torch import load, save
from torch import nn

from dynanoise.core.numerics import Floats
from dynanoise.core.queries import Inputs
from dynanoise.data.dataset import Data
from dynanoise.training import facts, loop
from dynanoise.training.execution.outputs import rebuilt
from dynanoise.training.jobs import Float32, Job, assembled
from dynanoise.training.store.store import Store

_AT_ONCE = 1 << 18
"""Input numbers in a batch of gradients."""


@dataclass(frozen=True, eq=False)
class ModelFunction:
    """A trained model on the processor as a function of inputs, in float32.

    It holds its weights as bytes and builds the module at the first call, so that another process
    can receive it. The same inputs give the same bits in every process.

    Args:
        architecture: such as `models.mlp.Mlp`.
        shape: the shape of an input.
        classes: K.
        weights: the ``state_dict()`` in the format of safetensors.
        threads: threads of the processor; another number may round differently.
        recipe: how the model was trained, where its module is more than the architecture; see
            `jobs.assembled`.
    """

    architecture: Any
    shape: tuple[int, ...]
    classes: int
    weights: bytes = field(repr=False)
    threads: int = 1
    recipe: Any = None
    _modules: list[nn.Module] = field(default_factory=list, init=False, repr=False)

    def __getstate__(self) -> dict[str, Any]:
        """Leave the module out; it is built again from the weights."""
        return {**vars(self), "_modules": []}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Restore the fields of a frozen instance."""
        vars(self).update(state)

    def __call__(self, inputs: Inputs) -> Float32:
        """Compute logits.

        Args:
            inputs: [n, ...], raw, in the data's own dtype.

        Returns:
            float32 [n, K].
        """
        with _threads(self.threads):
            logits = loop.predict(self._module(), torch.from_numpy(np.ascontiguousarray(inputs)))
        return np.asarray(logits.numpy())

    def gradient(self, inputs: Inputs, weights: Floats) -> Float32:
        """Compute the gradient of weighted sums of logits with respect to numeric inputs.

        Args:
            inputs: [n, ...], numbers or pixels; pixels are taken as floating-point numbers.
            weights: float [n, K].

        Returns:
            float32 [n, ...].
        """
        module = self._module()
        gradients = np.empty(inputs.shape, dtype=np.float32)
        size = max(1, _AT_ONCE // max(1, inputs[:1].size))
        with _threads(self.threads):
            for start in range(0, len(inputs), size):
                part = slice(start, start + size)
                rows = torch.from_numpy(inputs[part].astype(np.float32)).requires_grad_(True)
                sums = (module(rows) * torch.from_numpy(weights[part].astype(np.float32))).sum()
                (gradient,) = torch.autograd.grad(sums, rows)
                gradients[part] = gradient.numpy()
        return gradients

    def _module(self) -> nn.Module:
        if not self._modules:
            with torch.random.fork_rng(devices=[]):
                module = assembled(
                    self.recipe, lambda: self.architecture.build(self.shape, self.classes)
                )
            facts.load_state(module, load(self.weights))
            self._modules.append(module.eval().requires_grad_(False))
        return self._modules[0]


@contextmanager
def _threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def stored_model(job: Job, data: Data, store: Store) -> ModelFunction:
    """Load a job's model from the store.

    Args:
        job: the model.
        data: the data set.
        store: where it is kept.

    Raises:
        UnknownNameError: if it is not stored.
        MissingModelError: if its weights are damaged; they are removed.
    """
    module = rebuilt(replace(job, near=None), data, store)
    state = {name: tensor.contiguous() for name, tensor in module.state_dict().items()}
    shape = data.inputs.shape[1:]
    return ModelFunction(job.model, shape, data.classes, save(state), job.threads, job.recipe)
