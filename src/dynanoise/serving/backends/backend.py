"""What the gateway asks of a model, wherever it runs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from dynanoise.oip.faults import bad
from dynanoise.oip.tensors import Array, Description, Tensor


class Model(Protocol):
    """A model that answers.

    Attributes:
        name: under which it is served.
        version: the only one that is served; None where there are none.
    """

    name: str
    version: str | None

    async def describe(self) -> Description:
        """Its metadata.

        Raises:
            Refused: if it cannot be had now.
        """

    async def ready(self) -> bool:
        """Whether it would answer now."""

    async def infer(self, inputs: Sequence[Tensor], authorization: str | None) -> Tensor:
        """The output that is defended, as the model gives it: it must not leave the gateway.

        Args:
            inputs: that fit the description.
            authorization: of the client, None unless it shall be passed on.

        Raises:
            Refused: if there is no usable answer.
        """

    async def close(self) -> None:
        """Ends what it holds open."""


def check(description: Description, inputs: Sequence[Tensor]) -> None:
    """Refuses inputs that are not the model's.

    Raises:
        Refused: with 400, naming the first that does not fit.
    """
    if not description.inputs:
        return
    specs = {one.name: one for one in description.inputs}
    for tensor in inputs:
        spec = specs.pop(tensor.name, None)
        if spec is None:
            raise bad(f"The model has no input {tensor.name!r}.")
        if not spec.accepts(tensor.datatype, tensor.values.shape):
            raise bad(
                f"Input {tensor.name!r} is {tensor.datatype} {list(tensor.values.shape)}; the "
                f"model takes {spec.datatype} {list(spec.shape)}."
            )
    if specs:
        raise bad(f"The model needs the input {next(iter(specs))!r}, too.")


def queries(description: Description, inputs: Sequence[Tensor]) -> int:
    """How many answers are asked for at least: the longest first axis, or 1.

    >>> import numpy as np
    >>> description = Description((Spec("x", "FP32", (-1, 3)),), None, "")
    >>> queries(description, [Tensor("x", "FP32", np.zeros((5, 3)))])
    5
    """
    free = {one.name for one in description.inputs if one.shape[:1] == (-1,)}
    lengths = [
        len(tensor.values)
        for tensor in inputs
        if tensor.values.ndim and (tensor.name in free or not description.inputs)
    ]
    return max([1, *lengths])


def rows(values: Array, axis: int) -> int:
    """How many answers an output holds: its size without the class axis."""
    classes = values.shape[axis] if -values.ndim <= axis < values.ndim else 0
    return values.size // classes if classes else 0
