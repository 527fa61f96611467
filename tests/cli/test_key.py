"""`dynanoise key`: makes secrets, names them, and does not show them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
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
