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


def words_of(sentence: str) -> list[str]:
    """The words of a text, lower-cased; punctuation is left out.

    >>> words_of("It's NOT bad, at all .")
    ["it's", 'not', 'bad', 'at', 'all']
    """
    return _WORD.findall(sentence.lower())


@dataclass(frozen=True)
class Vocabulary:
    """Words numbered from 2; 0 is padding and 1 any other word.

    Attributes:
        words: the words in the order of their numbers.

    >>> vocabulary = Vocabulary.learn(["a good film", "a bad film", "a film"], least=2)
    >>> vocabulary.words, vocabulary.size
    (('a', 'film'), 4)
    >>> vocabulary.encode(["A film, good", "..."], length=4)
    array([[2, 3, 1, 0],
           [1, 0, 0, 0]], dtype=int32)
    """

    words: tuple[str, ...]
    _numbers: dict[str, int] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_numbers", {word: 2 + i for i, word in enumerate(self.words)})

    @classmethod
    def learn(cls, sentences: Iterable[str], *, least: int = 2, most: int = 20_000) -> Vocabulary:
        """Collect the most frequent words, in that order and equally frequent ones sorted.

        Args:
            sentences: those of the training part alone, so that the test part stays unseen.
            least: number of times a word must occur, >= 1.
            most: number of words that are kept at most, >= 1.

        Raises:
            InputError: if least or most is not positive.
        """
        if least < 1 or most < 1:
            raise InputError(f"least is {least} and most {most}.", "Use integers of at least 1.")
        counts = Counter(word for sentence in sentences for word in words_of(sentence))
        ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
        return cls(tuple(word for word, count in ordered[:most] if count >= least))

    @property
    def size(self) -> int:
        """Number of token ids, padding and the unknown word included."""
        return 2 + len(self.words)

    def encode(self, sentences: Sequence[str], length: int = WORDS) -> npt.NDArray[np.int32]:
        """Encode sentences; one without a word becomes one unknown word, so that no row is empty.

        Args:
            sentences: N of them.
            length: tokens of each; a longer one is cut.

        Returns:
            Token ids int32 [N, length], padded with 0 at the end.
        """
        tokens = np.full((len(sentences), length), PADDING, dtype=np.int32)
        for row, sentence in enumerate(sentences):
            ids = [self._numbers.get(word, UNKNOWN) for word in words_of(sentence)[:length]]
            tokens[row, : max(1, len(ids))] = ids or [UNKNOWN]
        return tokens


@dataclass(frozen=True, eq=False)
class Subwords:
    """A pretrained tokenizer's ids plus one, so that 0 is padding for every tokenizer.

    Attributes:
        tokenizer: a tokenizer of transformers.
    """

    tokenizer: Any

    @classmethod
    def of(cls, what: str) -> Subwords:
        """Load the tokenizer of a pretrained model.

        Args:
            what: see `pretrained.find`.

        Raises:
            MissingDataError, DataFileError: if there is no such model or no tokenizer beside it.
            MissingExtraError: if transformers is not installed.
        """
        checkpoint = pretrained.find(what)
        return cls(pretrained.tokenizer(checkpoint.folder, checkpoint.name))

    @property
    def size(self) -> int:
        """Number of token ids, padding included."""
        return 1 + len(self.tokenizer)

    def encode(self, sentences: Sequence[str], length: int = SUBWORDS) -> npt.NDArray[np.int32]:
        """Encode sentences with the tokenizer's special tokens.

        A text without a token becomes one of the tokenizer's unknown or end tokens, so that no row
        is padding alone.

        Args:
            sentences: N of them.
            length: tokens of each at most; a longer one is cut, also to the model's own limit.

        Returns:
            Token ids int32 [N, L], padded with 0 at the end, as long as the longest text.
        """
        ids = self.tokenizer(
            list(sentences),
            truncation=True,
            max_length=min(length, self.tokenizer.model_max_length),
            return_attention_mask=False,
            return_token_type_ids=False,
        )["input_ids"]
        special = (self.tokenizer.unk_token_id, self.tokenizer.eos_token_id, 0)
        nothing = next(token for token in special if token is not None)
        tokens = np.full((len(ids), max(1, *map(len, ids))), PADDING, dtype=np.int32)
        for row, encoded in enumerate(ids):
            tokens[row, : max(1, len(encoded))] = np.add(encoded or [nothing], 1)
        return tokens
