"""A Redis or Valkey server in a process of its own, for stores of budgets."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.factories.gateways import LAST_RESORT, free_ports, wait_until


class Store:
    """A server that writes each command to its file before it replies, and can be started again."""

    def __init__(
        self, folder: Path, password: str | None = None, options: tuple[str, ...] = ()
    ) -> None:
        program = shutil.which("redis-server") or shutil.which("valkey-server")
        if program is None:
            pytest.skip("needs redis-server or valkey-server")
        self._redis = pytest.importorskip("redis", reason="stores: pip install 'dynanoise[redis]'")
        (self.port,) = free_ports(1)
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self.client = self._redis.Redis(port=self.port, password=password)
        self._command = [program, "--port", str(self.port), "--bind", "127.0.0.1"]
        self._command += ["--dir", str(folder), "--appendonly", "yes", "--save", ""]
        self._command += [*options, *(["--requirepass", password] if password else [])]
        self.start()

    def start(self, *options: str) -> None:
        command = [*self._command, *options]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        assert wait_until(self._replies, LAST_RESORT)

    def _replies(self) -> bool:
        try:
            return bool(self.client.ping())
        except self._redis.RedisError:
            return False

    def kill(self) -> None:
        """End it as a crash does."""
        self.process.kill()
        self.process.wait()

    def account(self, model: str, client: str) -> dict[bytes, bytes]:
        return dict(self.client.hgetall(f"dynanoise:{{{client}}}:account:{model}"))

    def pass_time(self, seconds: float) -> None:
        """Make all accounts older, as if that time had passed."""
        for name in self.client.scan_iter("dynanoise:{*}:account:*"):
            for field in ("begun", "filled"):
                before = float(self.client.hget(name, field) or 0)
                self.client.hset(name, field, f"{before - seconds:.6f}")

    def close(self) -> None:
        self.kill()
        self.client.close()
