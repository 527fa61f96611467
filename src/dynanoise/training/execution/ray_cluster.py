"""Jobs on a Ray cluster: each is a task that any node may do.

Anyone who reaches the ports of a cluster without token authentication can run code as its user, so
a cluster belongs into a network of its own (docs/cluster.md).
"""

from __future__ import annotations

import logging
import os
import secrets
import socket
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache
from importlib import metadata
from typing import Any

from dynanoise.core.errors import ClusterError, InputError
from dynanoise.core.extras import require
from dynanoise.data.dataset import Data
from dynanoise.training.execution.executors import (
    Task,
    TaskResult,
    in_order,
    parts_of,
    perform,
    tasks_of,
)
from dynanoise.training.jobs import Job, ModelOutputs
from dynanoise.training.store.store import Store

log = logging.getLogger(__name__)

_ALIKE = ("dynanoise", "numpy", "torch")
"""Packages of which another version gives other numbers, or other keys in the store."""

_LOOK = 2.0
"""Seconds between two looks at the cluster while a model is waited for."""

_EXIT = "RAY_gcs_rpc_server_reconnect_timeout_s"
"""Ray's own setting: after so many seconds without its head, 60 unless set, it ends a process."""


@dataclass(frozen=True)
class RayCluster:
    """Trains each job as a task of a Ray cluster, again on another node if its node dies.

    The numbers are those of `executors.InProcess` on the same kind of processor: a job's result
    depends on its own thread count alone. The data go to the cluster once. Nodes need the same
    versions of this package, torch and numpy, and a store that all of them reach.

    A job requests as many processor cores as it has threads.

    Args:
        store: see `executors.Processes`; a folder must be one that all nodes share.
        address: "HOST:PORT" of the head node. None: RAY_ADDRESS, else a cluster that runs on this
            machine, else one is started here for the run, with Ray's token authentication.
        gpus: share of a GPU for each model, >= 0, such as 0.25 where four fit into its memory,
            which Ray does not watch. None: 1 for jobs on "cuda", 0 for others.
        retries: number of times a job is repeated after its node or process died; -1 without end.

    Raises:
        InputError: for a negative number of GPUs or fewer than -1 retries.
    """

    store: Store | None = None
    address: str | None = None
    gpus: float | None = None
    retries: int = 5

    def __post_init__(self) -> None:
        if (self.gpus is not None and not 0 <= self.gpus < float("inf")) or self.retries < -1:
            raise InputError(
                f"gpus is {self.gpus} and retries {self.retries}.",
                "Use 0 or more of a GPU for each model, and -1 or more retries.",
            )

    def run(self, jobs: Iterable[Job], data: Data) -> Iterator[ModelOutputs]:
        """See `jobs.Executor.run`.

        Raises:
            ClusterError: if the cluster cannot be joined, its head is gone, or a job's nodes died
                once too often.
            InputError: if a node has other versions than this process.
            MissingExtraError: if ray is not installed.
        """
        jobs = list(jobs)
        stays = require("ray", "The executor ray").is_initialized()
        with connected(self.address) as ray:
            self._warn(ray, jobs)
            held = ray.put(data)
            versions = {name: metadata.version(name) for name in _ALIKE}
            remote = ray.remote(perform_on_node)
            begun: list[Any] = []
            watch = Watch(ray)

            def submit(task: Task) -> Any:
                options = remote.options(name=task.job.name, **self.needs(task.job))
                begun.append(options.remote(task, held, versions))
                return begun[-1]

            def wait(future: Any, task: Task) -> TaskResult:
                result: TaskResult = _result(ray, future, task.job.name, watch)
                begun.remove(future)
                watch.look()
                return result

            try:
                tasks = tasks_of(jobs, self.store)
                parts = [parts_of(task, data) for task in tasks]
                yield from in_order(tasks, submit, wait, parts)
            finally:
                if stays:  # otherwise all ends with the connection
                    _cancel(ray, begun)

    def needs(self, job: Job) -> dict[str, float]:
        """Ray's options for a job's task: cores, GPUs and retries."""
        gpus = self.gpus if self.gpus is not None else float(job.device != "cpu")
        return {"num_cpus": job.threads, "num_gpus": gpus, "max_retries": self.retries}

    def _warn(self, ray: Any, jobs: list[Job]) -> None:
        """Name what the cluster lacks at the moment; one that grows may have it later."""
        have = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        for job in jobs[:1]:
            options = self.needs(job)
            needs = {"CPU": float(options["num_cpus"]), "GPU": options["num_gpus"]}
            if not any(all(n.get(k, 0.0) >= v for k, v in needs.items()) for n in have):
                log.warning(
                    "no node has %g cores and %g GPUs for a model; waiting until one joins",
                    *needs.values(),
                )


