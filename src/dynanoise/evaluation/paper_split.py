"""The paper's layout: one target, and shadow models trained on records of their own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Self

import numpy as np

from dynanoise.core.defense import Defense, Method
from dynanoise.core.numerics import Int64
from dynanoise.core.observation import Observation, ShadowObservations
from dynanoise.core.outputs import Outputs, Run, View
from dynanoise.core.result import ThreatModel
from dynanoise.core.seeding import derive
from dynanoise.evaluation.design import ModelNoise
from dynanoise.evaluation.responses import (
    NoiseSource,
    make_noise,
    observe,
    observe_undefended,
    recover,
)
from dynanoise.evaluation.trial import AttackScores, Trial
from dynanoise.metrics.success import Success, attack_metrics


def draw_equal_numbers(outputs: Outputs, seed: int) -> Int64:
    """Draw as many members as non-members of model 0; the larger side is subsampled.

    Args:
        outputs: membership in ``use[0]``.
        seed: seed of the run.

    Returns:
        int64, positions of the records in ascending order.

    >>> use = np.array([[1, 1, 1, 0, 0, -1]])
    >>> rows = Outputs(np.zeros((1, 6, 1, 2)), np.zeros(6, int), np.arange(6), use)
    >>> len(draw_equal_numbers(rows, seed=0))
    4
    """
    sides = [np.flatnonzero(outputs.use[0] == value) for value in (1, 0)]
    size = min(len(side) for side in sides)
    generator = np.random.default_rng(derive(seed, "equal numbers"))
    kept = [generator.permutation(side)[:size] for side in sides]
    return np.sort(np.concatenate(kept))


@dataclass(frozen=True, eq=False)
class PaperSplit:
    """One target model under the protocol of arXiv:2505.13362v2.

    Attacks score equal numbers of members and non-members and keep their own thresholds. Intervals
    are over the records of this one model.

    Attributes:
        run: target, shadow models and test data of one split and seed.
        undefended: shadow models of an attacker who does not know the defense; an attacker who does
            has those of ``run`` behind it, undoes what can be undone, and averages its queries.
    """

    run: Run
    undefended: ShadowObservations

    @cached_property
    def records(self) -> Outputs:
        """See `Design`."""
        target = self.run.target
        return target.select(records=draw_equal_numbers(target, self.run.seed))

    @property
    def seed(self) -> int:
        """See `Design`."""
        return self.run.seed

    @property
    def split(self) -> str:
        """See `Design`."""
        return self.run.split

    def take_first(self, targets: int) -> Self:
        """See `Design`: there is one target."""
        return self

    def views(self, threat: ThreatModel) -> Iterator[View]:
        """See `Design`: of shadow models only where the attacker knows the defense."""
        models = 1 + (self.run.shadows.models if threat.knows_defense else 0)
        return (self.run.view(model) for model in range(models))

    def noise(self, method: Method) -> ModelNoise:
        """See `Design`."""

        def of_model(model: int, role: str) -> NoiseSource:
            holder = "" if role == "target" else f"shadow {model}"
            return make_noise(method, self.run.seed, self.run.split, method.name, holder=holder)

        return of_model

    def trials(
        self, defenses: Sequence[Defense], threat: ThreatModel, noise: ModelNoise
    ) -> Iterator[Trial]:
        """See `Design`: one trial without calibration."""
        members = self.records.use[0] == 1
        everything = np.ones_like(members)
        repeats, outputs = threat.repeats, self.run.shadows
        if not threat.knows_defense:
            target = observe(defenses[0], self.records, noise(0, "target"), repeats=repeats)
            yield Trial(target, self.undefended, (), members, everything)
            return

        def observe_model(outputs: Outputs, model: int, role: str, defense: Defense) -> Observation:
            source = noise(model, role)
            behind = observe(defense, outputs, source, model=model, repeats=repeats, aware=True)
            return recover(behind, repeats)

        target = observe_model(self.records, 0, "target", defenses[0])
        shadows = [
            observe_model(outputs, model, "shadow", defense)
            for model, defense in enumerate(defenses[1:])
        ]
        observations = ShadowObservations(tuple(shadows), outputs.use, outputs)
        yield Trial(target, observations, (), members, everything)

    def utility(self) -> Iterator[tuple[Outputs, Outputs]]:
        """See `Design`."""
        yield self.run.test, self.run.view(0).members

    def metrics(self, attack: AttackScores, fprs: Sequence[float]) -> Success:
        """See `Design` and `attack_metrics`; the paper reports no TPR at a low FPR."""
        scores = attack.scores
        [of_target], [decisions] = scores.scores, scores.decisions
        return Success(attack_metrics(of_target, decisions, scores.members[0]))


def paper_splits(runs: Mapping[str, Run], baseline: str) -> dict[str, PaperSplit]:
    """Arrange runs of one split and seed for an evaluation.

    As published, an attacker who does not know the defense has shadow models of the baseline's
    recipe, however the target was trained.

    Args:
        runs: by recipe.
        baseline: recipe of the baseline.

    Returns:
        Designs by recipe.
    """
    undefended = observe_undefended(runs[baseline].shadows)
    return {recipe: PaperSplit(run, undefended) for recipe, run in runs.items()}
