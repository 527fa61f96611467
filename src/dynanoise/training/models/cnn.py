"""A small residual convolutional network, for images of 32 or 64 pixels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

_MEAN, _SD = 0.4733, 0.2516
"""Mean and deviation of CIFAR-10's images in [0, 1], all channels together; they are fixed."""


class Normalise(nn.Module):
    """Normalisation of uint8 [b, H, W, C] to float [b, C, H, W], about mean 0 and deviation 1.

    The permutation of contiguous rows is channels-last memory, which convolutions like best.
    """

    def forward(self, pixels: Tensor) -> Tensor:
        """Normalised pixels.

        Args:
            pixels: uint8 [b, H, W, C].

        Returns:
            float32 [b, C, H, W].
        """
        scaled = pixels.permute(0, 3, 1, 2).to(torch.float32)
        return (scaled - 255 * _MEAN) / (255 * _SD)


class Residual(nn.Module):
    """A block that adds its layers' output to their input."""

    def __init__(self, *layers: nn.Module) -> None:
        super().__init__()
        self.layers = nn.Sequential(*layers)

    def forward(self, features: Tensor) -> Tensor:
        """Features [b, C, H, W] plus the layers' output."""
        added: Tensor = features + self.layers(features)
        return added


@dataclass(frozen=True)
class Cnn:
    """A convolution, two stages with residual blocks, global pooling, one linear layer.

    About half a million parameters for ten classes.

    Args:
        width: channels of the first stage; later ones have two and four times as many.
        norm: "batch", or "group" for training that must treat records one by one (DP-SGD).

    >>> model = Cnn().build((32, 32, 3), 10)
    >>> sum(p.numel() for p in model.parameters())
    526822
    """

    width: int = 44
    norm: str = "batch"
    takes: ClassVar[str] = "images"
    version: ClassVar[int] = 1
    stored_as: ClassVar[str] = "dynanoise.training.models.cnn.Cnn"

    def build(self, shape: tuple[int, ...], classes: int) -> nn.Module:
        """Build a module from uint8 [n, side, side, channels] to logits [n, classes].

        Args:
            shape: the shape of an image, (side, side, channels).
            classes: number of logits.
        """
        side, _, channels = shape
        width = self.width
        # Pooled at once: full-size convolutions would take half of the time.
        stages: list[nn.Module] = [Normalise(), *self._block(channels, width)]
        stages.append(nn.MaxPool2d(2 if side <= 32 else 4))
        for size in (width, 2 * width):
            stages += [*self._block(size, 2 * size), Residual(*self._block(2 * size, 2 * size))]
            if size == width:
                stages.append(nn.MaxPool2d(2))
        stages += [nn.AdaptiveMaxPool2d(1), nn.Flatten(), nn.Linear(4 * width, classes)]
        model = nn.Sequential(*stages)
        for module in model.modules():
            if isinstance(module, nn.Conv2d):
                weight = module.weight.data
                module.weight.data = weight.contiguous(memory_format=torch.channels_last)
        return model

    def _block(self, before: int, after: int) -> list[Any]:
        normalisation = nn.BatchNorm2d(after) if self.norm == "batch" else nn.GroupNorm(4, after)
        return [nn.Conv2d(before, after, 3, padding=1, bias=False), normalisation, nn.ReLU()]


MODELS = {"cnn": Cnn}
