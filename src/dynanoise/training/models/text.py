"""A text classifier for a processor: trained word embeddings, averaged, and a small network."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn


class MeanEmbedding(nn.Module):
    """The mean embedding [b, D] of token ids [b, L] other than padding, which is 0.

    Ids beyond the vocabulary count as 1, the unknown word.
    """

    def __init__(self, vocabulary: int, width: int) -> None:
        super().__init__()
        self.vocabulary = vocabulary
        self.table = nn.Embedding(vocabulary, width, padding_idx=0)

    def forward(self, tokens: Tensor) -> Tensor:
        """The mean embedding; zero for an empty text.

        Args:
            tokens: int [b, L].

        Returns:
            float32 [b, D].
        """
        ids = torch.where(tokens < self.vocabulary, tokens, torch.ones_like(tokens)).long()
        present = (ids != 0).sum(dim=1, keepdim=True).clamp(min=1)
        mean: Tensor = self.table(ids).sum(dim=1) / present
        return mean


@dataclass(frozen=True)
class Text:
    """Mean embedding, one hidden layer with dropout, one linear layer.

    Args:
        vocabulary: number of token ids with an embedding each.
        width: size of the embeddings and of the hidden layer.
        dropout: share of hidden values left out in training.

    >>> sum(p.numel() for p in Text(vocabulary=100, width=8).build((64,), 2).parameters())
    890
    """

    vocabulary: int = 20_000
    width: int = 128
    dropout: float = 0.3
    takes: ClassVar[str] = "texts"
    version: ClassVar[int] = 1
    stored_as: ClassVar[str] = "dynanoise.training.models.text.Text"

    def build(self, shape: tuple[int, ...], classes: int) -> nn.Module:
        """Build a module from integer token ids [n, L] to logits [n, classes].

        Args:
            shape: (L,).
            classes: number of logits.
        """
        return nn.Sequential(
            MeanEmbedding(self.vocabulary, self.width),
            nn.Linear(self.width, self.width),
            nn.ReLU(),
            nn.Dropout(self.dropout),
            nn.Linear(self.width, classes),
        )


MODELS = {"text": Text}
