"""SST-2 (Socher et al. 2013): sentences of film reviews, negative (0) or positive (1)."""

from __future__ import annotations

from pathlib import Path

from dynanoise.data.dataset import Data
from dynanoise.data.hub_layout import Decoding
from dynanoise.data.sources import Published, load_published

SST2 = Published("sst2", ("sst2",), "stanfordnlp/sst2", ("train", "validation"))


def sst2(
    folder: Path | None = None,
    *,
    least: int = 2,
    most: int = 20_000,
    length: int | None = None,
    tokenizer: str | None = None,
) -> Data:
    """Load the training part and, from ``test_from`` on, the validation part and the test part.

    The hub's copy hides the labels of the test part, which is then left out. It also adds 60,000
    phrases of the same sentences to the training part; the sentence-level split has 6,920
    sentences for training, 872 for validation and 1,821 for testing.

    Args:
        folder: first folder to look in, for ``sst2``.
        least: a word of the vocabulary occurs at least so often in the training part, >= 1.
        most: number of words that are kept at most, >= 1.
        length: tokens of a record; None for 64 words, or up to 128 of a tokenizer's tokens.
        tokenizer: the pretrained model whose tokenizer is used instead of a vocabulary, see
            `pretrained.find`.

    Returns:
        Inputs int32 [N, L], token ids padded with 0, as `text.Vocabulary` or `text.Subwords` makes
        them.

    Raises:
        MissingDataError: if no source has it or the tokenizer.
        DataFileError: if the tokenizer cannot be read.
        MissingExtraError: if pyarrow, or transformers for a tokenizer, is not installed.
    """
    return load_published(SST2, folder, Decoding(None, least, most, length, tokenizer))


DATASETS = {"sst2": sst2}
