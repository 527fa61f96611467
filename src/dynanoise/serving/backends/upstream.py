"""A model on another server of the Open Inference Protocol, asked over pooled connections."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Sequence
from typing import Any
from urllib.parse import quote, urlsplit

import aiohttp
import orjson

from dynanoise.core.errors import InputError
from dynanoise.oip import v2
from dynanoise.oip.faults import Refused, bad, unavailable, unusable
from dynanoise.oip.tensors import DTYPES, Description, Spec, Tensor

_ANSWER = 64 << 20
"""Bytes that are read of an upstream answer."""

_FRESH = 1.0
"""Seconds for which a readiness that was asked is told again, so that asking costs nothing."""

_READY = 2.0
"""Seconds in which an upstream must say that it is ready."""


class Upstream:
    """The model behind the gateway; its words and errors never reach a client.

    Args:
        url: of the server, http or https, without credentials.
        name: of the model there, and here.
        version: asked for there, and the only one served here; None for the server's own choice.
        output: the tensor that is defended; None where there is one only.
        binary: whether tensors go there as bytes, even if it does not say that it reads them.
        connections: that are held open.
        limit: seconds that an answer may take.

    Raises:
        InputError: if the URL is none.
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
    ) -> None:
        self.name, self.version = name, version
        self._server = _checked(url)
        path = f"/v2/models/{quote(name, safe='')}"
        self._path = path if version is None else f"{path}/versions/{quote(version, safe='')}"
        self._output, self._connections, self._limit = output, connections, limit
        self._client: aiohttp.ClientSession | None = None
        self._described: Description | None = None
        self._binary = self._told_binary = binary
        self._seen: str | None = version
        self._ready: tuple[float, bool] = (-1e9, False)
        self._lock, self._asking = asyncio.Lock(), asyncio.Lock()

    @property
    def _session(self) -> aiohttp.ClientSession:
        if self._client is None:
            self._client = aiohttp.ClientSession(
                # And one to ask whether it is ready, which must not wait for answers.
                connector=aiohttp.TCPConnector(limit=self._connections + 1),
                timeout=aiohttp.ClientTimeout(total=self._limit, sock_connect=_READY),
                cookie_jar=aiohttp.DummyCookieJar(),
                headers={"Accept-Encoding": "identity"},
                auto_decompress=False,
            )
        return self._client

    async def describe(self) -> Description:
        """See `Model.describe`; asked once, and again after the upstream was away."""
        if self._described is not None:
            return self._described
        try:
            # In all, and not for each: whoever else asks waits before the lock.
            async with asyncio.timeout(self._limit), self._lock:
                if self._described is None:
                    server = await self._told("/v2")
                    extensions = server.get("extensions") or ()
                    self._binary = self._told_binary or "binary_tensor_data" in extensions
                    self._described = self._understood(await self._told(self._path))
                return self._described
        except TimeoutError:
            raise unavailable("slow", "The model did not answer in time.") from None

    async def _told(self, path: str) -> dict[str, Any]:
        status, body, _ = await self._exchange("GET", path)
        if status != 200:
            raise unavailable("upstream", "The model is not ready.")
        try:
            said = orjson.loads(body)
        except orjson.JSONDecodeError:
            said = None
        if not isinstance(said, dict):
            raise unavailable("upstream", "The model is not ready.")
        return said

    def _understood(self, said: dict[str, Any]) -> Description:
        inputs, outputs = _specs(said.get("inputs")), _specs(said.get("outputs"))
        if self._output is None and len(outputs) > 1:
            raise unavailable("output", "The gateway does not know which output to defend.")
        found = [one for one in outputs if self._output in (None, one.name)]
        if outputs and not found:
            raise unavailable("output", "The model has no such output as the gateway defends.")
        platform = said.get("platform")
        return Description(
            inputs, found[0] if found else None, platform if isinstance(platform, str) else ""
        )

    async def ready(self) -> bool:
        """Whether server and model say so, and their metadata are usable; kept for a second."""
        async with self._asking:
            when, known = self._ready
            if time.monotonic() - when > _FRESH:
                try:
                    async with asyncio.timeout(_READY):
                        known = await self._asked()
                except (Refused, TimeoutError):
                    known = False
                self._ready = (time.monotonic(), known)
        return known

    async def _asked(self) -> bool:
        for path in ("/v2/health/ready", f"{self._path}/ready"):
            status, _, _ = await self._exchange("GET", path)
            if status != 200:
                return False
        await self.describe()
        return True

    async def infer(self, inputs: Sequence[Tensor], authorization: str | None = None) -> Tensor:
        """See `Model.infer`; only the defended output is asked for, and no other is kept."""
        # KServe's server (0.21) fails without an id; the client's own stays here.
        head: dict[str, Any] = {"id": secrets.token_hex(8)}
        described = await self.describe()
        name = described.output.name if described.output else self._output
        if name is not None:
            head["outputs"] = [{"name": name, "parameters": {"binary_data": self._binary}}]
        elif self._binary:
            head["parameters"] = {"binary_data_output": True}
        body, headers = v2.written(inputs, head, "inputs", self._binary)
        if authorization is not None:
            headers["Authorization"] = authorization
        status, said, header = await self._exchange("POST", f"{self._path}/infer", body, headers)
        if status in (400, 413, 415, 422):
            raise bad("The model does not take these inputs.")
        if status != 200:
            raise unavailable("upstream", "The model is not available.")
        try:
            answer = v2.answered(said, header)
        except Refused:
            raise unusable("protocol") from None
        self._same_version(answer.version)
        return self._picked(answer, described, name)

    def _same_version(self, version: str | None) -> None:
        """Another version under the same key would show which records moved between cells."""
        if version is None:
            return
        if self._seen is None:
            self._seen = version
        elif version != self._seen:
            raise unavailable("version", "The model has changed; the gateway must be told.")

    def _picked(self, answer: v2.Answer, described: Description, name: str | None) -> Tensor:
        found = [one for one in answer.outputs if name in (None, one.name)]
        if len(found) != 1 or (name is None and len(answer.outputs) > 1):
            raise unusable("output")
        (tensor,) = found
        spec = described.output
        if spec is not None and not spec.accepts(tensor.datatype, tensor.values.shape):
            raise unusable("shape")
        return tensor

    async def _exchange(
        self, method: str, path: str, body: bytes | None = None, headers: Any = None
    ) -> tuple[int, bytes, str | None]:
        for left in (1, 0):
            try:
                return await self._once(method, path, body, headers)
            except (aiohttp.ServerDisconnectedError, ConnectionResetError):
                # A connection from the pool that the server had closed; asking twice does no harm.
                if left == 0:
                    break
            except TimeoutError:
                raise unavailable("slow", "The model did not answer in time.") from None
            except (aiohttp.ClientError, OSError, ValueError):
                break
        self._described = None  # what comes back may be another model
        raise unavailable("upstream", "The model is not available.")

    async def _once(
        self, method: str, path: str, body: bytes | None, headers: Any
    ) -> tuple[int, bytes, str | None]:
        async with self._session.request(
            method, self._server + path, data=body, headers=headers, allow_redirects=False
        ) as response:
            parts, size = [], 0
            async for part in response.content.iter_any():
                size += len(part)
                if size > _ANSWER:
                    response.close()
                    raise unusable("size")
                parts.append(part)
            return response.status, b"".join(parts), response.headers.get(v2.HEADER)

    async def close(self) -> None:
        """Closes the connections."""
        if self._client is not None:
            await self._client.close()


def _checked(url: str) -> str:
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        usable = False
    if not usable or parts.username or parts.password or parts.query or parts.fragment:
        # Not shown: it may hold a password.
        raise InputError(
            "--upstream is no plain URL.", "Pass http://HOST:PORT, without user or password."
        )
    return url.rstrip("/")


def _specs(given: Any) -> tuple[Spec, ...]:
    """What metadata say."""
    found = []
    for one in given if isinstance(given, list) else ():
        if not isinstance(one, dict) or one.get("datatype") not in DTYPES:
            raise unavailable("upstream", "The model has tensors of an unknown kind.")
        shape = one.get("shape")
        if not isinstance(shape, list) or not all(isinstance(length, int) for length in shape):
            raise unavailable("upstream", "The model has tensors of an unknown shape.")
        found.append(Spec(str(one.get("name")), one["datatype"], tuple(shape)))
    return tuple(found)
