"""The page's JavaScript, called from Python through node."""

from __future__ import annotations

import base64
import json
import math
import shutil
import subprocess
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

HERE = Path(__file__).parent
LIB = HERE.parent.parent / "src" / "dynanoise" / "site" / "lib"

TOLERANCE = 1e-12


def call(function: str, *args: Any) -> dict[str, Any]:
    """A call of "module.function" for `answers`."""
    return {"call": function, "args": args}


def answers(calls: Iterable[dict[str, Any]], lib: Path = LIB) -> list[dict[str, Any]]:
    """What the functions said, {"value": ...} or {"refused": ...} each; one node for all of them."""
    node = shutil.which("node")
    if node is None:
        pytest.skip("node is not installed: the page's JavaScript cannot be run")
    # .js is a module to a browser that is told so; node takes this flag, or guesses.
    ran = subprocess.run(
        [node, "--no-warnings", "--experimental-default-type=module", HERE / "run.mjs", lib],
        input=json.dumps(list(calls)),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert ran.returncode == 0, ran.stderr
    found: list[dict[str, Any]] = json.loads(ran.stdout, object_hook=_number)
    return found


def values(calls: Iterable[dict[str, Any]]) -> list[Any]:
    """What the functions returned; a refusal fails the test."""
    found = answers(calls)
    refused = [one["refused"] for one in found if "refused" in one]
    assert not refused, refused
    return [one["value"] for one in found]


def _number(value: dict[str, Any]) -> Any:
    return float(value["$number"]) if set(value) == {"$number"} else value


def buffer(raw: bytes) -> dict[str, str]:
    """Bytes as an argument that becomes an ArrayBuffer."""
    return {"$base64": base64.b64encode(raw).decode()}


def matrix(rows: Any) -> dict[str, Any]:
    """A matrix as the modules take it."""
    array = np.asarray(rows, dtype=np.float64)
    return {"rows": array.shape[0], "classes": array.shape[1], "values": {"$f64": array.ravel().tolist()}}


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
