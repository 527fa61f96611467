"""The web page, opened in a browser, with everything that it said and asked for."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

from dynanoise.web.server import make_server


@contextmanager
def served() -> Iterator[str]:
    """The page's address while it is served."""
    with make_server(0) as running:
        thread = threading.Thread(target=running.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{running.server_port}/"
        running.shutdown()
        thread.join()


class Opened:
    """One visit."""

    def __init__(self, browser: Any, address: str, rest: str = "", **context: Any) -> None:
        self.address = address
        self.context = browser.new_context(
            **{"viewport": {"width": 1280, "height": 900}, "reduced_motion": "reduce"} | context
        )
        self.page = self.context.new_page()
        self.page.set_default_timeout(20_000)
        self.said: list[str] = []
        self.asked: list[str] = []
        self.page.on("console", lambda message: self.said.append(message.text))
        self.page.on("pageerror", lambda error: self.said.append(str(error)))
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.goto(address + rest)
        self.page.wait_for_selector("html[data-ready]", state="attached")

    def text(self, selector: str) -> str:
        """What stands there, with true minus signs as hyphens."""
        return str(self.page.inner_text(selector)).replace("\N{MINUS SIGN}", "-")

    def number(self, selector: str) -> float:
        """The first number that stands there; percent as a share, "<" something as 0."""
        first = self.text(selector).split()[0].replace(",", "")
        if first.startswith("<"):
            return 0.0
        return float(first.rstrip("%×")) / (100 if first.endswith("%") else 1)

    def slide(self, selector: str, value: float) -> None:
        """Moves a slider as a visitor would, with the events of it."""
        self.page.locator(selector).evaluate(
            "(node, value) => { node.value = value; node.dispatchEvent(new Event('input')); }",
            value,
        )

    def choose(self, group: str, value: str) -> None:
        """One of a group of radio buttons."""
        self.page.locator(f"{group} input[value='{value}']").check(force=True)

    def hosts(self) -> set[str]:
        """Everybody whom the page asked for something."""
        return {urlsplit(url).netloc for url in self.asked if not url.startswith("data:")}

    def close(self) -> None:
        """Ends the visit."""
        self.context.close()
