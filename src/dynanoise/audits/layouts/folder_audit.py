"""Audit of another tool's folder: in memory if it fits, else by parts of its records."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from dynanoise.attacks.base import title_of
from dynanoise.audits.audit_report import AuditReport
from dynanoise.audits.columns import UNNAMED, ColumnNames, overlap_warnings
from dynanoise.audits.conditions import check_condition, warn_unresolved
from dynanoise.audits.inputs import check_conditions, check_membership_counts, membership_warnings
from dynanoise.audits.layouts.arrays import BroughtPool, open_array
from dynanoise.audits.layouts.lira import LABELS, is_lira_folder, read_lira_folder
from dynanoise.audits.layouts.privacy_meter import (
    is_privacy_meter_folder,
    read_privacy_meter_folder,
)
from dynanoise.audits.measures import Measures
from dynanoise.audits.pool_audit import BY_PERSON, AuditPlan, audit_pool, count_steps
from dynanoise.core import membership
from dynanoise.core.errors import DataFileError, DynaNoiseError, InputError
from dynanoise.core.numerics import Bools, Float64, Int64
from dynanoise.core.outputs import Outputs, Pool
from dynanoise.core.registry import ATTACKS
from dynanoise.core.result import STRONGEST, AttackProtocol, Metric, Result
from dynanoise.core.seeding import derive
from dynanoise.data.columns import check_named
from dynanoise.defenses.temperature import undefended
from dynanoise.evaluation.evidence import Gatherer
from dynanoise.evaluation.feasibility import LEAST_POPULATION, find_feasible
from dynanoise.evaluation.protocols import adaptive
from dynanoise.evaluation.provenance import Provenance, describe
from dynanoise.evaluation.shadow_pool import ShadowPool
from dynanoise.evaluation.shards import score_by_shards
from dynanoise.evaluation.trial import (
    AttackScores,
    attack_trials,
    choose_attacks,
    to_common_scale,
)
from dynanoise.metrics.bootstrap import PoolScores
from dynanoise.metrics.groups import by_person
from dynanoise.metrics.two_way import two_way_metrics

IN_MEMORY = 10_000_000
"""Numbers (models x records x inputs x classes) up to which a folder is audited in memory."""

SAMPLE = 5_000_000
"""Numbers in the sample of a larger folder, on which thresholds and an attack are chosen."""

ROLES = 2**28
"""Bytes of memory for the roles of models in the sample: each target has M - 1 pseudo-targets, and
each of these the membership of M - 2 models."""

BY_PARTS = ("lira", "rmia")
"""Attacks on a larger folder, unless others are named."""


def read_folder(
    folder: Path, labels: Path | None = None, named: ColumnNames = UNNAMED
) -> BroughtPool:
    """Open a folder that another tool wrote.

    Args:
        folder: a folder of LiRA or Privacy Meter.
        labels: npy file of the true classes, for LiRA's forks that keep none.
        named: further arrays [N], each the file NAME.npy in the folder.

    Returns:
        Outputs and membership.

    Raises:
        DataFileError: if the folder is none of these, or a file cannot be read.
        InputError: if its files do not fit together.
    """
    if is_privacy_meter_folder(folder):
        brought = read_privacy_meter_folder(folder)
    elif is_lira_folder(folder):
        brought = read_lira_folder(folder, labels)
    else:
        raise DataFileError(
            f"{folder} holds no folders with keep.npy, as of LiRA, no models/memberships.npy, as "
            "of Privacy Meter, and no logits_train.npy.",
            "Name such a folder, or put the outputs of your models into one file: "
            "np.savez(file, logits=logits, labels=labels, member=member).",
        )
    check_membership_counts(brought.pool.use)
    files = {path.stem: path for path in sorted(folder.glob("*.npy"))}
    check_named(folder, named.names, tuple(files), (Path(LABELS).stem,))
    columns = named.choose({name: open_array(files[name], texts=True) for name in named.names})
    return replace(brought, columns=columns.check(brought.pool.use.shape[1]))


@dataclass(frozen=True, eq=False)
class FolderAudit:
    """An audit of another tool's folder.

    Args:
        brought: outputs and membership.
        plan: options of the audit.
        seed: seed of random splits.
    """

    brought: BroughtPool
    plan: AuditPlan
    seed: int = 0

    @property
    def fits(self) -> bool:
        """True if the folder is audited in memory."""
        return self._numbers(self.brought.pool.use.shape[1]) <= IN_MEMORY

    @cached_property
    def _persons(self) -> Int64 | None:
        """Positions of the persons of all records, which every attack needs; None without."""
        return self.brought.columns.person_numbers(np.arange(self.brought.pool.use.shape[1]))

    def _numbers(self, records: int) -> int:
        first = self.brought.pool.part(slice(0, 1)).logits
        return int(records * first.size)

    def _pool(self, rows: Int64) -> Pool:
        """Some records, with the reference set: the population, else records of no model.

        Of several models, records of no model are left out or hidden, as in `score_by_shards`.
        """
        files, beyond = self.brought.pool, self.brought.reference
        outside = np.flatnonzero((files.use == 0).all(axis=0))
        apart = beyond is None and len(files.use) > 1 and len(outside) >= LEAST_POPULATION
        records = files.select(np.setdiff1d(rows, outside) if apart else rows)
        if len(files.use) > 1 and not apart:
            use = np.where(np.isin(rows, outside), np.int8(-1), records.use)
            records = replace(records, use=use)
        nothing = records.select(records=slice(0))
        reference = nothing
        if beyond is not None:
            reference = beyond.select(np.arange(beyond.use.shape[1]))
        elif apart:
            reference = files.select(outside[: len(rows)])
        split = f"{records.models} {len(records.ids)} {len(reference.ids)} {self.seed}"
        return Pool(records, nothing, reference, self.seed, split)

    def steps(self) -> int:
        """The largest number of times that `run` calls its progress."""
        if self.fits:
            first = self._pool(np.arange(self.brought.pool.use.shape[1]))
            return count_steps(first, self._limited(first)[0])
        return 2 * len(self.plan.attacks or BY_PARTS)

    def _limited(self, pool: Pool) -> tuple[AuditPlan, tuple[str, ...]]:
        """The plan without attacks that the outputs do not allow, and why."""
        allowed = self.brought.attacks
        if allowed is None:
            return self.plan, ()
        names = {ATTACKS.build(name) for name in allowed}
        refused = [name for name in self.plan.attacks if ATTACKS.build(name) not in names]
        if refused:
            raise InputError(
                f"{refused[0]} cannot be run on {self.brought.kind}.",
                f"Use some of {', '.join(allowed)}.",
            )
        if pool.models == 1:
            allowed = tuple(name for name in allowed if not ATTACKS.build(name).aligned)
        plan = self.plan if self.plan.attacks else replace(self.plan, attacks=allowed)
        return plan, (self.brought.reason,)

    def run(
        self,
        provenance: Provenance,
        progress: Callable[[str], None] = lambda step: None,
        workers: int = 1,
    ) -> AuditReport:
        """Run the attacks.

        Args:
            provenance: fields of the results that are not measured.
            progress: called after each step.
            workers: processes that measure, or score the parts of a large folder.

        Returns:
            As of `pool_audit.audit_pool`.

        Raises:
            InputError: for a defense or an attack that these outputs do not allow, or if no attack
                can score a large folder by parts.
            TooFewRecordsError: if there are too few models or records for any attack.
        """
        records = self.brought.pool.use.shape[1]
        if self.fits:
            pool = self._pool(np.arange(records))
            plan, notes = self._limited(pool)
            notes = (*self.brought.notes, *notes)
            return audit_pool(
                pool,
                plan,
                provenance,
                progress,
                notes=notes,
                workers=workers,
                columns=self.brought.columns,
            )
        return self._by_parts(provenance, progress, workers)

    def _by_parts(
        self, provenance: Provenance, progress: Callable[[str], None], workers: int
    ) -> AuditReport:
        """Choose thresholds on a sample of the records, then score all of them."""
        plan, files = self.plan, self.brought.pool
        models, records = files.use.shape
        if plan.defense is not None or models == 1:
            raise InputError(
                f"{models} x {records:,} records are too many to try a defense on."
                if models > 1
                else f"One model has {records:,} records, too many at a time.",
                "Audit some of the records.",
            )
        count = min(records * SAMPLE // self._numbers(records), ROLES // models**3)
        count = max(1000, count)
        generator = np.random.default_rng(derive(self.seed, "sample of a folder"))
        drawn = membership.draw_persons(generator.permutation(records), count, self._persons)
        sample = self._pool(np.sort(drawn))
        feasible = find_feasible(sample, plan.attacks or BY_PARTS)
        needs = dict(feasible.needs)
        overlap = overlap_warnings(self.brought.columns, files.labels, files.use)
        warnings = (*membership_warnings(sample.records), *overlap)
        check_conditions(plan.fail_if, warnings)

        def note_refusal(name: str, error: DynaNoiseError) -> None:
            needs[name] = f"{title_of(name)}: {error}"

        persons = self.brought.columns.person_numbers(sample.records.ids)
        design, gatherer = ShadowPool(sample, persons=persons), Gatherer()
        protocol = adaptive(near=sample.records.inputs > 1)
        method = plan.methods[0]
        defenses = [method.defense.fit(view) for view in design.views(protocol.threat)]
        trials = list(design.trials(defenses, protocol.threat, design.noise(method)))
        names = []
        for name in feasible.attacks:
            try:
                ATTACKS.build(name).gather(trials[0].shadows)
            except InputError as error:  # it takes all records at once, which are too many
                needs[name] = str(error)
            else:
                names.append(name)
        protocol = replace(protocol, attacks=tuple(names))
        calibrated = {}
        for scores in attack_trials(trials, names, note_refusal):
            gatherer.add_scores(method, protocol, design, scores)
            calibrated[scores.name] = scores
            progress(f"{scores.name}, thresholds")
        del trials, defenses
        calibrated.pop(STRONGEST, None)
        if not calibrated:
            raise InputError(" ".join(needs.values()), "Name other attacks, or none.")
        measures = Measures(self.brought.columns, plan.fprs, sample, overlap=bool(overlap))
        results = self._score(
            calibrated, sample.reference, protocol, provenance, progress, workers, measures
        )
        if plan.fail_if:
            warn_unresolved(plan.fail_if, results[0].counts["scored_non_members"])
        outcomes = tuple(check_condition(condition, results) for condition in plan.fail_if)
        sentences = (
            *self.brought.notes,
            f"All {records:,} records were scored, some at a time. Thresholds and the attacker's "
            f"choice were made on {len(sample.records.ids):,} records drawn by the seed, of which "
            "also ROC curves, histograms and records at risk are.",
            *warnings,
            *(() if persons is None else (BY_PERSON.format(persons=results[0].counts["persons"]),)),
            *needs.values(),
            *(outcome.sentence for outcome in outcomes),
        )
        return AuditReport(gatherer.evidence(results, sentences), outcomes)

    def _score(
        self,
        calibrated: Mapping[str, AttackScores],
        reference: Outputs,
        protocol: AttackProtocol,
        provenance: Provenance,
        progress: Callable[[str], None],
        workers: int,
        measures: Measures,
    ) -> list[Result]:
        """Results of attacks on all records, and of the attacker's choice for each target."""
        names = list(calibrated)
        best = choose_attacks(list(calibrated.values()))
        chosen = {name: np.flatnonzero(best == place).tolist() for place, name in enumerate(names)}
        expected = {name: np.asarray(scores.expected) for name, scores in calibrated.items()}
        results: dict[str, Result] = {}
        choice: dict[int, tuple[list[Float64], Bools]] = {}
        # Scores fill most of the memory. Those of the targets whose attacker chooses an attack are
        # kept, and the attack of most targets comes last: the others' are then put among its own.
        for name in sorted(names, key=lambda name: len(chosen[name])):
            started = time.perf_counter()
            sampled = calibrated[name]
            scores = self._score_all(name, sampled, reference, workers)
            metrics, counts = self._success(scores)
            metrics["expected"] = Metric(float(expected[name].mean()))
            counts["reference"] = len(reference.ids)
            results[name] = Result(
                method=self.plan.methods[0].name,
                defense=describe(undefended()),
                attack=name,
                protocol=protocol.name,
                threat=protocol.threat,
                metrics={**metrics, **self._further(measures, protocol, name, scores[0])},
                seconds=time.perf_counter() - started,
                seed=self.seed,
                split=f"{self.brought.name} {self.seed}",
                **vars(replace(provenance, counts=counts)),
            )
            last = len(results) == len(names)
            calibrations = (sampled.persons or sampled).calibration
            for target in chosen[name]:
                ranked = [
                    to_common_scale(part.scores[target], calibrations[target]) for part in scores
                ]
                decisions = scores[0].decisions[target].copy()
                if last:
                    _put(scores, target, ranked, decisions)
                else:
                    choice[target] = ranked, decisions
            progress(f"{name}, all records")
            if not last:
                del scores
        for target, (ranked, decisions) in choice.items():
            _put(scores, target, ranked, decisions)
        metrics, _ = self._success(scores)
        of_best = [expected[names[place]][target] for target, place in enumerate(best)]
        metrics["expected"] = Metric(float(np.mean(of_best)))
        counted = {name: len(targets) for name, targets in chosen.items() if len(targets)}
        metrics |= {f"chosen {name}": Metric(float(count)) for name, count in counted.items()}
        metrics |= self._further(measures, protocol, STRONGEST, scores[0])
        strongest = replace(results[names[0]], attack=STRONGEST, seconds=0.0, metrics=metrics)
        return measures.complete([*(results[name] for name in names), strongest])

    def _score_all(
        self, name: str, sampled: AttackScores, reference: Outputs, workers: int
    ) -> list[PoolScores]:
        """Scores of one attack on all records, and decisions at the thresholds of the sample.

        Returns:
            Scores of records; or, where persons are known, means of a person's scores and the
            largest of them.
        """
        shards = score_by_shards(
            self.brought.pool,
            ATTACKS.build(name),
            seed=self.seed,
            population=reference if len(reference.ids) else None,
            workers=workers,
        )
        decisions = shards.scores >= sampled.thresholds[:, None]
        scores = PoolScores(shards.scores, decisions, shards.members, shards.scored)
        if self._persons is None:
            return [scores]
        means = by_person(scores, self._persons, sampled.thresholds)
        return [means, by_person(scores, self._persons, largest=True)]

    def _success(self, scores: Sequence[PoolScores]) -> tuple[dict[str, Metric], dict[str, int]]:
        """Metrics of an attack on all records or persons, and counts of what was scored.

        Args:
            scores: those of `_score_all`.
        """
        models, records = self.brought.pool.use.shape
        counts = {"models": models, "pool": records, "reference": 0, "test": 0}
        measured, *largest = scores
        metrics = two_way_metrics(measured, self.plan.fprs)
        for part in largest:
            metrics["auc_largest"] = two_way_metrics(part, ())["auc"]
            counts["persons"] = part.scores.shape[1]
        counts["scored_members"] = int((measured.scored & measured.members).sum())
        counts["scored_non_members"] = int((measured.scored & ~measured.members).sum())
        return metrics, counts

    def _further(
        self, measures: Measures, protocol: AttackProtocol, attack: str, scores: PoolScores
    ) -> dict[str, Metric]:
        """Further metrics of an attack on all records."""
        names, files = (protocol.name, self.plan.methods[0].name), self.brought.pool
        return measures.measure(names, attack, scores, files.labels, np.arange(len(files.labels)))


def _put(
    scores: Sequence[PoolScores], target: int, ranked: Sequence[Float64], decisions: Bools
) -> None:
    """Replace the scores and decisions of one target; the first scores have the decisions."""
    for part, row in zip(scores, ranked, strict=True):
        part.scores[target] = row
    scores[0].decisions[target] = decisions
