"""Methods measured by worker processes come to the same, told in the same order."""

from __future__ import annotations

from dataclasses import replace

import pytest

from dynanoise.benchmark.presets import controls
from dynanoise.core.defense import Method
from dynanoise.defenses.dynanoise import DynaNoise
from dynanoise.defenses.temperature import undefended
from dynanoise.evaluation.evidence import Gatherer
from dynanoise.evaluation.executors import several
from dynanoise.evaluation.protocols import adaptive
from dynanoise.evaluation.shadow_pool import Memory, judge_pool
from tests.build_evidence import pool_records
from tests.evaluation.test_leave_one_out import made_up

ROWS = (
    *controls(DynaNoise(4, 1, 10)),
    Method("few", undefended(), recipe="few"),
)


def test_workers_find_what_one_process_finds() -> None:
    pools = {"plain": made_up(models=10), "few": made_up(models=10).first(8)}
    results = []
    for workers in (1, 2):
        memory, gathered, found = Memory(), Gatherer(rows=40), []
        steps: list[str] = []
        with several(workers) as judges:
            for queries in (1, 4):
                protocol = replace(adaptive(queries), attacks=("lira", "multi_shadow"))
                options = {"keep": gathered, "memory": memory, "judges": judges}
                rows = judge_pool(pools, ROWS, protocol, steps.append, **options)  # type: ignore[arg-type]
                found += [(row.method, row.attack, row.metrics) for row in rows]
        assert len(steps) == len(found) == 2 * len(ROWS) * 4
        results.append((found, steps, gathered.evidence(pool_records(1)), len(memory)))
    (one, told, kept, known), (two, told_too, kept_too, known_too) = results
    assert one == two and told == told_too and known == known_too == 4
    assert [sample.fpr.tolist() for sample in kept.attacks] == [
        sample.fpr.tolist() for sample in kept_too.attacks
    ]
    assert [r.count.tolist() for r in kept.reliability] == [
        r.count.tolist() for r in kept_too.reliability
    ]


def test_an_error_of_a_worker_is_raised_and_ends_them() -> None:
    protocol = replace(adaptive(), attacks=("no_such_attack",))
    with pytest.raises(Exception, match="no_such_attack"), several(2) as judges:
        list(judge_pool({"plain": made_up()}, ROWS[:1], protocol, judges=judges))
