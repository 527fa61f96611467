"""Sub-models of a job, trained and stored one by one, so that a run that is stopped goes on.

Recipes such as SELENA and out-of-fold answers train several models for one. Each is stored as it is
trained, by whichever worker trains it, until the model that is made of them is stored.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np
from torch import nn

from dynanoise.core.errors import MissingModelError, UnknownNameError
from dynanoise.data.dataset import Data
from dynanoise.training.jobs import Job, ModelOutputs, Trained, isolated
from dynanoise.training.material import Part, train_now
from dynanoise.training.store.store import Store, describe, key_of

log = logging.getLogger(__name__)


def count_parts(job: Job) -> int:
    """The number of sub-models of a job that can be trained alone; 0 for most recipes."""
    return int(job.recipe.models) if hasattr(job.recipe, "train_part") else 0


@dataclass(frozen=True)
class Parts:
    """Sub-models of one job in a store: read where they are there, else trained and stored.

    A sub-model that another worker or run is training is waited for.

    Args:
        data: the data set.
        store: where they are kept; None to train all and store none.
        owner: the owner of claims, see `Store.claim`.
    """

    data: Data
    store: Store | None
    owner: str = ""
    _names: set[str] = field(default_factory=set)

    def of(self, job: Job) -> Part:
        """The `material.Part` of a job.

        Args:
            job: the job, with the recipe of the present attempt.
        """
        store = self.store
        if store is None or not count_parts(job):
            return train_now

        def part(number: int, train: Callable[[], nn.Module]) -> nn.Module:
            name = self.name(job, number)
            self._names.add(name)
            while True:
                with store.claim(name, f"{self.owner} sub-model {number}") as ours:
                    if ours:
                        return self._stored(job, name) or self._train(job, number, train)
                time.sleep(store.pause)

        return part

    def train(self, job: Job, number: int) -> None:
        """Train a sub-model and store it, unless it is there or another run is training it.

        Args:
            job: the job that it belongs to.
            number: its number, from 0.

        Raises:
            InputError: if the recipe cannot train with these members.
            DivergedError: if training failed.
        """
        assert self.store is not None
        name = self.name(job, number)
        with self.store.claim(name, self.owner) as ours:
            if not ours or name in self.store:
                return
            with isolated(job.seed, job.threads):
                material = job.material(self.data)
                self._train(job, number, lambda: job.recipe.train_part(material, number))

    def name(self, job: Job, number: int) -> str:
        """The key of a sub-model in the store.

        Args:
            job: the job that it belongs to.
            number: its number, from 0.
        """
        return key_of(self._description(job, number))

    def remove(self) -> None:
        """Remove the sub-models that were obtained, once the model made of them is stored."""
        if self.store is not None:
            for name in self._names:
                self.store.discard(name)

    def _description(self, job: Job, number: int) -> dict[str, object]:
        return {**describe(replace(job, near=None), self.data), "sub-model": number}

    def _stored(self, job: Job, name: str) -> nn.Module | None:
        assert self.store is not None
        try:
            weights = self.store.weights(name)
        except (MissingModelError, UnknownNameError):
            return None
        model = job.material(self.data).build()
        model.load_state_dict(weights)
        return model.eval()

    def _train(self, job: Job, number: int, train: Callable[[], nn.Module]) -> nn.Module:
        assert self.store is not None
        started = time.perf_counter()
        model = train()
        seconds = round(time.perf_counter() - started, 1)
        role = f"{job.name}, sub-model {number + 1} of {count_parts(job)}"
        log.info("%s: trained in %.1f s", role, seconds)
        nothing = np.zeros((0, 1, self.data.classes), dtype=np.float32)
        outputs = ModelOutputs(
            nothing, nothing[:, 0], seconds=seconds, bfloat16=job.schedule.bfloat16
        )
        about = {"job": role, "data set": self.data.name, **self._description(job, number)}
        self.store.put(self.name(job, number), Trained(model, outputs), about)
        return model
