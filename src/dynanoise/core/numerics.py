"""Array types, and formulas on rows of logits and log-probabilities.

The formulas compute in float64, work on the last axis (K classes) of arrays of any leading shape,
and never write to their input, except where a docstring says so. All epsilons are defined here.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from dynanoise.core.errors import InputError

Floats = npt.NDArray[np.floating[Any]]
Float64 = npt.NDArray[np.float64]
Int8 = npt.NDArray[np.int8]
Int16 = npt.NDArray[np.int16]
Bools = npt.NDArray[np.bool_]
Int64 = npt.NDArray[np.int64]

TINY = float(np.finfo(np.float64).tiny)
"""Smallest normal float64, about 2.2e-308; stands for a probability of 0 inside logarithms."""

SMALLEST_SD = 1e-6
"""Smallest standard deviation of a fitted Gaussian, in nats; for values that are all equal."""

_BLOCK_NUMBERS = 1 << 18
"""Numbers of a block of rows, 2 MiB: what lies between input and result stays small."""

_FEW_CLASSES = 16
"""Classes up to which a loop over them is faster than NumPy's reduction of each row."""

_CACHED_ROWS = 4096
"""Rows that such a loop passes again and again, because they fit the cache."""

_LOWEST = float(np.finfo(np.float64).min)
_FLOATS = (np.dtype(np.float32), np.dtype(np.float64))


def as_array(values: npt.ArrayLike, name: str) -> npt.NDArray[Any]:
    """Convert values to an array of numbers or booleans.

    Args:
        values: anything that ``numpy.asarray`` takes.
        name: the array's name in messages.

    Returns:
        An array of any shape, of a boolean, integer or floating dtype; not a copy where the values
        are an array already.

    Raises:
        InputError: for ragged lists, text, and tensors that need a gradient.

    >>> as_array([1, 2], "scores").dtype.kind
    'i'
    """
    try:
        array = np.asarray(values)
    except (TypeError, ValueError, RuntimeError) as error:
        raise InputError(
            f"{name} of type {type(values).__name__} do not make an array ({error}).",
            "Pass a NumPy array; from torch, tensor.detach().float().cpu().numpy().",
        ) from error
    if array.dtype.kind not in "biuf":
        raise InputError(
            f"{name} have dtype {array.dtype}.", "Pass numbers, such as a float32 array."
        )
    return array


def as_logits(values: npt.ArrayLike, name: str = "logits") -> tuple[Float64, np.dtype[Any]]:
    """Check logits and convert them to float64.

    Args:
        values: float32 or float64 [..., K] with K >= 2, finite.
        name: the array's name in messages.

    Returns:
        logits: float64 [..., K], a copy.
        dtype: the dtype of the values.

    Raises:
        InputError: for another dtype, no axis, fewer than two classes, NaN or infinity.

    >>> as_logits(np.float32([[0.5, -1.0]]))[0].dtype
    dtype('float64')
    """
    array = as_array(values, name)
    if array.dtype not in _FLOATS:
        raise InputError(
            f"{name} have dtype {array.dtype}.",
            "Pass float32 or float64, for example np.asarray(values, dtype='float32').",
        )
    if array.ndim == 0:
        raise InputError(f"{name} are a single number.", "Pass an array of shape [..., K].")
    classes = array.shape[-1]
    if classes == 0:
        raise InputError(
            f"{name} have shape {array.shape}: the last axis is empty.",
            "Pass one logit for each of K >= 2 classes.",
        )
    if classes == 1:
        raise InputError(
            f"{name} have shape {array.shape}: a single class has no entropy scale (ln 1 = 0).",
            "For a sigmoid output z pass the two logits [0, z].",
        )
    if not np.isfinite(array).all():
        where = tuple(int(i) for i in np.argwhere(~np.isfinite(array))[0])
        raise InputError(
            f"{name}{list(where)} is {array[where]}.", "Logits must be finite numbers."
        )
    return array.astype(np.float64), array.dtype


