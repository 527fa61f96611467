"""The trained models of a pool as functions of inputs, from the store."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from dynanoise.core.numerics import Int64
from dynanoise.evaluation.chosen_inputs import ModelFunctions
from dynanoise.probing.paths import input_space

if TYPE_CHECKING:
    from dynanoise.data.dataset import Data
    from dynanoise.training.jobs import Job
    from dynanoise.training.store.store import Store


def stored_functions(
    jobs: Sequence[Job], data: Data, attacked: Int64, store: Store, seed: int
) -> ModelFunctions:
    """Load the models of a pool from the store, for queries with chosen inputs.

    Args:
        jobs: the models.
        data: the data set.
        attacked: int64 [n], ids of the records that an attacker has, whose inputs set the range.
        store: where they are kept.
        seed: decides what is left to chance.

    Raises:
        UnknownNameError: if a model is not stored.
        MissingModelError: if its weights are damaged; they are removed.
    """
    from dynanoise.training.queries import stored_model

    models = tuple(stored_model(job, data, store) for job in jobs)
    space = input_space(data.inputs[attacked], texts=data.vocabulary_size is not None)
    return ModelFunctions(models, data.inputs, space, seed)
