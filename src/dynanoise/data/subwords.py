"""Sentences to token ids, by the tokenizer of a pretrained model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from dynanoise.data import pretrained
from dynanoise.data.text import PADDING

LENGTH = 128
"""Tokens of a text, as in arXiv:2505.13362v2: a longer one is cut."""


@dataclass(frozen=True, eq=False)
class Subwords:
    """A pretrained tokenizer's ids plus one, so that 0 is padding for every tokenizer.

    Attributes:
        tokenizer: of transformers.
    """

    tokenizer: Any

    @classmethod
    def of(cls, what: str) -> Subwords:
        """The tokenizer of a pretrained model, see `pretrained.find`.

        Raises:
            MissingDataError, DataFileError: if there is no such model or no tokenizer beside it.
            MissingExtraError: if transformers is not installed.
        """
        found = pretrained.find(what)
        return cls(pretrained.tokenizer(found.folder, found.name))

    @property
    def size(self) -> int:
        """How many token ids there are, padding included."""
        return 1 + len(self.tokenizer)

    def encode(self, sentences: Sequence[str], length: int = LENGTH) -> npt.NDArray[np.int32]:
        """Token ids int32 [N, L] with the special tokens, padded with 0 at the end.

        L is what the longest text needs, at most ``length`` and what the tokenizer says its model
        takes. A text without a token becomes one of the tokenizer's unknown or end tokens, so that
        no row is padding alone.
        """
        ids = self.tokenizer(
            list(sentences),
            truncation=True,
            max_length=min(length, self.tokenizer.model_max_length),
            return_attention_mask=False,
            return_token_type_ids=False,
        )["input_ids"]
        special = (self.tokenizer.unk_token_id, self.tokenizer.eos_token_id, 0)
        nothing = next(one for one in special if one is not None)
        tokens = np.full((len(ids), max(1, *map(len, ids))), PADDING, dtype=np.int32)
        for row, found in enumerate(ids):
            tokens[row, : max(1, len(found))] = np.add(found or [nothing], 1)
        return tokens
