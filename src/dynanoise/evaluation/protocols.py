"""Protocols: a design, a threat model and attacks, each as a value."""

from __future__ import annotations

import re
from collections.abc import Sequence

from dynanoise.core.defense import Method
from dynanoise.core.errors import check
from dynanoise.core.result import AttackProtocol, Likeness, ThreatModel
from dynanoise.defenses.dynanoise import DynaNoise

PAPER_THREAT = ThreatModel("paper", knows_defense=False, repeats=1, augmented=False)
"""The attacker of arXiv:2505.13362v2: does not know the defense, queries each record once."""

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
    "tempered_ratio",
    "population",
    "gap",
    "label_only",
    "learned",
)
"""Attacks of an adaptive attacker."""

ALIGNED = ("scale_aligned(attack=threshold)", "scale_aligned(attack=lira)")
"""Further attacks of an attacker whose models have logits of another scale."""

LARGEST_NOISE = 0.25
"""Standard deviation of keyed noise, in widths of a cell, up to which cells are decoded."""

CELLS = ("cell_mates(attack=lira)",)
"""Further attacks on keyed noise."""

BOUNDARY = ("boundary_distance",)
"""Further attacks of an attacker who chooses inputs."""

BOUNDARY_OF_CELLS = ("boundary_probing",)
"""Further attacks of an attacker who chooses inputs, on keyed noise that keeps labels."""

CHOSEN = 64
"""Queries a record of `adaptive_chosen`: ten paths of six queries each, and the record itself, are
61; more are spent on repeated queries where noise is drawn anew, and on nothing where it is not."""

GENERAL = ("threshold", "multi_shadow", "gap", "scale_aligned(attack=threshold)")
"""Attacks that need no shadow model of the target's own records."""


