"""Load on one gateway, from a process of its own that does nothing else.

    python benchmarks/_gateway_load.py PORT MODEL SECONDS CLIENTS FEATURES

Every client keeps a connection open and asks one record after the other. Prints JSON: each
answer's time in milliseconds, and how many answers were no answers.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
import time


def request(model: str, features: int, seed: int) -> bytes:
    """One request, as bytes."""
    draw = random.Random(seed)  # noqa: S311 -- inputs, no secrets
    data = [round(draw.gauss(0, 1), 4) for _ in range(features)]
    said = {"name": "x", "datatype": "FP32", "shape": [1, features], "data": data}
    body = json.dumps({"inputs": [said]}).encode()
    head = f"POST /v2/models/{model}/infer HTTP/1.1\r\nHost: gateway\r\n"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


async def client(port: int, asked: bytes, end: float, times: list[float]) -> int:
    """Asks until the end; gives the number of failures."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    failed = 0
    while (started := time.perf_counter()) < end:
        writer.write(asked)
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        length = int(head.partition(b"content-length:")[2].partition(b"\r\n")[0])
        await reader.readexactly(length)
        times.append(round(1000 * (time.perf_counter() - started), 3))
        failed += not head.startswith(b"http/1.1 200 ")
    writer.close()
    return failed


async def main() -> None:
    """Runs all clients and prints what they saw."""
    port, model, seconds, clients, features = sys.argv[1:6]
    times: list[float] = []
    end = time.perf_counter() + float(seconds)
    jobs = [
        client(int(port), request(model, int(features), seed), end, times)
        for seed in range(int(clients))
    ]
    failed = sum(await asyncio.gather(*jobs))
    sys.stdout.write(json.dumps({"milliseconds": times, "failed": failed}))


if __name__ == "__main__":
    asyncio.run(main())
