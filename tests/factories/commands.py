"""Commands run in this process, without work or with little of it."""

from __future__ import annotations

import sys

import pytest
from typer.testing import CliRunner, Result

from dynanoise.cli import app
from tests.factories.results import records

FEW = ["--defense", "temperature", "--defense", "static", "--defense", "dynanoise"]
FEW += ["--protocol", "paper"]
"""Without the peer defenses and pools, which take minutes."""

torch_missing = pytest.mark.skipif(
    __import__("importlib.util").util.find_spec("torch") is None,
    reason="training needs torch: pip install 'dynanoise[train]'",
)


def interruptible(*arguments: str) -> list[str]:
    """A command line of dynanoise that Ctrl-C ends also where a shell's background jobs ignore it.

    Set by the process itself: a function between fork and exec could wait for locks of threads.
    """
    code = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler);"
    code += "from dynanoise.cli import app; app(prog_name='dynanoise')"
    return [sys.executable, "-c", code, *arguments]


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments))


def made_up_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """`bench` without the work."""
    import dynanoise.benchmark.benchmark as module

    monkeypatch.setattr(module, "bench", lambda plan, progress, **options: iter(records()))
