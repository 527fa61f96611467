"""The output of an ONNX classifier, its kind, its batches and its missing values."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.factories.onnx_models import (
    CLASSIFIED,
    KINDS,
    ML,
    ROWS,
    WEIGHTS,
    constant,
    floats,
    linear,
    linear_classifier,
    node,
    onnx,
    save,
    tensor,
    tree_model,
    trees,
    zipmap,
)
from tests.factories.wrapper_noise import keyed

pytest.importorskip("onnxruntime", reason="pip install 'dynanoise[onnx]'")

from dynanoise.core.errors import DataFileError, DynaNoiseError, InputError
from dynanoise.defenses.dynanoise import DynaNoise
from dynanoise.defenses.temperature import Temperature
from dynanoise.integrations.onnx_model import Classifier, open_classifier, read_graph
from dynanoise.noise.fresh import Fresh
from dynanoise.onnx import DefendedSession, export

X = [tensor("x", ["batch", 4])]
LOGITS = ROWS @ WEIGHTS
NAN = float("nan")


def opened(path: Path, **options: Any) -> Classifier:
    return open_classifier(read_graph(path, **options))


# --- choice of the output ------------------------------------------------------------------------


def heads(path: Path, *outputs: Any) -> Path:
    """A softmax and other outputs of the logits, in an order."""
    nodes = [
        node("Softmax", ["logits"], ["probs"], axis=-1),
        node("Identity", ["probs"], ["output_1"]),
        node("MatMul", ["x", "v"], ["embedding"]),
        node("ReduceMax", ["logits", "axes"], ["confidence"], keepdims=0),
        node("ReduceMax", ["logits", "axes"], ["uncertainty"], keepdims=1),
        node("ArgMax", ["logits"], ["label"], axis=-1, keepdims=0),
        node("Add", ["logits", "logits"], ["scores"]),
        node("Sigmoid", ["logits"], ["activations"]),
    ]
    held = [constant("v", np.ones((4, 8), np.float32)), constant("axes", np.array([1]))]
    return linear(path, *nodes, output=list(outputs), constants=held)


EMBEDDING = tensor("embedding", ["batch", 8])
LABEL = tensor("label", ["batch"], KINDS.INT64)
CONFIDENCE, UNCERTAINTY = tensor("confidence", ["batch"]), tensor("uncertainty", ["batch", 1])
THREE = {
    name: tensor(name, ["batch", 3])
    for name in ("logits", "probs", "output_1", "scores", "activations")
}


@pytest.mark.parametrize(
    ("outputs", "kind", "chosen"),
    [
        ([LABEL, THREE["probs"]], None, "probs"),
        ([CONFIDENCE, UNCERTAINTY, LABEL, THREE["logits"]], None, "logits"),  # by shape
        ([EMBEDDING, THREE["logits"]], None, "logits"),  # by name
        ([THREE["scores"], EMBEDDING], None, "scores"),
        ([EMBEDDING, THREE["output_1"]], None, "output_1"),  # by its operator
        ([THREE["output_1"], EMBEDDING, LABEL], "probabilities", "output_1"),
        ([THREE["probs"], THREE["logits"]], None, "logits"),  # of both the logits
        ([THREE["probs"], THREE["logits"]], "probabilities", "probs"),  # as declared
        ([THREE["probs"], THREE["output_1"]], None, "probs"),  # the same twice
        ([THREE["logits"], THREE["scores"]], None, None),
        ([THREE["logits"], THREE["activations"]], "logits", None),  # perhaps several labels
        ([EMBEDDING, tensor("output", ["batch", 8])], None, None),
    ],
)
def test_the_output_is_chosen_or_to_be_named(
    tmp_path: Path, outputs: list[Any], kind: str | None, chosen: str | None
) -> None:
    path = heads(tmp_path / "m.onnx", *outputs)
    if outputs[-1].name == "output":
        model = onnx.load(path)
        model.graph.node.append(node("Neg", ["embedding"], ["output"]))
        onnx.save(model, path)
    if chosen is None:
        with pytest.raises(InputError, match=r"2 outputs to choose from: .*--output NAME"):
            read_graph(path, kind=kind)
        first = outputs[0].name
        assert read_graph(path, output=first).output.name == first
        return
    graph = read_graph(path, kind=kind)
    assert graph.output.name == chosen
    assert sorted(graph.dropped) == sorted(one.name for one in outputs if one.name != chosen)
    assert [one.name for one in graph.proto.graph.output] == [chosen]


def test_nodes_of_other_outputs_are_not_run(tmp_path: Path) -> None:
    path = heads(tmp_path / "m.onnx", EMBEDDING, LABEL, THREE["logits"])
    graph = read_graph(path)
    assert [each.op_type for each in graph.proto.graph.node] == ["MatMul"]
    np.testing.assert_array_equal(open_classifier(graph).run({"x": ROWS}), LOGITS)


# --- kinds ---------------------------------------------------------------------------------------


def svm(path: Path, fitted: bool) -> Path:
    """Two classes; with coefficients of Platt's scaling its second output has probabilities."""
    more: dict[str, Any] = {"prob_a": [-1.5], "prob_b": [0.1]} if fitted else {}
    layer = node(
        "SVMClassifier",
        ["x"],
        ["label", "probabilities"],
        domain="ai.onnx.ml",
        classlabels_ints=[0, 1],
        coefficients=[0.5, -0.5],
        kernel_params=[0.25, 0.0, 3.0],
        kernel_type="LINEAR",
        rho=[0.1],
        support_vectors=[1.0, 0.5, -1.0, 0.2, -1.0, 0.3, 0.8, -0.4],
        vectors_per_class=[1, 1],
        **more,
    )
    outputs = [CLASSIFIED[0], tensor("probabilities", ["batch", 2])]
    return save(path, [layer], X, outputs, opsets={"": 15, **ML})


