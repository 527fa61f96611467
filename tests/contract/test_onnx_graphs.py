"""Every way that an ONNX model comes in takes the same graphs, and refuses others alike."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from tests.factories.onnx_models import (
    CLASSIFIED,
    KINDS,
    ML,
    WEIGHTS,
    coefficients,
    constant,
    defended,
    floats,
    linear,
    linear_classifier,
    node,
    onnx,
    save,
    tensor,
    trees,
    zipmap,
)

pytest.importorskip("onnxruntime", reason="pip install 'dynanoise[onnx]'")
pytest.importorskip("starlette", reason="the gateway: pip install 'dynanoise[serve]'")
pytest.importorskip("prometheus_client", reason="the gateway: pip install 'dynanoise[serve]'")

from dynanoise.audits.model_file import query_model
from dynanoise.cli import app
from dynanoise.config.configuration import Configuration
from dynanoise.core.errors import DynaNoiseError
from dynanoise.core.numerics import softmax
from dynanoise.defenses.temperature import Temperature
from dynanoise.oip.tensors import Tensor
from dynanoise.onnx import DefendedSession, export
from dynanoise.serving.options import Serving
from dynanoise.serving.startup import make_gateway

UNDEFENDED = Temperature(1)
ROWS = np.random.default_rng(5).integers(-3, 4, (90, 4)).astype(np.float32)
LABELS = np.arange(90) % 2
X = [tensor("x", ["batch", 4])]
LOGITS, PROBS = tensor("logits", ["batch", 3]), tensor("probs", ["batch", 3])
SOFTMAX = node("Softmax", ["logits"], ["soft"], axis=-1)
TREE = np.where(ROWS[:, :1] <= 0, [[0.5, 0.3, 0.2]], [[0.1, 0.2, 0.7]])


@dataclass(frozen=True)
class Model:
    """A model, how it is declared, and its probabilities or the sentence that refuses it."""

    write: Callable[[Path], Path]
    result: Any
    input: str = "logits"
    output: str | None = None


def of_type(kind: int) -> Callable[[Path], Path]:
    """Logits of inputs of another type."""

    def write(path: Path) -> Path:
        nodes = [node("Cast", ["x"], ["wide"], to=KINDS.FLOAT)]
        nodes += [node("MatMul", ["wide", "w"], ["logits"])]
        inputs = [tensor("x", ["batch", 4], kind)]
        return save(path, nodes, inputs, [LOGITS], [constant("w", WEIGHTS)])

    return write


def of_batch(size: int) -> Callable[[Path], Path]:
    def write(path: Path) -> Path:
        nodes = [node("MatMul", ["x", "w"], ["logits"])]
        outputs = [tensor("logits", [size, 3])]
        return save(path, nodes, [tensor("x", [size, 4])], outputs, [constant("w", WEIGHTS)])

    return write


def features_first(path: Path) -> Path:
    wide = constant("v", np.ones((4, 16), np.float32))
    features = node("MatMul", ["x", "v"], ["features"])
    outputs = [tensor("features", ["batch", 16]), LOGITS]
    return linear(path, features, output=outputs, constants=[wide])


def two_heads(path: Path) -> Path:
    heads = [node("Neg", ["logits"], ["a"]), node("Abs", ["logits"], ["b"])]
    return linear(path, *heads, output=[tensor(name, ["batch", 3]) for name in "ab"])


def identity_of_softmax(path: Path) -> Path:
    return linear(path, SOFTMAX, node("Identity", ["soft"], ["probs"]), output=PROBS)


def logits_and_softmax(path: Path) -> Path:
    """In the other order."""
    nodes = [SOFTMAX, node("Identity", ["soft"], ["probs"])]
    return linear(path, *nodes, output=[PROBS, LOGITS])


def classifier_of_trees(*arguments: Any, opsets: Any = None) -> Callable[[Path], Path]:
    def write(path: Path) -> Path:
        return save(path, [trees(*arguments)], X, CLASSIFIED, opsets=opsets or {"": 15, **ML})

    return write


def normalizer_of_sigmoids(path: Path) -> Path:
    """One against the rest, as scikit-learn's classifiers."""
    nodes = [
        node("Mul", ["logits", "quarter"], ["z"]),  # of small numbers the sigmoid is coarse
        node("Sigmoid", ["z"], ["each"]),
        node("Normalizer", ["each"], ["probs"], domain="ai.onnx.ml", norm="L1"),
    ]
    held = [constant("quarter", np.float32(0.25))]
    return linear(path, *nodes, output=PROBS, opsets={"": 15, **ML}, constants=held)


