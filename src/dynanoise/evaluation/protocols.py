"""Ways to judge a defense. Each is a value."""

from __future__ import annotations

import re

from dynanoise.core.defense import Method
from dynanoise.core.errors import check
from dynanoise.core.result import AttackProtocol, Likeness, ThreatModel

PAPER_THREAT = ThreatModel("paper", knows_defense=False, repeats=1, augmented=False)
"""The attacker of arXiv:2505.13362v2: does not know of the defense, asks each query once."""

PAPER = AttackProtocol(
    name="paper",
    design="paper_split",
    threat=PAPER_THREAT,
    attacks=("confidence", "loss", "entropy", "modified_entropy", "shadow", "lira_by_class"),
)
"""The published protocol: one split, attacks fitted on undefended shadow models."""

STRONG = (
    "threshold",
    "multi_shadow",
    "lira",
    "rmia",
    "population",
    "gap",
    "label_only",
    "learned",
)
"""Attacks of somebody who means it."""

ALIGNED = ("scale_aligned(attack=threshold)", "scale_aligned(attack=lira)")
"""Against models of another scale."""

CELLS = ("cell_mates(attack=lira)",)
"""Besides, against keyed noise."""

GENERAL = ("threshold", "multi_shadow", "gap", "scale_aligned(attack=threshold)")
"""Those of an attacker whose models know nothing of the target's records."""


def adaptive(queries: int = 1, *, near: bool = False) -> AttackProtocol:
    """The honest protocol at a query budget.

    The attacker knows the defense and its parameters, not its random draws; has shadow models
    trained and defended like the target; undoes what can be undone, averages over its queries, and
    chooses attack and threshold on its own models.

    Args:
        queries: Q >= 1, how often each input is asked.
        near: True if near-duplicates of a record are asked as well, each Q times.

    Raises:
        InputError: if Q is below 1.

    >>> adaptive(16).name, adaptive(16).threat.repeats, adaptive(near=True).name
    ('adaptive_16', 16, 'adaptive_near')
    """
    check(queries >= 1, f"The query budget is {queries}.", "Ask each input at least once.")
    words = ["adaptive", "near" if near else "", "" if queries == 1 else str(queries)]
    name = "_".join(filter(None, words))
    threat = ThreatModel(name, knows_defense=True, repeats=queries, augmented=near)
    return AttackProtocol(name, design="pool", threat=threat, attacks=STRONG)


def mismatched(shadows: Likeness) -> AttackProtocol:
    """The honest protocol for an attacker whose own models are not quite like the target.

    Each input is asked once. Two attacks more align the scale of the target's logits, which such
    models get wrong. Models trained on other records say nothing about a record, so only attacks
    that compare answers in general are left then.

    Args:
        shadows: "architecture", "recipe" or "disjoint"; see `ThreatModel.shadows`.

    >>> mismatched("recipe").name, mismatched("disjoint").design
    ('adaptive_recipe', 'paper_split')
    """
    threat = ThreatModel(f"adaptive_{shadows}", knows_defense=True, shadows=shadows)
    if shadows == "disjoint":
        return AttackProtocol(threat.name, "paper_split", threat, GENERAL)
    return AttackProtocol(threat.name, "pool", threat, (*STRONG, *ALIGNED))


def attacks_on(method: Method, protocol: AttackProtocol) -> tuple[str, ...]:
    """What a protocol's attacker tries on a method: where records share noise, one more.

    >>> from dynanoise.defenses.dynanoise import DynaNoise
    >>> attacks_on(Method("keyed", DynaNoise(), cell_width=4.0), ADAPTIVE)[-1]
    'cell_mates(attack=lira)'
    """
    threat = protocol.threat
    shared = method.cell_width is not None and threat.knows_defense and not threat.key_known
    more = CELLS if shared and protocol.design == "pool" else ()
    return protocol.attacks + tuple(name for name in more if name not in protocol.attacks)


def _key_known() -> AttackProtocol:
    threat = ThreatModel("adaptive_key", knows_defense=True, key_known=True)
    return AttackProtocol(threat.name, design="pool", threat=threat, attacks=STRONG)


ADAPTIVE = adaptive()
ADAPTIVE_16 = adaptive(16)
ADAPTIVE_NEAR = adaptive(near=True)

USUAL = (PAPER, ADAPTIVE, ADAPTIVE_16)
"""How methods are judged unless something else is asked for."""

FOR_IMAGES = (*USUAL, ADAPTIVE_NEAR)
"""Where records have near-duplicates, these are asked about as well."""

MISMATCHED = (mismatched("architecture"), mismatched("recipe"), mismatched("disjoint"))
"""Attackers who do not know the target's architecture, or training, or have none of its records."""

KEY_KNOWN = _key_known()
"""After the root secret of keyed noise has leaked: what the cells alone still hide."""

_NAMED = {one.name: one for one in (PAPER, KEY_KNOWN, *MISMATCHED)}
_ADAPTIVE = re.compile(r"adaptive(?P<near>_near)?(_(?P<queries>[1-9]\d{0,5}))?")

NAMES = (*_NAMED, "adaptive", "adaptive_Q", "adaptive_near", "adaptive_near_Q")
"""What `protocol_of` knows; Q is a number of queries."""


def protocol_of(name: str) -> AttackProtocol | None:
    """What a protocol's name means; None for one that means nothing.

    >>> protocol_of("adaptive_64") == adaptive(64), protocol_of("adaptive_near") == ADAPTIVE_NEAR
    (True, True)
    """
    if name in _NAMED:
        return _NAMED[name]
    match = _ADAPTIVE.fullmatch(name)
    if match is None:
        return None
    return adaptive(int(match["queries"] or 1), near=bool(match["near"]))
