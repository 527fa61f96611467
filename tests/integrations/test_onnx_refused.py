"""Models that `export` refuses, each with its sentence, and those it must not refuse."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dynanoise.core.errors import DataFileError, InputError
from tests.factories import onnx_models
from tests.factories.onnx_models import (
    DEFENSE,
    KINDS,
    NORMALS,
    constant,
    defended,
    expected,
    floats,
    linear,
    node,
    onnx,
    save,
    tensor,
)

pytest.importorskip("onnxruntime", reason="pip install 'dynanoise[onnx]'")

from dynanoise.onnx import export


def branches(path: Path, inside: Any) -> Path:
    """An If whose branch sees a constant and a node of the graph around it."""
    then = onnx.helper.make_graph(
        [inside, node("Add", ["drawn", "w"], ["t"])], "then", [], [tensor("t", None)]
    )
    other = onnx.helper.make_graph(
        [node("Sub", ["twice", "w"], ["e"])], "else", [], [tensor("e", None)]
    )
    nodes = [
        node("Add", ["x", "x"], ["twice"]),
        node("If", ["yes"], ["logits"], then_branch=then, else_branch=other),
    ]
    dims = ["batch", 3]
    constants = [constant("yes", np.array(True)), constant("w", floats([1, 2, 3]))]
    return save(path, nodes, [tensor("x", dims)], [tensor("logits", dims)], constants)


def test_branches_keep_what_they_see(tmp_path: Path) -> None:
    target = defended(branches(tmp_path / "m.onnx", node("Identity", ["twice"], ["drawn"])))
    rows = np.ones((5, 3), np.float32)
    found = onnx_models.run(target, x=rows, noise=NORMALS)
    np.testing.assert_allclose(found, expected(2 * rows + [1, 2, 3]), atol=1e-6)


@pytest.mark.parametrize("opset", [17, 18])
def test_graphs_that_draw_are_refused_wherever_they_draw(tmp_path: Path, opset: int) -> None:
    like = node("RandomNormalLike", ["logits"], ["r"])
    plain = linear(tmp_path / "a.onnx", like, opset=opset)
    inside = branches(tmp_path / "b.onnx", node("RandomUniformLike", ["twice"], ["drawn"]))
    function = onnx.helper.make_function(
        "own",
        "Draw",
        ["a"],
        ["b"],
        [node("Bernoulli", ["a"], ["b"])],
        [onnx.helper.make_opsetid("", opset)],
    )
    called = linear(
        tmp_path / "c.onnx",
        node("Draw", ["logits"], ["drawn"], domain="own"),
        output=tensor("drawn", ["batch", 3]),
        functions=[function],
        opset=opset,
    )
    for source in (plain, inside, called):
        with pytest.raises(DataFileError, match=r"draws randomness of its own: (Random|Bern)"):
            defended(source)


@pytest.mark.parametrize(
    ("mode", "fine"),
    [
        ("", True),
        ("off", True),
        ("constant", True),
        ("on", False),
        ("computed", False),
        ("asked", False),
    ],
)
def test_dropout_in_training_mode_draws(tmp_path: Path, mode: str, fine: bool) -> None:
    nodes = [
        node("Not", ["on"], ["computed"]),
        node("Constant", [], ["constant"], value=constant("", np.array(False))),
        node("Dropout", ["x", "", mode] if mode else ["x"], ["logits"]),
    ]
    inputs = [tensor("x", ["batch", 3]), tensor("asked", [], KINDS.BOOL)]
    constants = [constant("off", np.array(False)), constant("on", np.array(True))]
    constants.append(constant("asked", np.array(False)))  # a default, which who asks can change
    source = save(tmp_path / "m.onnx", nodes, inputs, [tensor("logits", ["batch", 3])], constants)
    if fine:
        defended(source)
    else:
        with pytest.raises(DataFileError, match="Dropout"):
            defended(source)


def test_old_dropout_drops_unless_it_is_told_not_to(tmp_path: Path) -> None:
    dims = ["batch", 3]
    for test, fine in ((0, False), (1, True)):
        drop = node("Dropout", ["x"], ["logits"], is_test=test)
        source = save(
            tmp_path / "m.onnx", [drop], [tensor("x", dims)], [tensor("logits", dims)], opset=6
        )
        if fine:
            rows = np.ones((5, 3), np.float32)
            found = onnx_models.run(defended(source), x=rows, noise=NORMALS)
            np.testing.assert_allclose(found, expected(rows), atol=1e-6)
        else:
            with pytest.raises(DataFileError, match="Dropout"):
                defended(source)


@pytest.mark.parametrize(
    ("opset", "training", "outputs", "fine"),
    [
        (18, 0, 1, True),
        (18, 1, 3, False),
        (14, 1, 3, False),
        (9, 0, 1, True),
        (9, 0, 5, False),  # moving averages are outputs in training mode alone
        (6, 0, 1, False),  # whose attribute is_test is 0
    ],
)
def test_batch_normalization_in_training_mode_mixes_records(
    tmp_path: Path, opset: int, training: int, outputs: int, fine: bool
) -> None:
    names = ["scale", "shift", "mean", "variance"]
    layer = node(
        "BatchNormalization",
        ["logits", *names],
        ["normal", "m", "v", "sm", "sv"][:outputs],
        **({"training_mode": training} if opset >= 14 else {}),
    )
    held = [constant(name, np.ones(3, np.float32)) for name in names]
    output = tensor("normal", ["batch", 3])
    source = linear(tmp_path / "m.onnx", layer, output=output, constants=held, opset=opset)
    if fine:
        defended(source)
    else:
        with pytest.raises(DataFileError, match="mixes the records of a request: BatchNormaliz"):
            defended(source)


MISTAKES: list[tuple[Any, Any, type[Exception], str]] = [
    ([tensor("label", ["b"], KINDS.INT64)], {}, DataFileError, "int64 .b., no floating-point"),
    ([tensor("one", ["b", 1])], {}, DataFileError, "one column.*0, z. for a sigmoid"),
    ([tensor("some", ["b", None])], {}, DataFileError, "number of classes .* not known"),
    ([tensor("sig", ["b", 3])], {}, DataFileError, "independent sigmoids.*comes from Sigmoid"),
    (
        [tensor("logs", ["b", 3])],
        {"input": "probabilities"},
        DataFileError,
        "holds logits: it comes from LogSoftmax",
    ),
    (
        [tensor("logits", ["b", 3]), tensor("doubled_logits", ["b", 3])],
        {},
        InputError,
        "2 outputs to choose from: logits float32 .b, 3., doubled_logits .*--output NAME",
    ),
    ([tensor("logits", ["b", 3])], {"output": "x2"}, InputError, "no output 'x2'.*logits"),
    ([tensor("logits", ["b", 3])], {"class_axis": 2}, InputError, "class_axis is 2, and logits"),
    ([tensor("logits", ["b", 3])], {"class_axis": "1"}, InputError, "class_axis is '1'"),
    ([tensor("logits", ["b", 3])], {"input": "probs"}, InputError, "input is 'probs'"),
]


@pytest.mark.parametrize(("outputs", "options", "kind", "said"), MISTAKES)
def test_mistakes_have_their_sentences(
    tmp_path: Path, outputs: Any, options: Any, kind: Any, said: str
) -> None:
    nodes = [
        node("ArgMax", ["logits"], ["label"], axis=-1, keepdims=0),
        node("ReduceMax", ["logits", "axes"], ["one"], keepdims=1),
        node("Compress", ["logits", "which"], ["some"], axis=1),
        node("Sigmoid", ["logits"], ["inner"]),
        node("Identity", ["inner"], ["sig"]),
        node("LogSoftmax", ["logits"], ["logs"]),
        node("Add", ["logits", "logits"], ["doubled_logits"]),
    ]
    held = [constant("axes", np.array([1])), constant("which", np.array([True, True, False]))]
    source = linear(tmp_path / "m.onnx", *nodes, output=outputs, constants=held)
    with pytest.raises(kind, match=said):
        export(source, tmp_path / "d.onnx", DEFENSE, **options)
    assert not (tmp_path / "d.onnx").exists()


def test_sequences_are_refused_with_a_remedy(tmp_path: Path) -> None:
    source = linear(tmp_path / "m.onnx", node("SequenceConstruct", ["logits"], ["several"]))
    model = onnx.load(source)
    del model.graph.output[:]
    kind = onnx.helper.make_tensor_type_proto(KINDS.FLOAT, None)
    sequence = onnx.helper.make_sequence_type_proto(kind)
    model.graph.output.append(onnx.helper.make_value_info("several", sequence))
    onnx.save(model, source)
    with pytest.raises(DataFileError, match=r"several of .* is not a tensor: \(sequence\)"):
        defended(source)


def test_files_that_do_not_fit(tmp_path: Path) -> None:
    source = linear(tmp_path / "m.onnx")
    with pytest.raises(DataFileError, match="cannot be read"):
        export(tmp_path / "none.onnx", tmp_path / "d.onnx", DEFENSE)
    with pytest.raises(DataFileError, match="cannot be read"):
        export(tmp_path, tmp_path / "d.onnx", DEFENSE)
    for content in (b"no model", b""):
        (tmp_path / "bad.onnx").write_bytes(content)
        with pytest.raises(DataFileError, match="is not an ONNX model"):
            export(tmp_path / "bad.onnx", tmp_path / "d.onnx", DEFENSE)
    with pytest.raises(InputError, match="is the model itself"):
        export(source, source, DEFENSE)
    with pytest.raises(InputError, match="cannot be written"):
        export(source, tmp_path / "nowhere" / "d.onnx", DEFENSE)
    with pytest.raises(DataFileError, match="is defended already"):
        export(defended(source), tmp_path / "again.onnx", DEFENSE)


def test_a_size_that_no_input_tells_is_refused(tmp_path: Path) -> None:
    nodes = [node("NonZero", ["x"], ["z"]), node("Cast", ["z"], ["logits"], to=KINDS.FLOAT)]
    source = save(
        tmp_path / "m.onnx", nodes, [tensor("x", ["batch", 3])], [tensor("logits", [2, "k"])]
    )
    with pytest.raises(DataFileError, match=r"size of axis 1 of logits .* follows from no input's"):
        export(source, tmp_path / "d.onnx", DEFENSE, class_axis=0)


def test_what_the_checker_refuses_is_not_written(tmp_path: Path) -> None:
    source = linear(tmp_path / "m.onnx", node("Nonsense", ["logits"], ["more"]))
    model = onnx.load(source)
    model.graph.node[0].op_type = "Nonsense"
    onnx.save(model, source)
    with pytest.raises(DataFileError, match=r"does not pass ONNX's checker.*Nonsense"):
        defended(source)
    assert [one.name for one in tmp_path.iterdir()] == ["m.onnx"]
