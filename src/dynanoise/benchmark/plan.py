"""Plans of benchmark runs: a preset and the user's choices, checked before any work."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from dynanoise.benchmark.options import BenchOptions
from dynanoise.benchmark.preset import Kind, Preset
from dynanoise.core.errors import InputError
from dynanoise.core.options import command_line
from dynanoise.core.registry import ATTACKS, PRESETS
from dynanoise.data.dataset import Data
from dynanoise.data.near_duplicates import NearDuplicates, NearNumbers
from dynanoise.evaluation.chosen_inputs import GROUPS
from dynanoise.evaluation.protocols import select_attacks


@dataclass(frozen=True)
class Plan(BenchOptions):
    """The work of a benchmark run, checked before any of it.

    Args:
        name: a registered preset, or what ``custom`` was made of.
        seeds: number of independent repetitions, >= 1; each draws its own records and weights.
        model: the model to train instead of the preset's, for the command; see ``custom``.
        label: name of the column of labels of a table; see ``custom``.
        size: size of the preset; None for its default.
        methods, attacks, protocols: rows, columns and protocols to run, see `Preset.choose`; all of
            the preset if empty.
        canaries: number of records of the pool that become canaries, see `data.canaries`; with
            any, only protocols over a pool are run.
        device: where to train, "cpu" or "cuda".
        custom: the preset to run instead of the registered one.

    Raises:
        UnknownNameError: for a name that is not registered.
        InputError: for an impossible number of seeds or canaries, or a protocol that cannot be run.
        TooFewRecordsError: if the reference set is too small for an attack.

    >>> Plan("digits", seeds=1, attacks=("loss",)).command
    'dynanoise bench digits --seeds 1 --attack loss'
    """

    seeds: int = 3
    _: KW_ONLY
    custom: Preset | None = None

    def __post_init__(self) -> None:
        if isinstance(self.seeds, bool) or not isinstance(self.seeds, int) or self.seeds < 1:
            raise InputError(f"seeds is {self.seeds!r}.", "Use an integer of at least 1.")
        if not self._chosen.protocols:
            raise InputError(
                f"No protocol that was chosen runs {' or '.join(self.attacks)}.",
                "Choose other attacks, or leave --protocol out.",
            )
        for protocol in self.preset.protocols:
            if protocol.threat.augmented and self.preset.near is None:
                raise InputError(
                    f"The protocol {protocol.name!r} queries near-duplicates, and {self.name} has "
                    "none.",
                    "Images have near-duplicates, and the presets of numbers: use one of those.",
                )
            if protocol.threat.shadows == "architecture" and not self.preset.other_parameters:
                raise InputError(
                    f"The protocol {protocol.name!r} needs another architecture, and {self.name} "
                    "names none.",
                    "Use a registered preset with its own model.",
                )
            baseline = self.preset.methods[0]
            if baseline not in self.preset.methods_of(protocol, self.size):
                raise InputError(
                    f"The protocol {protocol.name!r} needs pools that {self.name} does not have at "
                    "this size.",
                    "Use another size or protocol.",
                )
        reference = self.preset.size(self.size).reference
        for protocol in self.preset.protocols:
            for attack in protocol.attacks:
                ATTACKS.build(attack).check_population(reference)
        self._check_canaries()

    def _check_canaries(self) -> None:
        canaries = self.canaries
        if isinstance(canaries, bool) or not isinstance(canaries, int) or canaries < 0:
            raise InputError(f"canaries is {canaries!r}.", "Use an integer of at least 1.")
        if not canaries:
            return
        for protocol in self._chosen.protocols:
            if protocol.name in self.protocols and protocol.design != "pool":
                raise InputError(
                    f"The protocol {protocol.name!r} has no pool of models to plant canaries in.",
                    "Use adaptive, or leave --canaries out.",
                )
        if not self.pools:
            raise InputError(
                "Nothing that was chosen is run on a pool of models, which canaries need.",
                "Choose other attacks or protocols, or leave --canaries out.",
            )
        most = self.preset.size(self.size).pool
        if canaries > most:
            raise InputError(
                f"{canaries} canaries do not fit a pool of {most} records.",
                f"Use 1 to {most} of them.",
            )

    @cached_property
    def _chosen(self) -> Preset:
        preset: Preset = self.custom or PRESETS.get(self.name)
        return preset.choose(self.methods, self.attacks, self.protocols)

    @cached_property
    def preset(self) -> Preset:
        """The preset with the chosen methods, attacks and protocols; with canaries over pools."""
        chosen = self._chosen
        if not self.canaries:
            return chosen
        pools = tuple(protocol for protocol in chosen.protocols if protocol.design == "pool")
        return replace(chosen, protocols=pools)

    @property
    def recipes(self) -> tuple[str, ...]:
        """Recipes of the methods, in the order of training."""
        return tuple(dict.fromkeys(method.recipe for method in self.preset.methods))

    @property
    def shadows(self) -> Mapping[str, int]:
        """Number of shadow models of the paper's split by recipe; {} if it is not run.

        An attacker who does not know the defense has shadow models of the baseline's recipe only.
        """
        preset = self.preset
        splits = [protocol for protocol in preset.protocols if protocol.design == "paper_split"]
        aware = any(protocol.threat.knows_defense for protocol in splits)
        baseline = preset.methods[0].recipe
        return {
            recipe: preset.shadows if aware or recipe == baseline else 0
            for recipe in (self.recipes if splits else ())
        }

    @property
    def pools(self) -> Mapping[Kind, int]:
        """Number of models of the pools by kind, the attackers' shadow models included.

        Recipes without a number of models at this size are not run on a pool.
        """
        preset = self.preset
        numbers: dict[Kind, int] = {}
        for protocol in preset.protocols:
            if protocol.design != "pool":
                continue
            for method in preset.methods_of(protocol, self.size):
                kinds = Kind(method.recipe), preset.attackers(method.recipe, protocol.threat)
                for kind in kinds:
                    numbers[kind] = preset.size(self.size).pool_models(kind.recipe) or 0
        return numbers

    @property
    def near(self) -> NearDuplicates | NearNumbers | None:
        """Near-duplicates of the pool's records; None if no protocol queries them."""
        augmented = any(protocol.threat.augmented for protocol in self.preset.protocols)
        return self.preset.near if augmented else None

    @property
    def trained(self) -> int:
        """Number of models that `bench` needs."""
        runs = self.seeds * sum(1 + count for count in self.shadows.values())
        return runs + sum(self.pools.values())

    @property
    def steps(self) -> int:
        """Number of calls of `bench` to its progress."""
        preset, steps = self.preset, self.trained
        for protocol in preset.protocols:
            rows = preset.methods_of(protocol, self.size)
            # Utility, and over a pool "strongest".
            further = 2 if protocol.design == "pool" else 1
            measures = sum(len(select_attacks(method, protocol)) + further for method in rows)
            steps += (1 if protocol.design == "pool" else self.seeds) * measures
        probed = {
            method.recipe
            for protocol in preset.protocols
            if protocol.threat.chosen
            for method in preset.methods_of(protocol, self.size)
        }
        return steps + sum(min(GROUPS, self.pools[Kind(recipe)]) for recipe in probed)

    @property
    def command(self) -> str:
        """Command that makes the same numbers."""
        return command_line("dynanoise bench", self, kind=BenchOptions)


