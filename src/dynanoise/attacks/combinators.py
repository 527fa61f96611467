"""Combinators: any attack on outputs that were transformed first."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, NamedTuple, final

import numpy as np

from dynanoise.attacks.base import Attack, FittedAttack, HeldOut
from dynanoise.core import numerics, registry
from dynanoise.core.numerics import Bools, Float64, Int64
from dynanoise.core.observation import Observation, ShadowObservations


class _Scale(NamedTuple):
    fitted: FittedAttack
    gap: float


@final
@dataclass(frozen=True)
class ScaleAligned(Attack):
    """An attack on outputs that are rescaled to the scale of the shadow models' outputs.

    For targets that were trained shorter or longer than the shadow models, or respond at a
    temperature the attacker does not know: the target's centred log-probabilities are multiplied
    by the median gap between the two largest logits of the shadow models' outputs that are not
    hidden, divided by the same median of the target's outputs, both of original inputs. It needs
    no labels, and keeps every argmax. Outputs without a gap stay as they are. Requirements, scores
    and decisions are those of the attack.

    Args:
        attack: an attack's name, with its parameters where they are not the usual ones, such as
            "threshold(statistic=hinge)".

    Raises:
        UnknownNameError: for an unknown attack.
        InputError: if the text cannot be read, or the attack has no such parameter.

    >>> from dynanoise.evaluation.responses import observe_logits, observe_shadow_logits
    >>> shadows = observe_shadow_logits([[[4.0, 0.0], [2.0, 0.0]]], labels=[0, 0], use=[[1, 0]])
    >>> aligned = ScaleAligned("threshold").fit(shadows)
    >>> tempered = observe_logits([[0.4, 0.0], [0.2, 0.0]], labels=[0, 0])
    >>> aligned.score(tempered).round(6).tolist()
    [-0.0, -2.0]
    """

    attack: str = "threshold"
    title: ClassVar[str] = "Scale aligned"

    def __post_init__(self) -> None:
        registry.ATTACKS.build(self.attack)

    @property
    def aligned(self) -> bool:  # type: ignore[override]
        """True if the attack is aligned."""
        return bool(registry.ATTACKS.build(self.attack).aligned)

    def learn(self, shadows: ShadowObservations) -> _Scale:
        """Fit the attack, and compute the median gap of the shadow models' two largest logits."""
        gaps = [
            numerics.top_gaps(model.log_probs[use >= 0, 0])
            for model, use in zip(shadows.observations, shadows.use, strict=True)
        ]
        gap = float(np.median(np.concatenate(gaps)))
        return _Scale(registry.ATTACKS.build(self.attack).fit(shadows), gap)

    def formula(self, learned: _Scale, target: Observation) -> Float64:
        """Score the rescaled outputs, [N]."""
        gap = float(np.median(numerics.top_gaps(target.log_probs[:, 0])))
        scale = learned.gap / gap if gap > 0 and learned.gap > 0 else 1.0
        return learned.fitted.score(_rescaled(target, scale))

    def decision(self, learned: _Scale, scores: Float64) -> Bools:
        """Apply the attack's threshold, [N]."""
        return learned.fitted.decide(scores)

    def held_out(self, learned: _Scale) -> HeldOut | None:
        """Return the attack's held-out scores, of shadow models at their own scale."""
        return learned.fitted.held_out()


def _rescaled(outputs: Observation, scale: float) -> Observation:
    def undo(log_probs: Float64) -> Float64:
        return scale * outputs.undo(log_probs)

    return replace(
        outputs,
        log_probs=numerics.log_softmax(scale * numerics.centred(outputs.log_probs)),
        undo=undo,
        population=None if outputs.population is None else _rescaled(outputs.population, scale),
    )


class _CellNoise(NamedTuple):
    fitted: FittedAttack
    total: Float64
    models: int
    spread: float


