"""Which models a plan needs, and what is made of their answers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dynanoise.benchmark.plan import Plan
from dynanoise.benchmark.preset import Kind
from dynanoise.benchmark.stamp import Stamp
from dynanoise.core.defense import Method
from dynanoise.core.outputs import Pool
from dynanoise.core.result import AttackProtocol, Result
from dynanoise.data.canaries import Canaries, plant
from dynanoise.data.dataset import Data
from dynanoise.evaluation.evidence import Keep
from dynanoise.evaluation.executors import Judges
from dynanoise.evaluation.paper_split import judge
from dynanoise.evaluation.shadow_pool import Memory, judge_pool, tasks_of
from dynanoise.training.architecture import named, tokenizer_of

if TYPE_CHECKING:
    from dynanoise.training.jobs import Answers, Job

Progress = Callable[[str], None]
"""Called with a few words, such as "seed 1: target", after each step."""


@dataclass(frozen=True, eq=False)
class Layout:
    """The models of a plan, before any is trained.

    Attributes:
        data: what the jobs are about, with canaries where the plan wants some.
        runs: the paper's layout, which may be empty.
        pools: likewise, for protocols over a pool.
        stamp: makes results.
    """

    data: Data
    runs: Runs
    pools: Pools
    stamp: Stamp

    @property
    def jobs(self) -> list[Job]:
        """All models, in the order in which answers are taken."""
        return [*self.runs.jobs, *self.pools.jobs]

    @property
    def kinds(self) -> dict[str, list[Job]]:
        """The same by what they are for, for people."""
        found: dict[str, list[Job]] = {}
        for (_, recipe), jobs in self.runs.by_run.items():
            found.setdefault(f"paper, {recipe}", []).extend(jobs)
        for kind, jobs in self.pools.by_kind.items():
            found.setdefault(f"pool, {kind}", []).extend(jobs)
        return found


def layout_of(plan: Plan, data: Data | None, folder: Path | None) -> Layout:
    """What a plan needs.

    Args:
        plan: what to run.
        data: where they are loaded already; None loads the preset's.
        folder: where data sets are looked for first, see `training.sources`.

    Raises:
        MissingExtraError: if what reads the data is not installed.
        MissingDataError: if no place has the data.
        InputError: if the model does not take such data.
    """
    from dynanoise.data import catalog
    from dynanoise.training import compatibility

    preset = plan.preset
    if data is None:
        data = catalog.load(preset.dataset, folder, tokenizer=tokenizer_of(preset.model))
    size = preset.size(plan.size)
    kinds = dict.fromkeys([*map(Kind, plan.recipes), *plan.pools])
    models = {kind: named(preset.model, **preset.parameters(kind)) for kind in kinds}
    for model in models.values():
        compatibility.check(model, data)
    named_recipes = dict.fromkeys(kind.recipe for kind in kinds)
    recipes = {name: size.recipe(name) for name in named_recipes}
    own = {kind.recipe: model for kind, model in models.items() if not kind.other}
    stamp = Stamp(plan, data.name, own, recipes)
    pools = Pools(plan, data, models, recipes)
    return Layout(pools.data, Runs(plan, data, own, recipes), pools, stamp)


def _effort(said: Sequence[Answers]) -> dict[str, float]:
    """What training took, for results."""
    return {
        "seconds": round(sum(one.seconds for one in said), 1),
        "retries": sum(one.retries for one in said),
    }


def _of(recipe: str) -> str:
    return "" if recipe == "plain" else f", {recipe}"


def _on(answers: Answers) -> str:
    return f", on {answers.node}" if answers.node else ""


class Runs:
    """The paper's layout: a target and shadows on records of their own, for every seed."""

    def __init__(
        self, plan: Plan, data: Data, models: Mapping[str, Any], recipes: Mapping[str, Any]
    ) -> None:
        from dynanoise.data.splits import split_of
        from dynanoise.training.designs import paper_jobs

        self.plan, self.data = plan, data
        preset, size = plan.preset, plan.preset.size(plan.size)
        self.protocols = [one for one in preset.protocols if one.design == "paper_split"]
        self.splits = [split_of(data, size.pool, size.reference, s) for s in range(plan.seeds)]
        self.by_run: dict[tuple[int, str], list[Job]] = {
            (seed, name): paper_jobs(
                split,
                models[name],
                recipes[name],
                seed=seed,
                shadows=shadows,
                threads=preset.threads,
                device=plan.device,
            )
            for seed, split in enumerate(self.splits)
            for name, shadows in plan.shadows.items()
        }
        self.jobs = [job for jobs in self.by_run.values() for job in jobs]

    def records(
        self, answers: Iterator[Answers], stamp: Stamp, progress: Progress
    ) -> Iterator[Result]:
        """Takes the answers to its jobs, in their order."""
        from dynanoise.training.designs import paper_run

        for seed, split in enumerate(self.splits):
            runs, training = {}, {}
            for recipe in self.plan.shadows:
                said = []
                for job in self.by_run[seed, recipe]:
                    said.append(next(answers))
                    progress(f"seed {seed}: {job.name}{_of(recipe)}{_on(said[-1])}")
                runs[recipe] = paper_run(self.data, split, said, seed=seed)
                training[recipe] = _effort(said)
            counts = split.counts
            scored = 2 * min(counts["members"], counts["non_members"])
            for protocol in self.protocols:
                for finding in judge(runs, self.plan.preset.methods, protocol):
                    name = finding.method.name
                    progress(f"seed {seed}: {name}, {finding.attack or 'utility'}")
                    yield stamp.record(
                        finding,
                        protocol,
                        seed=seed,
                        split=split.digest,
                        counts={**counts, "scored": scored},
                        training=training[finding.method.recipe],
                    )


