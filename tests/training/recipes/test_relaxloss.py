"""RelaxLoss against values worked out by hand, and its two invariants."""

from __future__ import annotations

from math import exp, log

import pytest

pytest.importorskip("torch", reason="training needs torch: pip install 'dynanoise[train]'")

import torch

from dynanoise.core.errors import InputError
from dynanoise.training.recipes.plain import Plain
from dynanoise.training.recipes.relaxloss import RelaxLoss, relaxed
from dynanoise.training.schedule import Schedule
from tests.factories import tiny

LOGITS = torch.tensor([[log(6.0), log(3.0), 0.0], [log(2.0), log(7.0), 0.0]], dtype=torch.float64)
LABELS = torch.tensor([0, 0])
# p = (6, 3, 1)/10, which is right, and (2, 7, 1)/10, which is wrong.
CE = (-log(0.6) - log(0.2)) / 2  # 1.0601
# The wrong row's soft label at upper = 1: 0.2 on y, 0.4 on each of the others.
FLAT = -(0.2 * log(0.2) + 0.4 * log(0.7) + 0.4 * log(0.1))
# At upper = 0.1: 0.1 on y, 0.45 on each of the others.
FLAT_CAPPED = -(0.1 * log(0.2) + 0.45 * log(0.7) + 0.45 * log(0.1))


@pytest.mark.parametrize(
    ("epoch", "alpha", "upper", "expected"),
    [
        (0, 0.5, 1.0, CE - 0.5),
        (0, 2.0, 1.0, 2.0 - CE),
        (1, 0.5, 1.0, CE),
        (1, 2.0, 1.0, FLAT / 2 - CE),
        (1, 2.0, 0.1, FLAT_CAPPED / 2 - CE),
        (2, 2.0, 1.0, 2.0 - CE),
        (3, 2.0, 1.0, FLAT / 2 - CE),
    ],
)
def test_values_worked_out_by_hand(epoch: int, alpha: float, upper: float, expected: float) -> None:
    assert relaxed(LOGITS, LABELS, epoch, alpha, upper).item() == pytest.approx(expected, rel=1e-12)


def gradient(epoch: int, alpha: float) -> torch.Tensor:
    logits = LOGITS.clone().requires_grad_(True)
    relaxed(logits, LABELS, epoch, alpha, 1.0).backward()
    assert logits.grad is not None
    return logits.grad


@pytest.mark.parametrize(("alpha", "sign"), [(CE - 1e-6, 1), (CE + 1e-6, -1)])
def test_the_gradient_changes_sign_at_the_level(alpha: float, sign: int) -> None:
    one_hot = torch.nn.functional.one_hot(LABELS, 3)
    of_cross_entropy = (torch.softmax(LOGITS, dim=1) - one_hot) / len(LABELS)
    torch.testing.assert_close(gradient(0, alpha), sign * of_cross_entropy)


def test_flattening_is_differentiated_through_its_soft_labels() -> None:
    """Against finite differences."""
    logits = LOGITS.clone().requires_grad_(True)
    assert torch.autograd.gradcheck(lambda z: relaxed(z, LABELS, 1, 2.0, 1.0), (logits,))


def test_at_level_0_it_is_plain_training() -> None:
    assert tiny.same_weights(
        RelaxLoss(tiny.QUICK, alpha=0).train(tiny.material(tiny.unruly)),
        Plain(tiny.QUICK).train(tiny.material(tiny.unruly)),
    )


@pytest.mark.parametrize("epoch", [0, 1])
def test_at_level_0_a_loss_that_rounds_to_0_still_descends(epoch: int) -> None:
    logits = torch.tensor([[20.0, 0.0]], requires_grad=True)
    loss = relaxed(logits, torch.tensor([0]), epoch, 0.0, 1.0)
    loss.backward()
    assert loss.item() == 0 and logits.grad is not None
    assert logits.grad[0, 1].item() == pytest.approx(exp(-20), rel=1e-6)


@pytest.mark.behaviour
def test_training_holds_the_loss_at_the_level() -> None:
    long = Schedule(epochs=60, batch=16, learning_rate=1e-2)
    given = tiny.material()

    def loss(alpha: float) -> float:
        model = RelaxLoss(long, alpha=alpha).train(given)
        logits = model(given.inputs(given.members))
        return torch.nn.functional.cross_entropy(logits, given.labels(given.members)).item()

    assert loss(0) < 0.1
    assert loss(0.7) == pytest.approx(0.7, abs=0.15)
    assert exp(-0.7) > 1 / tiny.CLASSES  # below a guess's loss, so the level is not chance


@pytest.mark.parametrize("wrong", [{"alpha": -1.0}, {"upper": 0.0}, {"upper": 1.1}])
def test_parameters_outside_their_range_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(InputError, match=str(next(iter(wrong.values())))):
        RelaxLoss(tiny.QUICK, **wrong)
