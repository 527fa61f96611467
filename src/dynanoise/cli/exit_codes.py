"""Exit codes of all commands, and errors turned into one sentence."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from enum import IntEnum
from typing import Any

import typer
from typer.core import TyperGroup

from dynanoise.core.errors import DynaNoiseError

TRACEBACK = "DYNANOISE_TRACEBACK"
"""Environment variable that shows where an error was raised, unless it is empty."""


class ExitCode(IntEnum):
    """An exit code with its meaning."""

    description: str

    def __new__(cls, value: int, description: str) -> ExitCode:
        """Make a member of a number and a description."""
        code = int.__new__(cls, value)
        code._value_ = value
        code.description = description
        return code

    SUCCESS = 0, "success; no condition of `audit --fail-if` holds"
    HOLDS = (
        1,
        "`audit`: a condition of `--fail-if` holds, or a server is not as configured; "
        "`tune`: no setting keeps to the limits and gains",
    )
    WRONG_USE = (
        2,
        "wrong use, or something to put right on the machine: an option, a file, a permission, "
        "disk space, memory",
    )
    UNRESOLVED = 3, "`audit`: too few records or models for a condition, or for any attack"
    UNEXPECTED = 70, "an error of dynanoise itself; please report it"
    INTERRUPTED = 130, "interrupted by Ctrl-C"
    CLOSED = 141, "the reader of the output is gone, such as `head` in a pipe"


_REMEDIES = {
    errno.ENOSPC: "Free disk space, or name another place.",
    errno.EDQUOT: "Free disk space, or name another place.",
    errno.EROFS: "Name another place.",
    errno.EACCES: "Change its permissions, or name another place.",
    errno.EPERM: "Change its permissions, or name another place.",
    errno.ENOENT: "Check the path.",
    errno.ENOTDIR: "Check the path.",
    errno.EISDIR: "Name a file.",
    errno.ENAMETOOLONG: "Use a shorter path.",
    errno.ELOOP: "Check the path.",
    errno.EMFILE: "Allow more open files (ulimit -n), or use fewer --workers.",
    errno.ENFILE: "Close other programs, or use fewer --workers.",
    errno.EADDRINUSE: "Choose another port.",
    errno.EADDRNOTAVAIL: "Choose another address.",
    errno.ENOMEM: "Use fewer --workers, or a machine with more memory.",
    errno.EAGAIN: "Allow more processes (ulimit -u), or use fewer --workers.",
}


class CommandGroup(TyperGroup):
    """The commands, whose output, help among it, may be cut off by its reader.

    Rich and click end the process with 1 then, which is the code of a condition that holds.
    """

    def main(self, *args: Any, **named: Any) -> Any:
        """Run a command; see `click.Command.main`."""
        try:
            return super().main(*args, **named)
        except SystemExit as error:
            if not isinstance(error.__context__, BrokenPipeError):
                raise
            # Else Python writes the rest when it ends, and reports the error then.
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            raise SystemExit(ExitCode.CLOSED) from None


@contextmanager
def exit_codes() -> Iterator[None]:
    """Turn errors into one sentence on standard error and an exit code; see `ExitCode`."""
    try:
        yield
    except (typer.Exit, typer.Abort, BrokenPipeError):  # the last for `CommandGroup`
        raise
    except DynaNoiseError as error:
        typer.echo(f"Error: {error}", err=True)
        raise typer.Exit(ExitCode.WRONG_USE) from None
    except KeyboardInterrupt:
        typer.echo("Interrupted.", err=True)
        raise typer.Exit(ExitCode.INTERRUPTED) from None
    except Exception as error:
        with_traceback = bool(os.environ.get(TRACEBACK))
        if with_traceback:
            import traceback

            traceback.print_exc()
        sentence, code = _explain(error), ExitCode.WRONG_USE
        if sentence is None:
            code = ExitCode.UNEXPECTED
            again = "" if with_traceback else f" (run the command again with {TRACEBACK}=1)"
            sentence = (
                f"dynanoise failed unexpectedly: {_name(error)}. Please report this with its "
                f"traceback{again} where you got dynanoise from."
            )
        typer.echo(f"Error: {sentence}", err=True)
        raise typer.Exit(code) from None


def _explain(error: Exception) -> str | None:
    """Explain an error that its user can remedy; None for others."""
    kind = type(error)
    if kind.__module__.startswith("torch") and kind.__name__ == "OutOfMemoryError":
        return (
            "The GPU has too little memory. Train fewer models at once (--workers, "
            "--gpus-per-model), or use --device cpu."
        )
    if isinstance(error, MemoryError) or "DefaultCPUAllocator" in str(error):
        reason = f" ({_first_line(error)})" if str(error) else ""
        return (
            f"There is too little memory{reason}. Give fewer records or models at once, use fewer "
            "--workers, or a machine with more memory."
        )
    if isinstance(error, OSError) and error.errno in _REMEDIES:
        place = "" if error.filename is None else f"{error.filename}: "
        return f"{place}{error.strerror}. {_REMEDIES[error.errno]}"
    return None


def _name(error: Exception) -> str:
    """Class and message of an error, on one line and without anything that may be a secret."""
    from dynanoise.config.yaml import without_secrets

    message = without_secrets(_first_line(error))
    return f"{type(error).__name__}: {message}" if message else type(error).__name__


def _first_line(error: Exception) -> str:
    """First line of a message, without the stop at its end."""
    lines = str(error).strip().splitlines()
    return lines[0][:200].rstrip(".") if lines else ""
