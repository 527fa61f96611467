"""DynaNoise (Forough & Haddadi, PoPETs 2026, arXiv:2505.13362v2)."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from dynanoise.core import numerics
from dynanoise.core.defense import Defense, Noise
from dynanoise.core.errors import InputError
from dynanoise.core.numerics import Float64, Floats
from dynanoise.core.outputs import View
from dynanoise.core.registry import SENSITIVITIES
from dynanoise.defenses import kernel_outputs, parameters
from dynanoise.defenses.kernel_outputs import Setting
from dynanoise.noise import portable
from dynanoise.noise.keyed import Keyed

MOST_SAMPLES = 2**32
"""The largest M: the nonce of a stream, which counts the samples, has 32 bits."""


@dataclass(frozen=True)
class DynaNoise:
    """Gaussian noise on the logits that grows with the output's certainty, then a tempered softmax.

    For a row of logits z with K classes (arXiv:2505.13362v2, the three stages):

    1. Sensitivity R = 1 - H(softmax(z)) / ln K, in [0, 1].
    2. z~ = z + sigma n with n ~ N(0, I) and sigma^2 = base_variance (1 + lambda_scale R).
    3. The output is the mean of ``samples`` independent softmax(z~ / temperature).

    ``base_variance=0`` is exactly softmax(z / T); ``lambda_scale=0`` is static Gaussian noise; with
    one sample the temperature never changes the label. With ``keep_label`` the output's largest
    entry and the entry of the model's own label are exchanged: accuracy is exactly the model's.

    With `Keyed` noise z is the representative of the query's cell, and ``base_variance=0`` means
    cells without noise. The representative may rank another class first, so that without
    ``keep_label`` labels move there, too.

    Threat model: the paper's, an attacker who sends each query once and does not know of the
    defense. An attacker who knows the temperature undoes it. With `Fresh` noise, repeated queries
    average the noise away; `Keyed` states its own threat model and its limits. Whatever the noise,
    ``keep_label`` leaves label-only attacks as strong as without a defense.

    The defaults are the CIFAR-10 setting of the PoPETs 2026 artifact.

    Args:
        base_variance: s0 >= 0, in squared logits.
        lambda_scale: lambda >= 0, how much more noise a certain output gets.
        temperature: T > 0.
        samples: M from 1 to 2^32, draws averaged for one output.
        sensitivity: a registered function into [0, 1]: "entropy" (the paper's),
            "max_probability" or "margin".
        keep_label: True to keep the model's own label in every output.

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
        """True with ``keep_label``. Without variance fresh noise keeps labels too; cells do not."""
        return self.keep_label

    @property
    def invertible(self) -> bool:
        """True with one sample: `undo` then gives the logits plus noise of mean 0.

        The exchanged entries of ``keep_label`` are not undone, so not with it and noise.
        """
        return self.samples == 1 and not (self.keep_label and self.base_variance > 0)

    @property
    def repeatable(self) -> bool:
        """True only without noise; with noise, repetition is a property of the noise source."""
        return self.base_variance == 0

    def fit(self, view: View) -> Self:
        """Return the defense unchanged: there is nothing to fit."""
        return self

    def variance(self, logits: npt.ArrayLike) -> Float64:
        """Compute the noise variance sigma^2 of each row.

        Args:
            logits: float32 or float64 [..., K].

        Returns:
            float64 [...], in squared logits, within [s0, s0 (1 + lambda)].

        Raises:
            InputError: if the logits are not finite float32 or float64.
        """
        return self._variance(numerics.as_logits(logits)[0])

    def _variance(self, logits: Float64) -> Float64:
        sensitivity: Float64 = SENSITIVITIES.get(self.sensitivity)(logits)
        return self.base_variance * (1.0 + self.lambda_scale * sensitivity)

    def __call__(self, logits: npt.ArrayLike, noise: Noise) -> Floats:
        """Compute defended probabilities.

        Under `Keyed` and `SystemFresh` noise the compiled kernel does, where numba is installed.

        Args:
            logits: float32 or float64 [..., K], finite, K >= 2.
            noise: a noise source, such as ``SystemFresh()``.

        Returns:
            Probabilities [..., K] in the logits' dtype.

        Raises:
            InputError: for other logits, or if ``noise`` is not a noise source.
            SecretError: if `Keyed` noise has no usable secret.
        """
        outputs = self.by_kernel(logits, noise)
        return self.by_numpy(logits, noise) if outputs is None else outputs

    @property
    def passes(self) -> int:
        """Passes over the logits, one a draw; see `core.defense.count_passes`."""
        return max(1, self.kernel_setting.draws)

    def by_kernel(self, logits: npt.ArrayLike, noise: Noise) -> Floats | None:
        """Compute the same by the compiled kernel; None where it does not cover the call."""
        if self.sensitivity != "entropy":
            return None
        return kernel_outputs.kernel_outputs(self.kernel_setting, logits, noise)

    def by_numpy(self, logits: npt.ArrayLike, noise: Noise) -> Floats:
        """Compute the same by NumPy alone; with `Keyed` noise to the same bits."""
        return self._by_numpy(logits)(noise)

    def responder(self, logits: npt.ArrayLike) -> Callable[[Noise], Floats]:
        """Fix the logits of repeated calls; see `core.defense.make_responder`."""
        by_numpy = self._by_numpy(logits)

        def respond(noise: Noise) -> Floats:
            outputs = self.by_kernel(logits, noise)
            return by_numpy(noise) if outputs is None else outputs

        return respond

    def _by_numpy(self, logits: npt.ArrayLike) -> Callable[[Noise], Floats]:
        """The call by NumPy alone as a function of the noise; variances are computed once."""
        clean, dtype = numerics.as_logits(logits)
        setting = self.kernel_setting

        def scaled(base: Float64) -> tuple[Float64, Float64]:
            # After the shift, noise is not lost beside logits of 1e30: rows that differ by a
            # constant get the same output.
            return numerics.shift(base), np.sqrt(self._variance(base))[..., None]

        of_clean = cache(lambda: scaled(clean))

        def respond(noise: Noise) -> Floats:
            base, normals = parameters.noise_source(noise).draw(clean, setting.draws, self.purpose)
            if type(noise) is Keyed and self.sensitivity == "entropy":
                total, noisy = _portable_outputs(setting, base, normals)
                return self._with_label(clean, total, noisy, dtype)
            shifted, sigma = of_clean() if base is clean else scaled(base)
            total = np.zeros_like(shifted)
            for noisy in (
                (shifted + sigma * normal for normal in normals) if setting.draws else (shifted,)
            ):
                total += numerics.softmax(noisy, self.temperature)
            with np.errstate(under="ignore"):
                total /= max(1, setting.draws)
            return self._with_label(clean, total, noisy, dtype)

        return respond

    def _with_label(
        self, clean: Float64, total: Float64, noisy: Float64, dtype: np.dtype[Any]
    ) -> Floats:
        """The output in its dtype and with its label; ``noisy`` are the last draw's logits."""
        if self.keep_label:
            labels = clean.argmax(axis=-1)
            outputs = numerics.narrow(numerics.exchange_top(total, labels), dtype)
            return numerics.favour(outputs, labels)
        outputs = numerics.narrow(total, dtype)
        if self.kernel_setting.draws <= 1:
            return numerics.favour(outputs, noisy.argmax(axis=-1))
        return outputs

    @cached_property
    def kernel_setting(self) -> Setting:
        """The parameters as the kernel takes them."""
        return Setting(
            self.base_variance,
            self.lambda_scale,
            self.temperature,
            self.samples if self.base_variance > 0 else 0,
            self.keep_label,
            self.purpose,
        )

    @cached_property
    def purpose(self) -> str:
        """Canonical text of every parameter: with other parameters keyed noise is other noise.

        A parameter that is added later is left out while it has its default, or outputs change.
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
        """Compute T ln p, centred: for one sample exactly the noisy logits up to a constant.

        With several samples an approximation, because the mean is taken over probabilities.

        Args:
            log_probs: float64 [..., K], ln of the outputs.

        Returns:
            float64 [..., K].
        """
        return self.temperature * numerics.centred(log_probs)


def compile_ahead(defense: Defense, noise: Noise, dtypes: Iterable[npt.DTypeLike]) -> bool:
    """Compile the kernel now, without its message, instead of at the first outputs.

    Args:
        defense: any defense; only DynaNoise has a kernel.
        noise: the noise source that will be used.
        dtypes: the dtypes of later logits.

    Returns:
        True if the kernel computes the outputs of all these.

    Raises:
        SecretError: if `Keyed` noise has no usable secret.
    """
    if not isinstance(defense, DynaNoise) or kernel_outputs.kernel_entries() is None:
        return False
    kernel_outputs.announce_compiling(False)
    rows = (np.zeros((1, 2), dtype) for dtype in dtypes)
    return all(defense.by_kernel(row, noise) is not None for row in rows)


# --- keyed outputs in NumPy, to the last bit as the kernel computes them --------------------------
#
# By the functions of `noise.portable`, sums in the order of the classes, and nothing else that is
# not defined by IEEE 754: replicas agree on every machine, with or without numba.


def _portable_outputs(setting: Setting, base: Float64, normals: Float64) -> tuple[Float64, Float64]:
    """The mean of softmax((z + sigma n) / T) over the draws, and the last noisy logits.

    Args:
        setting: parameters of the defense.
        base: float64 [..., K], representatives of cells.
        normals: float64 [draws, ..., K].

    >>> setting = Setting(0.0, 0.0, 1.0, 0, False, "doctest")
    >>> _portable_outputs(setting, np.zeros((1, 2)), np.zeros((0, 1, 2)))[0].tolist()
    [[0.5, 0.5]]
    """
    shifted = numerics.shift(base)
    if not len(normals):
        return _portable_softmax(shifted, setting.inverse_temperature), shifted
    sigma = _portable_sigma(shifted, setting.base_variance, setting.lambda_scale)
    total = None
    for normal in normals:
        noisy = shifted + sigma * normal
        outputs = _portable_softmax(noisy, setting.inverse_temperature)
        with np.errstate(under="ignore"):
            total = outputs if total is None else total + outputs
    assert total is not None
    with np.errstate(under="ignore"):
        return total / float(len(normals)), noisy


def _portable_sigma(shifted: Float64, base_variance: float, lambda_scale: float) -> Float64:
    """sigma = sqrt(s0 (1 + lambda R)) [..., 1] of rows [..., K] whose maximum is 0.

    >>> _portable_sigma(np.array([[0.0, 0.0], [0.0, -900.0]]), 1.0, 3.0).tolist()
    [[1.0], [2.0]]
    """
    weights = portable.exp(shifted)
    total = _ordered_sums(weights)
    with np.errstate(under="ignore"):
        nats = portable.log(total) - _ordered_sums(weights * shifted) / total
    uniform = portable.log(np.full(1, float(shifted.shape[-1])))
    sensitivity = np.clip(1.0 - nats / uniform, 0.0, 1.0)
    return np.asarray(np.sqrt(base_variance * (1.0 + lambda_scale * sensitivity)))


def _portable_softmax(noisy: Float64, inverse_temperature: float) -> Float64:
    """softmax(z / T) [..., K].

    >>> _portable_softmax(np.array([0.0, -1e300]), 0.1).tolist()
    [1.0, 0.0]
    """
    with np.errstate(over="ignore", under="ignore"):
        tempered = (noisy - noisy.max(axis=-1, keepdims=True)) * inverse_temperature
        weights: Float64 = portable.exp(tempered)
        return weights * (1.0 / _ordered_sums(weights))


def _ordered_sums(values: Float64) -> Float64:
    """Sums over the last axis in its order, [..., 1]."""
    return np.asarray(np.add.accumulate(values, axis=-1)[..., -1:])


DEFENSES = {"dynanoise": DynaNoise}
