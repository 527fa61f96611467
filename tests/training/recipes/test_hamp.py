"""HAMP's soft labels and its loss in both scalings."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch", reason="training needs torch: pip install 'dynanoise[train]'")

import torch

from dynanoise.core.errors import InputError
from dynanoise.core.numerics import entropy
from dynanoise.training.recipes.hamp import (
    Hamp,
    hamp_loss,
    label_confidence,
    soft_labels,
)
from dynanoise.training.recipes.plain import Plain
from dynanoise.training.schedule import Schedule
from tests.factories import tiny

LOGITS = np.array([[1.0, -0.5, 0.25, 2.0], [0.0, 3.0, -1.0, 0.5]])
SOFT = np.array([[0.4, 0.2, 0.2, 0.2], [0.2, 0.2, 0.4, 0.2]])


def test_the_papers_confidence() -> None:
    assert label_confidence(0.95, 10) == pytest.approx(0.2698, abs=5e-5)


@pytest.mark.parametrize("classes", [2, 3, 10, 100])
@pytest.mark.parametrize("gamma", [0.0, 0.01, 0.5, 0.95, 0.9999, 1.0])
def test_the_label_has_the_wanted_entropy(gamma: float, classes: int) -> None:
    confidence = label_confidence(gamma, classes)
    rows = soft_labels(torch.tensor([1]), confidence, classes).double().numpy()
    assert rows.argmax() == 1 or gamma == 1
    with np.errstate(divide="ignore"):
        nats = entropy(np.maximum(np.log(rows), -700.0))[0]
    assert nats == pytest.approx(gamma * np.log(classes), abs=1e-5)


def by_definition(alpha: float, mean_over_classes: bool) -> float:
    p = np.exp(LOGITS) / np.exp(LOGITS).sum(axis=1, keepdims=True)
    terms = SOFT * np.log(SOFT / p)
    divergence = terms.mean() if mean_over_classes else terms.sum(axis=1).mean()
    nats = -(p * np.log(p)).sum(axis=1).mean()
    return float(divergence - alpha * nats)


@pytest.mark.parametrize("alpha", [0.0, 0.001, 0.7])
def test_the_loss_by_its_definition(alpha: float) -> None:
    rows = torch.from_numpy(LOGITS), torch.from_numpy(SOFT)
    assert hamp_loss(*rows, alpha, "per_class").item() == pytest.approx(by_definition(alpha, True))
    assert hamp_loss(*rows, alpha, "per_batch").item() == pytest.approx(by_definition(alpha, False))


def test_the_scalings_differ_by_the_number_of_classes_in_the_divergence_alone() -> None:
    rows = torch.from_numpy(LOGITS), torch.from_numpy(SOFT)
    of_entropy = hamp_loss(*rows, 1.0, "per_class") - hamp_loss(*rows, 0.0, "per_class")
    each = hamp_loss(*rows, 0.3, "per_class") - 0.3 * of_entropy
    whole = hamp_loss(*rows, 0.3, "per_batch") - 0.3 * of_entropy
    assert (whole / each).item() == pytest.approx(LOGITS.shape[1])


def test_entropy_is_rewarded() -> None:
    logits = torch.tensor([[2.0, 0.0, 0.0]])
    flatter = torch.tensor([[1.0, 0.0, 0.0]])
    soft = torch.full((1, 3), 1 / 3)

    def reward(rows: torch.Tensor) -> float:
        return (
            hamp_loss(rows, soft, 1, "per_class") - hamp_loss(rows, soft, 0, "per_class")
        ).item()

    assert reward(flatter) < reward(logits)


@pytest.mark.behaviour
def test_training_makes_answers_less_sure_and_keeps_them_right() -> None:
    long = Schedule(epochs=40, batch=16, learning_rate=1e-2)
    given = tiny.material()
    plain, hamp = Plain(long).train(given), Hamp(long).train(given)
    confidence = label_confidence(0.95, tiny.CLASSES)
    top = [m(given.inputs(given.members)).softmax(1).amax(1).mean().item() for m in (plain, hamp)]
    assert top[0] > 0.9 and top[1] == pytest.approx(confidence, abs=0.05)
    assert tiny.accuracy(hamp, given) > 0.9


def test_the_recipe_uses_its_scaling_and_alpha() -> None:
    """SGD does the same with K times the loss and a Kth of the step."""

    def trained(rate: float, alpha: float, scaling: Any) -> torch.nn.Module:
        schedule = Schedule(epochs=3, batch=16, learning_rate=rate, optimizer="sgd")
        return Hamp(schedule, alpha=alpha, scaling=scaling).train(tiny.material())

    per_class, per_batch = trained(0.3, 0.2, "per_class"), trained(0.1, 0.6, "per_batch")
    for ours, same in zip(per_class.parameters(), per_batch.parameters(), strict=True):
        torch.testing.assert_close(ours, same)
    other = trained(0.3, 0.0, "per_class")
    assert not torch.allclose(next(other.parameters()), next(per_class.parameters()))


@pytest.mark.parametrize("wrong", [{"gamma": 1.0}, {"alpha": -0.5}, {"scaling": "mean"}])
def test_parameters_outside_their_range_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=str(next(iter(wrong.values())))):
        Hamp(tiny.QUICK, **wrong)
