"""Tiny transformers with random weights, and tokenizers of nine tokens, as save_pretrained does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

torch: Any = pytest.importorskip("torch", reason="pip install 'dynanoise[train]'")
transformers: Any = pytest.importorskip("transformers", reason="pip install 'dynanoise[hf]'")

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
WORDS = ["a", "bad", "film", "good", "not"]
SIZE = len(SPECIAL) + len(WORDS)
KINDS = ("distilbert", "bert", "roberta", "gpt2")
POSITIONS = 32

SENTENCES = ["a good film", "a bad film", "Good", "not a good film", "bad bad", "unheard of"]


def tokenizer(kind: str) -> Any:
    """Words and special tokens; RoBERTa's padding is 1, GPT-2 has no tokens around a text."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

    special = ["[CLS]", "[PAD]", "[SEP]", "[UNK]"] if kind == "roberta" else SPECIAL
    ids = {word: number for number, word in enumerate(special + WORDS)}
    result = Tokenizer(models.WordLevel(ids, unk_token="[UNK]"))
    result.normalizer = normalizers.Lowercase()
    result.pre_tokenizer = pre_tokenizers.Whitespace()
    names = {"unk_token": "[UNK]", "pad_token": "[PAD]"}
    if kind != "gpt2":
        around = [(word, ids[word]) for word in ("[CLS]", "[SEP]")]
        result.post_processor = processors.TemplateProcessing("[CLS] $A [SEP]", None, around)
        names |= {"cls_token": "[CLS]", "sep_token": "[SEP]"}
    return transformers.PreTrainedTokenizerFast(tokenizer_object=result, **names)


def config(kind: str) -> Any:
    """Weights so large that every input shows in the logits."""
    common = {"vocab_size": SIZE, "initializer_range": 0.5, "pad_token_id": 0}
    ends = {"bos_token_id": None, "eos_token_id": None}
    if kind == "distilbert":
        return transformers.DistilBertConfig(
            dim=16,
            n_layers=1,
            n_heads=2,
            hidden_dim=32,
            max_position_embeddings=POSITIONS,
            **common,
        )
    if kind == "gpt2":
        return transformers.GPT2Config(
            n_embd=16, n_layer=1, n_head=2, n_positions=POSITIONS, **common, **ends
        )
    make = transformers.RobertaConfig if kind == "roberta" else transformers.BertConfig
    return make(
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=POSITIONS,
        **(common | ends | {"pad_token_id": 1 if kind == "roberta" else 0}),
    )


def write(
    folder: Path, kind: str = "distilbert", *, seed: int = 0, head: int | None = None
) -> Path:
    """A model without a classification head, or with one of ``head`` classes, and its tokenizer."""
    if head is None:
        make = transformers.AutoModel
    else:
        make = transformers.AutoModelForSequenceClassification
    logging = transformers.utils.logging
    bars = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        chosen = config(kind)
        chosen.num_labels = head or 2
        make.from_config(chosen).save_pretrained(folder)
    tokenizer(kind).save_pretrained(folder)
    if bars:
        logging.enable_progress_bar()
    return folder
