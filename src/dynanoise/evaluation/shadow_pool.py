"""Methods x attacks on pools of models -> findings."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np

from dynanoise.core.defense import Method
from dynanoise.core.errors import DynaNoiseError
from dynanoise.core.numerics import Float64
from dynanoise.core.outputs import Pool
from dynanoise.core.result import STRONGEST, AttackProtocol, Metric
from dynanoise.core.seeding import derive
from dynanoise.data.canaries import Canaries
from dynanoise.evaluation.evidence import Keep
from dynanoise.evaluation.executors import Alone, Judges, tell
from dynanoise.evaluation.measurement import Asked, Level, Measured, Progress, Task
from dynanoise.evaluation.paper_split import Finding
from dynanoise.metrics import intervals
from dynanoise.metrics.bootstrap import FPRS, Bootstrap, percentile_interval, resample
from dynanoise.metrics.midput import mean_gains, worst_case_gain

Refused = Callable[[str, DynaNoiseError], None]
"""Called with an attack's name and why these models are too few for it."""

Memory = dict[tuple[Hashable, ...], Measured]
"""Methods with repeatable answers, by everything that they depend on."""


def judge_pool(
    pools: Mapping[str, Pool],
    methods: Sequence[Method],
    protocol: AttackProtocol,
    progress: Progress = lambda step: None,
    *,
    attackers: Mapping[str, Pool] | None = None,
    keep: Keep | None = None,
    fprs: Sequence[float] = FPRS,
    refused: Refused | None = None,
    memory: Memory | None = None,
    canaries: Canaries | None = None,
    judges: Judges | None = None,
) -> Iterator[Finding]:
    """Every method under every attack of a protocol, each model of its pool the target once.

    Args:
        pools: by recipe, over the same records with the same membership; one may have fewer models
            than another. MIDPUT compares with the baseline on the first so many models.
        methods: the first is the baseline of MIDPUT; those whose recipe has no pool are left
            out.
        protocol: whose attacker the shadow models belong to.
        progress: called with a method's and an attack's name when that is done.
        attackers: by the target's recipe, the models that the attacker has instead of the pool's
            own; of both, as many as there are of the fewer are used.
        keep: is shown scores and answers, for a report.
        fprs: false positive rates at which the TPR is wanted.
        refused: see `attack_pool`.
        memory: what was found about these pools under other protocols, to be added to. A method
            that always gives the same answer need not be asked again with another query budget.
        canaries: of these pools; results of attacks then say how well they do on them.
        judges: who measures, one method after the other or several at once, which makes
            no difference to the numbers; None for the former.

    Yields:
        For each method one finding for each attack, one for "strongest", and one for utility,
        which a pool without test data does not have.

    Raises:
        InputError: if the protocol asks about near-duplicates and the models were not.
    """
    known = {} if memory is None else memory
    lenient, answers = refused is not None, keep is not None
    tasks = tasks_of(pools, methods, protocol, attackers, fprs, canaries, lenient, answers)
    before: dict[int, Level] = {}
    for one, measured in _measured(tasks, known, judges or Alone(), progress):
        if measured.level is not None:
            before.setdefault(one.asked.models, measured.level)
        if one.silent:  # it was only for MIDPUT
            continue
        for name, error in measured.refused:
            assert refused is not None
            refused(name, error)
        for finding, done in measured.attacks:
            if keep is not None:
                keep.attacked(one.method, protocol, one.asked.pool, done)
            yield finding
        for model, said in enumerate(measured.answers):
            assert keep is not None
            keep.answered(one.method, model, said, one.asked.pool.test.labels)
        if measured.utility is not None and measured.level is not None:
            metrics = {name: intervals.mean(values) for name, values in measured.values.items()}
            metrics |= _trade_off(before[one.asked.models], measured.level, one.asked.pool)
            yield replace(measured.utility, metrics=metrics)


def tasks_of(
    pools: Mapping[str, Pool],
    methods: Sequence[Method],
    protocol: AttackProtocol,
    attackers: Mapping[str, Pool] | None = None,
    fprs: Sequence[float] = FPRS,
    canaries: Canaries | None = None,
    lenient: bool = False,
    answers: bool = False,
) -> list[Task]:
    """What `judge_pool` measures: the baseline on fewer models where some have fewer, then all."""
    asked = {
        recipe: Asked.of(pool, (attackers or {}).get(recipe, pool), protocol)
        for recipe, pool in pools.items()
    }
    judged = [one for one in methods if one.recipe in asked]
    whole = asked[methods[0].recipe]
    fewer = sorted({asked[one.recipe].models for one in judged} - {whole.models})
    alike = tuple(fprs), canaries, lenient, answers
    silent = [Task(methods[0], whole.first(n), protocol, *alike, silent=True) for n in fewer]
    return silent + [Task(one, asked[one.recipe], protocol, *alike) for one in judged]


def _measured(
    tasks: Sequence[Task], known: Memory, judges: Judges, progress: Progress
) -> Iterator[tuple[Task, Measured]]:
    """Every task with what came of it, in order; what is known is not measured again."""
    missing = [task.key not in known for task in tasks]
    fresh = judges([task for task, new in zip(tasks, missing, strict=True) if new], progress)
    for task, new in zip(tasks, missing, strict=True):
        if new:
            found = next(fresh)
            if found.repeatable:
                known[task.key] = found
        else:
            found = known[task.key]
            tell(task, found, progress)
        yield task, found


def _trade_off(before: Level, after: Level, pool: Pool) -> dict[str, Metric]:
    """MIDPUT and its stricter forms, with intervals of paired resampling."""
    names = [name for name in after.success if name != STRONGEST and name in before.success]

    # Where few non-members are scored there is no TPR at a low FPR.
    tprs = [name for name in before.success[STRONGEST].point if name.startswith("tpr@")]

    def at(
        of: Callable[[Bootstrap], Mapping[str, Float64]], weights: Float64
    ) -> dict[str, Float64]:
        """For success rates [replicates] and weights of the models [replicates, M]."""
        drop = np.asarray((weights @ (before.accuracy - after.accuracy)) / weights.sum(axis=1))

        def rates(rate: str, level: Level, attacks: Sequence[str]) -> Float64:
            return np.stack([of(level.success[name])[rate] for name in attacks])

        # The mean is over the same attacks on both sides; the strongest may be any of either.
        old, new = (rates("asr", level, names) for level in (before, after))
        found = mean_gains(old, new, drop)
        for rate, suffix in {"asr": "", **{name: f"_{name}" for name in tprs}}.items():
            old, new = (
                rates(rate, level, [name for name in level.success if name != STRONGEST])
                for level in (before, after)
            )
            found[f"midput_oracle{suffix}"] = worst_case_gain(old, new, drop)
            # The attacker's own choice on both sides, not the best of each in hindsight.
            old, new = (rates(rate, level, [STRONGEST]) for level in (before, after))
            found[f"midput_worst_case{suffix}"] = worst_case_gain(old, new, drop)
        return found

    models, records = pool.examples.use.shape
    drawn = np.array([w for w, _ in resample(models, records, derive(pool.seed, "bootstrap"))])
    point = at(
        lambda found: {name: np.array([value]) for name, value in found.point.items()},
        np.ones((1, models)),
    )
    spread = at(lambda found: found.replicates, drawn)
    return {
        name: percentile_interval(float(value[0]), spread[name]) for name, value in point.items()
    }
