"""What the page's modules do beyond formulas: drawing, attackers who ask again, and refusals."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from scipy import special, stats

from dynanoise.core.errors import DynaNoiseError
from dynanoise.defenses.dynanoise import DynaNoise
from tests.web.javascript import JavaScript, agree, call, matrix

SEED = {"$seed": 1}


# --- drawing -------------------------------------------------------------------------------------


def test_normals_are_standard_normals_and_repeat_with_the_seed(js: JavaScript) -> None:
    first, again, other, text = js.values(
        call("test.normals", seed, 20_001) for seed in (1, 1, 2, "1")
    )
    assert first == again and len(first) == 20_001
    for made in (first, other, text):
        assert stats.kstest(made, "norm").pvalue > 1e-4
    for one, two in ((first, other), (first, text), (other, text), (first[1:], first[:-1])):
        assert abs(np.corrcoef(one[:20_000], two[:20_000])[0, 1]) < 5 / math.sqrt(20_000)


def test_integers_are_evenly_spread(js: JavaScript) -> None:
    [drawn] = js.values([call("test.below", "x", 7, 7000)])
    counts = np.bincount(drawn, minlength=7)
    assert len(counts) == 7 and stats.chisquare(counts).pvalue > 1e-4


def test_answers_under_fresh_noise_and_their_spread(js: JavaScript) -> None:
    """With one sample T ln p differs by normals of variance 2 sigma^2."""
    logits, parameters = [3.0, 1.0, 0.0], {"baseVariance": 0.5, "temperature": 4}
    drawn, again = js.values(
        call("dynanoise.draws", logits, parameters, SEED, 4000) for _ in range(2)
    )
    assert drawn == again
    rows = np.reshape(drawn["values"], (4000, 3))
    np.testing.assert_allclose(rows.sum(axis=1), 1, atol=1e-12)
    gaps = 4 * np.log(rows[:, 0] / rows[:, 1])
    sigma = math.sqrt(DynaNoise(0.5, 2, 4).variance(logits))
    assert stats.kstest((gaps - 2) / (sigma * math.sqrt(2)), "norm").pvalue > 1e-4
    [spread] = js.values([call("dynanoise.spread", matrix(rows), 0.8)])
    low, high = np.quantile(rows, [0.1, 0.9], axis=0)
    agree(
        [spread["mean"], spread["low"], spread["high"]],
        [list(rows.mean(axis=0)), list(low), list(high)],
    )


def test_label_flips_of_several_samples(js: JavaScript) -> None:
    """A hot mean over M samples is a mean over the noise: as one sample of variance / M."""
    logits, count = [0.6, 0.0], 4000
    parameters = {"baseVariance": 1, "lambdaScale": 0, "temperature": 1e6, "samples": 3}
    [found] = js.values(
        [call("flips.flipProbability", logits, parameters, {"generator": SEED, "draws": count})]
    )
    expected = special.erfc(0.6 * math.sqrt(3) / 2) / 2
    assert not found["exact"] and found["low"] < found["value"] < found["high"]
    assert abs(found["value"] - expected) < 4 * math.sqrt(expected / count)
    for end in (found["low"], found["high"]):  # Wilson's interval, by its definition
        assert abs(found["value"] - end) == pytest.approx(
            special.ndtri(0.975) * math.sqrt(end * (1 - end) / count)
        )


def test_labels_do_not_flip_without_noise_or_with_keep_label(js: JavaScript) -> None:
    changes: list[dict[str, Any]] = [{"baseVariance": 0}, {"keepLabel": True, "baseVariance": 9}]
    for found in js.values(call("flips.flipProbability", [1, 0], one) for one in changes):
        assert found == {"value": 0, "low": 0, "high": 0, "exact": True}


def test_erfc(js: JavaScript) -> None:
    places = np.linspace(-6, 26, 641).tolist()
    found = js.values(call("flips.erfc", x) for x in places)
    np.testing.assert_allclose(found, special.erfc(places), rtol=2e-14)


def test_gaps_beyond_every_float_never_flip(js: JavaScript) -> None:
    """The difference of two finite logits, and of any to a tiny noise, may overflow."""
    for logits, variance in (
        ([1.7e308, -1.7e308], 1),
        ([1.7e308, -1.7e308, 0], 1),
        ([9, 0], 5e-324),
    ):
        [found] = js.values(
            [call("flips.flipProbability", logits, {"baseVariance": variance, "lambdaScale": 0})]
        )
        assert found == {"value": 0, "low": 0, "high": 0, "exact": True}
    infinite = {"$number": "Infinity"}
    assert js.values([call("flips.erfc", infinite), call("flips.normalCdf", infinite)]) == [0, 1]


def test_logits_of_a_confidence(js: JavaScript) -> None:
    for confidence, classes in ((0.9, 10), (0.5, 2), (0.05, 10), (0.999999, 1000)):
        [found] = js.values([call("dynanoise.logitsOf", confidence, classes)])
        probs = np.exp(found)
        assert probs[0] == pytest.approx(confidence, rel=1e-12)
        assert len(set(found[1:])) == 1 and probs.sum() == pytest.approx(1, rel=1e-12)


# --- who asks again ------------------------------------------------------------------------------

SIGMA, QUERIES = 0.4, 400
LOGITS = [45.0, 3.1, -2.0, 1.7, 0.4, -4.1, 2.2, -1.3, 0.9, -0.6]
FRESH = SIGMA * math.sqrt(8 / 9 / QUERIES)
"""What is left of fresh noise: nine gaps below a class that leads, centred."""


def asked(js: JavaScript, width: float | None, kind: str, count: int, seed: int) -> float:
    shifts = {"kind": kind, "count": count, "reach": 2 * (width or 1)}
    [found] = js.values([call("test.attack", width, SIGMA, seed, shifts, LOGITS, 1)])
    return float(found)


def test_fresh_noise_is_averaged_away(js: JavaScript) -> None:
    errors = [asked(js, None, "repeat", QUERIES, seed) for seed in range(6)]
    assert np.sqrt(np.mean(np.square(errors))) == pytest.approx(FRESH, rel=0.35)
    assert asked(js, None, "repeat", 4, 0) > 4 * FRESH


def test_keyed_noise_is_the_same_noise_however_often_one_asks(js: JavaScript) -> None:
    for width in (1.0, 4.0):
        once = asked(js, width, "repeat", 1, 0)
        assert once > 0.2
        assert asked(js, width, "repeat", QUERIES, 1) == pytest.approx(once, abs=1e-9)


def test_near_duplicates_bring_new_noise_less_the_wider_the_cells(js: JavaScript) -> None:
    narrow, wide = (asked(js, width, "jitter", QUERIES, 2) for width in (0.1, 4.0))
    assert narrow < 3 * FRESH and wide > 10 * FRESH


def test_antithetic_shifts_recover_logits_at_every_width(js: JavaScript) -> None:
    for width in (0.5, 1.0, 2.0):
        errors = [asked(js, width, "antithetic", QUERIES, seed) for seed in range(3)]
        assert np.mean(errors) < 2 * FRESH


def test_antithetic_shifts_come_in_pairs_over_all_sizes(js: JavaScript) -> None:
    [made] = js.values([call("test.shifts", 4, 8, 20, "s", 2)])
    shifts = np.array(made)
    assert shifts.shape == (40, 4) and (shifts[:, 2] == 0).all()
    np.testing.assert_array_equal(shifts[::2], -shifts[1::2])
    for column in (0, 1, 3):
        sizes = np.sort(np.abs(shifts[::2, column]))
        np.testing.assert_allclose(sizes, (np.arange(20) + 0.5) / 20 * 8)
        assert 0 < (shifts[::2, column] > 0).sum() < 20
    assert not np.array_equal(np.abs(shifts[:, 0]), np.abs(shifts[:, 1]))


def test_known_shifts_are_taken_away_again(js: JavaScript) -> None:
    logits, shift = np.array([1.0, 2.0, 4.0]), np.array([0.5, -0.25, 3.0])
    moved = np.exp((logits + shift) / 3)
    answer = (moved / moved.sum()).tolist()
    [found] = js.values([call("test.asked", [answer], 3, logits.tolist(), [shift.tolist()])])
    assert found["errors"][0] < 1e-12


# --- refusals ------------------------------------------------------------------------------------

PARAMETERS: list[tuple[str, str, Any]] = [
    ("baseVariance", "base_variance", -0.1),
    ("baseVariance", "base_variance", math.nan),
    ("baseVariance", "base_variance", 1e308),
    ("lambdaScale", "lambda_scale", -1),
    ("lambdaScale", "lambda_scale", math.inf),
    ("temperature", "temperature", 0),
    ("temperature", "temperature", -3.5),
    ("samples", "samples", 0),
    ("samples", "samples", 1.5),
    ("keepLabel", "keep_label", 1),
    ("sensitivity", "sensitivity", "variance"),
    ("sensitivity", "sensitivity", "constructor"),
]


@pytest.mark.parametrize(("ours", "theirs", "value"), PARAMETERS)
def test_parameters_are_refused_where_python_refuses_them(
    js: JavaScript, ours: str, theirs: str, value: Any
) -> None:
    with pytest.raises(DynaNoiseError):
        DynaNoise(**{theirs: value})
    words = {math.inf: "Infinity"}.get(value, "NaN")
    odd = isinstance(value, float) and not math.isfinite(value)
    sent = {"$number": words} if odd else value
    refused = js.answers([call("dynanoise.parametersOf", {ours: sent})])[0]["refused"]
    assert str(value).replace("e+", "e") in refused["problem"].replace("e+", "e")
    assert ours in refused["problem"] and refused["remedy"]


@pytest.mark.parametrize(
    ("function", "arguments", "said"),
    [
        ("dynanoise.parametersOf", [{"sigma": 1}], "no parameter 'sigma'"),
        ("dynanoise.sensitivity", [[1.0]], "a single class has no entropy scale"),
        ("dynanoise.sensitivity", [[]], "empty"),
        ("dynanoise.sensitivity", [[1.0, {"$number": "NaN"}]], "logits[1] is nan"),
        ("dynanoise.answer", [[1, 0], {}, [0.5]], "1 normals for 1 draws of 2 classes"),
        ("dynanoise.logitsOf", [1, 10], "confidence is 1"),
        ("dynanoise.logitsOf", [0.9, 1], "number of classes is 1"),
        ("flips.flipProbability", [[1, 0], {"samples": 2}], "no closed form"),
        ("roc.roc", [[1, 2], [1]], "membership of 1 records"),
        ("roc.roc", [[1, {"$number": "NaN"}], [1, 0]], "with 1 NaN"),
        ("roc.roc", [[1, 2], [1, 1]], "2 members and 0 non-members"),
        ("roc.roc", [[1, 2], [1, -1]], "Membership holds -1"),
        ("roc.delong", [[1, 2, 3], [1, 0, 0]], "two of each kind"),
        ("numerics.matrixOf", [[[1, 2], [3]]], "Row 1 has 1 numbers, row 0 has 2"),
    ],
)  # fmt: skip
def test_refusals_name_the_value(
    js: JavaScript, function: str, arguments: list[Any], said: str
) -> None:
    [found] = js.answers([call(function, *arguments)])
    assert said in found["refused"]["message"]


def test_no_refusal_of_keyed_noise_shows_what_may_be_the_secret(js: JavaScript) -> None:
    good = {"root": "5a" * 32, "model": "m", "weights": "ab" * 32, "cellWidth": 4}
    changes: list[dict[str, Any]] = [
        {"root": "5a5a"}, {"root": "5a" * 31 + "zz"}, {"weights": "5a5a" * 3}, {"model": 5},
        {"cellWidth": 0}, {"cellWidth": -4}, {"cellWidth": 1e305}, {"cellWidth": "x"},
    ]  # fmt: skip
    for found in js.answers(call("keyed.keyed", {**good, **change}) for change in changes):
        assert "5a5a" not in found["refused"]["message"]
