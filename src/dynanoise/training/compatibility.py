"""Whether a model takes the data it is to be trained on, before hours are spent."""

from __future__ import annotations

from typing import Any

from dynanoise.core.errors import InputError
from dynanoise.core.registry import MODELS
from dynanoise.data.dataset import Data

_IMAGE_DIMENSIONS = 4


def kind(data: Data) -> str | None:
    """What the inputs are: "numbers", "images" or "texts"; None if nothing of these.

    >>> from dynanoise.core.registry import DATASETS
    >>> kind(DATASETS.get("digits")())
    'numbers'
    """
    dtype, dimensions = data.inputs.dtype, data.inputs.ndim
    if dtype.kind == "f":
        return "numbers"
    if dtype == "uint8" and dimensions == _IMAGE_DIMENSIONS:
        return "images"
    return "texts" if data.vocabulary_size is not None else None


def check(model: Any, data: Data) -> None:
    """Raises unless the model takes such data.

    A model says so by ``takes``, one of the words of `kind`; and where more must hold than a word
    tells, by a method ``check(data)`` that raises InputError. Without either it is believed.

    Raises:
        InputError: naming models that take them.
    """
    takes, found = getattr(model, "takes", None), kind(data)
    if takes is not None and found is not None and takes != found:
        fitting = [_shown(name) for name in MODELS.names() if _takes(name) == found]
        raise InputError(
            f"The model {_name(model)} takes {takes}, and {data.name} has {_described(data)}.",
            f"Use {' or '.join(fitting)}.",
        )
    if hasattr(model, "check"):
        model.check(data)


def _takes(name: str) -> str | None:
    found: str | None = getattr(MODELS.get(name), "takes", None)
    return found


def _name(model: Any) -> str:
    names = [name for name in MODELS.names() if MODELS.get(name) is type(model)]
    return ":".join([*(names or [type(model).__name__]), *_own_name(model)])


def _own_name(model: Any) -> list[str]:
    return [model.name] if hasattr(model, "name") else []


def _shown(name: str) -> str:
    return "hf:NAME" if name == "hf" else name


def _described(data: Data) -> str:
    shape = data.inputs.shape[1:]
    size = " x ".join(map(str, shape[:2]))
    described = {
        "images": f"images of {size} pixels",
        "texts": f"texts of up to {size} tokens",
    }
    return described.get(kind(data) or "", f"rows of {size} numbers")
