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
