"""The way of a query through the gateway, whatever protocol it came by."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from dynanoise.config.configuration import Configuration
from dynanoise.core.errors import DynaNoiseError, SecretError
from dynanoise.oip.faults import Refused, bad, unavailable, unusable
from dynanoise.oip.tensors import Array, Description, Spec, Tensor
from dynanoise.serving.backends.backend import Model, check, queries, rows
from dynanoise.serving.budgets import Budgets
from dynanoise.serving.clients import ANYONE, Clients, presented
from dynanoise.serving.logs import log
from dynanoise.serving.noise_effect import Windows
from dynanoise.serving.prometheus import Metrics

_AT_ONCE = 4096
"""Numbers of an output that are defended in the event loop; larger ones go to a thread."""

_SMALL = 64 << 10
"""Bytes of a body that are taken whatever else arrives."""


@dataclass(frozen=True)
class Limits:
    """What one request, and all together, may take.

    Args:
        body: bytes of a request.
        seconds: for a model's answer, and for a body to arrive.
        at_once: requests that are worked on; more are told to come again.
    """

    body: int = 16 << 20
    seconds: float = 30.0
    at_once: int = 64

    @property
    def arriving(self) -> int:
        """Bytes of large bodies that are under way together: 8 of the largest at the defaults."""
        return max(1, self.at_once // 8) * self.body


class Gateway:
    """A model, its defense, and who may ask it how much. One event loop at a time.

    Args:
        model: that answers.
        configuration: what its answers pass through.
        clients: None if anyone may ask.
        budgets: of each client.
        limits: of requests.
        metrics: where numbers go.
        windows: where what noise does is collected; None if nobody looks.
        forward_authorization: whether the upstream gets the clients' Authorization.
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
    ) -> None:
        self.model, self.configuration, self.limits = model, configuration, limits
        self.metrics, self.draining = metrics, False
        self._clients, self._budgets, self._windows = clients, budgets, windows
        self._forward = forward_authorization
        self._busy = self._arriving = 0

    @property
    def noise(self) -> dict[str, str]:
        """What clients are told of it: whether it repeats, and under which key."""
        named = self.metrics.key_id
        return {"noise": "keyed", "key_id": named} if named else {"noise": "fresh"}

    def client(self, authorization: str | None, own: str | None) -> str:
        """Who asks, by the headers Authorization and X-API-Key.

        Where Authorization goes on to the upstream it is never taken for an API key.

        Raises:
            Refused: with 401.
        """
        if self._clients is None:
            return ANYONE
        return self._clients.named(presented(None if self._forward else authorization, own))

    def versioned(self, name: str, version: str | None) -> None:
        """Refuses another model, and another version of this one.

        Another version's answers under the same key would show which records moved between cells.

        Raises:
            Refused: with 404.
        """
        if name != self.model.name or version not in (None, "", self.model.version):
            raise Refused(404, "unknown", "There is no such model.")

    async def described(self) -> Description:
        """The model's metadata, with the defended output alone, as it goes out."""
        found = await self.model.describe()
        if found.output is None or found.output.datatype != "FP16":
            return found
        output = Spec(found.output.name, "FP32", found.output.shape)
        return Description(found.inputs, output, found.platform)

    async def ready(self) -> bool:
        """Whether a query would be answered now."""
        return not self.draining and self._has_secret() and await self.model.ready()

    def _has_secret(self) -> bool:
        noise = self.configuration.noise
        if isinstance(noise, str):
            return True
        try:
            noise.key.root()  # type: ignore[union-attr]
        except SecretError:
            return False
        return True

    @contextlib.contextmanager
    def held(self) -> Iterator[Callable[[int], int]]:
        """Counts the bytes of a body that arrives, and of all that do, until it is there.

        Yields:
            To be told of more bytes; gives those of this body so far. Above 64 KiB it refuses with
            503 where bodies under way take too much memory, whoever they are of.
        """
        mine = 0

        def hold(more: int) -> int:
            nonlocal mine
            mine += more
            self._arriving += more
            if mine > _SMALL and self._arriving > self.limits.arriving:
                raise unavailable("busy", "The gateway is busy.")
            return mine

        try:
            yield hold
        finally:
            self._arriving -= mine

    async def infer(
        self,
        client: str,
        inputs: Sequence[Tensor],
        outputs: Sequence[str] = (),
        authorization: str | None = None,
    ) -> Tensor:
        """The defended answer.

        Args:
            client: who pays for it.
            inputs: as they came.
            outputs: names that the client wants; only the defended one is served.
            authorization: of the client.

        Raises:
            Refused: if there is none; a client that got none, and waited for it, has not paid.
        """
        if self._busy >= self.limits.at_once:
            raise unavailable("busy", "The gateway is busy.")
        self._busy += 1
        try:
            return await self._infer(client, inputs, outputs, authorization)
        finally:
            self._busy -= 1

    async def _infer(
        self,
        client: str,
        inputs: Sequence[Tensor],
        outputs: Sequence[str],
        authorization: str | None,
    ) -> Tensor:
        description = await self.model.describe()
        output = description.output
        known = output.name if output else self.configuration.output
        for name in outputs:
            if name != known:
                raise bad(f"Output {name[:256]!r} is not served.")
        if not all(one.values.size for one in inputs):
            raise bad("The request holds no record.")
        check(description, inputs)
        paid = queries(description, inputs)
        booked = [(paid, self._budgets.spend(client, paid))]
        try:
            started = time.perf_counter()
            raw = await self.model.infer(inputs, authorization if self._forward else None)
            self.metrics.upstream.observe(time.perf_counter() - started)
            values = _usable(raw, description, paid, self.configuration.class_axis)
            more = rows(values, self.configuration.class_axis) - paid
            if more > 0:
                booked.append((more, self._budgets.spend(client, more)))
            answer = await self._defended(values)
        except Exception:  # not where the client went away, for the model has worked
            for count, period in booked:
                self._budgets.give_back(client, count, period)
            raise
        return Tensor(raw.name, "FP64" if answer.dtype == np.float64 else "FP32", answer)

    async def _defended(self, values: Array) -> Array:
        started = time.perf_counter()
        try:
            if values.size <= _AT_ONCE:
                answer: Array = self.configuration.defend(values)
            else:
                answer = await asyncio.to_thread(self.configuration.defend, values)
        except SecretError:
            log("no_secret", logging.ERROR)
            raise unavailable("no_secret", "The gateway is not ready.") from None
        except DynaNoiseError:  # its words quote the model's answer
            raise unusable("values") from None
        self.metrics.defense.observe(time.perf_counter() - started)
        if self._windows is not None and answer.size:
            taken = self._windows.add(values, answer)
            if taken:
                asyncio.get_running_loop().run_in_executor(None, self._windows.complete, taken)
        return answer


def _usable(raw: Tensor, description: Description, asked: int, axis: int) -> Array:
    """The output as an array that can be defended; one of half precision in single."""
    values = raw.values
    if values.dtype == np.float16:
        values = values.astype(np.float32)
    if values.dtype not in (np.float32, np.float64) or not values.ndim:
        raise unusable("type")
    if description.batched:
        if len(values) != asked:
            raise unusable("count")
        records = True
    else:  # a number for each record, of a model that nothing is known of
        records = description.output is None and values.shape == (asked,)
    if records and axis in (0, -values.ndim):
        raise unusable("axis")
    return values
