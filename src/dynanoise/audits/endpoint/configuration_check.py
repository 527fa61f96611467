"""A check of a server's outputs: properties that any client sees, and a configuration's."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from dynanoise.audits.endpoint.client import Metadata, printable
from dynanoise.audits.endpoint.query_plan import ALONE, RepeatedOutputs
from dynanoise.config.configuration import Configuration
from dynanoise.core import numerics
from dynanoise.core.numerics import Float64, Floats
from dynanoise.core.seeding import derive
from dynanoise.defenses.dynanoise import DynaNoise
from dynanoise.defenses.response import defend
from dynanoise.noise.fresh import Fresh
from dynanoise.noise.keyed import Keyed
from dynanoise.noise.keys import ExperimentKey

_DRAWS = 49
"""Draws of the audit's own noise, whose range the server's confidence must be in."""

_UNDEFENDED = 1e-3
"""Largest distance of undefended probabilities from the model's own."""


@dataclass(frozen=True, eq=False)
class ServerOutputs:
    """Outputs of a server.

    Attributes:
        metadata: metadata of the model.
        repeated: outputs of repeated queries.
        log_probs: float64 [Q, N, K], ln of the outputs' probabilities.
        probabilities: whether the outputs are probabilities; if not, they count as logits.
    """

    metadata: Metadata
    repeated: RepeatedOutputs
    log_probs: Float64
    probabilities: bool


def describe_outputs(server: ServerOutputs) -> list[str]:
    """Describe a server without knowing its configuration, a sentence for each property."""
    sentences = [_describe_repeats(server.repeated)]
    if server.probabilities:
        sentences.append("Answers are probabilities.")
    else:
        sentences.append("Answers are not probabilities: raw logits help an attacker most.")
    names = ", ".join(map(printable, server.metadata.outputs))
    key = server.metadata.key_id
    noise = {None: "", "": "; it reports fresh noise"}.get(
        key, f"; it names the key {printable(key or '')}"
    )
    if names:
        sentences.append(f"The server offers {names}{noise}.")
    return sentences


def _describe_repeats(repeated: RepeatedOutputs) -> str:
    passes, probed = len(repeated.passes), len(repeated.probed)
    queried = (
        f"{repeated.passes.shape[1]:,} records were queried {passes} time{'s' * (passes > 1)}, and "
        f"{probed} of them {ALONE} times more, alone in their requests"
    )
    if repeated.constant:
        same = "identical to the last bit" if repeated.identical else "the same up to rounding"
        return f"Repeated answers are {same}: {queried}. There is nothing to average."
    most, total = int(repeated.different.max(initial=0)), passes + ALONE
    if most <= total // 2:
        return (
            f"Repeated answers are {most} different ones: {queried}. So many keys, models or "
            "caches respond in turn, and so many answers an attacker averages."
        )
    return f"Repeated answers differ: {queried}. Noise is new each time, and averaging removes it."


def find_differences(
    server: ServerOutputs, configuration: Configuration, logits: Floats | None, seed: int
) -> Iterator[str]:
    """Find differences between a server and the configuration it should follow.

    Args:
        server: outputs of the server.
        configuration: the expected configuration.
        logits: the model's own logits [N, K], where they are known.
        seed: seed of the noise that the server's is compared with.

    Yields:
        A clause for each difference.
    """
    defense, keyed = configuration.defense, configuration.keyed_noise is not None
    constant = server.repeated.constant
    if not server.probabilities:
        yield "a defense answers probabilities, and these are none"
    if keyed and not constant:
        yield "keyed noise repeats its answers, and these differ"
    if not keyed and constant and not defense.repeatable:
        yield "fresh noise is new in every answer, and these repeat: a cache or a key is in the way"
    if keyed and server.metadata.key_id == "":
        yield "the noise should be keyed, and the server says that it is fresh"
    extra = [name for name in server.metadata.outputs if name != configuration.output]
    if configuration.output is not None and extra:
        yield f"the server offers {', '.join(map(printable, extra))} beside {configuration.output}"
    if not keyed and not constant and isinstance(defense, DynaNoise) and defense.invertible:
        yield from _compare_variance(server, defense)
    if logits is not None:
        yield from _compare_with_model(server, configuration, logits.astype(np.float64), seed)


def _compare_variance(server: ServerOutputs, defense: DynaNoise) -> Iterator[str]:
    """The variance between repeated outputs, which the configuration bounds."""
    undone = defense.undo(server.log_probs)
    count, records, classes = undone.shape
    if count < 2:
        return
    freedom = (count - 1) * records * (classes - 1)
    variance = float(((undone - undone.mean(axis=0)) ** 2).sum() / freedom)
    low = defense.base_variance
    high = low * (1 + defense.lambda_scale)
    slack = 0.05 + 4 * np.sqrt(2 / freedom)
    if not low * (1 - slack) <= variance <= high * (1 + slack):
        yield (
            f"the variance of the noise is {variance:.3g} squared logits, and should be between "
            f"{low:.3g} and {high:.3g}"
        )


def _compare_with_model(
    server: ServerOutputs, configuration: Configuration, logits: Float64, seed: int
) -> Iterator[str]:
    """Outputs beside those of the same model and defense under the audit's own noise."""
    first = np.exp(server.log_probs[0])
    if np.abs(first - numerics.softmax(logits)).max(initial=0.0) <= _UNDEFENDED:
        yield "the answers are the model's own: nothing defends them"
        return
    ranked = np.sort(logits, axis=1)
    clear = ranked[:, -1] - ranked[:, -2] > _UNDEFENDED  # rounding may decide the others
    moved = int(((first.argmax(axis=1) != logits.argmax(axis=1)) & clear).sum())
    if configuration.defense.keeps_labels and moved:
        yield f"labels should stay, and {moved:,} of {len(logits):,} are not the model's own"
    draws = [_confidence(logits, configuration, seed, draw) for draw in range(_DRAWS)]
    low, high = min(draws), max(draws)
    confidence = float(first.max(axis=1).mean())
    slack = (high - low) + 1e-3
    if not low - slack <= confidence <= high + slack:
        yield (
            f"the mean confidence is {confidence:.4f}, and {low:.4f} to {high:.4f} under {_DRAWS} "
            "draws of noise as configured"
        )


def _confidence(logits: Float64, configuration: Configuration, seed: int, draw: int) -> float:
    """Mean confidence under one draw of the audit's own noise."""
    noise: Keyed | Fresh = Fresh(derive(seed, "as configured", draw))
    if configuration.cell_width is not None:
        key = ExperimentKey(seed, "as configured", draw)
        noise = Keyed(configuration.cell_width, "as configured", "00" * 32, key)
    return float(defend(logits, configuration.defense, noise).max(1).mean())
