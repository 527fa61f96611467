"""What every registered attack must do."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from dynanoise.attacks.base import Attack
from dynanoise.attacks.label_only import Gap
from dynanoise.audit.observe import answers, shadow_answers
from dynanoise.errors import InputError
from dynanoise.metrics.roc import roc
from dynanoise.metrics.success import attack_metrics
from dynanoise.registry import ATTACKS
from tests import build


@pytest.fixture(params=ATTACKS.names())
def attack(request: pytest.FixtureRequest) -> Attack:
    """Each registered attack with its defaults, but those that `test_aligned_attacks` tests."""
    component: Attack = ATTACKS.get(request.param)()
    if component.aligned:
        pytest.skip("needs shadow models of the same records")
    return component


def test_planted_leakage_is_found(attack: Attack) -> None:
    """Members whose true class is 3 logits higher: a wrong sign anywhere gives AUC < 0.5."""
    seen, truth, shadows = build.target_and_shadows(seed=1, leak=3.0)
    fitted = attack.fit(shadows)
    scores = fitted.score(seen)
    found = attack_metrics(scores, fitted.decide(scores), truth)
    # One bit an answer: an AUC of 0.5 + (train accuracy - test accuracy) / 2, and no more.
    assert found["auc"].value > (0.6 if isinstance(attack, Gap) else 0.75)
    assert found["asr"].low is not None and found["asr"].low > 0.5


def test_decisions_follow_the_scores(attack: Attack) -> None:
    """Whoever is called a member scores higher than whoever is not."""
    seen, _, shadows = build.target_and_shadows(seed=2, leak=3.0)
    fitted = attack.fit(shadows)
    scores = fitted.score(seen)
    decisions = fitted.decide(scores)
    assert decisions.any() and not decisions.all()
    assert scores[decisions].min() >= scores[~decisions].max()


def test_without_leakage_the_interval_contains_chance(attack: Attack) -> None:
    """Over 200 targets without a leak the 95% interval of AUC - 0.5 holds 0 at its rate."""
    inside = 0
    for seed in range(200):
        seen, truth, shadows = build.target_and_shadows(seed=seed, leak=0.0, count=200)
        auc = roc(attack.fit(shadows).score(seen), truth).auc
        # Under the null the AUC of 100 + 100 records has this standard deviation (Mann-Whitney).
        sd = np.sqrt((100 + 100 + 1) / (12 * 100 * 100))
        inside += abs(auc - 0.5) <= 1.96 * sd
    # Binomial(200, 0.95) lies in 178..198 with probability 0.9995.
    assert 178 <= inside <= 199


def test_constant_answers_beside_leaking_shadows_score_chance(attack: Attack) -> None:
    """The target says nothing; labels are the same for members and non-members."""
    _, _, shadows = build.target_and_shadows(seed=3, leak=3.0)
    labels = np.tile(np.arange(4), 50)
    truth = np.repeat([True, False], 100)
    seen = answers(np.tile([2.0, 1.0, 0.0, 0.0], (200, 1)), labels)
    assert roc(attack.fit(shadows).score(seen), truth).auc == 0.5


def test_permuting_records_permutes_scores(attack: Attack) -> None:
    seen, _, shadows = build.target_and_shadows(seed=4, leak=1.0)
    fitted = attack.fit(shadows)
    order = np.random.default_rng(0).permutation(len(seen.labels))
    moved = replace(
        seen, labels=seen.labels[order], ids=seen.ids[order], log_probs=seen.log_probs[order]
    )
    np.testing.assert_allclose(fitted.score(moved), fitted.score(seen)[order], rtol=1e-12)


def test_arrays_are_not_written_to(attack: Attack) -> None:
    seen, _, shadows = build.target_and_shadows(seed=5, leak=1.0)
    frozen = replace(seen, log_probs=build.read_only(seen.log_probs))
    own = tuple(
        replace(shadow, log_probs=build.read_only(shadow.log_probs)) for shadow in shadows.observed
    )
    attack.fit(replace(shadows, observed=own)).score(frozen)


def test_saturated_answers_give_finite_scores(attack: Attack) -> None:
    """Probabilities of exactly 0 and 1, right and wrong."""
    _, _, shadows = build.target_and_shadows(seed=6, leak=1.0)
    seen = answers(np.array([[2000.0, 0, 0, 0], [2000.0, 0, 0, 0]]), [0, 1])
    assert np.isfinite(attack.fit(shadows).score(seen)).all()


def test_another_number_of_classes_is_refused(attack: Attack) -> None:
    _, _, shadows = build.target_and_shadows(seed=7, leak=1.0)
    with pytest.raises(InputError, match="answers 3 classes, the shadows 4"):
        attack.fit(shadows).score(answers(np.zeros((2, 3)), [0, 1]))


def test_no_records_give_no_scores(attack: Attack) -> None:
    _, _, shadows = build.target_and_shadows(seed=8, leak=1.0)
    fitted = attack.fit(shadows)
    scores = fitted.score(answers(np.zeros((0, 4)), np.zeros(0, np.int64)))
    assert scores.shape == fitted.decide(scores).shape == (0,)


def test_the_order_of_records_tells_nothing(attack: Attack) -> None:
    """An attack that sees members first could score by position; see also the training tests."""
    seen, truth, shadows = build.target_and_shadows(seed=9, leak=0.0)
    order = np.argsort(~truth, kind="stable")
    first = replace(
        seen, labels=seen.labels[order], ids=seen.ids[order], log_probs=seen.log_probs[order]
    )
    scores = attack.fit(shadows).score(first)
    np.testing.assert_allclose(np.sort(scores), np.sort(attack.fit(shadows).score(seen)))


@pytest.mark.parametrize("only", [0, 1, -1])
def test_shadows_of_one_kind_are_refused(attack: Attack, only: int) -> None:
    shadows = shadow_answers(np.zeros((1, 4, 3)), [0, 1, 2, 0], np.full((1, 4), only))
    with pytest.raises(InputError, match="no members or no non-members"):
        attack.fit(shadows)