RAISED = (2.0, -1.0, 0.5, -3.0, 0.0, 1.0)


@pytest.mark.parametrize(
    ("write", "kind"),
    [
        (lambda path: svm(path, True), "probabilities"),
        (lambda path: svm(path, False), "logits"),
        (lambda path: linear_classifier(path, "SOFTMAX"), "probabilities"),
        (lambda path: linear_classifier(path, "NONE"), "logits"),
        (lambda path: linear_classifier(path, "LOGISTIC"), "independent sigmoids"),
        (lambda path: linear_classifier(path, "LOGISTIC", 2), "independent sigmoids"),
        (tree_model, "probabilities"),
        (
            lambda path: save(path, [trees("SOFTMAX", RAISED)], X, CLASSIFIED, opsets=ML),
            "probabilities",
        ),
        (lambda path: save(path, [trees("NONE", RAISED)], X, CLASSIFIED, opsets=ML), "logits"),
        (
            lambda path: linear(
                path,
                node("LogSoftmax", ["logits"], ["logs"], axis=-1),
                node("Exp", ["logs"], ["out"]),
                output=tensor("out", ["batch", 3]),
            ),
            "probabilities",
        ),
        (
            lambda path: linear(
                path,
                node("HardSigmoid", ["logits"], ["h"]),
                node("Cast", ["h"], ["out"], to=KINDS.DOUBLE),
                output=tensor("out", ["batch", 3], KINDS.DOUBLE),
            ),
            "independent sigmoids",
        ),
    ],
)
def test_operators_and_values_tell_the_kind(tmp_path: Path, write: Any, kind: str) -> None:
    path = write(tmp_path / "m.onnx")
    for declared in ("logits", "probabilities"):
        if declared == kind:
            assert opened(path, kind=declared).kind == kind
            continue
        with pytest.raises(DataFileError, match=f"holds {kind}"):
            opened(path, kind=declared)


def test_a_softmax_over_the_records_is_refused_either_way(tmp_path: Path) -> None:
    turned = node("Softmax", ["logits"], ["s"], axis=0)
    path = linear(tmp_path / "m.onnx", turned, output=tensor("s", ["batch", 3]))
    with pytest.raises(DataFileError, match="holds probabilities: it comes from Softmax"):
        opened(path, kind="logits")
    with pytest.raises(DataFileError, match="its values lie between 0 and 1 and do not sum to 1"):
        opened(path, kind="probabilities")


def test_names_are_not_believed(tmp_path: Path) -> None:
    """Converters call the scores of a support vector machine probabilities."""
    with pytest.raises(DataFileError, match=r"probabilities of .* as prob.*holds logits"):
        opened(svm(tmp_path / "m.onnx", False), kind="probabilities")


# --- batches of fixed size -----------------------------------------------------------------------


def fixed(path: Path, size: int, *more: Any, output: str = "logits") -> Path:
    nodes = [node("MatMul", ["x", "w"], ["logits"]), *more]
    held = [constant("w", WEIGHTS), constant("axes", np.array([0]))]
    return save(path, nodes, [tensor("x", [size, 4])], [tensor(output, [size, 3])], held)


