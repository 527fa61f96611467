"""MemGuard (Jia, Salem, Backes, Zhang & Gong, CCS 2019, arXiv:1909.10594)."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import NamedTuple, Self

import numpy as np
import numpy.typing as npt

from dynanoise.core import numerics
from dynanoise.core.defense import Noise
from dynanoise.core.errors import InputError, NotFittedError
from dynanoise.core.numerics import Bools, Float64, Floats, Int64
from dynanoise.core.outputs import Outputs, View
from dynanoise.defenses import memguard_classifier, parameters
from dynanoise.defenses.memguard_classifier import Classifier, Masks

_LABEL = 10.0  # c2, the weight of keeping the label
_STRENGTHS = (1e-1, 1e0, 1e1, 1e2, 1e3, 1e4, 1e5)  # c3, the weight of a small distortion
_STEP, _STEPS = 0.1, 300
_UNDECIDED = 4e-5  # in logits of g: |g - 0.5| <= 1e-5, which the authors' code leaves unchanged
_ROWS = 4096  # rows searched together; more only takes more memory


class _Point(NamedTuple):
    """The state of a search over n rows.

    Attributes:
        logits: [n, K].
        probs: [n, K], their softmax.
        order: [n, K], the r-th most probable class.
        membership: [n], the logit of g.
        masks: active hidden units of g.
    """

    logits: Float64
    probs: Float64
    order: Int64
    membership: Float64
    masks: Masks

    def take(self, rows: Bools) -> _Point:
        return _Point(
            self.logits[rows],
            self.probs[rows],
            self.order[rows],
            self.membership[rows],
            tuple(mask[rows] for mask in self.masks),
        )


def _evaluate(net: Classifier, logits: Float64) -> _Point:
    probs = numerics.softmax(logits)
    order = np.argsort(-probs, axis=-1, kind="stable")
    membership, masks = net.forward(np.take_along_axis(probs, order, axis=-1))
    return _Point(logits, probs, order, membership, masks)


def _gradient(
    net: Classifier, at: _Point, clean: Float64, labels: Int64, strength: float
) -> Float64:
    """Compute the gradient [n, K] of the search objective by z; see `MemGuard`."""
    by_probs = np.empty_like(at.probs)
    sorted_gradient = np.sign(at.membership)[:, None] * net.gradient(at.masks)
    np.put_along_axis(by_probs, at.order, sorted_gradient, axis=-1)
    by_probs += strength * np.sign(at.probs - clean)
    mean = (at.probs * by_probs).sum(axis=-1, keepdims=True)
    gradient: Float64 = at.probs * (by_probs - mean)  # the softmax, backwards

    rows = np.arange(len(labels))
    others = at.logits.copy()
    others[rows, labels] = -np.inf
    rivals = others.argmax(axis=-1)
    lost = others[rows, rivals] > at.logits[rows, labels]
    gradient[rows[lost], rivals[lost]] += _LABEL
    gradient[rows[lost], labels[lost]] -= _LABEL
    return gradient


def _search(
    net: Classifier, start: _Point, labels: Int64, strength: float
) -> tuple[Float64, Bools]:
    """Take normalised gradient steps for every row until it is feasible, stuck or out of steps.

    A row is feasible where the label is kept and g - 0.5 has changed its sign.

    Returns:
        logits: [n, K], the end of feasible searches, the start of the others.
        feasible: bool [n].
    """
    ended, feasible = start.logits.copy(), np.zeros(len(labels), dtype=np.bool_)
    rows, at = np.arange(len(labels)), start
    for _ in range(_STEPS):
        gradient = _gradient(net, at, start.probs[rows], labels[rows], strength)
        # Scaled first: for certain outputs gradients are so small that their squares are 0.
        largest = np.abs(gradient).max(axis=-1, keepdims=True)
        stuck = largest[:, 0] == 0
        unit = gradient / np.where(largest == 0, 1.0, largest)
        unit /= np.sqrt((unit * unit).sum(axis=-1, keepdims=True)) + stuck[:, None]
        at = _evaluate(net, at.logits - _STEP * unit)

        kept = at.logits.argmax(axis=-1) == labels[rows]
        crossed = np.sign(at.membership) != np.sign(start.membership[rows])
        success = kept & crossed
        ended[rows[success]], feasible[rows[success]] = at.logits[success], True
        moving = ~(success | stuck)
        if not moving.all():
            rows, at = rows[moving], at.take(moving)
        if not len(rows):
            break
    return ended, feasible


@dataclass(frozen=True, eq=False)
class MemGuard(parameters.ByValue):
    """Output at the decision boundary of a membership classifier, with the model's label.

    `fit` trains g, a K-256-128-64-1 network, to tell the members' sorted probabilities from the
    reference set's. For a query with logits z, p = softmax(z) and label y, a search for z'
    minimises |logit of g| + 10 relu(max_{j != y} z'_j - z'_y) + c3 ||softmax(z') - p||_1 by steps
    of length 0.1 against the gradient, at most 300, and stops when the label is kept and g - 0.5
    has changed its sign. It is repeated with c3 = 0.1, 1, ... 1e5 while it succeeds; p' is its last
    success. If g(p') is nearer to 0.5 than g(p), the output is p' with probability
    min(epsilon / d, 1), d = ||p' - p||_1, else p. So the expected distortion is at most epsilon
    for every query.

    One-time randomness: the choice between p' and p is a hash of the query's logits (less their
    maximum) under ``seed`` and the weights of g, so that repeated queries get the same output in
    any batch. The noise argument is not used: with newly drawn noise, repeated queries would
    reveal both p and p'.

    Differences from the authors' code: g always sorts its input (there the first order is kept
    during the search); g is fitted by Adam until its loss stands still (there plain gradient
    descent for 400 epochs), with the smaller side repeated.

    Threat model: the paper's, an attacker who sees probabilities and classifies them by a model
    trained on undefended outputs; g is secret. Not covered: attacks that use labels only (labels
    are as without a defense), attacks trained on defended outputs or with the true label, and
    attackers who have g, for p' lies just across g = 0.5 and can be read backwards. Where the top
    logit leads by more than 30 to 40 the search does not arrive in 300 steps, and the output is p.

    Args:
        epsilon: budget of the mean L1 distortion, >= 0; from 2 on it does not bind.
        seed: an integer of 0 or more, for g's training and the one-time choices. It determines
            outputs, so it is part of the Result; an attacker with the seed, g and a query's logits
            knows the choice.
        epochs: largest number of epochs to train g.
        weights: float64, parameters of g from `fit`, see `Classifier`; None before.

    Raises:
        InputError: if a parameter is out of range, the logits are not finite float32 or float64,
            or have another number of classes than the fitted one.
        NotFittedError: if called before `fit`.

    >>> generator = np.random.default_rng(0)
    >>> def outputs(lead: float, use: int, first: int) -> Outputs:
    ...     rows = generator.normal(0, 1, (1, 200, 1, 3)) + [lead, 0, 0]
    ...     return Outputs(rows, np.zeros(200, int), np.arange(200) + first, np.full((1, 200), use))
    >>> fitted = MemGuard(epsilon=0.5).fit(View(outputs(6, 1, 0), outputs(2, 0, 200)))
    >>> rows = np.array([[7.0, 0.0, 0.5], [1.0, 2.0, 0.0]])  # like a member, like a non-member
    >>> (fitted.membership(rows) > 0.5).tolist()
    [True, False]
    >>> (np.abs(fitted(rows) - MemGuard(0.0, 0, 400, fitted.weights)(rows)).sum(1) > 0).tolist()
    [True, True]
    """

    epsilon: float = 1.0
    seed: int = 0
    epochs: int = 400
    weights: Float64 | None = None
    keeps_labels = True
    repeatable = True

    def __post_init__(self) -> None:
        checked = {
            "epsilon": parameters.number("epsilon", self.epsilon, least=0),
            "seed": parameters.count("seed", self.seed, least=0),
            "epochs": parameters.count("epochs", self.epochs),
        }
        for name, value in checked.items():
            object.__setattr__(self, name, value)
        if self.weights is not None:
            fitted = parameters.constant(self.weights)
            memguard_classifier.classes_of(fitted)
            object.__setattr__(self, "weights", fitted)

    @property
    def invertible(self) -> bool:
        """True only for epsilon 0, where the output is p."""
        return self.epsilon == 0

    def fit(self, view: View) -> Self:
        """Train g on the original inputs of ``view.members`` and ``view.reference``.

        Raises:
            InputError: if either is empty.
        """

        def ranked(outputs: Outputs) -> Float64:
            logits, _ = numerics.as_logits(outputs.logits[0, :, 0])
            return np.asarray(np.sort(numerics.softmax(logits), axis=-1)[:, ::-1])

        members, others = ranked(view.members), ranked(view.reference)
        weights = memguard_classifier.train(members, others, self.seed, self.epochs)
        return replace(self, weights=weights)

    def membership(self, logits: npt.ArrayLike) -> Float64:
        """Compute g, the membership classifier's probability of a member.

        Args:
            logits: float32 or float64 [..., K].

        Returns:
            float64 [...], in [0, 1].
        """
        rows, _ = numerics.as_logits(logits)
        scores = _evaluate(self._net(rows), rows.reshape(-1, rows.shape[-1])).membership
        return np.asarray(0.5 * (1.0 + np.tanh(0.5 * scores))).reshape(rows.shape[:-1])

    def propose(self, logits: npt.ArrayLike) -> tuple[Float64, Float64]:
        """Search for p' and compute the probability of giving it.

        Args:
            logits: float32 or float64 [..., K].

        Returns:
            proposed: float64 [..., K], p'.
            chances: float64 [...], in [0, 1]; chance x ||p' - p||_1 <= epsilon in every row, and 0
                where p' is not nearer to g = 0.5 than p.
        """
        rows, _ = numerics.as_logits(logits)
        net = self._net(rows)
        flat = numerics.shift(rows).reshape(-1, rows.shape[-1])
        blocks = [self._propose(net, flat[i : i + _ROWS]) for i in range(0, len(flat), _ROWS)]
        if not blocks:
            return rows, np.zeros(rows.shape[:-1])
        proposed, chances = (np.concatenate(parts) for parts in zip(*blocks, strict=True))
        return proposed.reshape(rows.shape), chances.reshape(rows.shape[:-1])

    def _propose(self, net: Classifier, rows: Float64) -> tuple[Float64, Float64]:
        labels = rows.argmax(axis=-1)
        with np.errstate(under="ignore"):
            clean = _evaluate(net, rows)
            best = rows.copy()
            left = np.flatnonzero(np.abs(clean.membership) > _UNDECIDED)
            for strength in _STRENGTHS:
                start = _evaluate(net, rows[left])
                ended, feasible = _search(net, start, labels[left], strength)
                left = left[feasible]
                best[left] = ended[feasible]
            end = _evaluate(net, best)
            proposed = numerics.favour(end.probs, labels)
            distortion = np.abs(proposed - clean.probs).sum(axis=-1)
            nearer = np.abs(end.membership) < np.abs(clean.membership)
            allowed = np.minimum(self.epsilon, distortion) / np.where(nearer, distortion, 1.0)
        return proposed, np.where(nearer, allowed, 0.0)

    def _chosen(self, rows: Float64) -> Float64:
        """Hash each row of shifted logits [n, K] to a number in [0, 1)."""
        assert self.weights is not None
        secret = hashlib.blake2b(f"dynanoise/memguard/{self.seed}/".encode(), digest_size=32)
        secret.update(self.weights.astype("<f8").tobytes())
        key = secret.digest()
        raw = [
            hashlib.blake2b(row.tobytes(), key=key, digest_size=8).digest()
            for row in (rows + 0.0).astype("<f8")  # -0.0 is 0.0
        ]
        numbers = np.frombuffer(b"".join(raw), dtype="<u8") >> np.uint64(11)
        return np.asarray(numbers * 2.0**-53)

    def __call__(self, logits: npt.ArrayLike, noise: Noise | None = None) -> Floats:
        """Compute defended probabilities; the noise is not used.

        Args:
            logits: float32 or float64 [..., K], finite.
            noise: ignored.

        Returns:
            Probabilities [..., K] in the logits' dtype.
        """
        rows, dtype = numerics.as_logits(logits)
        proposed, chances = self.propose(rows)
        shifted = numerics.shift(rows)
        chosen = self._chosen(shifted.reshape(-1, rows.shape[-1])).reshape(chances.shape)
        probs = np.where((chosen < chances)[..., None], proposed, numerics.softmax(rows))
        return numerics.favour(numerics.narrow(probs, dtype), rows.argmax(axis=-1))

    def undo(self, log_probs: Float64) -> Float64:
        """Centre ln of the outputs [..., K]: where the output is p', p is lost."""
        self._net(log_probs)
        return numerics.centred(log_probs)

    def _net(self, rows: Float64) -> Classifier:
        if self.weights is None:
            raise NotFittedError(
                "MemGuard has no membership classifier yet.",
                "Call fit(view) with members and held-out non-members and use its result.",
            )
        classes = memguard_classifier.classes_of(self.weights)
        if rows.shape[-1] != classes:
            raise InputError(
                f"logits have shape {rows.shape}; MemGuard was fitted to {classes} classes.",
                "Fit it to this model.",
            )
        return Classifier(self.weights)


DEFENSES = {"memguard": MemGuard}
