"""Keys of stored models stay what they are when modules move: models cost hours."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs torch: pip install 'dynanoise[train]'")
pytest.importorskip("safetensors", reason="storing needs: pip install 'dynanoise[train]'")

from dynanoise.core.registry import DATASETS, MODELS, RECIPES, Registry  # noqa: E402
from dynanoise.data.near_duplicates import NearDuplicates  # noqa: E402
from dynanoise.training.jobs import Job, NearQueries  # noqa: E402
from dynanoise.training.schedule import Schedule  # noqa: E402
from dynanoise.training.store.store import key, stored_name  # noqa: E402

MODEL_NAMES = {
    "alexnet": "dynanoise.training.models.alexnet.Alexnet",
    "cnn": "dynanoise.training.models.cnn.Cnn",
    "hf": "dynanoise.training.models.hf.Hf",
    "mlp": "dynanoise.training.models.mlp.Mlp",
    "scattering": "dynanoise.training.models.scattering.Scattering",
    "text": "dynanoise.training.models.text.Text",
}
RECIPE_NAMES = {
    "advreg": "dynanoise.training.recipes.advreg.AdvReg",
    "dpsgd": "dynanoise.training.recipes.dpsgd.DpSgd",
    "hamp": "dynanoise.training.recipes.hamp.Hamp",
    "out_of_fold": "dynanoise.training.recipes.out_of_fold.OutOfFold",
    "plain": "dynanoise.training.recipes.plain.Plain",
    "relaxloss": "dynanoise.training.recipes.relaxloss.RelaxLoss",
    "selena": "dynanoise.training.recipes.selena.Selena",
}


@pytest.mark.parametrize(
    ("registry", "names"),
    [(MODELS, MODEL_NAMES), (RECIPES, RECIPE_NAMES)],
    ids=["models", "recipes"],
)
def test_names_in_keys_are_frozen(registry: Registry, names: dict[str, str]) -> None:
    """A component of this package with a new name is one more line here, never another line."""
    assert {name: stored_name(registry.get(name)) for name in registry.names()} == names
    assert all(vars(registry.get(name))["stored_as"] == names[name] for name in names)


def test_near_duplicates_keep_their_name() -> None:
    assert stored_name(NearDuplicates) == "dynanoise.training.near_duplicates.NearDuplicates"


def test_a_component_of_another_package_is_named_by_its_module() -> None:
    @dataclass(frozen=True)
    class Deep(MODELS.get("mlp")):  # type: ignore[misc]
        pass

    name = f"{__name__}.test_a_component_of_another_package_is_named_by_its_module.<locals>.Deep"
    assert stored_name(Deep) == name

    class Moved:
        stored_as: ClassVar[str] = "theirs.before.Moved"

    assert stored_name(Moved) == "theirs.before.Moved"


@pytest.mark.parametrize(
    ("recipe", "near", "expected"),
    [
        ("plain", None, "0c7824889e558ad1d4f4a10dc5151b67959038356cec281d9d849a2aa92d0847"),
        (
            "plain",
            NearQueries(NearDuplicates(), np.arange(90)),
            "defebe8cb386963fa3bbc0a8a80216b7975b546766781b2e5da4c3f1750be663",
        ),
        ("dpsgd", None, "9d89c6b598947f8d79ae5b87f9aba502ef7bbdbb48a9e7ee933fe02f0162a876"),
    ],
    ids=["records", "near-duplicates", "dpsgd"],
)
def test_whole_keys_stay_as_they_are(
    monkeypatch: pytest.MonkeyPatch, recipe: str, near: NearQueries | None, expected: str
) -> None:
    """Computed by the package before its modules moved, and components got further parameters."""
    monkeypatch.setattr(torch, "__version__", "2.6.0")
    data = DATASETS.get("digits")()
    assert data.digest == "8b16fb6a3b6772a8a774c59098c8087fb9ac686c408e7bc1d79b9c253a82cebd"
    job = Job(
        name="target",
        model=MODELS.get("mlp")((16,)),
        recipe=RECIPES.get(recipe)(Schedule(epochs=20, learning_rate=1e-2)),
        members=np.arange(60),
        reference=np.arange(60, 90),
        seed=1,
        near=near,
    )
    assert key(job, data) == expected
    if recipe == "dpsgd":
        assert key(replace(job, recipe=replace(job.recipe, target_epsilon=3.0)), data) != expected
