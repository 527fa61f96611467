"""Quantile regression: a known conditional distribution, the false positive rate, and its needs."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy.special import ndtri
from sklearn.tree import DecisionTreeClassifier

import dynanoise
from dynanoise.attacks.quantile_regression import QuantileRegression
from dynanoise.core.errors import InputError, TooFewRecordsError
from dynanoise.core.observation import Observation
from dynanoise.core.registry import ATTACKS
from dynanoise.evaluation.feasibility import find_feasible
from dynanoise.evaluation.responses import observe_logits
from dynanoise.metrics.roc import roc
from tests.factories.attack_cases import reorder
from tests.factories.audit_files import given

KNOWN, MEMBERS = 3_000, 1_000
TRUTH = np.arange(2 * MEMBERS) >= MEMBERS


def case(leak: float, seed: int = 0) -> tuple[Observation, Any, Any]:
    """Scaled logits N(x, (0.3 + 0.2 x)^2) for x in 0..10, of members higher by ``leak`` sds.

    Returns:
        The target with its population, and the mean and sd of each of its records.
    """
    generator = np.random.default_rng(seed)
    count = KNOWN + len(TRUTH)
    inputs = np.stack([generator.uniform(0, 10, count), generator.normal(0, 1, count)], axis=1)
    mean, sd = inputs[:, 0], 0.3 + 0.2 * inputs[:, 0]
    phi = mean + sd * (generator.normal(0, 1, count) + leak * np.r_[np.zeros(KNOWN), TRUTH])
    everything = observe_logits(np.stack([phi, 0 * phi], axis=1), [0] * count)
    everything = replace(everything, inputs=inputs)
    population = reorder(everything, np.arange(KNOWN))
    rows = np.arange(KNOWN, count)
    return replace(reorder(everything, rows), population=population), mean[rows], sd[rows]


@pytest.fixture(scope="module")
def known() -> tuple[Observation, Any, Any]:
    return case(leak=1.5)


def phi_of(target: Observation) -> Any:
    return target.log_probs[:, 0, 0] - target.log_probs[:, 0, 1]


def test_quantiles_are_those_of_the_known_distribution(
    known: tuple[Observation, Any, Any],
) -> None:
    target, mean, sd = known
    attack = QuantileRegression(alpha=0.1)
    scores = attack.fit().score(target)
    # The score is (phi - q) / (q - m) - c with q = mean + z sd and m = mean: phi in sds is linear.
    expected = (phi_of(target) - mean) / sd / ndtri(0.9) - 1
    assert np.corrcoef(scores, expected)[0, 1] > 0.95
    assert np.median(np.abs(scores - expected)) < 0.25
    outside = ~TRUTH
    share = attack.fit().decide(scores)[outside].mean()
    # Binomial(1000, 0.1), and the correction is a quantile of 750 values: sd 0.0145 together.
    assert abs(share - 0.1) < 3.3 * 0.0145


def test_it_finds_what_a_threshold_for_all_records_does_not(
    known: tuple[Observation, Any, Any],
) -> None:
    target, mean, sd = known
    phi = phi_of(target)
    area = roc(QuantileRegression().fit().score(target), TRUTH).auc
    everywhere, best = roc(phi, TRUTH).auc, roc((phi - mean) / sd, TRUTH).auc
    assert everywhere < 0.66 < 0.8 < area < best + 0.01


def test_without_a_leak_it_is_at_chance_and_calls_a_share_of_alpha_members() -> None:
    target = case(leak=0.0, seed=1)[0]
    fitted = QuantileRegression().fit()
    scores = fitted.score(target)
    assert abs(roc(scores, TRUTH).auc - 0.5) < 3.3 * np.sqrt(2001 / (12 * 1000 * 1000))
    # Binomial(2000, 0.05), and a quantile of 750 values.
    assert abs(fitted.decide(scores).mean() - 0.05) < 3.3 * 0.0093


def test_it_names_what_it_lacks(known: tuple[Observation, Any, Any]) -> None:
    target = known[0]
    assert target.population is not None
    few = replace(target, population=reorder(target.population, np.arange(999)))
    with pytest.raises(TooFewRecordsError, match=r"needs 1,000 known non-members.*there are 999"):
        QuantileRegression().fit().score(few)
    alone = replace(target, inputs=None, population=replace(target.population, inputs=None))
    with pytest.raises(InputError, match="needs inputs, and there are outputs alone"):
        QuantileRegression().fit().score(alone)
    with pytest.raises(InputError, match="compares outputs with those on known non-members"):
        QuantileRegression().fit().score(replace(target, population=None))
    with pytest.raises(InputError, match=r"alpha of quantile regression is 0.5"):
        ATTACKS.build("quantile_regression(alpha=0.5)")


def test_outputs_without_inputs_leave_it_out_with_a_sentence() -> None:
    pool = given().pool()
    feasible = find_feasible(pool, ["loss", "quantile_regression"])
    assert feasible.attacks == ("loss",)
    assert feasible.needs["quantile_regression"].startswith("Quantile regression needs inputs")
    assert "quantile_regression" not in {*find_feasible(pool).attacks, *find_feasible(pool).needs}


@pytest.mark.behaviour
def test_an_audit_of_an_estimator_reads_its_inputs(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = np.random.default_rng(0)
    labels = generator.integers(0, 2, 500)
    inputs = generator.normal(0, 1, (500, 4)) + labels[:, None] * 0.5
    fits, fit = [], QuantileRegression._fit

    def counted(self: QuantileRegression, population: Observation) -> Any:
        fits.append(len(population.labels))
        return fit(self, population)

    monkeypatch.setattr(QuantileRegression, "_fit", counted)
    tree = DecisionTreeClassifier(max_leaf_nodes=60, random_state=0)
    name = "quantile_regression(least=50)"
    report = dynanoise.audit(tree, inputs, labels, models=8, attacks=(name, "gap"))
    metrics = {result.attack: result.metrics for result in report.results}
    assert (metrics[name]["auc"].low or 0) > 0.55
    # One regression a model, however many targets and pseudo-targets it is compared with.
    assert fits == [75] * 8
