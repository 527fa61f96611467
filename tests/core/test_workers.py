"""Worker processes that are interrupted, or fail, as their driver's command ends."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.factories.gateways import LAST_RESORT

pytestmark = pytest.mark.process

OTHER = "still there\n"
"""Output of a process of the caller's, which goes on when the workers are ended."""


def run(kind: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tests.core.failing_workers", kind],
        capture_output=True,
        text=True,
        check=False,
        start_new_session=True,
        timeout=LAST_RESORT,
    )


@pytest.mark.skipif(os.name != "posix", reason="signals are POSIX")
def test_ctrl_c_while_workers_start_is_one_line() -> None:
    done = run("interrupt")
    assert (done.returncode, done.stdout, done.stderr) == (130, OTHER, "Interrupted.\n")


@pytest.mark.skipif(os.name != "posix", reason="signals are POSIX")
def test_ctrl_c_while_a_worker_sends_its_result_ends_the_run() -> None:
    done = run("half")
    assert (done.returncode, done.stdout, done.stderr) == (130, OTHER, "Interrupted.\n")


@pytest.mark.parametrize(
    ("kind", "code", "says"),
    [
        ("bug", 70, "dynanoise failed unexpectedly: KeyError: 'bug'. Please report this"),
        ("unreadable", 70, "dynanoise failed unexpectedly: BrokenProcessPool"),
        ("memory", 2, "There is too little memory (Unable to allocate 9 TiB). Give fewer"),
        ("disk", 2, "models/x: No space left on device. Free disk space"),
        ("death", 2, "A worker process died"),
    ],
)
def test_an_error_in_a_worker_is_one_sentence(kind: str, code: int, says: str) -> None:
    done = run(kind)
    assert (done.returncode, done.stdout) == (code, OTHER)
    assert done.stderr.startswith(f"Error: {says}") and done.stderr.count("\n") == 1
