"""Compiled once, kept where there is room, and announced."""

from __future__ import annotations

import ast
import contextlib
import errno
import importlib.util
import io
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("numba", reason="the kernel needs: pip install 'dynanoise[fast]'")

import numba
from numba.core import caching, event

from dynanoise.defenses.dynanoise import DynaNoise, compile_ahead
from dynanoise.defenses.temperature import Temperature
from dynanoise.noise.kernel import entries, jit
from dynanoise.noise.keyed import Keyed
from dynanoise.noise.keys import ExperimentKey
from tests.factories.waiting import LONG


def test_without_a_folder_to_write_in_it_is_compiled_all_the_same() -> None:
    space: dict[str, Any] = {}
    exec("def double(x): return x + x", space)  # in no file: numba finds no place for it
    assert jit.entry(space["double"])(21) == 42


def _kept(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(numba.config, "CACHE_DIR", str(folder))
    return jit.entry(_doubled)


def _doubled(x: int) -> int:
    return x + x


def test_compiled_code_is_kept_and_found_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert _kept(tmp_path, monkeypatch)(21) == 42
    again = _kept(tmp_path, monkeypatch)
    assert again(21) == 42
    assert sum(again.stats.cache_hits.values()) == 1


@pytest.mark.parametrize("ending", ["*.nbi", "*.nbc"])
def test_what_was_kept_in_part_is_made_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ending: str
) -> None:
    """A full disk and a copy that was cut off leave such files."""
    _kept(tmp_path, monkeypatch)(21)
    (file,) = tmp_path.rglob(ending)
    file.write_bytes(file.read_bytes()[:20])
    assert _kept(tmp_path, monkeypatch)(21) == 42
    healed = _kept(tmp_path, monkeypatch)
    assert healed(21) == 42
    assert sum(healed.stats.cache_hits.values()) == 1


def test_without_room_to_keep_it_answers_are_made_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(caching.IndexDataCacheFile, "save", full)
    assert _kept(tmp_path, monkeypatch)(21) == 42


@pytest.mark.parametrize("stderr", [None, io.StringIO()])
def test_a_service_without_stderr_compiles(monkeypatch: pytest.MonkeyPatch, stderr: Any) -> None:
    if stderr is not None:
        stderr.close()
    monkeypatch.setattr("sys.stderr", stderr)
    with event.install_listener("numba:compile", jit._Announcement()):

        def plain(x: int) -> int:
            return x + 4

        plain.__module__ = "dynanoise.noise.kernel.tests"
        assert jit.exact(plain)(1) == 5


def test_where_numba_does_not_compile_numpy_answers() -> None:
    code = """
import numpy as np, dynanoise as dn
from dynanoise.noise.keys import ExperimentKey
rows = np.array([[3.0, 1.0, 0.0]])
for noise in (dn.SystemFresh(), dn.Keyed(4.0, "m", "ab" * 32, ExperimentKey(0))):
    assert dn.DynaNoise()(rows, noise).shape == (1, 3)
"""
    env = {**os.environ, "NUMBA_DISABLE_JIT": "1"}
    subprocess.run([sys.executable, "-W", "error", "-c", code], env=env, check=True, timeout=LONG)


def test_entries_close_over_nothing_that_is_another_in_every_process() -> None:
    """Else their compiled code would never be found again, and pile up."""
    for entry in (entries.keyed, entries.fresh_32, entries.fresh_64):
        cells = [cell.cell_contents for cell in entry.py_func.__closure__ or ()]
        assert cells == [jit.source_digest()] and len(jit.source_digest()) == 64


def test_only_compiling_is_announced_and_only_once(capsys: pytest.CaptureFixture[str]) -> None:
    listener = jit._Announcement()
    with event.install_listener("numba:compile", listener):
        for module in ("somebody.else", None):

            def theirs(x: int) -> int:
                return x + 1

            theirs.__module__ = module  # type: ignore[assignment]
            jit.exact(theirs)(1)
        assert not listener.silent  # other packages' functions, and one of no module
        for plain in (lambda x: x + 2, lambda x: x + 3):
            plain.__module__ = "dynanoise.noise.kernel.tests"
            function = jit.exact(plain)
            function(1)
            function(2)
    assert listener.silent
    assert "dynanoise: compiling the kernel" in capsys.readouterr().err


def test_it_is_compiled_silently_where_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jit._announcement, "silent", False)
    noise = Keyed(4.0, "m", "ab" * 32, ExperimentKey(0))
    assert compile_ahead(DynaNoise(), noise, ("float32", "float64"))
    assert jit._announcement.silent
    assert not compile_ahead(Temperature(), noise, ("float32",))
    assert not compile_ahead(DynaNoise(sensitivity="margin"), noise, ("float32",))


def test_the_digest_covers_every_file_that_compiled_code_is_made_from() -> None:
    """Also constants of other modules, which numba freezes into the code."""
    covered = {path.resolve() for path in jit.source_files()}
    kernel = Path(jit.__file__).resolve().parent
    assert set(kernel.glob("*.py")) <= covered
    for path in kernel.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.ImportFrom) or not str(node.module).startswith("dynanoise"):
                continue
            for module in (node.module, *(f"{node.module}.{name.name}" for name in node.names)):
                with contextlib.suppress(ModuleNotFoundError):
                    spec = importlib.util.find_spec(str(module))
                    if spec is not None and not spec.submodule_search_locations:
                        assert Path(str(spec.origin)).resolve() in covered, module
