"""DynaNoise's answers by the compiled kernel, where it covers them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from dynanoise.core.defense import Defense, Noise
from dynanoise.core.numerics import Float64, Floats
from dynanoise.defenses.exact import inverse
from dynanoise.noise import subkey
from dynanoise.noise.keyed import Keyed
from dynanoise.noise.system import SystemFresh

if TYPE_CHECKING:
    from dynanoise.defenses.dynanoise import DynaNoise

_FLOAT32 = np.dtype(np.float32)
_FLOATS = (_FLOAT32, np.dtype(np.float64))
_ALONE = 1 << 17
"""So many entries are answered without a thought of threads."""

_SETTINGS = 64
"""Derived keys that are remembered."""

Entry = Callable[..., bool]


@cache
def entries() -> dict[str, Entry] | None:
    """The kernel's functions, or None without numba, or where NUMBA_DISABLE_JIT is set."""
    try:
        from numba import config
    except ImportError:
        return None
    if getattr(config, "DISABLE_JIT", False):  # the kernel would be interpreted, element by element
        return None
    from dynanoise.noise.kernel import entries as compiled

    names = ("keyed", "fresh_32", "fresh_64")
    return {name: getattr(compiled, name) for name in names}


def answer(defense: DynaNoise, logits: npt.ArrayLike, noise: Noise) -> Floats | None:
    """The defense's answer, or None where NumPy must give it: or an error about the logits.

    Covered are `Keyed` and `SystemFresh` noise with the sensitivity "entropy", and finite float32
    or float64 logits [..., K] with K >= 2.

    Args:
        defense: with its parameters.
        logits: not yet checked.
        noise: not yet checked.
    """
    kind = type(noise)
    if kind is not SystemFresh and kind is not Keyed:
        return None
    array = logits if type(logits) is np.ndarray else _as_array(logits)
    if array is None or not array.size or not array.ndim or defense.sensitivity != "entropy":
        return None
    dtype, classes = array.dtype, array.shape[-1]
    if dtype not in _FLOATS or classes < 2:
        return None
    compiled = entries()
    if compiled is None:
        return None
    rows = array if array.flags.carray else array.copy(order="C")
    result = np.empty(array.shape, dtype)
    out = result
    if array.ndim != 2:
        rows, out = rows.reshape(-1, classes), out.reshape(-1, classes)
    if kind is SystemFresh:
        numbers, fits = defense.numbers
        if not fits and dtype == _FLOAT32:
            return None
        call, key = compiled["fresh_32" if dtype == _FLOAT32 else "fresh_64"], noise.key()  # type: ignore[attr-defined]
    else:
        assert isinstance(noise, Keyed)
        call = compiled["keyed"]
        numbers, key = _keyed(defense, noise, classes)
    count = len(rows)
    if array.size <= _ALONE:
        good = call(rows, out, numbers, key, 0, count)
    else:
        from dynanoise.noise.kernel import threads

        good = threads.share(
            lambda begin, end: call(rows, out, numbers, key, begin, end),
            count,
            classes,
            threads.usable(),
        )
    return result if good else None


def warm(defense: Defense, noise: Noise, dtypes: Iterable[npt.DTypeLike]) -> bool:
    """Compiles now, and silently, what `answer` would compile at its first rows of these types.

    Returns:
        Whether the kernel answers at all.
    """
    from dynanoise.defenses.dynanoise import DynaNoise

    if not isinstance(defense, DynaNoise) or entries() is None:
        return False
    from dynanoise.noise.kernel import jit

    jit.announce(False)
    return all(answer(defense, np.zeros((1, 2), dtype), noise) is not None for dtype in dtypes)


def _as_array(values: npt.ArrayLike) -> npt.NDArray[Any] | None:
    try:
        return np.asarray(values)
    except (TypeError, ValueError, RuntimeError):
        return None


def numbers_of(defense: DynaNoise) -> tuple[Float64, bool]:
    """What the kernel's fresh entries are told, and whether float32 can hold the arithmetic."""
    draws = defense.samples if defense.base_variance > 0 else 0
    told = [defense.base_variance, defense.lambda_scale, inverse(defense.temperature)]
    fits = (
        1e-6 <= defense.temperature <= 1e30
        and defense.base_variance * (1 + defense.lambda_scale) <= 1e12
        and (defense.base_variance == 0 or defense.base_variance >= 1e-30)
        and draws < 2**24
    )
    return np.array([*told, draws, defense.keep_label]), fits


_known: dict[tuple[Any, ...], tuple[Float64, npt.NDArray[np.uint64]]] = {}
"""Cell keys and offsets by a digest of the root and all that they are derived from.

In memory alone, as secret as they: never in an object, so in no repr, copy or pickle.
"""


def _keyed(
    defense: DynaNoise, noise: Keyed, classes: int
) -> tuple[Float64, npt.NDArray[np.uint64]]:
    """What the kernel's keyed entry is told. The secret is looked up every time."""
    assert not isinstance(noise.key, str)
    root = noise.key.root()
    digest = hashlib.sha256(root).digest()
    setting = (digest, noise.cell_width, noise.model, noise.weights, classes, defense.purpose)
    found = _known.get(setting)
    if found is None:
        found = _derived(defense, noise, root, classes)
        if len(_known) >= _SETTINGS:
            _known.clear()
        _known[setting] = found
    return found


def _derived(
    defense: DynaNoise, noise: Keyed, root: bytes, classes: int
) -> tuple[Float64, npt.NDArray[np.uint64]]:
    draws = defense.samples if defense.base_variance > 0 else 0
    key = noise.subkey_of(root, classes, draws, defense.purpose)
    told = [noise.cell_width, defense.base_variance, defense.lambda_scale]
    numbers = np.array([*told, inverse(defense.temperature), *subkey.offsets(key, classes)])
    low, high = np.frombuffer(subkey.cell_key(key), "<u8").astype(np.uint64)
    return numbers, np.array([low, high, draws, defense.keep_label], np.uint64)