@final
@dataclass(frozen=True)
class CellMates(Attack):
    """An attack on outputs without the noise that records of one cell share.

    `Keyed` noise gives all queries of one cell the same bits, so equal outputs belong to one cell
    (the records are cell-mates), and their noise is the same. The attacker holds clean outputs of
    its own models on these records: output minus their mean, averaged over a cell, is that cell's
    noise, up to the difference between models, which falls with the number of cell-mates. The rest
    of an output is weighed against the estimate by the variances of either, as the shadow models
    show them; a record alone in its cell keeps its output.

    Needs shadow models queried with the target's records, with their undefended outputs, and
    whatever the attack needs. Scores and decisions are those of the attack. This is the threat
    model that docs/keyed.md does not claim to withstand.

    Args:
        attack: an attack's name, with its parameters where they are not the usual ones.

    Raises:
        UnknownNameError: for an unknown attack.
        InputError: if the text cannot be read, or the attack has no such parameter.

    >>> from dynanoise.evaluation.responses import observe_logits
    >>> outputs = observe_logits([[4.0, 0.0], [1.0, 0.0], [4.0, 0.0]], labels=[0, 0, 0])
    >>> number_cells(outputs).tolist()
    [1, 0, 1]
    """

    attack: str = "lira"
    title: ClassVar[str] = "Cell-mates"
    aligned: ClassVar[bool] = True

    def __post_init__(self) -> None:
        registry.ATTACKS.build(self.attack)

    def learn(self, shadows: ShadowObservations) -> _CellNoise:
        """Fit the attack to shadow models without their cells' noise."""
        clean = numerics.centred(shadows.clean.logits.astype(np.float64))
        total, models = clean.sum(axis=0), len(clean)
        # The sum over the other models on the same records, for each model.
        others = [total - logits for logits in clean]
        gaps = [
            logits - other / max(1, models - 1) for logits, other in zip(clean, others, strict=True)
        ]
        spread = float(np.mean([np.var(gap) for gap in gaps]))
        without = tuple(
            _without_cell_noise(model, other / max(1, models - 1), spread)
            for model, other in zip(shadows.observations, others, strict=True)
        )
        fitted = registry.ATTACKS.build(self.attack).fit(
            ShadowObservations(without, shadows.use, shadows.clean)
        )
        return _CellNoise(fitted, total, models, spread)

    def formula(self, learned: _CellNoise, target: Observation) -> Float64:
        """Score the outputs without the cells' noise, [N]."""
        mean = learned.total / learned.models
        return learned.fitted.score(_without_cell_noise(target, mean, learned.spread))

    def decision(self, learned: _CellNoise, scores: Float64) -> Bools:
        """Apply the attack's threshold, [N]."""
        return learned.fitted.decide(scores)


def number_cells(outputs: Observation) -> Int64:
    """Number the outputs so that equal ones have the same number.

    Args:
        outputs: outputs [N, A, K] of one model.

    Returns:
        int64 [N * A].
    """
    if "cells" not in outputs.memo:
        rows = np.ascontiguousarray(outputs.log_probs.reshape(-1, outputs.classes))
        whole = rows.view(np.dtype((np.void, rows.dtype.itemsize * rows.shape[1]))).ravel()
        outputs.memo["cells"] = np.unique(whole, return_inverse=True)[1]
    cells: Int64 = outputs.memo["cells"]
    return cells


def _without_cell_noise(outputs: Observation, mean: Float64, spread: float) -> Observation:
    """Outputs without the part of their noise that cell-mates show.

    Args:
        outputs: outputs [N, A, K] of one model.
        mean: centred clean logits of other models on the same records, [N, A, K].
        spread: the variance of one model's clean logits around that mean.
    """
    cells = number_cells(outputs)
    rows = numerics.centred(outputs.log_probs).reshape(len(cells), -1)
    residual = rows - mean.reshape(len(cells), -1)
    count = np.bincount(cells)
    sums = np.stack([np.bincount(cells, weights=column) for column in residual.T], axis=-1)
    noise = (sums / count[:, None])[cells]
    mates = count[cells][:, None]
    # An estimate from n mates has the variance spread / n; noise beyond that is worth removing.
    power = np.maximum(np.mean(residual**2) - spread, 0.0)
    weight = power / np.maximum(power + spread / mates, numerics.TINY)
    share = np.where(mates > 1, weight, 0.0)
    cleared = (rows - share * noise).reshape(outputs.log_probs.shape)
    return replace(outputs, log_probs=numerics.log_softmax(cleared))


ATTACKS = {"cell_mates": CellMates, "scale_aligned": ScaleAligned}
