"""Every error of a command ends it with one sentence and the code of its kind."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import typer
from typer.testing import CliRunner, Result

from dynanoise.cli.main import COMMANDS
from dynanoise.cli.options import command
from dynanoise.core.errors import InputError
from tests.factories import audit_files
from tests.factories.commands import run
from tests.factories.waiting import limited


def fail(error: BaseException) -> Result:
    app = typer.Typer(pretty_exceptions_enable=False)

    @command(app)
    def failing() -> None:
        raise error

    return CliRunner().invoke(app, [])


def too_large() -> MemoryError:
    """The error of an array that fits no memory."""
    with pytest.raises(MemoryError) as raised:
        np.empty(1 << 56)
    return raised.value


class OutOfMemoryError(RuntimeError):
    __module__ = "torch"


@pytest.mark.parametrize(
    ("error", "code", "says"),
    [
        (InputError("It is 0.", "Use 1."), 2, "Error: It is 0. Use 1.\n"),
        (KeyboardInterrupt(), 130, "Interrupted.\n"),
        (KeyError("p0"), 70, "failed unexpectedly: KeyError: 'p0'. Please report"),
        (AssertionError(), 70, "failed unexpectedly: AssertionError. Please report"),
        (ValueError("a\nb"), 70, "failed unexpectedly: ValueError: a. Please report"),
        (RecursionError("deep."), 70, "RecursionError: deep. Please report"),
        (FileExistsError(errno.EEXIST, "File exists", "x"), 70, "FileExistsError"),
        (ConnectionResetError(errno.ECONNRESET, "reset"), 70, "ConnectionResetError"),
        (PermissionError(errno.EACCES, "Permission denied", "a/b"), 2, "a/b: Permission denied."),
        (OSError(errno.ENOSPC, "No space left on device"), 2, "No space left on device. Free"),
        (OSError(errno.EROFS, "Read-only file system", "out"), 2, "out: Read-only file system."),
        (OSError(errno.ENAMETOOLONG, "File name too long", "n"), 2, "Use a shorter path."),
        (OSError(errno.EADDRINUSE, "Address already in use"), 2, "Choose another port."),
        (OSError(errno.EMFILE, "Too many open files"), 2, "ulimit -n"),
        (MemoryError(), 2, "There is too little memory. Give fewer"),
        (too_large(), 2, "(Unable to allocate 512. PiB for an array with shape"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), 2, "too little memory"),
        (OutOfMemoryError("CUDA out of memory."), 2, "The GPU has too little memory."),
    ],
)
def test_errors(error: BaseException, code: int, says: str) -> None:
    found = fail(error)
    assert found.exit_code == code
    assert says in found.stderr
    assert found.stderr.count("\n") == 1 and found.stdout == ""
    assert code != 70 or "DYNANOISE_TRACEBACK=1" in found.stderr


@pytest.mark.parametrize("error", [KeyError("p0"), MemoryError(), OSError(errno.ENOSPC, "Full")])
def test_the_traceback_is_shown_where_it_is_wanted(
    error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DYNANOISE_TRACEBACK", "1")
    found = fail(error)
    assert found.exit_code == (70 if isinstance(error, KeyError) else 2)
    assert "Traceback (most recent call last)" in found.stderr and "raise error" in found.stderr
    assert found.stderr.splitlines()[-1].startswith("Error: ")
    assert "DYNANOISE_TRACEBACK" not in found.stderr


def test_a_message_shows_no_secret() -> None:
    found = fail(RuntimeError("key " + "ab" * 32))
    assert found.exit_code == 70 and "ab" * 32 not in found.output


@pytest.mark.parametrize(
    "name", [*(function.__name__ for function in COMMANDS), "key new", "key client", "store ls"]
)
def test_an_unexpected_error_of_any_command_is_never_1(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every command reads a file, or serves."""
    for method in ("is_file", "is_dir", "open", "read_text", "mkdir", "read_bytes", "exists"):
        monkeypatch.setattr(Path, method, broken)
    monkeypatch.setattr("dynanoise.web.server.make_server", broken)
    monkeypatch.setattr("dynanoise.noise.keys.write_secret", broken)
    arguments = {
        "bench": ["x.csv"],
        "sweep": ["temperature", "--out", "x"],
        "audit": ["x.npz"],
        "tune": ["x.npz"],
        "export": ["x.onnx", "-o", "y.onnx"],
        "configure": ["x.onnx"],
        "budget": ["x"],
        "verify": ["x"],
        "serve": ["--model", "x.onnx", "--defense", "x.yaml", "--no-auth"],
        "key client": ["shop"],
        "store ls": ["--store", "x"],
        "show": ["x"],
        "report": ["x"],
    }
    found = run(*name.split(), *arguments.get(name, []))
    monkeypatch.undo()
    assert found.exit_code == 70, found.output
    assert "ZeroDivisionError: broken" in found.stderr


def broken(*arguments: object, **named: object) -> None:
    raise ZeroDivisionError("broken")


def test_a_path_that_is_too_long_is_named() -> None:
    found = run("audit", "n" * 300 + ".npz")
    assert found.exit_code == 2 and "File name too long. Use a shorter path." in found.stderr


@pytest.mark.process
@pytest.mark.skipif(os.name != "posix", reason="pipes are POSIX")
@pytest.mark.parametrize(
    "arguments", ["bench --list", "--help", "key --help", "audit --help", "audit o.npz"]
)
def test_a_reader_that_is_gone_is_no_error(arguments: str, tmp_path: Path) -> None:
    """Text of typer.echo, help, and tables of Rich."""
    np.savez(tmp_path / "o.npz", **audit_files.arrays(1))
    words = arguments.replace("o.npz", str(tmp_path / "o.npz")).split()
    command = [sys.executable, "-m", "dynanoise", *words]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stderr is not None
    process.stdout.close()
    with limited(process):
        assert "rror" not in process.stderr.read() and process.wait() == 141
    process.stderr.close()
