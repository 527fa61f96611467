"""Jobs on a real Ray cluster of several nodes, which die, and drivers, which die.

Cluster and drivers are processes of their own: Ray ends a process whose cluster is gone.
"""

from __future__ import annotations

import os
import signal
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("torch", reason="training needs torch: pip install 'dynanoise[train]'")
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # as `extras.require` does
fsspec = pytest.importorskip("fsspec", reason="S3 needs: pip install 'dynanoise[remote]'")
if find_spec("ray") is None:  # imported by tests, and not by each worker that collects them
    pytest.skip("a cluster needs ray: pip install 'dynanoise[ray]'", allow_module_level=True)

from dynanoise.benchmark.benchmark import bench  # noqa: E402
from dynanoise.core.errors import ClusterError, InputError  # noqa: E402
from dynanoise.core.result import Result  # noqa: E402
from dynanoise.report.io.results import from_json  # noqa: E402
from dynanoise.training.execution import ray_cluster  # noqa: E402
from dynanoise.training.execution.executors import InProcess  # noqa: E402
from dynanoise.training.execution.ray_cluster import RayCluster  # noqa: E402
from dynanoise.training.store.store import Store  # noqa: E402
from tests.factories import recordings  # noqa: E402
from tests.training import ray_drivers  # noqa: E402
from tests.training.ray_drivers import DATA, PLAN, Driver  # noqa: E402
from tests.training.ray_nodes import Nodes  # noqa: E402
from tests.training.store.test_store import same  # noqa: E402


@pytest.fixture(autouse=True)
def _no_driver_here(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: Any, **settings: Any) -> None:
        raise AssertionError("a driver belongs into a process of its own: see ray_nodes")

    monkeypatch.setattr("ray.init", refuse)


@pytest.fixture(scope="module")
def nodes(s3: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nodes]:
    """Started after the S3 server, so that nodes find its address in their environment."""
    made = Nodes(tmp_path_factory.mktemp("ray") / "cluster.err")
    try:
        yield made
    finally:
        made.close()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "notes"
    made.mkdir()
    return made


def numbers(records: list[Result]) -> list[Any]:
    return [(row.method, row.attack, row.seed, row.split, row.metrics) for row in records]


@pytest.mark.process
def test_a_node_that_is_killed_while_it_trains(nodes: Nodes, tmp_path: Path, folder: Path) -> None:
    """Its model is trained on another one; what was finished is not trained again."""
    store = tmp_path / "store"
    driver = Driver(tmp_path, "five_models", address=nodes.address, store=store, folder=folder)
    driver.until(lambda: recordings.notes(folder, "began", 2))
    driver.until(lambda: len(recordings.notes(folder, "ended")) == 4)
    victim = recordings.notes(folder, "began", 2)[0].read_text()
    nodes.kill(victim)
    nodes.add()
    driver.until(lambda: len(recordings.notes(folder, "began", 2)) == 2)
    survivor = next(
        note.read_text()
        for note in recordings.notes(folder, "began", 2)
        if note.read_text() != victim
    )
    (folder / "go").touch()
    alone = list(InProcess().run(ray_drivers.five(str(folder)), DATA))  # meanwhile
    where = driver.result()
    assert survivor != victim and where[2].endswith(survivor[:6])
    assert driver.out.read_text() == ""  # where results are printed
    assert all(same(a, b) for a, b in zip(ray_drivers.five_read(folder), alone, strict=True))
    for seed in (0, 1, 3, 4):  # and once more by InProcess
        assert len(recordings.notes(folder, "began", seed)) == 2
    assert len(list(Store(store).entries())) == 5


