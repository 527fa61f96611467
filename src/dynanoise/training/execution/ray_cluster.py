"""Jobs on a Ray cluster: each is a task that any node may do.

Whoever reaches the ports of a cluster without token authentication can run code as its user, so a
cluster belongs into a network of its own (docs/cluster.md).
"""

from __future__ import annotations

import logging
import os
import secrets
import socket
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache
from importlib import metadata
from typing import Any

from dynanoise.core.errors import ClusterError, InputError
from dynanoise.core.extras import require
from dynanoise.data.dataset import Data
from dynanoise.training.execution.estimate import gain
from dynanoise.training.execution.ray_watch import Watch, knock
from dynanoise.training.execution.tasks import Done, Task, in_order, perform, tasks_of
from dynanoise.training.execution.together import arrange, check
from dynanoise.training.jobs import Answers, Job
from dynanoise.training.store.store import Store

log = logging.getLogger(__name__)

_ALIKE = ("dynanoise", "numpy", "torch")
"""Packages of which another version gives other numbers, or other keys in the store."""

_LOOK = 2.0
"""Seconds between two looks at the cluster while a model is waited for."""


@dataclass(frozen=True)
class RayCluster:
    """Each job is a task of a Ray cluster, done again elsewhere if its node dies.

    The numbers are those of `executors.InProcess` on the same kind of processor: a job's result
    depends on its own thread count alone. The data go to the cluster once. Nodes need the same
    versions of this package, torch and numpy, and a store that all of them reach.

    A job asks for as many processor cores as it has threads.

    Args:
        store: as for `executors.Processes`; a folder must be one that all nodes share.
        address: "HOST:PORT" of the head node. None: RAY_ADDRESS, else a cluster that runs on this
            machine, else one is started here for the run, with Ray's token authentication.
        gpus: of a GPU for each model, such as 0.25 where four fit into its memory, which Ray does
            not watch. None: one for jobs on "cuda", none for others.
        retries: how often a job is done again after its node or process died; -1 without end.
        stack: how many small models a task trains at once, see `together.arrange`; such a task
            needs what one model needs.

    Raises:
        InputError: for a negative number of GPUs, fewer than -1 retries, or a ``stack`` below 1.
    """

    store: Store | None = None
    address: str | None = None
    gpus: float | None = None
    retries: int = 5
    stack: int | None = 1

    def __post_init__(self) -> None:
        check(self.stack)
        if (self.gpus is not None and not 0 <= self.gpus < float("inf")) or self.retries < -1:
            raise InputError(
                f"gpus is {self.gpus} and retries {self.retries}.",
                "Use 0 or more of a GPU for each model, and -1 or more retries.",
            )

    def run(self, jobs: Iterable[Job], data: Data) -> Iterator[Answers]:
        """See `jobs.Executor.run`.

        Raises:
            ClusterError: if the cluster cannot be joined, its head is gone, or a job's nodes died
                once too often.
            InputError: if a node has other versions than this process.
            MissingExtraError: if ray is not installed.
        """
        wanted = list(jobs)
        stays = require("ray", "The executor ray").is_initialized()
        with connected(self.address) as ray:
            self._warn(ray, wanted)
            held = ray.put(data)
            versions = {name: metadata.version(name) for name in _ALIKE}
            remote = ray.remote(perform_on_node)
            begun: list[Any] = []
            watch = Watch(ray)

            def needs(job: Job) -> dict[str, Any]:
                return {
                    "num_cpus": job.threads,
                    "num_gpus": self._gpus(job),
                    "max_retries": self.retries,
                }

            def measured(alike: Sequence[Job], data: Data) -> float:
                measuring = ray.remote(gain).options(**needs(alike[0]))
                return float(_result(ray, measuring.remote(alike, held), "a measurement", watch))

            def submit(task: Task) -> Any:
                asked = remote.options(name=task.name, **needs(task.jobs[0]))
                begun.append(asked.remote(task, held, versions))
                return begun[-1]

            def result(future: Any, task: Task) -> Done:
                done: Done = _result(ray, future, task.name, watch)
                begun.remove(future)
                watch.look()
                return done

            groups = arrange(
                wanted,
                data,
                size=self.stack,
                slots=self._room(ray, wanted[0]) if wanted else 1,
                store=self.store,
                gain=measured,
            )
            try:
                yield from in_order(tasks_of(groups, self.store), submit, result)
            finally:
                if stays:  # otherwise all ends with the connection
                    _cancel(ray, begun)

    def _gpus(self, job: Job) -> float:
        return self.gpus if self.gpus is not None else float(job.device != "cpu")

    def _warn(self, ray: Any, jobs: list[Job]) -> None:
        """Says what the cluster lacks at the moment; one that grows may have it later."""
        have = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        for job in jobs[:1]:
            needs = {"CPU": float(job.threads), "GPU": self._gpus(job)}
            if not any(all(n.get(k, 0.0) >= v for k, v in needs.items()) for n in have):
                log.warning(
                    "no node has %g cores and %g GPUs for a model; waiting until one joins",
                    *needs.values(),
                )

    def slots(self, job: Job) -> int:
        """How many such jobs the cluster has room for at once, at least 1."""
        with connected(self.address) as ray:
            return self._room(ray, job)

    def _room(self, ray: Any, job: Job) -> int:
        room = 0.0
        for node in ray.nodes():
            if node["Alive"]:
                have, gpus = node["Resources"], self._gpus(job)
                fit = have.get("CPU", 0.0) // job.threads
                room += min(fit, have.get("GPU", 0.0) / gpus // 1) if gpus else fit
        return max(1, int(room))


@contextmanager
def connected(address: str | None) -> Iterator[Any]:
    """The module `ray`, connected to a cluster; left as it was found.

    Raises:
        ClusterError: if the cluster cannot be joined.
        MissingExtraError: if ray is not installed.
    """
    ray = require("ray", "The executor ray")
    if ray.is_initialized():
        yield ray
        return
    quiet = {"log_to_driver": False, "logging_level": logging.ERROR}
    told = address or os.environ.get("RAY_ADDRESS")
    try:
        try:
            knock(told)
            ray.init(told or "auto", **quiet)
        except ConnectionError:
            if told:
                raise
            # Ray listens on all interfaces, and a new cluster asks for a token; without this that
            # would be a file, which others on the machine may be able to read.
            os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
            ray.init("local", num_cpus=_cores(), include_dashboard=False, **quiet)
    except (OSError, RuntimeError, ValueError) as error:
        raise ClusterError(
            f"There is no Ray cluster at {told or 'this machine'} ({str(error).splitlines()[0]}).",
            "Start one with `ray start --head`, or check the address.",
        ) from error
    # It has no public setting: what Ray says of nodes that die would go to standard output, where
    # Records go; `Watch` says it.
    worker = require("ray._private.worker", "The executor ray")
    before = getattr(worker, "_worker_logs_enabled", True)
    worker._worker_logs_enabled = False
    try:
        yield ray
    finally:
        ray.shutdown()
        worker._worker_logs_enabled = before


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def perform_on_node(task: Task, data: Data, versions: dict[str, str]) -> Done:
    """Does a task on a node, and says on which.

    Raises:
        InputError: if this node has other versions than the driver.
    """
    here = _installed(tuple(versions))
    if here != versions:
        raise InputError(
            f"The node {node()} has {_listed(here)}, the driver {_listed(versions)}.",
            "Install the same versions on all nodes.",
        )
    done = perform(task, data)
    said = tuple((name, level, f"node {node()}: {text}") for name, level, text in done.lines)
    answers = (one if one is None else replace(one, node=node()) for one in done.answers)
    return Done(tuple(answers), said)


@lru_cache(maxsize=1)
def _installed(names: tuple[str, ...]) -> dict[str, str]:
    return {name: metadata.version(name) for name in names}


def node() -> str:
    """This machine's name and the beginning of Ray's name of the node, of which it may have more.

    Without a cluster the machine's name alone.
    """
    ray = require("ray", "The executor ray")
    own = ray.get_runtime_context().get_node_id()[:6] if ray.is_initialized() else ""
    return "/".join(filter(None, (socket.gethostname(), own)))


def _listed(versions: dict[str, str]) -> str:
    return ", ".join(f"{name} {version}" for name, version in versions.items())


def _cancel(ray: Any, begun: list[Any]) -> None:
    """Ends what is at work after an error or Ctrl-C.

    Ray aborts a process that cancels a task whose result is just arriving ("Tried to complete task
    that was not pending"; ray-project/ray#54798 describes the race), so what has arrived is left
    alone, and nothing is cancelled where disconnecting does. A cancellation that meets a task on
    its way to a node is lost, so it is repeated.
    """
    deadline, seconds = time.monotonic() + 10.0, 0.0
    while begun and time.monotonic() < deadline:
        begun = ray.wait(begun, num_returns=len(begun), timeout=seconds, fetch_local=False)[1]
        for future in begun:
            ray.cancel(future, force=True)
        seconds = 1.0


def _result(ray: Any, future: Any, name: str, watch: Watch) -> Any:
    try:
        while not ray.wait([future], timeout=_LOOK)[0]:
            watch.look()
        return ray.get(future)
    except ray.exceptions.RayTaskError as error:
        raise error.cause from None
    except ray.exceptions.RayError as error:
        raise ClusterError(
            f"The cluster could not finish {name} ({str(error).splitlines()[0]}).",
            "Look at its nodes; what was finished is stored, and the same command goes on there.",
        ) from error
