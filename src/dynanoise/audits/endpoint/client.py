"""A served model as its clients meet it: over the Open Inference Protocol, within a budget."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from dynanoise.audits.endpoint.http import Exchange, printable, refused
from dynanoise.core.errors import InputError, QueryBudgetError
from dynanoise.core.extras import require

BATCH = 64
"""Records in one request, until the server says that these are too many."""

_INPUTS = {"FP32": np.float32, "FP64": np.float64, "INT64": np.int64, "INT32": np.int32}

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Announced:
    """What a server says of its model.

    Attributes:
        input: name, data type and shape of what it takes; -1 stands for any length.
        outputs: names.
        binary: whether tensors travel as bytes.
        key_id: of keyed noise, where the server is a gateway of this package; "" for fresh noise,
            None where nothing is said.
    """

    input: tuple[str, str, tuple[int, ...]]
    outputs: tuple[str, ...]
    binary: bool
    key_id: str | None


class Endpoint:
    """A model at a URL; counts what was asked.

    Args:
        url: ``http://HOST:PORT/v2/models/NAME``, or with ``/versions/V`` behind it.
        budget: records about which answers may be had, each repetition counted.
        key: where the API key is, as `Secret` takes it; None for `KEY` if it is there.
        timeout: seconds for an answer.
        sleep: waits; the tests' clock.

    Attributes:
        path: of the model.
        name: of the model, as the URL has it.
        spent: answers that were had.

    Raises:
        InputError: if the URL is no model's, or there is no key where it should be.
    """

    def __init__(
        self,
        url: str,
        budget: int,
        key: str | None = None,
        timeout: float = 60.0,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        require("orjson", "Asking a server")
        if budget < 1:
            raise InputError(f"The budget is {budget}.", "Allow at least one query.")
        self._exchange = Exchange(url, key, timeout, sleep)
        self.path, self.name = self._exchange.path, self._exchange.name
        self._batch = BATCH
        self.budget, self.spent = budget, 0

    @property
    def left(self) -> int:
        """Answers that may still be had."""
        return self.budget - self.spent

    def announced(self) -> Announced:
        """The metadata; costs no query.

        Raises:
            InputError: if they cannot be had, or the model takes several inputs or none of numbers.
        """
        said = self._json(self.path)
        server = self._json(self.path.partition("/models/")[0])
        given = [one for one in _list(said, "inputs") if isinstance(one, dict)]
        if len(given) != 1:
            raise InputError(
                f"The model at {self.path} has {len(given)} inputs.",
                "An audit asks models with one input, which says so in its metadata.",
            )
        shape = tuple(one for one in _list(given[0], "shape") if isinstance(one, int))
        kind = str(given[0].get("datatype"))
        if kind not in _INPUTS:
            raise InputError(
                f"The model at {self.path} takes {printable(kind)}.",
                f"An audit asks models that take {', '.join(_INPUTS)}.",
            )
        if shape and shape[0] > 0:
            self._batch = shape[0]
        outputs = tuple(
            str(one.get("name")) for one in _list(said, "outputs") if isinstance(one, dict)
        )
        binary = "binary_tensor_data" in _list(server, "extensions")
        known = _key_id(said.get("properties"))
        return Announced((str(given[0].get("name")), kind, shape), outputs, binary, known)

    def fits(self, model: Announced, inputs: Array) -> Array:
        """Records [N, ...] as the model takes them.

        Raises:
            InputError: if they are of another shape, or would be rounded.
        """
        name, kind, shape = model.input
        wanted = shape[1:]
        given = inputs.shape[1:]
        if shape and (
            len(wanted) != len(given)
            or any(one not in (-1, other) for one, other in zip(wanted, given, strict=True))
        ):
            raise InputError(
                f"Records have the shape {given}, and input {printable(name)} the shape "
                f"{wanted} behind the batch.",
                "Give tables with the columns that the model takes.",
            )
        made = inputs.astype(_INPUTS[kind])
        if kind.startswith("INT") and (made != inputs).any():
            raise InputError(
                f"The model takes {kind}, and the records hold fractions.",
                "Give them as the model takes them.",
            )
        return made

    def ask(
        self,
        model: Announced,
        inputs: Array,
        output: str | None = None,
        progress: Callable[[str], None] = lambda step: None,
    ) -> Array:
        """Answers about records, in their order, in requests of as many as the server takes.

        Args:
            model: its metadata.
            inputs: [n, ...], as `fits` gave them.
            output: which of the outputs; None where there is one only.
            progress: called after each request.

        Returns:
            float32 or float64 [n, ...].

        Raises:
            QueryBudgetError: if the budget does not reach; then nothing was asked.
            InputError: if the server refuses, is away for long, or answers something else.
        """
        if len(inputs) > self.left:
            raise QueryBudgetError(
                f"{len(inputs)} queries are needed, and {self.left} are left of {self.budget}.",
                "Allow more with --budget.",
            )
        parts, start = [], 0
        while start < len(inputs):
            rows = inputs[start : start + self._batch]
            found = self._infer(model, rows, output)
            if found is None:
                self._batch = max(1, len(rows) // 2)
                continue
            parts.append(found)
            start += len(rows)
            self.spent += len(rows)
            progress(f"{self.spent:,} of {self.budget:,} queries")
        return np.concatenate(parts)

    def _infer(self, model: Announced, rows: Array, output: str | None) -> Array | None:
        """The answer; None if these are too many records at once."""
        from dynanoise.oip import v2
        from dynanoise.oip.faults import Refused
        from dynanoise.oip.tensors import Tensor

        name, kind, _ = model.input
        head: dict[str, Any] = {"id": str(self.spent)}
        if output is not None:
            head["outputs"] = [{"name": output, "parameters": {"binary_data": model.binary}}]
        elif model.binary:
            head["parameters"] = {"binary_data_output": True}
        body, headers = v2.written([Tensor(name, kind, rows)], head, "inputs", model.binary)
        status, said, told = self._exchange("POST", f"{self.path}/infer", body, headers)
        if status == 413 and len(rows) > 1:
            return None
        if status != 200:
            raise refused(self.path, status, said)
        try:
            given = v2.answered(said, told.get(v2.HEADER.lower())).outputs
        except Refused as broken:
            raise InputError(
                f"What {self.path} answers is not the protocol's ({broken}).",
                "Name a server of the Open Inference Protocol, version 2.",
            ) from None
        found = [one.values for one in given if output in (None, one.name)]
        if len(found) != 1:
            names = ", ".join(printable(one.name) for one in given)
            raise InputError(
                f"The model answers {names}.", "Say which with --defense, output: NAME."
            )
        values = found[0]
        if values.dtype == np.float16:
            values = values.astype(np.float32)
        if values.dtype.kind != "f" or values.ndim < 1 or len(values) != len(rows):
            raise InputError(
                f"{len(rows)} records were answered by {values.dtype} {list(values.shape)}.",
                "An audit needs numbers for every class and record.",
            )
        return values

    def close(self) -> None:
        """Ends the connection; another question opens a new one."""
        self._exchange.close()

    def _json(self, path: str) -> dict[str, Any]:
        import orjson

        status, body, _ = self._exchange("GET", path)
        if status != 200:
            raise refused(path, status, body)
        try:
            said = orjson.loads(body)
        except orjson.JSONDecodeError:
            said = None
        if not isinstance(said, dict):
            raise InputError(
                f"What {path} answers is no JSON object.",
                "Name a server of the Open Inference Protocol, version 2.",
            )
        return said


def _key_id(properties: Any) -> str | None:
    if not isinstance(properties, dict):
        return None
    if properties.get("noise") == "fresh":
        return ""
    named = properties.get("key_id")
    return named if isinstance(named, str) and named else None


def _list(said: Mapping[str, Any], name: str) -> list[Any]:
    found = said.get(name)
    return found if isinstance(found, list) else []