def two_columns(path: Path) -> Path:
    """[1 - p, p] of one sigmoid."""
    nodes = [
        node("MatMul", ["x", "w"], ["z"]),
        node("Sigmoid", ["z"], ["p"]),
        node("Sub", ["one", "p"], ["q"]),
        node("Concat", ["q", "p"], ["probs"], axis=1),
    ]
    held = [constant("w", WEIGHTS[:, :1]), constant("one", np.float32(1))]
    return save(path, nodes, X, [tensor("probs", ["batch", 2])], held)


def one_column(path: Path) -> Path:
    nodes = [node("MatMul", ["x", "w"], ["z"]), node("Sigmoid", ["z"], ["p"])]
    return save(path, nodes, X, [tensor("p", ["batch", 1])], [constant("w", WEIGHTS[:, :1])])


def normalized(training: int) -> Callable[[Path], Path]:
    def write(path: Path) -> Path:
        names = ["scale", "shift", "mean", "variance"]
        outputs = ["probs", *(["m", "v"] if training else [])]
        layer = node(
            "BatchNormalization", ["logits", *names], outputs, training_mode=training, epsilon=0.0
        )
        held = [constant(name, floats([name in ("scale", "variance")] * 3)) for name in names]
        return linear(path, layer, output=PROBS, constants=held)

    return write


def centred(path: Path) -> Path:
    """Logits without their mean over the batch, which no operator's mode tells."""
    mean = node("ReduceMean", ["logits", "axis"], ["mean"])
    held = [constant("axis", np.array([0]))]
    return linear(
        path,
        mean,
        node("Sub", ["logits", "mean"], ["out"]),
        output=tensor("out", ["batch", 3]),
        constants=held,
    )


def dropped(path: Path) -> Path:
    held = [constant("ratio", np.float32(0.5)), constant("on", np.array(True))]
    layer = node("Dropout", ["logits", "ratio", "on"], ["probs"])
    return linear(path, layer, output=PROBS, constants=held)


def drawn_in_a_loop(path: Path) -> Path:
    """The body of a Loop adds what it draws."""
    body = onnx.helper.make_graph(
        [
            node("RandomUniformLike", ["sum_in"], ["drawn"]),
            node("Add", ["sum_in", "drawn"], ["sum_out"]),
            node("Identity", ["going"], ["goes_on"]),
        ],
        "body",
        [tensor("turn", [], KINDS.INT64), tensor("going", [], KINDS.BOOL), tensor("sum_in", None)],
        [tensor("goes_on", [], KINDS.BOOL), tensor("sum_out", None)],
    )
    held = [constant("turns", np.array(2)), constant("yes", np.array(True))]
    loop = node("Loop", ["turns", "yes", "logits"], ["probs"], body=body)
    return linear(path, loop, output=PROBS, constants=held)


def drawn_in_a_scan(path: Path) -> Path:
    body = onnx.helper.make_graph(
        [node("Multinomial", ["row"], ["class"], sample_size=3, dtype=KINDS.INT64)],
        "body",
        [tensor("row", [1, 3])],
        [tensor("class", [1, 3], KINDS.INT64)],
    )
    nodes = [
        node("Unsqueeze", ["logits", "one"], ["rows"]),
        node("Scan", ["rows"], ["classes"], body=body, num_scan_inputs=1),
        node("Cast", ["classes"], ["wide"], to=KINDS.FLOAT),
        node("Squeeze", ["wide", "one"], ["probs"]),
    ]
    return linear(path, *nodes, output=PROBS, constants=[constant("one", np.array([1]))])


def drawn_in_a_function(path: Path) -> Path:
    function = onnx.helper.make_function(
        "own",
        "Draw",
        ["a"],
        ["b"],
        [node("Bernoulli", ["a"], ["b"])],
        [onnx.helper.make_opsetid("", 18)],
    )
    call = node("Draw", ["logits"], ["probs"], domain="own")
    return linear(path, call, output=PROBS, functions=[function])


def labels_only(path: Path) -> Path:
    label = node("ArgMax", ["logits"], ["label"], axis=-1, keepdims=0)
    return linear(path, label, output=tensor("label", ["batch"], KINDS.INT64))


def no_model(path: Path) -> Path:
    path.write_bytes(b"no model")
    return path


def defended_already(path: Path) -> Path:
    return defended(linear(path))


def by_hand(path: Path) -> Path:
    """Sigmoids without an operator of that name."""
    nodes = [
        *(node("Neg", ["logits"], ["minus"]), node("Exp", ["minus"], ["e"])),
        *(node("Add", ["e", "one"], ["d"]), node("Div", ["one", "d"], ["probs"])),
    ]
    return linear(path, *nodes, output=PROBS, constants=[constant("one", np.float32(1))])


