"""MemGuard's g: the defender's membership classifier, with its input gradient, in NumPy."""

from __future__ import annotations

import itertools
import warnings

import numpy as np
import numpy.typing as npt

from dynanoise.core.errors import InputError
from dynanoise.core.numerics import Float64
from dynanoise.core.seeding import derive

HIDDEN = (256, 128, 64)
"""Widths of the hidden layers (Jia et al. 2019)."""

Masks = tuple[npt.NDArray[np.bool_], ...]

# BLAS sums in another order for another number of rows, so that the last bits of an output would
# depend on the rest of its batch, and a search by signs of differences makes large steps of last
# bits. All products are therefore computed in blocks of one shape, small enough for BLAS to use one
# thread: for products of this size threads cost more than they save.
_BLOCK, _ENTRIES = 8, 1 << 15


def _product(rows: Float64, matrix: Float64) -> Float64:
    """Compute ``rows @ matrix``, each row's bits independent of the other rows and their number.

    >>> _product(np.array([[1.0, 2.0]]), np.array([[3.0], [4.0]])).tolist()
    [[11.0]]
    """
    (count, inner), outer = rows.shape, matrix.shape[1]
    blocks = -(-count // _BLOCK)
    padded = np.zeros((blocks * _BLOCK, inner))
    padded[:count] = rows
    padded = padded.reshape(blocks, _BLOCK, inner)
    step = max(1, _ENTRIES // outer)
    product: Float64 = padded[..., :step] @ matrix[:step]
    for start in range(step, inner, step):
        product += padded[..., start : start + step] @ matrix[start : start + step]
    return product.reshape(blocks * _BLOCK, outer)[:count]


def classes_of(weights: Float64) -> int:
    """Compute K, the number of inputs of a network, from its parameters.

    Args:
        weights: float64 [P], as for `Classifier`.

    Raises:
        InputError: if P fits no K >= 2, or a parameter is not finite.

    >>> classes_of(np.zeros(10 * 256 + 256 + 256 * 128 + 128 + 128 * 64 + 64 + 64 + 1))
    10
    """
    inner = (*HIDDEN, 1)
    fixed = HIDDEN[0] + sum(wide * (narrow + 1) for narrow, wide in itertools.pairwise(inner))
    classes, rest = divmod(weights.size - fixed, HIDDEN[0])
    if weights.ndim != 1 or rest or classes < 2 or not np.isfinite(weights).all():
        raise InputError(
            f"weights of shape {weights.shape} are not the finite parameters of a network with "
            f"hidden layers of {HIDDEN}.",
            "Pass the weights that fit(view) computed, unchanged.",
        )
    return classes


class Classifier:
    """A K-256-128-64-1 network with ReLU between the layers, whose output is the logit of g.

    Args:
        weights: float64 [P], all parameters: of each layer the matrix [in, out] in C order, then
            the bias [out].

    Raises:
        InputError: if the parameters fit no network; see `classes_of`.
    """

    def __init__(self, weights: Float64) -> None:
        widths = (classes_of(weights), *HIDDEN, 1)
        self.layers: list[tuple[Float64, Float64]] = []
        start = 0
        for wide, narrow in itertools.pairwise(widths):
            middle, end = start + wide * narrow, start + (wide + 1) * narrow
            matrix = weights[start:middle].reshape(wide, narrow)
            self.layers.append((matrix, weights[middle:end]))
            start = end

    def forward(self, inputs: Float64) -> tuple[Float64, Masks]:
        """Compute the logit of g.

        Args:
            inputs: float64 [n, K], probabilities, largest first.

        Returns:
            membership: float64 [n], ln(g / (1 - g)).
            masks: bool [n, width] for each hidden layer, the active units.
        """
        values, masks = inputs, []
        for matrix, bias in self.layers[:-1]:
            values = _product(values, matrix) + bias
            masks.append(values > 0)
            values = np.maximum(values, 0.0)
        matrix, bias = self.layers[-1]
        return (_product(values, matrix) + bias)[:, 0], tuple(masks)

    def gradient(self, masks: Masks) -> Float64:
        """Compute the derivative [n, K] of the logit by each input, from the masks of `forward`."""
        back = np.broadcast_to(self.layers[-1][0][:, 0], masks[-1].shape)
        for (matrix, _), mask in zip(self.layers[-2::-1], masks[::-1], strict=True):
            back = _product(back * mask, matrix.T)
        return back


def train(members: Float64, others: Float64, seed: int, epochs: int) -> Float64:
    """Train the network that tells members (1) from non-members (0).

    The smaller side is repeated until both have equal size, so that g = 0.5 means equal chances.
    scikit-learn's MLPClassifier with its defaults: Adam at 0.001, batches of at most 200, until
    the loss stands still for 10 epochs.

    Args:
        members: float64 [n, K], probabilities, largest first.
        others: float64 [m, K], the same of known non-members.
        seed: an integer of 0 or more, for the initial weights and the order of the batches.
        epochs: largest number of epochs.

    Returns:
        float64 [P], parameters for `Classifier`.

    Raises:
        InputError: if either side is empty.
    """
    # Imported here so that a fitted defense works without scikit-learn.
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.neural_network import MLPClassifier
    from threadpoolctl import threadpool_limits

    if not len(members) or not len(others):
        raise InputError(
            f"The view has {len(members)} members and {len(others)} reference records.",
            "Give at least one of each, better hundreds.",
        )
    size, classes = max(len(members), len(others)), members.shape[1]
    rows = np.concatenate([np.resize(side, (size, classes)) for side in (members, others)])
    truth = np.repeat([1, 0], size)
    network = MLPClassifier(
        HIDDEN, max_iter=epochs, random_state=derive(seed, "memguard", "network") % 2**32
    )
    # Threads make such small products slower, on a busy machine forty times.
    with warnings.catch_warnings(), threadpool_limits(1):
        # Stopping at the last epoch is intended.
        warnings.simplefilter("ignore", ConvergenceWarning)
        network.fit(rows, truth)
    flat = [
        part.ravel()
        for pair in zip(network.coefs_, network.intercepts_, strict=True)
        for part in pair
    ]
    return np.concatenate(flat)
