"""Who may ask how much, and what a gateway will not start with."""

from __future__ import annotations

import http.client
import json
import re
import signal
import socket
import threading
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from dynanoise.cli import app
from dynanoise.oip.faults import Refused
from dynanoise.serving import clients, followed
from tests.factories.gateways import (
    LAST_RESORT,
    SECRET,
    Running,
    ask,
    defense_file,
    digest,
    gateway,
    infer_body,
    onnx_file,
    queries,
    values_of,
    wait_until,
)


def cli(*arguments: object, **environment: str | None) -> Any:
    return CliRunner().invoke(app, list(map(str, arguments)), env=environment)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("admission")
    model = onnx_file(folder / "linear.onnx")
    return {
        "model": model,
        "defense": defense_file(folder / "defense.yaml", digest(model)),
        "fresh": defense_file(folder / "fresh.yaml", noise={"name": "fresh"}),
        "clients": folder / "clients.txt",
        "scrapers": folder / "scrapers.txt",
    }


@pytest.fixture(scope="module")
def keys(files: dict[str, Path]) -> dict[str, str]:
    made = {name: clients.add_client(files["clients"], name) for name in ("alice", "bob", "carol")}
    return {**made, "prometheus": clients.add_client(files["scrapers"], "prometheus")}


@pytest.fixture(scope="module")
def running(files: dict[str, Path], keys: dict[str, str]) -> Iterator[Running]:
    options = ("--model", files["model"], "--defense", files["defense"])
    access = ("--clients", files["clients"], "--metrics-port", 0)
    scrapers = ("--metrics-clients", files["scrapers"], "--grpc-port", 0)
    limits = ("--rate", 0.01, "--burst", 2000, "--budget", 1500)
    with gateway(*options, *access, *scrapers, *limits) as one:
        yield one


def infer(running: Running, key: str | None, count: int = 1, seed: int = 1) -> Any:
    headers = {} if key is None else {"Authorization": f"Bearer {key}"}
    url = f"{running.url}/v2/models/linear/infer"
    return ask(url, infer_body(queries(count, seed)), **headers)


@pytest.mark.process
def test_keys(running: Running, keys: dict[str, str]) -> None:
    alice = keys["alice"]
    for wrong in (None, "", "alice", "alice.", alice[:-1], alice + "a", "bob." + alice[6:], "é"):
        told = infer(running, wrong)
        assert told.status == 401 and list(told.json) == ["error"]
        assert told.headers["www-authenticate"] == "Bearer"
    assert infer(running, alice).status == 200
    url = f"{running.url}/v2/models/linear"
    assert ask(url).status == 401 and ask(url, X_API_Key=alice).status == 200
    for path in ("/v2", "/v2/models/linear/ready", "/v1/models", "/v1/models/linear"):
        assert ask(running.url + path).status == 401
    for path in ("/v2/health/live", "/v2/health/ready"):
        assert ask(running.url + path).status == 200
    assert infer(running, keys["prometheus"]).status == 401


@pytest.mark.process
def test_keys_over_grpc(running: Running, keys: dict[str, str]) -> None:
    rpc = pytest.importorskip("tritonclient.grpc", reason="pip install tritonclient[all]")
    with rpc.InferenceServerClient(f"127.0.0.1:{running.ports['grpc_port']}") as client:
        assert client.is_server_live()
        with pytest.raises(rpc.InferenceServerException) as caught:
            client.get_model_metadata("linear")
        assert "UNAUTHENTICATED" in str(caught.value.status())
        said = {"authorization": f"Bearer {keys['alice']}"}
        assert client.get_model_metadata("linear", headers=said).name == "linear"


@pytest.mark.process
def test_a_budget_counts_records_and_is_each_client_s_own(
    running: Running, keys: dict[str, str]
) -> None:
    assert infer(running, keys["bob"], 1000).status == 200
    told = infer(running, keys["bob"], 501)
    assert told.status == 429 and list(told.json) == ["error"]
    assert 80_000 < int(told.headers["retry-after"]) <= 86_400
    # That is charged by its size: 501 times 8 values, less 2,000.
    assert infer(running, keys["bob"], 249).status == 200
    assert infer(running, keys["bob"], 1).status == 429
    told = infer(running, keys["alice"], 1501)
    assert told.status == 413
    assert infer(running, keys["alice"]).status == 200


