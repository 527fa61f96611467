"""TLS to the upstream: which certificates are trusted and shown, and what is said of a failure."""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path
from typing import Any

import pytest

from dynanoise.config.configuration import UpstreamTls
from dynanoise.core.errors import DynaNoiseError, InputError
from dynanoise.oip.faults import Refused
from tests.factories.certificates import Authority

pytest.importorskip("aiohttp", reason="the gateway: pip install 'dynanoise[serve]'")

from dynanoise.serving import followed
from dynanoise.serving.backends.tls import FollowedTls, tls_context
from dynanoise.serving.backends.upstream import Upstream

pytestmark = pytest.mark.process


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("tls")


@pytest.fixture(scope="module")
def models(folder: Path) -> Authority:
    return Authority(folder, "models")


@pytest.fixture(scope="module")
def gateways(folder: Path) -> Authority:
    return Authority(folder, "gateways")


def connect(
    models: Authority, gateways: Authority, tls: UpstreamTls | None, host: str = "127.0.0.1"
) -> bool:
    """Whether the upstream is ready, behind mutual TLS with a certificate of that host."""
    from aiohttp import web
    from aiohttp.test_utils import TestServer

    async def respond(request: Any) -> Any:
        return web.json_response({"inputs": [], "outputs": []})

    async def check() -> bool:
        app = web.Application()
        app.router.add_get("/{path:.*}", respond)
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=gateways.ca)
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_cert_chain(*models.sign(host))
        server = TestServer(app, scheme="https")
        await server.start_server(ssl=context)
        upstream = Upstream(
            f"https://127.0.0.1:{server.port}", "m", tls=None if tls is None else FollowedTls(tls)
        )
        try:
            ready = await upstream.ready()
            if ready:
                await upstream.describe()
            else:
                with pytest.raises(Refused, match=r"^The model is not available\.$"):
                    await upstream.describe()
            return ready
        finally:
            await upstream.close()
            await server.close()

    return asyncio.run(check())


def problems(caplog: pytest.LogCaptureFixture) -> set[tuple[str, str]]:
    events = [vars(record) for record in caplog.records if record.msg == "upstream_failed"]
    return {(event["fields"]["problem"], event["fields"]["reason"]) for event in events}


def test_both_sides_show_a_certificate_of_the_authority_that_the_other_names(
    models: Authority, gateways: Authority, caplog: pytest.LogCaptureFixture
) -> None:
    own = gateways.sign()
    assert connect(models, gateways, UpstreamTls(models.ca, *own))
    assert problems(caplog) == set()


@pytest.mark.parametrize("kind", ["another authority", "the system's", "another name"])
def test_an_upstream_that_is_not_trusted_gets_no_query_and_the_log_says_why(
    kind: str, models: Authority, gateways: Authority, caplog: pytest.LogCaptureFixture
) -> None:
    own = gateways.sign()
    ca = {"another authority": gateways.ca, "another name": models.ca}.get(kind)
    host = "other.example" if kind == "another name" else "127.0.0.1"
    assert not connect(models, gateways, UpstreamTls(ca, *own), host)
    reason = "IP address mismatch" if kind == "another name" else "unable to get local issuer"
    ((problem, said),) = problems(caplog)
    assert problem == "certificate_not_trusted" and said.startswith(reason)
    assert "PRIVATE" not in caplog.text


def test_a_gateway_without_a_certificate_gets_no_connection(
    models: Authority, gateways: Authority, caplog: pytest.LogCaptureFixture
) -> None:
    assert not connect(models, gateways, UpstreamTls(models.ca))
    assert problems(caplog) == {("connection", "ServerDisconnectedError")}


def test_files_that_cannot_be_used_are_named_by_their_settings(
    folder: Path, models: Authority, gateways: Authority
) -> None:
    from cryptography.hazmat.primitives import serialization as forms

    certificate, key = gateways.sign()
    _, other = models.sign("elsewhere.example")
    missing = folder / "missing.pem"
    locked = folder / "locked.pem"
    locked.touch(0o600)
    plain = forms.load_pem_private_key(key.read_bytes(), None)
    locked.write_bytes(
        plain.private_bytes(
            forms.Encoding.PEM,
            forms.PrivateFormat.PKCS8,
            forms.BestAvailableEncryption(b"a passphrase"),
        )
    )
    public = folder / "public.pem"
    public.write_bytes(key.read_bytes())
    public.chmod(0o644)
    for tls, said in (
        (UpstreamTls(missing), "upstream_tls.ca cannot be read (No such file or directory)."),
        (UpstreamTls(None, missing, key), "upstream_tls.certificate cannot be read"),
        (UpstreamTls(None, certificate, missing), "upstream_tls.key cannot be read"),
        (UpstreamTls(key), "upstream_tls.ca holds no certificate."),
        (UpstreamTls(None, certificate, other), "upstream_tls.key is not that of certificate."),
        (UpstreamTls(None, key, key), "upstream_tls.certificate or key is not one in PEM."),
        (UpstreamTls(None, certificate, locked), "upstream_tls.key has a passphrase."),
        (UpstreamTls(None, certificate, public), f"The secret file:{public} is open to other"),
        # The key in place of its path.
        (UpstreamTls(None, certificate, Path(key.read_text())), "upstream_tls.key cannot be read"),
    ):
        with pytest.raises(DynaNoiseError) as caught:
            tls_context(tls)
        assert str(caught.value).startswith(said) and key.read_text()[40:60] not in str(
            caught.value
        )


def test_certificates_are_followed(
    tmp_path: Path, models: Authority, gateways: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(followed, "_SECONDS", 0.0)
    ca = tmp_path / "ca.pem"
    ca.write_bytes(models.ca.read_bytes())
    tls = FollowedTls(UpstreamTls(ca, *gateways.sign()))
    first = tls.current()
    assert tls.current() is first
    ca.write_text("half of a certificate")
    assert tls.current() is first
    ca.write_bytes(gateways.ca.read_bytes())
    assert "gateways" in str(tls.current().get_ca_certs())
    ca.unlink()
    assert "gateways" in str(tls.current().get_ca_certs())


def test_settings_of_tls_need_an_upstream_of_https(models: Authority) -> None:
    context = FollowedTls(UpstreamTls(models.ca))
    with pytest.raises(InputError, match=r"^upstream_tls is set, and --upstream is not https"):
        Upstream("http://127.0.0.1:9000", "m", tls=context)
