"""Whatever the upstream does, clients get the protocol's error and nothing that it said."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.factories.gateways import (
    Told,
    ask,
    defense_file,
    gateway,
    infer_body,
    queries,
    values_of,
    wait_until,
)
from tests.serving.conftest import Plain, Served, plain_server

pytestmark = pytest.mark.process

UNUSABLE = ("garbage", "nan", "null", "huge", "shape", "count", "type", "other output")
AWAY = ("fail", "hang up", "cut")


def infer(served: Served, **headers: str) -> Told:
    url = f"{served.running.url}/v2/models/linear/infer"
    return ask(url, infer_body(queries(2)), **headers)


@pytest.mark.parametrize("how", [*UNUSABLE, *AWAY, "version"])
def test_misbehaviour(served_upstream: Served, plain: Plain, how: str) -> None:
    plain.behave("well")
    good = values_of(infer(served_upstream))
    plain.behave(how)
    told = infer(served_upstream)
    assert told.status == (500 if how in UNUSABLE else 503)
    assert list(told.json) == ["error"]
    assert ("retry-after" in told.headers) == (told.status == 503)
    plain.behave("well")
    np.testing.assert_array_equal(values_of(infer(served_upstream)), good)
    heard = told.body.decode() + served_upstream.running.text
    for word in ("secret-logit", "Traceback", "8.76543", "model.py", 'File "', "hidden"):
        assert word not in heard


def test_a_model_that_does_not_respond_in_time(tmp_path: Path, plain: Plain) -> None:
    defense = defense_file(tmp_path / "defense.yaml")
    options = ("--upstream", plain.url, "--model-name", "linear", "--defense", defense)
    plain.behave("hold")
    with gateway(*options, "--no-auth", "--timeout", 1) as running:
        told = ask(f"{running.url}/v2/models/linear/infer", infer_body(queries(1)))
        assert told.status == 503 and "retry-after" in told.headers
    plain.behave("well")


def test_it_is_ready_when_the_upstream_is(served_upstream: Served, plain: Plain) -> None:
    url = f"{served_upstream.running.url}/v2/health"
    plain.behave("well")
    assert wait_until(lambda: ask(f"{url}/ready").status == 200)
    plain.behave("unready")
    assert wait_until(lambda: ask(f"{url}/ready").status == 503)
    assert ask(f"{url}/live").status == 200
    plain.behave("well")
    assert wait_until(lambda: ask(f"{url}/ready").status == 200)


def test_an_upstream_killed_under_load_and_restarted(tmp_path: Path) -> None:
    defense = defense_file(tmp_path / "defense.yaml")
    found: list[int] = []
    stop = threading.Event()
    with plain_server() as first:
        options = ("--upstream", first.url, "--model-name", "linear", "--defense", defense)
        with gateway(*options, "--no-auth", "--rate", 0, "--budget", 0) as running:
            url = f"{running.url}/v2/models/linear/infer"

            def load() -> None:
                while not stop.is_set():
                    found.append(ask(url, infer_body(queries(1))).status)

            threads = [threading.Thread(target=load) for _ in range(4)]
            for one in threads:
                one.start()
            try:
                assert wait_until(lambda: found.count(200) > 20)
                first.process.kill()
                assert wait_until(lambda: found.count(503) > 5)
                assert ask(f"{running.url}/v2/health/live").status == 200
                with plain_server(first.port):
                    seen = len(found)
                    assert wait_until(lambda: found[seen:].count(200) > 20)
                    stop.set()
                    for one in threads:
                        one.join()
            finally:
                stop.set()
                for one in threads:
                    one.join()
            assert set(found) == {200, 503}
            assert running.events("failed") == []


def test_an_upstream_that_is_not_there_yet(tmp_path: Path) -> None:
    defense = defense_file(tmp_path / "defense.yaml")
    with plain_server() as gone:
        port = gone.port
    options = ("--upstream", f"http://127.0.0.1:{port}", "--model-name", "linear")
    with gateway(*options, "--defense", defense, "--no-auth") as running:
        assert ask(f"{running.url}/v2/health/ready").status == 503
        url = f"{running.url}/v2/models/linear/infer"
        assert ask(url, infer_body(queries(1))).status == 503
        with plain_server(port):
            assert wait_until(lambda: ask(f"{running.url}/v2/health/ready").status == 200)
            assert ask(url, infer_body(queries(1))).status == 200


def test_nothing_of_a_client_goes_upstream_but_inputs(
    served_upstream: Served, plain: Plain, tmp_path: Path
) -> None:
    plain.behave("well")
    assert infer(served_upstream, Authorization="Bearer mine").status == 200
    assert ask(f"{plain.url}/seen").json[-1]["authorization"] is None
    options = ("--upstream", plain.url, "--model-name", "linear", "--model-version", "1")
    defense = ("--defense", defense_file(tmp_path / "defense.yaml"), "--no-auth")
    with gateway(*options, *defense, "--forward-authorization") as running:
        url = f"{running.url}/v2/models/linear/infer"
        assert ask(url, infer_body(queries(1)), Authorization="Bearer mine").status == 200
    seen = ask(f"{plain.url}/seen").json[-1]
    assert seen["authorization"] == "Bearer mine"
    assert seen["path"] == "/v2/models/linear/versions/1/infer"


def test_a_slow_model_holds_nobody_else_up(served_upstream: Served, plain: Plain) -> None:
    plain.behave("hold")
    before = len(ask(f"{plain.url}/seen").json)
    found: list[int] = []
    slow = threading.Thread(target=lambda: found.append(infer(served_upstream).status))
    slow.start()
    assert wait_until(lambda: len(ask(f"{plain.url}/seen").json) > before)
    assert ask(f"{served_upstream.running.url}/v2/health/live").status == 200
    assert found == []
    plain.behave("well")
    slow.join()
    assert found == [200]


def together(ask_one: Callable[[], object], count: int) -> list[threading.Thread]:
    threads = [threading.Thread(target=ask_one) for _ in range(count)]
    for one in threads:
        one.start()
    return threads


def test_an_upstream_that_hangs_before_it_was_ever_known(tmp_path: Path) -> None:
    """Each query has its own time: they do not wait in turn for metadata that do not come."""
    defense = defense_file(tmp_path / "defense.yaml")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        given = ("--upstream", f"http://127.0.0.1:{silent.getsockname()[1]}", "--model-name", "m")
        more = ("--defense", defense, "--no-auth", "--timeout", 1)
        with gateway(*given, *more) as running:
            found: list[tuple[int, float]] = []
            started = time.monotonic()

            def query() -> None:
                told = ask(f"{running.url}/v2/models/m/infer", infer_body(queries(1)))
                found.append((told.status, time.monotonic() - started))

            for one in together(query, 60):
                one.join()
            assert {status for status, _ in found} == {503}
            assert max(seconds for _, seconds in found) < 40  # in turn, they would take 60


def test_a_gateway_that_is_busy_is_ready(tmp_path: Path) -> None:
    """Else a balancer would take replicas away because of their load."""
    defense = defense_file(tmp_path / "defense.yaml")
    with plain_server() as plain:
        given = ("--upstream", plain.url, "--model-name", "linear", "--defense", defense)
        with gateway(
            *given, "--no-auth", "--rate", 0, "--budget", 0, "--concurrency", 2, "--queue", 0
        ) as running:
            url = f"{running.url}/v2/models/linear/infer"
            assert ask(url, infer_body(queries(1))).status == 200
            plain.behave("hold")
            threads = together(lambda: ask(url, infer_body(queries(1))), 2)
            assert wait_until(lambda: len(ask(f"{plain.url}/seen").json) == 3)
            assert ask(url, infer_body(queries(1))).status == 503
            assert ask(f"{running.url}/v2/health/ready").status == 200
            plain.behave("well")
            for one in threads:
                one.join()
