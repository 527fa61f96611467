"""No stack trace, secret, input or raw logit in any answer or log."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import logging
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dynanoise.config.configuration import Configuration
from tests.factories.gateways import (
    OTHER_SECRET,
    SECRET,
    WEIGHTS,
    ask,
    defense_file,
    gateway,
    infer_body,
    queries,
)
from tests.serving.conftest import Served, plain_server

pytest.importorskip("starlette", reason="the gateway: pip install 'dynanoise[serve]'")
pytest.importorskip("prometheus_client", reason="the gateway: pip install 'dynanoise[serve]'")
pytest.importorskip("orjson", reason="the gateway: pip install 'dynanoise[serve]'")
from dynanoise.oip.faults import Refused
from dynanoise.oip.tensors import Description, Spec, Tensor
from dynanoise.serving import logs
from dynanoise.serving.budgets import Budget, LocalBudgets
from dynanoise.serving.gateway import Gateway, Limits
from dynanoise.serving.http import application
from dynanoise.serving.monitoring import Metrics

TRACES = ("Traceback", 'File "', "line 1", "Error(", "raise ", ".py")


def written(values: Any) -> set[str]:
    """The numbers as anybody might print them, from 5 digits on."""
    flat = np.asarray(values, np.float64).ravel()
    return {f"{abs(value):.{digits}f}"[:7] for value in flat for digits in (5, 6, 7)}


@pytest.mark.process
def test_a_day_in_the_life_of_a_gateway(served: Served) -> None:
    url = f"{served.running.url}/v2/models/linear/infer"
    rows = queries(30, seed=77)
    raw = rows @ WEIGHTS
    told = ask(url, infer_body(rows))
    assert told.status == 200
    for values in (raw, 7 * raw):
        for number in written(values):
            assert number not in told.body.decode()
    bad = (
        infer_body(rows, name="y"),
        infer_body(rows[:, :3]),
        infer_body(rows, outputs=[{"name": "hidden"}]),
        b"{" + json.dumps(infer_body(rows)).encode(),
    )
    heard = [ask(url, body).body.decode() for body in bad]
    everything = "\n".join([*heard, served.running.text])
    answers = [value for row in json.loads(told.body)["outputs"] for value in row["data"]]
    numbers = [written(values) for values in (raw, 7 * raw, rows, answers)]
    for one in numbers:
        for number in one:
            assert number not in everything
    for word in (SECRET, SECRET[:16], base64.b64encode(bytes.fromhex(SECRET)).decode(), *TRACES):
        assert word not in everything
    for line in served.running.log:
        assert json.loads(line)["event"] in {
            "library",  # of requests of other tests that are no HTTP
            "starting",
            "weakness",
            "listening",
            "answered",
            "refused",
            "upstream_failed",
        }


def test_the_grep_finds_what_is_there() -> None:
    """The test above would see a logit, had one been there."""
    raw = queries(3) @ WEIGHTS
    for value in raw.ravel():
        assert any(number in f"logits sum to {value!r}" for number in written(raw))
        assert any(number in json.dumps(float(value)) for number in written(raw))


class Broken:
    """A model that fails with words that must not be heard."""

    name, version = "m", None

    def __init__(self, error: BaseException | None, values: Any = None) -> None:
        self.error, self.values = error, values

    async def describe(self) -> Description:
        spec = Spec("x", "FP32", (-1, 2))
        return Description((spec,), Spec("logits", "FP32", (-1, 2)), "test")

    async def ready(self) -> bool:
        return True

    async def infer(self, inputs: Any, authorization: str | None) -> Tensor:
        if self.error is not None:
            raise self.error
        return Tensor("logits", "FP32", np.array(self.values, np.float32))

    async def close(self) -> None:
        pass


def asgi(app: Any, path: str, body: bytes) -> tuple[int, bytes]:
    """One request, without a server between that might hide an exception."""
    sent: list[dict[str, Any]] = []
    scope = {"type": "http", "method": "POST", "path": path, "headers": [], "query_string": b""}
    scope |= {"raw_path": path.encode(), "http_version": "1.1", "scheme": "http"}

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    asyncio.run(app(scope, receive, send))
    return sent[0]["status"], b"".join(one.get("body", b"") for one in sent[1:])


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    stream = io.StringIO()
    root = logging.getLogger()
    before, level, raising = root.handlers[:], root.level, logging.raiseExceptions
    logs.start_logging(stream)
    yield stream
    root.handlers[:] = before
    root.setLevel(level)
    logging.raiseExceptions = raising


def made(
    model: Any, tmp_path: Path, rate: float = 0.001, burst: int = 10, **changed: Any
) -> Gateway:
    defense = Configuration.read(defense_file(tmp_path / "defense.yaml", **changed))
    budgets = LocalBudgets(Budget(rate=rate, burst=burst, total=0))
    return Gateway(model, defense, None, budgets, Limits(), Metrics("id"))


ASKED = json.dumps({"instances": [[1.0, 2.0]]}).encode()


@pytest.mark.parametrize(
    ("model", "status"),
    [
        (Broken(RuntimeError("secret-logit 8.76543")), 500),
        (Broken(MemoryError("secret-logit 8.76543")), 500),
        (Broken(Refused(503, "slow", "Later.", 2.0)), 503),
        (Broken(None, [[np.nan, 8.76543]]), 500),
        (Broken(None, [[np.inf, 8.76543]]), 500),
        (Broken(None, [[8.76543]]), 500),
        (Broken(None, 8.76543), 500),
        (Broken(None, [[8.76543, 1], [8.76543, 1]]), 500),
    ],
)
def test_failures_have_no_words(
    model: Broken, status: int, tmp_path: Path, log: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DYNANOISE_KEY", SECRET)
    app = application(made(model, tmp_path))
    for _ in range(30):  # who gets no answer pays nothing
        found, body = asgi(app, "/v1/models/m:predict", ASKED)
        assert found == status and list(json.loads(body)) == ["error"]
    events = [json.loads(line) for line in log.getvalue().splitlines()]
    if model.error is None:  # the log says that it was the model's answer, not what was in it
        assert {one["reason"].partition("_")[0] for one in events} == {"response"}
    for word in ("8.76543", "secret-logit", "Traceback", SECRET):
        assert word not in body.decode() + log.getvalue()


@pytest.mark.parametrize(
    ("shape", "values", "axis", "status"),
    [
        ((-1,), [8.76543, 1], -1, 500),  # one number for each record: labels, or a score
        (None, [8.76543, 1], -1, 500),
        ((-1, 2), [[8.76543, 1], [2, 3]], 0, 500),
        ((-1, 2), [[8.76543, 1], [2, 3]], -2, 500),
        ((-1, 2), [[8.76543, 1], [2, 3]], 2, 500),
        ((2, -1), [[8.76543, 1], [2, 3]], 0, 200),
        ((-1, 2), [[8.76543, 1], [2, 3]], 1, 200),
        (None, [[8.76543, 1], [2, 3]], 1, 200),
    ],
)
def test_records_are_no_classes(
    shape: Any, values: Any, axis: int, status: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or an answer would say how the records of one request compare."""
    monkeypatch.setenv("DYNANOISE_KEY", SECRET)

    class Other(Broken):
        async def describe(self) -> Description:
            if shape is None:  # a server that says nothing of its model
                return Description((), None, "test")
            spec = Spec("x", "FP32", (-1, 2))
            return Description((spec,), Spec("logits", "FP32", shape), "test")

    app = application(made(Other(None, values), tmp_path, class_axis=axis))
    one = {"name": "x", "datatype": "FP32", "shape": [2, 2], "data": [1, 2, 3, 4]}
    found, _ = asgi(app, "/v2/models/m/infer", json.dumps({"inputs": [one]}).encode())
    assert found == status


