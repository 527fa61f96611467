"""Logs that delay nothing, and say how much is missing."""

from __future__ import annotations

import json
import logging
import os
from http.client import HTTPConnection
from pathlib import Path
from select import select
from typing import Any

import pytest

from dynanoise.serving.logs import BackgroundLines, JsonLines, Thinning
from tests.factories.gateways import (
    LAST_RESORT,
    defense_file,
    digest,
    gateway,
    infer_body,
    onnx_file,
    queries,
)

NAME = "dynanoise.gateway"


def event(message: str, **fields: Any) -> logging.LogRecord:
    record = logging.LogRecord(NAME, logging.INFO, "", 0, message, None, None)
    record.fields = fields
    return record


def test_a_reader_that_stalls_delays_nothing_and_is_told_what_it_missed() -> None:
    reader, writer = os.pipe()
    handler = BackgroundLines(writer)
    handler.setFormatter(JsonLines())
    count = 40_000  # more than the pipe and the queue take
    for number in range(count):
        handler.emit(event("answered", number=number))
    received: list[dict[str, Any]] = []
    text = b""
    while sum(one.get("lines", 1) for one in received) < count:
        assert select([reader], [], [], LAST_RESORT)[0], "Lines are missing."
        text += os.read(reader, 1 << 16)
        *lines, text = text.split(b"\n")
        received += map(json.loads, lines)
    numbers = [one["number"] for one in received if one["event"] == "answered"]
    assert numbers == sorted(numbers) and numbers[:10_000] == list(range(10_000))
    assert sum(one["lines"] for one in received if one["event"] == "dropped") > count // 2
    os.close(reader)
    handler.emit(event("answered"))  # to a reader that has gone
    handler.flush()
    os.close(writer)


def test_repeated_refusals_are_thinned_and_counted() -> None:
    now = 0.0
    thinning = Thinning(lambda: now)

    def refused(client: str) -> logging.LogRecord:
        return event("refused", route="infer", client=client, reason="rate")

    records = [refused("alice") for _ in range(100)]
    assert [thinning.filter(record) for record in records] == [True] * 20 + [False] * 80
    assert thinning.filter(refused("bob")) and thinning.filter(event("answered", client="alice"))
    now = 1.0
    last = refused("alice")
    assert thinning.filter(last)
    assert json.loads(JsonLines().format(last))["suppressed"] == 80
    assert "suppressed" not in json.loads(JsonLines().format(records[0]))
    for number in range(10_000):
        thinning.filter(refused(f"client {number}"))
    assert len(thinning._kinds) <= 4096


@pytest.mark.process
def test_a_gateway_responds_though_its_log_is_not_read(tmp_path: Path) -> None:
    """A pipe takes 64 KiB: some hundred lines."""
    model = onnx_file(tmp_path / "linear.onnx")
    defense = defense_file(tmp_path / "defense.yaml", digest(model))
    options = ("--model", model, "--defense", defense, "--no-auth", "--rate", 0, "--budget", 0)
    with gateway(*options, read=False) as running:
        connection = HTTPConnection(running.address, timeout=LAST_RESORT)
        body = json.dumps(infer_body(queries(1)))
        for _ in range(700):
            connection.request("POST", "/v2/models/linear/infer", body)
            response = connection.getresponse()
            response.read()
            assert response.status == 200
        connection.close()
        running.terminate()
        assert running.process.wait(LAST_RESORT) == 0
