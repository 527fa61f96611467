"""Compiled once, kept where there is room, and announced."""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("numba", reason="the kernel needs: pip install 'dynanoise[fast]'")

from numba.core import event

from dynanoise.defenses import compiled
from dynanoise.defenses.dynanoise import DynaNoise
from dynanoise.defenses.temperature import Temperature
from dynanoise.kernel import entries, jit
from dynanoise.noise.experiment import ExperimentKey
from dynanoise.noise.keyed import Keyed


def test_without_a_folder_to_write_in_it_is_compiled_all_the_same() -> None:
    space: dict[str, Any] = {}
    exec("def double(x): return x + x", space)  # in no file: numba finds no place for it
    assert jit.entry(space["double"])(21) == 42


def test_entries_close_over_nothing_that_is_another_in_every_process() -> None:
    """Else their compiled code would never be found again, and pile up."""
    for entry in (entries.keyed, entries.fresh_32, entries.fresh_64):
        cells = [cell.cell_contents for cell in entry.py_func.__closure__ or ()]
        assert cells == [jit.sources()] and len(jit.sources()) == 64


def test_only_compiling_is_announced_and_only_once(capsys: pytest.CaptureFixture[str]) -> None:
    said = jit._Announcement()
    with event.install_listener("numba:compile", said):
        for module in ("somebody.else", None):

            def theirs(x: int) -> int:
                return x + 1

            theirs.__module__ = module  # type: ignore[assignment]
            jit.exact(theirs)(1)
        assert not said.said  # other packages' functions, and one of no module
        for one in (lambda x: x + 2, lambda x: x + 3):
            one.__module__ = "dynanoise.kernel.tests"
            function = jit.exact(one)
            function(1)
            function(2)
    assert said.said
    assert "dynanoise: compiling the kernel" in capsys.readouterr().err


def test_it_is_compiled_silently_where_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jit._announcement, "said", False)
    noise = Keyed(4.0, "m", "ab" * 32, ExperimentKey(0))
    assert compiled.warm(DynaNoise(), noise, ("float32", "float64"))
    assert jit._announcement.said
    assert not compiled.warm(Temperature(), noise, ("float32",))
    assert not compiled.warm(DynaNoise(sensitivity="margin"), noise, ("float32",))
