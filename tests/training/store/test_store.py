"""The store: what determines a model, damage, full disks, kills, and several processes."""

from __future__ import annotations

import json
import logging
import multiprocessing
import os
import signal
import subprocess
import sys
import textwrap
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs torch: pip install 'dynanoise[train]'")
pytest.importorskip("safetensors", reason="storing needs: pip install 'dynanoise[train]'")

from dynanoise.core.errors import UnknownNameError  # noqa: E402
from dynanoise.core.registry import DATASETS, MODELS, RECIPES  # noqa: E402
from dynanoise.data.dataset import Data  # noqa: E402
from dynanoise.training.execution import outputs as module  # noqa: E402
from dynanoise.training.execution.executors import InProcess, Processes  # noqa: E402
from dynanoise.training.execution.outputs import outputs_of  # noqa: E402
from dynanoise.training.jobs import Job, ModelOutputs, Trained, train_and_query  # noqa: E402
from dynanoise.training.schedule import Schedule  # noqa: E402
from dynanoise.training.store.store import Store, key  # noqa: E402
from tests.factories.presets import small_digits  # noqa: E402
from tests.factories.waiting import LONG, ROOT, limited, until  # noqa: E402


@pytest.fixture(scope="module")
def data() -> Data:
    loaded: Data = DATASETS.get("digits")()
    return loaded


def job(**changes: Any) -> Job:
    plain = Job(
        name="target",
        model=MODELS.get("mlp")((16,)),
        recipe=RECIPES.get("plain")(Schedule(epochs=20, learning_rate=1e-2)),
        members=np.arange(60),
        reference=np.arange(60, 90),
        seed=1,
    )
    return replace(plain, **changes)


def same(first: ModelOutputs, second: ModelOutputs) -> bool:
    return np.array_equal(first.logits, second.logits) and np.array_equal(
        first.random, second.random
    )


@pytest.fixture
def never_train(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: Any) -> None:
        raise AssertionError("a stored model was trained again")

    monkeypatch.setattr(module, "train_and_query", refuse)