@pytest.mark.process
def test_many_clients_over_budget(files: dict[str, Path]) -> None:
    """A thousand of them, each with one query too many."""
    many = files["clients"].with_name("many.txt")
    made = {f"c{number}": f"c{number}.{'k' * 40}{number}" for number in range(1000)}
    said = [f"{name} sha256:{sha256(key.encode()).hexdigest()}" for name, key in made.items()]
    many.write_text("\n".join(["# a thousand", *said]))
    quick = defense_file(many.with_name("quick.yaml"), defense={"name": "temperature"})
    options = ("--model", files["model"], "--defense", quick, "--clients", many)
    found: dict[str, list[int]] = {}
    with gateway(*options, "--noise", "fresh", "--rate", 0.001, "--burst", 1) as one:

        def work(names: list[str]) -> None:
            connection = http.client.HTTPConnection(
                "127.0.0.1", one.ports["port"], timeout=LAST_RESORT
            )
            body = json.dumps(infer_body(queries(1)))
            for name in names:
                found[name] = []
                for _ in range(2):
                    headers = {"X-API-Key": made[name]}
                    connection.request("POST", "/v2/models/linear/infer", body, headers)
                    answer = connection.getresponse()
                    answer.read()
                    found[name].append(answer.status)
                    if answer.status == 429:
                        assert int(answer.headers["Retry-After"]) > 900
            connection.close()

        names = list(made)
        threads = [threading.Thread(target=work, args=(names[i::8],)) for i in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(found) == 1000 and set(map(tuple, found.values())) == {(200, 429)}
        assert one.events("failed") == []


def metrics(running: Running, key: str) -> dict[str, float]:
    url = f"http://127.0.0.1:{running.ports['metrics_port']}/metrics"
    assert ask(url).status == 401
    told = ask(url, Authorization=f"Bearer {key}")
    assert told.status == 200
    pairs = re.findall(r"^(\w\S*) (\S+)$", told.body.decode(), re.MULTILINE)
    return {name: float(value) for name, value in pairs}


@pytest.mark.process
def test_metrics_tell_of_noise_only_in_windows(
    files: dict[str, Path], keys: dict[str, str]
) -> None:
    options = ("--model", files["model"], "--defense", files["defense"])
    access = ("--clients", files["clients"], "--metrics-port", 0)
    with gateway(
        *options, *access, "--metrics-clients", files["scrapers"], "--rate", 0, "--budget", 0
    ) as one:
        prometheus = keys["prometheus"]
        before = metrics(one, prometheus)
        windowed = [name for name in before if name.startswith("dynanoise_window")]
        assert len(windowed) > 20
        for client, count in (("alice", 500), ("bob", 498), ("carol", 1)):
            assert infer(one, keys[client], count).status == 200
        after = metrics(one, prometheus)
        values = {name: after[name] for name in windowed if not name.endswith("_created")}
        assert set(values.values()) == {0.0}
        infer(one, keys["alice"], 1)
        assert infer(one, None).status == 401
        assert wait_until(lambda: metrics(one, prometheus)["dynanoise_window_queries_total"])
        after = metrics(one, prometheus)
        assert after["dynanoise_window_queries_total"] == 1000
        assert after["dynanoise_window_sensitivity_count"] == 1000
        assert after["dynanoise_window_sigma_count"] == 1000
        # 498 + 1 + 1 rows of 500 that were asked already.
        assert after["dynanoise_window_cell_repeats_total"] >= 500
        assert 0 < after["dynanoise_window_label_flips_total"] < 1000
        assert after["dynanoise_model_seconds_count"] == 4
        assert after["dynanoise_defense_seconds_count"] == 4
        assert after['dynanoise_refusals_total{reason="no_key"}'] == 1
        named = cli("key", "id", DYNANOISE_KEY=SECRET).output.split()[-1]
        assert after[f'dynanoise_key{{key_id="{named}"}}'] == 1
        text = one.text
        for secret in (SECRET, *keys.values(), *(key.partition(".")[2] for key in keys.values())):
            assert secret not in text


@pytest.mark.process
def test_nothing_is_at_the_metrics_port_but_metrics(running: Running) -> None:
    """No redirect, which would go to whatever Host says, and no request inside another."""
    sent = {
        "GET /metrics/ HTTP/1.1\r\nHost: evil\r\nConnection: close\r\n\r\n": 404,
        "POST /metrics HTTP/1.1\r\nHost: evil\r\nConnection: close\r\n\r\n": 404,
        "GET /metrics HTTP/1.1\r\nHost: evil\r\nConnection: close\r\n\r\n": 401,
        "GET /metrics HTTP/1.1\r\nHost: evil\r\nContent-Length: 6\r\n"
        "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /x HTTP/1.1\r\nHost: a\r\n\r\n": 400,
    }
    for request, status in sent.items():
        address = ("127.0.0.1", running.ports["metrics_port"])
        with socket.create_connection(address, LAST_RESORT) as one:
            one.sendall(request.encode())
            told = b""
            while part := one.recv(4096):
                told += part
        assert told.startswith(f"HTTP/1.1 {status} ".encode())
        assert told.count(b"HTTP/1.1") == 1 and b"evil" not in told and b'{"error":' in told


REFUSED: dict[str, tuple[tuple[str, ...], str]] = {
    "no clients": (
        ("--model", "{model}", "--defense", "{defense}"),
        "one of --clients and --no-auth",
    ),
    "no model": (("--defense", "{defense}", "--no-auth"), "one of --model and --upstream"),
    "two models": (
        ("--model", "{model}", "--upstream", "http://a", "--defense", "{defense}", "--no-auth"),
        "one of --model and --upstream",
    ),
    "fresh without saying so": (
        ("--model", "{model}", "--defense", "{fresh}", "--no-auth"),
        "--noise fresh",
    ),
    "an upstream without a name": (
        ("--upstream", "http://a", "--defense", "{defense}", "--no-auth"),
        "no name",
    ),
    "metrics for everybody": (
        ("--model", "{model}", "--defense", "{defense}", "--no-auth", "--metrics-port", "0"),
        "may read them",
    ),
    "no such clients": (
        ("--model", "{model}", "--defense", "{defense}", "--clients", "nowhere"),
        "cannot be read",
    ),
    "other weights": (
        ("--model", "{model}", "--defense", "{other}", "--no-auth"),
        "other weights",
    ),
    **{
        f"class axis {axis}": (
            ("--model", "{model}", "--defense", f"{{axis{axis}}}", "--no-auth"),
            f"class_axis is {axis}, and logits float32 [batch, 4]",
        )
        for axis in (0, -2, 2, -3)
    },
    "no such output": (
        ("--model", "{model}", "--defense", "{output}", "--no-auth"),
        "no output",
    ),
}
for option, value in (
    *(("--port", one) for one in ("70000", "-1")),
    *(("--grpc-port", one) for one in ("65536", "-1")),
    *(("--rate", one) for one in ("nan", "inf", "-1")),
    *(("--timeout", one) for one in ("nan", "inf", "0")),
    *(("--period", one) for one in ("nan", "0")),
    *(("--drain", one) for one in ("nan", "-1")),
    ("--burst", "0"),
    ("--max-body", "0"),
    ("--model-name", ""),
    ("--model-name", "a/b"),
    ("--model-version", "1\n"),
    ("--model-version", "../1"),
):
    REFUSED[f"{option} {value}"] = (
        ("--model", "{model}", "--defense", "{defense}", "--no-auth", option, value),
        "port" if "port" in option else "limit" if "model" not in option else "part of a URL",
    )
for ports in (("8080", "8080", None), ("8080", None, "8080"), ("0", "9001", "9001")):
    REFUSED[f"one port for two, {ports}"] = (
        ("--model", "{model}", "--defense", "{defense}", "--no-auth", "--port", ports[0])
        + (() if ports[1] is None else ("--grpc-port", ports[1]))
        + (() if ports[2] is None else ("--metrics-port", ports[2], "--metrics-clients", "a")),
        "Ports must differ",
    )
REFUSED["a password in the URL"] = (
    (
        "--upstream",
        "http://u:hunter2@a",
        "--model-name",
        "m",
        "--defense",
        "{defense}",
        "--no-auth",
    ),
    "plain URL",
)


@pytest.mark.behaviour
@pytest.mark.parametrize("name", REFUSED)
def test_it_does_not_start(files: dict[str, Path], name: str) -> None:
    arguments, words = REFUSED[name]
    folder = files["model"].parent
    more = {
        "other": defense_file(folder / "other.yaml"),
        "output": defense_file(folder / "output.yaml", digest(files["model"]), output="nothing"),
    }
    for axis in (0, -2, 2, -3):
        path, weights = folder / f"axis{axis}.yaml", digest(files["model"])
        more[f"axis{axis}"] = defense_file(path, weights, class_axis=axis)
    given = [one.format(**files, **more) for one in arguments]
    done = cli("serve", *given, DYNANOISE_KEY=SECRET)
    assert done.exit_code == 2 and words in done.output
    assert done.output.startswith("Error: ") and "hunter2" not in done.output


@pytest.mark.behaviour
@pytest.mark.parametrize("secret", [None, "", "5f" * 31, "00" * 32, "zz" * 32])
def test_it_does_not_start_without_a_key(files: dict[str, Path], secret: str | None) -> None:
    arguments = ("--model", files["model"], "--defense", files["defense"], "--no-auth")
    done = cli("serve", *arguments, DYNANOISE_KEY=secret)
    assert done.exit_code == 2 and done.output.startswith("Error: The secret env:DYNANOISE_KEY ")


@pytest.mark.process
def test_fresh_noise_is_a_weakness_that_is_logged(files: dict[str, Path]) -> None:
    options = ("--model", files["model"], "--defense", files["defense"], "--no-auth")
    with gateway(*options, "--noise", "fresh", secret=None) as one:
        url = f"{one.url}/v2/models/linear/infer"
        answers = {ask(url, infer_body(queries(1))).body for _ in range(5)}
        assert len(answers) == 5
        (start,) = one.events("starting")
        assert start["noise"] == "fresh"
        said = {event["weakness"]: event for event in one.events("weakness")}
        assert said.keys() == {"fresh_noise", "no_auth", "budget_not_chosen"}
        assert "averages the noise away" in said["fresh_noise"]["threat_model"]
        one.process.send_signal(signal.SIGINT)
        assert one.process.wait(LAST_RESORT) == 0


@pytest.mark.process
def test_weights_beside_the_graph_are_not_checked_and_that_is_said(tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx", reason="makes the model: pip install 'dynanoise[dev]'")
    model = onnx.load(onnx_file(tmp_path / "inside.onnx"))
    path = tmp_path / "outside.onnx"
    onnx.save(model, path, save_as_external_data=True, location="weights.bin", size_threshold=0)
    options = ("--model", path, "--defense", defense_file(tmp_path / "defense.yaml"), "--no-auth")
    with gateway(*options) as one:
        said = [event["weakness"] for event in one.events("weakness")]
        assert said == ["weights_not_checked", "no_auth", "budget_not_chosen"]
        assert ask(f"{one.url}/v2/models/outside/infer", infer_body(queries(1))).status == 200


@pytest.mark.process
def test_a_model_whose_answers_depend_on_other_records_is_a_weakness(tmp_path: Path) -> None:
    """Who chooses what stands beside a record gets several answers to it: that is shown, too."""
    onnx = pytest.importorskip("onnx", reason="makes the model: pip install 'dynanoise[dev]'")
    path = tmp_path / "quantized.onnx"
    model = onnx.load(onnx_file(path))
    model.graph.node[0].input[0] = "rounded"
    for place, node in enumerate(
        (
            onnx.helper.make_node("DynamicQuantizeLinear", ["x"], ["q", "scale", "zero"]),
            onnx.helper.make_node("DequantizeLinear", ["q", "scale", "zero"], ["rounded"]),
        )
    ):
        model.graph.node.insert(place, node)
    onnx.save(model, path)
    with gateway(
        *("--model", path, "--defense", defense_file(tmp_path / "d.yaml", digest(path))),
        *("--no-auth", "--rate", 0, "--budget", 0),
    ) as one:
        said = [event["weakness"] for event in one.events("weakness")]
        assert said == ["batch_dependent", "no_auth", "no_budget"]
        url = f"{one.url}/v2/models/quantized/infer"
        row, alone, beside = queries(1), set(), set()
        for mate in queries(40, seed=5):
            alone.add(values_of(ask(url, infer_body(row)))[0].tobytes())
            both = np.concatenate([row, 9 * mate[None]])
            beside.add(values_of(ask(url, infer_body(both)))[0].tobytes())
        assert len(alone) == 1 and len(beside) > 1


@pytest.mark.behaviour
def test_client_files(tmp_path: Path) -> None:
    path = tmp_path / "clients.txt"
    done = cli("key", "client", "alice", "--file", path)
    key = done.stdout.strip()
    assert done.exit_code == 0 and re.fullmatch(r"alice\.[\w-]{43}", key)
    assert path.stat().st_mode & 0o777 == 0o600 and key[6:] not in path.read_text()
    assert clients.Clients.read(path).authenticate(key) == "alice"
    assert cli("key", "client", "alice", "--file", path).exit_code == 2
    assert cli("key", "client", "Alice Ä", "--file", path).exit_code == 2
    for text in ("", "# nobody\n", key, "alice sha256:00", "a sha256:" + "0" * 64 + " x"):
        path.write_text(text)
        with pytest.raises(Exception, match="dynanoise key client") as caught:
            clients.Clients.read(path)
        assert key[6:] not in str(caught.value)


def test_gateways_follow_the_file_of_clients(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(followed, "_SECONDS", 0.0)
    path = tmp_path / "clients.txt"
    alice = clients.add_client(path, "alice")
    held = clients.Clients.read(path)
    bob = clients.add_client(path, "bob")
    assert held.authenticate(bob) == "bob"
    whole = path.read_text()
    for text in ("damaged", None):  # nothing changes
        path.write_text(text) if text is not None else path.unlink()
        assert held.authenticate(alice) == "alice"
    path.write_text(whole.splitlines()[1])
    with pytest.raises(Refused, match="not known"):
        held.authenticate(alice)
    assert held.authenticate(bob) == "bob"


@pytest.mark.parametrize("text", ["", "# nobody is left\n\n"])
def test_removing_the_last_client_revokes_its_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    """But not while the file is written anew, which empties it for a moment."""
    clock = [1e12]  # later than the file
    monkeypatch.setattr("time.time", lambda: clock[0])
    monkeypatch.setattr(followed, "_SECONDS", 0.0)
    path = tmp_path / "clients.txt"
    alice = clients.add_client(path, "alice")
    held, whole = clients.Clients.read(path), path.read_text()
    path.write_text(text)
    clock[0] = path.stat().st_ctime + 0.5
    assert held.authenticate(alice) == "alice"
    path.write_text(whole)
    assert held.authenticate(alice) == "alice"
    path.write_text(text)
    clock[0] = path.stat().st_ctime + 0.5
    assert held.authenticate(alice) == "alice"
    clock[0] += 1.0
    with pytest.raises(Refused, match="not known"):
        held.authenticate(alice)
    path.write_text(whole)
    assert held.authenticate(alice) == "alice"


def test_a_file_of_clients_that_vanishes_while_it_is_read_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "clients.txt"
    alice = clients.add_client(path, "alice")
    held = clients.Clients.read(path)
    read = clients._read_digests

    def replace_file(path: Path) -> dict[str, bytes]:
        digests = read(path)
        path.unlink()
        return digests

    monkeypatch.setattr(followed, "_SECONDS", 0.0)
    monkeypatch.setattr(clients, "_read_digests", replace_file)
    path.write_text(path.read_text() + "# changed\n")
    assert held.authenticate(alice) == "alice" and not path.exists()


def test_a_file_of_clients_that_all_users_may_write_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "clients.txt"
    key = clients.add_client(path, "alice")
    for mode in (0o444, 0o640, 0o664):  # as platforms mount it, and of a group
        path.chmod(mode)
        assert clients.Clients.read(path).authenticate(key) == "alice"
    path.chmod(0o646)
    with pytest.raises(Exception, match="chmod o-w"):
        clients.Clients.read(path)


@pytest.mark.parametrize("last", ["alice sha256:" + "0" * 64, "# nobody", "   "])
def test_a_client_gets_a_line_of_its_own(tmp_path: Path, last: str) -> None:
    """Behind a line without an end it would be part of that: of a comment, without a word."""
    path = tmp_path / "clients.txt"
    path.write_text(last)
    key = clients.add_client(path, "bob")
    assert clients.Clients.read(path).authenticate(key) == "bob"
    assert path.read_text().startswith(last + "\n")
