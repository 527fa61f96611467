"""A Ray cluster in a process of its own, for tests.

Whatever has a connection to a cluster's head is ended by Ray, with `_exit`, if the head does not
answer for a while, and `ray.cluster_utils.Cluster` has one: so neither it nor a driver may be in
the process that runs the tests. Run as a program this is the cluster, which lives as long as its
standard input is open.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import IO, Any

from tests.factories.waiting import ROOT, limited

PATIENT = {
    "PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(ROOT)]),
    "RAY_USAGE_STATS_ENABLED": "0",
    # Nobody gives anybody up because the machine is slow ...
    "RAY_gcs_rpc_server_reconnect_timeout_s": "600",
    "RAY_health_check_timeout_ms": "120000",
    "RAY_worker_register_timeout_seconds": "600",
    # ... and what trains is not behind everything else on it: Ray's workers have a niceness of 15.
    "RAY_worker_niceness": "0",
    # But a node that refuses connections is seen to be dead at once.
    "RAY_health_check_initial_delay_ms": "1000",
    "RAY_health_check_period_ms": "500",
}


class Nodes:
    """A cluster whose head trains nothing, and whose other nodes, of one core each, come and go.

    Args:
        log: where the cluster's process writes what it has to say.
    """

    def __init__(self, log: Path) -> None:
        self.log = log
        with log.open("w") as file:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "tests.training.ray_nodes"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=file,
                text=True,
                cwd=ROOT,
                env={**os.environ, **PATIENT},
                start_new_session=True,
            )
        self.address: str = self._answer()

    def kill(self, node: str) -> None:
        """As a machine dies: without a word, and with everything that runs on it."""
        self._ask("kill", node)

    def add(self) -> None:
        self._ask("add")

    def signal_head(self, number: int) -> None:
        """To the process that drivers and nodes are connected to."""
        self._ask("signal", number)

    def close(self) -> None:
        try:
            self._pipe(self.process.stdin).close()
            self.process.wait(60)
        except (OSError, subprocess.TimeoutExpired):
            pass
        finally:
            if self.process.poll() is None:
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
            self._pipe(self.process.stdout).close()

    def _ask(self, *words: object) -> None:
        pipe = self._pipe(self.process.stdin)
        print(json.dumps(words), file=pipe, flush=True)
        self._answer()

    def _answer(self) -> Any:
        with limited(self.process):
            line = self._pipe(self.process.stdout).readline()
        assert line, f"the cluster ended: {self.log.read_text()}"
        return json.loads(line)

    @staticmethod
    def _pipe(pipe: IO[str] | None) -> IO[str]:
        assert pipe is not None
        return pipe


def serve() -> None:
    """The cluster: its address, then an answer to each line of standard input."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # Ray's own lines do not come between them

    from ray.cluster_utils import Cluster

    head = {"num_cpus": 0, "include_dashboard": False}
    cluster = Cluster(initialize_head=True, head_node_args=head)
    running = [cluster.add_node(num_cpus=1) for _ in range(2)]
    print(json.dumps(cluster.address), file=answers, flush=True)
    for line in sys.stdin:
        what, *about = json.loads(line)
        if what == "kill":
            (chosen,) = (one for one in running if one.node_id == about[0])
            running.remove(chosen)
            cluster.remove_node(chosen, allow_graceful=False)
        elif what == "add":
            running.append(cluster.add_node(num_cpus=1))
        else:
            (server,) = cluster.head_node.all_processes["gcs_server"]
            os.kill(server.process.pid, about[0])
        print(json.dumps(what), file=answers, flush=True)
    cluster.shutdown()


if __name__ == "__main__":
    serve()
