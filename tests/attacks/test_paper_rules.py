"""The paper's six rules, each against its definition written out another way."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import special, stats

from dynanoise.attacks.classifiers import Shadow
from dynanoise.attacks.features import output_features
from dynanoise.attacks.lira import LiraByClass
from dynanoise.attacks.thresholds import Confidence, Entropy, Loss, ModifiedEntropy, best_threshold
from dynanoise.core.numerics import Float64
from dynanoise.evaluation.responses import observe_logits, observe_shadow_logits
from tests.factories.attack_cases import target_and_shadows

# --- fixed thresholds ----------------------------------------------------------------------------


@pytest.mark.parametrize(("top", "member"), [(0.91, True), (0.9, False), (0.89, False)])
def test_confidence_calls_a_member_above_nine_tenths(top: float, member: bool) -> None:
    shadows = target_and_shadows(0, 1.0, classes=2)[2]
    fitted = Confidence().fit(shadows)
    assert fitted.decide(np.array([top])).tolist() == [member]
    target = observe_logits(np.log([[1 - top, top]]), [0])
    assert fitted.score(target)[0] == pytest.approx(top)


@pytest.mark.parametrize(
    ("own", "member"), [(0.61, True), (0.60, False), (0.99, True), (0.01, False)]
)
def test_loss_calls_a_member_below_half_a_nat(own: float, member: bool) -> None:
    """exp(-0.5) = 0.6065."""
    shadows = target_and_shadows(0, 1.0, classes=2)[2]
    fitted = Loss().fit(shadows)
    scores = fitted.score(observe_logits(np.log([[own, 1 - own]]), [0]))
    assert scores[0] == pytest.approx(np.log(own))
    assert fitted.decide(scores).tolist() == [member]


def test_at_temperature_10_a_confidence_above_nine_tenths_needs_a_gap_of_44() -> None:
    """Success of 0.5 does not prove protection: ten classes, one of them ahead by the gap."""
    rows = np.zeros((2, 10))
    rows[:, 0] = [43.9, 44.0]
    tempered = special.softmax(rows / 10, axis=-1).max(axis=-1)
    assert (tempered > 0.9).tolist() == [False, True]


# --- thresholds by class -------------------------------------------------------------------------


@given(
    st.lists(st.tuples(st.integers(-4, 4), st.booleans()), min_size=1, max_size=30),
)
def test_best_threshold_equals_trying_all(pairs: list[tuple[int, bool]]) -> None:
    scores = np.array([float(score) for score, _ in pairs])
    members = np.array([member for _, member in pairs])
    threshold = best_threshold(scores, members)
    accuracy = {t: np.mean((scores >= t) == members) for t in np.unique(scores)}
    assert accuracy[threshold] == max(accuracy.values())
    assert threshold == max(t for t, a in accuracy.items() if a == max(accuracy.values()))


@pytest.mark.parametrize("attack", [Entropy(), ModifiedEntropy()])
def test_class_thresholds_equal_a_search_on_raw_entropies(
    attack: Entropy | ModifiedEntropy,
) -> None:
    """The published search: for each class the smallest entropy t of greatest accuracy."""
    target, _, shadows = target_and_shadows(3, 2.0, count=200)
    log_probs = shadows.observations[0].log_probs[:, 0]
    labels, members = shadows.observations[0].labels, shadows.use[0] == 1

    def raw(rows: Float64, y: np.ndarray) -> tuple[Float64, np.ndarray]:
        p = np.exp(rows)
        if isinstance(attack, Entropy):
            return stats.entropy(p, axis=-1), rows.argmax(axis=-1)
        p_y = p[np.arange(len(p)), y]
        terms = p * np.log1p(-p)
        others = terms.sum(axis=-1) - terms[np.arange(len(p)), y]
        return -(1 - p_y) * np.log(p_y) - others, y

    values, classes = raw(log_probs, labels)
    target_values, target_classes = raw(target.log_probs[:, 0], target.labels)
    expected = np.zeros(len(target_values), dtype=bool)
    margins = np.zeros(len(target_values))
    for label in range(4):
        mine, truth = values[classes == label], members[classes == label]
        candidates = np.unique(mine)
        accuracies = [np.mean((mine <= t) == truth) for t in candidates]
        threshold = candidates[int(np.argmax(accuracies))]
        chosen = target_classes == label
        margins[chosen] = threshold - target_values[chosen]
        expected[chosen] = target_values[chosen] <= threshold
    fitted = attack.fit(shadows)
    scores = fitted.score(target)
    np.testing.assert_allclose(scores, margins, atol=1e-9)
    np.testing.assert_array_equal(fitted.decide(scores), expected)
    # The thresholds are shadow members' own values: an answer exactly there is a member.
    assert fitted.decide(np.array([0.0, -1e-12])).tolist() == [True, False]


def test_entropy_uses_the_predicted_class_and_modified_entropy_the_true_one() -> None:
    """Thresholds differ by class; one answer predicted as 0, labelled 1, uses the right one."""
    probs = np.array([[0.9, 0.1], [0.8, 0.2], [0.45, 0.55], [0.4, 0.6]])
    shadows = observe_shadow_logits(np.log(probs)[None], [0, 0, 1, 1], [[1, 0, 1, 0]])
    target = observe_logits(np.log([[0.7, 0.3]]), [1])
    entropy = Entropy().fit(shadows)
    assert entropy.learned[0] == pytest.approx(-stats.entropy([0.9, 0.1]))
    assert entropy.score(target)[0] == pytest.approx(
        stats.entropy([0.9, 0.1]) - stats.entropy([0.7, 0.3])
    )
    modified = ModifiedEntropy().fit(shadows)
    p_y = -modified.learned[1]
    assert modified.score(target)[0] == pytest.approx(p_y - (-2 * 0.7 * np.log(0.3)))


@pytest.mark.parametrize("attack", [Entropy(), ModifiedEntropy()])
def test_a_class_without_shadow_examples_uses_the_threshold_over_all(
    attack: Entropy | ModifiedEntropy,
) -> None:
    generator = np.random.default_rng(0)
    rows = generator.normal(0, 2, (1, 60, 3))
    rows[..., 2] = -50  # never predicted
    labels = generator.integers(0, 2, 60)
    members = np.arange(60) < 30
    rows[0, members, labels[members]] += 2
    fitted = attack.fit(observe_shadow_logits(rows, labels, members[None].astype(int)))
    signal = attack.statistic(special.log_softmax(rows[0], axis=-1), labels)
    assert fitted.learned[2] == pytest.approx(best_threshold(signal, members))
    assert fitted.learned[0] == pytest.approx(
        best_threshold(
            signal[attack.classes(rows[0], labels) == 0],
            members[attack.classes(rows[0], labels) == 0],
        )
    )


# --- shadow --------------------------------------------------------------------------------------


def test_shadow_features_are_the_five_of_the_paper() -> None:
    probs = np.array([[0.7, 0.2, 0.1], [0.2, 0.5, 0.3]])
    labels = np.array([0, 2])
    p, q = probs
    expected = [
        [0.7, stats.entropy(p), -0.3 * np.log(0.7) - 0.2 * np.log(0.8) - 0.1 * np.log(0.9)],
        [0.5, stats.entropy(q), -0.7 * np.log(0.3) - 0.2 * np.log(0.8) - 0.5 * np.log(0.5)],
    ]
    features = output_features(np.log(probs), labels)
    np.testing.assert_allclose(features[:, :3], expected, rtol=1e-12)
    np.testing.assert_allclose(features[:, 3], [0.7, 0.3], rtol=1e-12)
    np.testing.assert_allclose(features[:, 4], -np.log([0.7, 0.3]), rtol=1e-12)


def test_shadow_features_are_clamped_at_1e_12() -> None:
    features = output_features(np.log(np.maximum([[1.0, 0.0]], 1e-300)), np.array([1]))
    assert features[0, 3] == pytest.approx(1e-12)
    assert features[0, 4] == pytest.approx(12 * np.log(10))


def test_shadow_equals_scikit_learn_on_the_first_shadow_alone() -> None:
    from sklearn.linear_model import LogisticRegression

    observed, _, shadows = target_and_shadows(5, 2.0)
    first = shadows.observations[0]
    direct = LogisticRegression(max_iter=1000).fit(
        output_features(first.log_probs[:, 0], first.labels), shadows.use[0]
    )
    fitted = Shadow().fit(shadows)
    target = output_features(observed.log_probs[:, 0], observed.labels)
    scores = fitted.score(observed)
    np.testing.assert_allclose(special.expit(scores), direct.predict_proba(target)[:, 1])
    np.testing.assert_array_equal(fitted.decide(scores), direct.predict(target) == 1)


# --- LiRA by class -------------------------------------------------------------------------------


def brute_force_lira(
    probs: Float64, labels: np.ndarray, members: np.ndarray
) -> dict[int, tuple[float, ...]]:
    """(in mean, in sd, out mean, out sd) for each class, by statistics.stdev's definition."""
    features = {}
    for label in range(probs.shape[-1]):
        sides = []
        for truth in (True, False):
            losses = [
                -np.log(min(max(p[label], 1e-12), 1 - 1e-12))
                for p, y, m in zip(probs, labels, members, strict=True)
                if y == label and m == truth
            ]
            sides += [np.mean(losses), max(np.std(losses, ddof=1), 1e-6)]
        features[label] = tuple(sides)
    return features


