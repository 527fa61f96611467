"""A model on another server of the Open Inference Protocol, queried over pooled connections."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Sequence
from typing import Any
from urllib.parse import quote, urlsplit

import aiohttp
import orjson

from dynanoise.core.errors import InputError
from dynanoise.oip import v2
from dynanoise.oip.faults import Refused, bad, unavailable, unusable
from dynanoise.oip.tensors import DTYPES, Description, Spec, Tensor
from dynanoise.serving.backends.readiness import Readiness
from dynanoise.serving.backends.tls import FollowedTls, describe_failure
from dynanoise.serving.logs import log
from dynanoise.serving.tracing import HTTP_STATUS, Tracing, current_trace

_RESPONSE_BYTES = 64 << 20
"""Largest response of the upstream that is read."""

_READY_SECONDS = 2.0
"""Seconds in which the upstream must report that it is ready."""


class Upstream:
    """A model behind another server, whose texts and errors never reach a client.

    Args:
        url: address of the server, http or https, without credentials.
        name: name of the model there, and here.
        version: the version queried there, and the only one served here; None for the server's
            choice.
        output: name of the output to defend; None where there is one only.
        binary: send tensors as bytes, even if the server does not list that extension.
        connections: number of connections held open.
        limit: seconds that a response may take.
        tls: settings of TLS, for https; None for the system's certificate authorities.
        tracing: spans of the queries.

    Raises:
        InputError: if it is not a plain URL, or one of http with settings of TLS.
    """

    def __init__(
        self,
        url: str,
        name: str,
        version: str | None = None,
        output: str | None = None,
        binary: bool = False,
        connections: int = 64,
        limit: float = 30.0,
        tls: FollowedTls | None = None,
        tracing: Tracing | None = None,
    ) -> None:
        self.name, self.version = name, version
        self._server, self._tls = _check_url(url), tls
        if tls is not None and not self._server.lower().startswith("https:"):
            raise InputError(
                "upstream_tls is set, and --upstream is not https.", "Pass https://HOST:PORT."
            )
        path = f"/v2/models/{quote(name, safe='')}"
        self._path = path if version is None else f"{path}/versions/{quote(version, safe='')}"
        self._tracing = tracing or Tracing()
        self._output, self._connections, self._limit = output, connections, limit
        self._client: aiohttp.ClientSession | None = None
        self._description: Description | None = None
        self._binary = self._force_binary = binary
        self._first_version: str | None = version
        self._readiness, self._describing = Readiness(self._is_ready), asyncio.Lock()

    @property
    def _session(self) -> aiohttp.ClientSession:
        if self._client is None:
            self._client = aiohttp.ClientSession(
                # And one connection for readiness, which must not wait for responses.
                connector=aiohttp.TCPConnector(limit=self._connections + 1),
                timeout=aiohttp.ClientTimeout(total=self._limit, sock_connect=_READY_SECONDS),
                cookie_jar=aiohttp.DummyCookieJar(),
                headers={"Accept-Encoding": "identity"},
                auto_decompress=False,
            )
        return self._client

    async def describe(self) -> Description:
        """See `Model.describe`; fetched once, and again after the upstream was away."""
        if self._description is not None:
            return self._description
        try:
            # The time is for both fetches and for the lock: several queries may wait for it.
            async with asyncio.timeout(self._limit), self._describing:
                if self._description is None:
                    server = await self._get_json("/v2")
                    extensions = server.get("extensions") or ()
                    self._binary = self._force_binary or "binary_tensor_data" in extensions
                    self._description = self._parse_metadata(await self._get_json(self._path))
                return self._description
        except TimeoutError:
            raise unavailable("slow", "The model did not answer in time.") from None

    async def _get_json(self, path: str) -> dict[str, Any]:
        status, body, _ = await self._request("GET", path)
        if status != 200:
            _log_status(status)
            raise unavailable("upstream", "The model is not ready.")
        try:
            content = orjson.loads(body)
        except orjson.JSONDecodeError:
            content = None
        if not isinstance(content, dict):
            raise unavailable("upstream", "The model is not ready.")
        return content

    def _parse_metadata(self, metadata: dict[str, Any]) -> Description:
        inputs, outputs = _specs(metadata.get("inputs")), _specs(metadata.get("outputs"))
        if self._output is None and len(outputs) > 1:
            raise unavailable("output", "The gateway does not know which output to defend.")
        matches = [spec for spec in outputs if self._output in (None, spec.name)]
        if outputs and not matches:
            raise unavailable("output", "The model has no such output as the gateway defends.")
        platform = metadata.get("platform")
        return Description(
            inputs, matches[0] if matches else None, platform if isinstance(platform, str) else ""
        )

    async def ready(self) -> bool:
        """Whether server and model report ready, with usable metadata; kept for a second."""
        return await self._readiness.get()

    async def _is_ready(self) -> bool:
        try:
            async with asyncio.timeout(_READY_SECONDS):
                return await self._probe()
        except (Refused, TimeoutError):
            return False

    async def _probe(self) -> bool:
        for path in ("/v2/health/ready", f"{self._path}/ready"):
            status, _, _ = await self._request("GET", path)
            if status != 200:
                _log_status(status)
                return False
        await self.describe()
        return True

    async def infer(self, inputs: Sequence[Tensor], authorization: str | None = None) -> Tensor:
        """See `Model.infer`; requests the defended output only, and keeps no other."""
        # KServe's server (0.21) fails without an id; the client's own stays here.
        head: dict[str, Any] = {"id": secrets.token_hex(8)}
        description = await self.describe()
        name = description.output.name if description.output else self._output
        if name is not None:
            head["outputs"] = [{"name": name, "parameters": {"binary_data": self._binary}}]
        elif self._binary:
            head["parameters"] = {"binary_data_output": True}
        body, headers = v2.write(inputs, head, "inputs", self._binary)
        if authorization is not None:
            headers["Authorization"] = authorization
        with self._tracing.call("POST /v2/models/{model}/infer") as end:
            trace = current_trace()
            if trace is not None:
                headers["traceparent"] = trace
            reply = await self._request("POST", f"{self._path}/infer", body, headers)
            status, content, header = reply
            end(HTTP_STATUS, status, status >= 400)
        if status in (400, 413, 415, 422):
            raise bad("The model does not take these inputs.")
        if status != 200:
            raise unavailable("upstream", "The model is not available.")
        try:
            response = v2.parse_response(content, header)
        except Refused:
            raise unusable("protocol") from None
        self._check_version(response.version)
        return _choose_output(response.outputs, description.output, name)

    def _check_version(self, version: str | None) -> None:
        """Another version under the same key would show which records moved between cells."""
        if version is None:
            return
        if self._first_version is None:
            self._first_version = version
        elif version != self._first_version:
            raise unavailable("version", "The model has changed; the gateway must be told.")

    async def _request(
        self, method: str, path: str, body: bytes | None = None, headers: Any = None
    ) -> tuple[int, bytes, str | None]:
        """Status, body and `v2.HEADER`; tries twice."""
        failure: Exception | None = None
        for _ in range(2):
            try:
                return await self._request_once(method, path, body, headers)
            except (aiohttp.ServerDisconnectedError, ConnectionResetError) as error:
                # A pooled connection that the server had closed; a second query does no harm.
                failure = error
            except TimeoutError:
                raise unavailable("slow", "The model did not answer in time.") from None
            except (aiohttp.ClientError, OSError, ValueError) as error:
                failure = error
                break
        log("upstream_failed", logging.ERROR, **describe_failure(failure))
        self._description = None  # what comes back may be another model
        raise unavailable("upstream", "The model is not available.")

    async def _request_once(
        self, method: str, path: str, body: bytes | None, headers: Any
    ) -> tuple[int, bytes, str | None]:
        async with self._session.request(
            method,
            self._server + path,
            data=body,
            headers=headers,
            allow_redirects=False,
            ssl=True if self._tls is None else self._tls.current(),
        ) as response:
            parts, size = [], 0
            async for part in response.content.iter_any():
                size += len(part)
                if size > _RESPONSE_BYTES:
                    response.close()
                    raise unusable("size")
                parts.append(part)
            return response.status, b"".join(parts), response.headers.get(v2.HEADER)

    async def close(self) -> None:
        """Close the connections."""
        if self._client is not None:
            await self._client.close()


def _log_status(status: int) -> None:
    if status != 503:  # that of a model which is not ready yet
        log("upstream_failed", logging.ERROR, problem="status", status=status)


def _choose_output(outputs: Sequence[Tensor], spec: Spec | None, name: str | None) -> Tensor:
    matches = [tensor for tensor in outputs if name in (None, tensor.name)]
    if len(matches) != 1 or (name is None and len(outputs) > 1):
        raise unusable("output")
    (tensor,) = matches
    if spec is not None and not spec.accepts(tensor.datatype, tensor.values.shape):
        raise unusable("shape")
    return tensor


def _check_url(url: str) -> str:
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        usable = False
    if not usable or parts.username or parts.password or parts.query or parts.fragment:
        # Not shown: it may hold a password.
        raise InputError(
            "--upstream is not a plain URL.", "Pass http://HOST:PORT, without user or password."
        )
    return url.rstrip("/")


def _specs(tensors: Any) -> tuple[Spec, ...]:
    """Tensors in metadata."""
    specs = []
    for tensor in tensors if isinstance(tensors, list) else ():
        if not isinstance(tensor, dict) or tensor.get("datatype") not in DTYPES:
            raise unavailable("upstream", "The model has tensors of an unknown kind.")
        shape = tensor.get("shape")
        if not isinstance(shape, list) or not all(isinstance(length, int) for length in shape):
            raise unavailable("upstream", "The model has tensors of an unknown shape.")
        specs.append(Spec(str(tensor.get("name")), tensor["datatype"], tuple(shape)))
    return tuple(specs)
