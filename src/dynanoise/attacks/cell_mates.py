"""Any attack after the noise that records of one cell share has been averaged out."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, NamedTuple, final

import numpy as np

from dynanoise.attacks.base import Attack, FittedAttack
from dynanoise.core import numerics, registry
from dynanoise.core.numerics import Bools, Float64, Int64
from dynanoise.core.observation import Observation, ShadowObservations


class _Learned(NamedTuple):
    fitted: FittedAttack
    total: Float64
    models: int
    spread: float


@final
@dataclass(frozen=True)
class CellMates(Attack):
    """An attack on answers whose noise was estimated from the records that share it.

    `Keyed` noise answers all queries of one cell with the same bits, so equal answers are
    cell-mates, and their noise is the same. The attacker holds clean answers of its own models
    about these records: answer minus their mean, averaged over a cell, is that cell's noise, up to
    what the models differ by, which falls with the number of cell-mates. What is left
    of an answer is weighed against the estimate by the variances of either, as the shadow models
    show them; a record alone in its cell keeps its answer.

    The threat model that docs/keyed.md does not claim to withstand.

    Args:
        attack: an attack's name, with its parameters where they are not the usual ones.

    Raises:
        UnknownNameError, InputError: as of `Registry.build`.

    >>> from dynanoise.evaluation.responses import observe_logits
    >>> seen = observe_logits([[4.0, 0.0], [1.0, 0.0], [4.0, 0.0]], labels=[0, 0, 0])
    >>> cells_of(seen).tolist()
    [1, 0, 1]
    """

    attack: str = "lira"
    title: ClassVar[str] = "Cell-mates"
    aligned: ClassVar[bool] = True

    def __post_init__(self) -> None:
        registry.ATTACKS.build(self.attack)

    def learn(self, shadows: ShadowObservations) -> _Learned:
        """The attack fitted to shadow models without their cells' noise."""
        clean = numerics.centred(shadows.clean.logits.astype(np.float64))
        total, models = clean.sum(axis=0), len(clean)
        # Of each model beside the mean of the others, about the same records.
        apart = [total - own for own in clean]
        gaps = [own - other / max(1, models - 1) for own, other in zip(clean, apart, strict=True)]
        spread = float(np.mean([np.var(gap) for gap in gaps]))
        without = tuple(
            _aligned(seen, other / max(1, models - 1), spread)
            for seen, other in zip(shadows.observed, apart, strict=True)
        )
        fitted = registry.ATTACKS.build(self.attack).fit(
            ShadowObservations(without, shadows.use, shadows.clean)
        )
        return _Learned(fitted, total, models, spread)

    def formula(self, learned: _Learned, observed: Observation) -> Float64:
        """The attack's score without the cells' noise."""
        mean = learned.total / learned.models
        return learned.fitted.score(_aligned(observed, mean, learned.spread))

    def decision(self, learned: _Learned, scores: Float64) -> Bools:
        """The attack's own."""
        return learned.fitted.decide(scores)


def cells_of(observed: Observation) -> Int64:
    """A number for each answer [N * A]; the same one for equal answers."""
    if "cells" not in observed.memo:
        rows = np.ascontiguousarray(observed.log_probs.reshape(-1, observed.classes))
        whole = rows.view(np.dtype((np.void, rows.dtype.itemsize * rows.shape[1]))).ravel()
        observed.memo["cells"] = np.unique(whole, return_inverse=True)[1]
    cells: Int64 = observed.memo["cells"]
    return cells


def _aligned(observed: Observation, mean: Float64, spread: float) -> Observation:
    """Answers with the part of their noise taken away that cell-mates show.

    Args:
        observed: answers [N, A, K].
        mean: centred clean logits of other models about the same records, [N, A, K].
        spread: the variance of one model's clean logits around that mean.
    """
    cells = cells_of(observed)
    answers = numerics.centred(observed.log_probs).reshape(len(cells), -1)
    residual = answers - mean.reshape(len(cells), -1)
    count = np.bincount(cells)
    sums = np.stack([np.bincount(cells, weights=column) for column in residual.T], axis=-1)
    noise = (sums / count[:, None])[cells]
    mates = count[cells][:, None]
    # An estimate from n mates has the variance spread / n; noise beyond that is worth removing.
    power = np.maximum(np.mean(residual**2) - spread, 0.0)
    wanted = power / np.maximum(power + spread / mates, numerics.TINY)
    share = np.where(mates > 1, wanted, 0.0)
    cleared = (answers - share * noise).reshape(observed.log_probs.shape)
    return replace(observed, log_probs=numerics.log_softmax(cleared))


ATTACKS = {"cell_mates": CellMates}
