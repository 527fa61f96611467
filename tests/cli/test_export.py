"""`dynanoise export`: what it writes and says."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner, Result

pytest.importorskip("onnxruntime", reason="pip install 'dynanoise[onnx]'")

from dynanoise.cli import app
from dynanoise.config.configuration import Configuration
from dynanoise.defenses.dynanoise import DynaNoise
from dynanoise.noise.keyed import Keyed
from dynanoise.onnx import DefendedSession, export
from tests.factories import onnx_models
from tests.factories.onnx_models import linear, node, tensor


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, ["export", *map(str, arguments)])


def test_it_writes_what_the_library_exports(tmp_path: Path) -> None:
    source = linear(tmp_path / "m.onnx")
    text = "dynanoise(base_variance=0.1, temperature=6, samples=2, keep_label=True)"
    done = run(source, "-o", tmp_path / "d.onnx", "--defense", text)
    assert done.exit_code == 0, done.output
    export(source, tmp_path / "e.onnx", DynaNoise(0.1, 2, 6, samples=2, keep_label=True))
    assert (tmp_path / "d.onnx").read_bytes() == (tmp_path / "e.onnx").read_bytes()
    assert "supplies noise, float32 [2, batch, 3]" in done.output
    assert "averaged away" in done.output
    found = DefendedSession(tmp_path / "d.onnx")(np.zeros((2, 4), np.float32))
    assert found.shape == (2, 3)


def test_labels_are_kept_unless_told_otherwise(tmp_path: Path) -> None:
    source = linear(tmp_path / "m.onnx")
    rows = np.random.default_rng(0).normal(size=(200, 4)).astype(np.float32)
    labels = (rows @ onnx_models.WEIGHTS).argmax(axis=-1)
    for defense, kept in (
        ([], True),
        (["--defense", "dynanoise(base_variance=9)"], False),
        (["--defense", "temperature"], True),
    ):
        done = run(source, "-o", tmp_path / "d.onnx", *defense)
        assert done.exit_code == 0, done.output
        found = DefendedSession(tmp_path / "d.onnx")(rows)
        assert (found.argmax(axis=-1) == labels).all() == kept
        assert ("The noise changes labels" in done.output) == (not kept)


def test_outputs_axes_and_what_they_hold_can_be_told(tmp_path: Path) -> None:
    nodes = [node("Softmax", ["logits"], ["p"], axis=-1), node("Transpose", ["p"], ["t"])]
    outputs = [tensor("logits", ["batch", 3]), tensor("t", [3, "batch"])]
    source = linear(tmp_path / "m.onnx", *nodes, output=outputs)
    more = ("--output", "t", "--class-axis", "0", "--input", "probabilities")
    done = run(source, "--out", tmp_path / "d.onnx", "--defense", "temperature", *more)
    assert done.exit_code == 0, done.output
    assert "dropped: logits" in done.output and "There is no noise in it" in done.output
    rows = np.eye(4, dtype=np.float32)
    clean = rows @ onnx_models.WEIGHTS
    found = DefendedSession(tmp_path / "d.onnx")(rows)
    weights = np.exp(clean / 10)
    np.testing.assert_allclose(found.T, weights / weights.sum(-1, keepdims=True), atol=1e-6)


def test_a_configuration_says_it_all(tmp_path: Path) -> None:
    source = linear(
        tmp_path / "m.onnx",
        node("Softmax", ["logits"], ["p"], axis=-1),
        output=[tensor("logits", ["batch", 3]), tensor("p", ["batch", 3])],
    )
    defense = DynaNoise(0.1, 2, 6)
    file = tmp_path / "defense.yaml"
    Configuration(defense, "fresh", output="p", input="probabilities").write(file)
    done = run(source, "-o", tmp_path / "d.onnx", "--defense", file)
    assert done.exit_code == 0, done.output
    export(source, tmp_path / "e.onnx", defense, output="p", input="probabilities")
    assert (tmp_path / "d.onnx").read_bytes() == (tmp_path / "e.onnx").read_bytes()
    twice = run(source, "-o", tmp_path / "d.onnx", "--defense", file, "--class-axis", "1")
    assert twice.exit_code == 2 and "--class-axis was given beside" in twice.output
    Configuration(defense, Keyed(4.0, "m", "ab" * 32)).write(file)
    keyed = run(source, "-o", tmp_path / "d.onnx", "--defense", file)
    assert keyed.exit_code == 2 and "would have to hold its secret" in keyed.output


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--noise", "keyed"], "would have to hold its secret"),
        (["--noise", "system"], "--noise is 'system'"),
        (["--defense", "none"], "'none' changes nothing"),
        (["--defense", "static"], "fit Static and export"),
        (["--defense", "memguard"], "cannot be written into a graph"),
        (["--defense", "dynanoize"], "Did you mean 'dynanoise'?"),
        (["--defense", "dynanoise(heat=3)"], "no parameter 'heat'"),
        (["--output", "scores"], "has no output 'scores'"),
    ],
)
def test_mistakes_are_one_sentence_and_write_nothing(
    tmp_path: Path, options: list[str], said: str
) -> None:
    done = run(linear(tmp_path / "m.onnx"), "-o", tmp_path / "d.onnx", *options)
    assert done.exit_code == 2
    assert said in done.output and done.output.startswith("Error: ")
    assert [one.name for one in tmp_path.iterdir()] == ["m.onnx"]
