"""The gateway: a request, the model, its logits, the defense, and the response.

Both protocols, `serving.http` and `serving.grpc`, receive a request and call `Gateway.infer` with a
function that parses it; the defense is that of `defense.yaml`, the same object as in every wrapper.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

from dynanoise.config.configuration import Configuration
from dynanoise.core.arrays.predictions import EXACT, is_distribution
from dynanoise.core.defense import count_passes
from dynanoise.core.errors import DynaNoiseError, SecretError
from dynanoise.oip.faults import Refused, bad, unavailable, unusable
from dynanoise.oip.tensors import Array, Description, Size, Spec, Tensor
from dynanoise.oip.v2 import Request
from dynanoise.partition.cells import Cells
from dynanoise.serving.backends.model import (
    Model,
    check,
    count_queries,
    count_rows,
    missing_place,
    rows_of_record,
)
from dynanoise.serving.budgets import Budgets, Charge, too_many
from dynanoise.serving.clients import ANYONE, Clients, key_in
from dynanoise.serving.logs import log
from dynanoise.serving.monitoring import Metrics, Windows
from dynanoise.serving.tracing import Tracing
from dynanoise.serving.turns import Turns

_IN_LOOP = 4096
"""Largest number of values that are defended, each draw counted, or written in the event loop."""

_Value = TypeVar("_Value")

_KIND_ROWS = 16
"""Rows of declared logits that are all distributions before they count as probabilities."""

_SMALL = 64 << 10
"""Bytes of a body that are accepted however many others arrive, and parsed in the event loop."""

_QUERY = 256 << 10
"""Bytes for each query of a request before it is parsed, where the size of a record is unknown."""

_LIST = 16
"""Bytes for each list of such a request."""

_SLACK = 2000
"""Commas and brackets of a request beside those of its values: names, shapes, parameters."""


async def in_thread(size: float, function: Callable[..., _Value], *arguments: Any) -> _Value:
    """Call a function, in a thread if it handles many values, where it delays no other response."""
    if size <= _IN_LOOP:
        return function(*arguments)
    return await asyncio.to_thread(function, *arguments)


@dataclass(frozen=True)
class Limits:
    """Limits of one request, and of all together.

    Args:
        body: bytes of one request.
        seconds: for the model's output, and for a body to arrive.
        at_once: requests that are worked on at the same time; further ones wait.
        each: requests of one client among these; None for no such limit.
        waiting: requests that wait for their turn; further ones are refused.
        wait: seconds that a request waits for its turn.
    """

    body: int = 16 << 20
    seconds: float = 30.0
    at_once: int = 64
    each: int | None = None
    waiting: int = 1024
    wait: float = 5.0

    @property
    def arriving(self) -> int:
        """Bytes of large bodies that may arrive at the same time: 8 of the largest by default."""
        return max(1, self.at_once // 8) * self.body


class Receipt:
    """Bytes of a body that arrives, counted with those of all others until it is parsed.

    Args:
        gateway: the gateway that receives it.
        client: name of the client that sends it.

    Attributes:
        received: bytes so far.
    """

    def __init__(self, gateway: Gateway, client: str) -> None:
        self._gateway, self._client = gateway, client
        self.received = 0

    def add(self, size: int) -> int:
        """Count more bytes.

        Returns:
            The bytes so far.

        Raises:
            Refused: with 503, if all bodies together take too much memory, and this one above 64
                KiB of it; or if those of its client take more than half.
        """
        gateway, arriving = self._gateway, self._gateway.arriving
        self.received += size
        arriving[self._client] += size
        most = gateway.limits.arriving
        share = gateway.share(most)
        if (self.received > _SMALL and arriving.total() > most) or (
            share is not None and arriving[self._client] > max(share, gateway.limits.body)
        ):
            raise unavailable("busy", "The gateway is busy.")
        return self.received

    def release(self) -> None:
        """Count the body no longer."""
        arriving = self._gateway.arriving
        arriving[self._client] -= self.received
        if not arriving[self._client]:
            del arriving[self._client]
        self.received = 0


class Gateway:
    """A model, its defense, its clients and their budgets. For one event loop at a time.

    Args:
        model: computes the outputs.
        configuration: defense, noise and output.
        clients: clients with API keys; None to serve anyone.
        budgets: query budgets of the clients.
        limits: limits of requests.
        metrics: counters and histograms.
        windows: collector of the noise's effects; None without a metrics listener.
        forward_authorization: whether the upstream gets the clients' Authorization.
        cells: cells of inputs, in which queries are counted; None to count none.
        tracing: trace context and spans of requests.

    Attributes:
        draining: whether the gateway is about to end.
        arriving: bytes of bodies that are not parsed yet, by client.
    """

    def __init__(
        self,
        model: Model,
        configuration: Configuration,
        clients: Clients | None,
        budgets: Budgets,
        limits: Limits,
        metrics: Metrics,
        windows: Windows | None = None,
        forward_authorization: bool = False,
        cells: Cells | None = None,
        tracing: Tracing | None = None,
    ) -> None:
        self.model, self.configuration, self.limits = model, configuration, limits
        self.tracing = tracing or Tracing()
        self.metrics, self.draining = metrics, False
        self._clients, self._budgets, self._windows = clients, budgets, windows
        self._forward, self._cells = forward_authorization, cells
        self.arriving, self._distributions = Counter[str](), 0
        self._turns = Turns(limits.at_once, limits.waiting, limits.wait, limits.each)
        self._parsing = asyncio.Semaphore(1)

    @property
    def noise(self) -> dict[str, str]:
        """The noise in the metadata: "keyed" with the id of the key, or "fresh"."""
        key_id = self.metrics.key_id
        return {"noise": "keyed", "key_id": key_id} if key_id else {"noise": "fresh"}

    def authenticate(self, authorization: str | None, api_key: str | None) -> str:
        """Find the client of a request by its headers Authorization and X-API-Key.

        Where Authorization is forwarded to the upstream, it is never taken for an API key.

        Returns:
            The client's name.

        Raises:
            Refused: with 401.
        """
        if self._clients is None:
            return ANYONE
        return self._clients.authenticate(key_in(None if self._forward else authorization, api_key))

    def check_model(self, name: str, version: str | None) -> None:
        """Check that a request names this model and this version of it.

        Outputs of two versions under one key would reveal the records whose cell has changed.

        Raises:
            Refused: with 404.
        """
        if name != self.model.name or version not in (None, "", self.model.version):
            raise Refused(404, "unknown", "There is no such model.")

    async def describe(self) -> Description:
        """Return the model's metadata with the defended output alone, in the type of responses."""
        description = await self.model.describe()
        if description.output is None or description.output.datatype != "FP16":
            return description
        output = Spec(description.output.name, "FP32", description.output.shape)
        return Description(description.inputs, output, description.platform)

    async def ready(self) -> bool:
        """Whether a query would get a response now."""
        if self.draining or not self._has_secret():
            return False
        return await self._budgets.ready() and await self.model.ready()

    def _has_secret(self) -> bool:
        noise = self.configuration.noise
        if isinstance(noise, str):
            return True
        try:
            noise.key.root()  # type: ignore[union-attr]
        except SecretError:
            return False
        return True

    async def close(self) -> None:
        """Close connections and threads."""
        await self.model.close()
        await self._budgets.close()
        self.tracing.close()

    def receive(self, client: str) -> Receipt:
        """Begin to receive a body of a client."""
        return Receipt(self, client)

    def share(self, room: int) -> int | None:
        """Part of a room that one client may take: half of it, at least 1.

        Returns:
            The part; None without API keys, where all clients count as one.
        """
        return None if self._clients is None else max(1, room // 2)

    async def infer(
        self,
        client: str,
        receipt: Receipt,
        size: Size,
        parse: Callable[[Description], Request],
        authorization: str | None = None,
    ) -> tuple[Request, Tensor]:
        """Parse a request, run the model and defend its output.

        The client is charged by the size of the request before it is parsed, and by its records
        after that. What a refused request was charged so far stays charged, for its parsing has
        cost as much as another's. Failures of the model and the gateway (500, 503) after that are
        not charged, unless the client went away while the model worked.

        Args:
            client: name of the client whose budget is charged.
            receipt: receipt of the body, released when it is parsed.
            size: size of the request.
            parse: makes the request from the model's description.
            authorization: header of the request.

        Returns:
            The request, and defended probabilities under the output's name, FP32 or FP64.

        Raises:
            Refused: if there is no response.
        """
        async with self._turns.take(client):
            description = await self.model.describe()
            charge = await self._budgets.charge(
                client, self._estimate(size, receipt.received, description)
            )
            request = await self._parse(receipt, parse, description)
            try:
                return request, await self._infer(request, charge, description, authorization)
            except Refused as refused:
                if refused.status >= 500:
                    await charge.give_back()
                raise
            except Exception:  # not where the client went away, for the model has worked
                await charge.give_back()
                raise

    def _estimate(self, size: Size, received: int, description: Description) -> int:
        """Number of records that a request of a size holds, about; refuses one of far too many."""
        record, layout, most = description.record, description.layout, self._budgets.most
        if record is not None:
            lists = record.lists * (size.values // record.values + 1)
        else:  # with texts, which may hold commas, those of as many records as it may have at most
            lists = received // _LIST
            if layout is not None and most is not None:
                lists = max(lists, layout.lists * min(most, size.values // layout.values + 1))
        if size.lists > _SLACK + lists:
            raise bad("The request has more lists than its inputs need.")
        if record is None:
            records = max(1, received // _QUERY)
            return records if most is None else min(most, records)
        values = max(0, size.values - _SLACK)
        raw, packed = max(0, size.raw - _SMALL), max(0, size.packed - _SMALL)
        records = max(1, values // record.values, raw // record.raw, packed // record.packed)
        if most is not None and records > most:
            raise too_many(most)
        return records

    async def _parse(
        self,
        receipt: Receipt,
        parse: Callable[[Description], Request],
        description: Description,
    ) -> Request:
        if receipt.received <= _SMALL:
            request = parse(description)
        else:  # in a thread, where it delays no other response, and one by one, for the memory
            async with self._parsing:
                request = await asyncio.to_thread(parse, description)
        receipt.release()
        return request

    async def _infer(
        self,
        request: Request,
        charge: Charge,
        description: Description,
        authorization: str | None,
    ) -> Tensor:
        inputs, axis = request.inputs, self.configuration.class_axis
        self._check_outputs(request.outputs, description)
        if not all(tensor.values.size for tensor in inputs):
            raise bad("The request holds no record.")
        check(description, inputs)
        queries = count_queries(description, inputs)
        rows = queries * rows_of_record(description, axis)
        await charge.correct(rows)
        if self._cells is not None:  # refused or not, the queries above stay charged
            cells = await self._count_cells(self._cells, inputs, queries)
            await charge.correct(rows, cells)
        started = time.perf_counter()
        raw = await self.model.infer(inputs, authorization if self._forward else None)
        self.metrics.upstream.observe(time.perf_counter() - started)
        logits = _check_raw(raw, description, queries, axis)
        self._check_kind(logits)
        if not np.isfinite(logits).all():
            raise _not_finite(inputs)
        await charge.correct(max(rows, count_rows(logits, axis)))
        probs = await self._defend(logits)
        return Tensor(raw.name, "FP64" if probs.dtype == np.float64 else "FP32", probs)

    async def _count_cells(
        self, cells: Cells, inputs: Sequence[Tensor], queries: int
    ) -> Mapping[bytes, int]:
        """Number of records in each cell of the inputs, by its keyed digest."""
        if len(inputs) > 1 or inputs[0].values.dtype.kind not in "fiub":
            raise Refused(500, "cells", "The gateway cannot compare inputs of this kind.")
        values = inputs[0].values
        rows = values if len(values) == queries else values[None]
        try:
            digests = await in_thread(rows.size, cells.digests, rows)
        except SecretError:
            raise unavailable("no_secret", "The gateway is not ready.") from None
        except DynaNoiseError:  # the cells are those of other inputs
            log("misconfigured", logging.ERROR, problem="cells_do_not_fit")
            raise Refused(500, "cells", "The gateway cannot compare these inputs.") from None
        return Counter(digests)

    def _check_outputs(self, names: Sequence[str], description: Description) -> None:
        output = description.output
        served = output.name if output else self.configuration.output
        for name in names:
            if name != served:
                raise bad(f"Output {name[:256]!r} is not served.")

    def _check_kind(self, values: Array) -> None:
        """Refuse probabilities that are declared as logits, as soon as chance is ruled out."""
        if self.configuration.input != "logits" or self._distributions < 0:
            return
        axis = self.configuration.class_axis
        if not is_distribution(values, axis, EXACT):
            self._distributions = -1  # they are logits
            return
        self._distributions += count_rows(values, axis)
        if self._distributions >= _KIND_ROWS:
            log("misconfigured", logging.ERROR, problem="probabilities_declared_as_logits")
            raise unusable("probabilities")

    async def _defend(self, logits: Array) -> Array:
        started = time.perf_counter()
        try:
            passes = count_passes(self.configuration.defense)
            probs = await in_thread(passes * logits.size, self.configuration.defend, logits)
        except SecretError:
            log("no_secret", logging.ERROR)
            raise unavailable("no_secret", "The gateway is not ready.") from None
        except DynaNoiseError:  # its text quotes the model's output
            raise unusable("values") from None
        self.metrics.defense.observe(time.perf_counter() - started)
        if self._windows is not None and probs.size:
            complete = self._windows.add(logits, probs)
            if complete:
                loop = asyncio.get_running_loop()
                loop.run_in_executor(None, self._windows.complete, complete)
        return probs


def too_large(limit: int) -> Refused:
    """The refusal of a body above the limit."""
    return Refused(413, "body", f"The body may hold at most {limit} bytes.")


def _not_finite(inputs: Sequence[Tensor]) -> Refused:
    """The refusal of an output that is not finite: because of the inputs, or of the model."""
    for tensor in inputs:
        if tensor.values.dtype.kind == "f":
            place = missing_place(tensor.values)
            if place is not None:
                return bad(
                    f"The model's output is not finite: {tensor.name!r} has no value (null or NaN) "
                    f"in {place}."
                )
            largest = np.sqrt(np.finfo(tensor.values.dtype).max)
            if np.abs(tensor.values).max() >= largest:
                return bad(
                    f"The model's output is not finite for values as large as in {tensor.name!r}."
                )
    return unusable("values")


def _check_raw(raw: Tensor, description: Description, queries: int, axis: int) -> Array:
    """The model's output as an array that can be defended; half precision as single."""
    values = raw.values
    if values.dtype == np.float16:
        values = values.astype(np.float32)
    if values.dtype not in (np.float32, np.float64) or not values.ndim:
        raise unusable("type")
    if description.batched:
        if len(values) != queries:
            raise unusable("count")
        counts_records = True
    else:  # one number for each record, of a model without metadata
        counts_records = description.output is None and values.shape == (queries,)
    if counts_records and axis in (0, -values.ndim):
        raise unusable("axis")
    return values
