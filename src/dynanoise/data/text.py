"""Sentences to token ids, by a vocabulary of words or by the tokenizer of a pretrained model."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from dynanoise.core.errors import InputError
from dynanoise.data import pretrained

PADDING, UNKNOWN = 0, 1
WORDS = 64
"""Words of a text: a longer one is cut. The longest sentence of SST-2 has 52 words."""

SUBWORDS = 128
"""Tokens of a text by a pretrained tokenizer, as in arXiv:2505.13362v2: a longer one is cut."""

_WORD = re.compile(r"\w+(?:'\w+)*")


def words(sentence: str) -> list[str]:
    """The words of a text, lower-cased; punctuation is left out.

    >>> words("It's NOT bad, at all .")
    ["it's", 'not', 'bad', 'at', 'all']
    """
    return _WORD.findall(sentence.lower())


@dataclass(frozen=True)
class Vocabulary:
    """Words with numbers from 2; 0 is padding and 1 any other word.

    Attributes:
        known: the words in the order of their numbers.

    >>> vocabulary = Vocabulary.learn(["a good film", "a bad film", "a film"], least=2)
    >>> vocabulary.known, vocabulary.size
    (('a', 'film'), 4)
    >>> vocabulary.encode(["A film, good", "..."], length=4)
    array([[2, 3, 1, 0],
           [1, 0, 0, 0]], dtype=int32)
    """

    known: tuple[str, ...]
    _numbers: dict[str, int] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_numbers", {word: 2 + i for i, word in enumerate(self.known)})

    @classmethod
    def learn(cls, sentences: Iterable[str], *, least: int = 2, most: int = 20_000) -> Vocabulary:
        """The most frequent words, the more frequent first and equally frequent ones sorted.

        Args:
            sentences: of the training part alone, so that the test part stays unseen.
            least: how often a word must occur, >= 1.
            most: how many words are kept, >= 1.

        Raises:
            InputError: if least or most is not positive.
        """
        if least < 1 or most < 1:
            raise InputError(f"least is {least} and most {most}.", "Use integers of at least 1.")
        counts = Counter(word for sentence in sentences for word in words(sentence))
        ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
        return cls(tuple(word for word, count in ordered[:most] if count >= least))

    @property
    def size(self) -> int:
        """How many token ids there are, padding and the unknown word included."""
        return 2 + len(self.known)

    def encode(self, sentences: Sequence[str], length: int = WORDS) -> npt.NDArray[np.int32]:
        """Token ids int32 [N, length], padded with 0 at the end.

        A text without a word becomes one unknown word, so that no row is padding alone.
        """
        tokens = np.full((len(sentences), length), PADDING, dtype=np.int32)
        for row, sentence in enumerate(sentences):
            ids = [self._numbers.get(word, UNKNOWN) for word in words(sentence)[:length]]
            tokens[row, : max(1, len(ids))] = ids or [UNKNOWN]
        return tokens


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

    def encode(self, sentences: Sequence[str], length: int = SUBWORDS) -> npt.NDArray[np.int32]:
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
