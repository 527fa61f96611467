"""Paths of texts: words that are deleted, or swapped for other words of the vocabulary."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from dynanoise.core.numerics import Float64, Floats, Int64
from dynanoise.core.queries import Inputs, QueryFunction
from dynanoise.core.seeding import derive

EDITS = 16
"""Edits of one path, in each of its two senses, at most."""

SWAPS = 2
"""Words that are tried in the place of each word of a text."""

PADDING = 0
"""Token id that fills up texts."""


@dataclass(frozen=True, eq=False)
class EditPaths:
    """Texts after the first few of a list of edits, in the order of their effect.

    Attributes:
        records: token ids int32 [N, L], padded with 0 at the end.
        places: int64 [N, R, 2, E], positions of the words to edit: first to lower the true label's
            logit, then to raise it.
        words: int64 [N, R, 2, E], the token to put there; 0 deletes the word.
        effects: float64 [N, R, 2, E], the change of the gap after this edit and all before it, as
            expected from shadow models, in logits; infinite where there is no edit.

    >>> records = np.array([[5, 6, 7, 0]], dtype=np.int32)
    >>> paths = EditPaths(records, np.array([[[[1, 0], [2, 0]]]]), np.array([[[[0, 9], [8, 0]]]]),
    ...     np.array([[[[1.0, 3.0], [2.0, np.inf]]]]))
    >>> zero = np.zeros(4, dtype=int)
    >>> paths.inputs(zero, zero, np.array([0.0, -1.5, -3.5, 2.5])).tolist()
    [[5, 6, 7, 0], [5, 7, 0, 0], [9, 7, 0, 0], [5, 6, 8, 0]]
    """

    records: Inputs
    places: Int64
    words: Int64
    effects: Float64

    @property
    def count(self) -> int:
        """R."""
        return int(self.places.shape[1])

    def inputs(self, rows: Int64, paths: Int64, positions: Float64) -> Inputs:
        """See `paths.Paths`: as many edits as change the gap by at most the position."""
        texts = self.records[rows]
        sense = (positions > 0).astype(np.int64)
        index = np.arange(len(rows))
        for edit in range(self.places.shape[-1]):
            place, word, effect = (
                part[rows, paths, sense, edit] for part in (self.places, self.words, self.effects)
            )
            within = effect <= np.abs(positions)
            texts[index[within], place[within]] = word[within]
        # Words close ranks; padding goes to the end.
        order = np.argsort(texts == PADDING, axis=1, kind="stable")
        return np.asarray(np.take_along_axis(texts, order, axis=1))


def edit_paths(
    records: Inputs,
    labels: Int64,
    rivals: Int64,
    models: Sequence[QueryFunction],
    weights: Floats,
    vocabulary: Int64,
    *,
    classes: int,
    seed: int,
) -> EditPaths:
    """Make paths of edits, ordered by their effect on shadow models.

    Every word is deleted, and swapped for `SWAPS` words of the vocabulary, one at a time; the
    change of the models' mean gap between label and rival is the edit's effect. A path has the edit
    of greatest effect in each place. Where a rival repeats, half of the places, drawn at random,
    are left out.

    Args:
        records: token ids int32 [N, L].
        labels: int64 [N], true classes.
        rivals: int64 [N, R], see `paths.rank_rivals`.
        models: S shadow models, from texts to logits.
        weights: float [S, N], the weight of each model in the mean.
        vocabulary: int64 [V], words to swap in.
        classes: K.
        seed: seed of words and of places that are left out.

    Returns:
        R paths for each record.
    """
    count, length = records.shape
    generator = np.random.default_rng(derive(seed, "words"))
    tried = generator.choice(vocabulary, (1 + SWAPS, count, length))
    tried[0] = PADDING
    before = _mean_logits(models, weights, records)
    changes = np.zeros((1 + SWAPS, length, count, classes))
    for kind in range(1 + SWAPS):
        for place in range(length):
            rows = np.flatnonzero(records[:, place] != PADDING)
            if not rows.size:
                continue
            texts = records[rows]
            texts[:, place] = tried[kind, rows, place]
            order = np.argsort(texts == PADDING, axis=1, kind="stable")
            edited = np.take_along_axis(texts, order, axis=1)
            after = _mean_logits(models, weights[:, rows], edited)
            changes[kind, place, rows] = after - before[rows]
    paths, edits = rivals.shape[1], min(EDITS, length)
    places = np.zeros((count, paths, 2, edits), dtype=np.int64)
    words, effects = places.copy(), np.full(places.shape, np.inf)
    rows = np.arange(count)
    for path in range(paths):
        gaps = changes[:, :, rows, labels] - changes[:, :, rows, rivals[:, path]]
        kept = np.ones((length, count), dtype=bool)
        if path >= classes - 1:
            kept = np.random.default_rng(derive(seed, "places", path)).random(kept.shape) < 0.5
        kept &= (records != PADDING).T
        for sense, sign in enumerate((-1.0, 1.0)):
            best = (sign * gaps).argmax(axis=0)
            effect = np.take_along_axis(sign * gaps, best[None], axis=0)[0]
            effect = np.where(kept & (effect > 0), effect, 0.0)
            order = np.argsort(-effect, axis=0, kind="stable")[:edits].T
            of_order = effect[order, rows[:, None]]
            places[:, path, sense] = order
            words[:, path, sense] = tried[best[order, rows[:, None]], rows[:, None], order]
            # At least one word stays.
            last = np.arange(edits) < (records != PADDING).sum(axis=1, keepdims=True) - 1
            effects[:, path, sense] = np.where(
                (of_order > 0) & last, np.cumsum(of_order, axis=1), np.inf
            )
    return EditPaths(records, places, words, effects)


def _mean_logits(models: Sequence[QueryFunction], weights: Floats, texts: Inputs) -> Float64:
    parts = (weight[:, None] * model(texts) for model, weight in zip(models, weights, strict=True))
    return np.asarray(sum(parts), dtype=np.float64)
