"""Layers that know of padding against torch's own on the rows that are real."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="training needs torch: pip install 'dynanoise[train]'")

from torch import nn  # noqa: E402

from dynanoise.training.execution.stand_ins import (  # noqa: E402
    GivenDropout,
    PaddedEmbedding,
    PaddedNorm,
    draws,
    real_buffers,
    stand_ins,
)
from tests.training import tiny  # noqa: E402


@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize("shape", [(12, 4), (12, 4, 3, 3)])
def test_statistics_are_of_the_real_rows(shape: tuple[int, ...], affine: bool) -> None:
    kind = nn.BatchNorm1d if len(shape) == 2 else nn.BatchNorm2d
    torch.manual_seed(0)
    plain, other = (kind(4, affine=affine).double().train() for _ in range(2))
    if affine:
        for layer in (plain, other):
            layer.weight.data = torch.tensor([1.0, 2.0, 0.5, 3.0]).double()
            layer.bias.data = torch.tensor([0.0, 1.0, -1.0, 2.0]).double()
    padded = PaddedNorm(other)
    padded.real = (torch.arange(12) < 7).double()
    for _ in range(3):
        values = 3 + 2 * torch.randn(shape, dtype=torch.float64)
        own = values[:7].clone().requires_grad_()
        given = values.clone().requires_grad_()
        expected, found = plain(own), padded(given)
        # Statistics are made in float32.
        torch.testing.assert_close(found[:7], expected, rtol=1e-5, atol=1e-5)
        expected.square().sum().backward()
        found[:7].square().sum().backward()
        torch.testing.assert_close(given.grad[:7], own.grad, rtol=1e-3, atol=1e-4)
        assert not given.grad[7:].any()
    for name in ("running_mean", "running_var", "num_batches_tracked"):
        torch.testing.assert_close(getattr(padded, name), getattr(plain, name), rtol=1e-5, atol=0)


def test_without_a_real_row_statistics_stay() -> None:
    padded = PaddedNorm(nn.BatchNorm1d(3))
    padded.real = torch.zeros(5)
    assert torch.isfinite(padded(torch.randn(5, 3))).all()
    assert padded.running_mean.tolist() == [0, 0, 0]
    assert padded.running_var.tolist() == [1, 1, 1]
    assert padded.num_batches_tracked.item() == 0


def test_the_embedding_of_padding_is_not_trained() -> None:
    torch.manual_seed(0)
    plain = nn.Embedding(6, 3, padding_idx=2)
    padded = PaddedEmbedding(plain)
    tokens = torch.tensor([[0, 2, 5], [2, 2, 1]])
    torch.testing.assert_close(padded(tokens), plain(tokens))
    (ours,) = torch.autograd.grad(padded(tokens).square().sum(), padded.weight)
    (theirs,) = torch.autograd.grad(plain(tokens).square().sum(), plain.weight)
    torch.testing.assert_close(ours, theirs)
    assert not ours[2].any()


def test_layers_are_replaced_by_name_and_the_model_is_left_alone() -> None:
    model = tiny.unruly()
    made = stand_ins(model, norms=True)
    assert [type(layer) for layer in made.children()] == [
        *(nn.Linear, PaddedNorm, nn.ReLU, GivenDropout, nn.Linear)
    ]
    assert made.state_dict().keys() == model.state_dict().keys()
    assert real_buffers(made) == ["1.real"]
    assert isinstance(model.get_submodule("1"), nn.BatchNorm1d)
    plain = stand_ins(model, norms=False)
    assert isinstance(plain.get_submodule("1"), nn.BatchNorm1d)
    assert draws(plain, torch.zeros(2, 5)) == {"3.kept0": ((16,), 0.3)}
    # These draw nothing, so that whatever draws after them would draw something else.
    quiet = stand_ins(nn.Sequential(nn.Dropout(0.0), nn.Dropout(1.0)), norms=True)
    assert all(isinstance(layer, nn.Dropout) for layer in quiet.children())
