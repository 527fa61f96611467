"""DynaNoise (Forough & Haddadi, PoPETs 2026, arXiv:2505.13362v2)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from dynanoise.core import numerics
from dynanoise.core.defense import Noise
from dynanoise.core.errors import InputError
from dynanoise.core.numerics import Float64, Floats
from dynanoise.core.outputs import View
from dynanoise.core.registry import SENSITIVITIES
from dynanoise.defenses import compiled, exact, parameters
from dynanoise.noise.keyed import Keyed

MOST_SAMPLES = 2**32
"""A stream's nonce, which counts the samples, has 32 bits."""


@dataclass(frozen=True)
class DynaNoise:
    """Noise that grows with the answer's sensitivity, then a tempered softmax.

    For a row of logits z with K classes (arXiv:2505.13362v2, the three stages):
    R = 1 - H(softmax(z)) / ln K; z~ = z + sigma n with n ~ N(0, I) and
    sigma^2 = base_variance (1 + lambda_scale R); the answer is the mean of ``samples`` independent
    softmax(z~ / temperature).

    ``base_variance=0`` is exactly softmax(z / T); ``lambda_scale=0`` is static Gaussian noise; with
    one sample the temperature never changes the label. With ``keep_label`` the answer's largest
    entry and that of the model's own label are exchanged: accuracy is exactly the model's.

    With `Keyed` noise z is the representative of the query's cell, and ``base_variance=0`` is
    allowed: cells without noise. The representative may rank another class first, so that without
    ``keep_label`` labels move there, too.

    Threat model: the paper's, an attacker who asks each query once and does not know of the
    defense. One who knows the temperature undoes it, and with `Fresh` noise one who may repeat a
    query averages the noise away; `Keyed` has its own threat model, with what it does not cover.
    Whatever the noise, ``keep_label`` gives label-only attacks all they had before.

    Args:
        base_variance: s0 >= 0, in squared logits.
        lambda_scale: lambda >= 0, how much more noise a certain answer gets.
        temperature: T > 0.
        samples: M from 1 to 2^32, draws averaged for one answer.
        sensitivity: a registered function into [0, 1]: "entropy" (the paper's),
            "max_probability" or "margin".
        keep_label: whether the answer's label is always the model's own.

    The defaults are the CIFAR-10 setting of the PoPETs 2026 artifact.

    Raises:
        InputError: if a parameter is out of range, or the logits are not finite float32 or
            float64 with at least two classes.
        UnknownNameError: if the sensitivity is not registered.

    >>> from dynanoise.noise.fresh import Fresh
    >>> defense = DynaNoise(base_variance=0.3, lambda_scale=2, temperature=10)
    >>> defense(np.array([[6.0, 0.0, 0.0]]), Fresh(0)).round(4).tolist()
    [[0.493, 0.2608, 0.2462]]
    >>> defense.variance(np.array([[6.0, 0.0, 0.0]])).round(4).tolist()
    [0.8811]
    """

    base_variance: float = 0.3
    lambda_scale: float = 2.0
    temperature: float = 10.0
    samples: int = 1
    sensitivity: str = "entropy"
    keep_label: bool = False

    def __post_init__(self) -> None:
        checked = {
            "base_variance": parameters.number("base_variance", self.base_variance, least=0),
            "lambda_scale": parameters.number("lambda_scale", self.lambda_scale, least=0),
            "temperature": parameters.number("temperature", self.temperature, above=0),
            "samples": parameters.count("samples", self.samples, most=MOST_SAMPLES),
            "keep_label": parameters.flag("keep_label", self.keep_label),
        }
        for name, value in checked.items():
            object.__setattr__(self, name, value)
        largest = self.base_variance * (1.0 + self.lambda_scale)
        if not math.isfinite(largest):
            raise InputError(
                f"base_variance {self.base_variance} with lambda_scale {self.lambda_scale} gives "
                "an infinite variance.",
                "Use smaller values.",
            )
        SENSITIVITIES.get(self.sensitivity)

    @property
    def keeps_labels(self) -> bool:
        """True if told to; without variance fresh noise keeps them too, but cells do not."""
        return self.keep_label

    @property
    def invertible(self) -> bool:
        """True with one sample: the noise is the logits' own and averages to nothing.

        Exchanged entries do not, so not with ``keep_label`` and noise.
        """
        return self.samples == 1 and not (self.keep_label and self.base_variance > 0)

    @property
    def repeatable(self) -> bool:
        """True only without noise; with it as far as the noise's source repeats itself."""
        return self.base_variance == 0

    def fit(self, view: View) -> Self:
        """Itself: there is nothing to learn."""
        return self

    def variance(self, logits: npt.ArrayLike) -> Float64:
        """sigma^2 [...] of each row of logits [..., K], within [s0, s0 (1 + lambda)]."""
        return self._variance(numerics.as_logits(logits)[0])

    def _variance(self, logits: Float64) -> Float64:
        sensitivity: Float64 = SENSITIVITIES.get(self.sensitivity)(logits)
        return self.base_variance * (1.0 + self.lambda_scale * sensitivity)

    def __call__(self, logits: npt.ArrayLike, noise: Noise) -> Floats:
        """Probabilities [..., K] for float32 or float64 logits [..., K], in the same dtype.

        Under `Keyed` and `SystemFresh` noise numba makes them where it is installed.
        """
        made = compiled.answer(self, logits, noise)
        return self.by_numpy(logits, noise) if made is None else made

    def by_numpy(self, logits: npt.ArrayLike, noise: Noise) -> Floats:
        """The same, by NumPy alone; keyed answers to the same bits."""
        clean, dtype = numerics.as_logits(logits)
        samples = self.samples if self.base_variance > 0 else 1
        draws = self.samples if self.base_variance > 0 else 0
        base, normals = parameters.noise_source(noise).draw(clean, draws, self.purpose)
        if type(noise) is Keyed and self.sensitivity == "entropy":
            chosen = self.base_variance, self.lambda_scale, self.temperature
            total, noisy = exact.mean_answer(base, normals, *chosen)
            return self._finished(clean, total, noisy, dtype)
        # After the shift, noise is not lost beside logits of 1e30: rows that differ by a constant
        # get the same answer.
        shifted = numerics.shift(base)
        sigma = np.sqrt(self._variance(base))[..., None]
        total = np.zeros_like(shifted)
        for noisy in (shifted + sigma * normal for normal in normals) if draws else (shifted,):
            total += numerics.softmax(noisy, self.temperature)
        with np.errstate(under="ignore"):
            total /= samples
        return self._finished(clean, total, noisy, dtype)

    def _finished(
        self, clean: Float64, total: Float64, noisy: Float64, dtype: np.dtype[Any]
    ) -> Floats:
        """The answer with its label in place; ``noisy`` are the logits of the last draw."""
        if self.keep_label:
            own = clean.argmax(axis=-1)
            answer = numerics.narrow(numerics.exchange_top(total, own), dtype)
            return numerics.favour(answer, own)
        answer = numerics.narrow(total, dtype)
        return numerics.favour(answer, noisy.argmax(axis=-1)) if self._single else answer

    @property
    def _single(self) -> bool:
        return self.samples == 1 or self.base_variance == 0

    @cached_property
    def numbers(self) -> tuple[Float64, bool]:
        """What the kernel is told of the parameters."""
        return compiled.numbers_of(self)

    @cached_property
    def purpose(self) -> str:
        """What the noise is for: every parameter, for with another one keyed noise is other noise.

        A parameter that is added later is left out while it has its default, or answers change.
        """
        return parameters.canonical(
            "dynanoise",
            base_variance=self.base_variance,
            lambda_scale=self.lambda_scale,
            temperature=self.temperature,
            samples=self.samples,
            sensitivity=self.sensitivity,
            keep_label=self.keep_label,
        )

    def undo(self, log_probs: Float64) -> Float64:
        """T ln p~, centred: for one sample exactly the noisy logits up to a constant.

        With several samples an approximation: the mean over samples is taken of probabilities.
        """
        return self.temperature * numerics.centred(log_probs)


DEFENSES = {"dynanoise": DynaNoise}
