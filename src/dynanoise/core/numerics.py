"""Formulas on rows of logits and of log-probabilities; the only place that knows an epsilon.

Everything here is float64 inside, works on the last axis of arrays of any leading shape, and never
writes to its input.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from dynanoise.core.errors import InputError

Floats = npt.NDArray[np.floating[Any]]
Float64 = npt.NDArray[np.float64]
Int8 = npt.NDArray[np.int8]
Bools = npt.NDArray[np.bool_]
Int64 = npt.NDArray[np.int64]

TINY = float(np.finfo(np.float64).tiny)
"""The smallest normal float64, about 2.2e-308: what a probability of 0 counts as in a logarithm."""

SMALLEST_SD = 1e-6
"""The least standard deviation a fitted Gaussian has, for values that are all equal; in nats."""

_LOWEST = float(np.finfo(np.float64).min)
_FLOATS = (np.dtype(np.float32), np.dtype(np.float64))


def as_array(values: npt.ArrayLike, name: str) -> npt.NDArray[Any]:
    """An array of numbers or booleans.

    Raises:
        InputError: if it cannot be made one: ragged lists, text, tensors that need a gradient.
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
    """Checked logits as float64, and the dtype they came in.

    Args:
        values: float32 or float64, shape [..., K] with K >= 2.
        name: what to call the array in messages.

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


def shift(logits: Float64) -> Float64:
    """Logits minus their row's maximum: at most 0, finite for any finite float64 input.

    >>> shift(np.array([1e308, -1e308])).tolist()
    [0.0, -1.7976931348623157e+308]
    """
    with np.errstate(over="ignore"):
        shifted: Float64 = logits - logits.max(axis=-1, keepdims=True)
    np.maximum(shifted, _LOWEST, out=shifted)
    return shifted


def softmax(logits: Float64, temperature: float = 1.0) -> Float64:
    """softmax(z / T), shape [..., K].

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
    """How far the largest entry is ahead of the second, in logits: [..., K] to [...].

    >>> top_gaps(np.array([[3.0, 1.0, 0.5]])).tolist()
    [2.0]
    """
    top = np.partition(rows, -2, axis=-1)[..., -2:]
    return np.asarray(top[..., 1] - top[..., 0])


def narrow(probs: Float64, dtype: np.dtype[Any]) -> npt.NDArray[Any]:
    """A copy in the caller's dtype; what is too small for it becomes subnormal or 0.

    >>> narrow(np.array([1.0, 1e-60]), np.dtype(np.float32)).tolist()
    [1.0, 0.0]
    """
    with np.errstate(under="ignore"):
        return probs.astype(dtype)


def favour(probs: npt.NDArray[Any], winners: Int64) -> npt.NDArray[Any]:
    """The same rows, with ``winners`` as their argmax even where rounding made a tie.

    A temperature brings probabilities closer than one unit in the last place: float32 logits
    [1, 1.0000001] at T = 10 round to equal answers, and the label would move to the first entry.
    The winner of such a row is raised by one unit in the last place.

    Args:
        probs: [..., K], changed in place.
        winners: int64 [...].

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
    """The same rows with the winner's entry and the largest one exchanged.

    Args:
        probs: [..., K], changed in place. Of several largest entries the first is meant.
        winners: int64 [...].

    >>> exchange_top(np.array([[0.2, 0.7, 0.1]]), np.array([0])).tolist()
    [[0.7, 0.2, 0.1]]
    """
    places = np.stack([winners, probs.argmax(axis=-1)], axis=-1)
    pair = np.take_along_axis(probs, places, axis=-1)
    np.put_along_axis(probs, places, pair[..., ::-1], axis=-1)
    return probs


def log_softmax(logits: Float64, temperature: float = 1.0) -> Float64:
    """ln softmax(z / T), shape [..., K], finite.

    >>> np.exp(log_softmax(np.log([1.0, 3.0]))).round(12).tolist()
    [0.25, 0.75]
    """
    with np.errstate(over="ignore", under="ignore"):
        shifted = np.maximum(shift(logits) / temperature, _LOWEST)
        # The subtrahend is in [0, ln K]: beside the lowest float64 it rounds away.
        return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True)))


def centred(log_probs: Float64) -> Float64:
    """Rows minus their mean: what log-probabilities tell of logits, shape [..., K].

    >>> centred(np.array([[1.0, 3.0]])).tolist()
    [[-1.0, 1.0]]
    """
    rows: Float64 = log_probs - log_probs.mean(axis=-1, keepdims=True)
    return rows


def entropy(log_probs: Float64) -> Float64:
    """Shannon entropy -sum p ln p in nats, shape [...], within [0, ln K].

    Args:
        log_probs: ln p, rows that sum to 1 after exponentiation.

    >>> bool(np.isclose(entropy(np.log([0.5, 0.5])), np.log(2)))
    True
    """
    with np.errstate(under="ignore"):
        nats = -(np.exp(log_probs) * log_probs).sum(axis=-1)
    return np.asarray(np.clip(nats, 0.0, np.log(log_probs.shape[-1])))


def log_probabilities(probs: npt.ArrayLike) -> Float64:
    """ln max(p, tiny): the logits of an answer that is already probabilities.

    >>> log_probabilities([1.0, 0.0]).round(1).tolist()
    [0.0, -708.4]
    """
    return np.asarray(np.log(np.maximum(np.asarray(probs, dtype=np.float64), TINY)))


def clip_log_probabilities(log_probs: Float64, smallest: float = 1e-12) -> Float64:
    """ln of p clamped to [smallest, 1 - smallest], as the paper's artifact clamps it."""
    return np.asarray(np.clip(log_probs, np.log(smallest), np.log1p(-smallest)))


