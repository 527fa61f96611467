"""Transformers as models: what they answer, where their weights come from, and what they refuse."""

from __future__ import annotations

import json
import pickle
import shutil
import socket
import warnings
from dataclasses import asdict, replace
from io import StringIO
from logging import StreamHandler
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch: Any = pytest.importorskip("torch", reason="pip install 'dynanoise[train]'")

from dynanoise.core.errors import DataFileError, InputError  # noqa: E402
from dynanoise.core.registry import RECIPES  # noqa: E402
from dynanoise.data.dataset import Data  # noqa: E402
from dynanoise.data.text import Subwords  # noqa: E402
from dynanoise.training import loop  # noqa: E402
from dynanoise.training.execution.outputs import outputs_of  # noqa: E402
from dynanoise.training.jobs import Job, train_and_query  # noqa: E402
from dynanoise.training.models.hf import Hf  # noqa: E402
from dynanoise.training.schedule import Schedule  # noqa: E402
from dynanoise.training.store.store import Store, key  # noqa: E402
from tests.factories import checkpoints  # noqa: E402
from tests.factories.checkpoints import KINDS, SENTENCES  # noqa: E402


@pytest.fixture(autouse=True)
def _no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: Any, **kwargs: Any) -> None:
        raise AssertionError("a folder needs no network")

    monkeypatch.setattr(socket.socket, "connect", refuse)


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    return checkpoints.write(tmp_path / "tiny")


def seeded(model: Hf, seed: int, length: int = 6, classes: int = 2) -> Any:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return model.build((length,), classes)


def data_of(folder: Path) -> Data:
    """Texts of "good" are 1, those of "bad" 0."""
    subwords = Subwords.of(str(folder))
    words = np.random.default_rng(0).choice(["a", "film", "not"], (60, 3))
    texts = [f"{' '.join(row)} {('bad', 'good')[i % 2]}" for i, row in enumerate(words)]
    labels = np.arange(60) % 2
    return Data("films", subwords.encode(texts), labels, 2, vocabulary_size=subwords.size)


def job(folder: Path, **changes: Any) -> Job:
    plain = Job(
        name="target",
        model=Hf.named(str(folder)),
        recipe=RECIPES.get("plain")(Schedule(epochs=8, batch=16, learning_rate=1e-2)),
        members=np.arange(40),
        reference=np.arange(40, 50),
        seed=1,
    )
    return replace(plain, **changes)


@pytest.mark.parametrize("kind", KINDS)
def test_it_answers_as_the_library_does_with_its_own_inputs(tmp_path: Path, kind: str) -> None:
    """Ids, padding (1 for RoBERTa), the mask and positions."""
    folder = checkpoints.write(tmp_path / kind, kind)
    tokens = torch.from_numpy(Subwords.of(str(folder)).encode(SENTENCES))
    model = seeded(Hf.named(str(folder)), 0, length=tokens.shape[1])
    theirs = checkpoints.tokenizer(kind)(SENTENCES, padding=True, return_tensors="pt")
    theirs.pop("token_type_ids", None)
    with torch.inference_mode():
        expected = model.network(**theirs).logits
    answered = loop.predict(model, tokens)
    torch.testing.assert_close(answered, expected)
    assert expected.std(dim=0).min() > 0.05  # else everything would be close
    longer = torch.nn.functional.pad(tokens, (0, 5))
    torch.testing.assert_close(loop.predict(model, longer), expected)
    assert torch.isfinite(loop.predict(model, torch.zeros_like(tokens))).all()
    many = tokens.repeat(30, 1)  # answered in several parts
    torch.testing.assert_close(loop.predict(model, many), expected.repeat(30, 1))


def test_batches_are_cut_behind_the_last_token(tiny: Path) -> None:
    """Not at their number of tokens: random inputs may hold padding anywhere."""
    lengths = list[int]()
    model = seeded(Hf.named(str(tiny)), 0, length=9)
    model.network.register_forward_pre_hook(
        lambda module, args, kwargs: lengths.append(kwargs["input_ids"].shape[1]), with_kwargs=True
    )
    tokens = torch.zeros(3, 9, dtype=torch.int32)
    tokens[:, [0, 4]] = 5
    loop.predict(model, tokens)
    loop.predict(model, torch.zeros_like(tokens))
    assert lengths == [5, 1]


def test_the_head_is_the_seeds_and_the_rest_the_folders(tiny: Path) -> None:
    from safetensors.torch import load_file

    model = Hf.named(str(tiny))
    first, again, other = (seeded(model, seed).state_dict() for seed in (1, 1, 2))
    saved = load_file(tiny / "model.safetensors")
    fresh = {name for name in first if not torch.equal(first[name], other[name])}
    assert fresh == {"network.pre_classifier.weight", "network.classifier.weight"}
    assert all(torch.equal(first[name], again[name]) for name in first)
    for name, value in saved.items():
        assert torch.equal(first[f"network.distilbert.{name}"], value)