@pytest.mark.process
def test_a_driver_that_is_killed_and_an_entry_that_is_damaged(
    nodes: Nodes, bucket: str, tmp_path: Path, folder: Path
) -> None:
    """kill -9 in the midst, then one bit of one model: the next run trains that and the rest."""
    asked: dict[str, Any] = {"address": nodes.address, "store": bucket, "folder": folder}
    killed = Driver(tmp_path, "records", **asked)
    killed.until(lambda: len(recordings.notes(folder, "began")) > 4)
    killed.until(lambda: len(killed.out.read_text().splitlines()) >= 4)
    killed.kill()
    steps = killed.out.read_text().splitlines()
    assert steps[0].startswith("seed 0: target, on ") and steps[3].startswith("seed 0: shadow 2")
    # The first seed may have been evaluated by then; no model after it was trained.
    assert sum(", on " in step for step in steps) == 4 and not killed.file.exists()
    store = Store(bucket, lease=4.0)
    kept = [entry.key for entry in store.entries()]
    assert len(kept) == len(recordings.notes(folder, "ended")) == 4
    files, root = fsspec.core.url_to_fs(bucket, use_listings_cache=False)
    (path,) = (one for one in files.find(f"{root}/{kept[0][:2]}/{kept[0]}") if "answers" in one)
    content = files.cat_file(path)
    files.pipe_file(path, content[:-1] + bytes([content[-1] ^ 1]))

    (folder / "go").touch()
    driver = Driver(tmp_path, "records", **asked)
    alone = list(bench(PLAN))  # meanwhile
    assert numbers(from_json(driver.result())) == numbers(alone)
    assert len(list(store.entries())) == 8
    trained = Counter(path.name.split("-")[1] for path in recordings.notes(folder, "ended"))
    assert sorted(trained.values()) == [1] * 7 + [2]  # twice: the one that was damaged


def ends_the_others(driver: Driver, folder: Path) -> Any:
    """Goes with `ray_drivers.wrong_among_others`: two later models need both nodes at once."""
    wrong, others, later = (folder / part for part in ray_drivers.PARTS)
    driver.until(lambda: recordings.notes(wrong, "began") and recordings.notes(others, "began"))
    (wrong / "go").touch()
    driver.until(lambda: len(recordings.notes(later, "began")) == 2)
    (later / "go").touch()
    found = driver.result()
    assert recordings.notes(others, "ended") == []
    return found


