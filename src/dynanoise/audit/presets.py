"""What `dynanoise bench` can run: data, sizes, model, training and contenders, fixed beforehand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

from dynanoise.audit.protocols import PAPER
from dynanoise.defenses.dynanoise import DynaNoise
from dynanoise.defenses.hamp import HAMP
from dynanoise.defenses.memguard import MemGuard
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


def peers() -> tuple[Contender, ...]:
    """The five peer defenses of arXiv:2505.13362v2, and DP-SGD.

    Trained or answering as their own papers say; parameters of the training are the size's.

    >>> [contender.name for contender in peers()]
    ['advreg', 'memguard', 'relaxloss', 'selena', 'hamp', 'dpsgd']
    """
    return (
        Contender("advreg", undefended(), recipe="advreg"),
        Contender("memguard", MemGuard()),
        Contender("relaxloss", undefended(), recipe="relaxloss"),
        Contender("selena", undefended(), recipe="selena"),
        Contender("hamp", HAMP(), recipe="hamp"),
        Contender("dpsgd", undefended(), recipe="dpsgd"),
    )


def _recipes(schedule: Schedule, **own: Mapping[str, Any]) -> Mapping[str, Mapping[str, Any]]:
    """All recipes with one schedule, and parameters of their own.

    Where a paper gives no value for the data, alpha of AdvReg and RelaxLoss was chosen for a loss
    of a few points of accuracy on digits' reference records, before any attack was run.
    """
    names = ("plain", "advreg", "relaxloss", "selena", "hamp", "dpsgd")
    chosen = {"advreg": {"alpha": 1.0}, "relaxloss": {"alpha": 0.3}, **own}
    return MappingProxyType(
        {name: {"schedule": schedule, **chosen.get(name, {})} for name in names}
    )


# Epochs are fixed on undefended models, past the point where training accuracy is 1 (SST-2: 0.98).
_DIGITS = Preset(
    description="scikit-learn's digits, 600 of them in the attack, a small MLP",
    dataset="digits",
    model="mlp",
    model_parameters=MappingProxyType({"hidden": (256,)}),
    sizes=MappingProxyType(
        {
            "cpu": Size(
                pool=600,
                reference=300,
                recipes=_recipes(Schedule(epochs=100, batch=32, learning_rate=1e-3)),
            )
        }
    ),
    # digits has no published setting; the CIFAR-10 one of the PoPETs artifact is used.
    contenders=(*controls(DynaNoise(0.3, 2.0, 10.0)), *peers()),
)

_BREAST_CANCER = Preset(
    description="scikit-learn's breast cancer table, 400 tumours in the attack, a small MLP",
    dataset="breast_cancer",
    model="mlp",
    model_parameters=MappingProxyType({"hidden": (256,)}),
    sizes=MappingProxyType(
        {
            "cpu": Size(
                pool=400,
                reference=60,
                recipes=_recipes(Schedule(epochs=100, batch=32, learning_rate=1e-3)),
            )
        }
    ),
    # No published setting either; SST-2's of the 2025 artifact, which has two classes as well.
    contenders=(*controls(DynaNoise(0.25, 2.0, 6.0)), *peers()),
)

_SST2 = Preset(
    description="SST-2 sentences, averaged word embeddings; 6,920 sentences in the attack",
    dataset="sst2",
    model="text",
    model_parameters=MappingProxyType({"vocabulary": 7200, "width": 64}),
    sizes=MappingProxyType(
        {
            "cpu": Size(
                pool=6_920,
                reference=693,
                recipes=_recipes(
                    Schedule(epochs=12, batch=64, learning_rate=2e-3),
                    selena={"models": 5, "left_out": 2},
                ),
            )
        }
    ),
    contenders=(*controls(DynaNoise(0.25, 2.0, 6.0)), *peers()),
)

PRESETS = {"digits": _DIGITS, "breast_cancer": _BREAST_CANCER, "sst2": _SST2}
