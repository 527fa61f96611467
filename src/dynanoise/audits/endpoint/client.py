"""A client of a served model: the Open Inference Protocol over HTTP, within a query budget.

One connection, an API key, and waiting as the server requests; redirects are not followed.
"""

from __future__ import annotations

import http.client
import ssl
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote, urlsplit

import numpy as np
import numpy.typing as npt

from dynanoise.core.arrays.inputs import convert_inputs
from dynanoise.core.errors import InputError, QueryBudgetError, SecretError
from dynanoise.core.extras import require
from dynanoise.noise.keys import Secret
from dynanoise.oip.faults import NEAR, Refused
from dynanoise.oip.tensors import DTYPES

KEY = "env:DYNANOISE_API_KEY"
"""Reference of the API key by default; then the key may be missing."""

BATCH = 64
"""Records in one request, until the server refuses as many."""

UNLIMITED = (
    "Serve a copy of defense.yaml without `neighbourhood` for the audit, and pass this copy with "
    "--defense."
)
"""Remedy where the server's limit on queries close to each other does not allow an audit."""

_INPUTS = {name: dtype for name, dtype in DTYPES.items() if name != "BYTES"}

_RESPONSE_BYTES = 64 << 20
"""Largest response that is read."""

_LONGEST_WAIT = 900.0
"""Most seconds that a server may request to wait."""

_FAILURES = 5
"""Most connections lost, or servers not ready, for one request."""

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Metadata:
    """Metadata of a served model.

    Attributes:
        input: name, data type and shape of its input; -1 stands for any length.
        outputs: names of its outputs.
        binary: whether tensors travel as bytes.
        key_id: id of the key of keyed noise, where the server is a gateway of this package; "" for
            fresh noise, None where the server does not report it.
    """

    input: tuple[str, str, tuple[int, ...]]
    outputs: tuple[str, ...]
    binary: bool
    key_id: str | None


