"""`bench` under a protocol with chosen inputs."""

from __future__ import annotations

from pathlib import Path

import pytest

from dynanoise.benchmark.benchmark import Plan, bench
from dynanoise.core.errors import InputError
from dynanoise.core.result import Result
from dynanoise.evaluation.protocols import chosen, parse_protocol
from dynanoise.report.summary import by_protocol
from tests.factories.presets import small_digits


def plan() -> Plan:
    """Eight models of 150 digits, of which 60 are probed with 16 queries each."""
    preset = small_digits(probed=60, protocols=(chosen(16),))
    attacks = ("lira", "boundary_distance")
    return Plan("digits", methods=("dynanoise_keyed",), attacks=attacks, custom=preset)


@pytest.mark.behaviour
@pytest.mark.process
def test_chosen_inputs_undo_keyed_noise_with_any_number_of_workers(tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="training needs torch: pip install 'dynanoise[train]'")
    steps: list[str] = []
    one = list(bench(plan(), store=tmp_path, workers=1, progress=steps.append))
    two = list(bench(plan(), store=tmp_path, workers=2))
    assert len(steps) == plan().steps and "pool: chosen inputs 4 of 4" in steps
    assert [result.metrics for result in one] == [result.metrics for result in two]
    results: dict[tuple[str, str | None], Result] = {(r.method, r.attack): r for r in one}
    keyed = {attack: r.metrics for (method, attack), r in results.items() if method != "none"}
    plain = results["none", "boundary_distance"].metrics
    # Noise does not change labels, and the labels say more than the noisy probabilities.
    assert keyed["boundary_distance"]["auc"] == plain["auc"]
    assert keyed["boundary_distance"]["auc"].value > keyed["lira"]["auc"].value
    assert all(r.metrics["queries"].value == 16 for (_, attack), r in results.items() if attack)
    assert {r.counts["pool"] for r in one} == {60}
    assert {r.threat.chosen for r in one} == {True}
    # Cells are probed where there are cells, and a summary takes that for complete.
    assert set(by_protocol(one)) == {"adaptive_chosen_16"}
    assert ("none", "boundary_probing") not in results


@pytest.mark.behaviour
def test_models_that_are_not_kept_cannot_be_queried_again() -> None:
    pytest.importorskip("torch", reason="training needs torch: pip install 'dynanoise[train]'")
    with pytest.raises(InputError, match="without a store"):
        list(bench(plan()))


def test_a_protocol_has_a_name_for_each_budget() -> None:
    assert parse_protocol("adaptive_chosen") == chosen()
    assert parse_protocol("adaptive_chosen_27") == chosen(27)
    with pytest.raises(InputError, match="is 257"):
        parse_protocol("adaptive_chosen_257")
