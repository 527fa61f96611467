"""Models by their names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch", reason="training needs torch: pip install 'dynanoise[train]'")

from dynanoise.core.errors import InputError, UnknownNameError
from dynanoise.training.architecture import make_model, tokenizer_of


def test_registered_names_and_their_parameters() -> None:
    assert make_model("text", width=8).width == 8
    assert tokenizer_of("text") is None
    with pytest.raises(UnknownNameError, match=r"no model 'mlpp'\. Did you mean 'mlp'"):
        make_model("mlpp")


def test_a_transformer(tmp_path: Path) -> None:
    from tests.factories import checkpoints

    text = f"hf:{checkpoints.write(tmp_path / 'tiny')}"
    assert make_model(text).name == "tiny" and make_model(text).pretrained
    assert not make_model(text, pretrained=False).pretrained
    assert tokenizer_of(text) == str(tmp_path / "tiny")


@pytest.mark.parametrize(
    ("text", "parameters", "says"),
    [
        ("hf", {}, "The model 'hf' names no transformer. Add a folder or the hub's name"),
        ("hf:", {}, "The model 'hf:' names no transformer"),
        ("mlp", {"width": 3}, "The model 'mlp' has no parameter 'width'. Known: hidden."),
        ("hf:x", {"revision": "1"}, "'hf:x' has no parameter 'revision'. Known: pretrained."),
    ],
)
def test_what_is_not_there_is_named(text: str, parameters: dict[str, Any], says: str) -> None:
    with pytest.raises(InputError) as caught:
        make_model(text, **parameters)
    assert says in str(caught.value)
