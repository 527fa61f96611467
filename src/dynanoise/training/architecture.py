"""Architectures: models by specification, and the kind of data that each takes."""

from __future__ import annotations

from typing import Any

from dynanoise.core.errors import InputError
from dynanoise.core.registry import MODELS, Spec, parse
from dynanoise.data.dataset import Data

HF = "hf:"

_IMAGE_DIMENSIONS = 4


def make_model(text: str, **parameters: Any) -> Any:
    """Make the model of a specification.

    Args:
        text: a registered name with or without parameters, such as "cnn" or "cnn(width=32)"; or
            "hf:" and a name for `pretrained.find`, such as "hf:distilbert-base-uncased" or
            "hf:distilbert-base-uncased(pretrained=False)".
        parameters: further ones, which replace the text's.

    Raises:
        UnknownNameError: for an unknown model.
        InputError: for a parameter that the model does not have, or an hf without a name.
        DynaNoiseError: if a pretrained model is not found or cannot be read.

    >>> make_model("mlp(hidden=(16,))"), make_model("mlp", hidden=(8,))
    (Mlp(hidden=(16,)), Mlp(hidden=(8,)))
    """
    spec = spec_of(text)
    source = tokenizer_of(text)
    if spec.name == HF.rstrip(":") or source == "":
        raise InputError(
            f"The model {text!r} names no transformer.",
            f"Add a folder or the hub's name of one: {HF}distilbert-base-uncased.",
        )
    parameters = {**spec.parameters, **parameters}
    if source is None:
        return MODELS.make(spec.name, parameters)
    for parameter in parameters:
        if parameter != "pretrained":
            raise InputError(
                f"The model {spec.name!r} has no parameter {parameter!r}.", "Known: pretrained."
            )
    return MODELS.get(HF.rstrip(":")).named(source, **parameters)


def spec_of(text: str) -> Spec:
    """Read the specification of a model.

    Args:
        text: see `make_model`.

    Returns:
        The name, "hf:..." for a transformer, and the parameters.

    >>> spec_of("cnn(width=32)"), spec_of("hf:models/my (old) model").name
    (Spec(name='cnn', parameters={'width': 32}), 'hf:models/my (old) model')
    """
    if text.startswith(HF) and not text.endswith(")"):  # folders may have any name
        return Spec(text, {})
    return parse(text, "model")


def tokenizer_of(text: str) -> str | None:
    """Name of the tokenizer that a model's texts need, for `load_data`; None for no tokenizer.

    Args:
        text: a specification, see `make_model`.

    >>> tokenizer_of("hf:distilbert-base-uncased"), tokenizer_of("text")
    ('distilbert-base-uncased', None)
    """
    name = spec_of(text).name
    return name.removeprefix(HF) if name.startswith(HF) else None


def kind_of(data: Data) -> str | None:
    """The kind of inputs: "numbers", "images" or "texts"; None for any other.

    >>> from dynanoise.core.registry import DATASETS
    >>> kind_of(DATASETS.get("digits")())
    'numbers'
    """
    dtype, dimensions = data.inputs.dtype, data.inputs.ndim
    if dtype.kind == "f":
        return "numbers"
    if dtype == "uint8" and dimensions == _IMAGE_DIMENSIONS:
        return "images"
    return "texts" if data.vocabulary_size is not None else None


def check_data(model: Any, data: Data) -> None:
    """Check that a model takes a data set, before hours of training.

    A model names its kind of data in ``takes``, one of the words of `kind_of`; a further condition
    is a method ``check(data)`` that raises InputError. A model without either takes everything.

    Args:
        model: an architecture.
        data: the data set.

    Raises:
        InputError: if it does not, naming models that do.
    """
    takes, kind = getattr(model, "takes", None), kind_of(data)
    if takes is not None and kind is not None and takes != kind:
        fitting = [_shown(name) for name in MODELS.names() if _takes(name) == kind]
        raise InputError(
            f"The model {_name(model)} takes {takes}, and {data.name} has {_described(data)}.",
            f"Use {' or '.join(fitting)}.",
        )
    if hasattr(model, "check"):
        model.check(data)


def _takes(name: str) -> str | None:
    takes: str | None = getattr(MODELS.get(name), "takes", None)
    return takes


def _name(model: Any) -> str:
    names = [name for name in MODELS.names() if MODELS.get(name) is type(model)]
    pretrained = [model.name] if hasattr(model, "name") else []
    return ":".join([*(names or [type(model).__name__]), *pretrained])


def _shown(name: str) -> str:
    return "hf:NAME" if name == "hf" else name


def _described(data: Data) -> str:
    shape = data.inputs.shape[1:]
    size = " x ".join(map(str, shape[:2]))
    described = {
        "images": f"images of {size} pixels",
        "texts": f"texts of up to {size} tokens",
    }
    return described.get(kind_of(data) or "", f"rows of {size} numbers")