def test_lira_by_class_equals_its_definition() -> None:
    observed, _, shadows = target_and_shadows(8, 2.0, count=120)
    probs = np.concatenate([np.exp(model.log_probs[:, 0]) for model in shadows.observations])
    labels = np.concatenate([model.labels for model in shadows.observations])
    fits = brute_force_lira(probs, labels, shadows.use.ravel() == 1)
    target = np.exp(observed.log_probs[:, 0])
    expected = []
    for p, y in zip(target, observed.labels, strict=True):
        in_mean, in_sd, out_mean, out_sd = fits[int(y)]
        loss = -np.log(np.clip(p[y], 1e-12, 1 - 1e-12))
        expected.append(
            stats.norm.logpdf(loss, in_mean, in_sd) - stats.norm.logpdf(loss, out_mean, out_sd)
        )
    fitted = LiraByClass().fit(shadows)
    assert fitted.learned.sign == 1
    np.testing.assert_allclose(fitted.score(observed), expected, rtol=1e-8)
    np.testing.assert_array_equal(fitted.decide(fitted.score(observed)), np.array(expected) > 0)


def test_lira_uses_as_many_shadows_as_it_says() -> None:
    target, _, shadows = target_and_shadows(9, 2.0, models=4)
    three, model = (LiraByClass(n).fit(shadows).score(target) for n in (3, 1))
    changed = np.concatenate(
        [shadows.clean.logits[:3], shadows.clean.logits[3:] + 5.0 * np.eye(4)[0]]
    )
    other = observe_shadow_logits(changed[:, :, 0], shadows.clean.labels, shadows.use)
    np.testing.assert_array_equal(LiraByClass(3).fit(other).score(target), three)
    assert not np.array_equal(model, three)


