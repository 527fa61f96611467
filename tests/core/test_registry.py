"""Names without imports, and other packages' components."""

from __future__ import annotations

import importlib.metadata
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from dynanoise.core import registry
from dynanoise.core.errors import UnknownNameError
from dynanoise.core.registry import Registry
from tests.factories.waiting import LONG

ALL = [
    registry.DEFENSES,
    registry.SENSITIVITIES,
    registry.NOISES,
    registry.STATISTICS,
    registry.ATTACKS,
    registry.DATASETS,
    registry.MODELS,
    registry.RECIPES,
    registry.PRESETS,
]


@pytest.mark.parametrize("kind", ALL, ids=lambda kind: kind.kind)
def test_every_name_leads_to_a_component(kind: Registry) -> None:
    assert kind.names() == tuple(sorted(kind.names())) != ()
    if kind.package.startswith(("dynanoise.training.models", "dynanoise.training.recipes")):
        pytest.importorskip("torch", reason="training needs torch: pip install 'dynanoise[train]'")
    for name in kind.names():
        assert kind.get(name) is not None


@pytest.mark.process
def test_listing_names_imports_no_component() -> None:
    """In a fresh interpreter, so that nothing was imported before."""
    code = """
        import sys
        from dynanoise.core import registry
        names = [kind.names() for kind in vars(registry).values()
                 if isinstance(kind, registry.Registry)]
        assert all(names), names
        heavy = {"torch", "sklearn", "scipy", "numpy", "datasets", "pyarrow", "PIL",
                 "dynanoise.defenses.dynanoise"}
        assert not heavy & set(sys.modules), heavy & set(sys.modules)
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(code)], check=True, timeout=LONG)


def test_an_unknown_name_suggests_the_closest() -> None:
    with pytest.raises(UnknownNameError, match=r"no defense 'dynanose'\. Did you mean 'dynanoise'"):
        registry.DEFENSES.get("dynanose")


def test_entry_points_of_other_packages_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    entry = importlib.metadata.EntryPoint("mine", "fractions:Fraction", "a.group")
    monkeypatch.setattr(
        importlib.metadata, "entry_points", lambda group: {"a.group": [entry]}[group]
    )
    fresh = Registry("defense", "dynanoise.defenses", "DEFENSES", "a.group")
    assert "mine" in fresh.names()
    assert fresh.get("mine").__name__ == "Fraction"


def test_two_components_of_one_name_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    entry = importlib.metadata.EntryPoint("static", "fractions:Fraction", "dynanoise.defenses")
    monkeypatch.setattr(importlib.metadata, "entry_points", lambda group: [entry])
    fresh = Registry("defense", "dynanoise.defenses", "DEFENSES", "dynanoise.defenses")
    with pytest.raises(UnknownNameError, match="Two components call themselves defense 'static'"):
        fresh.names()


def test_a_computed_dictionary_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "computed_components.py").write_text("DEFENSES = dict(a=1)\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(TypeError, match="must be a literal dictionary"):
        Registry("defense", "computed_components", "DEFENSES", "none").names()


def test_groups_are_promises_to_other_packages() -> None:
    """They stay as they are wherever modules move."""
    assert {kind.variable.lower(): kind.group for kind in ALL} == {
        "defenses": "dynanoise.defenses",
        "sensitivities": "dynanoise.sensitivities",
        "noises": "dynanoise.noise",
        "statistics": "dynanoise.statistics",
        "attacks": "dynanoise.attacks",
        "datasets": "dynanoise.datasets",
        "models": "dynanoise.models",
        "recipes": "dynanoise.recipes",
        "presets": "dynanoise.presets",
    }
