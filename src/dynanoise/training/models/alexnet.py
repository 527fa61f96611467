"""AlexNet as torchvision lays it out (Krizhevsky 2014), the paper's image model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from dynanoise.training.models.cnn import Normalise


class Enlarge(nn.Module):
    """Images [b, C, H, W] enlarged to a side, bilinearly."""

    def __init__(self, side: int) -> None:
        super().__init__()
        self.side = side

    def forward(self, images: Tensor) -> Tensor:
        """Images [b, C, side, side]."""
        return nn.functional.interpolate(
            images, size=(self.side, self.side), mode="bilinear", antialias=False
        )


@dataclass(frozen=True)
class Alexnet:
    """Five convolutions and three linear layers; 57 million parameters for ten classes.

    Written out, because torchvision does not import beside every build of torch.

    Args:
        side: images are enlarged to this side, at least 63; the paper uses 224.

    >>> sum(p.numel() for p in Alexnet().build((64, 64, 3), 10).parameters())
    57044810
    """

    side: int = 64
    takes: ClassVar[str] = "images"
    version: ClassVar[int] = 1
    stored_as: ClassVar[str] = "dynanoise.training.models.alexnet.Alexnet"

    def build(self, shape: tuple[int, ...], classes: int) -> nn.Module:
        """Build a module from uint8 [n, side, side, channels] to logits [n, classes].

        Args:
            shape: the shape of an image, (side, side, channels).
            classes: number of logits.
        """
        enlarged = [] if shape[0] == self.side else [Enlarge(self.side)]
        return nn.Sequential(
            Normalise(),
            *enlarged,
            nn.Conv2d(shape[2], 64, 11, stride=4, padding=2),
            nn.ReLU(),
            nn.MaxPool2d(3, stride=2),
            nn.Conv2d(64, 192, 5, padding=2),
            nn.ReLU(),
            nn.MaxPool2d(3, stride=2),
            nn.Conv2d(192, 384, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(384, 256, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(256, 256, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(3, stride=2),
            nn.AdaptiveAvgPool2d(6),
            nn.Flatten(),
            nn.Dropout(0.5),
            nn.Linear(256 * 36, 4096),
            nn.ReLU(),
            nn.Dropout(0.5),
            nn.Linear(4096, 4096),
            nn.ReLU(),
            nn.Linear(4096, classes),
        )


MODELS = {"alexnet": Alexnet}