@pytest.mark.parametrize("size", [1, 3, 5, 8])
@pytest.mark.parametrize("count", [0, 1, 5, 17])
def test_fixed_batches_are_filled_up(tmp_path: Path, size: int, count: int) -> None:
    rows = np.random.default_rng(count).normal(0, 1, (count, 4)).astype(np.float32)
    path = fixed(tmp_path / "m.onnx", size)
    np.testing.assert_allclose(opened(path).run({"x": rows}), rows @ WEIGHTS, atol=1e-6)
    defense = DynaNoise(0.3, 2, 4, samples=2)
    one = DefendedSession(path, keyed(), defense=defense)(rows)
    other = DefendedSession(linear(tmp_path / "n.onnx"), keyed(), defense=defense)(rows)
    np.testing.assert_allclose(one, other, atol=1e-5)


@pytest.mark.parametrize("size", [1, 3, 8])
@pytest.mark.parametrize("count", [0, 1, 5, 17])
def test_exports_of_fixed_batches_get_the_noise_of_all_records(
    tmp_path: Path, size: int, count: int
) -> None:
    """That of a free batch under the same seed: no record has the noise of another one."""
    rows = np.random.default_rng(count).normal(0, 1, (count, 4)).astype(np.float32)
    defense = DynaNoise(0.3, 2, 4, samples=3)
    results = []
    for name, source in (
        ("fixed", fixed(tmp_path / "m.onnx", size)),
        ("free", linear(tmp_path / "n.onnx")),
    ):
        target = tmp_path / f"{name}.onnx"
        export(source, target, defense)
        results.append(DefendedSession(target, Fresh(3))(rows))
    assert results[0].shape == (count, 3)
    np.testing.assert_allclose(results[0], results[1], atol=1e-5)
    export(fixed(tmp_path / "m.onnx", size), tmp_path / "t.onnx", Temperature(3))
    plain = DefendedSession(tmp_path / "t.onnx")(rows)
    np.testing.assert_allclose(plain, Temperature(3)(rows @ WEIGHTS), atol=1e-6)


def test_a_first_axis_that_is_not_of_records(tmp_path: Path) -> None:
    """An output that depends on the other rows is left alone: they may be words of a sentence."""
    mean = node("ReduceMean", ["logits", "axes"], ["middle"], keepdims=1)
    path = fixed(
        tmp_path / "m.onnx", 5, mean, node("Sub", ["logits", "middle"], ["rest"]), output="rest"
    )
    classifier = opened(path)
    assert classifier.batch is None and opened(fixed(tmp_path / "n.onnx", 5)).batch == 5
    with pytest.raises(InputError, match="does not take these inputs"):
        DefendedSession(path, defense=Temperature(2))(ROWS[:3])
    assert DefendedSession(path, defense=Temperature(2))(ROWS).shape == (5, 3)


# --- missing values ------------------------------------------------------------------------------


def filled(path: Path, value: float) -> Path:
    """An imputer in front of a linear model, behind a scaler."""
    nodes = [
        node("Scaler", ["x"], ["s"], domain="ai.onnx.ml", offset=[0.5], scale=[2.0]),
        node(
            "Imputer",
            ["s"],
            ["full"],
            domain="ai.onnx.ml",
            imputed_value_floats=[0.25],
            replaced_value_float=value,
        ),
        node("MatMul", ["full", "w"], ["logits"]),
    ]
    return save(path, nodes, X, [tensor("logits", ["batch", 3])], [constant("w", WEIGHTS)],
                opsets={"": 15, **ML})  # fmt: skip


def replaced(path: Path, *, inverted: bool = False) -> Path:
    nodes = [
        node("IsNaN", ["x"], ["missing"]),
        node("Not", ["missing"], ["there"]),
        node("Where", ["there", "x", "zero"] if inverted else ["missing", "zero", "x"], ["full"]),
        node("MatMul", ["full", "w"], ["logits"]),
    ]
    held = [constant("w", WEIGHTS), constant("zero", np.float32(0))]
    return save(path, nodes, X, [tensor("logits", ["batch", 3])], held)


def swallowed(path: Path) -> Path:
    """Max takes NaN for a number in some runtimes; the output is finite and means nothing."""
    nodes = [
        node("MatMul", ["x", "w"], ["z"]),
        node("IsNaN", ["z"], ["lost"]),
        node("Where", ["lost", "zero", "z"], ["logits"]),
    ]
    held = [constant("w", WEIGHTS), constant("zero", np.float32(0))]
    return save(path, nodes, X, [tensor("logits", ["batch", 3])], held)


def seen_by_a_branch(path: Path) -> Path:
    """A branch takes the input from around it."""
    then, other = (
        onnx.helper.make_graph(
            [node(kind, ["x", "w"], [kind])], kind, [], [tensor(kind, ["batch", 3])]
        )
        for kind in ("MatMul", "Gemm")
    )
    nodes = [
        trees(),
        node("If", ["on"], ["z"], then_branch=then, else_branch=other),
        node("IsNaN", ["z"], ["lost"]),
        node("Where", ["lost", "probabilities", "z"], ["logits"]),
    ]
    held = [constant("w", WEIGHTS), constant("on", np.array(True))]
    outputs = [tensor("logits", ["batch", 3])]
    return save(path, nodes, X, outputs, held, opsets={"": 15, **ML})


