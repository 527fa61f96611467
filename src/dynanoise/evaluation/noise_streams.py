"""Which noise a method draws in an experiment, for whom; all of it from the run's seed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dynanoise.core.defense import Method
from dynanoise.core.seeding import derive, derive_bytes
from dynanoise.evaluation.responses import NoiseSource
from dynanoise.noise.fresh import Fresh
from dynanoise.noise.keyed import Keyed
from dynanoise.noise.keys import ExperimentKey


def noise_of(method: Method, seed: int, *path: str | int, holder: str = "") -> NoiseSource:
    """The noise of one model.

    Fresh noise has a stream for each purpose. Keyed noise has one key whatever the purpose, for a
    model has one; target and shadows, and any two models, have keys of their own, because an
    attacker lacks the target's. All of them are `ExperimentKey`: never production's.

    Args:
        method: whose noise.
        seed: of the run.
        path: of the model: what the run, the method and the model are called.
        holder: whose model it is, where the path does not say it.

    >>> from dynanoise.defenses.dynanoise import DynaNoise
    >>> noise_of(Method("dynanoise", DynaNoise()), 0, "target")("first").repeatable
    False
    >>> cells = noise_of(Method("cells", DynaNoise(), cell_width=12.0), 0, "target")
    >>> cells("first") == cells("further"), cells("first").repeatable
    (True, True)
    """
    width = method.cell_width
    if width is None:
        return lambda purpose: Fresh(
            derive(seed, "noise", *path, f"{holder} {purpose}" if holder else purpose)
        )
    whose = (*path, holder)
    weights = derive_bytes(seed, "stands for the digest of weights", *whose).hex()
    keyed = Keyed(width, method.name, weights, ExperimentKey(seed, *whose))
    return lambda purpose: keyed


def with_noise(said: Mapping[str, Any], method: Method) -> dict[str, Any]:
    """A described defense, with its noise where that is keyed.

    >>> from dynanoise.defenses.temperature import Temperature
    >>> with_noise({"name": "Temperature"}, Method("cells", Temperature(), cell_width=12.0))
    {'name': 'Temperature', 'noise': {'name': 'keyed', 'cell_width': 12.0}}
    """
    if method.cell_width is None:
        return dict(said)
    return {**said, "noise": {"name": "keyed", "cell_width": method.cell_width}}
