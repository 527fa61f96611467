"""The paper's headline effect on real data, over twenty committed seeds, some of them run again."""

from __future__ import annotations

import pytest

from docs.generate import RESULTS
from dynanoise.core.result import Result
from dynanoise.report.io.results import read_results
from dynanoise.report.summary import Summary, summarise
from dynanoise.report.tables.paper_table import findings

pytestmark = pytest.mark.behaviour

SEEDS = 4
"""Seeds that are run again; summaries have the committed records of the others."""

METHODS = ("none", "temperature", "static", "dynanoise")  # the peers would take minutes


@pytest.fixture(scope="module")
def committed() -> list[Result]:
    return [
        result
        for result in read_results(RESULTS)
        if result.method in METHODS and result.protocol == "paper"
    ]


@pytest.fixture(scope="module")
def rerun() -> list[Result]:
    """DynaNoise and its controls on digits."""
    pytest.importorskip("torch", reason="training needs torch: pip install 'dynanoise[train]'")
    from dynanoise.benchmark.benchmark import Plan, bench

    return list(bench(Plan("digits", seeds=SEEDS, methods=METHODS[1:], protocols=("paper",))))


@pytest.fixture(scope="module")
def summary(rerun: list[Result], committed: list[Result]) -> Summary:
    return summarise([*rerun, *(result for result in committed if result.seed >= SEEDS)])


def test_the_undefended_confidence_attack_beats_chance_with_its_whole_interval(
    summary: Summary,
) -> None:
    spread = summary.spread("none", "confidence", "asr").interval
    assert spread.low is not None and spread.low > 0.5


def test_dynanoise_brings_it_to_chance(summary: Summary) -> None:
    spread = summary.spread("dynanoise", "confidence", "asr")
    assert abs(spread.mean - 0.5) <= 0.03


def test_temperature_alone_costs_exactly_nothing(summary: Summary) -> None:
    assert set(summary.change("temperature", None, "accuracy").values) == {0.0}
    assert set(summary.spread("temperature", None, "label_flips").values) == {0.0}


def test_the_models_leak_because_they_are_overfitted(summary: Summary) -> None:
    trained = summary.spread("none", None, "train_accuracy")
    assert min(trained.values) > 0.99
    assert 0.85 < summary.spread("none", None, "accuracy").mean < 0.99


def test_every_undefended_attack_beats_chance(summary: Summary) -> None:
    for attack in summary.attacks:
        spread = summary.spread("none", attack, "asr").interval
        assert spread.low is not None and spread.low > 0.5, attack


def test_the_sentence_says_how_much_temperature_alone_gives(summary: Summary) -> None:
    before = summary.spread("none", "confidence", "asr").mean
    alone = summary.spread("temperature", "confidence", "asr").mean
    after = summary.spread("dynanoise", "confidence", "asr").mean
    share = (before - alone) / (before - after)
    assert f"temperature alone, without any noise, gives {share:.0%} of that fall" in "".join(
        findings(summary)
    )


def test_the_committed_records_are_what_the_code_gives(
    rerun: list[Result], committed: list[Result]
) -> None:
    """The same versions and processor give the same bits; elsewhere, nearly the same numbers."""
    committed = [result for result in committed if result.seed < SEEDS]
    assert len(committed) == len(rerun)
    old, new = committed[0], rerun[0]
    same_machine = all(new.hardware.get(name) == value for name, value in old.hardware.items())
    same_place = same_machine and old.versions == new.versions
    for old, new in zip(committed, rerun, strict=True):
        same = ("method", "attack", "seed", "split", "counts")
        assert [getattr(old, name) for name in same] == [getattr(new, name) for name in same]
        if same_place:
            assert old.metrics == new.metrics
    for method in METHODS:
        for attack, metric in (("confidence", "asr"), ("lira_by_class", "asr"), (None, "accuracy")):
            before, after = (
                summarise(rows).spread(method, attack, metric).mean for rows in (committed, rerun)
            )
            assert abs(before - after) < 0.015
