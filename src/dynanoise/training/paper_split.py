"""Trains the models of one run and lays out what they said as a `Run`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from dynanoise.core.numerics import Int64
from dynanoise.core.outputs import Outputs, Run
from dynanoise.core.seeding import derive
from dynanoise.data.dataset import Data
from dynanoise.data.splits import PaperSplit
from dynanoise.training.jobs import Answers, Job


def paper_jobs(
    split: PaperSplit,
    model: Any,
    recipe: Any,
    *,
    seed: int,
    shadows: int,
    threads: int,
    device: str = "cpu",
) -> list[Job]:
    """The target and the shadow models of the paper's protocol.

    All shadows are trained on the same records, as published; they differ in their seeds.

    Args:
        split: who plays which part.
        model: an architecture, such as `models.mlp.Mlp`.
        recipe: how to train it, such as `recipes.plain.Plain`.
        seed: the run's seed.
        shadows: how many shadow models.
        threads: of the processor for each model.
        device: where to train.
    """
    names = ["target", *(f"shadow {index}" for index in range(shadows))]
    return [
        Job(
            name=name,
            model=model,
            recipe=recipe,
            members=split.members if name == "target" else split.shadow_members,
            reference=split.reference,
            seed=derive(seed, "model", name),
            asked=split.ids,
            threads=threads,
            device=device,
        )
        for name in names
    ]


def paper_run(data: Data, split: PaperSplit, answers: Sequence[Answers], *, seed: int) -> Run:
    """Arranges what the models of `paper_jobs` answered.

    Args:
        data: the data set.
        split: the one the jobs were made from.
        answers: the target's first, then the shadows', of whom there may be none.
        seed: the run's seed.
    """
    said = np.stack([answered.logits for answered in answers])

    def outputs(models: slice, parts: list[Int64], members: Int64) -> Outputs:
        # Sorted by id, which a random permutation dealt out: members first would tell the attacker
        # everything by the order of the rows.
        ids = np.sort(np.concatenate(parts))
        chosen = said[models][:, np.searchsorted(split.ids, ids)]
        use = np.broadcast_to(np.isin(ids, members), chosen.shape[:2])
        return Outputs(chosen, data.labels[ids], ids, use.astype(np.int8))

    nobody = np.empty(0, dtype=np.int64)
    target, shadows = slice(0, 1), slice(1, None)
    return Run(
        target=outputs(target, [split.members, split.non_members], split.members),
        shadows=outputs(
            shadows, [split.shadow_members, split.shadow_non_members], split.shadow_members
        ),
        test=outputs(target, [split.test], nobody),
        reference=outputs(slice(None), [split.reference], nobody),
        random=np.stack([answered.random for answered in answers]),
        seed=seed,
        split=split.digest,
    )
