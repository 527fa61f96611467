"""Every model has a schedule."""

from __future__ import annotations

from dynanoise.benchmark.presets import PRESETS, SCHEDULES
from dynanoise.core.registry import MODELS
from dynanoise.training.schedule import Schedule


def test_every_model_has_one() -> None:
    assert set(SCHEDULES) == set(MODELS.names())


def test_presets_use_them() -> None:
    for name in ("digits", "breast_cancer", "cifar10", "sst2"):
        preset = PRESETS[name]
        assert preset.size(None).recipes["plain"]["schedule"] == SCHEDULES[preset.model]


def test_transformers_are_tuned_gently() -> None:
    assert SCHEDULES["hf"] == Schedule(epochs=3, batch=32, learning_rate=5e-5, bfloat16=True)
