"""Version 1 of the inference protocol: instances and predictions in JSON."""

from __future__ import annotations

from typing import Any

import numpy as np
import orjson

from dynanoise.oip.faults import bad, invalid_json, unavailable
from dynanoise.oip.tensors import Description, Spec, Tensor, from_values


def parse(body: bytes, description: Description) -> tuple[Tensor, ...]:
    """Parse the inputs in a body.

    Args:
        body: ``{"instances": [...]}``, each of them the input's values, or an object with the
            values of every input.
        description: metadata of the model, with the types of the inputs.

    Returns:
        A tensor for each input.

    Raises:
        Refused: with 400, if it is anything else.

    >>> description = Description((Spec("x", "FP32", (-1, 2)),), None, "")
    >>> parse(b'{"instances": [[1, 2], [3, 4]]}', description)[0].values.tolist()
    [[1.0, 2.0], [3.0, 4.0]]
    """
    if not description.inputs:
        raise unavailable("upstream", "The model's server does not say what it takes; use /v2.")
    try:
        content = orjson.loads(body)
    except orjson.JSONDecodeError:  # its message quotes the body
        raise invalid_json(body) from None
    instances = content.get("instances") if isinstance(content, dict) else None
    if not isinstance(instances, list) or not instances:
        raise bad("The body must be a JSON object with a list of instances.")
    if not all(isinstance(instance, dict) for instance in instances):
        if len(description.inputs) > 1:
            raise bad("The model has several inputs; every instance must name them all.")
        return (_stack(description.inputs[0], instances),)
    names = {spec.name for spec in description.inputs}
    if any(set(instance) != names for instance in instances):
        raise bad(f"Every instance must hold {', '.join(sorted(names))} and nothing else.")
    return tuple(
        _stack(spec, [instance[spec.name] for instance in instances]) for spec in description.inputs
    )


def _stack(spec: Spec, values: list[Any]) -> Tensor:
    return from_values(spec.name, spec.datatype, _shape(values, spec), values)


def _shape(values: list[Any], spec: Spec) -> tuple[int, ...]:
    """Lengths of nested lists along their first elements; the others are checked by their count."""
    shape: list[int] = []
    inner: Any = values
    while isinstance(inner, list) and len(shape) <= len(spec.shape):
        shape.append(len(inner))
        inner = inner[0] if inner else None
    return tuple(shape)


def write(output: Tensor) -> bytes:
    """Write ``{"predictions": [...]}``, an entry for each instance."""
    values = output.values if output.values.ndim else output.values[None]
    content = {"predictions": np.ascontiguousarray(values)}
    return orjson.dumps(content, option=orjson.OPT_SERIALIZE_NUMPY)
