"""Tables, sentences and pictures say what the results say."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from dataclasses import replace

import pytest

from dynanoise.core.errors import InputError
from dynanoise.core.result import Metric
from dynanoise.metrics.intervals import proportion
from dynanoise.report.pages import build_page
from dynanoise.report.render.console import table_text
from dynanoise.report.render.markdown import table_markdown
from dynanoise.report.summary import Summary, summarise
from dynanoise.report.tables.attack_table import attack_tables
from dynanoise.report.tables.paper_table import (
    findings,
    guarantees,
    learned_nothing,
    paper_caption,
    paper_table,
    published_values,
)
from tests.factories.results import records


@pytest.fixture
def summary() -> Summary:
    return summarise(records())


def printed(summary: Summary, width: int = 120) -> str:
    return table_text(paper_table(summary), width)


def test_a_summary_keeps_the_order_and_pairs_the_seeds(summary: Summary) -> None:
    assert summary.methods == ("none", "temperature", "dynanoise")
    assert summary.attacks == ("confidence", "loss")
    assert summary.seeds == (0, 1, 2)
    spread = summary.spread("none", "confidence", "asr")
    assert spread.mean == pytest.approx(0.61)
    assert spread.sd == pytest.approx(0.01)
    found = summary.change("dynanoise", None, "accuracy").values
    assert found == pytest.approx((-0.01, -0.02, -0.03))


def test_the_order_of_records_does_not_matter_to_pairing() -> None:
    rows = records()
    swapped = [row for seed in (2, 0, 1) for row in rows if row.seed == seed]
    change = summarise(swapped).change("dynanoise", None, "accuracy")
    assert change.values == pytest.approx((-0.01, -0.02, -0.03))


def test_incomplete_or_mixed_records_are_refused() -> None:
    rows = records()
    with pytest.raises(InputError, match="1 are missing"):
        summarise(rows[1:])
    with pytest.raises(InputError, match="1 are repeated"):
        summarise([*rows, rows[0]])
    with pytest.raises(InputError, match=r"made up \(paper protocol\), other \(paper protocol\)"):
        summarise([*rows, replace(rows[0], preset="other")])
    with pytest.raises(InputError, match="of nothing"):
        summarise([])


def test_attacks_on_cells_are_missing_only_where_there_are_none() -> None:
    """And nowhere else: a keyed method without its Result is an incomplete run."""
    noise = {"name": "DynaNoise", "noise": {"name": "keyed", "cell_width": 4.0}}
    rows = [replace(row, defense=noise) if row.method == "dynanoise" else row for row in records()]
    more = [
        replace(row, attack="cell_mates(attack=lira)")
        for row in rows
        if (row.method, row.attack) == ("dynanoise", "loss")
    ]
    found = summarise([*rows, *more])
    assert found.attacks == ("confidence", "loss")
    assert found.special == ("cell_mates(attack=lira)",)
    assert found.has("dynanoise", found.special[0]) and not found.has("none", found.special[0])
    (table,) = attack_tables([*rows, *more], "asr")
    assert [row[-1].text != "" for row in table.rows] == [False, False, True]
    assert table.columns[-1].heading == "LiRA, cell-mates"
    with pytest.raises(InputError, match="1 are missing"):
        summarise([*rows, *more[1:]])
    with pytest.raises(InputError, match="missing"):  # of a method without cells
        summarise([*records(), *(replace(one, defense=records()[0].defense) for one in more)])


def test_the_table_shows_mean_and_deviation(summary: Summary) -> None:
    text = printed(summary)
    lines = [line.split() for line in text.splitlines()]
    success = ["0.900", "±.000", "0.610", "±.010", "0.600", "±.010"]
    assert ["none", *success, "-", "-", "-"] in lines
    below = [line.split() for line in printed(summary, 60).splitlines()]
    assert ["none", "0.900", "0.610", "0.600", "-", "-", "-"] in below
    assert ["±.000", "±.010", "±.010"] in below
    dynanoise = next(line for line in below if line[:1] == ["dynanoise"])
    assert dynanoise == ["dynanoise", "0.880", "0.500", "0.490", "+0.100", "+0.100", "+0.100"]


def test_one_seed_has_no_deviation() -> None:
    text = printed(summarise([row for row in records() if row.seed == 0]))
    assert "±" not in text
    assert paper_caption(summarise([row for row in records() if row.seed == 0])).startswith(
        "One seed."
    )


def test_the_caption_explains_the_cells(summary: Summary) -> None:
    assert paper_caption(summary) == (
        "3 seeds: mean over ± standard deviation. Attack success is balanced accuracy on 168 "
        "records, half of them members. The undefended model's accuracy on its members is 1.000."
    )


def test_the_markdown_table_has_the_same_numbers(summary: Summary) -> None:
    lines = table_markdown(paper_table(summary)).splitlines()
    assert lines[0] == (
        "| Method | Test acc. | Confidence | Loss | MIDPUT | MIDPUT leak | MIDPUT worst |"
    )
    assert lines[2].startswith("| none | 0.900 ± 0.000 | 0.610 ± 0.010 | 0.600 ± 0.010 | - |")
    assert len({line.count("|") for line in lines}) == 1


def test_sentences_name_threat_gain_cost_and_limit(summary: Summary) -> None:
    threat, gain, cost, limit = findings(summary)
    assert threat == (
        "Threat model 'paper', 1 query a record: an attacker with black-box access to all output "
        "probabilities, who holds the records to be tested, does not know of the defense, and has "
        "shadow models of the same kind, undefended. 95% intervals are over 3 seeds. Success near "
        "0.5 there shows that thresholds learned elsewhere no longer fit, not that nothing leaks."
    )
    assert "from 0.610 [0.585, 0.635] (mean and 95% interval over 3 seeds) to 0.500 (in " in gain
    assert gain.endswith("temperature alone, without any noise, gives 100% of that fall.")
    assert "Test accuracy is 0.900 undefended; it changes by exactly 0 with temperature" in cost
    assert "-0.020 [-0.045, +0.005] with DynaNoise" in cost
    assert "AUC 0.660 [0.635, 0.685] undefended" in limit


def test_the_share_of_temperature_is_computed() -> None:
    """0.61 falls to 0.50 with DynaNoise and to 0.58 with temperature alone: 27% of it."""
    gain = findings(summarise(records(temperature_asr=0.58)))[1]
    assert gain.endswith("temperature alone, without any noise, gives 27% of that fall.")


def test_no_fall_has_no_share() -> None:
    rows = [
        replace(row, metrics=next(
            other.metrics for other in records()
            if (other.method, other.attack, other.seed) == ("none", row.attack, row.seed)
        ))
        for row in records()
    ]  # fmt: skip
    gain = findings(summarise(rows))[1]
    assert "% of that fall" not in gain
    assert gain.endswith("temperature alone, without any noise, to 0.610 [0.585, 0.635].")


def test_a_fall_that_may_be_none_has_no_share() -> None:
    """0.610 to 0.609, one seed up and two down: a share would be thousands of percent."""
    asr = [0.62, 0.59, 0.617]
    rows = [
        replace(row, metrics={**row.metrics, "asr": Metric(asr[row.seed])})
        if (row.method, row.attack) == ("dynanoise", "confidence")
        else row
        for row in records()
    ]
    assert "% of that fall" not in findings(summarise(rows))[1]


def test_two_seeds_have_no_interval() -> None:
    gain = findings(summarise([row for row in records() if row.seed < 2]))[1]
    assert "from 0.605 (too few seeds for an interval) to 0.500" in gain


def test_an_aware_threat_model_is_described_as_such() -> None:
    rows = records()
    aware = replace(rows[0].threat, name="adaptive", knows_defense=True, repeats=16)
    threat = findings(summarise([replace(row, threat=aware) for row in rows]))[0]
    assert "who holds the records to be tested, knows the defense and its parameters" in threat
    assert "16 queries a record" in threat and "averages repeated queries" in threat
    assert "not that nothing leaks" not in threat
    rest = findings(summarise([replace(row, threat=aware) for row in rows]))[1:]
    assert not any("learned on undefended models" in sentence for sentence in rest)


@pytest.mark.parametrize(("attack", "name"), [("confidence", "asr"), (None, "midput")])
def test_records_that_lack_a_metric_are_named(attack: str | None, name: str) -> None:
    rows = [
        replace(row, metrics={k: v for k, v in row.metrics.items() if k != name})
        if (row.method, row.attack, row.seed) == ("none", attack, 1)
        else row
        for row in records()
    ]
    with pytest.raises(InputError, match=f"none, {attack or 'utility'}, seed 1 lacks {name}"):
        summarise(rows)


@pytest.mark.behaviour
def test_the_picture_is_svg_and_repeats_itself(summary: Summary) -> None:
    pytest.importorskip("matplotlib", reason="pictures need: pip install 'dynanoise[plot]'")
    from dynanoise.report.charts.attack_success import success_plot

    first, again = success_plot(summary), success_plot(summary)
    assert first == again
    assert ET.fromstring(first).tag.endswith("svg")


def measured(
    inside: int, members: int, outside: int, tests: int, seeds: int = 1, low: float = 0.45
) -> Summary:
    """A run on CIFAR-10's preset whose undefended model is right so often.

    The success of all attacks is at least ``low``, with 95% confidence.
    """
    measured = []
    for row in records():
        metrics = dict(row.metrics)
        if row.attack is None:
            metrics["train_accuracy"] = proportion(inside, members)
            metrics["accuracy"] = proportion(outside, tests)
        else:
            metrics["asr"] = Metric(metrics["asr"].value, low, 0.7)
        if row.seed < seeds:
            measured.append(replace(row, preset="cifar10", metrics=metrics))
    return summarise(measured)


@pytest.mark.parametrize(
    "counts",
    [
        (505, 1000, 101, 200),  # a coin
        (120, 1000, 20, 200),
        (960, 1000, 480, 500),  # it generalises
        (490, 1000, 108, 200),  # better on test data
        (52, 100, 980, 2000),
    ],
)
def test_a_model_that_learned_nothing_of_its_members_has_no_trade_off(
    counts: tuple[int, int, int, int],
) -> None:
    summary = measured(*counts)
    sentences = findings(summary)
    assert len(sentences) == 2 and sentences[1] == learned_nothing(summary)
    assert sentences[1].startswith("There is nothing to protect yet: the undefended model")
    assert f"{counts[0] / counts[1]:.3f} of its members" in sentences[1]
    assert not published_values(summary).rows


@pytest.mark.parametrize(
    ("counts", "seeds", "low"),
    [
        ((1000, 1000, 190, 200), 1, 0.45),
        ((600, 1000, 100, 200), 1, 0.45),
        ((540, 1000, 98, 200), 3, 0.45),
        ((960, 1000, 480, 500), 1, 0.51),  # it generalises, and leaks
    ],
)
def test_a_model_that_remembers_its_members_has_one(
    counts: tuple[int, int, int, int], seeds: int, low: float
) -> None:
    summary = measured(*counts, seeds=seeds, low=low)
    assert learned_nothing(summary) == "" and published_values(summary).rows
    assert len(findings(summary)) > 2
    # One seed alone does not tell.
    assert (seeds == 1) or learned_nothing(measured(*counts))


def test_private_training_is_named_with_its_largest_epsilon() -> None:
    rows = records()
    for place, row in enumerate(rows):
        if row.method != "none":
            epsilon = (2.5 if row.method == "temperature" else 4_000) + (row.seed or 0) / 4
            rows[place] = replace(row, training={"epsilon": epsilon, "delta": 1 / 2_800})
    said = guarantees(rows)
    assert said[0].startswith("temperature has epsilon 3 at delta 1 / 2,800 for adding")
    assert said[1:] == ["dynanoise has an epsilon of 4,000, which bounds nothing."]
    assert set(said) < set(build_page(rows).sentences) and not guarantees(records())
