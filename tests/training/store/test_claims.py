"""Two runs of the same plan share a folder and do not repeat each other's work."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="training needs torch: pip install 'dynanoise[train]'")
pytest.importorskip("safetensors", reason="storing needs: pip install 'dynanoise[train]'")
fcntl = pytest.importorskip("fcntl", reason="locks are POSIX")

from dynanoise.training.execution.executors import (  # noqa: E402
    InProcess,
    Task,
    TaskResult,
    in_order,
    perform,
    tasks_of,
)
from dynanoise.training.execution.outputs import outputs_unless_claimed  # noqa: E402
from dynanoise.training.store import storage  # noqa: E402
from dynanoise.training.store.store import Store, key  # noqa: E402
from tests.factories import recordings  # noqa: E402
from tests.factories.waiting import LONG, ROOT, until  # noqa: E402
from tests.training.store.test_store import same  # noqa: E402

DATA = recordings.data()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "notes"
    made.mkdir()
    return made


def claims(store: Path) -> list[Path]:
    return list(store.glob("??/.claim-*"))


def test_what_another_run_trains_is_left_to_it(tmp_path: Path, folder: Path) -> None:
    job, store = recordings.job(folder, 1), Store(tmp_path / "store")
    with store.claim(key(job, DATA), "theirs") as theirs:
        assert theirs
        assert outputs_unless_claimed(job, DATA, store, "ours") is None
    assert recordings.notes(folder, "began") == [] and claims(tmp_path / "store") == []
    assert outputs_unless_claimed(job, DATA, store, "ours") is not None
    assert claims(tmp_path / "store") == []


def test_a_claim_that_cannot_be_made_stops_nobody(tmp_path: Path, folder: Path) -> None:
    (tmp_path / "store").write_text("no folder")
    job = recordings.job(folder, 1)
    with Store(tmp_path / "store").claim(key(job, DATA), "ours") as ours:
        assert ours


def test_claims_that_killed_runs_left_are_swept_and_others_are_not(tmp_path: Path) -> None:
    store = Store(tmp_path)
    (tmp_path / "ab").mkdir()
    left = tmp_path / "ab" / f".claim-{'ab' * 32}"
    left.touch()
    os.utime(left, (0, 0))
    with store.claim("cd" * 32, "ours"):
        held = tmp_path / "cd" / f".claim-{'cd' * 32}"
        os.utime(held, (0, 0))
        store.sweep()
        assert held.exists() and not left.exists()


def test_a_lock_is_of_the_file_that_others_see(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever held it before may remove it between our opening and our locking it."""
    path, lock, turns = tmp_path / "claim", fcntl.flock, []

    def late(handle: int, how: int) -> None:
        turns.append(how)
        if len(turns) == 1:
            path.unlink()
        lock(handle, how)

    monkeypatch.setattr(fcntl, "flock", late)
    ours = storage._locked(path)
    assert ours is not None and os.path.samestat(os.fstat(ours), path.stat())
    assert storage._locked(path) is None
    storage._release(path, ours)
    assert not path.exists() and len(turns) == 3


def test_tasks_that_another_run_has_come_last(folder: Path) -> None:
    """Until then somebody else has probably finished them."""
    tasks = tasks_of(recordings.jobs(folder, 3), None)
    assert len({task.owner for task in tasks}) == 3
    begun: list[tuple[str, bool]] = []

    def submit(task: Task) -> Task:
        begun.append((task.job.name, task.patient))
        return task

    def wait(future: Task, task: Task) -> TaskResult:
        if task.job.name == "model 0" and not future.patient:
            return TaskResult(None)
        return perform(future, DATA)

    answers = list(in_order(tasks, submit, wait))
    assert begun == [*((f"model {n}", False) for n in range(3)), ("model 0", True)]
    alone = list(InProcess().run(recordings.jobs(folder, 3), DATA))
    assert all(same(a, b) for a, b in zip(answers, alone, strict=True))


def test_in_one_process_too_they_come_last(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other run finishes while this one waits, which it does when nothing else is left."""
    jobs, store = recordings.jobs(folder, 4), Store(tmp_path / "store")
    theirs = ExitStack()
    for number in (0, 2):
        assert theirs.enter_context(store.claim(key(jobs[number], DATA), "theirs"))
    there: list[list[bool]] = []

    def waiting(seconds: float) -> None:
        there.append([key(job, DATA) in store for job in jobs])
        theirs.close()

    monkeypatch.setattr("dynanoise.training.execution.outputs.time.sleep", waiting)
    answers = list(InProcess(store).run(jobs, DATA))
    assert there == [[False, True, False, True]]
    assert len(recordings.notes(folder, "began")) == 4
    alone = list(InProcess().run(recordings.jobs(folder, 4), DATA))
    assert all(same(a, b) for a, b in zip(answers, alone, strict=True))


SCRIPT = textwrap.dedent("""
    import sys
    from pathlib import Path
    from dynanoise.training.execution.executors import InProcess
    from dynanoise.training.store.store import Store
    from tests.factories import recordings
    folder, store, held = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3] == "held"
    jobs, data = recordings.jobs(folder, 4, held=held), recordings.data()
    for answers in InProcess(Store(store)).run(jobs, data):
        print(float(answers.logits.sum()), flush=True)
""")


def start(folder: Path, store: Path, held: str = "held") -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(folder), str(store), held],
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )


@pytest.mark.process
def test_two_runs_at_once_train_every_model_once(tmp_path: Path, folder: Path) -> None:
    store = tmp_path / "store"
    runs = [start(folder, store) for _ in range(2)]
    until(lambda: recordings.notes(folder, "began"))
    (folder / "go").touch()
    said = [run.communicate(timeout=LONG)[0].split() for run in runs]
    assert len(said[0]) == 4 and said[0] == said[1]
    assert len(recordings.notes(folder, "began")) == len(recordings.notes(folder, "ended")) == 4


@pytest.mark.process
def test_a_killed_run_leaves_its_model_to_the_next(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At once: the lock of a dead process is free, and nothing is waited for."""
    store = tmp_path / "store"
    killed = start(folder, store)
    until(lambda: recordings.notes(folder, "began"))
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    (folder / "go").touch()
    jobs = recordings.jobs(folder, 4, held=True)
    assert claims(store)

    def waiting(seconds: float) -> None:
        raise AssertionError("a model was waited for")

    monkeypatch.setattr("dynanoise.training.execution.outputs.time.sleep", waiting)
    answers = list(InProcess(Store(store)).run(jobs, DATA))
    monkeypatch.undo()
    free = [replace(job, recipe=replace(job.recipe, held=False)) for job in jobs]
    assert all(same(a, b) for a, b in zip(answers, InProcess().run(free, DATA), strict=True))
    assert claims(store) == []
