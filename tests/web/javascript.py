"""The page's JavaScript, called from Python through node."""

from __future__ import annotations

import base64
import json
import math
import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.factories.waiting import limited

HERE = Path(__file__).parent
LIB = HERE.parent.parent / "src" / "dynanoise" / "web" / "lib"

TOLERANCE = 1e-12


def call(function: str, *args: Any) -> dict[str, Any]:
    """A call of "module.function"."""
    return {"call": function, "args": args}


class JavaScript:
    """A node that runs the modules of a folder, until it is closed.

    Args:
        lib: the folder.
    """

    def __init__(self, lib: Path = LIB) -> None:
        node = shutil.which("node")
        if node is None:
            pytest.skip("node is not installed: the page's JavaScript cannot be run")
        # A browser is told that .js is a module; node wants a package that says so.
        self._copy = tempfile.TemporaryDirectory()
        copied = shutil.copytree(lib, Path(self._copy.name) / "lib")
        shutil.copytree(lib.parent / "vendor", Path(self._copy.name) / "vendor")
        (copied.parent / "package.json").write_text('{"type": "module"}')
        self._node = subprocess.Popen(
            [node, HERE / "run.mjs", copied],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            encoding="utf-8",
        )

    def answers(self, calls: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
        """What the functions said, {"value": ...} or {"refused": ...} each."""
        assert self._node.stdin and self._node.stdout and self._node.stderr
        with limited(self._node):
            self._node.stdin.write(json.dumps(list(calls)) + "\n")
            self._node.stdin.flush()
            line = self._node.stdout.readline()
        assert line, self._node.stderr.read()
        found: list[dict[str, Any]] = json.loads(line, object_hook=_number)
        return found

    def values(self, calls: Iterable[dict[str, Any]]) -> list[Any]:
        """What the functions returned; a refusal fails the test."""
        found = self.answers(calls)
        refused = [one["refused"] for one in found if "refused" in one]
        assert not refused, refused
        return [one["value"] for one in found]

    def close(self) -> None:
        """Ends node."""
        self._node.communicate(timeout=60)
        self._copy.cleanup()


def _number(value: dict[str, Any]) -> Any:
    return float(value["$number"]) if set(value) == {"$number"} else value


def buffer(raw: bytes) -> dict[str, str]:
    """Bytes as an argument that becomes an ArrayBuffer."""
    return {"$base64": base64.b64encode(raw).decode()}


def matrix(rows: Any) -> dict[str, Any]:
    """A matrix as the modules take it."""
    array = np.asarray(rows, dtype=np.float64)
    return {
        "rows": array.shape[0],
        "classes": array.shape[1],
        "values": {"$f64": array.ravel().tolist()},
    }


def agree(found: Any, expected: Any, *, relative: bool = False, where: str = "") -> None:
    """The same structure, text and integers; floats to 1e-12 of the larger of 1 and themselves.

    Args:
        found: what JavaScript made.
        expected: what Python has.
        relative: True for floats to 1e-12 of themselves, however small: probabilities.
        where: for messages.
    """
    if isinstance(expected, dict):
        assert set(found) == set(expected), where
        for key in expected:
            agree(found[key], expected[key], relative=relative, where=f"{where}.{key}")
    elif isinstance(expected, Sequence) and not isinstance(expected, str):
        assert len(found) == len(expected), where
        for i, one in enumerate(expected):
            agree(found[i], one, relative=relative, where=f"{where}[{i}]")
    elif isinstance(expected, float) and math.isfinite(expected):
        scale = abs(expected) if relative else max(1.0, abs(expected))
        assert abs(found - expected) <= TOLERANCE * scale, f"{where}: {found} and {expected}"
    else:
        assert found == expected, f"{where}: {found} and {expected}"
