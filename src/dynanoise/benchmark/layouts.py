"""Models that a plan needs, how they are laid out, and the results of their evaluation."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dynanoise.benchmark.plan import Plan
from dynanoise.benchmark.preset import Kind, Preset
from dynanoise.benchmark.stored_functions import stored_functions
from dynanoise.benchmark.stored_paths import StoredPaths
from dynanoise.core.defense import Method
from dynanoise.core.errors import DivergedError, InputError
from dynanoise.core.numerics import Float64, Int64
from dynanoise.core.outputs import Pool
from dynanoise.core.registry import ATTACKS, PRESETS
from dynanoise.core.result import AttackProtocol, Result
from dynanoise.core.seeding import derive
from dynanoise.data.canaries import Canaries, plant
from dynanoise.data.dataset import Data
from dynanoise.evaluation.chosen_inputs import ChosenInputs
from dynanoise.evaluation.engine import MeasurementCache, evaluate, list_tasks
from dynanoise.evaluation.evidence import Gatherer
from dynanoise.evaluation.paper_split import paper_splits
from dynanoise.evaluation.provenance import Provenance, device, hardware, versions
from dynanoise.evaluation.shadow_pool import ShadowPool, shadow_pools
from dynanoise.training.architecture import check_data, tokenizer_of

if TYPE_CHECKING:
    from dynanoise.training.jobs import Job, ModelOutputs
    from dynanoise.training.store.storage import Place

Progress = Callable[[str], None]
"""Called with a few words, such as "seed 1: target", after each step."""


@dataclass(frozen=True, eq=False)
class Layout:
    """The models of a plan, before any is trained.

    Attributes:
        data: data of the jobs, with canaries where the plan has some.
        runs: models of the paper's protocol; may be empty.
        pools: models of protocols over a pool; may be empty.
    """

    data: Data
    runs: Runs
    pools: Pools

    @property
    def jobs(self) -> list[Job]:
        """All models, in the order in which their outputs are taken."""
        return [*self.runs.jobs, *self.pools.jobs]

    @property
    def kinds(self) -> dict[str, list[Job]]:
        """All models by a description of their part."""
        kinds: dict[str, list[Job]] = {}
        for (_, recipe), jobs in self.runs.by_run.items():
            kinds.setdefault(f"paper, {recipe}", []).extend(jobs)
        for kind, jobs in self.pools.by_kind.items():
            kinds.setdefault(f"pool, {kind}", []).extend(jobs)
        return kinds


def make_layout(plan: Plan, data: Data | None, folder: Path | None) -> Layout:
    """List the models that a plan needs.

    Args:
        plan: preset, methods and protocols.
        data: loaded data; None loads the preset's.
        folder: where data sets are looked for first, see `data.sources`.

    Returns:
        The jobs of all models, and the data with canaries where the plan has some.

    Raises:
        MissingExtraError: if a package that reads the data is not installed.
        MissingDataError: if no place has the data.
        InputError: if the model does not take such data.
    """
    from dynanoise.data import catalog

    preset = plan.preset
    if data is None:
        data = catalog.load_data(preset.dataset, folder, tokenizer=tokenizer_of(preset.model))
    size = preset.size(plan.size)
    kinds = dict.fromkeys([*map(Kind, plan.recipes), *plan.pools])
    models = {kind: preset.architecture(kind) for kind in kinds}
    for model in models.values():
        check_data(model, data)
    names = dict.fromkeys(kind.recipe for kind in kinds)
    recipes = {name: size.recipe(name, plan.device) for name in names}
    of_targets = {kind.recipe: model for kind, model in models.items() if not kind.other}
    provenance = make_provenance(plan, data.name, of_targets, recipes)
    pools = Pools(plan, data, models, recipes, provenance)
    return Layout(pools.data, Runs(plan, data, of_targets, recipes, provenance), pools)


def make_provenance(
    plan: Plan, dataset: str, models: Mapping[str, Any], recipes: Mapping[str, Any]
) -> dict[str, Provenance]:
    """Fields of results that all runs of a plan share, by recipe.

    Args:
        plan: plan of the run.
        dataset: name of the data.
        models: the target's architecture for each recipe.
        recipes: recipes by name.

    Returns:
        Values by recipe, still without counts and training.
    """
    preset = plan.preset
    packages = (name for model in models.values() for name in getattr(model, "packages", ()))
    installed = versions(dict.fromkeys(packages))
    machine = {**hardware(), "threads": preset.threads, "device": device(plan.device)}
    return {
        recipe: Provenance(
            dataset,
            # A pretrained transformer is identified by the parameters, not by its folder.
            "hf" if tokenizer_of(preset.model) else preset.model_of(recipe),
            plan.command,
            asdict(model),
            recipe,
            asdict(recipes[recipe]),
            # Data from a folder of the user's have no preset; their name stands for it.
            plan.name if plan.name in PRESETS.names() else dataset,
            versions=installed,
            hardware=machine,
        )
        for recipe, model in models.items()
    }


def effort(
    outputs: Sequence[ModelOutputs], targets: Sequence[ModelOutputs] | None = None
) -> dict[str, float]:
    """Collect seconds, retries, precision and differential privacy of training, for results.

    Args:
        outputs: those of all models.
        targets: those of the attacked models, whose largest epsilon and delta are the results';
            None for all. Without a finite epsilon for each there is none.
    """
    facts = [trained.facts for trained in (outputs if targets is None else targets)]
    private = all(math.isfinite(each.get("epsilon", math.inf)) for each in facts)
    names = ("epsilon", "delta") if private else ()
    return {
        "seconds": round(sum(trained.seconds for trained in outputs), 1),
        "retries": sum(trained.retries for trained in outputs),
        "bfloat16": sum(trained.bfloat16 for trained in outputs),
        **{name: max(float(each[name]) for each in facts) for name in names},
    }


def _take(
    jobs: Sequence[Job],
    outputs: Iterator[ModelOutputs],
    kind: Kind,
    part: str,
    progress: Progress,
    preset: Preset,
) -> list[ModelOutputs]:
    """Outputs of the next trained models; an error names the methods that are left without them."""
    taken = []
    for job in jobs:
        try:
            taken.append(next(outputs))
        except DivergedError as error:
            if kind.recipe == preset.methods[0].recipe:
                raise
            others = [each.name for each in preset.methods[1:] if each.recipe != kind.recipe]
            named = " ".join(f"--defense '{name}'" for name in others or [preset.methods[0].name])
            remedy = f"{error.remedy} Or leave this row out: {named}."
            raise DivergedError(error.problem, remedy) from error
        node = f", on {taken[-1].node}" if taken[-1].node else ""
        progress(f"{part}: {job.name}{'' if str(kind) == 'plain' else f', {kind}'}{node}")
    return taken


class Runs:
    """Models of the paper's layout: a target and shadow models, for every seed."""

    def __init__(
        self,
        plan: Plan,
        data: Data,
        models: Mapping[str, Any],
        recipes: Mapping[str, Any],
        provenance: Mapping[str, Provenance],
    ) -> None:
        from dynanoise.data.splits import split_of
        from dynanoise.training.designs import paper_jobs

        self.plan, self.data, self.provenance = plan, data, provenance
        preset, size = plan.preset, plan.preset.size(plan.size)
        self.protocols = [each for each in preset.protocols if each.design == "paper_split"]
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

    def results(self, outputs: Iterator[ModelOutputs], progress: Progress) -> Iterator[Result]:
        """Evaluate the methods on every seed.

        Args:
            outputs: outputs of the models of `jobs`, in their order.
            progress: called after each step.

        Yields:
            Results as they are measured.
        """
        from dynanoise.training.designs import paper_run

        methods = self.plan.preset.methods
        for seed, split in enumerate(self.splits):

            def advance(step: str, seed: int = seed) -> None:
                progress(f"seed {seed}: {step}")

            counts = split.counts
            counts["scored"] = 2 * min(counts["members"], counts["non_members"])
            runs, provenance = {}, {}
            for recipe in self.plan.shadows:
                jobs = self.by_run[seed, recipe]
                taken = _take(
                    jobs, outputs, Kind(recipe), f"seed {seed}", progress, self.plan.preset
                )
                runs[recipe] = paper_run(self.data, split, taken, seed=seed)
                provenance[recipe] = replace(
                    self.provenance[recipe], counts=counts, training=effort(taken, taken[:1])
                )
            for protocol in self.protocols:
                designs = paper_splits(runs, methods[0].recipe)
                yield from evaluate(designs, methods, protocol, provenance, progress=advance)


