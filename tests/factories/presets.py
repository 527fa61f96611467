"""The benchmark of digits, with few records and short training."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from dynanoise.benchmark.preset import Preset, Size
from dynanoise.benchmark.presets import PRESETS
from dynanoise.training.schedule import Schedule


def small_digits(models: int = 8, probed: int = 1000, **changes: Any) -> Preset:
    """Make a preset of 150 digits, of which a model trains in a tenth of a second.

    Args:
        models: number of models of a pool.
        probed: number of records that protocols with chosen inputs attack.
        changes: fields of the preset.
    """
    size = Size(
        pool=150,
        reference=60,
        recipes={"plain": {"schedule": Schedule(epochs=25, learning_rate=1e-2)}},
        models={"plain": models},
        probed=probed,
    )
    fields = {"sizes": {"cpu": size}, "model_parameters": {"hidden": (16,)}, **changes}
    return replace(PRESETS["digits"], **fields)
