"""What a benchmark is, up to its seed: data, sizes, model, training and contenders."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from dynanoise.audit.protocols import PAPER
from dynanoise.errors import UnknownNameError
from dynanoise.record import AttackProtocol
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
        variants: other parameters of the architecture, by the recipes that need them.
        sizes: by name; the first is the default.
        contenders: rows of the table; the first is the baseline.
        protocol: how they are judged.
        shadows: shadow models of the attacker.
        threads: of the processor for each model; part of what determines the numbers.
        brief: True where a model trains in a second, and another process takes longer to start.
    """

    description: str
    dataset: str
    model: str
    sizes: Mapping[str, Size]
    contenders: tuple[Contender, ...]
    model_parameters: Mapping[str, Any] = field(default_factory=dict)
    variants: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    protocol: AttackProtocol = PAPER
    shadows: int = 3
    threads: int = 1
    brief: bool = False

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

    def parameters(self, recipe: str) -> dict[str, Any]:
        """Of the architecture that a recipe trains."""
        return {**self.model_parameters, **self.variants.get(recipe, {})}

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