def test_nothing_reseeds_torch(tiny: Path) -> None:
    """Or dropout and order would be the same for every seed."""
    model, after = Hf.named(str(tiny)), []
    for seed in (1, 1, 2):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            model.build((6,), 2)
            after.append(torch.rand(1).item())
    assert after[0] == after[1] != after[2]


def test_random_weights_only_when_asked_for(tmp_path: Path, tiny: Path) -> None:
    (tiny / "model.safetensors").unlink()
    with pytest.raises(DataFileError, match=r"tiny has no weights .* pretrained=False"):
        Hf.named(str(tiny))
    model = Hf.named(str(tiny), pretrained=False)
    first, again, other = (seeded(model, seed).state_dict() for seed in (1, 1, 2))
    name = "network.distilbert.embeddings.word_embeddings.weight"
    assert torch.equal(first[name], again[name]) and not torch.equal(first[name], other[name])
    whole = Hf.named(str(checkpoints.write(tmp_path / "whole")), pretrained=False)
    assert not torch.equal(
        seeded(whole, 1).state_dict()[name],
        seeded(replace(whole, pretrained=True), 1).state_dict()[name],
    )


def test_a_head_of_other_classes_is_replaced_and_one_that_fits_kept(tmp_path: Path) -> None:
    model = Hf.named(str(checkpoints.write(tmp_path / "headed", head=3)))
    name = "network.classifier.weight"
    kept = [seeded(model, seed, classes=3).state_dict()[name] for seed in (1, 2)]
    assert torch.equal(*kept)
    fresh = [seeded(model, seed, classes=4).state_dict()[name] for seed in (1, 2)]
    assert fresh[0].shape == (4, 16) and not torch.equal(*fresh)


@pytest.mark.behaviour
def test_training_repeats_itself_learns_and_is_stored(tmp_path: Path, tiny: Path) -> None:
    data, store = data_of(tiny), Store(tmp_path / "store")
    first = outputs_of(job(tiny), data, store)
    guesses = first.logits[:, 0].argmax(axis=1)
    assert (guesses == data.labels).mean() > 0.9
    again = train_and_query(job(tiny), data)
    np.testing.assert_array_equal(first.logits, again.outputs.logits)
    weights = store.weights(key(job(tiny), data))
    rebuilt = seeded(Hf.named(str(tiny)), 5)
    rebuilt.load_state_dict(weights)
    answered = loop.predict(rebuilt, torch.from_numpy(data.inputs)).numpy()
    np.testing.assert_array_equal(answered, first.logits[:, 0])


def test_dropout_is_the_networks_own(tiny: Path) -> None:
    tokens = torch.from_numpy(data_of(tiny).inputs[:8])
    model = seeded(Hf.named(str(tiny)), 0)
    assert not model.training and torch.equal(model(tokens), model(tokens))
    model.train()
    assert not torch.equal(model(tokens), model(tokens))


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "tokenizer.json"])
def test_a_stored_model_is_known_by_what_is_in_the_files(
    tmp_path: Path, tiny: Path, name: str
) -> None:
    data = data_of(tiny)
    before = key(job(tiny), data)
    copied = Path(shutil.copytree(tiny, tmp_path / "elsewhere" / "tiny"))
    assert key(job(copied), data) == before
    content = (copied / name).read_bytes()
    if name == "model.safetensors":
        checkpoints.write(copied, seed=1)
    else:
        (copied / name).write_bytes(content + b"\n")
    assert (copied / name).read_bytes() != content
    assert key(job(copied), data) != before
    random = replace(job(tiny).model, pretrained=False)
    assert key(job(tiny, model=random), data) != before


