"""What a benchmark is, up to its seed: data, sizes, model, training and methods."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from dynanoise.core.defense import Method
from dynanoise.core.errors import UnknownNameError
from dynanoise.core.result import AttackProtocol, ThreatModel
from dynanoise.data.near_duplicates import NearDuplicates
from dynanoise.evaluation.protocols import NAMES, USUAL, protocol_of


@dataclass(frozen=True)
class Size:
    """How large a benchmark is.

    Attributes:
        pool: records that take part in the attack.
        reference: the defender's known non-members; what remains is test data.
        recipes: parameters of each recipe that a method names.
        models: how many models a pool has, by recipe; those of other recipes are not judged on it.
    """

    pool: int
    reference: int
    recipes: Mapping[str, Mapping[str, Any]]
    models: Mapping[str, int] = field(default_factory=dict)


class Kind(NamedTuple):
    """What is the same for the models of a pool.

    Attributes:
        recipe: registered name.
        other: True for the preset's other architecture.
    """

    recipe: str
    other: bool = False

    def __str__(self) -> str:
        return self.recipe + (", other architecture" if self.other else "")


@dataclass(frozen=True)
class Preset:
    """A benchmark, up to its seed.

    Attributes:
        description: a line for ``dynanoise bench --list``.
        dataset: registered name.
        model: registered name.
        model_parameters: of the architecture.
        variants: other parameters of the architecture, by the recipes that need them.
        other_parameters: of another architecture, for attackers who do not know the target's; {}
            if there is none.
        other_recipe: of attackers who do not know how the target was trained.
        sizes: by name; the first is the default.
        methods: rows of the table; the first is the baseline.
        protocols: how they are judged.
        shadows: shadow models of the attacker.
        threads: of the processor for each model; part of what determines the numbers.
        near: near-duplicates that protocols with augmented queries ask about; None for data that
            have none.
        left_out: methods that protocols with near-duplicates leave out, because answering so
            many questions would take them hours.
        brief: True where a model trains in a second, and another process takes longer to start.
    """

    description: str
    dataset: str
    model: str
    sizes: Mapping[str, Size]
    methods: tuple[Method, ...]
    model_parameters: Mapping[str, Any] = field(default_factory=dict)
    variants: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    other_parameters: Mapping[str, Any] = field(default_factory=dict)
    other_recipe: str = "relaxloss"
    protocols: tuple[AttackProtocol, ...] = USUAL
    shadows: int = 3
    threads: int = 1
    near: NearDuplicates | None = None
    left_out: tuple[str, ...] = ()
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

    def judged(self, protocol: AttackProtocol, size: str | None) -> tuple[Method, ...]:
        """The methods that a protocol judges at a size."""
        if protocol.design != "pool":
            return self.methods
        models, threat = self.size(size).models, protocol.threat
        left_out = self.left_out if threat.augmented else ()
        baseline = self.methods[0]
        return tuple(
            one
            for one in self.methods
            if one.name not in left_out
            and (not threat.key_known or one.cell_width is not None or one == baseline)
            and one.recipe in models
            and self.attackers(one.recipe, threat).recipe in models
        )

    def parameters(self, kind: Kind) -> dict[str, Any]:
        """Of the architecture of some models."""
        other = self.other_parameters if kind.other else {}
        return {**self.model_parameters, **self.variants.get(kind.recipe, {}), **other}

    def attackers(self, recipe: str, threat: ThreatModel) -> Kind:
        """The models of an attacker on a target that was trained by a recipe."""
        if threat.shadows != "recipe":
            return Kind(recipe, other=threat.shadows == "architecture")
        baseline = self.methods[0].recipe
        return Kind(self.other_recipe if recipe == baseline else baseline)

    def only(
        self,
        methods: Sequence[str] = (),
        attacks: Sequence[str] = (),
        protocols: Sequence[str] = (),
    ) -> Preset:
        """The same preset with fewer methods, attacks or protocols; all where none are named.

        The baseline always stays: MIDPUT compares with it. Protocols are run in the order in which
        they are named. A protocol of which no attack stays is
        left out.

        A protocol that the preset does not run by itself can be named as well, such as
        "adaptive_64" (see `protocols.protocol_of`).

        Raises:
            UnknownNameError: for a name the preset does not have.
        """
        known_protocols = {protocol.name: protocol for protocol in self.protocols}
        for name in protocols:
            further = protocol_of(name)
            if further is not None:
                known_protocols.setdefault(name, further)
        every = dict.fromkeys(name for one in self.protocols for name in one.attacks)
        for kind, wanted, known in (
            ("method", methods, [method.name for method in self.methods]),
            ("attack", attacks, list(every)),
            ("protocol", protocols, list(known_protocols)),
        ):
            for name in wanted:
                if name not in known:
                    names = dict.fromkeys([*known, *(NAMES if kind == "protocol" else ())])
                    raise UnknownNameError(
                        f"This preset has no {kind} {name!r}.",
                        f"Known: {', '.join(names)}.",
                    )
        baseline, *others = self.methods
        kept = tuple(other for other in others if not methods or other.name in methods)
        chosen = [
            replace(
                protocol,
                attacks=tuple(name for name in protocol.attacks if not attacks or name in attacks),
            )
            for protocol in (
                map(known_protocols.__getitem__, dict.fromkeys(protocols))
                if protocols
                else self.protocols
            )
        ]
        judged = tuple(protocol for protocol in chosen if protocol.attacks)
        return replace(self, methods=(baseline, *kept), protocols=judged)
