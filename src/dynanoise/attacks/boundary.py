"""Attacks on the outcomes of queries with chosen inputs, which are columns of observations."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar, NamedTuple, final

import numpy as np

from dynanoise.attacks.base import Attack
from dynanoise.attacks.gaussians import Gaussian, StudentT, fit_gaussian
from dynanoise.core.errors import InputError
from dynanoise.core.membership import Slots
from dynanoise.core.numerics import Float64
from dynanoise.core.observation import Observation, ShadowObservations


class _Learned(NamedTuple):
    slots: Slots
    inside: Gaussian | StudentT
    outside: Gaussian | StudentT


def _column(outputs: Observation, names: tuple[str, ...]) -> Float64:
    """The first of some columns that the outputs have."""
    name = next((name for name in names if name in outputs.columns), None)
    if name is None:
        raise InputError(
            f"The outputs have no {names[0]}: no query had an input of the attacker's choice.",
            "Use a protocol with chosen inputs, such as adaptive_chosen.",
        )
    return np.asarray(outputs.columns[name])


class _Boundary(Attack):
    """LiRA on a probed column: one Gaussian for in-models and one for out-models of a record."""

    aligned: ClassVar[bool] = True
    needs_chosen_inputs: ClassVar[bool] = True

    @property
    @abstractmethod
    def columns(self) -> tuple[str, ...]:
        """Names of columns, of which the first is used that there is."""

    def learn(self, shadows: ShadowObservations) -> _Learned:
        """Fit both Gaussians, with standard deviations that all records share."""
        values = np.stack([_column(model, self.columns) for model in shadows.observations])
        sides = shadows.slots.take(values)
        variance = "residual" if shadows.slots.k > 1 else "raw"
        inside, outside = (fit_gaussian(side, "mean", variance, side) for side in sides)
        return _Learned(shadows.slots, inside, outside)

    def formula(self, learned: _Learned, target: Observation) -> Float64:
        """Compute ln N(value; in) - ln N(value; out), [N]."""
        values = _column(target, self.columns)[learned.slots.rows]
        ratio = learned.inside.log_density(values) - learned.outside.log_density(values)
        return learned.slots.spread(ratio[:, 0], len(target.labels))


@final
@dataclass(frozen=True)
class BoundaryDistance(_Boundary):
    """Distance to the model's decision boundary, by labels alone, against the shadow models'.

    Choquette-Choo et al. 2021 (arXiv:2007.14321) and Li & Zhang 2021 (arXiv:2007.15528): a record
    that was trained on lies further from the boundary. The queries, and the number that stands for
    the distances, are those of `probing.boundary`; here LiRA (Carlini et al. 2022) compares it with
    the shadow models that were and were not trained on the record. Score in nats; larger = more
    likely a member, member if above 0. Records without shadow models score 0.

    Needs a threat model with chosen inputs, and k in- and out-models for each record. It reads
    nothing but labels, so no defense that keeps labels makes it weaker at a query budget.
    """

    title: ClassVar[str] = "Boundary distance"
    columns = ("boundary_distance",)


@final
@dataclass(frozen=True)
class BoundaryProbing(_Boundary):
    """Boundaries of keyed noise's cells, and of labels, where the clean logit gap is known.

    As `BoundaryDistance`, but the border of a cell is looked for as well where it is nearer than
    the change of the label. The grid of the cells is recovered from the direct outputs. Where
    outputs give no cells away it is `BoundaryDistance`.

    Needs a threat model with chosen inputs, and k in- and out-models for each record.
    """

    title: ClassVar[str] = "Boundary probing"
    columns = ("boundary_probing", "boundary_distance")


ATTACKS = {"boundary_distance": BoundaryDistance, "boundary_probing": BoundaryProbing}