RAISED = (2.0, -1.0, 0.5, -3.0, 0.0, 1.0)
Z = ROWS.astype(np.float64) @ WEIGHTS
EXPECTED, FLIPPED = softmax(Z), softmax(-Z)
ODDS, QUARTERS = (1 / (1 + np.exp(-z)) for z in (Z, Z / 4))
EACH = QUARTERS / QUARTERS.sum(axis=1, keepdims=True)
ONE = np.stack([1 - ODDS[:, 0], ODDS[:, 0]], axis=1)

GOOD = {
    "logits": Model(linear, EXPECTED),
    "features before logits": Model(features_first, EXPECTED),
    "logits behind their softmax": Model(logits_and_softmax, EXPECTED),
    "the softmax of logits": Model(logits_and_softmax, EXPECTED, "probabilities"),
    "a head by its name": Model(two_heads, FLIPPED, output="a"),
    "a tensor inside": Model(identity_of_softmax, EXPECTED, output="logits"),
    "identity of a softmax": Model(identity_of_softmax, EXPECTED, "probabilities"),
    "trees": Model(classifier_of_trees(), TREE, "probabilities"),
    "trees of ai.onnx.ml alone": Model(classifier_of_trees(opsets=ML), TREE, "probabilities"),
    "ZipMap of CatBoost": Model(
        lambda path: zipmap(path, trees(output="table"), opsets=ML, ir_version=3),
        TREE,
        "probabilities",
    ),
    "ZipMap of scikit-learn": Model(
        lambda path: zipmap(
            path,
            trees(output="raw"),
            node("Cast", ["raw"], ["table"], to=KINDS.FLOAT),
            opsets={"": 9, "ai.onnx.ml": 1},
        ),
        TREE,
        "probabilities",
    ),
    "ZipMap of texts behind a softmax": Model(
        lambda path: zipmap(
            path,
            trees("NONE", RAISED, output="raw"),
            node("Softmax", ["raw"], ["table"], axis=1),
            texts=True,
            opsets={"": 12, "ai.onnx.ml": 1},
        ),
        softmax(np.where(ROWS[:, :1] <= 0, [RAISED[:3]], [RAISED[3:]])),
        "probabilities",
    ),
    "a linear classifier of ai.onnx.ml alone": Model(
        lambda path: linear_classifier(path, "SOFTMAX"),
        softmax(ROWS.astype(np.float64) @ coefficients()[0] + coefficients()[1]),
        "probabilities",
    ),
    "its scores": Model(
        lambda path: linear_classifier(path, "NONE"),
        softmax(ROWS.astype(np.float64) @ coefficients()[0] + coefficients()[1]),
    ),
    "normalized sigmoids": Model(normalizer_of_sigmoids, EACH, "probabilities"),
    "two columns of a sigmoid": Model(two_columns, ONE, "probabilities"),
    "a fixed batch": Model(of_batch(64), EXPECTED),
    "a batch of one": Model(of_batch(1), EXPECTED),
    "float64": Model(of_type(KINDS.DOUBLE), EXPECTED),
    "int64": Model(of_type(KINDS.INT64), EXPECTED),
    "int8": Model(of_type(KINDS.INT8), EXPECTED),
    "batch normalization in evaluation mode": Model(normalized(0), EXPECTED),
}

BAD = {
    "two heads": Model(two_heads, "2 outputs to choose from: a float32 .batch, 3., b"),
    "a name that is not there": Model(linear, "no output 'scores'", output="scores"),
    "labels": Model(labels_only, "label of .* holds int64 .batch., no floating-point numbers"),
    "softmax as logits": Model(identity_of_softmax, "as logits and holds prob.* from Softmax"),
    "trees as logits": Model(classifier_of_trees(), "as logits and holds prob.*sum to 1"),
    "boosted trees as logits": Model(
        classifier_of_trees("SOFTMAX"), "as logits and holds prob.* from TreeEnsembleClassifier"
    ),
    "normalized sigmoids as logits": Model(normalizer_of_sigmoids, "holds prob.*from Normalizer"),
    "logits as probabilities": Model(linear, "as prob.* and holds logits", "probabilities"),
    "sigmoids as logits": Model(by_hand, "holds independent sigmoids"),
    "sigmoids as probabilities": Model(by_hand, "independent sigmoids", "probabilities"),
    "trees of several labels": Model(
        classifier_of_trees("LOGISTIC"), "independent sigmoids.*TreeEns", "probabilities"
    ),
    "one column": Model(one_column, r"one column.*\[0, z\].*\[1 - p, p\]", "probabilities"),
    "a loop that draws": Model(drawn_in_a_loop, "draws .*RandomUniformLike"),
    "a scan that draws": Model(drawn_in_a_scan, "draws .*Multinomial"),
    "a function that draws": Model(drawn_in_a_function, "draws .*Bernoulli"),
    "dropout in training mode": Model(dropped, "draws .*Dropout"),
    "statistics of the batch": Model(
        centred, "mixes the records .* change with the records beside"
    ),
    "batch normalization in training mode": Model(normalized(1), "mixes the records .*BatchNorm"),
    "no model": Model(no_model, "is not an ONNX model"),
    "a defended model": Model(defended_already, "is defended already"),
}


