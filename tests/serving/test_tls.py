"""nginx as docker/ configures it: TLS in front of the gateway, mutual TLS in front of the model."""

from __future__ import annotations

import shutil
import ssl
import subprocess
import urllib.error
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from tests.factories.certificates import Authority
from tests.factories.gateways import (
    LAST_RESORT,
    ROOT,
    Running,
    ask,
    defense_file,
    expected,
    free_ports,
    gateway,
    infer_body,
    queries,
    values_of,
    wait_until,
)
from tests.serving.conftest import Plain

pytestmark = [pytest.mark.process]


@dataclass
class Proxied:
    gateway: Running
    defense: Path
    port: int
    model_port: int
    clients: Authority
    models: Authority

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.port}"


def recipe(name: str, **changes: object) -> str:
    """A file of docker/ with other ports and paths."""
    text = (ROOT / "docker" / name).read_text()
    for old, new in changes.items():
        assert old in text, old
        text = text.replace(old, str(new))
    return text


@pytest.fixture(scope="module")
def proxied(tmp_path_factory: pytest.TempPathFactory, plain: Plain) -> Iterator[Proxied]:
    program = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
    if program is None:
        pytest.skip("needs nginx")
    plain.behave("well")
    folder = tmp_path_factory.mktemp("tls")
    clients, models, gateways = (Authority(folder, name) for name in ("clients", "models", "gates"))
    front, model_port, port, grpc_port = free_ports(4)
    certificate, key = gateways.sign()
    files = {"ca": models.ca, "certificate": certificate, "key": key}
    defense = defense_file(
        folder / "defense.yaml", upstream_tls={name: str(path) for name, path in files.items()}
    )
    tls = "/etc/nginx/tls/"
    own, shown = clients.sign(), models.sign()
    parts = [
        recipe(
            "nginx-gateway.conf",
            **{"listen 443": f"listen 127.0.0.1:{front}", "1:8080": f"1:{port}"},
            **{"1:8081": f"1:{grpc_port}", f"{tls}gateway.pem": own[0]},
            **{f"{tls}gateway-key.pem": own[1]},
        ),
        recipe(
            "nginx-model.conf",
            **{"listen 9443": f"listen 127.0.0.1:{model_port}", "1:9000": f"1:{plain.port}"},
            **{f"{tls}model.pem": shown[0], f"{tls}model-key.pem": shown[1]},
            **{f"{tls}gateways-ca.pem": gateways.ca},
        ),
    ]
    places = [f"{kind}_temp_path {folder};" for kind in ("proxy", "fastcgi", "uwsgi", "scgi")]
    places += [f"client_body_temp_path {folder};", "access_log off;"]
    configuration = folder / "nginx.conf"
    configuration.write_text(
        f"daemon off; master_process off; pid {folder}/pid; error_log {folder}/log;\n"
        "events {}\nhttp {\n" + "\n".join(places + parts) + "}\n"
    )
    process = subprocess.Popen([program, "-e", f"{folder}/log", "-c", str(configuration)])
    options: tuple[str, ...] = (
        "--upstream",
        f"https://127.0.0.1:{model_port}",
        "--model-name",
        "linear",
    )
    options += ("--defense", str(defense), "--no-auth", "--grpc-port", str(grpc_port))
    try:
        with gateway(*options, "--port", port) as running:
            served = Proxied(running, defense, front, model_port, clients, models)
            assert wait_until(lambda: is_up(served), LAST_RESORT), (folder / "log").read_text()
            yield served
    finally:
        process.terminate()
        process.wait(LAST_RESORT)


def is_up(served: Proxied) -> bool:
    try:
        return ask(f"{served.url}/v2/health/ready", None, served.clients.ca).status == 200
    except OSError:
        return False


def test_a_query_is_encrypted_from_the_client_to_the_model(proxied: Proxied) -> None:
    rows = queries(5)
    told = ask(f"{proxied.url}/v2/models/linear/infer", infer_body(rows), proxied.clients.ca)
    assert told.status == 200
    np.testing.assert_array_equal(values_of(told), expected(proxied.defense, rows))
    assert proxied.gateway.events("upstream_failed") == []


def test_the_model_answers_no_one_without_a_certificate(proxied: Proxied) -> None:
    url = f"https://127.0.0.1:{proxied.model_port}/v2/models/linear"
    assert ask(url, None, proxied.models.ca).status == 400
    with pytest.raises(urllib.error.URLError) as caught:
        ask(url, None, proxied.clients.ca)
    assert isinstance(caught.value.reason, ssl.SSLCertVerificationError)


def test_grpc_through_the_same_port(proxied: Proxied) -> None:
    import grpc
    from grpc_health.v1 import health_pb2, health_pb2_grpc
    from tritonclient.grpc import service_pb2, service_pb2_grpc

    trusted = grpc.ssl_channel_credentials(proxied.clients.ca.read_bytes())
    rows = queries(3)
    with grpc.secure_channel(f"127.0.0.1:{proxied.port}", trusted) as channel:
        status = health_pb2_grpc.HealthStub(channel).Check(
            health_pb2.HealthCheckRequest(), timeout=LAST_RESORT
        )
        assert status.status == health_pb2.HealthCheckResponse.SERVING
        request = service_pb2.ModelInferRequest(model_name="linear")
        request.inputs.add(name="x", datatype="FP32", shape=rows.shape)
        request.raw_input_contents.append(rows.tobytes())
        response = service_pb2_grpc.GRPCInferenceServiceStub(channel).ModelInfer(
            request, timeout=LAST_RESORT
        )
    values = np.frombuffer(response.raw_output_contents[0], np.float32).reshape(3, -1)
    np.testing.assert_array_equal(values, expected(proxied.defense, rows))
