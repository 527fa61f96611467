"""DP-SGD: the accountant's epsilon, clipping and noise by their definition, and what is refused."""

from __future__ import annotations

import sys
from copy import deepcopy
from importlib.util import find_spec
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch", reason="training needs torch: pip install 'dynanoise[train]'")

import torch

from dynanoise.core.errors import InputError, MissingExtraError
from dynanoise.training.facts import facts_of
from dynanoise.training.recipes.dpsgd import DpSgd, epsilon
from dynanoise.training.schedule import Schedule
from tests.factories import tiny


def test_a_missing_opacus_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opacus", None)
    with pytest.raises(MissingExtraError, match=r"pip install .*'opacus>="):
        DpSgd(tiny.QUICK).train(tiny.material())


@pytest.mark.parametrize("wrong", [{"noise_multiplier": -1.0}, {"max_grad_norm": 0.0}])
def test_parameters_outside_their_range_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(InputError, match=str(next(iter(wrong.values())))):
        DpSgd(tiny.QUICK, **wrong)


if find_spec("opacus") is None:  # imported by tests, and not by each worker that collects them
    pytest.skip("DP-SGD needs opacus: pip install 'dynanoise[dp]'", allow_module_level=True)

ONE_STEP = Schedule(epochs=1, batch=90, learning_rate=0.1, optimizer="sgd")
"""A batch as large as the members: every record in, once."""


def step(recipe: DpSgd, **changes: Any) -> tuple[torch.Tensor, Any]:
    """The change of a linear model's weights [3, 5] and biases [3] as [3, 6], and the material."""
    given = tiny.material(tiny.linear, **changes)
    before, after = given.build(), recipe.train(given)
    return flat(after) - flat(before), given


def flat(model: Any) -> torch.Tensor:
    return torch.cat([model.weight, model.bias[:, None]], dim=1).detach()


def gradients(given: Any) -> torch.Tensor:
    """Each member's gradient of a linear model's cross-entropy, [90, 3, 6], in closed form."""
    model = given.build()
    inputs, labels = given.inputs(given.members), given.labels(given.members)
    error = model(inputs).softmax(dim=1) - torch.nn.functional.one_hot(labels, 3)
    with_bias = torch.cat([inputs, torch.ones(90, 1)], dim=1)
    each: torch.Tensor = error[:, :, None] * with_bias[:, None]
    return each.detach()


def test_without_noise_and_clipping_it_is_a_plain_step() -> None:
    """SGD with Nesterov momentum 0.9 first moves by 1.9 times the rate."""
    moved, given = step(DpSgd(ONE_STEP, noise_multiplier=0, max_grad_norm=1e6))
    torch.testing.assert_close(moved, -0.19 * gradients(given).mean(dim=0), rtol=1e-4, atol=1e-6)


def test_each_records_gradient_is_clipped() -> None:
    moved, given = step(DpSgd(ONE_STEP, noise_multiplier=0, max_grad_norm=2))
    each = gradients(given)
    norms = each.flatten(1).norm(dim=1)
    assert (norms > 2).any() and (norms < 2).any()
    clipped = each * (2 / norms).clamp(max=1)[:, None, None]
    torch.testing.assert_close(moved, -0.19 * clipped.mean(dim=0), rtol=1e-4, atol=1e-6)


def test_sums_are_divided_by_the_expected_batch() -> None:
    """Three steps so small that the gradients stay as they were."""
    schedule = Schedule(epochs=1, batch=30, learning_rate=1e-3, optimizer="sgd")
    moved, given = step(DpSgd(schedule, noise_multiplier=0, max_grad_norm=1e6))
    order = given.generator("order")
    sums = [gradients(given)[torch.rand(90, generator=order) < 1 / 3].sum(dim=0) for _ in range(3)]
    # Nesterov's momentum: a step counts 1 + 0.9, and 0.9^2, 0.9^3 in those that follow.
    expected = (1.9 + 0.81 + 0.729) * sums[0] + (1.9 + 0.81) * sums[1] + 1.9 * sums[2]
    torch.testing.assert_close(moved, -1e-3 / 30 * expected, rtol=0.02, atol=1e-5)


def test_the_noise_has_the_stated_size_and_follows_the_seed() -> None:
    quiet, _ = step(DpSgd(ONE_STEP, noise_multiplier=0, max_grad_norm=0.5))
    loud = DpSgd(ONE_STEP, noise_multiplier=8, max_grad_norm=0.5)
    noise = torch.stack([step(loud, seed=seed)[0] - quiet for seed in range(40)]) * 90 / 0.19
    assert noise.std().item() == pytest.approx(8 * 0.5, rel=5 / np.sqrt(2 * 720))
    assert abs(noise.mean().item()) < 5 * 4 / np.sqrt(720)
    assert torch.equal((step(loud, seed=0)[0] - quiet) * 90 / 0.19, noise[0])


