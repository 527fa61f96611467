"""Outputs of DynaNoise by the compiled kernel, for the settings, noise and logits it covers."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from dynanoise.core.defense import Noise
from dynanoise.core.numerics import Float64, Floats
from dynanoise.noise import subkey
from dynanoise.noise.fresh import SystemFresh
from dynanoise.noise.keyed import Keyed

_FLOAT32 = np.dtype(np.float32)
_DTYPES = (_FLOAT32, np.dtype(np.float64))
_LARGEST = float(np.finfo(np.float64).max)

_SINGLE_THREAD = 1 << 17
"""Calls with at most this many entries (rows times classes) never look for threads."""

_REMEMBERED = 64
"""Derived keys that are remembered at once."""

Entry = Callable[..., bool]


@dataclass(frozen=True)
class Setting:
    """Parameters of DynaNoise with the sensitivity "entropy", as the kernel takes them.

    Attributes:
        base_variance: s0 >= 0, in squared logits.
        lambda_scale: lambda >= 0.
        temperature: T > 0.
        draws: M; 0 without noise.
        keep_label: True to keep the model's own label; see `DynaNoise`.
        purpose: canonical text of all parameters, which keyed noise is derived from.
    """

    base_variance: float
    lambda_scale: float
    temperature: float
    draws: int
    keep_label: bool
    purpose: str

    @cached_property
    def inverse_temperature(self) -> float:
        """1 / T, finite for every T > 0.

        >>> Setting(0.3, 2.0, 4.0, 1, False, "doctest").inverse_temperature
        0.25
        """
        return 1.0 / self.temperature if self.temperature > 1.0 / _LARGEST else _LARGEST

    @cached_property
    def fits_float32(self) -> bool:
        """True if float32 can hold every intermediate value of the arithmetic."""
        return (
            1e-6 <= self.temperature <= 1e30
            and self.base_variance * (1 + self.lambda_scale) <= 1e12
            and (self.base_variance == 0 or self.base_variance >= 1e-30)
            and self.draws < 2**24
        )

    @cached_property
    def fresh_numbers(self) -> Float64:
        """Float64 [5] for the kernel's fresh entries: s0, lambda, 1 / T, M, keep_label."""
        parameters = [self.base_variance, self.lambda_scale, self.inverse_temperature]
        return np.array([*parameters, self.draws, self.keep_label])


@cache
def kernel_entries() -> dict[str, Entry] | None:
    """Import the kernel's functions.

    Returns:
        The entries "keyed", "fresh_32" and "fresh_64", or None without numba and where
        NUMBA_DISABLE_JIT is set, which would have the kernel interpreted element by element.
    """
    try:
        from numba import config
    except ImportError:
        return None
    if getattr(config, "DISABLE_JIT", False):
        return None
    from dynanoise.noise.kernel import entries

    return {name: getattr(entries, name) for name in ("keyed", "fresh_32", "fresh_64")}


def announce_compiling(enabled: bool) -> None:
    """Turn the message about compiling on standard error on or off; needs numba."""
    from dynanoise.noise.kernel import jit

    jit.announce(enabled)


def kernel_outputs(setting: Setting, logits: npt.ArrayLike, noise: Noise) -> Floats | None:
    """Compute outputs by the compiled kernel where it covers them.

    Covered are `Keyed` and `SystemFresh` noise, and finite float32 or float64 logits [..., K] with
    K >= 2. Batches of more than 131,072 entries are shared out to threads.

    Args:
        setting: parameters of the defense.
        logits: [..., K], not checked yet.
        noise: a noise source, not checked yet.

    Returns:
        Probabilities [..., K] in the logits' dtype; or None, where NumPy computes the outputs or
        raises the error about the logits.

    Raises:
        SecretError: if `Keyed` noise has no usable secret.
    """
    kind = type(noise)
    if kind is not SystemFresh and kind is not Keyed:
        return None
    array = logits if type(logits) is np.ndarray else _as_array(logits)
    if array is None or not array.size or not array.ndim:
        return None
    dtype, classes = array.dtype, array.shape[-1]
    if dtype not in _DTYPES or classes < 2:
        return None
    entries = kernel_entries()
    if entries is None:
        return None
    rows = array if array.flags.carray else array.copy(order="C")
    outputs = np.empty(array.shape, dtype)
    out = outputs
    if array.ndim != 2:
        rows, out = rows.reshape(-1, classes), out.reshape(-1, classes)
    if isinstance(noise, Keyed):
        entry = entries["keyed"]
        numbers, key = keyed_arguments(setting, noise, classes)
    elif dtype == _FLOAT32 and not setting.fits_float32:
        return None
    else:
        entry = entries["fresh_32" if dtype == _FLOAT32 else "fresh_64"]
        numbers, key = setting.fresh_numbers, noise.key()  # type: ignore[attr-defined]
    count = len(rows)
    if array.size <= _SINGLE_THREAD:
        finite = entry(rows, out, numbers, key, 0, count)
    else:
        from dynanoise.noise.kernel import threads

        finite = threads.share(
            lambda begin, end: entry(rows, out, numbers, key, begin, end),
            count,
            classes,
            threads.usable(),
        )
    return outputs if finite else None


def _as_array(values: npt.ArrayLike) -> npt.NDArray[Any] | None:
    try:
        return np.asarray(values)
    except (TypeError, ValueError, RuntimeError):
        return None


_derived: dict[tuple[Any, ...], tuple[Float64, npt.NDArray[np.uint64]]] = {}
"""Arguments of the keyed entry by a digest of the root secret and all that they are derived from.

They hold cell keys and offsets, as secret as the root. They stay in this process's memory and
never enter an object, so that no repr, copy or pickle shows them.
"""


def keyed_arguments(
    setting: Setting, noise: Keyed, classes: int
) -> tuple[Float64, npt.NDArray[np.uint64]]:
    """Derive the arguments of the kernel's keyed entry; the root secret is read at every call.

    Returns:
        numbers: float64 [4 + K]: cell width, s0, lambda, 1 / T, then the grid's offsets.
        words: uint64 [4]: the two words of the cell key, M, keep_label.

    Raises:
        SecretError: if there is no usable secret.
    """
    assert not isinstance(noise.key, str)
    root = noise.key.root()
    digest = hashlib.sha256(root).digest()
    index = (digest, noise.cell_width, noise.model, noise.weights, classes, setting.purpose)
    arguments = _derived.get(index)
    if arguments is None:
        key = noise.subkey_of(root, classes, setting.draws, setting.purpose)
        parameters = [noise.cell_width, setting.base_variance, setting.lambda_scale]
        parameters.append(setting.inverse_temperature)
        numbers = np.array([*parameters, *subkey.offsets(key, classes)])
        low, high = np.frombuffer(subkey.cell_key(key), "<u8").astype(np.uint64)
        words = np.array([low, high, setting.draws, setting.keep_label], np.uint64)
        arguments = numbers, words
        if len(_derived) >= _REMEMBERED:
            _derived.clear()
        _derived[index] = arguments
    return arguments