def audit(path: Path, model: Model) -> Any:
    folder = path.parent
    for half, rows in (("a", slice(45)), ("b", slice(45, None))):
        np.savez(folder / f"{half}.npz", X=ROWS[rows], y=LABELS[rows])
    tables = folder / "a.npz", folder / "b.npz"
    outputs = query_model(path, None, *tables, output=model.output, input=model.input)
    return softmax(outputs.logits[0].astype(np.float64))


def exported(path: Path, model: Model) -> Any:
    target = path.parent / "exported.onnx"
    export(path, target, UNDEFENDED, output=model.output, input=model.input)
    return DefendedSession(target)(ROWS)


def session(path: Path, model: Model) -> Any:
    options: Any = {"output": model.output, "input": model.input}
    return DefendedSession(path, defense=UNDEFENDED, **options)(ROWS)


def served(path: Path, model: Model) -> Any:
    configuration = Configuration(UNDEFENDED, "fresh", output=model.output, input=model.input)
    configuration.write(path.parent / "defense.yaml")
    options = Serving(path.parent / "defense.yaml", path, fresh=True, no_auth=True)
    gateway, _ = make_gateway(options)
    (spec,) = gateway.model.description.inputs
    dtype = {"FP32": "f4", "FP64": "f8", "INT64": "i8", "INT8": "i1"}[spec.datatype]

    async def infer() -> Tensor:
        try:
            raw: Tensor = await gateway.model.infer(
                [Tensor("x", spec.datatype, ROWS.astype(dtype))]
            )
            return raw
        finally:
            await gateway.model.close()

    return configuration.defend(asyncio.run(infer()).values)


WAYS = {"audit": audit, "export": exported, "session": session, "serve": served}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", GOOD)
def test_good_graphs_give_the_same_probabilities(tmp_path: Path, name: str, way: str) -> None:
    model = GOOD[name]
    probs = WAYS[way](model.write(tmp_path / "m.onnx"), model)
    np.testing.assert_allclose(probs, model.result, atol=1e-5)


@pytest.mark.parametrize("name", BAD)
def test_bad_graphs_are_refused_in_the_same_sentence(tmp_path: Path, name: str) -> None:
    model = BAD[name]
    path, sentences = model.write(tmp_path / "m.onnx"), []
    for way in WAYS.values():
        if name == "a defended model" and way is session:
            continue  # that is what it opens
        with pytest.raises(DynaNoiseError, match=model.result) as error:
            way(path, model)
        sentences.append((type(error.value), str(error.value)))
    assert len(set(sentences)) == 1, sentences


@pytest.mark.behaviour
def test_an_audit_takes_the_declaration_from_options_or_a_configuration(tmp_path: Path) -> None:
    model = two_heads(tmp_path / "m.onnx")
    for half, rows in (("a", slice(45)), ("b", slice(45, None))):
        np.savez(tmp_path / f"{half}.npz", X=ROWS[rows], y=LABELS[rows])
    configured = tmp_path / "defense.yaml"
    Configuration(UNDEFENDED, "fresh", output="a").write(configured)
    wrong = tmp_path / "wrong.yaml"
    Configuration(UNDEFENDED, "fresh", output="a", input="probabilities").write(wrong)
    tables = ("--members", tmp_path / "a.npz", "--nonmembers", tmp_path / "b.npz")
    for options, code, says in (
        ((), 2, "2 outputs to choose from"),
        (("--output", "a"), 0, "--output a"),
        (("--defense", configured), 0, "--defense defense.yaml"),
        (("--output", "a", "--input", "probabilities"), 2, "is declared as probabilities and hol"),
        (("--defense", wrong), 2, "is declared as probabilities and holds logits"),
        (("--defense", wrong, "--input", "logits"), 0, "--input logits"),
    ):
        arguments = ("audit", "--model", model, *tables, *options, "--attack", "loss", "--json")
        result = CliRunner().invoke(app, list(map(str, arguments)))
        assert result.exit_code == code, result.output
        assert says in result.output.replace("\n", " ")
