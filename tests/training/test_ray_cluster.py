"""Jobs on a real Ray cluster of several nodes, which die, and drivers, which die."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch", reason="training needs torch: pip install 'dynanoise[train]'")
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # as `extras.require` does
fsspec = pytest.importorskip("fsspec", reason="S3 needs: pip install 'dynanoise[remote]'")
ray = pytest.importorskip("ray", reason="a cluster needs ray: pip install 'dynanoise[ray]'")

from dynanoise.audit.bench import Plan, bench  # noqa: E402
from dynanoise.errors import ClusterError, DivergedError, InputError  # noqa: E402
from dynanoise.record import Record  # noqa: E402
from dynanoise.training import ray_cluster  # noqa: E402
from dynanoise.training.executors import InProcess  # noqa: E402
from dynanoise.training.jobs import Answers  # noqa: E402
from dynanoise.training.ray_cluster import RayCluster  # noqa: E402
from dynanoise.training.schedule import Schedule  # noqa: E402
from dynanoise.training.store import Store  # noqa: E402
from tests.training import noted  # noqa: E402
from tests.training.test_claims import until  # noqa: E402
from tests.training.test_store import same  # noqa: E402

DATA = noted.data()
ROOT = Path(__file__).parents[2]


class Nodes:
    """A cluster whose head trains nothing, and whose other nodes come and go."""

    def __init__(self) -> None:
        from ray.cluster_utils import Cluster

        head = {"num_cpus": 0, "include_dashboard": False}
        self.cluster = Cluster(initialize_head=True, head_node_args=head)
        self.workers = [self.cluster.add_node(num_cpus=1) for _ in range(2)]

    @property
    def address(self) -> str:
        return str(self.cluster.address)

    def kill(self, node: str) -> None:
        """As a machine dies: without a word, and with everything that runs on it."""
        (chosen,) = (one for one in self.workers if one.node_id == node)
        self.workers.remove(chosen)
        self.cluster.remove_node(chosen, allow_graceful=False)

    def add(self) -> None:
        self.workers.append(self.cluster.add_node(num_cpus=1))


@pytest.fixture(scope="module")
def nodes(s3: str) -> Iterator[Nodes]:
    """Started after the S3 server, so that nodes find its address in their environment."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT / "src"), str(ROOT)]))
        made = Nodes()
        try:
            yield made
        finally:
            made.cluster.shutdown()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "notes"
    made.mkdir()
    return made


def numbers(records: list[Record]) -> list[Any]:
    return [(row.contender, row.attack, row.seed, row.split, row.metrics) for row in records]