def row_max(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Compute the largest entry of each row, column by column where there are few classes.

    NumPy reduces short rows one after the other, at four times the cost.

    Args:
        values: numbers [..., K], K >= 1.

    Returns:
        [...], equal to ``values.max(axis=-1)``.

    >>> row_max(np.array([[1.0, 3.0], [2.0, 0.0]])).tolist()
    [3.0, 2.0]
    """
    classes = values.shape[-1]
    if classes > _FEW_CLASSES or not values.flags.c_contiguous:
        return np.asarray(values.max(axis=-1))
    rows = values.reshape(-1, classes)
    largest = rows[:, 0].copy()
    for start in range(0, len(rows), _CACHED_ROWS):
        block = slice(start, start + _CACHED_ROWS)
        for column in range(1, classes):
            np.maximum(largest[block], rows[block, column], out=largest[block])
    return largest.reshape(values.shape[:-1])


def shift(logits: Float64) -> Float64:
    """Subtract each row's maximum: values at most 0, finite for every finite float64 input.

    Args:
        logits: float64 [..., K].

    Returns:
        float64 [..., K].

    >>> shift(np.array([1e308, -1e308])).tolist()
    [0.0, -1.7976931348623157e+308]
    """
    with np.errstate(over="ignore"):
        shifted: Float64 = logits - row_max(logits)[..., None]
    np.maximum(shifted, _LOWEST, out=shifted)
    return shifted


def softmax(logits: Float64, temperature: float = 1.0) -> Float64:
    """Compute softmax(z / T).

    Args:
        logits: float64 [..., K].
        temperature: T > 0.

    Returns:
        Probabilities, float64 [..., K].

    >>> softmax(np.log([1.0, 3.0])).round(12).tolist()
    [0.25, 0.75]
    """
    shifted = shift(logits)
    with np.errstate(over="ignore", under="ignore"):
        shifted /= temperature
        weights = np.exp(shifted, out=shifted)
        weights /= weights.sum(axis=-1, keepdims=True)
    return weights


def top_gaps(rows: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Compute the difference between the largest and the second largest entry of each row.

    Args:
        rows: logits [..., K], K >= 2.

    Returns:
        [...], in logits, >= 0.

    >>> top_gaps(np.array([[3.0, 1.0, 0.5]])).tolist()
    [2.0]
    """
    top = np.partition(rows, -2, axis=-1)[..., -2:]
    return np.asarray(top[..., 1] - top[..., 0])


def narrow(probs: Float64, dtype: np.dtype[Any]) -> npt.NDArray[Any]:
    """Copy probabilities to another floating dtype; values too small for it become 0 or subnormal.

    Args:
        probs: float64 of any shape.
        dtype: float32 or float64.

    >>> narrow(np.array([1.0, 1e-60]), np.dtype(np.float32)).tolist()
    [1.0, 0.0]
    """
    with np.errstate(under="ignore"):
        return probs.astype(dtype)


def favour(probs: npt.NDArray[Any], winners: Int64) -> npt.NDArray[Any]:
    """Make ``winners`` the argmax of each row, also where rounding made a tie.

    A temperature brings probabilities closer than one unit in the last place: float32 logits
    [1, 1.0000001] at T = 10 round to equal probabilities, and the label would move to the first
    entry. The winner of such a row is raised to one unit in the last place above the maximum.

    Args:
        probs: float32 or float64 [..., K], changed in place.
        winners: int64 [...], in 0..K-1.

    Returns:
        ``probs``.

    >>> favour(np.float32([[0.5, 0.5]]), np.array([1])).argmax().item()
    1
    """
    lost = probs.argmax(axis=-1) != winners
    if lost.any():
        rows = probs[lost]
        top = rows.max(axis=-1)
        rows[np.arange(len(rows)), winners[lost]] = np.nextafter(top, np.asarray(2, probs.dtype))
        probs[lost] = rows
    return probs


def exchange_top(probs: Float64, winners: Int64) -> Float64:
    """Exchange the winner's entry of each row with the largest one.

    Args:
        probs: float64 [..., K], changed in place. Of several largest entries the first counts.
        winners: int64 [...], in 0..K-1.

    Returns:
        ``probs``.

    >>> exchange_top(np.array([[0.2, 0.7, 0.1]]), np.array([0])).tolist()
    [[0.7, 0.2, 0.1]]
    """
    places = np.stack([winners, probs.argmax(axis=-1)], axis=-1)
    pair = np.take_along_axis(probs, places, axis=-1)
    np.put_along_axis(probs, places, pair[..., ::-1], axis=-1)
    return probs


def _blocks(rows: npt.NDArray[Any]) -> list[slice]:
    """Parts of rows [N, K] that hold `_BLOCK_NUMBERS` numbers at most, or one row."""
    step = max(1, _BLOCK_NUMBERS // max(1, rows.shape[-1]))
    return [slice(start, start + step) for start in range(0, len(rows), step)]


def log_softmax(logits: Floats, temperature: float = 1.0) -> Float64:
    """Compute ln softmax(z / T) in float64, finite for all finite logits.

    Args:
        logits: float32 or float64 [..., K].
        temperature: T > 0.

    Returns:
        float64 [..., K], in nats, <= 0.

    >>> np.exp(log_softmax(np.log([1.0, 3.0]))).round(12).tolist()
    [0.25, 0.75]
    """
    rows = logits.reshape(-1, logits.shape[-1])
    log_probs = np.empty(rows.shape)
    with np.errstate(over="ignore", under="ignore"):
        for part in _blocks(rows):
            shifted = shift(rows[part].astype(np.float64, copy=False))
            shifted /= temperature
            np.maximum(shifted, _LOWEST, out=shifted)
            # The subtrahend is in [0, ln K]: beside the lowest float64 it rounds away.
            total = np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
            np.subtract(shifted, total, out=log_probs[part])
    return log_probs.reshape(logits.shape)


def centred(log_probs: Float64) -> Float64:
    """Subtract each row's mean: the logits that log-probabilities determine, up to a constant.

    Args:
        log_probs: float64 [..., K].

    Returns:
        float64 [..., K].

    >>> centred(np.array([[1.0, 3.0]])).tolist()
    [[-1.0, 1.0]]
    """
    rows: Float64 = log_probs - log_probs.mean(axis=-1, keepdims=True)
    return rows


def entropy(log_probs: Float64) -> Float64:
    """Compute the Shannon entropy -sum p ln p.

    Args:
        log_probs: ln p, float64 [..., K]; rows sum to 1 after exponentiation.

    Returns:
        float64 [...], in nats, within [0, ln K].

    >>> bool(np.isclose(entropy(np.log([0.5, 0.5])), np.log(2)))
    True
    """
    rows = log_probs.reshape(-1, log_probs.shape[-1])
    nats = np.empty(len(rows))
    with np.errstate(under="ignore"):
        for part in _blocks(rows):
            nats[part] = -(np.exp(rows[part]) * rows[part]).sum(axis=-1)
    return np.asarray(np.clip(nats, 0.0, np.log(rows.shape[1])).reshape(log_probs.shape[:-1]))


def log_probabilities(probs: npt.ArrayLike) -> Float64:
    """Compute ln max(p, tiny), the logits that stand for probabilities.

    Args:
        probs: [..., K], within [0, 1].

    Returns:
        float64 [..., K], finite.

    >>> log_probabilities([1.0, 0.0]).round(1).tolist()
    [0.0, -708.4]
    """
    return np.asarray(np.log(np.maximum(np.asarray(probs, dtype=np.float64), TINY)))


def clip_log_probabilities(log_probs: Float64, smallest: float = 1e-12) -> Float64:
    """Clamp log-probabilities so that p stays within [smallest, 1 - smallest].

    The DynaNoise artifact clamps this way before its entropy features.

    Args:
        log_probs: float64 of any shape.
        smallest: probability, in (0, 1/2).

    >>> clip_log_probabilities(np.array([-100.0]), 0.25).round(4).tolist()
    [-1.3863]
    """
    return np.asarray(np.clip(log_probs, np.log(smallest), np.log1p(-smallest)))


def label_log_prob(logits: Float64, labels: Int64, temperature: float) -> Float64:
    """Compute ln softmax(z / T)_y, the label's entry of `log_softmax`.

    Args:
        logits: float64 [N, K].
        labels: int64 [N], in 0..K-1.
        temperature: T > 0.

    Returns:
        float64 [N], in nats.

    >>> label_log_prob(np.array([[4.0, 0.0]]), np.array([0]), 2.0).round(4).tolist()
    [-0.1269]
    """

    @_in_blocks
    def tempered(rows: Float64, labels: Int64) -> Float64:
        rows = rows / temperature
        return np.asarray(take_label(rows, labels) - logsumexp(rows))

    return tempered(logits, labels)


def take_label(values: Float64, labels: Int64) -> Float64:
    """Take the entry of each row's label: values [N, K], labels [N] in 0..K-1, result [N].

    >>> take_label(np.array([[0.1, 0.9], [0.4, 0.6]]), np.array([1, 0])).tolist()
    [0.9, 0.4]
    """
    entries: Float64 = np.take_along_axis(values, labels[:, None], axis=-1)[:, 0]
    return entries


def _without_label(values: Float64, labels: Int64) -> Float64:
    """Rows with the entry of their label removed, shape [N, K-1]."""
    keep = np.arange(values.shape[-1]) != labels[:, None]
    others: Float64 = values[keep].reshape(len(values), values.shape[-1] - 1)
    return others


def logsumexp(values: Float64) -> Float64:
    """Compute ln sum exp over the last axis, [..., K] to [...].

    >>> float(logsumexp(np.log([1.0, 3.0])).round(12)) == round(float(np.log(4)), 12)
    True
    """
    top = row_max(values)[..., None]
    with np.errstate(under="ignore"):
        return np.asarray(top[..., 0] + np.log(np.exp(values - top).sum(axis=-1)))


_OfRows = Callable[[Float64, Int64], Float64]


def _in_blocks(formula: _OfRows) -> _OfRows:
    """Apply a formula on rows [N, K] and labels [N] to some rows at a time."""

    @functools.wraps(formula)
    def blocked(rows: Float64, labels: Int64) -> Float64:
        parts = _blocks(rows)
        if len(parts) <= 1:
            return formula(rows, labels)
        return np.concatenate([formula(rows[part], labels[part]) for part in parts])

    return blocked


@_in_blocks
def scaled_logit(logits: Float64, labels: Int64) -> Float64:
    """Compute phi = z_y - ln sum_{i != y} exp z_i = ln p_y - ln(1 - p_y).

    The statistic of LiRA (Carlini et al., IEEE S&P 2022, section IV-C). Logits and
    log-probabilities give the same result, because they differ by a constant in each row. So it
    does not saturate where p_y rounds to 1 (beyond a gap of 36 in float64, of 17 in float32).

    Args:
        logits: float64 [N, K], logits or log-probabilities.
        labels: int64 [N], in 0..K-1.

    Returns:
        float64 [N], in nats.

    >>> float(scaled_logit(np.array([[50.0, 0.0]]), np.array([0]))[0])
    50.0
    """
    return np.asarray(take_label(logits, labels) - logsumexp(_without_label(logits, labels)))


@_in_blocks
def hinge(logits: Float64, labels: Int64) -> Float64:
    """Compute the hinge statistic z_y - max_{i != y} z_i.

    Args:
        logits: float64 [N, K].
        labels: int64 [N], in 0..K-1.

    Returns:
        float64 [N], in logits; negative where the label is not the top class.

    >>> float(hinge(np.array([[2.0, 0.5, -1.0]]), np.array([0]))[0])
    1.5
    """
    return np.asarray(take_label(logits, labels) - row_max(_without_label(logits, labels)))


def _log_complement(log_probs: Float64) -> Float64:
    """ln(1 - p_i) for each entry, shape [N, K].

    Only the largest entry can be so near 1 that 1 - p loses digits; there the other entries are
    summed instead.
    """
    top = log_probs.argmax(axis=-1)
    with np.errstate(under="ignore", divide="ignore"):
        result = np.log1p(-np.exp(np.minimum(log_probs, 0.0)))
    rest = logsumexp(_without_label(log_probs, top))
    np.put_along_axis(result, top[:, None], rest[:, None], axis=-1)
    return result


@_in_blocks
def modified_entropy(log_probs: Float64, labels: Int64) -> Float64:
    """Compute the modified entropy -(1 - p_y) ln p_y - sum_{i != y} p_i ln(1 - p_i).

    Song & Mittal, USENIX Security 2021, equation (6). Small where the output is certain of the
    true label, large where it is certain of another.

    Args:
        log_probs: ln p, float64 [N, K].
        labels: int64 [N], the true classes, in 0..K-1.

    Returns:
        float64 [N], in nats, >= 0.

    >>> rows = np.log([[0.9, 0.1], [0.1, 0.9]])
    >>> modified_entropy(rows, np.array([0, 0])).round(4).tolist()
    [0.0211, 4.1447]
    """
    log_complement = _log_complement(log_probs)
    with np.errstate(under="ignore"):
        true_class = np.exp(take_label(log_complement, labels)) * take_label(log_probs, labels)
        terms = np.exp(log_probs) * log_complement
    return np.asarray(-true_class - (terms.sum(axis=-1) - take_label(terms, labels)))
