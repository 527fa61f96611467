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


def test_an_integer_for_a_float_is_the_same_recipe() -> None:
    """Or a model trained with alpha=3 would be trained again for alpha=3.0."""
    size = PRESETS["cifar10"].size(None)
    made = [size.recipe(f"advreg(alpha={value})").alpha for value in ("3", "3.0")]
    assert made == [3.0, 3.0] and type(made[0]) is float


def test_transformers_are_tuned_gently() -> None:
    assert SCHEDULES["hf"] == Schedule(epochs=3, batch=32, learning_rate=5e-5, bfloat16=True)
