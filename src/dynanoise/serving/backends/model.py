"""The interface of a model behind the gateway, wherever it runs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Protocol

import numpy as np

from dynanoise.core.arrays.inputs import describe_place
from dynanoise.oip.faults import bad
from dynanoise.oip.tensors import Array, Description, Tensor


class Model(Protocol):
    """A model that computes logits or probabilities.

    Attributes:
        name: name under which it is served.
        version: the only version that is served; None where there are none.
    """

    name: str
    version: str | None

    async def describe(self) -> Description:
        """Return the model's metadata.

        Raises:
            Refused: if they are not available now.
        """

    async def ready(self) -> bool:
        """Whether the model can run now."""

    async def infer(self, inputs: Sequence[Tensor], authorization: str | None) -> Tensor:
        """Compute the output to defend; it must not leave the gateway undefended.

        Args:
            inputs: tensors that fit the description.
            authorization: header of the client's request, if it is to be forwarded.

        Raises:
            Refused: if there is no usable output.
        """

    async def close(self) -> None:
        """Close connections and threads."""


def check(description: Description, inputs: Sequence[Tensor]) -> None:
    """Refuse inputs that do not fit the model.

    Raises:
        Refused: with 400, naming the first that does not fit.
    """
    if not description.inputs:
        return
    missing = {spec.name: spec for spec in description.inputs}
    for tensor in inputs:
        spec = missing.pop(tensor.name, None)
        if spec is None:
            raise bad(f"The model has no input {tensor.name!r}.")
        if not spec.accepts(tensor.datatype, tensor.values.shape):
            raise bad(
                f"Input {tensor.name!r} is {tensor.datatype} {list(tensor.values.shape)}; the "
                f"model takes {spec.datatype} {list(spec.shape)}."
            )
        if not spec.missing and tensor.values.dtype.kind == "f":
            _check_missing(tensor)
    if missing:
        raise bad(f"The model needs the input {next(iter(missing))!r}, too.")


def _check_missing(tensor: Tensor) -> None:
    place = missing_place(tensor.values)
    if place is not None:
        raise bad(
            f"Input {tensor.name!r} has no value (null or NaN) in {place}, and the model does not "
            "take missing values."
        )


def missing_place(values: Array) -> str | None:
    """Describe the place of the first missing value; None if there is none."""
    missing = np.isnan(values)
    if not missing.any():
        return None
    return describe_place(tuple(int(index) for index in np.argwhere(missing)[0]))


def count_queries(description: Description, inputs: Sequence[Tensor]) -> int:
    """Count the records of a request: the longest first axis of variable length, or 1.

    >>> import numpy as np
    >>> from dynanoise.oip.tensors import Spec
    >>> description = Description((Spec("x", "FP32", (-1, 3)),), None, "")
    >>> count_queries(description, [Tensor("x", "FP32", np.zeros((5, 3)))])
    5
    """
    batched = {spec.name for spec in description.inputs if spec.shape[:1] == (-1,)}
    lengths = [
        len(tensor.values)
        for tensor in inputs
        if tensor.values.ndim and (tensor.name in batched or not description.inputs)
    ]
    return max([1, *lengths])


def rows_of_record(description: Description, axis: int) -> int:
    """Rows of output for each record, where the metadata tell; else 1.

    Args:
        description: the model's metadata.
        axis: axis of the classes.

    >>> from dynanoise.oip.tensors import Spec
    >>> tokens = Spec("y", "FP32", (-1, 5, 3))
    >>> rows_of_record(Description((Spec("x", "INT64", (-1, 5)),), tokens, ""), -1)
    5
    """
    if description.output is None or not description.batched:
        return 1
    shape = description.output.shape
    if not -len(shape) <= axis < len(shape) or axis in (0, -len(shape)):
        return 1
    others = [length for place, length in enumerate(shape) if place not in (0, axis % len(shape))]
    return 1 if -1 in others else max(1, math.prod(others))


def count_rows(values: Array, axis: int) -> int:
    """Count the rows of an output: its size without the class axis."""
    classes = values.shape[axis] if -values.ndim <= axis < values.ndim else 0
    return values.size // classes if classes else 0