def truncated(path: Path) -> Path:
    """A Cast makes some whole number of NaN."""
    nodes = [node("Cast", ["x"], ["whole"], to=KINDS.INT64), trees(inputs=["whole"])]
    return save(path, nodes, X, CLASSIFIED, opsets={"": 15, **ML})


def moved(path: Path) -> Path:
    nodes = [
        node("Cast", ["x"], ["wide"], to=KINDS.DOUBLE),
        node("Concat", ["wide", "wide"], ["both"], axis=1),
        node("Slice", ["both", "begin", "end", "axis"], ["part"]),
        trees(inputs=["part"]),
    ]
    held = [constant(name, np.array([at])) for name, at in (("begin", 2), ("end", 6), ("axis", 1))]
    return save(path, nodes, X, CLASSIFIED, held, opsets={"": 15, **ML})


@pytest.mark.parametrize(
    ("write", "takes"),
    [
        (tree_model, True),
        (lambda path: zipmap(path, trees(output="table"), opsets=ML), True),
        (moved, True),
        (lambda path: filled(path, NAN), True),
        (replaced, True),
        (lambda path: replaced(path, inverted=True), True),
        (linear, False),
        (lambda path: filled(path, -999.0), False),
        (swallowed, False),
        (truncated, False),
        (seen_by_a_branch, False),
    ],
)
def test_models_that_take_missing_values(tmp_path: Path, write: Any, takes: bool) -> None:
    (found,) = opened(write(tmp_path / "m.onnx")).inputs
    assert found.missing == takes


# --- types of inputs -----------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["FLOAT16", "DOUBLE", "INT64", "UINT8", "BOOL"])
def test_numbers_are_converted_where_nothing_is_lost(tmp_path: Path, kind: str) -> None:
    nodes = [
        node("Cast", ["x"], ["wide"], to=KINDS.FLOAT),
        node("MatMul", ["wide", "w"], ["logits"]),
    ]
    inputs = [tensor("x", ["batch", 4], getattr(KINDS, kind))]
    path = save(
        tmp_path / "m.onnx", nodes, inputs, [tensor("logits", ["batch", 3])],
        [constant("w", WEIGHTS)],
    )  # fmt: skip
    session = DefendedSession(path, defense=Temperature(1))
    whole = np.array([[0, 1, 1, 0], [1, 0, 0, 1]])
    exact = Temperature(1)(floats(whole) @ WEIGHTS)
    for dtype in (np.float64, np.float32, np.int64, np.uint8, np.bool_):
        np.testing.assert_allclose(session(whole.astype(dtype)), exact, atol=1e-6)
    if kind not in ("FLOAT16", "DOUBLE"):
        with pytest.raises(InputError, match=r"Values of x hold 0\.5 in row 1, column 0, and"):
            session([[0.0, 1, 1, 0], [0.5, 0, 0, 1]])
        with pytest.raises(InputError, match="hold nan in row 0, column 2"):
            session([[0.0, 1, NAN, 0]])


def test_integers_beyond_the_type_are_refused(tmp_path: Path) -> None:
    nodes = [
        node("Cast", ["x"], ["wide"], to=KINDS.FLOAT),
        node("MatMul", ["wide", "w"], ["logits"]),
    ]
    path = save(
        tmp_path / "m.onnx", nodes, [tensor("x", ["batch", 4], KINDS.INT8)],
        [tensor("logits", ["batch", 3])], [constant("w", WEIGHTS)],
    )  # fmt: skip
    session = DefendedSession(path, defense=Temperature(1))
    for value in (128, -129.0, 1e30):
        with pytest.raises(DynaNoiseError, match="in row 0, column 1, and the model takes int8"):
            session(np.array([[0, value, 0, 0]]))


@pytest.mark.parametrize("place", ["output", "input"])
def test_bfloat16_is_refused_with_a_remedy(tmp_path: Path, place: str) -> None:
    half, single = KINDS.BFLOAT16, KINDS.FLOAT
    kinds = (single, half) if place == "output" else (half, single)
    cast = node("Cast", ["x"], ["logits"], to=kinds[1])
    inputs, outputs = (
        [tensor("x", ["batch", 3], kinds[0])],
        [tensor("logits", ["batch", 3], kinds[1])],
    )
    path = save(tmp_path / "m.onnx", [cast], inputs, outputs)
    with pytest.raises(DataFileError, match=r"bfloat16.*float32"):
        opened(path)
