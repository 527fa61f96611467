"""MemGuard written a second time, one query and one step at a time, and models to try it on."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
from scipy import special

from dynanoise.core.numerics import Float64
from dynanoise.core.outputs import Outputs, View
from dynanoise.defenses.memguard import MemGuard

CLASSES = 5
Layers = list[tuple[Float64, Float64]]


def logits(lead: float, count: int, seed: int, classes: int = CLASSES) -> Float64:
    """Rows whose top class leads by about ``lead``, any class."""
    generator = np.random.default_rng(seed)
    rows = generator.normal(0, 1.5, (count, classes))
    rows[np.arange(count), generator.integers(0, classes, count)] += lead
    return rows


def outputs(rows: Float64, use: int, first: int = 0) -> Outputs:
    ids = np.arange(len(rows)) + first
    return Outputs(rows[None, :, None], np.zeros(len(rows), int), ids, np.full((1, len(rows)), use))


def fit(members: Float64, others: Float64, **parameters: Any) -> MemGuard:
    return MemGuard(**parameters).fit(View(outputs(members, 1), outputs(others, 0, 10_000)))


FITTED = fit(logits(7, 300, 0), logits(3, 300, 1), epochs=60)
ROWS = np.concatenate([logits(7, 24, 2), logits(3, 24, 3), logits(0, 12, 4)])


def layers(defense: MemGuard) -> Layers:
    """Matrices and biases, cut from the flat parameters by hand."""
    assert defense.weights is not None
    flat, result = iter(defense.weights.tolist()), []
    for wide, narrow in itertools.pairwise([CLASSES, 256, 128, 64, 1]):
        matrix = np.reshape([next(flat) for _ in range(wide * narrow)], (wide, narrow))
        result.append((matrix, np.array([next(flat) for _ in range(narrow)])))
    assert not list(flat)
    return result


def wild() -> tuple[MemGuard, Float64]:
    """A g of large random weights, and rows with two leaders: some searches lose the label."""
    generator = np.random.default_rng(5)
    parts: list[Float64] = []
    for wide, narrow in itertools.pairwise([CLASSES, 256, 128, 64, 1]):
        parts.append(generator.normal(0, 3 * np.sqrt(2 / wide), wide * narrow))
        parts.append(generator.normal(0, 1, narrow))
    weights, rows = np.concatenate(parts), logits(0, 40, 1)
    generator = np.random.default_rng(1)
    leaders = generator.permuted(np.tile(np.arange(CLASSES), (40, 1)), axis=1)
    each = np.arange(40)
    rows[each, leaders[:, 0]] += 6
    rows[each, leaders[:, 1]] = rows[each, leaders[:, 0]] - generator.uniform(0, 0.3, 40)
    scores = [g_and_jacobian(row, layers(MemGuard(weights=weights)))[0] for row in rows]
    weights[-1] -= np.median(scores)  # half of them members
    return MemGuard(weights=weights), rows


def loss_of(row: Float64, clean: Float64, label: int, strength: float, network: Layers) -> float:
    """The published loss of one row, written out."""
    values = np.array(sorted(special.softmax(row), reverse=True))
    for matrix, bias in network[:-1]:
        values = np.clip(values @ matrix + bias, 0, None)
    membership = float((values @ network[-1][0] + network[-1][1])[0])
    rival = max(value for j, value in enumerate(row) if j != label)
    distortion = np.abs(special.softmax(row) - clean).sum()
    return float(abs(membership) + 10 * max(rival - row[label], 0) + strength * distortion)


def g_and_jacobian(row: Float64, network: Layers) -> tuple[float, Float64]:
    """The logit of g for one row, and its derivative by the row's logits, as matrix products."""
    probs = special.softmax(row)
    permutation = np.eye(len(row))[np.lexsort((np.arange(len(row)), -probs))]
    chain = permutation @ (np.diag(probs) - np.outer(probs, probs))
    values = permutation @ probs
    for matrix, bias in network[:-1]:
        before = matrix.T @ values + bias
        values = np.where(before > 0, before, 0)
        chain = np.where(before > 0, 1, 0)[:, None] * (matrix.T @ chain)
    matrix, bias = network[-1]
    return float((matrix.T @ values + bias)[0]), (matrix.T @ chain)[0]


def reference_proposal(row: Float64, network: Layers) -> Float64:
    """p' of one row, after the authors' published program: one query and one step at a time."""
    label, clean = int(np.argmax(row)), special.softmax(row)
    first, first_slope = g_and_jacobian(row, network)
    best, strength = clean, 0.1
    while strength <= 1e5:
        moved, success = row.copy(), False
        membership, slope = first, first_slope
        for _ in range(300):
            probs = special.softmax(moved)
            gradient = np.sign(membership) * slope
            softmax_jacobian = np.diag(probs) - np.outer(probs, probs)
            gradient = gradient + strength * softmax_jacobian @ np.sign(probs - clean)
            rival = max((j for j in range(len(row)) if j != label), key=lambda j: moved[j])
            if moved[rival] > moved[label]:
                gradient[rival] += 10
                gradient[label] -= 10
            moved = moved - 0.1 * gradient / np.linalg.norm(gradient)
            membership, slope = g_and_jacobian(moved, network)
            if np.argmax(moved) == label and membership * first <= 0:
                success = True
                break
        if not success:
            break
        best, strength = special.softmax(moved), strength * 10
    return np.asarray(best)
