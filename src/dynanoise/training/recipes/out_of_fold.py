"""Out-of-fold answers: every input is answered by a model that no record near it trained."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, ClassVar

import numpy as np
import torch
from torch import nn

from dynanoise.core.errors import InputError
from dynanoise.core.numerics import Int64
from dynanoise.core.seeding import derive
from dynanoise.integrations.out_of_fold.router import Router
from dynanoise.noise.keys import ExperimentKey
from dynanoise.partition.cells import Cells
from dynanoise.partition.exclusion import Exclusion, records_digest
from dynanoise.partition.neighbourhood import (
    ImageChanges,
    Neighbourhood,
    NumberNoise,
    WordDeletions,
)
from dynanoise.training import divergence, loop
from dynanoise.training.architecture import kind_of
from dynanoise.training.facts import Facts, attach, facts_of
from dynanoise.training.material import Material
from dynanoise.training.schedule import Schedule

_CELLS = "cells_"
"""Prefix of the facts that are arrays of the cells."""


class StoredRouter(Router):
    """A `Router` whose cells are read from its own buffers: stored weights bring their partition.

    Args:
        models: the K models, in the order of the folds.
    """

    @property
    def cells(self) -> Cells:
        """The partition of the inputs."""
        if self._cells is None:
            self._cells = cells_of(facts_of(self))
        return self._cells


@dataclass(frozen=True)
class OutOfFold:
    """K models and a partition of the inputs: a record is in no model that answers near it.

    Each member is left out of every model whose fold its neighbourhood touches (see
    `partition.cells`). What a model answers within the neighbourhood of a record is then the same
    whether the record is a member or not. The cells are fitted to the reference data.

    The returned `StoredRouter` carries the facts "members" int64 [n] (ids), "left_out" bool
    [K, n], and the cells, from which `verify` computes the exclusion again.

    Args:
        schedule: how long and how fast to train each model.
        models: K, number of models, >= 2.
        width: width of a cell, in standard deviations of each coordinate; 0 for single records.
        components: number of coordinates, or of frequent words of texts.
        noise: the neighbourhood's noise: its standard deviation for numbers, its largest change of
            a pixel for images; 0 for none.
        shift: pixels by which images of the neighbourhood are moved at most.
        brightness: greatest change of the brightness of images of the neighbourhood.
        deletion: True if texts of the neighbourhood may lack a word.
        key: number of a public key, the same for all models of a pool, so that shadow models have
            the target's cells; None for one that follows the seed of the job.

    Raises:
        InputError: for fewer than two models, a negative size, or noise with width 0.
    """

    schedule: Schedule = field(default_factory=Schedule)
    models: int = 5
    width: float = 2.0
    components: int = 3
    noise: float = 0.0
    shift: int = 0
    brightness: int = 0
    deletion: bool = False
    key: int | None = 0
    version: ClassVar[int] = 1
    stored_as: ClassVar[str] = "dynanoise.training.recipes.out_of_fold.OutOfFold"

    def __post_init__(self) -> None:
        if isinstance(self.models, bool) or not isinstance(self.models, int) or self.models < 2:
            raise InputError(
                f"models is {self.models!r}.",
                "Use at least 2: with one model every record is in the model that answers it.",
            )
        for name in ("width", "noise", "shift", "brightness"):
            if not 0 <= getattr(self, name) < np.inf:
                raise InputError(f"{name} is {getattr(self, name)!r}.", "Use a number from 0 on.")
        if self.noise and not self.width:
            raise InputError(
                f"noise is {self.noise} and width 0, and cells of single records cover no noise.",
                "Use noise=0, or a width above 0.",
            )

    def train(self, material: Material) -> nn.Module:
        """Train the models.

        Args:
            material: everything the training may use.

        Returns:
            A `StoredRouter` in evaluation mode.

        Raises:
            InputError: if a model has no records, or the neighbourhood does not suit the data.
            DivergedError: for a model at chance on its records.
        """
        cells = self.cells(material)
        exclusion = Exclusion.of(cells, material.data.inputs[material.members])
        models = [
            material.part(number, partial(self._train_one, material, number, exclusion))
            for number in range(self.models)
        ]
        settings, arrays = cells.to_parts()
        text = np.frombuffer(json.dumps(settings, sort_keys=True).encode(), np.uint8)
        facts = {
            "members": material.members,
            "left_out": exclusion.left_out,
            "records": np.frombuffer(bytes.fromhex(exclusion.records), np.uint8),
            "cells": text,
            **{f"{_CELLS}{name}": value for name, value in arrays.items()},
        }
        return attach(StoredRouter(models).eval(), facts)

    def train_part(self, material: Material, number: int) -> nn.Module:
        """Train one of the models.

        Args:
            material: everything the training may use.
            number: the number of its fold, from 0.

        Returns:
            The model in evaluation mode, the same as `train` trains.

        Raises:
            InputError: see `train`.
            DivergedError: see `train`.
        """
        exclusion = Exclusion.of(self.cells(material), material.data.inputs[material.members])
        return self._train_one(material, number, exclusion)

    def untrained(self, material: Material) -> nn.Module:
        """A `Router` with initial weights, to time it or to count its bytes.

        Args:
            material: material of the training, of which the members are not used.
        """
        models = [material.build() for _ in range(self.models)]
        return Router(models, self.cells(material)).eval()

    def assemble(self, build: Callable[[], nn.Module]) -> nn.Module:
        """The module that stored weights are loaded into.

        Args:
            build: makes a model of the architecture.
        """
        return StoredRouter([build() for _ in range(self.models)])

    def cells(self, material: Material) -> Cells:
        """Fit the cells to the reference data.

        Args:
            material: the data set, the reference and the seed are used.

        Raises:
            InputError: if there is too little reference data, or the neighbourhood does not suit.
        """
        data = material.data
        kind = kind_of(data)
        key = ExperimentKey(
            *((material.seed, "input cells") if self.key is None else (self.key, "input cells"))
        )
        return Cells.fit(
            data.inputs[material.reference],
            folds=self.models,
            width=self.width,
            components=self.components,
            neighbourhood=self._neighbourhood(kind),
            key=key,
            texts=kind == "texts",
            standardise=False,  # data sets are standardised, or of one unit
        )

    def _neighbourhood(self, kind: str | None) -> Neighbourhood | None:
        shifted = bool(self.shift or self.brightness)
        noisy, texts = bool(self.noise), kind == "texts"
        suits = not (
            (self.deletion and not texts)
            or (shifted and kind != "images")
            or (noisy and kind not in ("numbers", "images"))
        )
        if not suits:
            raise InputError(
                f"The neighbourhood noise={self.noise}, shift={self.shift}, "
                f"brightness={self.brightness}, deletion={self.deletion} does not suit {kind}.",
                "Numbers have noise; images noise, shift and brightness; texts deletion.",
            )
        if self.deletion:
            return WordDeletions()
        if kind == "images" and self.noise != int(self.noise):
            raise InputError(
                f"The noise of images is {self.noise}.", "Use a whole number, in 1/255 of a pixel."
            )
        if kind == "images" and (noisy or shifted):
            return ImageChanges(self.shift, self.brightness, int(self.noise))
        return NumberNoise(self.noise) if noisy else None

    def _train_one(self, material: Material, number: int, exclusion: Exclusion) -> nn.Module:
        """Train the model of a fold; nothing of it depends on a record that is left out."""
        ids = material.members[exclusion.rows(number)]
        if not len(ids):
            raise InputError(
                f"Model {number} of {self.models} has none of {len(material.members)} members.",
                "Use narrower cells, a smaller neighbourhood, or more models.",
            )
        name = f"model {number} of {self.models}"

        def attempt(recipe: OutOfFold) -> nn.Module:
            # A seed of its own, and the global generator left as it was.
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(derive(material.seed, "sub-model", number))
                generator = material.generator(f"order of sub-model {number}")
                inputs, labels = material.inputs(ids), material.labels(ids)
                model = loop.fit(material.build(), inputs, labels, recipe.schedule, generator)
            logits = loop.predict(model, inputs).numpy()
            divergence.check_converged(name, logits, material.data.labels[ids])
            return model

        return divergence.train_with_retries(name, self, attempt)[0]


def cells_of(facts: Facts) -> Cells:
    """The cells of a `StoredRouter`.

    Args:
        facts: its facts, see `training.facts`.

    Raises:
        InputError: if there are none, or they are damaged or of another version.
    """
    if "cells" not in facts:
        raise InputError("The model has no cells.", "Give one that out_of_fold trained.")
    arrays = {
        name.removeprefix(_CELLS): value for name, value in facts.items() if name.startswith(_CELLS)
    }
    try:
        settings: dict[str, Any] = json.loads(facts["cells"].tobytes())
    except ValueError as error:
        raise InputError(f"The cells are damaged ({error}).", "Train the model again.") from error
    return Cells.of_parts(settings, arrays)


def exclusion_of(facts: Facts, inputs: Any) -> Exclusion:
    """The exclusion of a `StoredRouter`.

    Args:
        facts: its facts, see `training.facts`.
        inputs: [N, ...], the inputs of the whole data set.

    Raises:
        InputError: if the data have fewer records than the training, or see `cells_of`.
    """
    members = facts["members"]
    if members.max(initial=-1) >= len(inputs):
        raise InputError(
            f"There are {len(inputs)} records, and the model was trained on record "
            f"{members.max()}.",
            "Give the data of the training.",
        )
    # Models of earlier versions have no digest of their records.
    of_training = facts["records"].tobytes().hex() if "records" in facts else None
    records = of_training or records_digest(inputs[members])
    return Exclusion(facts["left_out"].astype(bool), records, cells_of(facts).digest)


def verify(facts: Facts, inputs: Any) -> Int64:
    """Compute the exclusion of a stored model again from its cells and the data.

    Args:
        facts: facts of a `StoredRouter`.
        inputs: [N, ...], the inputs of the whole data set.

    Returns:
        Number of members, and of models: int64 [2].

    Raises:
        InputError: if the data are others, or a member is in a model that may answer its
            neighbourhood.
    """
    cells = cells_of(facts)
    exclusion_of(facts, inputs).verify(cells, inputs[facts["members"]])
    return np.array([len(facts["members"]), cells.folds])


RECIPES = {"out_of_fold": OutOfFold}
