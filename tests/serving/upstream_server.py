"""A server of the Open Inference Protocol in plain Python, written apart from the gateway's code.

It answers `x W` from lists, without NumPy, and can be told to misbehave: POST /behave with a word.

    python upstream_server.py WEIGHTS.json [PORT]
"""

from __future__ import annotations

import json
import math
import socket
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

WEIGHTS: list[list[float]] = []
STATE: dict[str, Any] = {"behave": "well", "seen": [], "version": "1"}
CHANGED = threading.Condition()


def logits(row: list[float]) -> list[float]:
    columns = range(len(WEIGHTS[0]))
    return [sum(x * w[column] for x, w in zip(row, WEIGHTS, strict=True)) for column in columns]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        pass

    def _send(self, said: Any, status: int = 200) -> None:
        body = said if isinstance(said, bytes) else json.dumps(said).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _hang_up(self) -> None:
        self.close_connection = True
        self.connection.shutdown(socket.SHUT_RDWR)

    def do_GET(self) -> None:
        if self.path == "/seen":
            return self._send(STATE["seen"])
        if STATE["behave"] == "unready" or self.path == "/v2/health/ready":
            return self._send({"ready": True}, 503 if STATE["behave"] == "unready" else 200)
        if self.path == "/v2":
            return self._send({"name": "plain", "version": "1", "extensions": []})
        if self.path.endswith("/ready"):
            return self._send({"name": "linear", "ready": True})
        shape = [-1, len(WEIGHTS)], [-1, len(WEIGHTS[0])]
        outputs = [{"name": n, "datatype": "FP32", "shape": shape[1]} for n in ("logits", "hidden")]
        inputs = [{"name": "x", "datatype": "FP32", "shape": shape[0]}]
        return self._send(
            {
                "name": "linear",
                "versions": ["1"],
                "platform": "p",
                "inputs": inputs,
                "outputs": outputs,
            }
        )

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.path == "/behave":
            with CHANGED:
                STATE["behave"] = json.loads(body)
                CHANGED.notify_all()
            return self._send({})
        STATE["seen"].append(
            {
                "path": self.path,
                "authorization": self.headers.get("Authorization"),
                "traceparent": self.headers.get("traceparent"),
            }
        )
        behave = STATE["behave"]
        asked = json.loads(body)
        (x,) = asked["inputs"]
        count, width = x["shape"]
        if not all(value is not None and math.isfinite(value) for value in x["data"]):
            return self._send({"error": "No missing values."}, 400)
        rows = [logits(x["data"][width * i : width * (i + 1)]) for i in range(count)]
        if behave == "hold":  # until it is told to behave otherwise
            with CHANGED:
                CHANGED.wait_for(lambda: STATE["behave"] != "hold")
        if behave == "garbage":
            return self._send(b"\x00secret-logit 8.76543 <html>")
        if behave == "fail":
            return self._send({"error": "Traceback: secret-logit 8.76543 at model.py"}, 500)
        if behave == "hang up":
            return self._hang_up()
        if behave == "cut":
            self.send_response(200)
            self.send_header("Content-Length", "1000")
            self.end_headers()
            self.wfile.write(b'{"outputs": [')
            return self._hang_up()
        flat = [value for row in rows for value in row]
        shape = [count, len(WEIGHTS[0])]
        datatype, version = "FP32", STATE["version"]
        if behave == "nan":
            flat[0] = float("nan")
        if behave == "null":
            flat[0] = None  # type: ignore[call-overload]
        if behave == "huge":
            flat[0] = 1e300
        if behave == "shape":
            shape = [count, len(WEIGHTS[0]) + 1]
        if behave == "count":
            flat, shape = flat + flat, [2 * count, shape[1]]
        if behave == "type":
            datatype, flat = "INT64", [int(value) for value in flat]
        if behave == "version":
            version = "2"
        output = {"name": "logits", "datatype": datatype, "shape": shape, "data": flat}
        hidden = {**output, "name": "hidden"}
        outputs = [hidden] if behave == "other output" else [output, hidden]
        return self._send({"model_name": "linear", "model_version": version, "outputs": outputs})


def main() -> None:
    WEIGHTS.extend(json.loads(sys.argv[1]))
    port = int(sys.argv[2]) if len(sys.argv) > 2 else 0
    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    server.daemon_threads = True
    sys.stdout.write(f"{server.server_address[1]}\n")
    sys.stdout.flush()
    threading.Thread(target=server.serve_forever).start()


if __name__ == "__main__":
    main()
