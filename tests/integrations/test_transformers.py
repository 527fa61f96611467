"""Pipelines with defended scores, on tiny models with random weights; nothing is downloaded."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

torch: Any = pytest.importorskip("torch", reason="pip install 'dynanoise[train]'")
transformers: Any = pytest.importorskip("transformers", reason="pip install 'dynanoise[hf]'")

from dynanoise.core.errors import InputError  # noqa: E402
from dynanoise.defenses.dynanoise import DynaNoise  # noqa: E402
from dynanoise.defenses.temperature import Temperature  # noqa: E402
from dynanoise.integrations.transformers import log_probs_of  # noqa: E402
from dynanoise.noise.fresh import Fresh  # noqa: E402
from dynanoise.noise.keyed import Keyed  # noqa: E402
from dynanoise.transformers import defend, weights_digest  # noqa: E402
from tests.factories import checkpoints  # noqa: E402
from tests.factories.outputs import logit_arrays  # noqa: E402
from tests.factories.wrapper_noise import SECRET, holds_secret, in_threads, keyed  # noqa: E402

TEXTS = checkpoints.SENTENCES


def model(kind: str = "distilbert", classes: int = 3, **changes: Any) -> Any:
    config = checkpoints.config(kind)
    config.num_labels = classes
    for name, value in changes.items():
        setattr(config, name, value)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return transformers.AutoModelForSequenceClassification.from_config(config).eval()


def pipeline(kind: str = "distilbert", classes: int = 3, **changes: Any) -> Any:
    return transformers.pipeline(
        "text-classification",
        model=model(kind, classes, **changes),
        tokenizer=checkpoints.tokenizer(kind),
        device="cpu",
    )


def logits(pipe: Any, texts: list[str]) -> Any:
    """What the model itself says, one text at a time, as the pipeline asks."""
    rows = []
    with torch.no_grad():
        for text in texts:
            tokens = pipe.tokenizer(text, return_tensors="pt")
            rows.append(pipe.model(**tokens).logits.float().numpy())
    return np.concatenate(rows)


def scores(answers: Any, pipe: Any) -> Any:
    """[texts, classes] in the order of the classes."""
    names = [pipe.model.config.id2label[number] for number in range(3)]
    table = [{one["label"]: one["score"] for one in answer} for answer in answers]
    return np.array([[row[name] for name in names] for row in table])


@pytest.mark.parametrize("kind", checkpoints.KINDS)
@pytest.mark.parametrize("keep_label", [False, True])
def test_scores_are_the_librarys_answers(kind: str, keep_label: bool) -> None:
    pipe = pipeline(kind)
    defense = DynaNoise(keep_label=keep_label)
    found = scores(defend(pipe, defense, keyed())(TEXTS, top_k=None), pipe)
    expected = defense(logits(pipe, TEXTS), keyed())
    np.testing.assert_allclose(found, expected, rtol=2e-6)
    np.testing.assert_array_equal(found.argmax(-1), expected.argmax(-1))


def test_fresh_noise_is_drawn_for_each_question() -> None:
    pipe = pipeline()
    defended = defend(pipe, DynaNoise(), Fresh(0))
    found = scores(defended(["a good film"] * 3, top_k=None), pipe)
    source, rows = Fresh(0), logits(pipe, ["a good film"])
    expected = np.concatenate([DynaNoise()(rows, source) for _ in range(3)])
    np.testing.assert_allclose(found, expected, rtol=2e-6)
    assert len(np.unique(found, axis=0)) == 3


def test_batches_and_the_usual_short_answers() -> None:
    pipe = pipeline("bert")
    defended = defend(pipe, Temperature(3), Fresh(0))
    rows = Temperature(3)(logits(pipe, TEXTS))
    batched = defended(TEXTS, batch_size=4, top_k=None)
    np.testing.assert_allclose(scores(batched, pipe), rows, rtol=1e-4)  # padding
    for answer, row in zip(defended(TEXTS), rows, strict=True):
        assert answer["label"] == f"LABEL_{row.argmax()}"
        assert answer["score"] == pytest.approx(row.max(), rel=2e-6)
    assert len(defended(TEXTS[0], top_k=2)) == 2


@pytest.mark.parametrize("function", ["none", "sigmoid", "softmax"])
def test_no_function_shows_the_clean_logits(function: str) -> None:
    """Every score is a function of the defended probability alone."""
    pipe = pipeline()
    defended = defend(pipe, DynaNoise(), keyed())
    found = scores(defended(TEXTS, top_k=None, function_to_apply=function), pipe)
    probs = DynaNoise()(logits(pipe, TEXTS), keyed()).astype(float)
    formula: dict[str, Any] = {
        "none": np.log,
        "sigmoid": lambda p: p / (1 + p),
        "softmax": lambda p: p,
    }
    np.testing.assert_allclose(found, formula[function](probs), rtol=2e-6)


def test_the_model_in_the_pipeline_returns_nothing_else() -> None:
    pipe = pipeline(output_hidden_states=True, output_attentions=True)
    tokens = pipe.tokenizer("a good film", return_tensors="pt")
    assert "hidden_states" in pipe.model(**tokens)
    answer = defend(pipe, DynaNoise(), Fresh(0)).model(**tokens, labels=torch.tensor([0]))
    assert list(answer) == ["logits"]
    assert not answer.logits.requires_grad


def test_the_given_pipeline_stays_as_it_is() -> None:
    pipe = pipeline()
    before, inner = pipe(TEXTS), pipe.model
    defended = defend(pipe, DynaNoise(), Fresh(0))
    assert type(defended) is type(pipe) and defended is not pipe
    assert pipe.model is inner and pipe(TEXTS) == before
    assert defended.model.device == inner.device and defended.model.dtype == inner.dtype


@pytest.mark.parametrize(
    "task", ["sentiment-analysis", "text-classification", None, "a task of a user's own"], ids=str
)
def test_pipelines_are_told_by_their_class(task: str | None) -> None:
    parts = {"model": model(), "tokenizer": checkpoints.tokenizer("distilbert"), "device": "cpu"}
    if task == "sentiment-analysis":
        pipe = transformers.pipeline(task, **parts)
    elif task == "text-classification":
        own = type("Own", (transformers.TextClassificationPipeline,), {})
        pipe = transformers.pipeline(task, pipeline_class=own, **parts)
    else:
        pipe = transformers.TextClassificationPipeline(**parts, task=task or "")
        pipe.task = task
    found = scores(defend(pipe, DynaNoise(), keyed())(TEXTS, top_k=None), pipe)
    np.testing.assert_allclose(found, DynaNoise()(logits(pipe, TEXTS), keyed()), rtol=2e-6)


def test_bfloat16_models_answer_in_float32() -> None:
    pipe = pipeline(dtype="bfloat16")
    pipe.model.to(torch.bfloat16)
    found = scores(defend(pipe, DynaNoise(), keyed())(TEXTS, top_k=None), pipe)
    expected = DynaNoise()(logits(pipe, TEXTS), keyed())
    np.testing.assert_allclose(found, expected, rtol=2e-6)


def test_images(monkeypatch: pytest.MonkeyPatch) -> None:
    pillow = pytest.importorskip("PIL.Image", reason="pip install 'dynanoise[data]'")
    config = transformers.ViTConfig(
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        image_size=8,
        patch_size=4,
        num_labels=3,
    )
    processor = transformers.ViTImageProcessorPil(size={"height": 8, "width": 8})
    net = transformers.ViTForImageClassification(config).eval()
    pipe = transformers.pipeline("image-classification", model=net, image_processor=processor)
    images = [pillow.new("RGB", (8, 8), color) for color in ("red", "green", "black")]
    found = scores(defend(pipe, DynaNoise(), keyed())(images), pipe)
    with torch.no_grad():
        clean = [net(**processor(images=one, return_tensors="pt")).logits for one in images]
    expected = DynaNoise()(torch.cat(clean).numpy(), keyed())
    np.testing.assert_allclose(found, expected, rtol=2e-6)


def test_keyed_answers_from_eight_threads_and_without_the_secret(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("DYNANOISE_KEY", SECRET)
    pipe = pipeline()
    noise = Keyed(4.0, "tiny", weights_digest(pipe.model))
    defended = defend(pipe, DynaNoise(), noise)
    model = defended.model
    tokens = [pipe.tokenizer(text, return_tensors="pt") for text in TEXTS]
    alone = [model(**one).logits for one in tokens]
    found = in_threads(lambda number: model(**tokens[number % len(TEXTS)]).logits, times=24)
    assert all(torch.equal(row, alone[i % len(TEXTS)]) for i, row in enumerate(found))
    assert not holds_secret(repr(model).encode())


def test_a_model_that_squeezes_its_logits_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    pipe = pipeline()
    original = pipe.model.forward

    def squeezed(*args: Any, **kwargs: Any) -> Any:
        outputs = original(*args, **kwargs)
        return type(outputs)(logits=outputs.logits[:, 0])

    monkeypatch.setattr(pipe.model, "forward", squeezed)
    for texts in (TEXTS[0], TEXTS[:2]):
        with pytest.raises(InputError, match=r"output has shape \[1\]"):
            defend(pipe, DynaNoise(), keyed())(texts)


@given(rows=logit_arrays(largest=1e-5, rows=4), temperature=st.floats(1, 1e3))
def test_near_ties_keep_their_label_in_float32(rows: Any, temperature: float) -> None:
    """As the pipeline computes it: softmax in float32, then the first of the largest."""
    probs: Any = Temperature(temperature)(rows)
    narrow = log_probs_of(probs)
    weights = np.exp(narrow - narrow.max(axis=-1, keepdims=True))
    found = weights / weights.sum(axis=-1, keepdims=True)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found.argmax(-1), probs.argmax(-1))
    np.testing.assert_allclose(found, probs, rtol=5e-6)


@pytest.mark.parametrize(
    ("classes", "changes"),
    [(1, {}), (3, {"problem_type": "multi_label_classification"})],
)
def test_models_without_one_label_are_refused(classes: int, changes: Any) -> None:
    with pytest.raises(InputError, match="not a distribution over classes"):
        defend(pipeline(classes=classes, **changes), DynaNoise(), Fresh(0))


def test_what_is_no_such_pipeline_is_refused() -> None:
    pipe = pipeline()
    with pytest.raises(InputError, match="pipeline is of type DistilBert"):
        defend(pipe.model, DynaNoise(), Fresh(0))
    with pytest.raises(InputError, match="defended already"):
        defend(defend(pipe, DynaNoise(), Fresh(0)), DynaNoise(), Fresh(0))
    other = transformers.FeatureExtractionPipeline(model=pipe.model, tokenizer=pipe.tokenizer)
    other.task = "text-classification"
    with pytest.raises(InputError, match="pipeline is of type FeatureExtractionPipeline"):
        defend(other, DynaNoise(), Fresh(0))
    with pytest.raises(InputError, match="noise is 0"):
        defend(pipe, DynaNoise(), 0)  # type: ignore[arg-type]
