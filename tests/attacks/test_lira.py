"""LiRA: published check values, closed forms, and every variant written out in loops."""

from __future__ import annotations

from itertools import product

import numpy as np
import numpy.typing as npt
import pytest
from scipy import stats

from dynanoise.attacks.base import title_of
from dynanoise.attacks.gaussians import CENTRES, VARIANCES, Prior, PriorMoments
from dynanoise.attacks.lira import MODES, Lira
from dynanoise.core.errors import InputError, UnknownNameError
from dynanoise.core.numerics import Float64
from dynanoise.core.observation import Observation, ShadowObservations
from dynanoise.core.outputs import Outputs
from dynanoise.core.registry import ATTACKS
from dynanoise.evaluation.responses import observe_undefended
from tests.factories.attack_cases import pool_target_and_shadows

VARIANTS = list(product(MODES, CENTRES, [name for name in VARIANCES if name != "bayesian"]))


def two_classes(phi: npt.ArrayLike, use: npt.ArrayLike) -> ShadowObservations:
    """Models whose scaled logit of class 0 is phi [M, N, A]."""
    values = np.asarray(phi, dtype=np.float64)
    logits = np.stack([values, np.zeros_like(values)], axis=-1)
    count = values.shape[1]
    rows = Outputs(logits, np.zeros(count, int), np.arange(count), np.asarray(use))
    return observe_undefended(rows)


def target_of(phi: npt.ArrayLike) -> Observation:
    """One model, phi [N, A]."""
    values = np.asarray(phi, dtype=np.float64)[None]
    return two_classes(values, np.zeros(values.shape[:2], int)).observations[0]


def halves(count: int, k: int = 2) -> npt.NDArray[np.int8]:
    """The first k models hold every example, the other k none."""
    use: npt.NDArray[np.int8] = np.repeat([1, 0], k)[:, None] * np.ones((1, count), np.int8)
    return use.astype(np.int8)


# --- check values of tensorflow/privacy's advanced_mia_test.py, TestLiRA -------------------------

TARGET = np.array([[1.0], [0.0], [0.0], [0.0]])
# Two models for each of three examples; the fourth has none there and gets the others' mean centre,
# and their mean sd where each example has its own.
OWN_SD = 4.0  # the mean of 1, 1 and 10
SHARED_SD = np.sqrt((1 + 1 + 100) / 3)  # a fourth with this sd leaves the shared one as it is
PUBLISHED = {
    "example": (OWN_SD, [1.41893853, 1.41893853, 3.72152363, 2.72537178]),
    "residual": (SHARED_SD, [2.69682468, 2.69682468, 4.15270703, 2.87983121]),
}


def published_values(variance: str) -> Float64:
    """The published example's in-statistics, [2, 4, 1]."""
    fourth = 11 / 3 + PUBLISHED[variance][0] * np.array([-1, 1])
    pairs = np.array([[-1.0, 1.0], [0.0, 2.0], [0.0, 20.0], fourth])
    return pairs.T[:, :, None]


@pytest.mark.parametrize("sign", [1, -1], ids=["in", "out"])
@pytest.mark.parametrize(("variance", "centre"), list(product(PUBLISHED, CENTRES)))
def test_published_values_of_one_gaussian(variance: str, centre: str, sign: int) -> None:
    """-ln N(phi), of the published in- and out-statistics, as an offline attack sees them."""
    values = sign * published_values(variance)
    shadows = two_classes(np.concatenate([values + 100, values]), halves(4))
    fitted = Lira("offline_two_sided", centre, variance).fit(shadows)
    expected = PUBLISHED[variance][1]
    np.testing.assert_allclose(fitted.score(target_of(TARGET)), expected, atol=1e-6)


