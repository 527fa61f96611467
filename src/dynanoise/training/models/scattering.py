"""A linear classifier on wavelet features that are not trained, for images."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from dynanoise.core.errors import InputError
from dynanoise.core.extras import missing_extra

_ANGLES = 8
_AT_ONCE = 128
"""Images whose features are computed at once."""


class FixedFeatures(nn.Module):
    """A trained head on features that are not trained.

    Recipes that train the whole model call `compute` once and train the head alone, which gives the
    same as training the module and takes the features out of every epoch.

    Args:
        features: from raw inputs [b, ...] to features [b, F], without parameters; each row depends
            on its own input alone.
        head: from features [b, F] to logits [b, K].
    """

    def __init__(self, features: Callable[[Tensor], Tensor], head: nn.Module) -> None:
        super().__init__()
        self.features = features
        self.head = head

    def forward(self, inputs: Tensor) -> Tensor:
        """Logits [b, K] of raw inputs [b, ...]."""
        logits: Tensor = self.head(self.features(inputs))
        return logits

    def compute(self, inputs: Tensor) -> Tensor:
        """Features [n, F] of raw inputs [n, ...], by parts and without gradients."""
        with torch.no_grad():
            return torch.cat([self.features(part) for part in inputs.split(_AT_ONCE)])


@dataclass(frozen=True)
class ScatteringFeatures:
    """Scattering coefficients of the first two orders, normalised for each image.

    Args:
        side: height and width of the images, in pixels.
        scales: J; features have a resolution of side / 2^J.
        groups: groups of channels that are normalised together.
    """

    side: int
    scales: int
    groups: int

    def __call__(self, pixels: Tensor) -> Tensor:
        """Features float32 [b, F] of pixels uint8 [b, side, side, C]."""
        scaled = pixels.permute(0, 3, 1, 2).to(torch.float32).contiguous() / 255
        coefficients: Tensor = _transform(self.side, self.scales, str(pixels.device))(scaled)
        channels = coefficients.flatten(1, 2)
        return nn.functional.group_norm(channels, self.groups).flatten(1)


@dataclass(frozen=True)
class Scattering:
    """A linear layer on scattering features: so few weights that DP-SGD's noise leaves accuracy.

    Tramer & Boneh, "Differentially Private Learning Needs Better Features (or Much More Data)",
    ICLR 2021, arXiv:2011.11660v3, section 2.1, with group normalisation. The transform is
    kymatio's; its filters are fixed, so the features cost no privacy.

    Args:
        scales: J of the transform.
        groups: groups of channels that are normalised together; it divides the C (1 + 8 J + 32 J
            (J - 1)) channels, of which 32-pixel images in colour have 243.
    """

    scales: int = 2
    groups: int = 27
    takes: ClassVar[str] = "images"
    version: ClassVar[int] = 1
    stored_as: ClassVar[str] = "dynanoise.training.models.scattering.Scattering"
    packages: ClassVar[tuple[str, ...]] = ("kymatio",)

    def build(self, shape: tuple[int, ...], classes: int) -> nn.Module:
        """Build a `FixedFeatures` from uint8 [n, side, side, channels] to logits [n, classes].

        All weights begin at 0.

        Args:
            shape: the shape of an image, (side, side, channels).
            classes: number of logits.

        Raises:
            MissingExtraError: if kymatio is not installed.
            InputError: for images that are not square, or groups that do not divide the channels.
        """
        height, width, colours = shape
        orders = 1 + _ANGLES * self.scales + _ANGLES**2 * self.scales * (self.scales - 1) // 2
        if height != width or height < 2**self.scales or colours * orders % self.groups:
            raise InputError(
                f"Images of {height} x {width} pixels have {colours * orders} scattering channels "
                f"of {self.scales} scales, which scattering takes in {self.groups} equal groups.",
                "Use square images, scales with 2^scales pixels or fewer, and a divisor as groups.",
            )
        _kymatio()  # refused here, not after hours
        features = ScatteringFeatures(height, self.scales, self.groups)
        resolution = height // 2**self.scales
        head = nn.Linear(colours * orders * resolution**2, classes)
        nn.init.zeros_(head.weight)
        nn.init.zeros_(head.bias)
        return FixedFeatures(features, head)


@cache
def _transform(side: int, scales: int, device: str) -> Any:
    return _kymatio()(J=scales, shape=(side, side), L=_ANGLES).to(device)


def _kymatio() -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            # Its package imports a transform in three dimensions that SciPy no longer supports.
            from kymatio.scattering2d.frontend.torch_frontend import ScatteringTorch2D
    except ImportError as error:
        raise missing_extra("dp", "Scattering needs kymatio, which is not installed.") from error
    return ScatteringTorch2D


MODELS = {"scattering": Scattering}
