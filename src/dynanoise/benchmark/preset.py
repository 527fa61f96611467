"""Presets of benchmarks, up to the seed: data, sizes, model, training and methods."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass, replace
from typing import Any, NamedTuple

from dynanoise.core.defense import Method
from dynanoise.core.errors import UnknownNameError
from dynanoise.core.registry import ATTACKS, RECIPES, meant, parse
from dynanoise.core.result import AttackProtocol, ThreatModel
from dynanoise.data.near_duplicates import NearDuplicates, NearNumbers
from dynanoise.evaluation.methods import method_of
from dynanoise.evaluation.protocols import NAMES, USUAL, parse_protocol
from dynanoise.training.architecture import make_model


@dataclass(frozen=True)
class Size:
    """Size of a benchmark.

    Attributes:
        pool: number of records that take part in the attack.
        reference: number of non-members that the defender knows; the rest is test data.
        recipes: parameters of each recipe that a method names, by name.
        models: number of models of a pool by recipe; others of ``recipes`` are not run on it.
        probed: records that are attacked under protocols with chosen inputs, drawn from the pool,
            at most.
        paths: paths of each of them; fewer where models take long to answer.
    """

    pool: int
    reference: int
    recipes: Mapping[str, Mapping[str, Any]]
    models: Mapping[str, int] = field(default_factory=dict)
    probed: int = 1_000
    paths: int = 10

    def recipe(self, text: str, device: str = "cpu") -> Any:
        """Make a recipe with the parameters of this size, in the precision of this machine.

        Args:
            text: its registered name, or a specification whose parameters replace the size's. A
                recipe that the size does not mention is given the schedule of "plain".
            device: where it trains, "cpu" or "cuda"; see `loop.settled`.

        Raises:
            UnknownNameError: for an unknown recipe.
            InputError: if it has no such parameter, or does not take a value.
        """
        name, parameters = parse(text, "recipe")
        accepted = RECIPES.parameters(name)
        usual = self.recipes.get(name) or {
            key: value for key, value in self.recipes["plain"].items() if key in accepted
        }
        from dynanoise.training.loop import settled  # torch

        recipe = RECIPES.make(name, {**usual, **parameters})
        if is_dataclass(recipe) and not isinstance(recipe, type):
            # alpha=3 and alpha=3.0 are one model in the store.
            floats = [each.name for each in fields(recipe) if str(each.type).startswith("float")]
            whole = {
                key: float(parameters[key]) for key in floats if type(parameters.get(key)) is int
            }
            recipe = replace(recipe, **whole)
        return settled(recipe, device)

    def pool_models(self, recipe: str) -> int | None:
        """Number of models that a pool has of a recipe; None if it is not run on a pool.

        A recipe that the size does not mention has as many as "plain".
        """
        name = parse(recipe, "recipe").name
        return self.models.get("plain" if name not in self.recipes else name)


class Kind(NamedTuple):
    """Recipe and architecture, which the models of a pool share.

    Attributes:
        recipe: name or specification.
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
        dataset: name or specification of the data.
        model: name or specification of the model.
        model_parameters: parameters of the architecture, by name.
        variants: other models, by the recipes that need them.
        other_parameters: parameters of another architecture, for attackers who do not know the
            target's; {} if there is none.
        other_recipe: recipe of attackers who do not know how the target was trained.
        sizes: sizes by name; the first is the default.
        methods: rows of the table; the first is the baseline.
        protocols: protocols that are run by default.
        shadows: number of shadow models of the attacker in the paper's protocol.
        threads: threads of the processor for each model; the numbers depend on it.
        near: near-duplicates that protocols with augmented queries use; None for data without.
        left_out: methods that protocols with near-duplicates leave out, because so many queries
            would take them hours.
        brief: True where a model trains in a second, and another process takes longer to start.
    """

    description: str
    dataset: str
    model: str
    sizes: Mapping[str, Size]
    methods: tuple[Method, ...]
    model_parameters: Mapping[str, Any] = field(default_factory=dict)
    variants: Mapping[str, str] = field(default_factory=dict)
    other_parameters: Mapping[str, Any] = field(default_factory=dict)
    other_recipe: str = "relaxloss"
    protocols: tuple[AttackProtocol, ...] = USUAL
    shadows: int = 3
    threads: int = 1
    near: NearDuplicates | NearNumbers | None = None
    left_out: tuple[str, ...] = ()
    brief: bool = False

    def size(self, name: str | None) -> Size:
        """Find the size of a name, the default for None.

        Raises:
            UnknownNameError: with the names there are.
        """
        if name is None:
            return next(iter(self.sizes.values()))
        if name not in self.sizes:
            raise UnknownNameError(
                f"There is no size {name!r}.", f"Known: {', '.join(self.sizes)}."
            )
        return self.sizes[name]

    def methods_of(self, protocol: AttackProtocol, size: str | None) -> tuple[Method, ...]:
        """Methods that a protocol is run with at a size."""
        if protocol.design != "pool":
            return self.methods
        chosen, threat = self.size(size), protocol.threat
        left_out = self.left_out if threat.augmented else ()
        baseline = self.methods[0]
        return tuple(
            method
            for method in self.methods
            if method.name not in left_out
            and (not threat.key_known or method.cell_width is not None or method == baseline)
            and (threat.shadows != "architecture" or self.model_of(method.recipe) == self.model)
            and chosen.pool_models(method.recipe)
            and chosen.pool_models(self.attackers(method.recipe, threat).recipe)
        )

    def model_of(self, recipe: str) -> str:
        """Name or specification of the model that a recipe trains."""
        return self.variants.get(parse(recipe, "recipe").name, self.model)

    def architecture(self, kind: Kind) -> Any:
        """Make the architecture of some models."""
        model = self.model_of(kind.recipe)
        if model != self.model:
            return make_model(model)
        other = self.other_parameters if kind.other else {}
        return make_model(model, **{**self.model_parameters, **other})

    def attackers(self, recipe: str, threat: ThreatModel) -> Kind:
        """Shadow models of an attacker on a target that was trained by a recipe."""
        if threat.shadows != "recipe":
            return Kind(recipe, other=threat.shadows == "architecture")
        baseline = self.methods[0].recipe
        return Kind(self.other_recipe if recipe == baseline else baseline)

    def choose(
        self,
        methods: Sequence[str] = (),
        attacks: Sequence[str] = (),
        protocols: Sequence[str] = (),
    ) -> Preset:
        """Choose methods, attacks and protocols of the preset, or others; all where none are named.

        The baseline always stays: MIDPUT compares with it. Protocols are run in the order in which
        they are named. A protocol of which no attack stays is left out.

        Args:
            methods: names of the preset's methods; or of any defense or recipe that is registered,
                as `method_of` reads them.
            attacks: names of the protocols' attacks; or the specifications of any that are
                registered. One with other parameters than the protocols' is run where those are;
                one that no protocol names, wherever its threat model allows it.
            protocols: names of the preset's protocols; or of any that `parse_protocol` reads, such
                as "adaptive_64".

        Raises:
            UnknownNameError: for a name that is not registered, with the closest one.
            InputError: for a specification that cannot be read, or parameters that do not fit.
        """
        baseline, *others = self.methods
        names = [method.name for method in self.methods]
        further = [method_of(text, names) for text in dict.fromkeys(methods) if text not in names]
        kept = [other for other in others if not methods or other.name in methods]
        chosen = self._chosen(protocols)
        if attacks:
            every = dict.fromkeys(name for protocol in self.protocols for name in protocol.attacks)
            for text in attacks:
                _check_attack(text, tuple(every))
            chosen = [
                replace(protocol, attacks=_attacks_of(protocol, attacks, every))
                for protocol in chosen
            ]
        return replace(
            self,
            methods=(baseline, *kept, *further),
            protocols=tuple(protocol for protocol in chosen if protocol.attacks),
        )

    def _chosen(self, chosen: Sequence[str]) -> Sequence[AttackProtocol]:
        """Protocols of some names, all of the preset for none."""
        protocols = {protocol.name: protocol for protocol in self.protocols}
        for name in chosen:
            protocol = protocols.get(name) or parse_protocol(name)
            if protocol is None:
                names = tuple(dict.fromkeys((*protocols, *NAMES)))
                raise UnknownNameError(
                    f"There is no protocol {name!r}.",
                    f"{meant(name, names)}Known: {', '.join(names)}.",
                )
            protocols[name] = protocol
        return [protocols[name] for name in dict.fromkeys(chosen or protocols)]


def _check_attack(text: str, usual: Sequence[str]) -> None:
    """Raises unless a text names an attack; the preset's attacks come first in the message."""
    name = parse(text, "attack").name
    if name not in ATTACKS.names():
        names = tuple(dict.fromkeys((*usual, *ATTACKS.names())))
        raise UnknownNameError(
            f"There is no attack {name!r}.", f"{meant(name, names)}Known: {', '.join(names)}."
        )
    ATTACKS.build(text)


def _attacks_of(
    protocol: AttackProtocol, attacks: Sequence[str], every: Collection[str]
) -> tuple[str, ...]:
    """Attacks of a protocol that are among the chosen ones, then chosen ones that it can run.

    Args:
        protocol: a protocol of the preset, or another one.
        attacks: the chosen ones, as specifications.
        every: attacks that the preset's protocols name.
    """
    kept = [name for name in protocol.attacks if name in attacks]
    for text in dict.fromkeys(attacks):
        name = parse(text, "attack").name
        if text in kept or text in every:
            continue
        attack = ATTACKS.build(text)
        alone = not attack.aligned and not attack.needs_population
        fits = name in protocol.attacks if name in every else protocol.design == "pool" or alone
        fits = fits and (protocol.threat.chosen or not attack.needs_chosen_inputs)
        if fits:
            kept.append(text)
    return tuple(kept)
