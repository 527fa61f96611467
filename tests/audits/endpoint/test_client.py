"""Questions over the network, against a server that behaves as it is told to."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np
import pytest

pytest.importorskip("orjson", reason="asking a server: pip install 'dynanoise[serve]'")
from dynanoise.audits.endpoint import query_plan
from dynanoise.audits.endpoint.client import Endpoint
from dynanoise.core.errors import InputError, QueryBudgetError

pytestmark = pytest.mark.process

METADATA: dict[str, Any] = {
    "name": "m",
    "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 2]}],
    "outputs": [{"name": "p", "datatype": "FP32", "shape": [-1, 2]}],
}


class Scripted:
    """What is answered to questions, one after the other; a repeated last one stands for all."""

    def __init__(self, *answers: Any, metadata: Any = None) -> None:
        self.answers, self.metadata = list(answers), {**METADATA, **(metadata or {})}
        self.asked: list[int] = []
        self.headers: list[dict[str, str]] = []
        self.waited: list[float] = []


@pytest.fixture
def server() -> Iterator[tuple[Any, list[Scripted]]]:
    """A server and the script that it follows."""
    scripts: list[Scripted] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *args: Any) -> None:
            pass

        def said(self, status: int, body: bytes, **headers: str) -> None:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name.replace("_", "-"), value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def do_GET(self) -> None:
            script = scripts[-1]
            known = script.metadata if self.path.startswith("/v2/models/") else {"extensions": []}
            self.said(200, json.dumps(known).encode())

        def do_POST(self) -> None:
            script = scripts[-1]
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            rows = asked["inputs"][0]["shape"][0]
            script.asked.append(rows)
            script.headers.append(dict(self.headers))
            answer = script.answers.pop(0) if len(script.answers) > 1 else script.answers[0]
            if answer == "hang up":
                self.close_connection = True
                return
            if callable(answer):
                answer = answer(rows)
            status, said, headers = answer
            self.said(
                status, said if isinstance(said, bytes) else json.dumps(said).encode(), **headers
            )

    made = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=made.serve_forever, args=(0.01,))
    thread.start()
    yield made, scripts
    made.shutdown()
    thread.join()
    made.server_close()


def good(rows: int, **more: Any) -> tuple[int, Any, dict[str, str]]:
    said = {
        "name": "p",
        "datatype": "FP32",
        "shape": [rows, 2],
        "data": [0.25, 0.75] * rows,
        **more,
    }
    return 200, {"model_name": "m", "outputs": [said]}, {}


def endpoint(server: Any, script: Scripted, budget: int = 1000) -> Endpoint:
    made, scripts = server
    scripts.append(script)
    url = f"http://127.0.0.1:{made.server_port}/v2/models/m"
    return Endpoint(url, budget, sleep=script.waited.append, timeout=60)


def ask(server: Any, script: Scripted, rows: int = 3, budget: int = 1000) -> Any:
    one = endpoint(server, script, budget)
    try:
        return one.query(one.metadata(), np.zeros((rows, 2), np.float32))
    finally:
        one.close()


def test_too_many_records_at_once_are_asked_in_parts(server: Any) -> None:
    script = Scripted(lambda rows: good(rows) if rows <= 20 else (413, {"error": "large"}, {}))
    assert ask(server, script, 100).shape == (100, 2)
    assert script.asked == [64, 32, 16, 16, 16, 16, 16, 16, 4]
    script = Scripted(good, metadata={"inputs": [{**METADATA["inputs"][0], "shape": [1, 2]}]})
    ask(server, script)
    assert script.asked == [1, 1, 1]


def test_it_waits_as_it_is_told(server: Any) -> None:
    script = Scripted(
        (429, {"error": "slow"}, {"Retry_After": "7"}), (503, {}, {}), "hang up", good
    )
    assert ask(server, script).tolist() == [[0.25, 0.75]] * 3
    assert script.waited == [7.0, 1.0, 1.0]


@pytest.mark.parametrize(
    ("answers", "says"),
    [
        ([(429, {"error": "spent"}, {"Retry_After": "86400"})], "come again in 86400 s"),
        ([(503, {"error": "away"}, {})], "was answered with 503"),
        (["hang up"], "does not answer"),
        ([(401, {"error": "who?"}, {})], "Pass --api-key"),
        ([(302, b"", {"Location": "http://elsewhere/"})], "was answered with 302"),
        ([(500, b"\x1b[2J boom", {})], "was answered with 500: ?[2J boom"),
        ([(200, b"<html>", {})], "is not the protocol's"),
        ([(200, {"outputs": []}, {})], "is not the protocol's"),
        ([lambda rows: good(rows, data=[0.5] * (2 * rows - 1))], "is not the protocol's"),
        ([lambda rows: good(rows + 1)], "The output for 3 records is float32 [4, 2]"),
        ([lambda rows: good(rows, datatype="INT32", data=[1] * 2 * rows)], "needs numbers"),
    ],
)
def test_what_is_no_answer_is_one_sentence(server: Any, answers: list[Any], says: str) -> None:
    with pytest.raises(InputError) as caught:
        ask(server, Scripted(*answers))
    assert says in str(caught.value) and "\x1b" not in str(caught.value)


@pytest.mark.parametrize(
    ("metadata", "says"),
    [
        ({"inputs": []}, "has 0 inputs"),
        ({"inputs": METADATA["inputs"] * 2}, "has 2 inputs"),
        ({"inputs": [{"name": "x", "datatype": "BYTES", "shape": [-1]}]}, "takes BYTES"),
    ],
)
def test_models_that_are_not_asked(server: Any, metadata: Any, says: str) -> None:
    with pytest.raises(InputError, match=says):
        ask(server, Scripted(good, metadata=metadata))


def test_records_that_do_not_fit(server: Any) -> None:
    one = endpoint(server, Scripted(good))
    known = one.metadata()
    with pytest.raises(InputError, match=r"Records have the shape \(3,\)"):
        one.convert(known, np.zeros((5, 3), np.float32))
    gap = np.array([[np.nan, 1.0]], np.float32)
    for binary in (False, True):
        assert np.isnan(one.convert(replace(known, binary=binary), gap)).sum() == 1
    whole = {"inputs": [{"name": "x", "datatype": "INT64", "shape": [-1, 2]}]}
    integers = endpoint(server, Scripted(good, metadata=whole))
    known = integers.metadata()
    assert integers.convert(known, np.array([[1.0, 2.0]], np.float32)).dtype == np.int64
    with pytest.raises(InputError, match=r"hold 1\.5 in row 0, column 0, and .* int64"):
        integers.convert(known, np.array([[1.5, 2.0]], np.float32))
    with pytest.raises(InputError, match="hold nan in row 0, column 0, and the model takes int64"):
        integers.convert(known, gap)
    one.close()
    integers.close()


def test_the_budget_is_kept(server: Any) -> None:
    script = Scripted(good)
    with pytest.raises(QueryBudgetError, match="65 queries are needed, and 64 are left of 64"):
        ask(server, script, 65, budget=64)
    assert script.asked == []
    for records, budget, queries in ((600, 10_000, None), (50, 170, 3), (7, 20, None), (5, 5, 1)):
        plan = query_plan.plan_queries(records, budget, queries)
        spent: list[int] = []

        def answer(rows: Any, spent: list[int] = spent) -> Any:
            spent.append(len(rows))
            return np.random.default_rng(len(spent)).random((len(rows), 2))

        query_plan.run_plan(answer, np.zeros((plan.records, 2)), plan, seed=0)
        assert sum(spent) <= budget
        assert sum(spent) == plan.records * plan.queries + plan.probed * query_plan.ALONE


def test_the_key_goes_out_and_nothing_else(server: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DYNANOISE_API_KEY", "alice.hunter2")
    script = Scripted(good)
    ask(server, script)
    assert script.headers[0]["Authorization"] == "Bearer alice.hunter2"
    assert "alice" not in repr(endpoint(server, script))
    monkeypatch.setenv("DYNANOISE_API_KEY", "a\r\nX-Evil: 1")
    with pytest.raises(InputError, match="signs that no header takes"):
        endpoint(server, script)
    monkeypatch.delenv("DYNANOISE_API_KEY")
    ask(server, script)
    assert "Authorization" not in script.headers[-1]
