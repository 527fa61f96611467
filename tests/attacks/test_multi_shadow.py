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
from dynanoise.evaluation.trial import mean_auc
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


def test_held_out_records_are_not_learned_from() -> None:
    """The membership of a half changes how the other half is scored, not that half itself."""
    _, _, shadows = target_and_shadows(3, 2.0, models=5)
    apart = MultiShadow().fit(shadows).held_out()
    assert apart is not None and len(apart.scores) == (shadows.use >= 0).sum()
    assert apart.sizes == tuple((shadows.use >= 0).sum(axis=1))
    assert roc(apart.scores, apart.members).auc > 0.8
    records = np.nonzero(shadows.use >= 0)[1]
    moved = []
    for record in range(2):
        flipped = shadows.use.copy()
        flipped[:, record] = np.where(flipped[:, record] < 0, -1, 1 - flipped[:, record])
        again = MultiShadow().fit(replace(shadows, use=flipped)).held_out()
        assert again is not None
        moved.append(again.scores != apart.scores)
        assert not moved[-1][records == record].any()
        # About half of the pairs are of records in its half.
        assert 0.3 < np.mean(moved[-1]) < 0.7
    few = target_and_shadows(3, 2.0, models=4)[2]
    assert MultiShadow().fit(few).held_out() is None


def test_its_estimate_is_not_that_of_a_few_shadow_models() -> None:
    """One of five leaks, the last: held out alone, it would promise far too much."""
    _, _, shadows = target_and_shadows(5, 3.0, models=5)
    rows = np.random.default_rng(0).normal(0, 1, (5, 600, 4))
    quiet = observe_shadow_logits(rows, shadows.clean.labels, shadows.use)
    mixed = replace(quiet, observations=(*quiet.observations[:4], shadows.observations[4]))
    apart = MultiShadow().fit(mixed).held_out()
    assert apart is not None
    ends = np.cumsum(apart.sizes)[:-1]
    each = [
        roc(scores, members).auc
        for scores, members in zip(
            np.split(apart.scores, ends), np.split(apart.members, ends), strict=True
        )
    ]
    assert mean_auc(apart) == pytest.approx(np.mean(each))
    assert max(each[:4]) < 0.6 and each[4] > 0.8
    assert mean_auc(apart) < 0.65
