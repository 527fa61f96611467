"""Version 1 of the inference protocol: instances in, predictions out, all in JSON."""

from __future__ import annotations

from typing import Any

import numpy as np
import orjson

from dynanoise.oip.faults import bad, unavailable
from dynanoise.oip.tensors import Description, Spec, Tensor, from_values


def parsed(body: bytes, description: Description) -> tuple[Tensor, ...]:
    """The inputs in a body.

    Args:
        body: ``{"instances": [...]}``, each of them the input's values, or an object with the
            values of every input.
        description: of the model, which says what types they are.

    Raises:
        Refused: with 400, if it is anything else.

    >>> description = Description((Spec("x", "FP32", (-1, 2)),), None, "")
    >>> parsed(b'{"instances": [[1, 2], [3, 4]]}', description)[0].values.tolist()
    [[1.0, 2.0], [3.0, 4.0]]
    """
    if not description.inputs:
        raise unavailable("upstream", "The model's server does not say what it takes; use /v2.")
    try:
        said = orjson.loads(body)
    except orjson.JSONDecodeError:  # its message quotes the body
        raise bad("The body is no valid JSON.") from None
    instances = said.get("instances") if isinstance(said, dict) else None
    if not isinstance(instances, list) or not instances:
        raise bad("The body must be a JSON object with a list of instances.")
    if not all(isinstance(one, dict) for one in instances):
        if len(description.inputs) > 1:
            raise bad("The model has several inputs; every instance must name them all.")
        return (_stacked(description.inputs[0], instances),)
    names = {one.name for one in description.inputs}
    if any(set(one) != names for one in instances):
        raise bad(f"Every instance must hold {', '.join(sorted(names))} and nothing else.")
    return tuple(
        _stacked(spec, [one[spec.name] for one in instances]) for spec in description.inputs
    )


def _stacked(spec: Spec, values: list[Any]) -> Tensor:
    return from_values(spec.name, spec.datatype, _shape(values, spec), values)


def _shape(values: list[Any], spec: Spec) -> tuple[int, ...]:
    """Lengths of nested lists along their first elements; the others are checked by their count."""
    shape: list[int] = []
    inner: Any = values
    while isinstance(inner, list) and len(shape) <= len(spec.shape):
        shape.append(len(inner))
        inner = inner[0] if inner else None
    return tuple(shape)


def written(answer: Tensor) -> bytes:
    """``{"predictions": [...]}``, an entry for each instance."""
    values = answer.values if answer.values.ndim else answer.values[None]
    said = {"predictions": np.ascontiguousarray(values)}
    return orjson.dumps(said, option=orjson.OPT_SERIALIZE_NUMPY)