class Pools:
    """A pool of models over the same records, for each kind.

    ``data`` are those given, with canaries in them if the plan wants some. Then nothing else is
    trained, because the paper's protocol is not run.
    """

    SEED = 0

    def __init__(
        self, plan: Plan, data: Data, models: Mapping[Kind, Any], recipes: Mapping[str, Any]
    ) -> None:
        from dynanoise.data.splits import pool_split
        from dynanoise.training.designs import pool_jobs

        self.plan, self.data = plan, data
        preset, size = plan.preset, plan.preset.size(plan.size)
        self.protocols = [one for one in preset.protocols if one.design == "pool"]
        self.by_kind: dict[Kind, list[Job]] = {}
        self.canaries: Canaries | None = None
        if plan.pools:
            most = max(plan.pools.values())
            self.split = pool_split(data, size.pool, most, size.reference, self.SEED)
            if plan.canaries:
                self.data, self.canaries = plant(data, self.split.pool, plan.canaries, self.SEED)
            self.by_kind = {
                kind: pool_jobs(
                    self.split,
                    models[kind],
                    recipes[kind.recipe],
                    seed=self.SEED,
                    models=count,
                    threads=preset.threads,
                    device=plan.device,
                    near=plan.near,
                )
                for kind, count in plan.pools.items()
            }
        self.jobs = [job for jobs in self.by_kind.values() for job in jobs]

    def records(
        self,
        answers: Iterator[Answers],
        stamp: Stamp,
        progress: Progress,
        judges: Judges,
        keep: Keep | None = None,
    ) -> Iterator[Result]:
        """Takes the answers to its jobs, in their order."""
        from dynanoise.training.designs import pool_of

        pools: dict[Kind, Pool] = {}
        training = {}
        for kind, jobs in self.by_kind.items():
            said = []
            for job in jobs:
                said.append(next(answers))
                progress(f"pool: {job.name}{_of(str(kind))}{_on(said[-1])}")
            pools[kind] = pool_of(self.data, self.split, said, seed=self.SEED)
            training[kind] = _effort(said)
            for protocol in self.protocols:  # while the next models are trained
                methods, targets, attackers = self._ready(protocol, pools)
                if methods[:1] == list(self.plan.preset.methods[:1]):
                    tasks = tasks_of(
                        targets,
                        methods,
                        protocol,
                        attackers,
                        canaries=self.canaries,
                        answers=keep is not None,
                    )
                    judges.ahead(tasks)
        memory: Memory = {}
        planted = {} if self.canaries is None else self.canaries.counts
        for protocol in self.protocols:
            methods, targets, attackers = self._ready(protocol, pools)

            def say(step: str, name: str = protocol.name) -> None:
                progress(f"{name}: {step}")

            options: dict[str, Any] = {
                "attackers": attackers,
                "keep": keep,
                "memory": memory,
                "canaries": self.canaries,
                "judges": judges,
            }
            for finding in judge_pool(targets, methods, protocol, say, **options):
                recipe = finding.method.recipe
                models = min(targets[recipe].models, attackers[recipe].models)
                yield stamp.record(
                    finding,
                    protocol,
                    seed=self.SEED,
                    split=self.split.digest,
                    counts={**self.split.counts, "models": models, **planted},
                    training=training[Kind(recipe)],
                )

    def _ready(
        self, protocol: AttackProtocol, pools: Mapping[Kind, Pool]
    ) -> tuple[list[Method], dict[str, Pool], dict[str, Pool]]:
        """Methods whose pools are there, with these and their attackers' pools by recipe."""
        preset = self.plan.preset
        methods, targets, attackers = [], {}, {}
        for one in preset.judged(protocol, self.plan.size):
            own, theirs = Kind(one.recipe), preset.attackers(one.recipe, protocol.threat)
            if own in pools and theirs in pools:
                methods.append(one)
                targets[one.recipe], attackers[one.recipe] = pools[own], pools[theirs]
        return methods, targets, attackers