def plan_of(
    options: BenchOptions, *, quick: bool = False, folder: Path | None = None
) -> tuple[Plan, Data | None]:
    """Make the plan of a user's options.

    Args:
        options: options of `dynanoise bench`.
        quick: True for the size "quick", where there is one, and one seed unless the options name
            a number.
        folder: where data sets are looked for first.

    Returns:
        The plan, and the data where they had to be loaded to make it.

    Raises:
        UnknownNameError, InputError: see `Plan` and `own_preset`.
    """
    if not options.name:
        raise InputError("No preset was named.", "Name one; `dynanoise bench --list` has all.")
    if quick and options.size is not None:
        raise InputError(f"Both --quick and --size {options.size} were given.", "Leave one away.")
    custom, data = None, None
    if options.model is not None or options.label or options.name not in PRESETS.names():
        from dynanoise.benchmark.own_data import own_preset

        custom, data = own_preset(options.name, options.model, folder, options.label)
    seeds = 1 if quick else Plan.seeds
    changes: dict[str, Any] = {"seeds": seeds if options.seeds is None else options.seeds}
    if quick:
        preset = custom or PRESETS.get(options.name)
        changes["size"] = "quick" if "quick" in preset.sizes else None
    return Plan(**{**vars(options), **changes}, custom=custom), data
