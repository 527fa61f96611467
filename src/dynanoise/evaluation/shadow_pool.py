"""A pool of models over the same records: each is the target once, the others its shadow models."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from dynanoise.attacks.pseudo_targets import LeaveOneOut, PseudoTargets, leave_one_out
from dynanoise.core import membership
from dynanoise.core.defense import Defense, Method, Noise
from dynanoise.core.errors import InputError
from dynanoise.core.numerics import Int8, Int64
from dynanoise.core.observation import Observation, ShadowObservations
from dynanoise.core.outputs import Outputs, Pool, View
from dynanoise.core.result import AttackProtocol, ThreatModel
from dynanoise.core.seeding import derive
from dynanoise.data.canaries import Canaries
from dynanoise.evaluation.canaries import canary_metrics
from dynanoise.evaluation.chosen_inputs import ChosenInputs, DefendedModel, direct_queries
from dynanoise.evaluation.design import ModelNoise
from dynanoise.evaluation.protocols import gives_cells_away
from dynanoise.evaluation.provenance import count_records
from dynanoise.evaluation.responses import NoiseSource, make_noise, observe, recover
from dynanoise.evaluation.trial import AttackScores, Trial
from dynanoise.metrics.bootstrap import bootstrap
from dynanoise.metrics.groups import Persons, by_person
from dynanoise.metrics.success import Success
from dynanoise.probing.keyed_outputs import without_noise

CALIBRATION = 20_000
"""Pairs of pseudo-target and record on which thresholds and an attack are chosen, about. Every
shadow model is a pseudo-target, because few of them may happen to favour one attack."""


@dataclass(frozen=True, eq=False)
class Roles:
    """Roles of the models when one of them is the target; they depend on membership alone.

    Attributes:
        target: the target among all models, and its shadow models.
        pseudo_targets: shadow models that are played as targets, among the shadow models.
    """

    target: LeaveOneOut
    pseudo_targets: tuple[LeaveOneOut, ...]


@dataclass(frozen=True, eq=False)
class ShadowPool:
    """Leave-one-out over a pool of models.

    Every record has the same number of in- and out-models for every target. Intervals are over
    resampled models and records.

    Attributes:
        pool: M models over the same N records.
        attacker: the attacker's own models, trained on the same records as those of ``pool``; None
            where they are the pool's.
        canaries: records of the pool whose success is also measured apart.
        chosen: the models as functions of inputs, for attackers who choose these.
        persons: int64 [N], position of each record's person, 0..P-1, to attack persons, see
            `trial.ByPerson`; None to attack records.

    Raises:
        InputError: if the attacker's models are others in number or membership.
    """

    pool: Pool
    attacker: Pool | None = None
    canaries: Canaries | None = None
    chosen: ChosenInputs | None = None
    persons: Int64 | None = None

    def __post_init__(self) -> None:
        attacker = self.attacker
        if attacker and not np.array_equal(attacker.records.use, self.pool.records.use):
            raise InputError(
                f"The attacker's {attacker.models} models were not trained on the same records as "
                f"the {self.pool.models} targets.",
                "Draw both from one split.",
            )

    @property
    def records(self) -> Outputs:
        """See `Design`."""
        return self.pool.records

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
        """Number of models and records, see `count_records`.

        Raises:
            TooFewRecordsError: if too few records have both an in- and an out-model.
        """
        return count_records(self.pool, self.scored_use)

    @property
    def scored_use(self) -> Int8:
        """Membership int8 [M, N] of the pairs that are scored, and -1 of others.

        Raises:
            TooFewRecordsError: if too few records have both an in- and an out-model.
        """
        use = self.records.use
        k = membership.shadows_per_target(use)
        inside, outside = ((use == value).sum(axis=0) - (use == value) for value in (1, 0))
        return np.where(np.minimum(inside, outside) >= k, use, np.int8(-1))

    @cached_property
    def roles(self) -> tuple[Roles, ...]:
        """Roles of the models for each of them as the target.

        Raises:
            TooFewRecordsError: if there are too few models for equal numbers of in- and out-models,
                or to play some as targets.
        """
        use, models = self.records.use, range(self.pool.models)
        k = membership.shadows_per_target(use)
        roles = []
        for target in models:
            others = tuple(model for model in models if model != target)
            seed = derive(self.seed, "hidden", target)
            kept = membership.balance_shadows(use[list(others)], k, seed)
            records = -(-CALIBRATION // len(others))
            played = leave_one_out(
                kept,
                self.records.ids,
                len(others),
                derive(self.seed, "pseudo"),
                records,
                self.persons,
            )
            roles.append(Roles(LeaveOneOut(target, others, kept), tuple(played)))
        return tuple(roles)

    def take_first(self, targets: int) -> ShadowPool:
        """See `Design`."""
        attacker = self.attacker and self.attacker.take_first(targets)
        chosen = self.chosen and self.chosen.take_first(targets)
        return replace(self, pool=self.pool.take_first(targets), attacker=attacker, chosen=chosen)

    def views(self, threat: ThreatModel) -> Iterator[View]:
        """See `Design`: of the pool's models, then of the attacker's own."""
        for pool in filter(None, (self.pool, self.attacker)):
            yield from (pool.view(model) for model in range(pool.models))

    def noise(self, method: Method) -> ModelNoise:
        """See `Design`."""
        pool = self.pool
        return lambda model, role: make_noise(
            method, pool.seed, pool.split, method.name, role, model
        )

    def trials(
        self, defenses: Sequence[Defense], threat: ThreatModel, noise: ModelNoise
    ) -> Iterator[Trial]:
        """See `Design`: one trial for each model."""
        targets = defenses[: self.pool.models]
        constant = all(defense.repeatable for defense in targets)
        keyed = noise(0, "target")("examples first").repeatable
        direct = threat.repeats
        if threat.chosen:
            direct = direct_queries(threat.repeats, constant or keyed)
        budget, threat = threat.repeats, replace(threat, repeats=direct)
        observed = shadows = observe_all(self.pool, targets, threat, noise, "target")
        # Repeatable noise has a key, and the attacker's is another one.
        alike = threat.knows_defense and constant and not keyed
        others = self.attacker or self.pool
        if self.attacker or not alike:
            others_defenses = defenses[self.pool.models :] or targets
            shadows = observe_all(others, others_defenses, threat, noise, "shadow")
        use = self.records.use
        everyone = ShadowObservations(shadows, use, others.records)
        for target, roles in enumerate(self.roles):
            of_target, of_pool = roles.target.shadows(everyone), observed[target]
            queries = float(direct)
            if threat.chosen:
                defended = self._defended(target, targets[target], noise(target, "target"))
                of_pool, of_target, queries = self._probe(
                    defended, of_pool, of_target, target, budget, direct
                )
            width = _readable_width(targets[target], noise(target, "target"))
            if width is not None and threat.knows_defense and not threat.key_known:
                of_pool, of_target = without_noise(width, of_pool, of_target, others)
            yield Trial(
                of_pool,
                of_target,
                PseudoTargets(roles.pseudo_targets, of_target),
                use[target] == 1,
                # Without membership of the target, or without shadow models, nothing is scored.
                membership.has_shadows(of_target.use) & (use[target] >= 0),
                queries,
                Persons.of_records(self.records.ids, self.persons),
            )

    def _defended(self, target: int, defense: Defense, source: NoiseSource) -> DefendedModel:
        if self.chosen is None:
            raise InputError(
                "There are outputs of these models only, which answer no further inputs.",
                "Chosen inputs need the models themselves: use a preset with its store.",
            )
        width = _readable_width(defense, source)
        return DefendedModel(self.chosen.models[target], defense, source, width)

    def _probe(
        self,
        defended: DefendedModel,
        observed: Observation,
        shadows: ShadowObservations,
        target: int,
        budget: int,
        direct: int,
    ) -> tuple[Observation, ShadowObservations, float]:
        """The target's outputs and its shadow models' with columns, and queries a record."""
        assert self.chosen is not None
        use = np.delete(self.records.use, target, axis=0)
        outcome = self.chosen.probe(target, defended, observed, use, budget, direct)
        probed = tuple(
            observation.with_columns(columns)
            for observation, columns in zip(shadows.observations, outcome.shadows, strict=True)
        )
        of_shadows = shadows.with_observations(probed)
        return observed.with_columns(outcome.target), of_shadows, max(outcome.queries.values())

    def utility(self) -> Iterator[tuple[Outputs, Outputs]]:
        """See `Design`: logits in float64."""
        if not len(self.pool.test.labels):
            return
        for model in range(self.pool.models):
            parts = self.pool.test.select(models=[model]), self.pool.view(model).members
            test, members = (replace(p, logits=p.logits.astype(np.float64)) for p in parts)
            yield test, members

    def metrics(self, attack: AttackScores, fprs: Sequence[float]) -> Success:
        """See `Design`, `bootstrap` and `canary_metrics`."""
        scores, seed = attack.scores, derive(self.seed, "bootstrap")
        if self.persons is not None:
            return person_success(attack, self.persons, seed, fprs)
        resampled = bootstrap(scores, seed, fprs=fprs)
        metrics = resampled.metrics
        if self.canaries is not None:
            ids = self.records.ids
            metrics |= canary_metrics(scores, ids, self.canaries, seed, fprs=fprs)
        return Success(metrics, resampled.replicates, resampled.draws)


def person_success(
    attack: AttackScores, persons: Int64, seed: int, fprs: Sequence[float]
) -> Success:
    """Measure the success of an attack by person, with intervals over models and persons.

    Args:
        attack: its scores [M, N] of records and [M, P] of persons.
        persons: int64 [N], position of each record's person.
        seed: seed of the bootstrap.
        fprs: false positive rates at which the TPR is wanted.

    Returns:
        Metrics of the mean of a person's scores, and the AUC of the largest as "auc_largest".
    """
    resampled = bootstrap(attack.measured, seed, fprs=fprs)
    largest = bootstrap(by_person(attack.scores, persons, largest=True), seed, fprs=())
    metrics = {**resampled.metrics, "auc_largest": largest.metrics["auc"]}
    return Success(metrics, resampled.replicates, resampled.draws)


def _readable_width(defense: Defense, source: NoiseSource) -> float | None:
    """The width of cells that outputs give away; None if they do not."""
    width: float | None = getattr(source("examples first"), "cell_width", None)
    return width if gives_cells_away(Method("", defense, cell_width=width)) else None


def observe_all(
    pool: Pool,
    defenses: Sequence[Defense],
    threat: ThreatModel,
    noise: ModelNoise,
    role: str,
) -> tuple[Observation, ...]:
    """Observe every model behind its defense: records, with the reference as the population.

    Args:
        pool: outputs of M models.
        defenses: one for each of them.
        threat: knowledge and query budget of the attacker.
        noise: noise of each model.
        role: "target" or "shadow".

    Returns:
        One observation for each model.
    """

    def observe_part(model: int, outputs: Outputs, part: str) -> Observation:
        source = noise(model, role)

        def of_part(purpose: str) -> Noise:
            return source(f"{part} {purpose}")

        observed = observe(
            defenses[model],
            outputs,
            of_part,
            model=model,
            repeats=threat.repeats,
            aware=threat.knows_defense,
        )
        observed = recover(observed, threat.repeats)
        return observed if pool.inputs is None else replace(observed, inputs=pool.inputs)

    return tuple(
        replace(
            observe_part(model, pool.records, "examples"),
            population=observe_part(model, pool.reference, "population"),
        )
        for model in range(pool.models)
    )


def shadow_pools(
    pools: Mapping[str, Pool],
    protocol: AttackProtocol,
    attackers: Mapping[str, Pool] | None = None,
    canaries: Canaries | None = None,
    chosen: Mapping[str, ChosenInputs] | None = None,
) -> dict[str, ShadowPool]:
    """Arrange pools of models for a protocol.

    Args:
        pools: by recipe, over the same records with the same membership; one may have fewer models
            than another.
        protocol: near-duplicates are left out unless it queries them.
        attackers: by the target's recipe, models that the attacker has instead of the pool's own;
            of both, as many are used as there are of the fewer.
        canaries: canaries of these pools.
        chosen: by recipe, the models as functions of inputs, for a protocol with chosen inputs.

    Returns:
        Designs by recipe.

    Raises:
        InputError: if the protocol queries near-duplicates and there are no predictions about any,
            or if the attacker's models have another membership.
    """
    augmented = protocol.threat.augmented
    designs = {}
    for recipe, pool in pools.items():
        attacker = (attackers or {}).get(recipe, pool)
        if augmented and pool.records.inputs == 1:
            raise InputError(
                f"The protocol {protocol.name!r} queries near-duplicates, and there are outputs of "
                "originals only.",
                "Query the models with near-duplicates as well, or use another protocol.",
            )
        models = min(pool.models, attacker.models)
        targets, shadows = (
            part.take_first(models) if augmented else part.originals().take_first(models)
            for part in (pool, attacker)
        )
        designs[recipe] = ShadowPool(
            targets, None if attacker is pool else shadows, canaries, (chosen or {}).get(recipe)
        )
    return designs
