"""What `dynanoise bench` can run: data, sizes, model, training and contenders, fixed beforehand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

from dynanoise.audit.protocols import PAPER
from dynanoise.defenses.dynanoise import DynaNoise
from dynanoise.defenses.static import Static
from dynanoise.defenses.temperature import Temperature, undefended
from dynanoise.errors import UnknownNameError
from dynanoise.record import AttackProtocol
from dynanoise.training.schedule import Schedule
from dynanoise.types import Contender


@dataclass(frozen=True)
class Size:
    """How large a benchmark is.

    Attributes:
        pool: records that take part in the attack.
        reference: the defender's known non-members; what remains is test data.
        recipes: parameters of each recipe that a contender names.
    """

    pool: int
    reference: int
    recipes: Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True)
class Preset:
    """A benchmark, up to its seed.

    Attributes:
        description: a line for ``dynanoise bench --list``.
        dataset: registered name.
        model: registered name.
        model_parameters: of the architecture.
        sizes: by name; the first is the default.
        contenders: rows of the table; the first is the baseline.
        protocol: how they are judged.
        shadows: shadow models of the attacker.
        threads: of the processor for each model; part of what determines the numbers.
    """

    description: str
    dataset: str
    model: str
    sizes: Mapping[str, Size]
    contenders: tuple[Contender, ...]
    model_parameters: Mapping[str, Any] = field(default_factory=dict)
    protocol: AttackProtocol = PAPER
    shadows: int = 3
    threads: int = 1

    def size(self, name: str | None) -> Size:
        """The size of a name, the default for None.

        Raises:
            UnknownNameError: naming those there are.
        """
        if name is None:
            return next(iter(self.sizes.values()))
        if name not in self.sizes:
            raise UnknownNameError(
                f"There is no size {name!r}.", f"Known: {', '.join(self.sizes)}."
            )
        return self.sizes[name]

    def only(self, contenders: Sequence[str] = (), attacks: Sequence[str] = ()) -> Preset:
        """The same preset with fewer contenders or attacks; all where none are named.

        The baseline always stays: MIDPUT compares with it.

        Raises:
            UnknownNameError: for a name the preset does not have.
        """
        for kind, wanted, known in (
            ("contender", contenders, [contender.name for contender in self.contenders]),
            ("attack", attacks, list(self.protocol.attacks)),
        ):
            for name in wanted:
                if name not in known:
                    raise UnknownNameError(
                        f"This preset has no {kind} {name!r}.", f"Known: {', '.join(known)}."
                    )
        baseline, *others = self.contenders
        kept = tuple(other for other in others if not contenders or other.name in contenders)
        chosen = tuple(name for name in self.protocol.attacks if not attacks or name in attacks)
        protocol = replace(self.protocol, attacks=chosen)
        return replace(self, contenders=(baseline, *kept), protocol=protocol)


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
_DIGITS_SCHEDULE = Schedule(epochs=100, batch=32, learning_rate=1e-3)

_DIGITS = Preset(
    description="scikit-learn's digits, 600 of them in the attack, a small MLP; under a minute",
    dataset="digits",
    model="mlp",
    model_parameters=MappingProxyType({"hidden": (256,)}),
    sizes=MappingProxyType(
        {
            "cpu": Size(
                pool=600,
                reference=300,
                recipes=MappingProxyType({"plain": {"schedule": _DIGITS_SCHEDULE}}),
            )
        }
    ),
    contenders=controls(DynaNoise(base_variance=0.3, lambda_scale=2.0, temperature=10.0)),
)

PRESETS = {"digits": _DIGITS}
