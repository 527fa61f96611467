"""A transformers pipeline whose scores are defended."""

from __future__ import annotations

import copy
import inspect
from typing import Any

import numpy as np
import torch
from torch import nn

from dynanoise.core import numerics
from dynanoise.core.defense import Defense, Noise
from dynanoise.core.errors import InputError
from dynanoise.core.extras import require
from dynanoise.core.numerics import Float64
from dynanoise.integrations.torch import Defended

TASKS = ("text-classification", "image-classification")


def defend(pipeline: Any, defense: Defense, noise: Noise | None) -> Any:
    """The same pipeline with defended scores.

    A shallow copy whose model returns ln of the defended probabilities as its logits and nothing
    else (no hidden states, attentions or loss). So ``softmax``, what the pipeline does by default,
    gives those probabilities back, up to float32 rounding (relative 1e-6), with the same largest
    entry; ``function_to_apply="none"`` gives their logarithms and ``"sigmoid"`` p / (1 + p), which
    tell no more. Batches, ``top_k`` and devices work as before. The given pipeline stays
    undefended: let it go out of reach of whoever asks.

    Threat model: that of the noise source, for who sees the pipeline's answers only.

    Args:
        pipeline: of transformers, for text or image classification with one label an input and at
            least two classes.
        defense: fitted, where it must be.
        noise: where its randomness comes from; None for fresh noise that the operating system seeds
            anew for each answer. For keyed noise `weights_digest(pipeline.model)` names the
            weights.

    Returns:
        A pipeline of the same class.

    Raises:
        InputError: for another kind of pipeline or model; one that is defended already; when asked,
            as `Defended` does.
        MissingExtraError: if transformers is not installed.
    """
    require("transformers", "A pipeline")
    task = getattr(pipeline, "task", None)
    model = getattr(pipeline, "model", None)
    if task not in TASKS or not isinstance(model, nn.Module):
        raise InputError(
            f"pipeline is of type {type(pipeline).__name__} for the task {task!r}.",
            f"Pass a transformers pipeline for {' or '.join(TASKS)}.",
        )
    if isinstance(model, DefendedModel):
        raise InputError("The pipeline is defended already.", "Defend the original one.")
    config: Any = model.config
    kind, classes = config.problem_type, config.num_labels
    if kind not in (None, "single_label_classification") or classes < 2:
        raise InputError(
            f"The model has problem_type {kind!r} and {classes} label(s): its answers are no "
            "distribution over classes.",
            "Defend a model that gives each input one label of two or more.",
        )
    defended = copy.copy(pipeline)
    defended.model = DefendedModel(Defended(model, defense, noise, output="logits"))
    return defended


class DefendedModel(nn.Module):
    """Stands in a pipeline for its model: answers ln of defended probabilities.

    Args:
        defended: the module whose probabilities it gives.
    """

    def __init__(self, defended: Defended) -> None:
        super().__init__()
        self.defended = defended
        self.training = defended.training

    @property
    def config(self) -> Any:
        """The model's: labels and their names."""
        return self.defended.module.config

    @property
    def device(self) -> Any:
        """Where the model is."""
        return self.defended.module.device

    @property
    def dtype(self) -> Any:
        """The model's, which images are brought to."""
        return self.defended.module.dtype

    def can_generate(self) -> bool:
        """A classifier does not."""
        return False

    def forward(self, **inputs: Any) -> Any:
        """A ModelOutput with ``logits`` alone, float32, on the model's device."""
        outputs = require("transformers.modeling_outputs", "A pipeline")
        if "use_cache" in inspect.signature(self.defended.module.forward).parameters:
            inputs["use_cache"] = False  # as the pipeline does where it sees such a parameter
        probs, clean = self.defended.wide(**inputs)
        rows = torch.from_numpy(logits_of(probs.double().numpy()))
        return outputs.SequenceClassifierOutput(logits=rows.to(clean.device))


def logits_of(probs: Float64) -> Any:
    """ln p in float32, [..., K], whose float32 softmax has the argmax of p.

    Float32 holds logarithms coarser than the probabilities of a near-tie: there the winner is
    raised by a few units in the last place.

    >>> rows = logits_of(np.array([[0.1, 0.9, 0.0]]))
    >>> np.exp(rows.astype(float)).round(6).tolist()
    [[0.1, 0.9, 0.0]]
    """
    rows = numerics.log_probabilities(probs).astype(np.float32)
    winners = probs.argmax(axis=-1)[..., None]
    own = np.take_along_axis(rows, winners, axis=-1)
    others = rows.copy()
    np.put_along_axis(others, winners, np.float32(-np.inf), axis=-1)
    best = others.max(axis=-1, keepdims=True)
    np.put_along_axis(rows, winners, np.maximum(own, best + 8 * np.spacing(np.abs(best))), axis=-1)
    return rows
