"""What `dynanoise bench` can run: data, sizes, model, training and contenders, fixed beforehand."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from dynanoise.audit.protocols import PAPER
from dynanoise.defenses.dynanoise import DynaNoise
from dynanoise.defenses.static import Static
from dynanoise.defenses.temperature import Temperature, undefended
from dynanoise.record import AttackProtocol
from dynanoise.training.schedule import Schedule
from dynanoise.types import Contender


@dataclass(frozen=True)
class Preset:
    """A benchmark, up to its seed.

    Attributes:
        description: a line for ``dynanoise bench --list``.
        dataset, model: registered names.
        model_parameters: of the architecture.
        recipes: parameters of each recipe that a contender names.
        pool: records that take part in the attack; the rest are reference and test data.
        reference: the defender's known non-members.
        shadows: shadow models of the attacker.
        contenders: rows of the table; the first is the baseline.
        threads: of the processor for each model.
    """

    description: str
    dataset: str
    model: str
    pool: int
    reference: int
    contenders: tuple[Contender, ...]
    model_parameters: Mapping[str, Any] = field(default_factory=dict)
    recipes: Mapping[str, Mapping[str, Any]] = field(default_factory=lambda: {"plain": {}})
    protocol: AttackProtocol = PAPER
    shadows: int = 3
    threads: int = 1


def controls(defense: DynaNoise) -> tuple[Contender, ...]:
    """A DynaNoise setting with the rows every table must carry beside it.

    >>> [contender.name for contender in controls(DynaNoise())]
    ['none', 'temperature', 'static', 'dynanoise']
    """
    return (
        Contender("none", undefended()),
        Contender("temperature", Temperature(defense.temperature)),
        Contender("static", Static(defense)),
        Contender("dynanoise", defense),
    )


# The number of epochs was fixed on undefended models, past the point where training accuracy is 1.
# digits has no published setting; the CIFAR-10 one of the PoPETs artifact is used.
_SCHEDULE = Schedule(epochs=100, batch=32, learning_rate=1e-3)

_DIGITS = Preset(
    description="scikit-learn's digits, 600 of them in the attack, a small MLP; under a minute",
    dataset="digits",
    model="mlp",
    model_parameters=MappingProxyType({"hidden": (256,)}),
    recipes=MappingProxyType({"plain": {"schedule": _SCHEDULE}}),
    pool=600,
    reference=300,
    contenders=controls(DynaNoise(base_variance=0.3, lambda_scale=2.0, temperature=10.0)),
)

PRESETS = {"digits": _DIGITS}