def test_a_stored_model_is_found_again(
    tmp_path: Path, data: Data, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = outputs_of(job(), data, Store(tmp_path))

    def refuse(*arguments: Any) -> None:
        raise AssertionError("trained again")

    monkeypatch.setattr(module, "train_and_query", refuse)
    assert same(outputs_of(job(), data, Store(tmp_path)), first)
    renamed = job(name="shadow 3")
    assert same(outputs_of(renamed, data, Store(tmp_path)), first)
    with pytest.raises(AssertionError, match="trained again"):
        outputs_of(job(seed=2), data, Store(tmp_path))


@pytest.mark.parametrize(
    "change",
    [
        {"members": np.arange(61)},
        {"reference": np.arange(60, 91)},
        {"seed": 2},
        {"threads": 2},
        {"device": "cuda"},
        {"model": MODELS.get("mlp")((17,))},
        {"recipe": RECIPES.get("plain")(Schedule(epochs=21, learning_rate=1e-2))},
        {"recipe": RECIPES.get("plain")(Schedule(epochs=20, learning_rate=2e-2))},
    ],
    ids=lambda change: next(iter(change)),
)
def test_everything_that_determines_a_model_is_in_its_key(
    data: Data, change: dict[str, Any]
) -> None:
    assert key(job(**change), data) != key(job(), data)


def test_other_data_and_other_versions_have_other_keys(
    data: Data, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = key(job(), data)
    assert key(job(), replace(data, labels=np.roll(data.labels, 1))) != before
    with monkeypatch.context() as patch:
        patch.setattr(RECIPES.get("plain"), "version", 2)
        assert key(job(), data) != before
    with monkeypatch.context() as patch:
        patch.setattr(torch, "__version__", "9.9")
        assert key(job(), data) != before
    assert key(job(), data) == before


def test_weights_are_stored_and_load_into_the_model(tmp_path: Path, data: Data) -> None:
    store = Store(tmp_path)
    answers = outputs_of(job(), data, store)
    model = job().model.build(data.inputs.shape[1:], data.classes)
    model.load_state_dict(store.weights(key(job(), data)))
    with torch.inference_mode():
        logits = model.eval()(torch.from_numpy(data.inputs)).numpy()
    np.testing.assert_allclose(logits, answers.logits[:, 0], rtol=1e-5, atol=1e-5)
    with pytest.raises(UnknownNameError, match="No model 000000000000 is stored"):
        store.weights("0" * 64)


def test_weights_that_a_model_has_twice_are_stored(tmp_path: Path) -> None:
    """As language models share those of their first layer and their last."""
    store = Store(tmp_path)
    model = torch.nn.Sequential(*(torch.nn.Linear(3, 3) for _ in range(2)))
    model[1].weight = model[0].weight
    nothing = np.zeros((1, 1, 3), dtype=np.float32)
    assert store.put("0" * 64, Trained(model, ModelOutputs(nothing, nothing[0])), {})
    found = store.weights("0" * 64)
    assert found.keys() == model.state_dict().keys()
    assert all(torch.equal(found[name], value) for name, value in model.state_dict().items())


@pytest.mark.parametrize("part", ["answers.npz", "model.safetensors", "entry.json"])
@pytest.mark.parametrize("damage", ["flip", "truncate", "remove"])
def test_a_damaged_entry_is_said_and_trained_again(
    tmp_path: Path, data: Data, caplog: pytest.LogCaptureFixture, part: str, damage: str
) -> None:
    store = Store(tmp_path)
    first = outputs_of(job(), data, store)
    path = tmp_path / key(job(), data)[:2] / key(job(), data) / part
    content = path.read_bytes()
    if damage == "flip":
        middle = len(content) // 2
        path.write_bytes(content[:middle] + bytes([content[middle] ^ 255]) + content[middle + 1 :])
    elif damage == "truncate":
        path.write_bytes(content[: len(content) // 2])
    else:
        path.unlink()
    with caplog.at_level(logging.WARNING):
        assert store.get(key(job(), data)) is None
    assert "is damaged" in caplog.text and "made again" in caplog.text
    assert same(outputs_of(job(), data, store), first)
    assert store.get(key(job(), data)) is not None


@pytest.mark.parametrize("where", ["mkdir", "savez", "rename"])
def test_a_full_disk_loses_nothing_but_the_storing(
    tmp_path: Path,
    data: Data,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    where: str,
) -> None:
    def full(*arguments: Any, **keywords: Any) -> None:
        raise OSError(28, "No space left on device")

    owner: Any = {"mkdir": Path, "savez": np, "rename": os}[where]
    monkeypatch.setattr(owner, where, full)
    with caplog.at_level(logging.WARNING):
        answers = outputs_of(job(), data, Store(tmp_path / "store"))
    monkeypatch.undo()
    assert same(answers, train_and_query(job(), data).outputs)
    assert "could not be stored" in caplog.text and "No space left" in caplog.text
    assert not any(path.is_file() for path in tmp_path.rglob("*"))


def test_facts_and_retries_are_stored_with_the_model(tmp_path: Path, data: Data) -> None:
    selena = RECIPES.get("selena")(Schedule(epochs=20, learning_rate=1e-2), models=5, left_out=2)
    store = Store(tmp_path)
    first = outputs_of(job(recipe=selena, members=np.arange(200)), data, store)
    again = store.get(key(job(recipe=selena, members=np.arange(200)), data))
    assert again is not None
    assert same(first, again)
    assert again.retries == first.retries
    np.testing.assert_array_equal(again.facts["seen"], first.facts["seen"])
    assert again.facts["seen"].shape == (5, 200)


def test_nothing_in_the_store_is_pickle(tmp_path: Path, data: Data) -> None:
    outputs_of(job(), data, Store(tmp_path))
    names = {path.name for path in tmp_path.rglob("*") if path.is_file()}
    assert names == {"answers.npz", "model.safetensors", "entry.json"}
    for path in tmp_path.rglob("*.npz"):
        with np.load(path, allow_pickle=False) as arrays:
            assert set(arrays) == {"logits", "random"}


def test_listing_and_removing(tmp_path: Path, data: Data) -> None:
    store = Store(tmp_path)
    for seed in (1, 2):
        outputs_of(job(seed=seed), data, store)
    entries = list(store.entries())
    assert {entry.key for entry in entries} == {key(job(seed=s), data) for s in (1, 2)}
    assert all(entry.size > 1000 for entry in entries)
    assert entries[0].description["data set"] == "digits"
    with pytest.raises(UnknownNameError, match="begins with 'xyz'"):
        store.remove([entries[0].key[:8], "xyz"])
    assert len(list(store.entries())) == 2
    assert store.remove([entries[0].key[:8]]) == [entries[0].key]
    assert [entry.key for entry in store.entries()] == [entries[1].key]
    with pytest.raises(UnknownNameError):
        store.remove([""])


def test_what_killed_processes_left_is_swept(tmp_path: Path, data: Data) -> None:
    store = Store(tmp_path)
    outputs_of(job(), data, store)
    scratch = tmp_path / "ab" / ".unfinished-x"
    scratch.mkdir(parents=True)
    (scratch / "answers.npz").write_bytes(b"half")
    store.sweep()
    assert scratch.exists()  # perhaps still being written
    os.utime(scratch, (time.time() - 7200, time.time() - 7200))
    store.sweep()
    assert not scratch.exists()
    assert len(list(store.entries())) == 1


@pytest.mark.process
def test_processes_give_the_numbers_of_one_process(tmp_path: Path, data: Data) -> None:
    """They are started for models that are not stored: each takes seconds to start."""
    jobs, store = [job(seed=seed) for seed in range(4)], Store(tmp_path)
    alone = list(InProcess().run(jobs, data))
    list(InProcess(store).run(jobs[:2], data))
    for outputs, before in zip(Processes(2, store).run(jobs[:2], data), alone, strict=False):
        assert multiprocessing.active_children() == [] and same(outputs, before)
    for outputs, before in zip(Processes(3, store).run(jobs, data), alone, strict=True):
        assert len(multiprocessing.active_children()) == 2 and same(outputs, before)
    assert len(list(store.entries())) == 4


@pytest.mark.process
def test_an_error_in_a_worker_reaches_the_driver(data: Data) -> None:
    with pytest.raises(IndexError):
        list(Processes(2).run([job(), job(members=np.array([10**6]))], data))


@pytest.mark.process
@pytest.mark.behaviour
@pytest.mark.skipif(os.name != "posix", reason="signals are POSIX")
def test_a_killed_run_goes_on_where_it_was(tmp_path: Path) -> None:
    """kill -9 in the middle: the rerun trains only what was missing and gives the same table."""
    code = textwrap.dedent(f"""
        import sys
        from pathlib import Path
        from dynanoise.benchmark.benchmark import Plan, bench
        from dynanoise.report.io.results import to_json
        from dynanoise.training.execution.executors import Processes
        from dynanoise.training.store.store import Store
        from tests.factories.presets import small_digits
        from tests.factories.recordings import Holding
        if __name__ == "__main__":
            done = lambda step: print(step, file=sys.stderr, flush=True)
            plan = Plan(
                "digits", 1, methods=("dynanoise",), protocols=("paper",), custom=small_digits()
            )
            store = Store(Path({str(tmp_path / "store")!r}))
            executor = Holding(Processes(1, store), {{notes}}, 2)
            run = bench(plan, done, executor=executor)
            sys.stdout.write(to_json(list(run)))
    """).replace("{notes}", f"Path({str(tmp_path)!r})")
    script = tmp_path / "run.py"
    script.write_text(code)
    store = Store(tmp_path / "store")

    def start() -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, str(script)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(ROOT)])},
        )

    killed = start()
    assert killed.stderr is not None
    with limited(killed):
        finished = [killed.stderr.readline() for _ in range(2)]
    assert finished == ["seed 0: target\n", "seed 0: shadow 0\n"]
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    until(lambda: not children_of(tmp_path))  # workers do not outlive their driver
    assert len(list(store.entries())) == 2  # the others are held back until now

    (tmp_path / "go").touch()
    resumed = start()
    out, _ = resumed.communicate(timeout=LONG)
    assert resumed.returncode == 0
    assert len(list(store.entries())) == 4
    assert len(list(tmp_path.glob("ended-*"))) == 4  # none was trained again

    from dynanoise.benchmark.benchmark import Plan, bench
    from dynanoise.report.io.results import from_json

    plan = Plan("digits", 1, methods=("dynanoise",), protocols=("paper",), custom=small_digits())
    rows = list(bench(plan))
    fresh = [(row.method, row.attack, row.seed, row.metrics) for row in rows]
    assert [(r.method, r.attack, r.seed, r.metrics) for r in from_json(out)] == fresh
    json.loads(out)


def children_of(folder: Path) -> list[str]:
    """Command lines of running worker processes that were started in a folder."""
    workers = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
            started_in = (path.parent / "cwd").readlink()
        except OSError:
            continue
        if "multiprocessing" in line and "spawn_main" in line and started_in == folder:
            workers.append(line)
    return workers
