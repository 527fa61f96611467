"""Ways to judge a defense. Each is a value."""

from __future__ import annotations

from dynanoise.record import AttackProtocol, ThreatModel

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


def adaptive(queries: int) -> AttackProtocol:
    """The honest protocol at a query budget.

    The attacker knows the defense and its parameters, not its random draws; has shadow models
    trained and defended like the target; undoes what can be undone, averages over its queries, and
    chooses attack and threshold on its own models.

    >>> adaptive(16).name, adaptive(16).threat.repeats
    ('adaptive_16', 16)
    """
    name = "adaptive" if queries == 1 else f"adaptive_{queries}"
    threat = ThreatModel(name, knows_defense=True, repeats=queries, augmented=False)
    return AttackProtocol(name, design="pool", threat=threat, attacks=STRONG)


ADAPTIVE = adaptive(1)
ADAPTIVE_16 = adaptive(16)
