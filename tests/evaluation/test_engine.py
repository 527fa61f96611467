"""The engine: worker processes find what one process finds, and results say what was measured."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from dynanoise.benchmark.presets import controls
from dynanoise.core.defense import Method
from dynanoise.defenses.calibrated_label import CalibratedLabel
from dynanoise.defenses.dynanoise import DynaNoise
from dynanoise.defenses.temperature import undefended
from dynanoise.evaluation.engine import open_measurement_cache
from dynanoise.evaluation.evidence import Gatherer
from dynanoise.evaluation.protocols import adaptive, single_model
from tests.factories.evaluations import evaluate_alone, evaluate_pools, made_up
from tests.factories.evidence import pool_records

ROWS = (
    *controls(DynaNoise(4, 1, 10)),
    Method("few", undefended(), recipe="few"),
)


@pytest.mark.process
def test_workers_find_what_one_process_finds() -> None:
    pools = {"plain": made_up(models=10), "few": made_up(models=10).take_first(8)}
    results = []
    for workers in (1, 2):
        gathered, rows = Gatherer(rows=40), []
        steps: list[str] = []
        with open_measurement_cache(workers) as measurements:
            options: dict[str, Any] = {"gatherer": gathered, "measurements": measurements}
            for queries in (1, 4):
                protocol = replace(adaptive(queries), attacks=("lira", "multi_shadow"))
                found = evaluate_pools(pools, ROWS, protocol, progress=steps.append, **options)
                rows += [(row.method, row.attack, row.metrics) for row in found]
        assert len(steps) == len(rows) == 2 * len(ROWS) * 4
        count = len(measurements._finished)
        results.append((rows, steps, gathered.evidence(pool_records(1)), count))
    (one, told, kept, known), (two, told_too, kept_too, known_too) = results
    assert one == two and told == told_too and known == known_too == 4
    assert [sample.fpr.tolist() for sample in kept.attacks] == [
        sample.fpr.tolist() for sample in kept_too.attacks
    ]
    assert [r.count.tolist() for r in kept.reliability] == [
        r.count.tolist() for r in kept_too.reliability
    ]


@pytest.mark.process
def test_an_error_of_a_worker_is_raised_and_ends_them() -> None:
    protocol = replace(adaptive(), attacks=("no_such_attack",))
    with (
        pytest.raises(Exception, match="no_such_attack"),
        open_measurement_cache(2) as measurements,
    ):
        evaluate_pools({"plain": made_up()}, ROWS[:1], protocol, measurements=measurements)


def test_a_pools_defense_is_described_before_it_is_fitted_and_one_models_after() -> None:
    rows = [ROWS[0], Method("label", CalibratedLabel())]
    protocol = replace(adaptive(), attacks=("lira",))
    of_pool = evaluate_pools({"plain": made_up()}, rows, protocol)[-1]
    alone = evaluate_alone(made_up().take_first(1), rows, single_model(1, ("loss",)))[-1]
    assert of_pool.defense["confidences"] is None
    assert alone.defense["confidences"]["shape"] == [4]
