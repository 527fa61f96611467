"""`dynanoise key`: makes secrets, names them, and does not show them."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner, Result

from dynanoise.cli import app


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["key", *arguments])


def test_a_new_key_goes_into_a_file_and_only_its_id_is_printed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = run("new")
    path = tmp_path / "dynanoise.key"
    assert done.exit_code == 0 and path.stat().st_mode & 0o777 == 0o600
    secret = path.read_text().strip()
    assert re.fullmatch("[0-9a-f]{64}", secret) and secret[:8] not in done.output
    assert f"file:{path}" in done.output and "export DYNANOISE_KEY" in done.output
    (named,) = re.findall("Key id: ([0-9a-f]{16})\n", done.output)
    assert run("id", f"file:{path}").output == f"Key id: {named}\n"
    monkeypatch.setenv("DYNANOISE_KEY", secret)
    assert run("id").output == f"Key id: {named}\n"


def test_an_existing_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "mine"
    path.write_text("precious")
    done = run("new", "--out", str(path))
    assert done.exit_code == 2 and "exists already" in done.output
    assert path.read_text() == "precious"


def test_a_secret_is_printed_only_on_purpose_and_alone(tmp_path: Path) -> None:
    done = run("new", "--out", "-")
    assert re.fullmatch("[0-9a-f]{64}\n", done.stdout)
    assert re.fullmatch("Key id: [0-9a-f]{16}\n", done.stderr)


def test_an_unfit_secret_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DYNANOISE_KEY", "00" * 32)
    done = run("id")
    assert done.exit_code == 2
    assert done.output.startswith("Error: The secret env:DYNANOISE_KEY is all zeros.")


@pytest.fixture
def deployed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a defense.yaml and its key."""
    monkeypatch.chdir(tmp_path)
    defense = {"name": "dynanoise", "base_variance": 0.3, "lambda_scale": 2.0, "temperature": 4}
    noise = {"name": "keyed", "cell_width": 4.0, "model": "m", "weights": "ab" * 32}
    noise["key"] = "file:dynanoise.key"
    content = {"version": 1, "defense": defense, "noise": noise}
    (tmp_path / "defense.yaml").write_text(yaml.safe_dump(content))
    assert run("new").exit_code == 0
    return tmp_path


def test_a_key_for_the_same_weights_is_not_made_by_habit(deployed: Path) -> None:
    done = run("rotate")
    assert done.exit_code == 2 and "under 1 key(s)" in done.output and "--leaked" in done.output
    assert sorted(path.name for path in deployed.iterdir()) == ["defense.yaml", "dynanoise.key"]


def test_the_cost_of_a_key_is_printed_and_the_keys_are_counted(deployed: Path) -> None:
    secrets = [(deployed / "dynanoise.key").read_text().strip()]
    for number, errors in ((2, "1.49, 1.06"), (3, "1.49, 1.06, 0.86"), (4, "1.49, 0.86, 0.75")):
        done = run("rotate", "--leaked", "--out", f"{number}.key")
        assert done.exit_code == 0 and f"Keys of this model: {number}." in done.output
        assert f"{number} with this key" in done.output and f": {errors} logits" in done.output
        secrets.append((deployed / f"{number}.key").read_text().strip())
        assert not any(secret[:16] in done.output for secret in secrets)
        assert run("id", f"file:{number}.key").output.split()[-1] in done.output
    assert len((deployed / "defense.keys").read_text().splitlines()) == 2 + 4


def test_a_new_version_of_the_model_takes_a_new_key_along(deployed: Path) -> None:
    weights = deployed / "next.onnx"
    weights.write_bytes(b"other weights")
    done = run("rotate", "--weights", str(weights))
    digest = hashlib.sha256(b"other weights").hexdigest()
    assert done.exit_code == 0 and f"noise.weights: {digest}" in done.output
    assert "adds no sample" in done.output
    again = run("rotate", "--weights", digest, "--out", "again.key")
    assert again.exit_code == 2 and "under 2 key(s)" in again.output


@pytest.mark.parametrize(
    ("history", "said"),
    [("5f" * 32, "line 1, is not 'KEY_ID WEIGHTS SETTING'"), (None, "cannot be read")],
)
def test_a_file_of_something_else_is_not_a_history(
    history: str | None, said: str, deployed: Path
) -> None:
    path = deployed / "defense.keys"
    path.mkdir() if history is None else path.write_text(history)
    done = run("rotate", "--leaked")
    assert done.exit_code == 2 and said in done.output and "5f5f" not in done.output
    assert not (deployed / "new.key").exists()
