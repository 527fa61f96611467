"""Success and utility against counts made by hand."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score

from dynanoise.metrics.success import attack_metrics
from dynanoise.metrics.utility import utility_metrics


def test_success_is_balanced_accuracy() -> None:
    generator = np.random.default_rng(0)
    members = generator.random(500) < 0.3
    scores = generator.normal(members, 1)
    decisions = scores > 0.4
    metrics = attack_metrics(scores, decisions, members)
    assert metrics["asr"].value == pytest.approx(balanced_accuracy_score(members, decisions))
    assert metrics["tpr"].value == pytest.approx(decisions[members].mean())
    assert metrics["fpr"].value == pytest.approx(decisions[~members].mean())
    for name in ("asr", "tpr", "fpr"):
        low, high = metrics[name].low, metrics[name].high
        assert low is not None and high is not None and low < metrics[name].value < high


def test_utility_counts_right_and_changed_labels() -> None:
    logits = np.log([[0.6, 0.4], [0.3, 0.7], [0.9, 0.1], [0.2, 0.8]])
    probs = np.array([[0.6, 0.4], [0.6, 0.4], [0.9, 0.1], [0.1, 0.9]])
    metrics = utility_metrics(probs, logits, np.array([0, 1, 1, 1]))
    assert metrics["accuracy"].value == 0.5
    assert metrics["label_flips"].value == 0.25