def test_a_node_that_is_killed_while_it_trains(
    nodes: Nodes,
    tmp_path: Path,
    folder: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Its model is trained on another one; what was finished is not trained again."""
    store = Store(tmp_path / "store")
    jobs = [
        *noted.jobs(folder, 2),
        noted.job(folder, 2, held=True),
        *(noted.job(folder, seed) for seed in (3, 4)),
    ]
    found: list[Answers] = []
    run = threading.Thread(
        target=lambda: found.extend(RayCluster(store, nodes.address).run(jobs, DATA))
    )
    run.start()
    until(lambda: noted.notes(folder, "began", 2))
    until(lambda: len(noted.notes(folder, "ended")) == 4)
    victim = noted.notes(folder, "began", 2)[0].read_text()
    nodes.kill(victim)
    nodes.add()
    until(lambda: len(noted.notes(folder, "began", 2)) == 2)
    survivor = next(
        note.read_text() for note in noted.notes(folder, "began", 2) if note.read_text() != victim
    )
    (folder / "go").touch()
    run.join(120)
    assert not run.is_alive() and survivor != victim
    assert all(same(a, b) for a, b in zip(found, InProcess().run(jobs, DATA), strict=True))
    assert found[2].node.endswith(survivor[:6])
    time.sleep(1)  # Ray tells in a thread of its own
    assert capsys.readouterr().out == ""  # where Records are printed
    for seed in (0, 1, 3, 4):  # and once more by InProcess
        assert len(noted.notes(folder, "began", seed)) == 2
    assert len(list(store.entries())) == 5


DRIVER = textwrap.dedent("""
    import sys
    from pathlib import Path
    from dynanoise.audit.bench import Plan, bench
    from dynanoise.training.ray_cluster import RayCluster
    from dynanoise.training.store import Store
    from tests.training.noted import Holding
    address, store, folder = sys.argv[1:]
    plan = Plan("digits", 2, None, ("dynanoise",), (), ("paper",))
    executor = Holding(RayCluster(Store(store, lease=4.0), address), Path(folder), 4)
    for record in bench(plan, lambda step: print(step, flush=True), executor=executor):
        pass
""")


def test_a_driver_that_is_killed_and_an_entry_that_is_damaged(
    nodes: Nodes, bucket: str, folder: Path
) -> None:
    """kill -9 in the midst, then one bit of one model: the next run trains that and the rest."""
    killed = subprocess.Popen(
        [sys.executable, "-c", DRIVER, nodes.address, bucket, str(folder)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )
    assert killed.stdout is not None
    steps = [killed.stdout.readline() for _ in range(4)]
    assert steps[0].startswith("seed 0: target, on ") and steps[3].startswith("seed 0: shadow 2")
    until(lambda: len(noted.notes(folder, "began")) > 4)
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    store = Store(bucket, lease=4.0)
    kept = [entry.key for entry in store.entries()]
    assert len(kept) == len(noted.notes(folder, "ended")) == 4
    files, root = fsspec.core.url_to_fs(bucket, use_listings_cache=False)
    (path,) = (one for one in files.find(f"{root}/{kept[0][:2]}/{kept[0]}") if "answers" in one)
    content = files.cat_file(path)
    files.pipe_file(path, content[:-1] + bytes([content[-1] ^ 1]))

    (folder / "go").touch()
    plan = Plan("digits", 2, None, ("dynanoise",), (), ("paper",))
    executor = noted.Holding(RayCluster(store, nodes.address), folder, 4)
    resumed = list(bench(plan, executor=executor))
    assert numbers(resumed) == numbers(list(bench(plan)))
    assert len(list(store.entries())) == 8
    trained = Counter(path.name.split("-")[1] for path in noted.notes(folder, "ended"))
    assert sorted(trained.values()) == [1] * 7 + [2]  # twice: the one that was damaged


def test_errors_of_a_job_reach_the_driver(nodes: Nodes, folder: Path) -> None:
    hopeless = noted.job(folder, 1, schedule=Schedule(epochs=1, batch=90, learning_rate=1e-9))
    with pytest.raises(DivergedError, match="model 1"):
        list(RayCluster(address=nodes.address).run([hopeless], DATA))
    lost = replace(noted.job(folder, 1), members=np.array([10**6]))
    with pytest.raises(IndexError):
        list(RayCluster(address=nodes.address).run([lost], DATA))


def test_data_are_sent_once_and_other_versions_are_refused(
    nodes: Nodes, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[Any] = []
    put = ray.put

    def counted(value: Any) -> Any:
        sent.append(value)
        return put(value)

    monkeypatch.setattr(ray, "put", counted)
    cluster = RayCluster(address=nodes.address)
    assert len(list(cluster.run(noted.jobs(folder, 3), DATA))) == 3
    assert sent == [DATA]
    monkeypatch.setattr("importlib.metadata.version", lambda name: "0.0")
    with pytest.raises(InputError, match=r"the driver dynanoise 0\.0"):
        list(cluster.run(noted.jobs(folder, 1), DATA))


def test_a_node_that_is_gone_is_named(caplog: pytest.LogCaptureFixture) -> None:
    """Once Ray says so, which may be after the last model of a short run."""
    both = [{"NodeID": f"{name}00000", "Alive": True, "NodeManagerHostname": "m"} for name in "ab"]
    fake = SimpleNamespace(nodes=lambda: both)
    alive = ray_cluster._Alive(fake)
    fake.nodes = lambda: [both[0], {**both[1], "Alive": False}]
    alive.look()
    assert caplog.messages == ["node m/b00000 is gone; what it was training is done elsewhere"]


def test_a_share_of_a_gpu_is_asked_for(nodes: Nodes, folder: Path) -> None:
    """There is none here: what is asked for is seen in what is missing."""
    job = noted.job(folder, 1)
    assert RayCluster(address=nodes.address).slots(job) == 2
    assert RayCluster(address=nodes.address, gpus=0.25).slots(job) == 1
    with pytest.raises(InputError, match="gpus is -1"):
        RayCluster(gpus=-1)


def test_a_cluster_that_is_not_there_is_one_sentence() -> None:
    with pytest.raises(ClusterError, match=r"There is no Ray cluster at 127\.0\.0\.1:1 "):
        list(RayCluster(address="127.0.0.1:1").run([], DATA))