def test_other_versions_of_the_library_train_again(
    tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import sys

    data = data_of(tiny)
    before = key(job(tiny), data)
    monkeypatch.setattr(sys.modules["transformers"], "__version__", "5.99")
    assert key(job(tiny), data) != before


def test_where_it_lies_goes_to_workers_and_not_into_records(tiny: Path) -> None:
    model = Hf.named(str(tiny))
    written = json.dumps(asdict(model)) + repr(model)
    assert str(tiny.parent) not in written
    assert asdict(model) == {"name": "tiny", "revision": model.revision, "pretrained": True}
    assert len(model.revision) == len("sha256:") + 64
    sent = pickle.loads(pickle.dumps(model))
    assert sent == model and sent.folder == tiny
    assert replace(model, pretrained=False).folder == tiny
    with pytest.raises(InputError, match="does not know its files"):
        Hf("tiny", "main").build((6,), 2)


def test_files_that_change_during_a_run_are_noticed(tiny: Path) -> None:
    model = Hf.named(str(tiny))
    checkpoints.write(tiny, seed=1)
    with pytest.raises(DataFileError, match="files of tiny have changed"):
        model.build((6,), 2)


def test_it_says_nothing(
    tiny: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bars and reports of the library would break into the progress of a run."""
    from transformers.utils import logging

    before = logging.get_verbosity(), logging.is_progress_bar_enabled()
    # The library's handler holds on to an earlier standard error, which nobody captures.
    said: list[str] = []
    listener = StreamHandler(StringIO())
    monkeypatch.setattr(listener, "emit", lambda record: said.append(record.getMessage()))
    logging.get_logger().addHandler(listener)
    Subwords.of(str(tiny)).encode(["a film " * 300])
    Hf.named(str(tiny)).build((6,), 2)
    logging.get_logger().removeHandler(listener)
    assert (said, *capfd.readouterr()) == ([], "", "")
    assert (logging.get_verbosity(), logging.is_progress_bar_enabled()) == before


def test_pickled_weights_are_refused(tiny: Path) -> None:
    (tiny / "model.safetensors").rename(tiny / "pytorch_model.bin")
    with pytest.raises(DataFileError, match=r"weights of tiny are in pytorch_model\.bin, a pickle"):
        Hf.named(str(tiny))


def test_code_that_comes_with_a_model_is_not_run(tiny: Path, tmp_path: Path) -> None:
    ran = tmp_path / "ran"
    (tiny / "mine.py").write_text(f"open({str(ran)!r}, 'w')\n")
    config = json.loads((tiny / "config.json").read_text())
    config["model_type"] = "mine"
    config["auto_map"] = {
        "AutoConfig": "mine.Config",
        "AutoModelForSequenceClassification": "mine.Model",
    }
    (tiny / "config.json").write_text(json.dumps(config))
    with pytest.raises(DataFileError, match=r"^transformers cannot read tiny \(ValueError"):
        Hf.named(str(tiny)).build((6,), 2)
    assert not ran.exists()


def test_weights_of_another_architecture_are_refused(tmp_path: Path, tiny: Path) -> None:
    """The library would fill in random ones."""
    bert = checkpoints.write(tmp_path / "bert", "bert")
    shutil.copy(bert / "model.safetensors", tiny)
    with pytest.raises(DataFileError, match=r"weights of tiny are not those of its config\.json"):
        Hf.named(str(tiny)).build((6,), 2)
    config = json.loads((bert / "config.json").read_text())
    (bert / "config.json").write_text(json.dumps(config | {"hidden_size": 8}))
    with pytest.raises(DataFileError, match="is of another size"):
        Hf.named(str(bert)).build((6,), 2)


def test_a_pooler_may_be_fresh(tmp_path: Path) -> None:
    """BERT as a language model is published without."""
    from safetensors.torch import load_file, save_file

    bert = checkpoints.write(tmp_path / "bert", "bert")
    weights = load_file(bert / "model.safetensors")
    kept = {name: value for name, value in weights.items() if "pooler" not in name}
    assert len(kept) == len(weights) - 2
    save_file(kept, bert / "model.safetensors", {"format": "pt"})
    name = "network.bert.pooler.dense.weight"
    model = Hf.named(str(bert))
    assert not torch.equal(*(seeded(model, seed).state_dict()[name] for seed in (1, 2)))


def test_encoder_decoders_are_refused(tiny: Path) -> None:
    config = checkpoints.transformers.BartConfig(vocab_size=9, d_model=16)
    config.save_pretrained(tiny)
    with pytest.raises(DataFileError, match="tiny is an encoder and a decoder"):
        Hf.named(str(tiny)).build((6,), 2)


@pytest.mark.parametrize("kind", KINDS)
def test_texts_longer_than_its_positions_are_refused(tmp_path: Path, kind: str) -> None:
    model = Hf.named(str(checkpoints.write(tmp_path / kind, kind)))
    with pytest.raises(InputError, match=r"cannot take texts of 33 tokens .* it has 32 positions"):
        model.build((33,), 2)


def test_tokens_of_another_vocabulary_are_refused(tiny: Path) -> None:
    model, data = Hf.named(str(tiny)), data_of(tiny)
    model.check(data)
    with pytest.raises(InputError, match=r"tokenizer of hf:tiny has 10 tokens.* films has 500"):
        model.check(replace(data, vocabulary_size=500))


@pytest.mark.parametrize("kind", KINDS)
def test_opacus_gets_the_gradient_of_each_text(tmp_path: Path, kind: str) -> None:
    """The same as from a batch of that text alone, position embeddings included."""
    opacus: Any = pytest.importorskip("opacus", reason="pip install 'dynanoise[dp]'")
    folder = checkpoints.write(tmp_path / kind, kind)
    tokens = torch.from_numpy(Subwords.of(str(folder)).encode(SENTENCES[:4]))
    labels = torch.tensor([1, 0, 1, 0])
    model = seeded(Hf.named(str(folder)), 0, length=tokens.shape[1])
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    expected = []
    for row in range(len(tokens)):
        model.zero_grad()
        alone = slice(row, row + 1)
        torch.nn.functional.cross_entropy(model(tokens[alone]), labels[alone]).backward()
        expected.append([parameter.grad for parameter in model.parameters()])
    model.zero_grad()
    wrapped = opacus.GradSampleModule(model.train(), loss_reduction="sum")
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Full backward hook is firing")
        torch.nn.functional.cross_entropy(wrapped(tokens), labels, reduction="sum").backward()
    for index, parameter in enumerate(model.parameters()):
        for row, gradients in enumerate(expected):
            found = parameter.grad_sample[row]
            torch.testing.assert_close(found, gradients[index], atol=1e-4, rtol=1e-3)