def adaptive(queries: int = 1, *, near: bool = False) -> AttackProtocol:
    """Protocol of an adaptive attacker with a query budget.

    The attacker knows the defense and its parameters, not its random draws; has shadow models
    trained and defended like the target; undoes what can be undone, averages over its queries, and
    chooses attack and threshold on its own models.

    Args:
        queries: Q >= 1, queries of each input.
        near: True if near-duplicates of a record are queried as well, each Q times.

    Returns:
        A protocol over a pool, called "adaptive", "adaptive_Q", "adaptive_near" or
        "adaptive_near_Q".

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


def chosen(queries: int = CHOSEN) -> AttackProtocol:
    """Protocol of an adaptive attacker who chooses each input by earlier outputs.

    Beside the attacks of `adaptive` it probes where the target's label, or the cell of keyed noise,
    changes on paths from the record. The budget counts every query about a record: of the record
    itself, repeated where noise is drawn anew, and of chosen inputs.

    Args:
        queries: Q, from 1 to 256, queries a record.

    Returns:
        A protocol over a pool, called "adaptive_chosen" or "adaptive_chosen_Q".

    Raises:
        InputError: if Q is outside 1..256.

    >>> chosen().name, chosen(16).name, chosen(16).threat.chosen
    ('adaptive_chosen', 'adaptive_chosen_16', True)
    """
    check(
        isinstance(queries, int) and 1 <= queries <= 256,
        f"The query budget of chosen inputs is {queries!r}.",
        "Use 1 to 256 queries a record.",
    )
    name = "adaptive_chosen" if queries == CHOSEN else f"adaptive_chosen_{queries}"
    threat = ThreatModel(name, knows_defense=True, repeats=queries, chosen=True)
    return AttackProtocol(name, design="pool", threat=threat, attacks=(*STRONG, *BOUNDARY))


def mismatched(shadows: Likeness) -> AttackProtocol:
    """Protocol of an adaptive attacker whose own models differ from the target.

    Each input is queried once. Two further attacks align the scale of the target's logits, in which
    such models differ. Models trained on other records say nothing about a record, so only attacks
    that compare predictions in general are left then.

    Args:
        shadows: "architecture", "recipe" or "disjoint"; see `ThreatModel.shadows`.

    Returns:
        A protocol over a pool, or in the paper's layout for disjoint records.

    >>> mismatched("recipe").name, mismatched("disjoint").design
    ('adaptive_recipe', 'paper_split')
    """
    threat = ThreatModel(f"adaptive_{shadows}", knows_defense=True, shadows=shadows)
    if shadows == "disjoint":
        return AttackProtocol(threat.name, "paper_split", threat, GENERAL)
    return AttackProtocol(threat.name, "pool", threat, (*STRONG, *ALIGNED))


def single_model(
    queries: int, attacks: Sequence[str], knows_defense: bool = True
) -> AttackProtocol:
    """Protocol of an attacker of one model without shadow models.

    The attacker knows half of the records with their membership.

    Args:
        queries: Q >= 1, queries of each record.
        attacks: specifications of attacks that need no shadow model of the same records.
        knows_defense: True for an attacker who knows the defense and its parameters, though not
            its random draws.

    Returns:
        A protocol called "single_model", or "single_model_Q" for several queries.

    >>> single_model(16, ["population"]).name
    'single_model_16'
    """
    name = "single_model" if queries == 1 else f"single_model_{queries}"
    threat = ThreatModel(name, knows_defense, repeats=queries)
    return AttackProtocol(name, design="single_model", threat=threat, attacks=tuple(attacks))


def select_attacks(method: Method, protocol: AttackProtocol) -> tuple[str, ...]:
    """Select the attacks of a protocol on a method: one more where records share keyed noise.

    Args:
        method: decides between fresh and keyed noise.
        protocol: threat model and attacks.

    Returns:
        Specifications of the attacks, in their order.

    >>> from dynanoise.defenses.dynanoise import DynaNoise
    >>> select_attacks(Method("keyed", DynaNoise(), cell_width=4.0), ADAPTIVE)[-1]
    'cell_mates(attack=lira)'
    """
    threat = protocol.threat
    shared = method.cell_width is not None and threat.knows_defense and not threat.key_known
    more = CELLS if shared and protocol.design == "pool" else ()
    if threat.chosen and gives_cells_away(method):
        more = (*more, *BOUNDARY_OF_CELLS)
    return protocol.attacks + tuple(name for name in more if name not in protocol.attacks)


def gives_cells_away(method: Method) -> bool:
    """True if an attacker can decode the cells of a method's keyed noise from its outputs.

    They are decoded for DynaNoise of one draw that keeps labels, with noise up to `LARGEST_NOISE`.

    >>> from dynanoise.defenses.dynanoise import DynaNoise
    >>> gives_cells_away(Method("keyed", DynaNoise(keep_label=True), cell_width=4.0))
    True
    """
    defense = method.defense
    if method.cell_width is None or not isinstance(defense, DynaNoise):
        return False
    largest = defense.base_variance * (1 + defense.lambda_scale)
    if largest > (LARGEST_NOISE * method.cell_width) ** 2:
        return False
    return defense.keep_label and (defense.samples == 1 or defense.base_variance == 0)


def _key_known() -> AttackProtocol:
    threat = ThreatModel("adaptive_key", knows_defense=True, key_known=True)
    return AttackProtocol(threat.name, design="pool", threat=threat, attacks=STRONG)


ADAPTIVE = adaptive()
ADAPTIVE_16 = adaptive(16)
ADAPTIVE_NEAR = adaptive(near=True)

USUAL = (PAPER, ADAPTIVE, ADAPTIVE_16)
"""Protocols of a preset that names none."""

FOR_IMAGES = (*USUAL, ADAPTIVE_NEAR)
"""Protocols for records with near-duplicates."""

MISMATCHED = (mismatched("architecture"), mismatched("recipe"), mismatched("disjoint"))
"""Attackers who do not know the target's architecture, or training, or have none of its records."""

KEY_KNOWN = _key_known()
"""An attacker with the root secret of keyed noise, from whom the cells alone hide the logits."""

_NAMED = {protocol.name: protocol for protocol in (PAPER, KEY_KNOWN, *MISMATCHED)}
_ADAPTIVE = re.compile(r"adaptive(?P<kind>_near|_chosen)?(_(?P<queries>[1-9]\d{0,5}))?")

NAMES = (
    *_NAMED,
    "adaptive",
    "adaptive_Q",
    "adaptive_near",
    "adaptive_near_Q",
    "adaptive_chosen",
    "adaptive_chosen_Q",
)
"""Names that `parse_protocol` knows; Q is a number of queries."""


def parse_protocol(name: str) -> AttackProtocol | None:
    """Make the protocol of a name; None if there is none.

    Args:
        name: such as "paper" or "adaptive_near_16".

    Returns:
        The protocol, or None.

    Raises:
        InputError: if a query budget is out of range.

    >>> parse_protocol("adaptive_64") == adaptive(64)
    True
    >>> parse_protocol("adaptive_near") == ADAPTIVE_NEAR
    True
    """
    if name in _NAMED:
        return _NAMED[name]
    match = _ADAPTIVE.fullmatch(name)
    if match is None:
        return None
    if match["kind"] == "_chosen":
        return chosen(int(match["queries"] or CHOSEN))
    return adaptive(int(match["queries"] or 1), near=match["kind"] == "_near")