@pytest.mark.parametrize("centre", CENTRES)
def test_published_value_of_two_augmentations(centre: str) -> None:
    values = np.array([[[-1.0, 0.0]], [[1.0, 20.0]]])
    shadows = two_classes(np.concatenate([values, values]), halves(1))
    fitted = Lira("offline_two_sided", centre, "example").fit(shadows)
    scores = fitted.score(target_of([[1.0, 0.0]]))
    np.testing.assert_allclose(scores, [2.57023108], atol=1e-6)


@pytest.mark.parametrize("variance", ["example", "residual"])
def test_symmetric_shadows_tell_nothing(variance: str) -> None:
    """The published cases of both Gaussians."""
    values = published_values(variance)
    shadows = two_classes(np.concatenate([values, -values]), halves(4))
    scores = Lira(variance=variance).fit(shadows).score(target_of(TARGET))
    np.testing.assert_allclose(scores, 0, atol=1e-9)


def test_both_gaussians_of_a_case_that_is_not_symmetric() -> None:
    """Means 5 and 2, sd 1 and 3: in and out exchanged, or either sd, would show."""
    shadows = two_classes([[[4.0]], [[6.0]], [[-1.0]], [[5.0]]], halves(1))
    target = target_of([[5.5]])
    expected = stats.norm.logpdf(5.5, 5, 1) - stats.norm.logpdf(5.5, 2, 3)
    for variance in ("example", "residual"):
        scores = Lira(variance=variance).fit(shadows).score(target)
        np.testing.assert_allclose(scores, [expected], rtol=1e-9)
    raw = Lira(variance="raw").fit(shadows).score(target)
    expected = stats.norm.logpdf(5.5, 5, 1) - stats.norm.logpdf(5.5, 2, 1)
    np.testing.assert_allclose(raw, [expected], rtol=1e-9)
    upper = Lira("offline_one_sided").fit(shadows).score(target)
    np.testing.assert_allclose(upper, [-np.log(stats.norm.sf(5.5, 2, 3))], rtol=1e-9)


# --- every variant, record by record -------------------------------------------------------------


