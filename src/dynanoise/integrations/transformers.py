"""A transformers pipeline with defended scores: `defend`."""

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

PIPELINES = ("TextClassificationPipeline", "ImageClassificationPipeline")
"""Classes of pipelines; a task can have several names, such as "sentiment-analysis"."""


def defend(pipeline: Any, defense: Defense, noise: Noise | None) -> Any:
    """Copy a pipeline and put a defense behind its model.

    A shallow copy whose model returns ln of the defended probabilities as its logits and nothing
    else (no hidden states, attentions or loss). So ``softmax``, the pipeline's default, gives those
    probabilities back, up to float32 rounding (relative 1e-6), with the same largest entry;
    ``function_to_apply="none"`` gives their logarithms and ``"sigmoid"`` p / (1 + p), which reveal
    no more. Batches, ``top_k`` and devices work as before. The original pipeline stays undefended:
    keep it out of reach of clients.

    Threat model: that of the noise source, for an attacker who sees the pipeline's scores only.

    Args:
        pipeline: a transformers pipeline for text or image classification with one label an input
            and at least two classes.
        defense: fitted, where it must be.
        noise: the noise source; None for fresh noise that the operating system seeds anew for each
            prediction. For keyed noise `weights_digest(pipeline.model)` names the weights.

    Returns:
        A pipeline of the same class.

    Raises:
        InputError: for another kind of pipeline or model, or one that is defended already; from
            the pipeline, as from `Defended`.
        MissingExtraError: if transformers is not installed.
    """
    library = require("transformers", "A pipeline")
    kinds = tuple(getattr(library, name) for name in PIPELINES)
    model = getattr(pipeline, "model", None)
    if not isinstance(pipeline, kinds) or not isinstance(model, nn.Module):
        raise InputError(
            f"pipeline is of type {type(pipeline).__name__}.",
            f"Pass a transformers pipeline: {' or '.join(PIPELINES)}.",
        )
    if isinstance(model, DefendedModel):
        raise InputError("The pipeline is defended already.", "Defend the original one.")
    config: Any = model.config
    kind, classes = config.problem_type, config.num_labels
    if kind not in (None, "single_label_classification") or classes < 2:
        raise InputError(
            f"The model has problem_type {kind!r} and {classes} label(s): its outputs are not "
            "a distribution over classes.",
            "Defend a model that gives each input one label of two or more.",
        )
    defended = copy.copy(pipeline)
    defended.model = DefendedModel(Defended(model, defense, noise, output="logits"))
    return defended


class DefendedModel(nn.Module):
    """Replacement of a pipeline's model: its logits are ln of defended probabilities.

    Args:
        defended: the wrapped model.
    """

    def __init__(self, defended: Defended) -> None:
        super().__init__()
        self.defended = defended
        self.training = defended.training

    @property
    def config(self) -> Any:
        """Configuration of the model: labels and their names."""
        return self.defended.module.config

    @property
    def device(self) -> Any:
        """Device of the model."""
        return self.defended.module.device

    @property
    def dtype(self) -> Any:
        """Dtype of the model, to which images are converted."""
        return self.defended.module.dtype

    def can_generate(self) -> bool:
        """False: a classifier generates no text."""
        return False

    def forward(self, **inputs: Any) -> Any:
        """Compute a ModelOutput with ``logits`` alone, float32, on the model's device."""
        outputs = require("transformers.modeling_outputs", "A pipeline")
        if "use_cache" in inspect.signature(self.defended.module.forward).parameters:
            inputs["use_cache"] = False  # as the pipeline does where it sees such a parameter
        probs, clean = self.defended.forward_wide(**inputs)
        logits = torch.from_numpy(log_probs_of(probs.double().numpy()))
        return outputs.SequenceClassifierOutput(logits=logits.to(clean.device))


def log_probs_of(probs: Float64) -> Any:
    """Compute ln p in float32 such that its float32 softmax keeps the argmax of p.

    Float32 holds logarithms coarser than the probabilities of a near-tie: there the winner is
    raised by a few units in the last place.

    Args:
        probs: [..., K].

    Returns:
        float32 [..., K].

    >>> rows = log_probs_of(np.array([[0.1, 0.9, 0.0]]))
    >>> np.exp(rows.astype(float)).round(6).tolist()
    [[0.1, 0.9, 0.0]]
    """
    rows = numerics.log_probabilities(probs).astype(np.float32)
    winners = probs.argmax(axis=-1)[..., None]
    top = np.take_along_axis(rows, winners, axis=-1)
    others = rows.copy()
    np.put_along_axis(others, winners, np.float32(-np.inf), axis=-1)
    second = others.max(axis=-1, keepdims=True)
    raised = np.maximum(top, second + 8 * np.spacing(np.abs(second)))
    np.put_along_axis(rows, winners, raised, axis=-1)
    return rows