class Pools:
    """A pool of models over the same records, for each kind.

    ``data`` are those given, with canaries in them where the plan has some; the paper's protocol
    is then not run, and nothing else is trained.
    """

    SEED = 0

    def __init__(
        self,
        plan: Plan,
        data: Data,
        models: Mapping[Kind, Any],
        recipes: Mapping[str, Any],
        provenance: Mapping[str, Provenance],
    ) -> None:
        from dynanoise.data.splits import pool_split
        from dynanoise.training.designs import pool_jobs

        self.plan, self.data, self.provenance = plan, data, provenance
        preset, size = plan.preset, plan.preset.size(plan.size)
        self.protocols = [each for each in preset.protocols if each.design == "pool"]
        self.by_kind: dict[Kind, list[Job]] = {}
        self._prepared: dict[str, ChosenInputs] = {}
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

    @cached_property
    def inputs(self) -> Float64 | None:
        """Inputs as numbers, float64 [D, F], where an attack reads them; else None."""
        names = {name for protocol in self.protocols for name in protocol.attacks}
        if not any(ATTACKS.build(name).needs_inputs for name in names):
            return None
        from dynanoise.data.features import data_features

        return data_features(self.data, self.split.attacked, self.SEED)

    def results(
        self,
        outputs: Iterator[ModelOutputs],
        measurements: MeasurementCache,
        progress: Progress,
        gatherer: Gatherer | None = None,
        store: Place | None = None,
    ) -> Iterator[Result]:
        """Evaluate the methods under every protocol.

        Args:
            outputs: outputs of the models of `jobs`, in their order.
            measurements: worker processes that begin while the next models are trained.
            progress: called after each step.
            gatherer: gathers the evidence for a report.
            store: where the trained models are, for protocols that query them with chosen inputs.

        Yields:
            Results as they are measured.

        Raises:
            InputError: if a protocol has chosen inputs and ``store`` is None, or the data are of a
                kind without paths.
        """
        from dynanoise.training.designs import pool_of

        pools: dict[Kind, Pool] = {}
        training = {}
        for kind, jobs in self.by_kind.items():
            taken = _take(jobs, outputs, kind, "pool", progress, self.plan.preset)
            pool = pool_of(self.data, self.split, taken, seed=self.SEED)
            pools[kind] = replace(pool, inputs=self.inputs)
            training[kind] = effort(taken)
            for protocol in self.protocols:
                methods, designs = self._ready(protocol, pools, measurements, store, progress)
                if methods[:1] == list(self.plan.preset.methods[:1]):
                    predictions = gatherer is not None
                    measurements.begin(
                        list_tasks(designs, methods, protocol, predictions=predictions)
                    )
        planted = {} if self.canaries is None else self.canaries.counts
        for protocol in self.protocols:
            methods, designs = self._ready(protocol, pools, measurements, store, progress)

            def advance(step: str, name: str = protocol.name) -> None:
                progress(f"{name}: {step}")

            provenance = {
                recipe: replace(
                    self.provenance[recipe],
                    counts={
                        **self.split.counts,
                        "pool": len(design.records.ids),
                        "models": design.pool.models,
                        **planted,
                    },
                    training=training[Kind(recipe)],
                )
                for recipe, design in designs.items()
            }
            yield from evaluate(
                designs,
                methods,
                protocol,
                provenance,
                gatherer=gatherer,
                measurements=measurements,
                progress=advance,
            )

    def _ready(
        self,
        protocol: AttackProtocol,
        pools: Mapping[Kind, Pool],
        measurements: MeasurementCache,
        store: Place | None,
        progress: Progress,
    ) -> tuple[list[Method], dict[str, ShadowPool]]:
        """Methods of which the target's and the attacker's models are trained, and the models."""
        preset = self.plan.preset
        methods, targets, attackers = [], {}, {}
        for method in preset.methods_of(protocol, self.plan.size):
            recipe = method.recipe
            kinds = Kind(recipe), preset.attackers(recipe, protocol.threat)
            if all(kind in pools for kind in kinds):
                methods.append(method)
                targets[recipe], attackers[recipe] = (pools[kind] for kind in kinds)
        if not protocol.threat.chosen:
            return methods, shadow_pools(targets, protocol, attackers, self.canaries)
        rows = self._probed_rows()
        targets, attackers = (
            {
                recipe: replace(pool, records=pool.records.select(records=rows))
                for recipe, pool in part.items()
            }
            for part in (targets, attackers)
        )
        chosen = {
            recipe: self._chosen_inputs(recipe, pool, measurements, store, progress)
            for recipe, pool in targets.items()
        }
        return methods, shadow_pools(targets, protocol, None, self.canaries, chosen)

    def _probed_rows(self) -> Int64:
        """Positions in the pool of the records that are queried with chosen inputs."""
        count = len(self.split.pool)
        generator = np.random.default_rng(derive(self.SEED, "probed records"))
        return np.sort(generator.permutation(count)[: self.plan.preset.size(self.plan.size).probed])

    def _chosen_inputs(
        self,
        recipe: str,
        pool: Pool,
        measurements: MeasurementCache,
        store: Place | None,
        progress: Progress,
    ) -> ChosenInputs:
        """The models of a pool as functions of inputs; prepared once for all protocols."""
        if recipe not in self._prepared:
            from dynanoise.training.store.store import Store

            if store is None:
                raise InputError(
                    "Chosen inputs query the trained models again, and without a store none is "
                    "kept.",
                    "Name a store, or leave protocols with chosen inputs out.",
                )
            jobs, attacked = self.by_kind[Kind(recipe)], self.split.attacked
            functions = stored_functions(jobs, self.data, attacked, Store(store), self.SEED)
            paths = self.plan.preset.size(self.plan.size).paths
            ids = pool.records.ids
            kept = StoredPaths(Store(store), jobs, self.data, attacked, ids, paths)
            others = "" if recipe == "plain" else f", {recipe}"
            self._prepared[recipe] = functions.prepare(
                pool.records,
                paths,
                kept.around(measurements.map),
                lambda step: progress(f"pool: {step}{others}"),
            )
        return self._prepared[recipe]
