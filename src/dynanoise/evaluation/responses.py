"""Predictions as an attacker observes them: behind a defense, with membership taken away."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt

from dynanoise.core import numerics
from dynanoise.core.defense import Defense, Method, Noise, make_responder
from dynanoise.core.errors import QueryBudgetError
from dynanoise.core.numerics import Float64
from dynanoise.core.observation import Observation, ShadowObservations
from dynanoise.core.outputs import Outputs
from dynanoise.core.seeding import derive, derive_bytes
from dynanoise.defenses.temperature import undefended
from dynanoise.noise.fresh import Fresh
from dynanoise.noise.keyed import Keyed
from dynanoise.noise.keys import ExperimentKey

NoiseSource = Callable[[str], Noise]
"""Makes the noise of one model for a purpose; the same purpose gets the same noise again."""

_BLOCK_NUMBERS = 1 << 15
"""Numbers in one prediction for a block of records: 256 repeats of a block are 64 MiB."""


def make_noise(method: Method, seed: int, *path: str | int, holder: str = "") -> NoiseSource:
    """Make the noise that one model of an experiment draws.

    Fresh noise has a stream for each purpose. Keyed noise has one key for all purposes, as a
    deployed model has; any two models, and target and shadow, have different keys, because an
    attacker lacks the target's. All keys are `ExperimentKey`: never those of production.

    Args:
        method: decides between fresh and keyed noise.
        seed: seed of the run.
        path: names of the run, the method and the model.
        holder: name of the model where the path does not give it.

    Returns:
        A function from a purpose, such as "first", to `Noise`.

    >>> from dynanoise.defenses.dynanoise import DynaNoise
    >>> make_noise(Method("dynanoise", DynaNoise()), 0, "target")("first").repeatable
    False
    >>> cells = make_noise(Method("cells", DynaNoise(), cell_width=12.0), 0, "target")
    >>> cells("first") == cells("further"), cells("first").repeatable
    (True, True)
    """
    width = method.cell_width
    if width is None:
        return lambda purpose: Fresh(
            derive(seed, "noise", *path, f"{holder} {purpose}" if holder else purpose)
        )
    model = (*path, holder)
    weights = derive_bytes(seed, "stands for the digest of weights", *model).hex()
    keyed = Keyed(width, method.name, weights, ExperimentKey(seed, *model))
    return lambda purpose: keyed


def observe(
    defense: Defense,
    outputs: Outputs,
    noise: NoiseSource,
    *,
    model: int = 0,
    repeats: int = 1,
    aware: bool = False,
) -> Observation:
    """Predictions of one model behind a defense, in float64, without membership.

    Args:
        defense: fitted to that model.
        outputs: logits [M, N, A, K] of one or several models.
        noise: called for the "first" predictions and for "further q block b", one purpose for each
            repeat of each block of records. The q-th further prediction is the same however many
            are queried, and querying twice gives the same predictions, not more of them. With
            repeatable noise all predictions equal the first.
        model: position of the model in ``outputs``.
        repeats: predictions the attacker may collect for each query, the first included; >= 1.
        aware: True gives the attacker `Defense.undo`, False only centring.

    Returns:
        ln of the predictions [N, A, K], and access to ``repeats - 1`` further ones.

    >>> from dynanoise.defenses.temperature import Temperature
    >>> unused = np.zeros((1, 5), int)
    >>> outputs = Outputs(np.zeros((1, 5, 1, 2)), np.zeros(5, int), np.arange(5), unused)
    >>> seen = observe(Temperature(2), outputs, lambda purpose: Fresh(0), repeats=4, aware=True)
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
            respond = make_responder(defense, part)
            predictions = [
                respond(noise(f"further {repeat} block {block}")) for repeat in range(count)
            ]
            yield numerics.log_probabilities(np.stack(predictions))

    def query(count: int) -> Iterator[Float64]:
        if not 1 <= count <= repeats - 1:
            raise QueryBudgetError(
                f"The attack repeated each query {count} times; the threat model allows "
                f"{repeats - 1}.",
                "Use a threat model with more repeats.",
            )
        return further(count)

    source = noise("first")
    constant = defense.repeatable or source.repeatable
    first = numerics.log_probabilities(defense(logits, source))
    undo = defense.undo if aware else numerics.centred
    return Observation(outputs.labels, outputs.ids, first, repeats, query, undo, constant=constant)


