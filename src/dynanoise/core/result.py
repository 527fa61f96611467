"""What a measurement says, and under which threat model; no computation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

OVERHEAD = "overhead"
"""The protocol's name in results of time and memory, where nobody attacks."""

STRONGEST = "strongest"
"""Stands for an attack in results: the attacker's own choice among all of the protocol."""

AUDIT = "audit"
"""The preset's name in results of models that the user brought."""

SERVED = "served"
"""The method's name in results of answers that a server gave, whatever it does to them."""


Likeness = Literal["same", "architecture", "recipe", "disjoint"]


@dataclass(frozen=True)
class ThreatModel:
    """What the attacker knows and may do.

    Attributes:
        name: how tables call it.
        knows_defense: True if shadow outputs pass through the same defense and the attacker is
            handed what undoes its deterministic part; never the secret key or the target's draws.
        repeats: answers the attacker may collect for each query, >= 1.
        augmented: True if near-duplicates of a record may be asked.
        shadows: how the attacker's own models relate to the target: trained in the "same" way, of
            another "architecture", by another "recipe", or the same way on "disjoint" records.
        key_known: True if the attacker has the root secret of keyed noise after all.
    """

    name: str
    knows_defense: bool
    repeats: int = 1
    augmented: bool = False
    shadows: Likeness = "same"
    key_known: bool = False


@dataclass(frozen=True)
class AttackProtocol:
    """A way to judge: how models and data are laid out, what the attacker may do, which attacks.

    The paper's and an honest protocol are two of these values, not two programs.
    """

    name: str
    design: Literal["paper_split", "pool", "single_model"]
    threat: ThreatModel
    attacks: tuple[str, ...]


@dataclass(frozen=True)
class Metric:
    """A number with its 95% interval where one was computed."""

    value: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Result:
    """One result: what was measured, on what, by which command.

    Attributes:
        model_parameters, recipe_parameters: of the architecture, and of its training.
        attack: the attack's name, or None for utility and trade-off metrics of the method.
        defense: name and parameters of the defense as it answered (after fitting).
        command: the command that makes this Result again.
        versions: of Python and the packages that matter.
        hardware: processor, cores, memory, threads used.
        seconds: wall time of this step alone.
        training: of the models behind it: "seconds" their training and answering took together,
            when that was done, and "retries" after divergence; empty where none was trained.
    """

    dataset: str
    model: str
    model_parameters: Mapping[str, Any]
    method: str
    recipe: str
    recipe_parameters: Mapping[str, Any]
    defense: Mapping[str, Any]
    attack: str | None
    protocol: str
    threat: ThreatModel
    preset: str
    metrics: Mapping[str, Metric]
    seed: int
    split: str
    counts: Mapping[str, int]
    command: str
    versions: Mapping[str, str]
    hardware: Mapping[str, Any]
    seconds: float
    training: Mapping[str, float] = field(default_factory=dict)
