"""What is said where torch, transformers or onnx are not installed."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
import textwrap

import pytest

from tests.factories.waiting import LONG

BLOCKED = """
    import sys
    class Missing:
        def find_spec(self, name, path=None, target=None):
            if name.split(".")[0] in ("torch", "transformers", "onnx", "onnxruntime"):
                raise ModuleNotFoundError(name)
    sys.meta_path.insert(0, Missing())
    import pathlib
    import dynanoise.onnx, dynanoise.torch, dynanoise.transformers
    from dynanoise.defenses.dynanoise import DynaNoise
    from dynanoise.core.errors import MissingExtraError
    try:
        {call}
    except MissingExtraError as error:
        print(error)
"""


@pytest.mark.process
@pytest.mark.parametrize(
    ("call", "packages"),
    [
        ("dynanoise.torch.Defended", ["safetensors", "torch"]),
        ("dynanoise.torch.weights_digest", ["safetensors", "torch"]),
        ("dynanoise.transformers.defend", ["safetensors", "torch", "transformers"]),
        ("dynanoise.onnx.export('m.onnx', 'd.onnx', DynaNoise())", ["onnx", "onnxruntime"]),
        ("dynanoise.onnx.DefendedSession('m.onnx')", ["onnx", "onnxruntime"]),
    ],
)
def test_the_packages_are_named(call: str, packages: list[str]) -> None:
    code = textwrap.dedent(BLOCKED).format(call=call)
    done = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=LONG
    )
    command = done.stdout.strip().partition("Install it with: pip install ")[2]
    assert [re.split("[<>=]", name)[0] for name in shlex.split(command)] == packages


def test_names_that_are_not_there() -> None:
    import dynanoise.torch
    import dynanoise.transformers

    for module in (dynanoise.torch, dynanoise.transformers):
        with pytest.raises(AttributeError, match="has no attribute 'Defend'"):
            module.Defend  # noqa: B018


@pytest.mark.process
def test_naming_the_wrappers_imports_nothing_heavy() -> None:
    code = """
        import dynanoise.onnx, dynanoise.torch, dynanoise.transformers, sys
        assert not {"torch", "transformers", "onnx", "onnxruntime"} & set(sys.modules)
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(code)], check=True, timeout=LONG)
