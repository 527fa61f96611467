"""Several gateways, their ends, and where they can run."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dynanoise.core.errors import InputError
from dynanoise.serving import clients, listeners, startup, workers
from dynanoise.serving.options import Serving
from tests.factories.gateways import (
    LAST_RESORT,
    OTHER_SECRET,
    ROOT,
    SECRET,
    ask,
    defense_file,
    digest,
    free_ports,
    gateway,
    infer_body,
    onnx_file,
    queries,
    values_of,
    wait_until,
)
from tests.factories.waiting import LONG, limited
from tests.serving.conftest import plain_server

pytestmark = pytest.mark.process


@pytest.fixture(scope="module")
def options(tmp_path_factory: pytest.TempPathFactory) -> tuple[object, ...]:
    folder = tmp_path_factory.mktemp("processes")
    model = onnx_file(folder / "linear.onnx")
    defense = defense_file(folder / "defense.yaml", digest(model))
    return ("--model", model, "--defense", defense, "--no-auth", "--rate", 0, "--budget", 0)


def test_replicas_agree_and_another_key_does_not(options: tuple[object, ...]) -> None:
    bodies = []
    body = infer_body(queries(20))
    for secret in (SECRET, SECRET, OTHER_SECRET):
        with gateway(*options, secret=secret) as one:
            bodies.append(ask(f"{one.url}/v2/models/linear/infer", body))
            again = ask(f"{one.url}/v2/models/linear/infer", body)
            assert again.body == bodies[-1].body
    assert bodies[0].body == bodies[1].body
    differing = values_of(bodies[0]) != values_of(bodies[2])
    assert differing.all()
    np.testing.assert_allclose(values_of(bodies[2]).sum(axis=1), 1, atol=1e-5)


def test_every_accepted_request_is_answered_when_told_to_end(options: tuple[object, ...]) -> None:
    """Clients that keep connections open, and clients that do not, in the midst of their work."""
    lost: list[str] = []
    answered: list[int] = []
    stop = threading.Event()
    body = json.dumps(infer_body(queries(50)))
    with gateway(*options) as one:

        def load(keep: bool) -> None:
            connection = None
            while not stop.is_set():
                if connection is None:
                    connection = HTTPConnection("127.0.0.1", one.ports["port"], timeout=LAST_RESORT)
                    try:
                        connection.connect()
                    except OSError:
                        return  # it does not listen any more: not accepted
                try:
                    headers = {} if keep else {"Connection": "close"}
                    connection.request("POST", "/v2/models/linear/infer", body, headers)
                    answer = connection.getresponse()
                    answer.read()
                    answered.append(answer.status)
                    closing = answer.getheader("connection") == "close"
                except (OSError, HTTPException) as error:
                    lost.append(f"{keep} {error!r}")
                    return
                if closing or not keep:
                    connection.close()
                    connection = None

        threads = [threading.Thread(target=load, args=(i % 2 == 0,)) for i in range(8)]
        for thread in threads:
            thread.start()
        try:
            assert wait_until(lambda: len(answered) > 50)
            one.terminate()
            assert one.process.wait(LAST_RESORT) == 0
        finally:
            stop.set()
            for thread in threads:
                thread.join()
    assert set(answered) == {200} and lost == []
    assert [len(one.events(name)) for name in ("draining", "ended")] == [1, 1]


def test_a_slow_answer_under_way_is_waited_for(tmp_path: Path) -> None:
    defense = defense_file(tmp_path / "defense.yaml")
    with plain_server() as plain:
        given = ("--upstream", plain.url, "--model-name", "linear", "--defense", defense)
        with gateway(*given, "--no-auth", "--drain", "5") as one:
            url = f"{one.url}/v2/models/linear/infer"
            assert ask(url, infer_body(queries(1))).status == 200
            plain.behave("hold")
            found: list[int] = []
            asking = threading.Thread(
                target=lambda: found.append(ask(url, infer_body(queries(1))).status)
            )
            asking.start()
            assert wait_until(lambda: len(ask(f"{plain.url}/seen").json) == 2)
            one.terminate()
            assert wait_until(lambda: bool(one.events("draining")))
            assert ask(f"{one.url}/v2/health/ready").status == 503  # and it still listens
            plain.behave("well")
            asking.join()
            assert found == [200] and one.process.wait(LAST_RESORT) == 0
            with pytest.raises(OSError, match="refused"):
                socket.create_connection(("127.0.0.1", one.ports["port"]), 1)


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT", "SIGHUP"])
def test_signals_to_end_drain(options: tuple[object, ...], name: str) -> None:
    with gateway(*options) as one:
        one.process.send_signal(getattr(signal, name))
        assert one.process.wait(LAST_RESORT) == 0
    assert [len(one.events(event)) for event in ("draining", "ended")] == [1, 1]


def test_workers_share_ports_and_are_replaced(options: tuple[object, ...]) -> None:
    """They end with the process that started them, even where that is killed.

    One under other settings than the gateway started with is not replaced.
    """
    defense = Path(str(options[3]))
    with gateway(*options, "--workers", 2, "--grpc-port", 0) as one:
        url = f"{one.url}/v2/models/linear/infer"
        assert wait_until(lambda: len(one.events("listening")) == 2)
        first, second = one.events("listening")
        assert {first[name] == second[name] for name in ("port", "grpc_port")} == {True}
        os.kill(first["process"], signal.SIGKILL)
        assert wait_until(lambda: len(one.events("listening")) == 3)
        (died,) = one.events("worker_died")
        assert (died["exit_code"], died["replaced_in"]) == (-signal.SIGKILL, 1.0)
        before = ask(url, infer_body(queries(1))).body
        text = defense.read_text()
        defense.write_text(text.replace("temperature: 4.0", "temperature: 5.0"))
        try:
            os.kill(second["process"], signal.SIGKILL)
            assert wait_until(lambda: len(one.events("worker_died")) == 3)
        finally:
            defense.write_text(text)
        differs = one.events("worker_died")[2]
        assert (differs["exit_code"], differs["replaced_in"]) == (workers.DIFFERS, None)
        (reason,) = one.events("worker_not_started")
        assert "start: defense.yaml. Start it" in reason["problem"]
        assert ask(url, infer_body(queries(1))).body == before
        one.process.kill()
        assert wait_until(lambda: len(one.events("ended")) == 1)
        with pytest.raises(OSError, match="refused"):
            socket.create_connection(("127.0.0.1", one.ports["port"]), 1)


def test_workers_drain_together(options: tuple[object, ...]) -> None:
    with gateway(*options, "--workers", 2) as one:
        assert wait_until(lambda: len(one.events("listening")) == 2)
        one.terminate()
        assert one.process.wait(LAST_RESORT) == 0
    assert [len(one.events(event)) for event in ("starting", "draining", "ended")] == [1, 2, 2]


def test_workers_need_budgets_that_they_share() -> None:
    with pytest.raises(InputError, match="2 workers would count budgets by itself"):
        Serving(Path("defense.yaml"), Path("m.onnx"), no_auth=True, workers=2)


def test_metrics_of_workers_need_ports_of_their_own() -> None:
    options: dict[str, Any] = {"no_auth": True, "workers": 3, "budget": 0, "rate": 0}
    options |= {"metrics_port": 8078, "metrics_clients": Path("scrapers.txt")}
    Serving(Path("defense.yaml"), Path("m.onnx"), port=8081, **options)
    with pytest.raises(InputError, match=r"Ports must differ; got \[8080, 8078, 8079, 8080\]"):
        Serving(Path("defense.yaml"), Path("m.onnx"), port=8080, **options)
    with pytest.raises(InputError, match="65536"):
        Serving(Path("defense.yaml"), Path("m.onnx"), **{**options, "metrics_port": 65534})


def test_nothing_is_written_and_nothing_reported(
    options: tuple[object, ...], tmp_path: Path
) -> None:
    """ONNX Runtime writes an identifier for its telemetry, unless it is told not to."""
    with gateway(*options, HOME=str(tmp_path), XDG_CACHE_HOME=str(tmp_path)) as one:
        told = ask(f"{one.url}/v2/models/linear/infer", infer_body(queries(1)))
        assert told.status == 200
    assert list(tmp_path.iterdir()) == []


def test_it_listens_at_home_only(options: tuple[object, ...]) -> None:
    with gateway(*options, "--grpc-port", 0) as one:
        listening = set()
        for table in ("tcp", "tcp6"):
            path = Path(f"/proc/{one.process.pid}/net/{table}")
            if not path.exists():
                pytest.skip("needs /proc/net")
            for line in path.read_text().splitlines()[1:]:
                local, state = line.split()[1], line.split()[3]
                address, port = local.split(":")
                if state == "0A" and int(port, 16) in one.ports.values():
                    listening.add(address)
        mapped = "0000000000000000FFFF00000100007F"  # ::ffff:127.0.0.1, as gRPC binds it
        assert "0100007F" in listening and listening <= {"0100007F", mapped}


@pytest.mark.parametrize("option", ["--port", "--grpc-port", "--metrics-port"])
def test_a_port_that_is_taken_is_one_sentence(
    options: tuple[object, ...], option: str, tmp_path: Path
) -> None:
    clients.add_client(tmp_path / "scrapers.txt", "prometheus")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        given = [*map(str, options), "--port", "0", option, str(port)]
        if option == "--metrics-port":
            given += ["--metrics-clients", str(tmp_path / "scrapers.txt")]
        done = subprocess.run(
            [sys.executable, "-m", "dynanoise", "serve", *given],
            env={**os.environ, "DYNANOISE_KEY": SECRET},
            capture_output=True,
            text=True,
            timeout=LAST_RESORT,
            check=False,
        )
    assert done.returncode == 2
    *logged, said = done.stderr.splitlines()
    assert said.startswith("Error: 127.0.0.1 port")
    assert [json.loads(line)["event"] for line in logged] == ["starting", "weakness", "weakness"]


def test_a_listener_that_fails_is_a_failure(options: tuple[object, ...]) -> None:
    """It is not said to listen, and who started it is told."""
    gateway, _ = startup.make_gateway(
        Serving(Path(str(options[3])), Path(str(options[1])), fresh=True, no_auth=True)
    )
    (port,) = free_ports(1)
    scrapers = clients.Clients({"prometheus": bytes(32)})
    # Bound twice, which the system allows until both listen.
    twice = listeners.Listeners(port=port, metrics_port=port, scrapers=scrapers)
    with pytest.raises(OSError, match="in use"):  # the command's code is then 2
        asyncio.run(listeners._run(gateway, twice))


def test_as_nobody_on_a_file_system_that_is_read_only(options: tuple[object, ...]) -> None:
    """All mounted read-only in a namespace of its own, and a user who is nobody there."""
    if os.geteuid() != 0 or not (shutil.which("unshare") and shutil.which("mount")):
        pytest.skip("needs root, and unshare to give it up")
    inside = 'mount --make-rprivate / && mount -o remount,bind,ro / && exec unshare -U -- "$@"'
    wrapped = ["unshare", "-m", "sh", "-c", inside, "sh"]
    if subprocess.run(
        [*wrapped, "true"], capture_output=True, check=False, timeout=LONG
    ).returncode:
        pytest.skip("namespaces are not allowed here")
    where = os.path.dirname(str(options[1]))
    # Of a kind that the kernel does not answer: compiled code could not be kept here.
    settings = {"name": "dynanoise", "base_variance": 0.3, "sensitivity": "margin"}
    model, own = Path(str(options[1])), Path(where) / "margin.yaml"
    options = ("--model", model, "--defense", defense_file(own, digest(model), defense=settings))
    options += ("--no-auth",)
    begin = f'id -u >&2; touch "{where}/new" 2>/dev/null && echo writable >&2; exec "$@"'
    command = [sys.executable, "-m", "dynanoise", "serve", "--port", "0", *map(str, options)]
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(ROOT / "src"),
        "DYNANOISE_KEY": SECRET,
    }
    process = subprocess.Popen(
        [*wrapped, "sh", "-c", begin, "sh", *command],
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    )
    assert process.stderr is not None
    try:
        with limited(process):
            assert process.stderr.readline() == "65534\n"
            events = []
            for line in process.stderr:
                events.append(json.loads(line))
                if events[-1]["event"] == "listening":
                    break
        url = f"http://127.0.0.1:{events[-1]['port']}"
        assert ask(f"{url}/v2/models/linear/infer", infer_body(queries(1))).status == 200
    finally:
        process.terminate()
        process.wait(LAST_RESORT)
        process.stderr.close()
