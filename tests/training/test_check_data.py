"""Which data which model takes, said before anything is trained."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch", reason="training needs torch: pip install 'dynanoise[train]'")

from dynanoise.benchmark.benchmark import Plan, bench
from dynanoise.benchmark.presets import PRESETS
from dynanoise.core.errors import InputError
from dynanoise.core.registry import MODELS
from dynanoise.core.registry import PRESETS as REGISTRY
from dynanoise.data.dataset import Data
from dynanoise.training import architecture
from dynanoise.training.architecture import make_model

LABELS = np.arange(4) % 2
TABLE = Data("my.csv", np.zeros((4, 30), np.float32), LABELS, 2)
IMAGES = Data("pets", np.zeros((4, 32, 24, 3), np.uint8), LABELS, 2)
TEXTS = Data("films", np.ones((4, 9), np.int32), LABELS, 2, vocabulary_size=7)
TAKES = {"mlp": TABLE, "cnn": IMAGES, "alexnet": IMAGES, "text": TEXTS}


@pytest.mark.parametrize("name", TAKES)
@pytest.mark.parametrize("data", [TABLE, IMAGES, TEXTS], ids=lambda data: data.name)
def test_every_model_takes_one_kind(name: str, data: Data) -> None:
    model = MODELS.get(name)()
    if TAKES[name] is data:
        architecture.check_data(model, data)
    else:
        with pytest.raises(InputError, match=f"^The model {name} takes "):
            architecture.check_data(model, data)


def test_every_model_says_what_it_takes() -> None:
    for name in MODELS.names():
        assert MODELS.get(name).takes in ("numbers", "images", "texts"), name


@pytest.mark.parametrize(
    ("name", "data", "says"),
    [
        ("cnn", TABLE, "The model cnn takes images, and my.csv has rows of 30 numbers. Use mlp."),
        ("mlp", IMAGES, "takes numbers, and pets has images of 32 x 24 pixels. Use alexnet or cnn"),
        ("cnn", TEXTS, "and films has texts of up to 9 tokens. Use hf:NAME or text."),
    ],
)
def test_the_sentence_names_what_fits(name: str, data: Data, says: str) -> None:
    with pytest.raises(InputError) as caught:
        architecture.check_data(MODELS.get(name)(), data)
    assert says in str(caught.value)


def test_a_transformer_takes_the_tokens_of_its_tokenizer(tmp_path: Path) -> None:
    from tests.factories import checkpoints

    model = make_model(f"hf:{checkpoints.write(tmp_path / 'tiny')}")
    architecture.check_data(model, replace(TEXTS, vocabulary_size=checkpoints.SIZE + 1))
    with pytest.raises(InputError, match=r"tokenizer of hf:tiny has 10 tokens.* films has 7\."):
        architecture.check_data(model, TEXTS)
    with pytest.raises(InputError, match=r"hf:tiny takes texts, and my\.csv has rows of 30"):
        architecture.check_data(model, TABLE)


def test_models_of_other_packages_are_believed() -> None:
    class Foreign:
        """Says nothing about what it takes."""

    architecture.check_data(Foreign(), TABLE)


def test_bench_asks_before_it_trains(monkeypatch: pytest.MonkeyPatch) -> None:
    preset = replace(PRESETS["digits"], model="cnn", model_parameters={})
    monkeypatch.setattr(REGISTRY, "get", lambda name: preset)
    trained: list[Any] = []
    with pytest.raises(InputError, match=r"cnn takes images, and digits has rows of 64 numbers"):
        next(bench(Plan("digits", 1), trained.append))
    assert not trained
