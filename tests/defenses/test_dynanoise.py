"""The invariants of DynaNoise, as properties and as statistics."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import special, stats

from dynanoise.core.defense import make_responder
from dynanoise.core.errors import InputError, NotFittedError, UnknownNameError
from dynanoise.core.numerics import Float64
from dynanoise.core.registry import SENSITIVITIES
from dynanoise.defenses.dynanoise import DynaNoise
from dynanoise.defenses.static import Static
from dynanoise.noise.fresh import Fresh
from tests.factories.outputs import LARGEST_FLOAT32, logit_arrays, make_view

SETTINGS = st.builds(
    DynaNoise,
    base_variance=st.floats(0, 2),
    lambda_scale=st.floats(0, 6),
    temperature=st.floats(0.5, 20),
    samples=st.integers(1, 4),
    sensitivity=st.sampled_from(SENSITIVITIES.names()),
)


def published_variance(defense: DynaNoise, rows: Float64) -> Float64:
    """s0 (1 + lambda R) with R = 1 - H / ln K, by scipy."""
    nats = special.entr(special.softmax(rows, axis=-1)).sum(axis=-1)
    sensitivity = 1 - nats / np.log(rows.shape[-1])
    return np.asarray(defense.base_variance * (1 + defense.lambda_scale * sensitivity))


class Coarse:
    """A noise source whose base differs from the logits, as keyed noise has it."""

    repeatable = True

    def draw(self, logits: Float64, draws: int, purpose: str) -> tuple[Float64, Float64]:
        return np.round(logits), Fresh(21).draw(logits, draws, purpose)[1]


class Silent:
    """A noise source without noise, to see the deterministic part."""

    repeatable = True

    def draw(self, logits: Float64, draws: int, purpose: str) -> tuple[Float64, Float64]:
        return logits, np.zeros((draws, *logits.shape))


# --- sensitivity ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SENSITIVITIES.names())
@pytest.mark.parametrize("classes", [2, 3, 10, 1000])
def test_uniform_is_0_and_one_hot_is_1(name: str, classes: int) -> None:
    sensitivity = SENSITIVITIES.get(name)
    assert sensitivity(np.full((1, classes), 3.7)) == pytest.approx(0, abs=1e-12)
    one_hot = np.zeros((1, classes))
    one_hot[0, 1] = 800.0
    assert sensitivity(one_hot) == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize("name", SENSITIVITIES.names())
@given(rows=logit_arrays(), constant=st.floats(-100, 100))
def test_sensitivity_is_in_0_1_and_ignores_a_constant(
    name: str, rows: Float64, constant: float
) -> None:
    result = SENSITIVITIES.get(name)(rows)
    assert result.shape == rows.shape[:-1]
    assert ((result >= 0) & (result <= 1)).all()
    np.testing.assert_allclose(SENSITIVITIES.get(name)(rows + constant), result, atol=1e-9)


@given(logit_arrays())
def test_entropy_sensitivity_equals_its_definition(rows: Float64) -> None:
    probs = special.softmax(rows, axis=-1)
    expected = 1 - special.entr(probs).sum(axis=-1) / np.log(rows.shape[1])
    np.testing.assert_allclose(SENSITIVITIES.get("entropy")(rows), expected, atol=1e-12)


def test_the_other_sensitivities_equal_their_definitions() -> None:
    rows = np.random.default_rng(0).normal(0, 2, (50, 5))
    probs = np.sort(special.softmax(rows, axis=-1), axis=-1)
    np.testing.assert_allclose(
        SENSITIVITIES.get("max_probability")(rows), (5 * probs[:, -1] - 1) / 4, atol=1e-12
    )
    np.testing.assert_allclose(
        SENSITIVITIES.get("margin")(rows), probs[:, -1] - probs[:, -2], atol=1e-12
    )


# --- variance ------------------------------------------------------------------------------------


@given(SETTINGS, logit_arrays())
def test_variance_is_within_its_bounds(defense: DynaNoise, rows: Float64) -> None:
    variance = defense.variance(rows)
    assert (variance >= defense.base_variance).all()
    largest = defense.base_variance * (1 + defense.lambda_scale)
    assert (variance <= largest * (1 + 1e-12)).all()


@given(logit_arrays(), st.floats(0, 2))
def test_lambda_0_is_the_same_noise_for_every_row(rows: Float64, base: float) -> None:
    assert (DynaNoise(base_variance=base, lambda_scale=0).variance(rows) == base).all()


def test_sure_answers_get_more_noise() -> None:
    defense = DynaNoise(base_variance=0.3, lambda_scale=2)
    unsure, sure = defense.variance(np.array([[0.0, 0.0, 0.0], [900.0, 0.0, 0.0]]))
    assert unsure == pytest.approx(0.3)
    assert sure == pytest.approx(0.9)


# --- answers -------------------------------------------------------------------------------------


@given(SETTINGS, logit_arrays(largest=10), st.floats(-50, 50))
def test_a_constant_on_a_row_changes_nothing(
    defense: DynaNoise, rows: Float64, constant: float
) -> None:
    plain, moved = (defense(x, Fresh(0)) for x in (rows, rows + constant))
    np.testing.assert_allclose(plain, moved, atol=1e-9)


@given(logit_arrays(), st.floats(0.1, 50), st.integers(1, 3))
def test_no_variance_is_a_tempered_softmax(rows: Float64, temperature: float, m: int) -> None:
    defense = DynaNoise(base_variance=0, temperature=temperature, samples=m)
    np.testing.assert_allclose(
        defense(rows, Fresh(0)), special.softmax(rows / temperature, axis=-1), rtol=1e-9, atol=1e-15
    )


@given(logit_arrays(), st.floats(0.01, 2), st.floats(0.1, 100), st.floats(0.1, 100))
def test_with_one_draw_temperature_never_moves_the_argmax(
    rows: Float64, base: float, first: float, second: float
) -> None:
    answers = [
        DynaNoise(base_variance=base, temperature=temperature)(rows, Fresh(0))
        for temperature in (first, second)
    ]
    np.testing.assert_array_equal(answers[0].argmax(-1), answers[1].argmax(-1))


@given(logit_arrays(largest=1, dtype=np.float32), st.floats(1, 1000), st.sampled_from([0.0, 1e-9]))
def test_float32_rounding_does_not_move_the_argmax_of_the_noisy_logits(
    rows: npt.NDArray[np.float32], temperature: float, base: float
) -> None:
    """At a high temperature neighbouring float32 answers tie; without noise the label is kept."""
    defense = DynaNoise(base_variance=base, lambda_scale=0, temperature=temperature)
    noisy = rows + np.sqrt(base) * Fresh(0).draw(rows.astype(np.float64), 1, "")[1][0]
    noisy -= rows.max(axis=-1, keepdims=True)  # as the defense rounds, relative to the maximum
    np.testing.assert_array_equal(defense(rows, Fresh(0)).argmax(-1), noisy.argmax(-1))


@given(logit_arrays(), st.floats(0.1, 5), st.integers(2, 5))
def test_several_samples_are_the_mean_of_single_answers(
    rows: Float64, temperature: float, samples: int
) -> None:
    """Written out with scipy from the same normals."""
    defense = DynaNoise(0.3, 2, temperature, samples)
    normals = Fresh(7).draw(rows, samples, "test")[1]
    sigma = np.sqrt(published_variance(defense, rows))[:, None]
    singles = [special.softmax((rows + sigma * n) / temperature, axis=-1) for n in normals]
    np.testing.assert_allclose(defense(rows, Fresh(7)), np.mean(singles, axis=0), atol=1e-12)


@given(SETTINGS, logit_arrays(largest=LARGEST_FLOAT32, dtype=np.float32))
def test_logits_near_the_float32_limits_give_finite_normalised_rows(
    defense: DynaNoise, rows: npt.NDArray[np.float32]
) -> None:
    answer = defense(rows, Fresh(0))
    assert answer.dtype == np.float32
    assert np.isfinite(answer).all() and (answer >= 0).all()
    np.testing.assert_allclose(answer.sum(axis=-1), 1, rtol=1e-5)


def test_noise_is_not_lost_beside_huge_logits() -> None:
    """1e30 + 0.5 is 1e30; the two leading classes must still be told apart by noise alone."""
    rows = np.array([[1e30, 1e30, 0.0]], np.float32).repeat(200, axis=0)
    first = DynaNoise(temperature=1)(rows, Fresh(0))[:, 0]
    assert first.std() > 0.1


@given(logit_arrays(largest=20, dtype=np.float32))
def test_float32_and_float64_agree(rows: npt.NDArray[np.float32]) -> None:
    narrow = DynaNoise()(rows, Fresh(0))
    wide = DynaNoise()(rows.astype(np.float64), Fresh(0))
    assert narrow.dtype == np.dtype(np.float32)
    assert wide.dtype == np.dtype(np.float64)
    np.testing.assert_allclose(narrow, wide, rtol=1e-5)


@pytest.mark.parametrize("shape", [(3,), (5, 3), (2, 5, 3), (2, 1, 5, 3), (0, 3), (2, 0, 3)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_any_leading_shape(shape: tuple[int, ...], dtype: Any) -> None:
    rows = np.random.default_rng(0).normal(size=shape).astype(dtype)
    answer = DynaNoise(samples=2)(rows, Fresh(0))
    assert answer.shape == shape and answer.dtype == dtype
    assert DynaNoise().variance(rows).shape == shape[:-1]


# --- statistics ----------------------------------------------------------------------------------


def test_log_ratio_variance_is_twice_sigma_squared() -> None:
    """T (ln p_i - ln p_j) has variance 2 sigma^2, within its own 99.9% confidence interval."""
    row = np.array([2.0, 0.5, -1.0, 0.0])
    for temperature, base, scale in [(1, 0.1, 3.0), (10, 0.3, 2.0), (4, 0.25, 0.0)]:
        defense = DynaNoise(base, scale, temperature)
        draws = 40_000
        log_probs = np.log(defense(np.tile(row, (draws, 1)), Fresh(11)))
        for i, j in [(0, 1), (1, 3), (2, 0)]:
            ratios = temperature * (log_probs[:, i] - log_probs[:, j])
            expected = 2 * published_variance(defense, row[None])[0]
            low, high = stats.chi2.ppf([0.0005, 0.9995], draws - 1) / (draws - 1)
            assert expected * low < ratios.var(ddof=1) < expected * high
            assert ratios.mean() == pytest.approx(
                row[i] - row[j], abs=4 * np.sqrt(expected / draws)
            )


def test_the_noise_of_an_answer_is_gaussian() -> None:
    """Recovered from the answers, the noise passes a Kolmogorov-Smirnov test."""
    rows = np.random.default_rng(0).normal(0, 3, (20_000, 5))
    defense = DynaNoise(0.3, 2.0, 10.0)
    log_probs = np.log(defense(rows, Fresh(12)))
    recovered = defense.temperature * (log_probs[:, 0] - log_probs[:, 1]) - (
        rows[:, 0] - rows[:, 1]
    )
    standard = recovered / np.sqrt(2 * published_variance(defense, rows))
    assert stats.kstest(standard, "norm").pvalue > 0.001


def test_one_sigma_a_row_and_independent_noise_a_class() -> None:
    rows = np.zeros((20_000, 4))
    log_probs = np.log(DynaNoise(0.5, 0.0, 3.0)(rows, Fresh(13)))
    first, second = (log_probs[:, i] - log_probs[:, i + 1] for i in (0, 2))
    assert abs(np.corrcoef(first, second)[0, 1]) < 4 / np.sqrt(20_000)


@given(logit_arrays(largest=4))
def test_everything_after_the_draw_is_computed_from_its_base(rows: Float64) -> None:
    """Two rows of one cell get one answer: their difference would be a clean difference."""
    defense = DynaNoise(0.3, 2.0, 10.0)
    base = np.round(rows)
    np.testing.assert_array_equal(defense(rows, Coarse()), defense(base, Coarse()))
    sigma = np.sqrt(published_variance(defense, base))[:, None]
    expected = special.softmax((base + sigma * Coarse().draw(rows, 1, "")[1][0]) / 10, axis=-1)
    np.testing.assert_allclose(defense(rows, Coarse()), expected, atol=1e-12)


@given(SETTINGS, logit_arrays(largest=10))
def test_outputs_for_fixed_logits_are_those_of_separate_calls(
    defense: DynaNoise, rows: Float64
) -> None:
    """Variances are computed once, but for noise with a base of its own."""
    respond = make_responder(defense, rows)
    for fixed, separate in ((Fresh(1), Fresh(1)), (Coarse(), Coarse()), (Fresh(2), Fresh(2))):
        np.testing.assert_array_equal(respond(fixed), defense(rows, separate))


@pytest.mark.parametrize("bad", [None, 0, np.random.default_rng(0), Fresh])
def test_what_is_no_noise_source_is_named(bad: Any) -> None:
    with pytest.raises(InputError, match=r"noise is .*Pass a noise source, such as dn\.Fresh"):
        DynaNoise()(np.zeros((1, 2)), bad)


# --- undoing it ----------------------------------------------------------------------------------


@given(logit_arrays(largest=10), st.floats(0.5, 20))
def test_for_one_draw_the_temperature_is_undone_exactly(rows: Float64, temperature: float) -> None:
    defense = DynaNoise(0.3, 2.0, temperature)
    undone = defense.undo(np.log(defense(rows, Fresh(3))))
    noisy = (
        rows
        + np.sqrt(published_variance(defense, rows))[:, None] * Fresh(3).draw(rows, 1, "")[1][0]
    )
    np.testing.assert_allclose(undone, noisy - noisy.mean(axis=-1, keepdims=True), atol=1e-7)


# --- parameters ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("parameters", "says"),
    [
        ({"base_variance": -0.1}, "base_variance is -0.1"),
        ({"base_variance": np.nan}, "base_variance is nan"),
        ({"base_variance": "much"}, "base_variance is 'much'"),
        ({"base_variance": None}, "base_variance is None"),
        ({"lambda_scale": -2}, "lambda_scale is -2"),
        ({"lambda_scale": np.inf}, "lambda_scale is inf"),
        ({"temperature": 0}, "temperature is 0"),
        ({"temperature": -1.0}, "temperature is -1.0"),
        ({"temperature": True}, "temperature is True"),
        ({"samples": 0}, "samples is 0"),
        ({"samples": 2**32 + 1}, "samples is 4294967297"),
        ({"samples": 1.5}, "samples is 1.5"),
        ({"base_variance": 1e308, "lambda_scale": 10}, "infinite variance"),
    ],
)
def test_bad_parameters_are_named(parameters: dict[str, Any], says: str) -> None:
    with pytest.raises(InputError, match=says):
        DynaNoise(**parameters)


def test_an_unknown_sensitivity_is_named() -> None:
    with pytest.raises(UnknownNameError, match="no sensitivity 'entropie'"):
        DynaNoise(sensitivity="entropie")
    with pytest.raises(UnknownNameError, match="no sensitivity None"):
        DynaNoise(sensitivity=None)  # type: ignore[arg-type]


def test_static_matches_the_mean_variance_of_held_out_non_members() -> None:
    match = DynaNoise(0.3, 2.0, 10.0)
    view = make_view()
    fitted = Static(match).fit(view)
    expected = match.variance(view.reference.logits[0, :, 0]).mean()
    assert fitted == DynaNoise(float(expected), 0.0, 10.0)
    assert 0.3 < fitted.base_variance < 0.9


def test_static_matches_a_dynanoise_setting_only() -> None:
    with pytest.raises(InputError, match=r"match is 0\.3"):
        Static(0.3)  # type: ignore[arg-type]


def test_static_before_fitting_says_what_to_do() -> None:
    with pytest.raises(NotFittedError, match=r"Call fit\(view\)"):
        Static()(np.zeros((1, 2)), Silent())
    with pytest.raises(NotFittedError, match=r"Call fit\(view\)"):
        Static().undo(np.zeros((1, 2)))


def test_the_deterministic_part_is_what_remains_without_noise() -> None:
    rows = np.array([[1.0, 0.0, -2.0]])
    np.testing.assert_allclose(
        DynaNoise(0.3, 2, 4)(rows, Silent()), special.softmax(rows / 4, axis=-1), rtol=1e-12
    )