def by_hand(lira: Lira, phi: Float64, use: npt.NDArray[np.int8], target: Float64) -> list[float]:
    """The definition in loops: phi [S, N, A], use [S, N], target [N, A]."""

    def centre(values: Float64) -> float:
        ordered = sorted(values)
        middle = (ordered[(len(ordered) - 1) // 2] + ordered[len(ordered) // 2]) / 2
        return float(middle if lira.centre == "median" else sum(ordered) / len(ordered))

    residuals: dict[int, list[float]] = {0: [], 1: []}
    raw: dict[int, list[float]] = {0: [], 1: []}
    for n, a in np.ndindex(target.shape):
        for side in (0, 1):
            mine = phi[use[:, n] == side, n, a]
            residuals[side] += list(mine - centre(mine)) if len(mine) else []
            raw[side] += list(mine)

    def normal(side: int, n: int, a: int) -> tuple[float, float]:
        mine = phi[use[:, n] == side, n, a]
        if lira.variance == "example":
            sd = np.sqrt(np.mean((mine - mine.mean()) ** 2))
        elif lira.variance == "residual":
            sd = np.std(residuals[side])
        else:
            sd = np.std(raw[1 if lira.mode == "online" else 0])
        return centre(mine), float(sd)

    scores = []
    for n in range(len(target)):
        if (use[:, n] < 0).all():
            scores.append(0.0)
            continue
        each = []
        for a in range(target.shape[1]):
            x, out = target[n, a], normal(0, n, a)
            if lira.mode == "online":
                inside = normal(1, n, a)
                each.append(stats.norm.logpdf(x, *inside) - stats.norm.logpdf(x, *out))
            elif lira.mode == "offline_one_sided":
                each.append(-stats.norm.logsf(x, *out))
            else:
                each.append(-stats.norm.logpdf(x, *out))
        scores.append(float(np.mean(each)))
    return scores


def scaled(observed: Observation) -> Float64:
    """ln p_y - ln sum of the others, [N, A], from probabilities."""
    p = np.exp(observed.log_probs)
    p_y = np.take_along_axis(p, observed.labels[:, None, None], axis=-1)[..., 0]
    others: Float64 = np.log(p_y) - np.log(p.sum(axis=-1) - p_y)
    return others


@pytest.mark.parametrize(("mode", "centre", "variance"), VARIANTS)
def test_every_variant_equals_its_definition(mode: str, centre: str, variance: str) -> None:
    target, _, shadows = pool_target_and_shadows(1, 2.0, count=40, inputs=3)
    use = shadows.use.copy()
    use[:, 5] = -1  # an example without shadow models
    lira = Lira(mode, centre, variance)
    scores = lira.fit(ShadowObservations(shadows.observations, use, shadows.clean)).score(target)
    phi = np.stack([scaled(model) for model in shadows.observations])
    assert (use[:, 0] == 1).sum() >= 3  # mean and median differ
    np.testing.assert_allclose(scores, by_hand(lira, phi, use, scaled(target)), rtol=1e-8)
    assert scores[5] == 0


def test_variants_differ() -> None:
    target, _, shadows = pool_target_and_shadows(1, 2.0, count=40)
    scores = {tuple(Lira(*variant).fit(shadows).score(target).round(9)) for variant in VARIANTS}
    assert len(scores) == len(VARIANTS) == 18


def test_the_median_is_robust_where_the_mean_is_not() -> None:
    phi = np.array([4.0, 5.0, 90.0, 0.0, 1.0, 2.0])[:, None, None]
    shadows = two_classes(phi, halves(1, k=3))
    for centre, middle in (("mean", 33.0), ("median", 5.0)):
        assert Lira(centre=centre).fit(shadows).learned.inside.centre == pytest.approx(middle)


def test_another_statistic() -> None:
    """With two classes the hinge is the scaled logit; with four it is larger."""
    shadows = two_classes([[[4.0]], [[6.0]], [[-1.0]], [[5.0]]], halves(1))
    hinge, phi = Lira(statistic="hinge").fit(shadows), Lira().fit(shadows)
    np.testing.assert_allclose(
        hinge.score(target_of([[5.5]])), phi.score(target_of([[5.5]])), rtol=1e-9
    )
    target, _, four = pool_target_and_shadows(1, 2.0, count=40)
    assert (Lira(statistic="hinge").fit(four).score(target) != Lira().fit(four).score(target)).any()


@pytest.mark.parametrize("mode", ["offline_one_sided", "offline_two_sided"])
@pytest.mark.parametrize("variance", VARIANCES)
def test_offline_attacks_use_no_in_model(mode: str, variance: str) -> None:
    generator = np.random.default_rng(0)
    values = generator.normal(0, 1, (4, 9, 1))
    use, target = halves(9), target_of(generator.normal(0, 1, (9, 1)))
    changed = values.copy()
    changed[:2] = 7 * changed[:2] + 3
    lira = Lira(mode, variance=variance)
    scores = [lira.fit(two_classes(phi, use)).score(target) for phi in (values, changed)]
    np.testing.assert_array_equal(scores[0], scores[1])


@pytest.mark.parametrize("mode", ["offline_one_sided", "offline_two_sided"])
def test_offline_attacks_call_half_of_the_non_members_members(mode: str) -> None:
    """Their thresholds are the median of a non-member, as 3,000 answers like the shadows' show."""
    generator = np.random.default_rng(0)
    phi = generator.normal(3, 2, (65, 3000, 1))
    fitted = Lira(mode).fit(two_classes(phi[1:], halves(3000, k=32)))
    called = fitted.decide(fitted.score(target_of(phi[0])))
    # Five sd of a share of 3,000 fair coins, and what 32 models leave unknown of a centre.
    assert abs(called.mean() - 0.5) < 5 * np.sqrt(0.25 / 3000) + 0.01


def test_one_model_of_either_kind_uses_the_raw_spread() -> None:
    """Nothing varies within a record; scores keep the scale of the statistic."""
    use = halves(3, k=1)
    phi = np.array([[[4.0], [6.0], [8.0]], [[1.0], [2.0], [3.0]]])
    target = target_of([[4.0], [4.5], [3.0]])
    expected = Lira(variance="raw").fit(two_classes(phi, use)).score(target)
    sd = np.std([4.0, 6.0, 8.0])
    assert expected[0] == pytest.approx((9 - 0) / (2 * sd**2))
    for variance in ("example", "residual"):
        scores = Lira(variance=variance).fit(two_classes(phi, use)).score(target)
        np.testing.assert_array_equal(scores, expected)


@pytest.mark.parametrize("mode", MODES)
def test_exactly_at_the_threshold_is_no_member(mode: str) -> None:
    fitted = Lira(mode).fit(two_classes([[[4.0]], [[6.0]], [[-1.0]], [[5.0]]], halves(1)))
    at = fitted.learned.threshold
    assert fitted.decide(np.array([at, np.nextafter(at, np.inf)])).tolist() == [False, True]
    if mode == "online":
        assert at == 0


def test_models_that_agree_give_finite_scores_on_the_side_of_the_nearer_centre() -> None:
    phi = np.array([4.0, 4.0, 1.0, 1.0])[:, None, None] * np.ones((1, 3, 1))
    for variance in ("example", "residual"):
        fitted = Lira(variance=variance).fit(two_classes(phi, halves(3)))
        scores = fitted.score(target_of([[3.9], [1.0], [-700.0]]))
        assert np.isfinite(scores).all()
        assert fitted.decide(scores).tolist() == [True, False, False]


def test_unequal_numbers_of_shadows_are_refused() -> None:
    use = halves(2)
    use[0, 0] = -1
    with pytest.raises(InputError, match="same number of both"):
        Lira().fit(two_classes(np.zeros((4, 2, 1)), use))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("lira(mode=offline)", "mode is 'offline'. Use one of online, offline_one_sided"),
        ("lira(centre=mode)", "centre is 'mode'. Use one of mean, median"),
        ("lira(variance=pooled)", "variance is 'pooled'. Use one of example, residual, raw"),
    ],
)
def test_unknown_variants_are_refused(text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        ATTACKS.build(text)


def test_names() -> None:
    with pytest.raises(UnknownNameError, match=r"no statistic 'hinges'\. Did you mean 'hinge'"):
        ATTACKS.build("lira(statistic=hinges)")
    text = "lira(variance=example, centre=median)"
    assert ATTACKS.build(text) == Lira(variance="example", centre="median")
    assert title_of(text) == "LiRA (variance=example, centre=median)"


# --- the Bayesian variance -----------------------------------------------------------------------

PRIOR = Prior(centre=1.5, weight=0.7, shape=2.5, scale=3.0)


def test_the_prediction_is_the_integral_over_mean_and_variance() -> None:
    """p(x | values) = int p(x | m, v) p(values | m, v) p(m, v) / int p(values | m, v) p(m, v)."""
    values = np.array([0.4, 2.2, 1.1])

    log_variances, means = np.linspace(-5, 7, 500)[:, None], np.linspace(-30, 30, 1501)
    variances = np.exp(log_variances)

    def integral(more: list[float]) -> float:
        sd = np.sqrt(variances)
        density = stats.norm.pdf(means, PRIOR.centre, sd / np.sqrt(PRIOR.weight))
        density *= stats.invgamma.pdf(variances, PRIOR.shape, scale=PRIOR.scale) * variances
        for value in [*values, *more]:
            density *= stats.norm.pdf(value, means, sd)
        return float(density.sum())  # of equal cells in mean and ln of the variance

    predicted = PRIOR.predict(values[:, None, None])
    for x in (-1.0, 3.0):
        expected = np.log(integral([x]) / integral([]))
        assert predicted.log_density(np.array([[x]])).item() == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("k", [3, 8])
def test_the_prior_is_found_again(k: int) -> None:
    generator = np.random.default_rng(k)
    variances = stats.invgamma.rvs(
        PRIOR.shape, scale=PRIOR.scale, size=200_000, random_state=generator
    )
    means = generator.normal(PRIOR.centre, np.sqrt(variances / PRIOR.weight))
    values = generator.normal(means, np.sqrt(variances), (k, len(means)))[..., None]
    halves = [PriorMoments.of(values[:, part]) for part in (slice(90_000), slice(90_000, None))]
    fitted = Prior.fit(halves[0] + halves[1])
    np.testing.assert_allclose(fitted, PRIOR, rtol=0.06)
    np.testing.assert_allclose(fitted, Prior.fit(PriorMoments.of(values)), rtol=1e-9)


def test_equal_variances_are_shared_and_many_models_decide_alone() -> None:
    """Towards "residual" where records do not differ in variance, towards "example" with many."""
    generator = np.random.default_rng(0)
    means = generator.normal(0, 300, 5000)[:, None]
    same = generator.normal(means, 2.0, (4, 5000, 1))
    predicted = Prior.fit(PriorMoments.of(same)).predict(same)
    assert predicted.dof > 100
    # Of four models the mean itself has a fourth of the variance.
    np.testing.assert_allclose(predicted.sd, 2 * np.sqrt(1 + 1 / 4), rtol=0.1)
    np.testing.assert_allclose(predicted.centre, same.mean(axis=0), atol=0.1)
    own = generator.gamma(2.0, 1.0, (300, 1))
    many = generator.normal(0, own, (4000, 300, 1))
    predicted = Prior.fit(PriorMoments.of(many)).predict(many)
    np.testing.assert_allclose(predicted.sd, many.std(axis=0), rtol=0.01)


def test_it_is_the_strongest_with_few_models_whose_records_differ_in_variance() -> None:
    generator = np.random.default_rng(5)
    count, k = 4000, 4
    sd = np.sqrt(stats.invgamma.rvs(1.5, scale=1.0, size=count, random_state=generator))
    centre = generator.normal(0, 2, count)
    use = np.stack([generator.permutation(np.repeat([1, 0], k)) for _ in range(count)], axis=1)
    members = generator.integers(0, 2, count)
    phi = centre + 1.2 * np.vstack([use, members]) + generator.normal(0, sd, (2 * k + 1, count))
    shadows, target = two_classes(phi[:-1, :, None], use), target_of(phi[-1][:, None])
    every = {name: Lira(variance=name).fit(shadows).score(target) for name in VARIANCES}
    auc = {
        name: stats.mannwhitneyu(scores[members == 1], scores[members == 0]).statistic
        for name, scores in every.items()
    }
    most = max(value for name, value in auc.items() if name != "bayesian")
    assert auc["bayesian"] > most + 0.005 * (members == 1).sum() * (members == 0).sum()


def test_offline_scores_are_the_tail_and_the_density_of_t() -> None:
    phi = np.random.default_rng(1).normal(0, 1, (6, 50, 1))
    shadows, target = two_classes(phi, halves(50, 3)), target_of(phi[0])
    out = Prior.fit(PriorMoments.of(phi[3:])).predict(phi[3:])
    t = stats.t(out.dof, out.centre[:, 0], out.sd[:, 0])
    upper = Lira("offline_one_sided", variance="bayesian").fit(shadows).score(target)
    np.testing.assert_allclose(upper, -np.log(t.sf(phi[0, :, 0])), rtol=1e-9)
    density = Lira("offline_two_sided", variance="bayesian").fit(shadows).score(target)
    np.testing.assert_allclose(density, -np.log(t.pdf(phi[0, :, 0])), rtol=1e-9)