def recover(observation: Observation, queries: int = 1) -> Observation:
    """Undo the defense's deterministic part and average over repeated queries.

    Each prediction is turned into what `Defense.undo` recovers of the logits, centred. For noise of
    a fixed variance their mean over the queries is a sufficient statistic.

    Args:
        observation: predictions behind a defense.
        queries: Q, the number of predictions averaged, at most ``observation.repeats``.

    Returns:
        Log-probabilities [N, A, K] of the mean, likewise for the population; no further
        predictions can be queried.

    Raises:
        QueryBudgetError: if ``queries`` is above the threat model's repeats.

    >>> from dynanoise.defenses.temperature import Temperature
    >>> rows = Outputs([[[[3.0, 1.0]]]], [0], [0], [[1]])
    >>> seen = observe(Temperature(10), rows, lambda purpose: Fresh(0), aware=True)
    >>> clear = recover(seen).log_probs[0, 0]
    >>> float(clear[0] - clear[1]).__round__(9)
    2.0
    """
    total = observation.undo(observation.log_probs)
    if queries > 1 and not observation.constant:
        sums, start = np.zeros_like(total), 0
        for chunk in observation.repeat(queries - 1):
            stop = start + chunk.shape[1]
            sums[start:stop] = observation.undo(chunk).sum(axis=0)
            start = stop
        total = (total + sums) / queries
    population = observation.population
    return Observation(
        observation.labels,
        observation.ids,
        numerics.log_softmax(total),
        population=None if population is None else recover(population, queries),
    )


def observe_undefended(outputs: Outputs) -> ShadowObservations:
    """Undefended predictions of shadow models, for an attacker who does not know the defense.

    Args:
        outputs: logits [M, N, A, K] of the shadow models, and their membership.

    Returns:
        ln of softmax [N, A, K] for each model.
    """
    log_probs = numerics.log_probabilities(undefended()(outputs.logits.astype(np.float64)))
    observed = tuple(Observation(outputs.labels, outputs.ids, rows) for rows in log_probs)
    return ShadowObservations(observed, outputs.use, outputs)


def observe_shadow_logits(
    logits: npt.ArrayLike, labels: npt.ArrayLike, use: npt.ArrayLike
) -> ShadowObservations:
    """Undefended predictions of shadow models from plain arrays.

    Args:
        logits: logits or ln p, [M, N, K].
        labels: true classes [N].
        use: [M, N], 1 for a member, 0 for a non-member, -1 for hidden.

    Returns:
        Predictions [N, 1, K] of each model, for records called 0..N-1.
    """
    rows = np.asarray(logits, dtype=np.float64)[:, :, None]
    ids = np.arange(rows.shape[1])
    return observe_undefended(Outputs(rows, np.asarray(labels), ids, np.asarray(use)))


def observe_logits(logits: npt.ArrayLike, labels: npt.ArrayLike) -> Observation:
    """Undefended predictions of one model from plain arrays.

    Args:
        logits: logits or ln p, [N, K].
        labels: true classes [N].

    Returns:
        Predictions [N, 1, K], for records called 0..N-1.

    >>> observe_logits(np.log([[0.25, 0.75]]), labels=[1]).log_probs.round(4).tolist()
    [[[-1.3863, -0.2877]]]
    """
    rows = np.asarray(logits, dtype=np.float64)[None]
    use = np.zeros(rows.shape[:2], dtype=np.int8)
    return observe_shadow_logits(rows, labels, use).observations[0]