class Endpoint:
    """A model at a URL, and the queries spent on it.

    Args:
        url: ``http://HOST:PORT/v2/models/NAME``, or with ``/versions/V`` behind it.
        budget: number of queries; an output for one record is one query, repeated ones too.
        key: reference of the API key, as `Secret` takes it; None for `KEY` if it is there.
        timeout: seconds for a response.
        sleep: waits for seconds; replaced in tests.

    Attributes:
        path: path of the model in the URL.
        spent: number of queries spent.

    Raises:
        InputError: if the URL is not that of a model, or the key cannot be read.
    """

    def __init__(
        self,
        url: str,
        budget: int,
        key: str | None = None,
        timeout: float = 60.0,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        require("orjson", "Querying a server")
        if budget < 1:
            raise InputError(f"The budget is {budget}.", "Allow at least one query.")
        self._address, self.path = _parse_url(url)
        self._key = _read_key(key)
        self._timeout, self._sleep = timeout, sleep
        self._connection: http.client.HTTPConnection | None = None
        self._batch = BATCH
        self.budget, self.spent = budget, 0

    @property
    def name(self) -> str:
        """Name of the model, as in the URL."""
        return unquote(self.path.split("/")[3])

    @property
    def left(self) -> int:
        """Number of queries left."""
        return self.budget - self.spent

    def metadata(self) -> Metadata:
        """Fetch the metadata; costs no query.

        Raises:
            InputError: if they cannot be fetched, or the model has several inputs or one that is
                not numeric.
        """
        model = self._get_json(self.path)
        server = self._get_json(self.path.partition("/models/")[0])
        inputs = [item for item in _list(model, "inputs") if isinstance(item, dict)]
        if len(inputs) != 1:
            raise InputError(
                f"The model at {self.path} has {len(inputs)} inputs.",
                "An audit queries models with one input, which their metadata list.",
            )
        shape = tuple(size for size in _list(inputs[0], "shape") if isinstance(size, int))
        kind = str(inputs[0].get("datatype"))
        if kind not in _INPUTS:
            raise InputError(
                f"The model at {self.path} takes {printable(kind)}.",
                f"An audit queries models that take {', '.join(_INPUTS)}.",
            )
        if shape and shape[0] > 0:
            self._batch = shape[0]
        outputs = tuple(
            str(item.get("name")) for item in _list(model, "outputs") if isinstance(item, dict)
        )
        binary = "binary_tensor_data" in _list(server, "extensions")
        name = str(inputs[0].get("name"))
        return Metadata((name, kind, shape), outputs, binary, _key_id(model.get("properties")))

    def convert(
        self,
        metadata: Metadata,
        inputs: Array,
        place: Callable[[tuple[int, ...]], str] | None = None,
    ) -> Array:
        """Convert records to the data type of the model.

        Args:
            metadata: metadata of the model.
            inputs: records [N, ...]; NaN for missing values, which become null in JSON.
            place: describes the place of an input in messages.

        Raises:
            InputError: if they are of another shape, or the data type cannot hold a value.
        """
        name, kind, shape = metadata.input
        expected, actual = shape[1:], inputs.shape[1:]
        if shape and (
            len(expected) != len(actual)
            or any(size not in (-1, other) for size, other in zip(expected, actual, strict=True))
        ):
            raise InputError(
                f"Records have the shape {actual}, and input {printable(name)} the shape "
                f"{expected} behind the batch.",
                "Give tables with the columns that the model takes.",
            )
        return convert_inputs(inputs, _INPUTS[kind], "Records", place)

    def query(
        self,
        metadata: Metadata,
        inputs: Array,
        output: str | None = None,
        progress: Callable[[str], None] = lambda step: None,
    ) -> Array:
        """Query the model, in requests of as many records as the server takes.

        Args:
            metadata: metadata of the model.
            inputs: records [n, ...], from `convert`.
            output: name of an output; None where there is one only.
            progress: called after each request.

        Returns:
            Outputs in the order of the records, float32 or float64 [n, ...].

        Raises:
            QueryBudgetError: if the budget is not enough; then no query was made.
            InputError: if the server refuses, is away for long, or breaks the protocol.
        """
        if len(inputs) > self.left:
            raise QueryBudgetError(
                f"{len(inputs)} queries are needed, and {self.left} are left of {self.budget}.",
                "Allow more with --budget.",
            )
        parts, start = [], 0
        while start < len(inputs):
            rows = inputs[start : start + self._batch]
            outputs = self._infer(metadata, rows, output)
            if outputs is None:
                self._batch = max(1, len(rows) // 2)
                continue
            parts.append(outputs)
            start += len(rows)
            self.spent += len(rows)
            progress(f"{self.spent:,} of {self.budget:,} queries")
        return np.concatenate(parts)

    def _infer(self, metadata: Metadata, rows: Array, output: str | None) -> Array | None:
        """The outputs of one request; None if it has too many records."""
        from dynanoise.oip import v2
        from dynanoise.oip.tensors import Tensor

        name, kind, _ = metadata.input
        head: dict[str, Any] = {"id": str(self.spent)}
        if output is not None:
            head["outputs"] = [{"name": output, "parameters": {"binary_data": metadata.binary}}]
        elif metadata.binary:
            head["parameters"] = {"binary_data_output": True}
        body, headers = v2.write([Tensor(name, kind, rows)], head, "inputs", metadata.binary)
        status, content, received = self._request("POST", f"{self.path}/infer", body, headers)
        if status == 413 and len(rows) > 1:
            return None
        if status != 200:
            raise _status_error(self.path, status, content)
        try:
            outputs = v2.parse_response(content, received.get(v2.HEADER.lower())).outputs
        except Refused as error:
            raise InputError(
                f"The response of {self.path} is not the protocol's ({error}).",
                "Name a server of the Open Inference Protocol, version 2.",
            ) from None
        matches = [tensor.values for tensor in outputs if output in (None, tensor.name)]
        if len(matches) != 1:
            names = ", ".join(printable(tensor.name) for tensor in outputs)
            raise InputError(
                f"The model returns {names}.", "Say which with --defense, output: NAME."
            )
        values: Array = matches[0]
        if values.dtype == np.float16:
            values = values.astype(np.float32)
        if values.dtype.kind != "f" or values.ndim < 1 or len(values) != len(rows):
            raise InputError(
                f"The output for {len(rows)} records is {values.dtype} {list(values.shape)}.",
                "An audit needs numbers for every class and record.",
            )
        return values

    def _get_json(self, path: str) -> dict[str, Any]:
        import orjson

        status, body, _ = self._request("GET", path)
        if status != 200:
            raise _status_error(path, status, body)
        try:
            content = orjson.loads(body)
        except orjson.JSONDecodeError:
            content = None
        if not isinstance(content, dict):
            raise InputError(
                f"The response of {path} is not a JSON object.",
                "Name a server of the Open Inference Protocol, version 2.",
            )
        return content

    def _request(
        self, method: str, path: str, body: bytes | None = None, headers: Any = None
    ) -> tuple[int, bytes, Mapping[str, str]]:
        """Status, body, and headers in small letters; tries again and waits where it may help."""
        sent = {"Accept-Encoding": "identity", **(headers or {})}
        if self._key is not None:
            sent["Authorization"] = f"Bearer {self._key}"
        failures = 0
        while True:
            try:
                status, content, received = self._request_once(method, path, body, sent)
            except ssl.SSLCertVerificationError:
                raise InputError(
                    f"{self._where} has no certificate that is trusted here.",
                    "Set SSL_CERT_FILE to the authority that signed it.",
                ) from None
            except (OSError, http.client.HTTPException) as error:
                self.close()
                failures += 1
                if failures > _FAILURES:
                    raise InputError(
                        f"{self._where} does not answer ({type(error).__name__}).",
                        "Check the URL, and that the server runs.",
                    ) from None
                self._sleep(0.25 * 2**failures)
                continue
            if status not in (429, 503):
                return status, content, received
            failures += status == 503
            if failures > _FAILURES:
                raise _status_error(path, status, content)
            self._sleep(_wait(received.get("retry-after"), content))

    def _request_once(
        self, method: str, path: str, body: bytes | None, headers: Mapping[str, str]
    ) -> tuple[int, bytes, Mapping[str, str]]:
        if self._connection is None:
            scheme, host, port = self._address
            kind = http.client.HTTPSConnection if scheme == "https" else http.client.HTTPConnection
            self._connection = kind(host, port, timeout=self._timeout)
        self._connection.request(method, path, body, dict(headers))
        with self._connection.getresponse() as response:
            content = response.read(_RESPONSE_BYTES + 1)
            if len(content) > _RESPONSE_BYTES:
                self.close()
                raise InputError("A response is longer than 64 MiB.", "Query a smaller model.")
            received = {name.lower(): value for name, value in response.getheaders()}
            return response.status, content, received

    @property
    def _where(self) -> str:
        scheme, host, port = self._address
        return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"

    def close(self) -> None:
        """Close the connection; another query opens a new one."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def _parse_url(url: str) -> tuple[tuple[str, str, int], str]:
    """Scheme, host and port; and the path."""
    try:
        parts = urlsplit(url)
        port = parts.port or (443 if parts.scheme == "https" else 80)
    except ValueError:
        parts, port = urlsplit(""), 0
    path = parts.path.rstrip("/")
    pieces = path.split("/")
    fits = pieces[:3] == ["", "v2", "models"] and all(pieces[3:])
    fits = fits and (len(pieces) == 4 or (len(pieces) == 6 and pieces[4] == "versions"))
    plain = not (parts.username or parts.password or parts.query or parts.fragment)
    if parts.scheme not in ("http", "https") or not parts.hostname or not fits or not plain:
        # Not shown: it may hold a password.
        raise InputError(
            "--url is not that of a model.",
            "Pass http://HOST:PORT/v2/models/NAME, without user, password or query.",
        )
    if not path.isascii() or any(sign.isspace() or not sign.isprintable() for sign in path):
        raise InputError("--url holds signs that no URL has.", "Write them as %XX.")
    return (parts.scheme, parts.hostname, port), path


def _read_key(reference: str | None) -> str | None:
    try:
        key = Secret(reference or KEY).text()
    except SecretError as error:
        if reference is None:
            return None
        raise InputError(error.problem, "Put the API key there.") from None
    except InputError:
        raise InputError(
            "--api-key does not refer to a key.",
            f"Pass env:NAME or file:PATH, such as {KEY}, never the key itself.",
        ) from None
    if not key.isascii() or not key.isprintable() or " " in key:
        raise InputError("The API key holds signs that no header takes.", "Make another.")
    return key


def _key_id(properties: Any) -> str | None:
    if not isinstance(properties, dict):
        return None
    if properties.get("noise") == "fresh":
        return ""
    key_id = properties.get("key_id")
    return key_id if isinstance(key_id, str) and key_id else None


def _list(content: Mapping[str, Any], name: str) -> list[Any]:
    value = content.get(name)
    return value if isinstance(value, list) else []


def printable(text: str) -> str:
    """Make a server's text safe for a terminal: 200 characters, the odd ones as "?".

    >>> printable("a" + chr(27) + "[2J")
    'a?[2J'
    """
    return "".join(sign if sign.isprintable() else "?" for sign in text[:200])


def _status_error(path: str, status: int, body: bytes) -> InputError:
    """The error of a status other than 200."""
    remedies = {
        401: "Pass --api-key env:NAME or file:PATH with a key that it knows.",
        403: "Pass --api-key env:NAME or file:PATH with a key that may query the model.",
        404: "Check the model's name in --url.",
        413: "It takes no record as large as these.",
    }
    text = printable(body[:300].decode("utf-8", "replace"))
    return InputError(
        f"{path} was answered with {status}: {text}",
        remedies.get(status, "Look into the server's log."),
    )


def _wait(retry_after: str | None, body: bytes) -> float:
    """Seconds to wait, as the server requests."""
    seconds = float(retry_after) if retry_after and retry_after.isdigit() else 1.0
    if seconds > _LONGEST_WAIT and NEAR.encode() in body:
        raise InputError(
            "The server's limit on queries close to each other, `neighbourhood` in its "
            f"defense.yaml, is reached; it says to come again in {seconds:.0f} s.",
            UNLIMITED,
        )
    if seconds > _LONGEST_WAIT:
        raise InputError(
            f"The server's own budget is spent; it says to come again in {seconds:.0f} s "
            f"({printable(body[:200].decode('utf-8', 'replace'))}).",
            "Come again, give this client a larger budget, or pass a smaller --budget.",
        )
    return max(seconds, 0.05)
