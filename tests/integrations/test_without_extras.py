"""What is said where torch, transformers or onnx are not installed."""

from __future__ import annotations

import subprocess
import sys
import textwrap

import pytest

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
    ("call", "extra"),
    [
        ("dynanoise.torch.Defended", "train"),
        ("dynanoise.torch.weights_digest", "train"),
        ("dynanoise.transformers.defend", "hf"),
        ("dynanoise.onnx.export('m.onnx', 'd.onnx', DynaNoise())", "onnx"),
        ("dynanoise.onnx.DefendedSession('m.onnx')", "onnx"),
    ],
)
def test_the_extra_is_named(call: str, extra: str) -> None:
    code = textwrap.dedent(BLOCKED).format(call=call)
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.strip().endswith(f"Install it with: pip install 'dynanoise[{extra}]'")


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
    subprocess.run([sys.executable, "-c", textwrap.dedent(code)], check=True)
