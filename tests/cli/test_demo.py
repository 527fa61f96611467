"""`dynanoise demo`."""

from __future__ import annotations

import os
import signal
import subprocess
import urllib.request
from pathlib import Path

import pytest
from typer.testing import CliRunner

from docs.generate import ROOT
from dynanoise.cli import app
from dynanoise.web.server import read_page
from tests.factories.commands import interruptible
from tests.factories.gateways import LAST_RESORT
from tests.factories.waiting import limited


def test_the_files_can_be_written(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["demo", "--out", str(tmp_path / "site")])
    assert done.exit_code == 0 and f"Wrote {len(read_page())} files" in done.stderr
    written = {
        path.relative_to(tmp_path / "site").as_posix(): path.read_bytes()
        for path in (tmp_path / "site").rglob("*")
        if path.is_file()
    }
    assert written == read_page()


def test_a_folder_that_cannot_be_written_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "site").write_text("a file")
    done = CliRunner().invoke(app, ["demo", "--out", str(tmp_path / "site")])
    assert done.exit_code == 2 and "could not be written" in done.stderr


@pytest.mark.process
def test_it_serves_until_it_is_interrupted() -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "PYTHONUNBUFFERED": "1"}
    command = interruptible("demo", "--no-browser", "--port", "0")
    running = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
    try:
        assert running.stdout is not None
        with limited(running):
            line = running.stdout.readline()
        address = next(word for word in line.split() if word.startswith("http://127.0.0.1:"))
        with urllib.request.urlopen(address, timeout=LAST_RESORT) as answer:
            assert b"DynaNoise" in answer.read()
        running.send_signal(signal.SIGINT)
        assert running.wait(LAST_RESORT) == 0
    finally:
        running.kill()
        running.communicate()
