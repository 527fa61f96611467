"""Models by whatever names them: a registered name, or hf: and a pretrained transformer."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from dynanoise.core.errors import InputError
from dynanoise.core.registry import MODELS

HF = "hf:"


def named(text: str, **parameters: Any) -> Any:
    """The model that ``text`` names.

    Args:
        text: a registered name, such as "cnn"; or "hf:" and what `checkpoints.find` finds, such as
            "hf:distilbert-base-uncased".
        parameters: of the model's dataclass; of hf, those of `Hf.named`.

    Raises:
        UnknownNameError: if no model is called so.
        InputError: for a parameter that the model does not have, or an hf without a name.
        DynaNoiseError: whatever finding a pretrained model raises.

    >>> named("mlp", hidden=(8,))
    Mlp(hidden=(8,))
    """
    source = tokenizer_of(text)
    if text == HF.rstrip(":") or source == "":
        raise InputError(
            f"The model {text!r} names no transformer.",
            f"Add a folder or the hub's name of one: {HF}distilbert-base-uncased.",
        )
    kind = MODELS.get(text if source is None else HF.rstrip(":"))
    known = {field.name for field in fields(kind)}
    if source is not None:
        known &= {"pretrained"}
    for parameter in parameters:
        if parameter not in known:
            raise InputError(
                f"The model {text!r} has no parameter {parameter!r}.",
                f"Known: {', '.join(sorted(known)) or 'none'}.",
            )
    return kind(**parameters) if source is None else kind.named(source, **parameters)


def tokenizer_of(text: str) -> str | None:
    """Whose tokenizer the texts of a model need, for `anything.load`; None for their own words.

    >>> tokenizer_of("hf:distilbert-base-uncased"), tokenizer_of("text")
    ('distilbert-base-uncased', None)
    """
    return text.removeprefix(HF) if text.startswith(HF) else None
