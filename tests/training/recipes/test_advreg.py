"""Adversarial regularization: who changes in which step, and which way."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch", reason="training needs torch: pip install 'dynanoise[train]'")

import torch

from dynanoise.core.errors import InputError
from dynanoise.training.recipes.advreg import (
    JOINED,
    Adversary,
    AdvReg,
    Inference,
)
from dynanoise.training.recipes.plain import Plain
from tests.factories import tiny


def inference(seed: int = 0) -> Inference:
    return Inference(tiny.CLASSES, JOINED["cifar"], torch.Generator().manual_seed(seed))


def adversary(**changes: Any) -> Adversary:
    given = tiny.material()
    parts: dict[str, Any] = {
        "inference": inference(),
        "members": (given.inputs(given.members), given.labels(given.members)),
        "reference": (given.inputs(given.reference), given.labels(given.reference)),
        "rate": 1e-3,
        "batch": 16,
        "generator": torch.Generator().manual_seed(0),
        "schedule": tiny.QUICK,
    }
    return Adversary(**{**parts, **changes})


@pytest.mark.parametrize("joined", ["cifar", "purchase"])
def test_without_weight_it_is_plain_training(joined: Any) -> None:
    """To the last bit, dropout and batch statistics included."""
    recipe = AdvReg(tiny.QUICK, alpha=0, plain_epochs=1, joined=joined)
    ours = recipe.train(tiny.material(tiny.unruly))
    assert tiny.same_weights(ours, Plain(tiny.QUICK).train(tiny.material(tiny.unruly)))


def test_the_inference_model_joins_before_the_training_ends() -> None:
    """Even in its last epoch it changes the model; later it could not, and is refused."""
    plain = Plain(tiny.QUICK).train(tiny.material())
    assert not tiny.same_weights(AdvReg(tiny.QUICK, plain_epochs=3).train(tiny.material()), plain)
    with pytest.raises(InputError, match="joins after 4 of 4 epochs, so it never does"):
        AdvReg(tiny.QUICK, plain_epochs=4)


def test_a_step_of_the_inference_model_leaves_the_defended_one_unchanged() -> None:
    ours, model = adversary(), tiny.unruly().train()
    before, was = deepcopy(model), deepcopy(ours.inference)
    state = torch.random.get_rng_state()
    ours.step(model)
    assert tiny.same_weights(model, before)  # batch statistics too
    assert all(p.grad is None for p in model.parameters())
    assert model.training
    assert torch.equal(torch.random.get_rng_state(), state)
    assert not tiny.same_weights(ours.inference, was)


def test_a_step_of_the_defended_model_leaves_the_inference_one_unchanged() -> None:
    ours, model = adversary(), tiny.network()
    before, was = deepcopy(model), deepcopy(ours.inference)
    inputs, labels = ours.members
    ours.gain(model(inputs), labels).backward()
    torch.optim.SGD(model.parameters(), lr=0.1).step()
    assert not tiny.same_weights(model, before)
    assert tiny.same_weights(ours.inference, was)
    assert all(p.grad is None for p in ours.inference.parameters())


def test_a_constant_inference_model_gives_no_gradient() -> None:
    constant = inference()
    for parameter in constant.joined[-1].parameters():
        torch.nn.init.constant_(parameter, 0.0)
    ours = adversary(inference=constant)
    logits = torch.randn(90, tiny.CLASSES, requires_grad=True)
    gain = ours.gain(logits, ours.members[1])
    gain.backward()
    assert gain.item() == pytest.approx(np.log(0.5))
    assert logits.grad is not None and not logits.grad.any()


@pytest.mark.behaviour
def test_the_inference_model_learns_who_is_a_member() -> None:
    """From a model whose answers give it away; the gain then tends to ln 1."""
    members = torch.tensor([[3.0, 0.0, 0.0]]).repeat(20, 1), torch.zeros(20, dtype=torch.int64)
    others = torch.tensor([[0.5, 0.0, 0.0]]).repeat(20, 1), torch.zeros(20, dtype=torch.int64)
    ours = adversary(members=members, reference=others)
    for _ in range(60):
        ours.step(torch.nn.Identity())
    assert ours.inference(*members).mean() > 2 > -2 > ours.inference(*others).mean()
    assert ours.gain(*members).item() > -0.2


def test_the_label_matters_to_the_inference_model() -> None:
    logits = torch.zeros(3, 3)
    assert len(inference()(logits, torch.arange(3)).unique()) == 3


def test_the_defended_model_lowers_the_gain(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the gain replaced by class 0's logit, that logit falls."""
    monkeypatch.setattr(Adversary, "step", lambda self, model: None)
    monkeypatch.setattr(Adversary, "gain", lambda self, logits, labels: logits[:, 0].mean())
    given = tiny.material()
    inputs = given.inputs(given.members)
    logit = [
        AdvReg(tiny.QUICK, alpha=alpha, plain_epochs=0).train(given)(inputs)[:, 0].mean().item()
        for alpha in (0.0, 6.0)
    ]
    assert logit[1] < logit[0] - 1


def test_the_layers_are_the_papers() -> None:
    def widths(part: Any) -> list[int]:
        return [layer.out_features for layer in part if isinstance(layer, torch.nn.Linear)]

    ours = Inference(10, JOINED["purchase"], torch.Generator())
    assert widths(ours.of_logits) == [1024, 512, 64] and widths(ours.of_label) == [128, 64]
    assert widths(ours.joined) == [512, 256, 128, 64, 1]
    assert widths(inference().joined) == [256, 128, 64, 1]
    assert isinstance(ours.joined[-1], torch.nn.Linear)


def test_a_reference_with_members_in_it_is_refused() -> None:
    overlapping = tiny.material(reference=np.arange(83, 120))
    with pytest.raises(InputError, match="shares 7 ids with the members"):
        AdvReg(tiny.QUICK, plain_epochs=1).train(overlapping)


def test_no_reference_is_refused() -> None:
    with pytest.raises(InputError, match="reference is empty"):
        AdvReg(tiny.QUICK, plain_epochs=1).train(tiny.material(reference=np.arange(0)))


@pytest.mark.parametrize(
    "wrong", [{"alpha": -1.0}, {"plain_epochs": -2}, {"inference_rate": 0.0}, {"joined": "texas"}]
)
def test_parameters_outside_their_range_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=str(next(iter(wrong.values())))):
        AdvReg(tiny.QUICK, **wrong)
