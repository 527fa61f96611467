"""One target model, attacked with shadow models that an attacker trained on the same records."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Self

from dynanoise.attacks.pseudo_targets import leave_one_out
from dynanoise.audits.measures import Measures, count_persons
from dynanoise.core import membership
from dynanoise.core.defense import Defense, Method
from dynanoise.core.numerics import Int8, Int64
from dynanoise.core.observation import Observation, ShadowObservations
from dynanoise.core.outputs import Outputs, Pool, View
from dynanoise.core.result import Result, ThreatModel
from dynanoise.core.seeding import derive
from dynanoise.evaluation.chosen_inputs import PreparedPaths, Target, direct_queries, probe
from dynanoise.evaluation.design import ModelNoise
from dynanoise.evaluation.engine import evaluate
from dynanoise.evaluation.evidence import Gatherer
from dynanoise.evaluation.feasibility import find_feasible
from dynanoise.evaluation.protocols import BOUNDARY_OF_CELLS, chosen
from dynanoise.evaluation.provenance import Provenance, count_records
from dynanoise.evaluation.responses import make_noise, recover
from dynanoise.evaluation.shadow_pool import CALIBRATION, observe_all, person_success
from dynanoise.evaluation.trial import AttackScores, Trial
from dynanoise.metrics.bootstrap import bootstrap
from dynanoise.metrics.groups import Persons
from dynanoise.metrics.success import Success
from dynanoise.probing.keyed_outputs import without_noise

MODELS = 16
"""Number of shadow models that an auditor trains."""


@dataclass(frozen=True, eq=False)
class OneTarget:
    """A target that answers elsewhere, such as a server, and the attacker's own shadow models.

    All records are scored. Thresholds and the strongest attack are chosen on the shadow models as
    pseudo-targets. Intervals are over resampled records and hold for this one target.

    Attributes:
        shadows: undefended outputs of S shadow models on N records, with their membership; without
            reference records, on which the target would have to be queried as well.
        member: int8 [N], membership in the target's training data, which no attack sees.
        responses: the target's direct outputs.
        target: answers queries with chosen inputs, in one run of the strongest kind.
        prepared: paths, with the outputs of the S shadow models on them.
        defense: the defense as the attacker knows it, for its shadow models.
        persons: int64 [N], see `ShadowPool`.
    """

    shadows: Pool
    member: Int8
    responses: Observation
    target: Target
    prepared: PreparedPaths
    defense: Defense
    persons: Int64 | None = None

    @cached_property
    def records(self) -> Outputs:
        """See `Design`: of the target's direct outputs, undone as far as the attacker can."""
        records = self.shadows.records
        logits = self.responses.undo(self.responses.log_probs)[None]
        return Outputs(logits, records.labels, records.ids, self.member[None])

    @property
    def seed(self) -> int:
        """See `Design`."""
        return self.shadows.seed

    @property
    def split(self) -> str:
        """See `Design`."""
        return self.shadows.split

    @property
    def counts(self) -> dict[str, int]:
        """Number of records, see `count_records`, and of shadow models."""
        counts = count_records(self.shadows, self.member[None])
        return {**counts, "models": 1, "shadow_models": self.shadows.models}

    def take_first(self, targets: int) -> Self:
        """See `Design`: there is one target."""
        return self

    def views(self, threat: ThreatModel) -> Iterator[View]:
        """See `Design`: none, because the attacker takes the defense as the target has it."""
        return iter(())

    def noise(self, method: Method) -> ModelNoise:
        """See `Design`."""
        return lambda model, role: make_noise(
            method, self.seed, self.split, method.name, role, model
        )

    def trials(
        self, defenses: Sequence[Defense], threat: ThreatModel, noise: ModelNoise
    ) -> Iterator[Trial]:
        """See `Design`: one trial."""
        pool, use = self.shadows, self.shadows.records.use
        direct = direct_queries(threat.repeats, self.responses.constant)
        behind = [self.defense] * pool.models
        observed = observe_all(pool, behind, replace(threat, repeats=direct), noise, "shadow")
        of_target = recover(self.responses, direct)
        outcome = probe(
            self.target,
            of_target,
            self.prepared,
            range(pool.models),
            use,
            threat.repeats,
            direct,
            best_only=True,
        )
        k = membership.shadows_per_record(use)
        kept = membership.balance_shadows(use, k, derive(self.seed, "hidden"))
        of_shadows = ShadowObservations(
            tuple(
                each.with_columns(columns)
                for each, columns in zip(observed, outcome.shadows, strict=True)
            ),
            kept,
            pool.records,
            tuple(range(pool.models)),
        )
        nothing = {name: getattr(of_target, name)[:0] for name in ("labels", "ids", "log_probs")}
        population = replace(of_target, **nothing)
        of_target = replace(of_target.with_columns(outcome.target), population=population)
        if self.target.cell_width is not None:
            of_target, of_shadows = without_noise(
                self.target.cell_width, of_target, of_shadows, pool
            )
        played = leave_one_out(
            kept,
            pool.records.ids,
            pool.models,
            derive(self.seed, "pseudo"),
            -(-CALIBRATION // pool.models),
            self.persons,
        )
        yield Trial(
            of_target,
            of_shadows,
            tuple(role.pseudo_target(of_shadows) for role in played),
            self.member == 1,
            membership.has_shadows(kept) & (self.member >= 0),
            max(outcome.queries.values()),
            Persons.of_records(pool.records.ids, self.persons),
        )

    def utility(self) -> Iterator[tuple[Outputs, Outputs]]:
        """See `Design`: none."""
        return iter(())

    def metrics(self, attack: AttackScores, fprs: Sequence[float]) -> Success:
        """See `Design` and `bootstrap`."""
        seed = derive(self.seed, "bootstrap")
        if self.persons is not None:
            return Success(person_success(attack, self.persons, seed, fprs).metrics)
        return Success(bootstrap(attack.scores, seed, fprs=fprs).metrics)


def evaluate_chosen(
    one: OneTarget,
    method: Method,
    queries: int,
    attacks: Sequence[str],
    provenance: Provenance,
    measures: Measures,
    gatherer: Gatherer,
    progress: Callable[[str], None] = lambda step: None,
    *,
    knows_defense: bool = True,
) -> Iterator[Result]:
    """Measure the success of an attacker who chooses its inputs.

    Args:
        one: the target with the attacker's shadow models.
        method: the target's defense, for results.
        queries: query budget, 1 to 256 a record.
        attacks: specifications of attacks beside the probing; all that the shadow models allow if
            empty.
        provenance: fields of the results that are not measured.
        measures: further measures of the audit.
        gatherer: collects the evidence.
        progress: called after each attack.
        knows_defense: False for an attacker to whom the defense is unknown.

    Yields:
        Results of each attack and of the attacker's choice.
    """
    protocol = chosen(queries)
    usual = find_feasible(one.shadows, attacks).attacks
    return evaluate(
        {"plain": one},
        [method],
        replace(
            protocol,
            threat=replace(protocol.threat, knows_defense=knows_defense),
            attacks=(*usual, *BOUNDARY_OF_CELLS),
        ),
        {"plain": replace(provenance, counts=count_persons(one, one.persons))},
        fprs=measures.fprs,
        gatherer=gatherer,
        measures=measures,
        progress=progress,
    )
