"""A model of the auditor's own, such as one in a file, as the target of chosen inputs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property

from dynanoise.audits.chosen.one_target import OneTarget
from dynanoise.audits.chosen.own_shadows import default_classifier, train_shadows
from dynanoise.audits.columns import Columns
from dynanoise.audits.endpoint.query_plan import choose_records
from dynanoise.audits.pool_audit import PROBED, Progress
from dynanoise.core.defense import Method
from dynanoise.core.numerics import Int64
from dynanoise.core.outputs import Pool
from dynanoise.core.queries import Inputs, QueryFunction
from dynanoise.evaluation.chosen_inputs import DefendedModel, PreparedPaths, prepare_paths
from dynanoise.evaluation.protocols import adaptive, gives_cells_away
from dynanoise.evaluation.responses import observe
from dynanoise.evaluation.single_model import SingleModel
from dynanoise.probing.paths import input_space

TRAINED = 4_000
"""Records on whose halves shadow models are trained, at most; the probed ones are among them."""


@dataclass(frozen=True, eq=False)
class OwnModel:
    """A model as a function of inputs, and the records that it is attacked about.

    Attributes:
        design: undefended outputs of this one model on N records, with membership.
        query: from inputs [n, ...] to undefended logits [n, K].
        inputs: finite numbers [N, ...], by the records' ids.
        queries: query budget of the attacker, 1 to 256 a record.
        progress: called after each shadow model.
    """

    design: SingleModel
    query: QueryFunction
    inputs: Inputs
    queries: int
    progress: Progress = lambda step: None

    @cached_property
    def _shadows(self) -> tuple[Pool, PreparedPaths]:
        """Outputs of shadow models on the records that are probed, and paths from these."""
        pool, seed = self.design.pool, self.design.seed
        member = pool.records.use[0] == 1
        trained = choose_records(member, TRAINED, seed)
        places = choose_records(member[trained], PROBED, seed)
        trained_here = train_shadows(
            default_classifier(),
            self.inputs[trained],
            pool.records.labels[trained],
            pool.records.classes,
            seed,
            self.progress,
            self._persons(trained),
        )
        records = replace(trained_here.pool.records.select(records=places), ids=trained[places])
        inputs = self.inputs[records.ids]
        paths = prepare_paths(trained_here.models, records, inputs, input_space(inputs), seed)
        return replace(trained_here.pool, records=records), paths

    def _persons(self, rows: Int64) -> Int64 | None:
        return Columns(persons=self.design.persons).person_numbers(rows)

    def target(self, method: Method) -> OneTarget:
        """Make the model behind a defense the target.

        Args:
            method: the defense, unfitted, and the width of cells of keyed noise.

        Returns:
            The target, with shadow models that are trained here, once for all methods.
        """
        shadows, paths = self._shadows
        rows = shadows.records.ids
        records = self.design.pool.records.select(records=rows)
        source = self.design.noise(method)(0, "target")
        defense = method.defense.fit(next(self.design.views(adaptive(1).threat)))
        width = method.cell_width if gives_cells_away(method) else None
        return OneTarget(
            shadows,
            records.use[0],
            observe(
                defense,
                records,
                lambda purpose: source(f"examples {purpose}"),
                repeats=self.queries,
                aware=True,
            ),
            DefendedModel(self.query, defense, source, width),
            paths,
            defense,
            self._persons(rows),
        )


def target_of(
    query: QueryFunction, inputs: Inputs, queries: int
) -> Callable[[SingleModel, Progress], Callable[[Method], OneTarget]]:
    """Make a model the target of chosen inputs in `pool_audit.audit_pool`.

    Args:
        query: the model, from inputs [n, ...] to undefended logits [n, K].
        inputs: finite numbers [N, ...], by the records' ids.
        queries: query budget of the attacker, 1 to 256 a record.

    Returns:
        From the design of the model and a progress to a function from methods to targets.
    """
    return lambda design, progress: OwnModel(design, query, inputs, queries, progress).target