@pytest.mark.parametrize("inverted", [False, True])
def test_lira_is_inverted_where_the_shadows_say_so(inverted: bool) -> None:
    """Losses that no Gaussian fits: two heaps of non-members around the members."""
    generator = np.random.default_rng(0)
    inside = np.concatenate([generator.normal(1.0, 0.01, 90), np.full(10, 9.0)])
    outside = np.concatenate([generator.normal(4.0, 0.05, 55), np.full(45, 0.01)])
    if not inverted:
        inside, outside = generator.normal(1.0, 0.2, 100), generator.normal(2.0, 0.2, 100)
    losses = np.concatenate([inside, outside])
    rows = np.log(np.stack([np.exp(-losses), -np.expm1(-losses)], axis=-1))
    use = (np.arange(200) < 100).astype(int)
    shadows = observe_shadow_logits(np.stack([rows] * 3), np.zeros(200, int), np.stack([use] * 3))

    fits = [(np.tile(x, 3).mean(), np.tile(x, 3).std(ddof=1)) for x in (inside, outside)]
    ratio = stats.norm.logpdf(losses, *fits[0]) - stats.norm.logpdf(losses, *fits[1])
    right = {sign: np.mean((sign * ratio > 0) == (use == 1)) for sign in (1, -1)}
    assert (right[-1] > right[1]) == inverted  # the case is what it says it is

    fitted = LiraByClass().fit(shadows)
    scores = fitted.score(observe_logits(rows, np.zeros(200, int)))
    np.testing.assert_allclose(scores, -ratio if inverted else ratio, rtol=1e-6)
    np.testing.assert_array_equal(fitted.decide(scores), ratio < 0 if inverted else ratio > 0)


def test_a_class_of_one_loss_uses_the_gaussian_over_all_classes() -> None:
    generator = np.random.default_rng(1)
    labels = np.array([0] * 30 + [1] * 2)
    members = np.array([True] * 15 + [False] * 15 + [True, False])
    rows = generator.normal(0, 1, (1, 32, 2)) + 2 * np.eye(2)[labels]
    shadows = observe_shadow_logits(rows, labels, members[None].astype(int))
    gaussians = LiraByClass().fit(shadows).learned.gaussians
    losses = -special.log_softmax(rows[0], axis=-1)[np.arange(32), labels]
    for side, chosen in enumerate((members, ~members)):
        assert gaussians.mean[side, 1] == pytest.approx(losses[chosen].mean())
        assert gaussians.sd[side, 1] == pytest.approx(losses[chosen].std(ddof=1))
        zero = chosen & (labels == 0)
        assert gaussians.mean[side, 0] == pytest.approx(losses[zero].mean())
