"""Proposing the parameters of input cells from reference data alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from dynanoise.core.errors import InputError
from dynanoise.partition.cells import Cells
from dynanoise.partition.embeddings import Words
from dynanoise.partition.neighbourhood import Neighbourhood, sample
from dynanoise.partition.rows import count

_POINTS = 8
"""Sampled near-duplicates of a reference record."""


@dataclass(frozen=True)
class Candidate:
    """Parameters of cells, and what they would cost and leave.

    Attributes:
        folds, width, components: see `Cells.fit`.
        kept: share of the training data that the model has seen which answers a record, on average
            over records: 1 - 1 / K at best.
        moved: share of a record's near-duplicates that change their fold.
        covered: True if the record is left out of the models of those folds as well.
    """

    folds: int
    width: float
    components: int
    kept: float
    moved: float
    covered: bool = False


def candidates(
    reference: Any,
    near: Neighbourhood,
    *,
    covered: bool = True,
    folds: Sequence[int] = (2, 5, 10, 20),
    widths: Sequence[float] = (0.5, 1.0, 2.0, 4.0),
    components: Sequence[int] = (1, 2, 3),
    **fitting: Any,
) -> list[Candidate]:
    """Measure parameters of cells on reference data: one half is fitted to, the other measured.

    Args:
        reference: [n, ...], at least 20 records that no model is trained on.
        near: the near-duplicates of the threat model.
        covered: True if they are the neighbourhood that records are left out for; False if cells
            alone have to cover them.
        folds: values of K to combine with the others.
        widths: values of the width.
        components: numbers of components.
        fitting: further arguments of `Cells.fit`.

    Returns:
        A candidate for each combination whose neighbourhoods touch few enough cells.

    Raises:
        InputError: for fewer than 20 records.
    """
    if count(reference) < 20:
        raise InputError(
            f"There are {count(reference)} reference records.", "Use 20 or more, better hundreds."
        )
    half = count(reference) // 2
    fitted, rest = _rows(reference, slice(half)), _rows(reference, slice(half, None))
    measurements: list[Candidate] = []
    for number in components:
        base = Cells.fit(fitted, folds=2, width=1.0, components=number, **fitting)
        points = list(sample(near, rest, np.random.default_rng(0), _POINTS, base.scale))
        # Texts have no width.
        for width in widths[:1] if isinstance(base.embedding, Words) else widths:
            for several in folds:
                cells = replace(
                    base, folds=several, width=width, neighbourhood=near if covered else None
                )
                try:
                    touched = cells.touched(rest)
                except InputError:  # too many cells
                    continue
                fold = cells.fold(rest)
                kept = 1 - float(touched.mean(axis=1)[fold].mean())
                moved = float(np.mean([(cells.fold(part) != fold).mean() for part in points]))
                measurements.append(Candidate(several, width, number, kept, moved, covered))
    return measurements


def propose(measured: Sequence[Candidate], kept: float = 0.7) -> Candidate:
    """Choose parameters that keep enough training data.

    Of candidates that keep a share, that whose near-duplicates change their fold least, then
    the one with the fewest models; where near-duplicates are covered, the fewest models alone. If
    no candidate keeps the share, the one that keeps most.

    Args:
        measured: see `candidates`.
        kept: share of the training data to keep.

    Raises:
        InputError: if there is no candidate.

    >>> wide, narrow = Candidate(5, 4.0, 1, 0.5, 0.0), Candidate(5, 1.0, 3, 0.75, 0.1)
    >>> propose([wide, narrow]).width, propose([wide, narrow], kept=0.4).width
    (1.0, 4.0)
    """
    if not measured:
        raise InputError("There is no candidate.", "Use wider cells or a smaller neighbourhood.")
    enough = [candidate for candidate in measured if candidate.kept >= kept]
    if not enough:
        return max(measured, key=lambda candidate: candidate.kept)

    def cost(candidate: Candidate) -> tuple[float, int, float]:
        moved = 0.0 if candidate.covered else round(candidate.moved, 3)
        return moved, candidate.folds, -candidate.kept

    return min(enough, key=cost)


def _rows(inputs: Any, part: slice) -> Any:
    return inputs.iloc[part] if hasattr(inputs, "iloc") else inputs[part]