def take_label(values: Float64, labels: Int64) -> Float64:
    """The entry of each row's label: values [N, K], labels [N] in 0..K-1, result [N]."""
    taken: Float64 = np.take_along_axis(values, labels[:, None], axis=-1)[:, 0]
    return taken


def _without_label(values: Float64, labels: Int64) -> Float64:
    """Rows with the entry of their label removed, shape [N, K-1]."""
    keep = np.arange(values.shape[-1]) != labels[:, None]
    others: Float64 = values[keep].reshape(len(values), values.shape[-1] - 1)
    return others


def logsumexp(values: Float64) -> Float64:
    """ln sum exp over the last axis, shape [...]."""
    top = values.max(axis=-1, keepdims=True)
    with np.errstate(under="ignore"):
        return np.asarray(top[..., 0] + np.log(np.exp(values - top).sum(axis=-1)))


def scaled_logit(logits: Float64, labels: Int64) -> Float64:
    """phi = z_y - ln sum_{i != y} exp z_i = ln p_y - ln(1 - p_y), shape [N].

    The statistic of LiRA (Carlini et al. 2022, section IV-C). Computed from logits or from
    log-probabilities, which differ by a constant a row, so it does not saturate where p_y rounds
    to 1 (beyond a gap of 36 in float64, of 17 in float32).

    >>> float(scaled_logit(np.array([[50.0, 0.0]]), np.array([0]))[0])
    50.0
    """
    return np.asarray(take_label(logits, labels) - logsumexp(_without_label(logits, labels)))


def hinge(logits: Float64, labels: Int64) -> Float64:
    """z_y - max_{i != y} z_i, shape [N].

    >>> float(hinge(np.array([[2.0, 0.5, -1.0]]), np.array([0]))[0])
    1.5
    """
    return np.asarray(take_label(logits, labels) - _without_label(logits, labels).max(axis=-1))


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


def modified_entropy(log_probs: Float64, labels: Int64) -> Float64:
    """-(1 - p_y) ln p_y - sum_{i != y} p_i ln(1 - p_i) in nats, shape [N], >= 0.

    Song & Mittal, USENIX Security 2021, equation (6). Small when the answer is sure of the true
    label, large when it is sure of another.

    >>> rows = np.log([[0.9, 0.1], [0.1, 0.9]])
    >>> modified_entropy(rows, np.array([0, 0])).round(4).tolist()
    [0.0211, 4.1447]
    """
    log_complement = _log_complement(log_probs)
    with np.errstate(under="ignore"):
        own = np.exp(take_label(log_complement, labels)) * take_label(log_probs, labels)
        terms = np.exp(log_probs) * log_complement
    return np.asarray(-own - (terms.sum(axis=-1) - take_label(terms, labels)))