@pytest.fixture(scope="module")
def told(nodes: Nodes, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """By a driver that does several things one after the other, on a connection that stays."""
    room = tmp_path_factory.mktemp("several")
    return ends_the_others(Driver(room, "several", address=nodes.address, folder=room), room)


@pytest.mark.process
def test_an_error_ends_what_else_is_at_work(nodes: Nodes, tmp_path: Path, folder: Path) -> None:
    driver = Driver(tmp_path, "wrong_among_others", address=nodes.address, folder=folder)
    error, says = ends_the_others(driver, folder)
    assert error == "DivergedError" and "model 1" in says


@pytest.mark.process
def test_an_error_ends_what_else_is_at_work_where_the_connection_stays(told: Any) -> None:
    error, says = told["hopeless"]
    assert error == "DivergedError" and "model 1" in says


@pytest.mark.process
def test_an_error_that_nobody_foresaw_reaches_the_driver(told: Any) -> None:
    assert told["lost"][0] == "IndexError"


@pytest.mark.process
def test_data_are_sent_once(told: Any) -> None:
    assert told["sent"] == [3, True]


@pytest.mark.process
@pytest.mark.parametrize(("kept", "tasks"), [("alone", 1), ("stored", 1 + 3)])
def test_sub_models_are_tasks_where_there_is_a_store(told: Any, kept: str, tasks: int) -> None:
    (here,) = InProcess().run([ray_drivers.OUT_OF_FOLD], DATA)
    assert told[kept] == [tasks, ray_drivers.digest(here)]


@pytest.mark.process
def test_other_versions_are_refused(told: Any) -> None:
    refused, says = told["versions"]
    assert refused == "InputError" and "the driver dynanoise 0.0" in says


def test_a_share_of_a_gpu_is_requested(tmp_path: Path) -> None:
    """There is none here: a task's options are compared."""
    job = recordings.job(tmp_path, 1)
    assert RayCluster().needs(job) == {"num_cpus": 1, "num_gpus": 0.0, "max_retries": 5}
    assert RayCluster().needs(replace(job, device="cuda"))["num_gpus"] == 1.0
    assert RayCluster(gpus=0.25).needs(replace(job, threads=2)) == {
        "num_cpus": 2,
        "num_gpus": 0.25,
        "max_retries": 5,
    }
    with pytest.raises(InputError, match="gpus is -1"):
        RayCluster(gpus=-1)


@pytest.mark.process
def test_a_head_that_is_gone_is_an_error_before_ray_ends_the_driver(
    nodes: Nodes, tmp_path: Path, folder: Path
) -> None:
    """The last of the tests on these nodes, which have no head afterwards."""
    usual = {ray_cluster._EXIT: "60"}
    driver = Driver(tmp_path, "waiting", settings=usual, address=nodes.address, folder=folder)
    driver.until(lambda: recordings.notes(folder, "began"))
    nodes.signal_head(signal.SIGKILL)
    error, says = driver.result()
    assert error == "ClusterError" and f"The cluster's head at {nodes.address} has not " in says


def test_what_has_arrived_is_not_cancelled_and_the_rest_is_until_it_ends() -> None:
    """Ray aborts a process that cancels what is arriving, and may lose a cancellation."""
    missing: list[list[str]] = [["b", "c"], ["c"], []]
    cancelled: list[Any] = []
    fake = SimpleNamespace(
        wait=lambda begun, **settings: ([], missing.pop(0)),
        cancel=lambda future, force: cancelled.append((future, force)),
    )
    ray_cluster._cancel(fake, ["a", "b", "c"])
    assert cancelled == [("b", True), ("c", True), ("c", True)]


def test_a_node_that_is_gone_is_named(caplog: pytest.LogCaptureFixture) -> None:
    """Once Ray says so, which may be after the last model of a short run."""
    both = [{"NodeID": f"{name}00000", "Alive": True, "NodeManagerHostname": "m"} for name in "ab"]
    context = SimpleNamespace(gcs_address="")
    fake = SimpleNamespace(nodes=lambda: both, get_runtime_context=lambda: context)
    watch = ray_cluster.Watch(fake)
    fake.nodes = lambda: [both[0], {**both[1], "Alive": False}]
    watch.look()
    assert caplog.messages == ["node m/b00000 is gone; what it was training is done elsewhere"]


def test_a_head_that_is_silent_is_waited_for_half_as_long_as_ray_waits(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv(ray_cluster._EXIT, raising=False)
    assert ray_cluster.patience() == 30  # Ray's own limit is 60
    monkeypatch.setenv(ray_cluster._EXIT, "7")
    assert ray_cluster.patience() == 3.5


def test_a_head_that_answers_again_is_forgiven_and_asked_nothing_meanwhile(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Clock and head are made up; what is asked of a head that is gone would never come back."""
    head = SimpleNamespace(now=100.0, silent=False)
    asked: list[float] = []

    def knock(address: str) -> None:
        assert address == "head:6379"
        if head.silent:
            raise ConnectionRefusedError("refused")

    def nodes() -> list[Any]:
        asked.append(head.now)
        return []

    monkeypatch.setattr(ray_cluster, "time", SimpleNamespace(monotonic=lambda: head.now))
    monkeypatch.setattr(ray_cluster, "knock", knock)
    monkeypatch.setattr(ray_cluster, "patience", lambda: 30.0)
    context = SimpleNamespace(gcs_address="head:6379")
    watch = ray_cluster.Watch(SimpleNamespace(nodes=nodes, get_runtime_context=lambda: context))
    for now, silent in ((110, True), (139, True), (150, False), (160, True), (189, True)):
        head.now, head.silent = now, silent
        watch.look()
    assert asked == [100, 150]
    head.now = 190
    with pytest.raises(ClusterError, match="head at head:6379 has not answered for 30 seconds"):
        watch.look()


def test_a_cluster_that_is_not_there_is_one_sentence() -> None:
    with pytest.raises(ClusterError, match=r"There is no Ray cluster at 127\.0\.0\.1:1 "):
        list(RayCluster(address="127.0.0.1:1").run([], DATA))