@contextmanager
def connected(address: str | None) -> Iterator[Any]:
    """Connect to a cluster and yield the module `ray`; the connection is left as it was.

    Args:
        address: see `RayCluster`.

    Raises:
        ClusterError: if the cluster cannot be joined.
        MissingExtraError: if ray is not installed.
    """
    ray = require("ray", "The executor ray")
    if ray.is_initialized():
        yield ray
        return
    quiet = {"log_to_driver": False, "logging_level": logging.ERROR}
    named = address or os.environ.get("RAY_ADDRESS")
    try:
        try:
            knock(named)
            ray.init(named or "auto", **quiet)
        except ConnectionError:
            if named:
                raise
            # Ray listens on all interfaces, and a new cluster demands a token; without this that
            # would be a file, which others on the machine may be able to read.
            os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
            ray.init("local", num_cpus=_cores(), include_dashboard=False, **quiet)
    except (OSError, RuntimeError, ValueError) as error:
        raise ClusterError(
            f"There is no Ray cluster at {named or 'this machine'} ({str(error).splitlines()[0]}).",
            "Start one with `ray start --head`, or check the address.",
        ) from error
    # There is no public setting: Ray's lines about nodes that die would go to standard output,
    # where results go; `Watch` logs them.
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


def perform_on_node(task: Task, data: Data, versions: dict[str, str]) -> TaskResult:
    """Do a task on a node, and name the node in its log lines and outputs.

    Args:
        task: the task.
        data: the data set.
        versions: versions of the driver's packages, by name.

    Raises:
        InputError: if this node has other versions than the driver.
    """
    here = _installed(tuple(versions))
    if here != versions:
        raise InputError(
            f"The node {node()} has {_listed(here)}, the driver {_listed(versions)}.",
            "Install the same versions on all nodes.",
        )
    result = perform(task, data)
    lines = tuple((name, level, f"node {node()}: {text}") for name, level, text in result.lines)
    outputs = result.outputs
    return TaskResult(None if outputs is None else replace(outputs, node=node()), lines)


@lru_cache(maxsize=1)
def _installed(names: tuple[str, ...]) -> dict[str, str]:
    return {name: metadata.version(name) for name in names}


def node() -> str:
    """This machine's name and the beginning of Ray's name of the node.

    A machine may have several nodes. Without a cluster it is the machine's name alone.
    """
    ray = require("ray", "The executor ray")
    here = ray.get_runtime_context().get_node_id()[:6] if ray.is_initialized() else ""
    return "/".join(filter(None, (socket.gethostname(), here)))


def _listed(versions: dict[str, str]) -> str:
    return ", ".join(f"{name} {version}" for name, version in versions.items())


def _cancel(ray: Any, begun: list[Any]) -> None:
    """End the tasks at work after an error or Ctrl-C.

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


class Watch:
    """Reports nodes that are gone since the last look, and a head that is; for one connection.

    Ray ends a driver that cannot reach the head for a minute, by `_exit`: no exception, no
    `finally`, one line on standard error. The clock is in its C++ core
    (`gcs_rpc_client/rpc_client.h`) and cannot be caught, so the head is contacted here, and the
    error is raised before it.

    Args:
        ray: the module, connected.
    """

    def __init__(self, ray: Any) -> None:
        self.ray = ray
        self.head = str(ray.get_runtime_context().gcs_address)
        self.patience = patience()
        self.silent_since: float | None = None
        self.before, self.next = self._now(), 0.0

    def _now(self) -> dict[str, str]:
        nodes = (node for node in self.ray.nodes() if node["Alive"])
        return {node["NodeID"]: node.get("NodeManagerHostname", "") for node in nodes}

    def look(self) -> None:
        """Warn of nodes that are gone; looks once a second at most.

        Raises:
            ClusterError: if the head has not responded for so long.
        """
        if time.monotonic() < self.next:
            return
        # Ray's requests to a head that is gone never come back: they wait for the end.
        now = self._now() if self._responds() else self.before
        self.next = time.monotonic() + 1.0
        for name in self.before.keys() - now.keys():
            log.warning(
                "node %s/%s is gone; what it was training is done elsewhere",
                self.before[name],
                name[:6],
            )
        self.before = now

    def _responds(self) -> bool:
        since = time.monotonic()
        try:
            knock(self.head)
        except OSError as error:
            self.silent_since = since if self.silent_since is None else self.silent_since
            silent = time.monotonic() - self.silent_since
            if silent < self.patience:
                return False
            raise ClusterError(
                f"The cluster's head at {self.head} has not answered for {silent:.0f} seconds "
                f"({error}).",
                "Start the cluster again; what was finished is stored, and the same command goes "
                "on there.",
            ) from error
        self.silent_since = None
        return True


def patience() -> float:
    """Seconds a head may be silent: half of those after which Ray ends the process."""
    return float(os.environ.get(_EXIT) or 60) / 2


def knock(address: str | None) -> None:
    """Connect to HOST:PORT and close; Ray itself would wait for minutes.

    Args:
        address: "HOST:PORT", or any other text or None.

    Raises:
        OSError: if the connection is refused; nothing is tried for another kind of address.
    """
    host, colon, port = (address or "").rpartition(":")
    if colon and port.isdigit() and "/" not in host:
        socket.create_connection((host.strip("[]"), int(port)), timeout=10).close()
