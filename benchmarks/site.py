"""The web page in a browser: first paint, size, frames a second of its live picture.

    python benchmarks/site.py

A new browser profile for every visit, nothing cached, from 127.0.0.1. Needs playwright and
chromium.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import sys
import threading
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from dynanoise.core.files import write_json
from dynanoise.evaluation.provenance import hardware, versions
from dynanoise.web.server import make_server

FRAMES = """seconds => new Promise(done => {
    const times = [];
    const tick = now => {
        times.push(now);
        if (now - times[0] < 1000 * seconds) requestAnimationFrame(tick); else done(times);
    };
    requestAnimationFrame(tick);
})"""

LOADED = """() => ({
    first_paint_ms: performance.getEntriesByName("first-contentful-paint")[0]?.startTime ?? null,
    bytes: ["resource", "navigation"].flatMap(kind => performance.getEntriesByType(kind))
        .reduce((sum, entry) => sum + entry.transferSize, 0),
    files: performance.getEntriesByType("resource").length + 1,
})"""


def visit(browser: Any, address: str, seconds: float) -> dict[str, Any]:
    """Visit the page once: bytes, time of the first paint, and frames of the live picture."""
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    page = context.new_page()
    page.goto(address)
    page.wait_for_selector("html[data-ready]", state="attached")
    ready = page.evaluate("() => performance.now()")
    loaded: dict[str, Any] = page.evaluate(LOADED)
    page.wait_for_timeout(500)
    times = page.evaluate(FRAMES, seconds)
    gaps = sorted(b - a for a, b in pairwise(times))
    context.close()
    return {
        **loaded,
        "ready_ms": ready,
        "frames_per_second": 1000 * len(gaps) / (times[-1] - times[0]),
        "frame_ms_95%": gaps[int(0.95 * len(gaps))],
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Visit the page several times and write medians."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0] if __doc__ else None)
    parser.add_argument("--out", type=Path, default=Path("results/benchmarks/site.json"))
    parser.add_argument("--visits", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3, help="of frames, each visit")
    options = parser.parse_args(arguments)
    from playwright.sync_api import sync_playwright

    load = round(os.getloadavg()[0], 1)
    with make_server(0) as running, sync_playwright() as started:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        browser = started.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox"]
        )
        address = f"http://127.0.0.1:{running.server_port}/"
        visits = [visit(browser, address, options.seconds) for _ in range(options.visits)]
        version = browser.version
        browser.close()
        running.shutdown()
    medians = {
        name: round(statistics.median(v[name] for v in visits if v[name] is not None), 1)
        for name in visits[0]
    }
    result = {
        "command": f"python benchmarks/site.py --visits {options.visits} "
        f"--seconds {options.seconds:g}",
        "versions": {**versions(), "chromium": version},
        "hardware": hardware(),
        "load_before": load,
        "medians": medians,
    }
    write_json(options.out, result)
    sys.stdout.write(f"{medians}\nWrote {options.out}.\n")


if __name__ == "__main__":
    main()
