"""Results of measurements with their threat model and provenance; no computation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

OVERHEAD = "overhead"
"""The protocol's name in results of time and memory, which have no attack."""

STRONGEST = "strongest"
"""The attack's name in results of the attacker's own choice among a protocol's attacks."""

AUDIT = "audit"
"""The preset's name in results of models that the user brought."""

SERVED = "served"
"""The method's name in results of a server's outputs, with or without a defense."""


Likeness = Literal["same", "architecture", "recipe", "disjoint"]


@dataclass(frozen=True)
class ThreatModel:
    """Knowledge and query budget of the attacker.

    Attributes:
        name: its name in tables.
        knows_defense: True if shadow outputs pass through the same defense and the attacker knows
            its parameters, which undo its deterministic part; never the secret key or the target's
            draws.
        repeats: query budget: outputs the attacker may collect for each input, >= 1; see also
            ``chosen``.
        augmented: True if the model may be queried with near-duplicates of a record.
        shadows: how the attacker's own models relate to the target: trained in the "same" way, of
            another "architecture", by another "recipe", or the same way on "disjoint" records.
        key_known: True if the attacker has the root secret of keyed noise.
        chosen: True if the attacker chooses inputs by earlier outputs. ``repeats`` then counts all
            queries about a record, whatever their inputs.
    """

    name: str
    knows_defense: bool
    repeats: int = 1
    augmented: bool = False
    shadows: Likeness = "same"
    key_known: bool = False
    chosen: bool = False


@dataclass(frozen=True)
class AttackProtocol:
    """Layout of models and data, threat model, and attacks of an evaluation.

    Attributes:
        name: its name in results.
        design: layout of the models and the roles of records.
        threat: threat model.
        attacks: specifications of the attacks.
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


@dataclass(frozen=True, repr=False)
class Result:
    """Metrics of one attack on one method, or of the method's utility, with their provenance.

    Attributes:
        dataset, model, preset: names of the data set, the architecture and the benchmark.
        model_parameters, recipe_parameters: parameters of the architecture and of its training.
        method, recipe: names of the method and of its training recipe.
        attack: the attack's name, or None for utility and trade-off metrics of the method.
        defense: name and parameters of the defense after fitting.
        protocol: the protocol's name.
        threat: its threat model.
        metrics: values by name, such as "auc" or "tpr@0.01".
        seed: the seed of split and models.
        split: a digest of the split.
        counts: numbers of models and of records, by role.
        command: the command that reproduces this result.
        versions: versions of Python and of the packages that matter.
        hardware: processor, cores, memory, threads used.
        seconds: wall time of this step alone.
        training: "seconds", the wall time of training and querying all models, "retries", the
            number of trainings repeated after divergence, and "bfloat16", the number of models
            trained in bfloat16 instead of float32; the largest "epsilon" and "delta" of models
            trained with differential privacy; empty if no model was trained.
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

    def __repr__(self) -> str:
        """Name the row and its first numbers; the fields hold the rest."""
        numbers = [f"{name} {metric.value:.3f}" for name, metric in self.metrics.items()][:4]
        row = f"{self.attack or 'utility'} on {self.method}, {self.protocol}, {self.dataset}"
        return f"<Result: {row}: {', '.join(numbers)}>"
