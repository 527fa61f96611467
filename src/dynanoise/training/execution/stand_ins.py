"""Layers that stand in for torch's where models are stacked.

Torch's own would take padded rows for records, draw one dropout for all models, or train the
embedding of padding in all models but the first.
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from dynanoise.core.errors import InputError

_REAL, _KEPT = "real", "kept"


class PaddedNorm(nn.Module):
    """Batch normalisation in training, over the rows that are real.

    Its parameters and buffers have the names of `torch.nn.BatchNorm2d`, and another buffer, "real",
    says which rows count.

    Args:
        plain: the layer it stands for; its parameters are taken, not copied.
    """

    def __init__(self, plain: nn.modules.batchnorm._BatchNorm) -> None:
        super().__init__()
        self.momentum, self.eps = plain.momentum, plain.eps
        self.weight, self.bias = plain.weight, plain.bias
        for name in ("running_mean", "running_var", "num_batches_tracked"):
            self.register_buffer(name, getattr(plain, name))
        self.tracks = plain.running_mean is not None
        self.register_buffer(_REAL, torch.ones(0), persistent=False)
        self.running_mean: Tensor
        self.running_var: Tensor
        self.num_batches_tracked: Tensor
        self.real: Tensor

    def forward(self, values: Tensor) -> Tensor:
        """Values [b, C, ...] normalised over the real rows; ``real`` is float32 [b]."""
        wide = values.float()
        spread = [1] * (wide.ndim - 2)
        others = [0, *range(2, wide.ndim)]
        real = self.real.view(-1, 1, *spread)
        count = self.real.sum() * wide[0, 0].numel()
        mean = (wide * real).sum(dim=others) / count.clamp(min=1)
        centred = wide - mean.view(1, -1, *spread)
        variance = (centred.square() * real).sum(dim=others) / count.clamp(min=1)
        self._track(mean.detach(), variance.detach(), count)
        scaled = centred * (variance + self.eps).rsqrt().view(1, -1, *spread)
        if self.weight is not None:
            scaled = scaled * self.weight.view(1, -1, *spread)
        if self.bias is not None:
            scaled = scaled + self.bias.view(1, -1, *spread)
        return scaled.to(values.dtype)

    def _track(self, mean: Tensor, variance: Tensor, count: Tensor) -> None:
        """Moves the running statistics, if there are any and ``count`` numbers that are real."""
        if not self.tracks:
            return
        self.num_batches_tracked.add_(count > 0)
        # None stands for the mean of all batches so far.
        tracked = self.num_batches_tracked.clamp(min=1)
        moved = (count > 0) * (1 / tracked if self.momentum is None else self.momentum)
        unbiased = variance * (count / (count - 1).clamp(min=1))
        self.running_mean.add_(moved * (mean - self.running_mean))
        self.running_var.add_(moved * (unbiased - self.running_var))


class GivenDropout(nn.Module):
    """Dropout whose draws are given, so that each stacked model has its own.

    They are attributes for as long as the model answers: "kept0" for its first call, "kept1" for
    the second where an answer takes two.

    Args:
        share: that is left out.

    Attributes:
        calls: so far in this answer, see `restart`.
    """

    def __init__(self, share: float) -> None:
        super().__init__()
        self.share = share
        self.calls = 0

    def forward(self, values: Tensor) -> Tensor:
        """Values times what is kept, float32 of the same shape: 0 or 1 / (1 - share)."""
        kept: Tensor = getattr(self, f"{_KEPT}{self.calls}")
        self.calls += 1
        return values * kept.to(values.dtype)


class PaddedEmbedding(nn.Module):
    """An embedding whose padding is not trained.

    Args:
        plain: the layer it stands for, with a ``padding_idx``; its weight is taken, not copied.
    """

    def __init__(self, plain: nn.Embedding) -> None:
        super().__init__()
        assert plain.padding_idx is not None
        self.weight, self.padding = plain.weight, plain.padding_idx

    def forward(self, tokens: Tensor) -> Tensor:
        """Embeddings [..., D] of integer tokens [...]."""
        found = nn.functional.embedding(tokens, self.weight)
        return torch.where((tokens == self.padding).unsqueeze(-1), found.detach(), found)


def stand_ins(model: nn.Module, *, norms: bool) -> nn.Module:
    """A copy of a model in training mode that can be stacked.

    It takes its draws, and which rows are real, as buffers.

    Args:
        model: from inputs [b, ...] to logits [b, K].
        norms: False leaves batch normalisation to torch where it can, for batches without padding,
            which is faster. It cannot vectorise a momentum of None.

    Raises:
        InputError: for an embedding of which torch would make something else in a stack.
    """
    made = copy.deepcopy(model).train()
    found: dict[nn.Module, nn.Module] = {}
    for path, layer in list(made.named_modules(remove_duplicate=False)):
        if layer not in found:
            found[layer] = _stand_in(layer, norms)
        if path and found[layer] is not layer:  # one that has several places has one in all
            parent, _, name = path.rpartition(".")
            setattr(made.get_submodule(parent), name, found[layer])
    return found[made]


def _stand_in(layer: nn.Module, norms: bool) -> nn.Module:
    """The layer itself where it needs none."""
    if isinstance(layer, nn.Embedding | nn.EmbeddingBag):
        for option in ("max_norm", "scale_grad_by_freq"):
            if getattr(layer, option):
                raise InputError(
                    f"{type(layer).__name__} with {option} cannot be trained in a stack.",
                    "Train such models one by one: --stack 1.",
                )
    if isinstance(layer, nn.Dropout) and 0 < layer.p < 1:  # at 0 and 1 it draws nothing
        return GivenDropout(layer.p)
    if isinstance(layer, nn.modules.batchnorm._BatchNorm) and (norms or layer.momentum is None):
        return PaddedNorm(layer)
    if isinstance(layer, nn.Embedding) and layer.padding_idx is not None:
        return PaddedEmbedding(layer)
    return layer


def shared(model: nn.Module) -> dict[str, str]:
    """For each parameter and buffer the name that stands for it, its first where it has several."""
    first: dict[Tensor, str] = {}
    found = {}
    for each in (model.named_parameters, model.named_buffers):
        for name, tensor in each(remove_duplicate=False):
            found[name] = first.setdefault(tensor, name)
    return found


def real_buffers(model: nn.Module) -> list[str]:
    """The names of the buffers that say which rows are real."""
    norms = [name for name, layer in model.named_modules() if isinstance(layer, PaddedNorm)]
    return [_inside(name, _REAL) for name in norms]


def _inside(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def restart(model: nn.Module) -> None:
    """Before each answer: the next call of a dropout layer is its first."""
    for layer in model.modules():
        if isinstance(layer, GivenDropout):
            layer.calls = 0


def draws(model: nn.Module, inputs: Tensor) -> dict[str, tuple[tuple[int, ...], float]]:
    """What dropout layers of `stand_ins` draw, in the order in which they do.

    Args:
        model: with its own weights; is called once, which changes its running statistics.
        inputs: one batch [b, ...].

    Returns:
        For each call, by the name under which draws are given, the shape of one record's draws, and
        the share that is left out.

    Raises:
        InputError: if the call changes a buffer outside of batch normalisation.
    """
    normed: set[str] = set()
    for path, layer in model.named_modules():
        if isinstance(layer, PaddedNorm):
            layer.real = inputs.new_ones(len(inputs), dtype=torch.float32)
        if isinstance(layer, PaddedNorm | nn.modules.batchnorm._BatchNorm):
            normed.update(_inside(path, name) for name, _ in layer.named_buffers())
    before = {name: value.clone() for name, value in model.named_buffers() if name not in normed}
    names = {id(layer): name for name, layer in model.named_modules()}
    found: dict[str, tuple[tuple[int, ...], float]] = {}

    def note(layer: nn.Module, given: tuple[Tensor, ...]) -> None:
        assert isinstance(layer, GivenDropout)
        kept = f"{_KEPT}{layer.calls}"
        found[_inside(names[id(layer)], kept)] = (tuple(given[0].shape[1:]), layer.share)
        setattr(layer, kept, torch.ones((), device=given[0].device))

    hooks = [
        layer.register_forward_pre_hook(note)
        for layer in model.modules()
        if isinstance(layer, GivenDropout)
    ]
    with torch.no_grad():
        model(inputs)
    for hook in hooks:
        hook.remove()
    after = dict(model.named_buffers())
    for name, value in before.items():
        if not torch.equal(after[name], value):  # it would be, too, while a model waits for others
            raise InputError(
                f"A model that changes its buffer {name} in training cannot be trained in a stack.",
                "Train such models one by one: --stack 1.",
            )
    return found
