"""Models by specification: a registered name, or hf: and a pretrained transformer."""

from __future__ import annotations

from typing import Any

from dynanoise.core.errors import InputError
from dynanoise.core.registry import MODELS
from dynanoise.core.spec import Spec, parse

HF = "hf:"


def named(text: str, **parameters: Any) -> Any:
    """Make the model of a specification.

    Args:
        text: a registered name with or without parameters, such as "cnn" or "cnn(width=32)"; or
            "hf:" and what `checkpoints.find` finds, such as "hf:distilbert-base-uncased" or
            "hf:distilbert-base-uncased(pretrained=False)".
        parameters: further ones, which replace the text's.

    Raises:
        UnknownNameError: if there is no such model.
        InputError: for a parameter that the model does not have, or an hf without a name.
        DynaNoiseError: whatever finding a pretrained model raises.

    >>> named("mlp(hidden=(16,))"), named("mlp", hidden=(8,))
    (Mlp(hidden=(16,)), Mlp(hidden=(8,)))
    """
    name, own = spec_of(text)
    source = tokenizer_of(text)
    if name == HF.rstrip(":") or source == "":
        raise InputError(
            f"The model {text!r} names no transformer.",
            f"Add a folder or the hub's name of one: {HF}distilbert-base-uncased.",
        )
    parameters = {**own, **parameters}
    if source is None:
        return MODELS.make(name, parameters)
    for parameter in parameters:
        if parameter != "pretrained":
            raise InputError(
                f"The model {name!r} has no parameter {parameter!r}.", "Known: pretrained."
            )
    return MODELS.get(HF.rstrip(":")).named(source, **parameters)


def spec_of(text: str) -> Spec:
    """Read the specification of a model.

    >>> spec_of("hf:somebody's model").name
    "hf:somebody's model"
    """
    if text.startswith(HF) and not text.endswith(")"):  # folders may have any name
        return Spec(text, {})
    return parse(text, "model")


def tokenizer_of(text: str) -> str | None:
    """Name of the tokenizer that a model's texts need, for `catalog.load`; None for no tokenizer.

    >>> tokenizer_of("hf:distilbert-base-uncased"), tokenizer_of("text")
    ('distilbert-base-uncased', None)
    """
    name = spec_of(text).name
    return name.removeprefix(HF) if name.startswith(HF) else None
