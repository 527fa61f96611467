"""The part of a result that is not measured: models, data, command, software and hardware."""

from __future__ import annotations

import hashlib
import os
import platform
import sys
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from dynanoise.core.defense import Defense
from dynanoise.core.numerics import Int8
from dynanoise.core.outputs import Pool
from dynanoise.core.result import AUDIT

_PACKAGES = ("dynanoise", "numpy", "scipy", "scikit-learn", "torch", "opacus", "pillow")


def versions(also: Iterable[str] = ()) -> dict[str, str]:
    """Versions of Python and of the packages that decide the numbers.

    Args:
        also: packages that only this run needs.

    Returns:
        Versions by name; packages that are not installed are left out.

    >>> sorted(versions())[:2]
    ['dynanoise', 'numpy']
    """
    installed = {"python": platform.python_version()}
    for name in (*_PACKAGES, *also):
        with suppress(metadata.PackageNotFoundError):
            installed[name] = metadata.version(name)
    return installed


def hardware() -> dict[str, Any]:
    """Processor, cores and memory (GiB) of this machine; never its name or its users'.

    Returns:
        Values by name; memory is None where the system does not tell. Instruction sets are those
        that NumPy uses beyond its baseline: X86_V3 has AVX2, X86_V4 has AVX-512.

    >>> sorted(hardware())
    ['cores', 'instruction_sets', 'memory_gib', 'processor', 'system']
    """
    return {
        "processor": _processor(),
        "instruction_sets": _instruction_sets(),
        "cores": os.cpu_count(),
        "memory_gib": _memory_gib(),
        "system": f"{platform.system()} {platform.machine()}",
    }


@dataclass(frozen=True)
class Provenance:
    """The fields of a `Result` that are the same for all its methods of one recipe.

    Attributes:
        dataset: name of the data.
        model: name of the architecture, or of how the models were brought.
        command: command line that repeats the numbers.
        model_parameters: parameters of the architecture.
        recipe: name of the training recipe.
        recipe_parameters: parameters of the training recipe.
        preset: name of the comparison.
        counts: how many models and records there are, by part.
        versions, hardware: see the functions of these names.
        training: seconds and retries of the training, see `Result`.
    """

    dataset: str
    model: str
    command: str
    model_parameters: Mapping[str, Any] = field(default_factory=dict)
    recipe: str = "as given"
    recipe_parameters: Mapping[str, Any] = field(default_factory=dict)
    preset: str = AUDIT
    counts: Mapping[str, int] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=versions)
    hardware: Mapping[str, Any] = field(default_factory=hardware)
    training: Mapping[str, float] = field(default_factory=dict)


def describe(defense: Defense, cell_width: float | None = None) -> dict[str, Any]:
    """Class and parameters of a defense, and its noise where that is keyed.

    Args:
        defense: fitted to a model; of its arrays shape and SHA-256 are given.
        cell_width: cell width of keyed noise, in logits; None for fresh noise.

    Returns:
        Values by name that can be written as JSON.

    >>> from dynanoise.defenses.temperature import Temperature
    >>> describe(Temperature(4))
    {'name': 'Temperature', 'temperature': 4.0}
    >>> describe(Temperature(4), cell_width=12.0)["noise"]
    {'name': 'keyed', 'cell_width': 12.0}
    """
    parameters: dict[str, Any] = asdict(defense)  # type: ignore[call-overload]
    for name, value in parameters.items():
        if isinstance(value, np.ndarray):
            digest = hashlib.sha256(np.ascontiguousarray(value).tobytes()).hexdigest()
            parameters[name] = {"shape": list(value.shape), "sha256": digest}
    noise = {} if cell_width is None else {"noise": {"name": "keyed", "cell_width": cell_width}}
    return {"name": type(defense).__name__, **parameters, **noise}


def count_records(pool: Pool, scored: Int8) -> dict[str, int]:
    """Count models, records by part, and pairs of model and record that are scored.

    Args:
        pool: outputs of one or several models.
        scored: int8 [M, S], membership; -1 for pairs that are not scored.

    Returns:
        Numbers by name: models, pool, reference, test, scored_members and scored_non_members.
    """
    return {
        "models": pool.models,
        "pool": len(pool.records.ids),
        "reference": len(pool.reference.labels),
        "test": len(pool.test.labels),
        "scored_members": int((scored == 1).sum()),
        "scored_non_members": int((scored == 0).sum()),
    }


def device(name: str) -> str:
    """Name of the device that trained: "cpu", or the model of the graphics card.

    Args:
        name: "cpu" or "cuda", as for a plan.

    Returns:
        The name for results.

    >>> device("cpu")
    'cpu'
    """
    if name == "cpu":
        return name
    from dynanoise.training.devices import device_name

    return device_name(name)


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def _instruction_sets() -> list[str]:
    configuration: Any = np.show_config(mode="dicts")
    return list(configuration["SIMD Extensions"]["found"])


def _memory_gib() -> float | None:
    try:
        size = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return None
    return round(size / 2**30, 1)


def peak_gib() -> float:
    """Largest resident memory of this process so far, in GiB; not on Windows.

    Returns:
        A number of GiB with two decimals.
    """
    import resource

    unit = 1 if sys.platform == "darwin" else 1024
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**30, 2)
