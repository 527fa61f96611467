"""What an attacker gets to see: outputs behind a defense, with membership taken away."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import numpy.typing as npt

from dynanoise.core import numerics
from dynanoise.core.defense import Defense, Noise
from dynanoise.core.errors import QueryBudgetError
from dynanoise.core.numerics import Float64
from dynanoise.core.observation import Observation, ShadowObservations
from dynanoise.core.outputs import Outputs
from dynanoise.defenses.temperature import undefended

NoiseSource = Callable[[str], Noise]
"""Makes the noise for a purpose; called again for the same purpose it makes the same noise."""

_BLOCK_NUMBERS = 1 << 15
"""Numbers in one answer to a block of examples: 256 repeats of a block are 64 MiB."""


def observe(
    defense: Defense,
    outputs: Outputs,
    noise: NoiseSource,
    *,
    model: int = 0,
    repeats: int = 1,
    aware: bool = False,
) -> Observation:
    """One model's answers behind a defense, in float64.

    Args:
        defense: fitted to that model.
        outputs: the model's outputs; membership is not passed on.
        noise: asked for the "first" answers and for "further q block b", one source for each
            repeat of each block of examples. So the q-th further answer is the same however many
            are asked for, and asking twice gives the same answers and not more of them. If the
            noise is repeatable, all answers are the first.
        model: which of the outputs' models.
        repeats: answers the attacker may collect for each query, the first included.
        aware: True hands the attacker what undoes the defense's deterministic part.

    >>> from dynanoise.defenses.temperature import Temperature
    >>> from dynanoise.noise.fresh import Fresh
    >>> nobody = np.zeros((1, 5), int)
    >>> rows = Outputs(np.zeros((1, 5, 1, 2)), np.zeros(5, int), np.arange(5), nobody)
    >>> seen = observe(Temperature(2), rows, lambda purpose: Fresh(0), repeats=4, aware=True)
    >>> [chunk.shape for chunk in seen.repeat(3)]
    [(3, 5, 1, 2)]
    """
    logits = outputs.logits[model].astype(np.float64)

    def further(count: int) -> Iterator[Float64]:
        rows = max(1, _BLOCK_NUMBERS // (logits.shape[1] * logits.shape[2]))
        for block, start in enumerate(range(0, len(logits), rows)):
            part = logits[start : start + rows]
            if constant:
                yield np.broadcast_to(first[start : start + rows], (count, *part.shape))
                continue
            answered = [
                defense(part, noise(f"further {repeat} block {block}")) for repeat in range(count)
            ]
            yield numerics.log_probabilities(np.stack(answered))

    def ask(count: int) -> Iterator[Float64]:
        if not 1 <= count <= repeats - 1:
            raise QueryBudgetError(
                f"The attack asked for {count} further answers to each query; the threat model "
                f"allows {repeats - 1}.",
                "Use a threat model with more repeats.",
            )
        return further(count)

    source = noise("first")
    constant = defense.repeatable or source.repeatable
    first = numerics.log_probabilities(defense(logits, source))
    undo = defense.undo if aware else numerics.centred
    return Observation(outputs.labels, outputs.ids, first, repeats, ask, undo, constant=constant)


def recover(observed: Observation, queries: int = 1) -> Observation:
    """What an informed attacker makes of its answers: undone, and averaged over repeats.

    Each answer is turned into what `Defense.undo` recovers of the logits, centred; their mean over
    the queries is sufficient for noise of a fixed variance. Statistics are then taken of it.

    Args:
        observed: answers behind a defense.
        queries: Q, how often each query is asked, at most the threat model's repeats.

    Returns:
        One answer a query, log-probabilities of the mean; nothing further can be asked of it.

    >>> from dynanoise.defenses.temperature import Temperature
    >>> from dynanoise.noise.fresh import Fresh
    >>> rows = Outputs([[[[3.0, 1.0]]]], [0], [0], [[1]])
    >>> seen = observe(Temperature(10), rows, lambda purpose: Fresh(0), aware=True)
    >>> clear = recover(seen).log_probs[0, 0]
    >>> float(clear[0] - clear[1]).__round__(9)
    2.0
    """
    total = observed.undo(observed.log_probs)
    if queries > 1 and not observed.constant:
        sums, start = np.zeros_like(total), 0
        for chunk in observed.repeat(queries - 1):
            stop = start + chunk.shape[1]
            sums[start:stop] = observed.undo(chunk).sum(axis=0)
            start = stop
        total = (total + sums) / queries
    return Observation(
        observed.labels,
        observed.ids,
        numerics.log_softmax(total),
        population=None if observed.population is None else recover(observed.population, queries),
    )


def observe_shadows(
    defenses: Sequence[Defense],
    outputs: Outputs,
    noise: Callable[[int], NoiseSource],
    *,
    repeats: int = 1,
) -> ShadowObservations:
    """Shadow models behind the defense, as an attacker who knows of it has them.

    Args:
        defenses: one for each shadow model, fitted to it.
        outputs: of the M shadow models.
        noise: of each shadow model; the attacker's own, never the target's.
        repeats: as for `observe`.
    """
    seen = tuple(
        observe(defense, outputs, noise(model), model=model, repeats=repeats, aware=True)
        for model, defense in enumerate(defenses)
    )
    return ShadowObservations(seen, outputs.use, outputs)


def undefended_shadows(outputs: Outputs) -> ShadowObservations:
    """Shadow models' own answers, as an attacker who does not know of the defense has them."""
    rows = numerics.log_probabilities(undefended()(outputs.logits.astype(np.float64)))
    seen = tuple(Observation(outputs.labels, outputs.ids, of_one) for of_one in rows)
    return ShadowObservations(seen, outputs.use, outputs)


def observe_shadow_logits(
    logits: npt.ArrayLike, labels: npt.ArrayLike, use: npt.ArrayLike
) -> ShadowObservations:
    """Undefended shadow answers from plain arrays.

    Args:
        logits: (or ln p) [M, N, K].
        labels: [N].
        use: [M, N], 1 for trained on, 0 for not.
    """
    rows = np.asarray(logits, dtype=np.float64)[:, :, None]
    ids = np.arange(rows.shape[1])
    return undefended_shadows(Outputs(rows, np.asarray(labels), ids, np.asarray(use)))


def observe_logits(logits: npt.ArrayLike, labels: npt.ArrayLike) -> Observation:
    """Undefended answers of one model from plain arrays: logits (or ln p) [N, K], labels [N].

    >>> observe_logits(np.log([[0.25, 0.75]]), labels=[1]).log_probs.round(4).tolist()
    [[[-1.3863, -0.2877]]]
    """
    rows = np.asarray(logits, dtype=np.float64)[None]
    return observe_shadow_logits(
        rows, labels, np.zeros(rows.shape[:2], dtype=np.int8)
    ).observations[0]
