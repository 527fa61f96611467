"""One model without shadow models: the attacker knows half of the records."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Self

import numpy as np

from dynanoise.attacks.pseudo_targets import PseudoTarget
from dynanoise.core.defense import Defense, Method
from dynanoise.core.numerics import Int8, Int64
from dynanoise.core.observation import Observation, ShadowObservations
from dynanoise.core.outputs import Outputs, Pool, View
from dynanoise.core.result import ThreatModel
from dynanoise.core.seeding import derive
from dynanoise.evaluation.design import ModelNoise
from dynanoise.evaluation.provenance import count_records
from dynanoise.evaluation.responses import make_noise, observe, recover
from dynanoise.evaluation.shadow_pool import person_success
from dynanoise.evaluation.trial import AttackScores, Trial
from dynanoise.metrics.bootstrap import bootstrap
from dynanoise.metrics.groups import Persons
from dynanoise.metrics.success import Success


@dataclass(frozen=True, eq=False)
class Halves:
    """Positions of records, members and non-members in about equal shares.

    Attributes:
        parts: int64 [2][n], two parts of the records that the attacker knows: an attack learns from
            one part and is calibrated on the other.
        scored: int64 [S], records that are scored.
    """

    parts: tuple[Int64, Int64]
    scored: Int64


def draw_halves(use: Int8, seed: int, persons: Int64 | None = None) -> Halves:
    """Draw half of the members and of the non-members as known to the attacker.

    Args:
        use: int8 [N], membership; hidden records (-1) are neither known nor scored.
        seed: seed of the draw.
        persons: int64 [N], position of each record's person, all of whose records play one part;
            None if each record is a person's only one.

    Returns:
        Positions in ascending order.

    >>> halves = draw_halves(np.array([1, 1, 1, 1, 0, 0, 0, 0, -1], dtype=np.int8), seed=0)
    >>> [len(part) for part in (*halves.parts, halves.scored)]
    [2, 2, 4]
    """
    if persons is not None:
        kinds = np.full(int(persons.max()) + 1, -1, dtype=np.int8)
        np.maximum.at(kinds, persons, use)
        halves = draw_halves(kinds, seed)
        first, second, scored = (
            np.flatnonzero(np.isin(persons, part) & (use >= 0))
            for part in (*halves.parts, halves.scored)
        )
        return Halves((first, second), scored)
    generator = np.random.default_rng(derive(seed, "known half"))
    parts: list[list[Int64]] = [[], [], []]
    for value in (1, 0):
        rows = generator.permutation(np.flatnonzero(use == value))
        half = len(rows) // 2
        for part, drawn in zip(
            parts, (rows[: half // 2], rows[half // 2 : half], rows[half:]), strict=True
        ):
            part.append(drawn)
    first, second, scored = (np.sort(np.concatenate(part)) for part in parts)
    return Halves((first, second), scored)


@dataclass(frozen=True, eq=False)
class SingleModel:
    """One model, attacked with the help of its own predictions about records of known membership.

    The known non-members are the population of Attack-P; the known half stands for a shadow model
    where an attack needs one, though not of the same records. Thresholds and the strongest attack
    are chosen on known records that nothing was learned from. Intervals are over resampled records
    and hold for this one model.

    Attributes:
        pool: outputs of one model.
        responses: predictions about the pool's records that were collected elsewhere, such as from
            a server; None observes the model behind the method's defense.
        persons: int64 [N], see `ShadowPool`.
    """

    pool: Pool
    responses: Observation | None = None
    persons: Int64 | None = None

    @cached_property
    def halves(self) -> Halves:
        """The records that the attacker knows, and those that are scored."""
        return draw_halves(self.pool.records.use[0], self.pool.seed, self.persons)

    @cached_property
    def records(self) -> Outputs:
        """See `Design`."""
        return self.pool.records.select(records=self.halves.scored)

    @property
    def seed(self) -> int:
        """See `Design`."""
        return self.pool.seed

    @property
    def split(self) -> str:
        """See `Design`."""
        return self.pool.split

    @property
    def counts(self) -> dict[str, int]:
        """Number of records by part, see `count_records`."""
        return count_records(self.pool, self.records.use)

    def take_first(self, targets: int) -> Self:
        """See `Design`: there is one target."""
        return self

    def views(self, threat: ThreatModel) -> Iterator[View]:
        """See `Design`: members, and non-members that are not scored."""
        if self.responses is not None:
            return
        view = self.pool.view(0)
        if not len(view.reference.labels):
            rows = np.concatenate(self.halves.parts)
            outside = rows[self.pool.records.use[0, rows] == 0]
            view = replace(view, reference=self.pool.records.select(records=outside))
        yield view

    def noise(self, method: Method) -> ModelNoise:
        """See `Design`."""
        pool = self.pool
        return lambda model, role: make_noise(
            method, pool.seed, pool.split, method.name, role, model
        )

    def trials(
        self, defenses: Sequence[Defense], threat: ThreatModel, noise: ModelNoise
    ) -> Iterator[Trial]:
        """See `Design`: one trial, whose pseudo-targets are the known records."""
        records, halves = self.pool.records, self.halves
        observed = self.responses
        if observed is None:
            source = noise(0, "target")
            aware, repeats = threat.knows_defense, threat.repeats
            observed = observe(defenses[0], records, source, repeats=repeats, aware=aware)
        observed = recover(observed, threat.repeats)
        if self.pool.inputs is not None:
            observed = replace(observed, inputs=self.pool.inputs)
        use = records.use[0]

        def about(rows: Int64, population: Observation) -> Observation:
            return replace(_select(observed, rows), population=population)

        def learn_from(known: Int64) -> tuple[ShadowObservations, Observation]:
            population = _select(observed, known[use[known] == 0])
            outputs = records.select(records=known)
            return ShadowObservations((about(known, population),), outputs.use, outputs), population

        def pseudo_target(known: Int64, rows: Int64) -> PseudoTarget:
            shadows, population = learn_from(known)
            everything = np.ones(len(rows), dtype=bool)
            return PseudoTarget(about(rows, population), shadows, use[rows] == 1, everything)

        first, second = halves.parts
        calibration = pseudo_target(first, second), pseudo_target(second, first)
        shadows, population = learn_from(np.sort(np.concatenate([first, second])))
        target = about(halves.scored, population)
        everything = np.ones(len(halves.scored), dtype=bool)
        persons = Persons.of_records(records.ids, self.persons)
        members = use[halves.scored] == 1
        yield Trial(target, shadows, calibration, members, everything, persons=persons)

    def utility(self) -> Iterator[tuple[Outputs, Outputs]]:
        """See `Design`."""
        if len(self.pool.test.labels):
            yield self.pool.test, self.pool.view(0).members

    def metrics(self, attack: AttackScores, fprs: Sequence[float]) -> Success:
        """See `Design` and `bootstrap`."""
        seed = derive(self.seed, "bootstrap")
        if self.persons is not None:
            _, persons = np.unique(self.persons[self.halves.scored], return_inverse=True)
            return Success(person_success(attack, persons, seed, fprs).metrics)
        return Success(bootstrap(attack.scores, seed, fprs=fprs).metrics)


def _select(observation: Observation, rows: Int64) -> Observation:
    """Predictions about some records."""
    return replace(
        observation,
        labels=observation.labels[rows],
        ids=observation.ids[rows],
        log_probs=observation.log_probs[rows],
    )
