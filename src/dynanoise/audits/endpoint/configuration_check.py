"""What a server does to its answers, as its clients see it, and whether it was told to."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from dynanoise.audits.endpoint.client import Announced
from dynanoise.audits.endpoint.http import printable
from dynanoise.audits.endpoint.query_plan import ALONE, Answers
from dynanoise.config.configuration import Configuration
from dynanoise.core import numerics
from dynanoise.core.numerics import Float64, Floats
from dynanoise.core.seeding import derive
from dynanoise.defenses.dynanoise import DynaNoise
from dynanoise.defenses.response import defend
from dynanoise.noise.fresh import Fresh
from dynanoise.noise.keyed import Keyed
from dynanoise.noise.keys import ExperimentKey

_TRIED = 49
"""Draws of noise of the audit's own, between which the server's is expected."""

_OWN = 1e-3
"""Probabilities this near to the model's own were not defended."""


@dataclass(frozen=True, eq=False)
class Seen:
    """What was seen of a server.

    Attributes:
        announced: its metadata.
        answers: about the records.
        log_probs: float64 [Q, N, K], ln of them.
        probabilities: whether they are such; if not, they were taken for logits.
    """

    announced: Announced
    answers: Answers
    log_probs: Float64
    probabilities: bool


def described(seen: Seen) -> list[str]:
    """A sentence for each thing that could be seen without knowing what should be."""
    said = [_repeats(seen.answers)]
    if seen.probabilities:
        said.append("Answers are probabilities.")
    else:
        said.append("Answers are no probabilities: raw logits are what an attacker likes most.")
    names = ", ".join(map(printable, seen.announced.outputs))
    key = seen.announced.key_id
    noise = {None: "", "": "; it says that its noise is fresh"}.get(
        key, f"; it names the key {printable(key or '')}"
    )
    if names:
        said.append(f"The server offers {names}{noise}.")
    return said


def _repeats(answers: Answers) -> str:
    passes, probed = len(answers.passes), len(answers.probed)
    asked = (
        f"{answers.passes.shape[1]:,} records were asked {passes} time{'s' * (passes > 1)}, and "
        f"{probed} of them {ALONE} times more, alone in their requests"
    )
    if answers.constant:
        how = "identical to the last bit" if answers.identical else "alike up to rounding"
        return f"Repeated answers are {how}: {asked}. Averaging finds nothing to average."
    most, of = int(answers.different.max(initial=0)), passes + ALONE
    if most <= of // 2:
        return (
            f"Repeated answers are {most} different ones: {asked}. So many keys, models or caches "
            "answer in turn, and so many answers an attacker averages."
        )
    return f"Repeated answers differ: {asked}. Noise is new each time, and averaging removes it."


def differences(
    seen: Seen, configured: Configuration, own: Floats | None, seed: int
) -> Iterator[str]:
    """How the answers are not what a configuration says.

    Args:
        seen: the server.
        configured: what it should do.
        own: the model's own logits [N, K], where they are known.
        seed: of the noise that it is compared with.
    """
    defense, keyed = configured.defense, isinstance(configured.noise, Keyed)
    constant = seen.answers.constant
    if not seen.probabilities:
        yield "a defense answers probabilities, and these are none"
    if keyed and not constant:
        yield "keyed noise repeats its answers, and these differ"
    if not keyed and constant and not defense.repeatable:
        yield "fresh noise is new in every answer, and these repeat: a cache or a key is in the way"
    if keyed and seen.announced.key_id == "":
        yield "the noise should be keyed, and the server says that it is fresh"
    extra = [one for one in seen.announced.outputs if one != configured.output]
    if configured.output is not None and extra:
        yield f"the server offers {', '.join(map(printable, extra))} beside {configured.output}"
    if not keyed and not constant and isinstance(defense, DynaNoise) and defense.invertible:
        yield from _variance(seen, defense)
    if own is not None:
        yield from _beside(seen, configured, own.astype(np.float64), seed)


def _variance(seen: Seen, defense: DynaNoise) -> Iterator[str]:
    """The variance between answers, which the configuration bounds."""
    undone = defense.undo(seen.log_probs)
    count, records, classes = undone.shape
    if count < 2:
        return
    freedom = (count - 1) * records * (classes - 1)
    found = float(((undone - undone.mean(axis=0)) ** 2).sum() / freedom)
    low = defense.base_variance
    high = low * (1 + defense.lambda_scale)
    slack = 0.05 + 4 * np.sqrt(2 / freedom)
    if not low * (1 - slack) <= found <= high * (1 + slack):
        yield (
            f"the variance of the noise is {found:.3g} squared logits, and should be between "
            f"{low:.3g} and {high:.3g}"
        )


def _beside(seen: Seen, configured: Configuration, own: Float64, seed: int) -> Iterator[str]:
    """Answers beside those that the configuration gives under the audit's own noise."""
    first = np.exp(seen.log_probs[0])
    if np.abs(first - numerics.softmax(own)).max(initial=0.0) <= _OWN:
        yield "the answers are the model's own: nothing defends them"
        return
    ranked = np.sort(own, axis=1)
    clear = ranked[:, -1] - ranked[:, -2] > _OWN  # others may be told apart by rounding
    moved = int(((first.argmax(axis=1) != own.argmax(axis=1)) & clear).sum())
    if configured.defense.keeps_labels and moved:
        yield f"labels should stay, and {moved:,} of {len(own):,} are not the model's own"
    expected = [
        float(defend(own, configured.defense, _noise(configured, seed, draw)).max(1).mean())
        for draw in range(_TRIED)
    ]
    low, high = min(expected), max(expected)
    found = float(first.max(axis=1).mean())
    slack = (high - low) + 1e-3
    if not low - slack <= found <= high + slack:
        yield (
            f"the mean confidence is {found:.4f}, and {low:.4f} to {high:.4f} under {_TRIED} "
            "draws of noise as configured"
        )


def _noise(configured: Configuration, seed: int, draw: int) -> Keyed | Fresh:
    if configured.cell_width is None:
        return Fresh(derive(seed, "as configured", draw))
    key = ExperimentKey(seed, "as configured", draw)
    return Keyed(configured.cell_width, "as configured", "00" * 32, key)
