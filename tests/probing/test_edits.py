"""Paths of texts, on models that add up a weight for each word."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dynanoise.core.numerics import Float64
from dynanoise.core.queries import Inputs
from dynanoise.probing.edits import EditPaths, edit_paths
from dynanoise.probing.paths import rank_rivals

WORDS, CLASSES = 30, 2


@dataclass(frozen=True)
class BagOfWords:
    """Logits that are sums of a weight for each word and class; padding counts nothing."""

    weights: Float64

    def __call__(self, inputs: Inputs) -> Float64:
        return np.asarray(self.weights[inputs].sum(axis=1))


def make() -> tuple[BagOfWords, Inputs, EditPaths]:
    generator = np.random.default_rng(0)
    weights = generator.normal(size=(WORDS, CLASSES))
    weights[0] = 0
    texts = generator.integers(1, WORDS, (20, 8)).astype(np.int32)
    texts[:, 6:] = 0
    texts[0, 1:] = 0  # one word alone
    model = BagOfWords(weights)
    labels = model(texts).argmax(axis=1)
    rivals = rank_rivals(model(texts), labels, 3)
    share = np.ones((1, len(texts)))
    vocabulary = np.arange(1, WORDS)
    paths = edit_paths(texts, labels, rivals, [model], share, vocabulary, classes=CLASSES, seed=0)
    return model, texts, paths


def test_a_position_is_the_change_of_the_gap_that_additive_models_show() -> None:
    model, texts, paths = make()
    rows, first = np.arange(len(texts)), np.zeros(len(texts), dtype=int)
    labels = model(texts).argmax(axis=1)

    def gaps(position: float) -> Float64:
        logits = model(paths.inputs(rows, first, np.full(len(rows), position)))
        return np.asarray(logits[rows, labels] - logits[rows, 1 - labels])

    np.testing.assert_allclose(
        gaps(0.0), model(texts)[rows, labels] - model(texts)[rows, 1 - labels]
    )
    steps = [gaps(position) for position in (-9.0, -3.0, -1.0, 0.0, 1.0, 3.0, 9.0)]
    assert (np.diff(steps, axis=0) >= -1e-9).all()
    # No change beyond the position, and near it while there are edits left.
    for position in (-3.0, 3.0):
        change = (gaps(position) - gaps(0.0)) / position
        assert (change <= 1 + 1e-9).all() and np.median(change) > 0.5


def test_texts_stay_texts() -> None:
    _, texts, paths = make()
    rows = np.arange(len(texts))
    for path in range(paths.count):
        for position in (-20.0, -2.0, 2.0, 20.0):
            of_path, places = np.full(len(rows), path), np.full(len(rows), position)
            edited = paths.inputs(rows, of_path, places)
            assert edited.dtype == texts.dtype and edited.shape == texts.shape
            lengths = (edited > 0).sum(axis=1)
            assert (lengths >= 1).all() and edited.max() < WORDS
            # Padding comes last.
            assert all((row[:size] > 0).all() for row, size in zip(edited, lengths, strict=True))
    assert np.array_equal(texts, make()[1])  # the records are not edited in place


def test_paths_to_one_rival_differ() -> None:
    _, texts, paths = make()
    rows, far = np.arange(len(texts)), np.full(len(texts), -4.0)
    first, second = (paths.inputs(rows, np.full(len(rows), path), far) for path in (0, 1))
    assert (first != second).any(axis=1).mean() > 0.5
