"""Three gateways that share one store: budgets hold together, and whatever is killed."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path

import pytest

from dynanoise.core.errors import InputError
from dynanoise.serving import clients
from dynanoise.serving.store import StoreAddress, revoke
from tests.factories.gateways import (
    LAST_RESORT,
    Running,
    ask,
    defense_file,
    digest,
    gateway,
    infer_body,
    onnx_file,
    queries,
    wait_until,
)
from tests.factories.stores import Store

pytestmark = [pytest.mark.process, pytest.mark.behaviour]

BUDGET = 100


@dataclass
class Replicas:
    store: Store
    gateways: list[Running]
    keys: dict[str, str]
    password: Path

    def query(self, number: int, client: str) -> int:
        url = f"{self.gateways[number].url}/v2/models/linear/infer"
        told = ask(url, infer_body(queries(1)), X_API_Key=self.keys[client])
        if told.status in (429, 503):
            assert int(told.headers["retry-after"]) >= 1
        return told.status

    def spent(self, client: str) -> int:
        return int(self.store.account("linear", client)[b"spent"])


@pytest.fixture(scope="module")
def replicas(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Replicas]:
    folder = tmp_path_factory.mktemp("shared")
    store = Store(folder, "hunter2")
    (folder / "password").write_text("hunter2\n")
    (folder / "password").chmod(0o600)
    file = folder / "clients.txt"
    keys = {name: clients.add_client(file, name) for name in ("alice", "bob", "carol", "dave")}
    model = onnx_file(folder / "linear.onnx")
    defense = defense_file(folder / "defense.yaml", digest(model))
    options: tuple[object, ...] = (
        "--model",
        model,
        "--defense",
        defense,
        "--clients",
        file,
        "--rate",
        0,
    )
    options += ("--budget", BUDGET, "--budget-store", store.url)
    options += ("--store-password", f"file:{folder / 'password'}", "--concurrency", 200)
    with ExitStack() as stack:
        stack.callback(store.close)
        gateways = [stack.enter_context(gateway(*options)) for _ in range(3)]
        yield Replicas(store, gateways, keys, folder / "password")
    assert not any("hunter2" in one.text for one in gateways)


def in_threads(count: int, work: Callable[[int], None]) -> list[threading.Thread]:
    threads = [
        threading.Thread(target=work, args=(number,), daemon=True) for number in range(count)
    ]
    for thread in threads:
        thread.start()
    return threads


def test_three_gateways_answer_one_budget_exactly(replicas: Replicas) -> None:
    statuses: list[int] = []
    begin = threading.Barrier(300)

    def work(number: int) -> None:
        begin.wait(LAST_RESORT)
        statuses.append(replicas.query(number % 3, "alice"))

    for thread in in_threads(300, work):
        thread.join(LAST_RESORT)
    assert Counter(statuses) == {200: BUDGET, 429: 200}
    assert replicas.spent("alice") == BUDGET


def test_no_budget_returns_when_store_and_gateway_are_killed(replicas: Replicas) -> None:
    """Living gateways respond to every request meanwhile, and go on without a restart."""
    statuses: list[int] = []
    lost: list[int] = []  # by the number of the gateway
    store, dead = replicas.store, replicas.gateways[2]

    def work(number: int) -> None:
        target = number % 3
        while 429 not in statuses:
            try:
                statuses.append(replicas.query(target, "bob"))
            except (OSError, HTTPException):  # of a process that is killed
                lost.append(target)
                target = 0

    threads = in_threads(6, work)
    assert wait_until(lambda: statuses.count(200) >= 10)
    store.kill()
    assert wait_until(lambda: statuses.count(503) >= 10)
    before = statuses.count(200)
    assert [ask(f"{one.url}/v2/health/ready").status for one in replicas.gateways] == [503] * 3
    store.start()
    assert wait_until(lambda: statuses.count(200) > before)
    dead.process.kill()
    for thread in threads:
        thread.join(LAST_RESORT)
    answered = statuses.count(200)
    assert set(statuses) == {200, 429, 503} and set(lost) <= {2} and len(lost) <= 2
    # Of each thread one charge may have had no reply when the store was killed, or its gateway.
    assert BUDGET - 6 - len(lost) <= answered <= BUDGET == replicas.spent("bob")
    assert ask(f"{replicas.gateways[0].url}/v2/health/ready").status == 200
    log = replicas.gateways[0]
    assert log.events("store_failed") and len(log.events("store_reached")) >= 2
    assert log.events("starting")[0]["counted"] == "store"


def test_a_revoked_client_gets_no_more_answers(replicas: Replicas) -> None:
    address = StoreAddress(replicas.store.url, f"file:{replicas.password}")
    assert replicas.query(0, "carol") == 200
    with pytest.raises(InputError, match=r"no client 'carrol'.*Did you mean 'carol'\?"):
        asyncio.run(revoke(address, "carrol", list(replicas.keys)))
    asyncio.run(revoke(address, "carol", list(replicas.keys)))
    assert [replicas.query(number, "carol") for number in (0, 1)] == [401, 401]
    assert replicas.query(0, "dave") == 200


def test_a_store_that_forgets_is_a_weakness(replicas: Replicas) -> None:
    """Noticed when the store comes back with other settings."""
    store, log = replicas.store, replicas.gateways[1]
    assert not log.events("weakness")
    store.kill()
    assert replicas.query(1, "dave") == 503
    store.start("--appendonly", "no", "--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru")
    assert wait_until(lambda: replicas.query(1, "dave") == 200)
    assert wait_until(lambda: len(log.events("weakness")) == 2)
    weaknesses = {event["weakness"] for event in log.events("weakness")}
    assert weaknesses == {"store_without_appendonly", "store_evicts"}
