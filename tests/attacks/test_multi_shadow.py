"""Logistic regression on all shadow models."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import special, stats

from dynanoise.attacks.classifiers import SIGNALS, MultiShadow
from dynanoise.core.errors import InputError
from dynanoise.core.registry import STATISTICS
from dynanoise.evaluation.responses import observe_logits, observe_shadow_logits
from dynanoise.metrics.roc import roc
from tests.factories.attack_cases import target_and_shadows


def test_it_equals_a_regression_on_signals_computed_another_way() -> None:
    from sklearn.linear_model import LogisticRegression

    observed, _, shadows = target_and_shadows(0, 2.0, models=2)

    def signals(rows: np.ndarray, y: np.ndarray) -> np.ndarray:
        p = special.softmax(rows, axis=-1)
        n = np.arange(len(p))
        p_y, masked = p[n, y], rows.copy()
        masked[n, y] = -np.inf
        terms = p * np.log1p(-p)
        modified = (1 - p_y) * np.log(p_y) + terms.sum(axis=1) - terms[n, y]
        return np.column_stack(
            [
                p.max(axis=1),
                p.argmax(axis=1) == y,
                -stats.entropy(p, axis=1),
                rows[n, y] - masked.max(axis=1),
                np.log(p_y),
                modified,
                special.logit(p_y),
            ]
        )

    models = [signals(model.log_probs[:, 0], model.labels) for model in shadows.observations]
    pooled = np.concatenate(models)
    mean, sd = pooled.mean(axis=0), pooled.std(axis=0)
    labels = np.tile(shadows.observations[0].labels, 2)
    design = np.column_stack([(pooled - mean) / sd, labels[:, None] == np.arange(4)])
    direct = LogisticRegression(tol=1e-8, max_iter=10_000).fit(design, shadows.use.ravel())
    target = (signals(observed.log_probs[:, 0], observed.labels) - mean) / sd
    expected = direct.decision_function(
        np.column_stack([target, observed.labels[:, None] == np.arange(4)])
    )
    scores = MultiShadow().fit(shadows).score(observed)
    np.testing.assert_allclose(scores, expected, atol=0.02)
    # Normal scores compare records of one model; they are pooled over models here.
    assert set(SIGNALS) == set(STATISTICS.names()) - {"normal_score"}


def test_every_shadow_model_is_learned_from() -> None:
    """The first shadow model leaks nothing; the others do."""
    target, truth, shadows = target_and_shadows(1, 3.0)
    first = target_and_shadows(2, 0.0)[0]
    silent = replace(shadows, observations=(replace(first, labels=shadows.clean.labels),) * 3)
    assert roc(MultiShadow().fit(shadows).score(target), truth).auc > 0.9
    mixed = replace(shadows, observations=(silent.observations[0], *shadows.observations[1:]))
    assert roc(MultiShadow().fit(mixed).score(target), truth).auc > 0.9


def test_the_class_moves_the_threshold() -> None:
    """Class 0 is hard and class 1 easy: the same answer is a member's in one alone."""
    generator = np.random.default_rng(0)
    labels = np.arange(400) % 2
    use = (np.arange(400) // 2) % 2
    rows = np.zeros((1, 400, 2))
    rows[0, np.arange(400), labels] = generator.normal(0, 0.5, 400) + 4 * labels + 2 * use
    fitted = MultiShadow().fit(observe_shadow_logits(rows, labels, use[None]))
    scores = fitted.score(observe_logits([[3.0, 0.0], [0.0, 3.0]], [0, 1]))
    assert fitted.decide(scores).tolist() == [True, False]


def test_rows_are_limited_and_drawn_by_the_seed() -> None:
    target, _, shadows = target_and_shadows(3, 2.0)
    few, again, other = (
        MultiShadow(rows=200, seed=seed).fit(shadows).score(target) for seed in (0, 0, 1)
    )
    np.testing.assert_array_equal(few, again)
    assert not np.array_equal(few, other)
    assert not np.array_equal(few, MultiShadow().fit(shadows).score(target))
    with pytest.raises(InputError, match=r"rows is 1"):
        MultiShadow(rows=1)
    lopsided = observe_shadow_logits(np.zeros((1, 50, 2)), np.zeros(50, int), [[1] + 49 * [0]])
    with pytest.raises(InputError, match=r"The 2 pairs drawn are all .* Use more rows"):
        MultiShadow(rows=2).fit(lopsided)


def test_a_fifth_of_the_shadow_models_is_kept_apart() -> None:
    """Whatever the last of five shadow models answers changes no score, only the estimate."""
    target, _, shadows = target_and_shadows(3, 2.0, models=5)
    other = target_and_shadows(4, 0.0)[0]
    last = replace(other, labels=shadows.clean.labels)
    changed = replace(shadows, observations=(*shadows.observations[:4], last))
    fitted, again = MultiShadow().fit(shadows), MultiShadow().fit(changed)
    np.testing.assert_array_equal(fitted.score(target), again.score(target))
    (scores, members), apart = fitted.held_out() or ([], []), again.held_out()
    assert apart is not None and len(scores) == (shadows.use[4] >= 0).sum()
    np.testing.assert_array_equal(members, shadows.use[4][shadows.use[4] >= 0] == 1)
    assert roc(scores, members).auc > 0.8 > roc(apart.scores, apart.members).auc
    assert MultiShadow().fit(target_and_shadows(3, 2.0, models=4)[2]).held_out() is None