def test_a_secret_that_went_away(
    tmp_path: Path, log: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DYNANOISE_KEY", SECRET)
    gateway = made(Broken(None, [[1.0, 2.0]]), tmp_path)
    app = application(gateway)
    assert asgi(app, "/v1/models/m:predict", ASKED)[0] == 200
    assert asyncio.run(gateway.ready())
    monkeypatch.setenv("DYNANOISE_KEY", OTHER_SECRET[:9])
    found, body = asgi(app, "/v1/models/m:predict", ASKED)
    assert found == 503 and OTHER_SECRET[:9] not in body.decode() + log.getvalue()
    assert not asyncio.run(gateway.ready())


def test_probabilities_and_half_precision(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DYNANOISE_KEY", SECRET)
    model = Broken(None, [[0.25, 0.75]])
    gateway = made(model, tmp_path, input="probabilities")
    assert asgi(application(gateway), "/v1/models/m:predict", ASKED)[0] == 200
    model.values = [[0.25, 0.25]]
    assert asgi(application(gateway), "/v1/models/m:predict", ASKED)[0] == 500


def test_other_libraries_say_nothing(log: io.StringIO) -> None:
    try:
        raise ValueError("secret-logit 8.76543")
    except ValueError:
        logging.getLogger("asyncio").exception("it said %s", "secret-logit 8.76543")
    (said,) = map(json.loads, log.getvalue().splitlines())
    assert said["event"] == "library" and said["library"] == "asyncio"
    assert said["exception"] == "ValueError" and "secret" not in log.getvalue()
    logging.getLogger("uvicorn.error").info("secret-logit 8.76543")
    assert "secret" not in log.getvalue()


@pytest.mark.process
def test_the_upstream_s_address_is_no_one_s_business(tmp_path: Path) -> None:
    with plain_server() as plain:
        defense = defense_file(tmp_path / "defense.yaml")
        given = ("--upstream", plain.url, "--model-name", "linear", "--defense", defense)
        with gateway(*given, "--no-auth") as one:
            plain.process.kill()
            body = ask(f"{one.url}/v2/models/linear/infer", infer_body(queries(1))).body.decode()
    assert str(plain.port) not in body + one.text and sys.executable not in body + one.text