def test_batches_are_poisson(monkeypatch: pytest.MonkeyPatch) -> None:
    """Their sizes vary as a binomial's, and an empty one is a step like any other."""
    sizes: list[int] = []

    class Watched(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = tiny.linear()

        def forward(self, inputs: torch.Tensor) -> torch.Tensor:
            sizes.append(len(inputs))
            answer: torch.Tensor = self.inner(inputs)
            return answer

    trained = DpSgd(Schedule(epochs=8, batch=2, learning_rate=1e-2)).train(tiny.material(Watched))
    assert len(sizes) == facts_of(trained)["steps"] == 8 * 45
    assert min(sizes) == 0
    assert np.mean(sizes) == pytest.approx(2, abs=5 * np.sqrt(2 / 360))
    assert np.var(sizes) == pytest.approx(2 * (1 - 2 / 90), rel=0.4)
    assert all(torch.isfinite(p).all() for p in trained.parameters())


@pytest.mark.parametrize("noise_multiplier", [0.6, 1.0])
def test_epsilon_is_the_accountants(noise_multiplier: float) -> None:
    facts = facts_of(DpSgd(tiny.QUICK, noise_multiplier).train(tiny.material()))
    assert facts["delta"] == 1 / 90 and facts["noise_multiplier"] == noise_multiplier
    assert facts["sampling_rate"] == 16 / 90 and facts["steps"] == 4 * 6
    from opacus.accountants import RDPAccountant

    accountant = RDPAccountant()
    for _ in range(4 * 6):
        accountant.step(noise_multiplier=noise_multiplier, sample_rate=16 / 90)
    assert facts["epsilon"] == pytest.approx(accountant.get_epsilon(delta=1 / 90), rel=1e-12)


def test_epsilon_without_sampling_is_the_gaussian_mechanisms() -> None:
    """The Renyi divergence a / (2 s^2) a step, converted at the best order (Balle et al. 2020)."""
    orders = np.concatenate([np.linspace(1.1, 10.9, 99), np.arange(12.0, 64)])
    renyi = 5 * orders / (2 * 4.0**2)
    expected = renyi + np.log((orders - 1) / orders) - np.log(1e-3 * orders) / (orders - 1)
    assert epsilon(4.0, 1.0, 5, delta=1e-3) == pytest.approx(expected.min(), rel=1e-9)


def test_no_noise_promises_nothing() -> None:
    assert epsilon(0, 0.1, 1, delta=1e-3) == float("inf")


@pytest.mark.parametrize("affine", [True, False])
def test_batch_normalisation_is_refused(affine: bool) -> None:
    def build() -> torch.nn.Module:
        return torch.nn.Sequential(torch.nn.Linear(5, 3), torch.nn.BatchNorm1d(3, affine=affine))

    with pytest.raises(InputError, match=r"1 is BatchNorm1d, .*nn\.GroupNorm"):
        DpSgd(tiny.QUICK).train(tiny.material(build))


def test_a_layer_with_weights_and_memory_is_refused() -> None:
    class Remembering(torch.nn.Linear):
        def __init__(self) -> None:
            super().__init__(5, 3)
            self.register_buffer("total", torch.zeros(3))

    with pytest.raises(InputError, match="keep no state of the records"):
        DpSgd(tiny.QUICK).train(tiny.material(Remembering))


def test_a_layer_that_opacus_cannot_split_by_record_is_refused() -> None:
    """An embedding looked up once for the whole batch, as transformers do with positions."""

    class Shared(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = torch.nn.Linear(5, 3)
            self.shared = torch.nn.Embedding(1, 3)

        def forward(self, inputs: torch.Tensor) -> torch.Tensor:
            answered: torch.Tensor = self.linear(inputs) + self.shared(torch.tensor([0]))
            return answered

    with pytest.raises(InputError, match="no per-record gradients of this model: stack expects"):
        DpSgd(tiny.QUICK).train(tiny.material(Shared))


def test_the_returned_model_is_plain() -> None:
    given = tiny.material()
    model = DpSgd(tiny.QUICK).train(given)
    assert type(model) is torch.nn.Sequential and not model.training
    assert not any("Grad" in type(part).__name__ for part in model.modules())
    for part in model.modules():
        assert not part._forward_hooks and not part._backward_hooks
    assert all(not hasattr(p, "grad_sample") for p in model.parameters())
    answers = model(given.inputs(given.members))
    assert torch.equal(deepcopy(model)(given.inputs(given.members)), answers)
    assert tiny.accuracy(model, given) > 0.8


def test_it_draws_from_the_materials_seed_alone() -> None:
    given = tiny.material()
    given.build()
    after_building = torch.random.get_rng_state()
    first = DpSgd(tiny.QUICK).train(given)
    assert torch.equal(torch.random.get_rng_state(), after_building)
    second = DpSgd(tiny.QUICK).train(given)
    other = DpSgd(tiny.QUICK).train(tiny.material(seed=2))
    assert tiny.same_weights(first, second) and not tiny.same_weights(first, other)


@pytest.mark.behaviour
def test_noise_follows_a_target_epsilon() -> None:
    """The least noise that reaches it, to the accountant's precision."""
    facts = facts_of(DpSgd(tiny.QUICK, target_epsilon=3.0).train(tiny.material()))
    assert 2.97 < facts["epsilon"] <= 3.0
    assert facts["noise_multiplier"] > 0.2
    with pytest.raises(InputError, match="target_epsilon is 0"):
        DpSgd(target_epsilon=0)
