"""Advice on query budgets: against its definition, by counting what a client can spend."""

from __future__ import annotations

from dataclasses import replace

import pytest
from typer.testing import CliRunner

from dynanoise.cli import app
from dynanoise.core.errors import InputError
from dynanoise.core.result import STRONGEST, Metric, Result
from dynanoise.evaluation.protocols import ADAPTIVE, adaptive, chosen
from dynanoise.report.io.results import to_json
from dynanoise.report.query_budget import advise, query_curves
from tests.factories.results import record

HIGHS = {1: 0.54, 4: 0.56, 16: 0.61, 64: 0.68}


def made_up(method: str = "keyed") -> list[Result]:
    """Results whose upper limits are HIGHS, and some that are no part of the curve."""
    results = []
    for queries, high in reversed(HIGHS.items()):
        protocol = ADAPTIVE if queries == 1 else chosen(queries)
        row = record(method, STRONGEST, 0, asr=high - 0.01, auc=high)
        metrics = {"asr": Metric(high - 0.01, high - 0.02, high), "auc": Metric(high)}
        results.append(
            replace(row, metrics=metrics, protocol=protocol.name, threat=protocol.threat)
        )
    repeated = replace(results[0], protocol="adaptive_16", threat=adaptive(16).threat)
    return [*results, repeated, replace(results[0], attack="lira"), record(method, "lira", 0)]


def test_the_curve_has_the_choice_of_attackers_who_choose_inputs_alone() -> None:
    curve = query_curves(made_up())["keyed"]
    assert {queries: metric.high for queries, metric in curve.points} == HIGHS
    assert [queries for queries, _ in curve.points] == [1, 4, 16, 64]


@pytest.mark.parametrize(("level", "held"), [(0.53, 0), (0.54, 1), (0.6, 4), (0.65, 16), (0.7, 64)])
def test_what_is_held_is_below_the_level_with_all_of_its_interval(level: float, held: int) -> None:
    assert query_curves(made_up())["keyed"].held(level) == held


@pytest.mark.parametrize("records", [0, 1, 10])
@pytest.mark.parametrize("level", [0.54, 0.6, 0.65])
def test_a_daily_budget_exceeds_the_level_on_as_many_records_as_stated(
    level: float, records: int
) -> None:
    curve = query_curves(made_up())["keyed"]
    budget = curve.daily_budget(level, records)
    assert budget is not None
    cost = curve.held(level) + 1  # the cheapest way to exceed the level on one record
    assert budget // cost == records
    assert (budget + 1) // cost == records + 1


def test_where_no_budget_decides_the_advice_says_so() -> None:
    curve = query_curves(made_up())["keyed"]
    assert curve.daily_budget(0.5, 10) is None and curve.daily_budget(0.7, 10) is None
    assert "No budget keeps keyed below" in advise(curve, 0.5, 10)
    assert "every measured number of queries, up to 64" in advise(curve, 0.7, 10)
    assert "--budget 54 " in advise(curve, 0.6, 10)
    for level, records in ((0.4, 1), (1.1, 1), (0.6, -1)):
        with pytest.raises(InputError, match="A level lies between"):
            advise(curve, level, records)


def test_results_without_chosen_inputs_are_refused_with_the_command_that_makes_them() -> None:
    with pytest.raises(InputError, match="--protocol adaptive_chosen"):
        query_curves([record("keyed", STRONGEST, 0, asr=0.6)])
    with pytest.raises(InputError, match="asr or auc"):
        query_curves(made_up(), "accuracy")


def test_the_command_prints_the_curve_and_the_budget(tmp_path: object) -> None:
    path = f"{tmp_path}/results.json"
    with open(path, "w") as file:
        file.write(to_json([*made_up(), *made_up("smoothed")]))
    done = CliRunner().invoke(app, ["budget", path, "--defense", "keyed", "--level", "0.6"])
    assert done.exit_code == 0, done.output
    assert "--budget 54 " in " ".join(done.output.split()) and "smoothed" not in done.output
    done = CliRunner().invoke(app, ["budget", path, "--defense", "nothing"])
    assert done.exit_code == 2 and "keyed, smoothed" in done.output
