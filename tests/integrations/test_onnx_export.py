"""`export`: which models, which outputs, and what the file holds."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dynanoise.core.errors import DataFileError, InputError
from dynanoise.defenses.dynanoise import DynaNoise
from dynanoise.defenses.temperature import Temperature
from tests.factories import onnx_models
from tests.factories.onnx_models import (
    DEFENSE,
    KINDS,
    NORMALS,
    ROWS,
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
from tests.factories.wrapper_noise import SECRET, FixedNoise, holds_secret

pytest.importorskip("onnxruntime", reason="pip install 'dynanoise[onnx]'")

from dynanoise.onnx import DefendedSession, export


def test_what_the_file_is(tmp_path: Path) -> None:
    target = defended(linear(tmp_path / "m.onnx"))
    model = onnx.load(target)
    assert [one.name for one in model.graph.input] == ["x", "noise"]
    assert [one.name for one in model.graph.output] == ["probabilities"]
    assert not [one for one in model.graph.node if "Random" in one.op_type]
    assert model.opset_import[0].version == 18 and model.ir_version == 8
    (entry,) = model.metadata_props
    assert entry.key == "dynanoise"
    said = json.loads(entry.value)
    assert said["defense"]["temperature"] == 4.0 and said["noise"] == "noise"
    found = onnx_models.run(target, x=ROWS, noise=NORMALS)
    np.testing.assert_allclose(found, expected(ROWS @ onnx_models.WEIGHTS), atol=1e-6)


def test_the_same_model_gives_the_same_bytes_without_a_secret(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DYNANOISE_KEY", SECRET)
    source = linear(tmp_path / "m.onnx")
    first = defended(source).read_bytes()
    assert defended(source).read_bytes() == first
    assert not holds_secret(first) and str(tmp_path).encode() not in first
    assert sorted(one.name for one in tmp_path.iterdir()) == ["defended.onnx", "m.onnx"]


@pytest.mark.parametrize("opset", [7, 9, 11, 12, 13, 17, 18, 19, 20, 21, 22])
def test_opsets(tmp_path: Path, opset: int) -> None:
    """Softmax meant another thing before 13, dropout before 12, squeezing before 13."""
    squeezed = {"axes": [0]} if opset < 13 else {}
    inputs, given = (["u"], []) if opset < 13 else (["u", "axes"], [constant("axes", [0])])
    nodes = [
        node("MatMul", ["x", "w"], ["a"]),
        node("Dropout", ["a"], ["b"]),
        node("Unsqueeze", ["b", *inputs[1:]], ["u"], **squeezed),
        node("Squeeze", inputs, ["logits"], **squeezed),
        node("Softmax", ["logits"], ["probs"], axis=1),
    ]
    source = save(
        tmp_path / "m.onnx",
        nodes,
        [tensor("x", ["n", 4])],
        [tensor("probs", ["n", 3])],
        [constant("w", onnx_models.WEIGHTS), *given],
        opset=opset,
        ir_version=4 if opset < 13 else 8,
    )
    target = defended(source, input="probabilities")
    found = onnx_models.run(target, x=ROWS, noise=NORMALS)
    np.testing.assert_allclose(found, expected(ROWS @ onnx_models.WEIGHTS), atol=1e-6)
    model = onnx.load(target)
    assert model.opset_import[0].version == max(opset, 18) and model.ir_version == 8


def test_other_outputs_and_what_only_they_need_are_dropped(tmp_path: Path) -> None:
    source = linear(
        tmp_path / "m.onnx",
        node("ArgMax", ["logits"], ["label"], axis=-1, keepdims=0),
        node("Add", ["logits", "big"], ["features"]),
        constants=[constant("big", np.full(3, 7, np.float32))],
        output=[
            tensor("label", ["batch"], KINDS.INT64),
            tensor("logits", ["batch", 3]),
            tensor("features", ["batch", 3]),
        ],
    )
    made = export(source, tmp_path / "d.onnx", DEFENSE, output="logits")
    assert made.dropped == ("label", "features")
    graph = onnx.load(tmp_path / "d.onnx").graph
    assert [one.name for one in graph.output] == ["probabilities"]
    names = {name for one in graph.node for name in one.output} | {
        one.name for one in graph.initializer
    }
    assert not names & {"label", "features", "big"} and "w" in names


@pytest.mark.parametrize(("opset", "ir_version"), [(13, 3), (18, 8)])
def test_constants_that_inputs_list_are_dropped_with_them(
    tmp_path: Path, opset: int, ir_version: int
) -> None:
    """Else whoever asks would have to supply the weights of an output that is gone."""
    heads = [node("MatMul", ["x", w], [y]) for w, y in (("w", "logits"), ("v", "other"))]
    dims = {"x": ["batch", 4], "w": [4, 3], "v": [4, 3]}
    source = save(
        tmp_path / "m.onnx",
        heads,
        [tensor(name, shape) for name, shape in dims.items()],
        [tensor(name, ["batch", 3]) for name in ("logits", "other")],
        [constant("w", onnx_models.WEIGHTS), constant("v", onnx_models.WEIGHTS + 1)],
        opset=opset,
        ir_version=ir_version,
    )
    target = defended(source, output="logits")
    assert [one.name for one in onnx.load(target).graph.input] == ["x", "w", "noise"]
    answer = DefendedSession(target, FixedNoise(NORMALS))(ROWS)
    assert np.allclose(answer, expected(ROWS @ onnx_models.WEIGHTS), rtol=0, atol=1e-6)


def test_a_tensor_inside_can_be_named(tmp_path: Path) -> None:
    ends = node("Softmax", ["logits"], ["probs"], axis=-1)
    source = linear(tmp_path / "m.onnx", ends, output=tensor("probs", ["batch", 3]))
    with pytest.raises(DataFileError, match=r"comes from Softmax.*--output logits"):
        defended(source)
    found = onnx_models.run(defended(source, output="logits"), x=ROWS, noise=NORMALS)
    assert "Softmax" not in [one.name for one in onnx.load(source).graph.node]
    np.testing.assert_allclose(found, expected(ROWS @ onnx_models.WEIGHTS), atol=1e-6)


def test_probabilities_of_zero_count_as_in_the_library(tmp_path: Path) -> None:
    source = onnx_models.identity(tmp_path / "m.onnx")
    probs = floats([[1, 0, 0], [0.5, 0.5, 0], [0.2, 0.3, 0.5], [1e-40, 1, 0], [0, 0, 1]])
    warm = DynaNoise(0.3, 2, 100)  # so warm that the logarithm of 0 shows
    export(source, tmp_path / "d.onnx", warm, input="probabilities")
    found = onnx_models.run(tmp_path / "d.onnx", x=probs, noise=NORMALS)
    logs = np.log(np.maximum(probs.astype(np.float64), np.finfo(np.float64).tiny))
    np.testing.assert_allclose(found, expected(logs, warm), atol=1e-6)
    assert found[0, 1] > 1e-5


@pytest.mark.parametrize(
    ("kind", "dtype"), [(KINDS.DOUBLE, np.float64), (KINDS.FLOAT16, np.float16)]
)
def test_other_precisions(tmp_path: Path, kind: int, dtype: Any) -> None:
    target = defended(onnx_models.identity(tmp_path / "m.onnx", kind=kind))
    rows = np.array([[1, 2, 3], [0, 9, -9], [5, 5, 5], [6e4, 1, 0], [-6e4, 6e4, 0]], dtype)
    if dtype == np.float64:
        rows[3:] = [[1e300, 0, -1e300], [-1e39, 1e39, 0]]
    found = onnx_models.run(target, x=rows, noise=NORMALS)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected(rows.astype(np.float64)), atol=1e-6)


@pytest.mark.parametrize("kind", ["logits", "probabilities"])
@pytest.mark.parametrize("defense", [Temperature(5), DynaNoise(keep_label=True)])
def test_labels_closer_than_float32_are_kept(tmp_path: Path, kind: str, defense: Any) -> None:
    """Double precision is rounded, and logarithms of neighbouring numbers can be equal."""
    double = kind == "logits"
    source = onnx_models.identity(tmp_path / "m.onnx", kind=KINDS.DOUBLE if double else KINDS.FLOAT)
    made = export(source, tmp_path / "d.onnx", defense, input=kind)
    rows = np.full((5, 3), 1 / 3, np.float64 if double else np.float32)
    rows[np.arange(5), np.arange(5) % 3] = np.nextafter(rows[0, 0], rows.dtype.type(1))
    feed = {"noise": NORMALS} if made.noise else {}
    found = onnx_models.run(tmp_path / "d.onnx", x=rows, **feed)
    np.testing.assert_array_equal(found.argmax(-1), np.arange(5) % 3)


@pytest.mark.parametrize("axis", [1, -3])
def test_classes_on_another_axis(tmp_path: Path, axis: int) -> None:
    source = onnx_models.identity(tmp_path / "m.onnx", dims=["batch", 3, 4, 2])
    made = export(source, tmp_path / "d.onnx", DynaNoise(samples=2), class_axis=axis)
    assert made.noise_shape == (2, "batch", 4, 2, 3)
    generator = np.random.default_rng(0)
    rows = generator.normal(0, 3, (5, 3, 4, 2)).astype(np.float32)
    normals = generator.normal(size=(2, 5, 4, 2, 3)).astype(np.float32)
    found = onnx_models.run(tmp_path / "d.onnx", x=rows, noise=normals)
    last = np.moveaxis(rows, 1, -1)
    answer = DynaNoise(samples=2)(last, FixedNoise(normals))
    np.testing.assert_allclose(found, np.moveaxis(answer, -1, 1), atol=1e-6)


@pytest.mark.parametrize("first", [5, None, "rows"])
def test_batches_of_any_kind(tmp_path: Path, first: Any) -> None:
    source = onnx_models.identity(tmp_path / "m.onnx", dims=[first, 3])
    made = export(source, tmp_path / "d.onnx", DEFENSE)
    assert made.noise_shape == (1, first or "batch", 3)
    rows = np.zeros((5, 3), np.float32)
    found = onnx_models.run(tmp_path / "d.onnx", x=rows, noise=NORMALS)
    np.testing.assert_allclose(found, expected(rows), atol=1e-6)


def test_names_that_are_taken(tmp_path: Path) -> None:
    nodes = [
        node("Identity", ["noise"], ["probabilities"], name="dynanoise/Sub"),
        node("Identity", ["probabilities"], ["dynanoise_noise"]),
        node("Identity", ["dynanoise_noise"], ["dynanoise/constant"]),
    ]
    dims = ["batch", 3]
    source = save(
        tmp_path / "m.onnx",
        nodes,
        [tensor("noise", dims)],
        [tensor("dynanoise/constant", dims)],
    )
    made = export(source, tmp_path / "d.onnx", DEFENSE)
    assert (made.noise, made.output) == ("dynanoise_noise_2", "dynanoise_probabilities")
    rows = np.ones((5, 3), np.float32)
    feed = {"noise": rows, "dynanoise_noise_2": NORMALS}
    found = onnx_models.run(tmp_path / "d.onnx", **feed)
    np.testing.assert_allclose(found, expected(rows), atol=1e-6)


def test_weights_in_files_beside_it_stay_there(tmp_path: Path) -> None:
    source = linear(tmp_path / "m.onnx", external=True)
    weights = (tmp_path / "m.onnx.data").read_bytes()
    (tmp_path / "elsewhere").mkdir()
    with pytest.raises(InputError, match="has its weights in files beside it"):
        export(source, tmp_path / "elsewhere" / "d.onnx", DEFENSE)
    target = defended(source)
    assert weights not in target.read_bytes()
    found = onnx_models.run(target, x=ROWS, noise=NORMALS)
    np.testing.assert_allclose(found, expected(ROWS @ onnx_models.WEIGHTS), atol=1e-6)
    assert (tmp_path / "m.onnx.data").read_bytes() == weights


def test_a_perceptron_of_scikit_learn(tmp_path: Path) -> None:
    from sklearn.datasets import load_digits
    from sklearn.neural_network import MLPClassifier

    images, labels = load_digits(return_X_y=True)
    made = MLPClassifier((16,), max_iter=30, random_state=0, tol=1.0, n_iter_no_change=50)
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it does not converge in 30 epochs
        made.fit(images[:500], labels[:500])
    (w1, w2), (b1, b2) = made.coefs_, made.intercepts_
    nodes = [
        node("Gemm", ["x", "w1", "b1"], ["a"]),
        node("Relu", ["a"], ["b"]),
        node("Gemm", ["b", "w2", "b2"], ["logits"]),
        node("Softmax", ["logits"], ["probabilities"], axis=1),
        node("ArgMax", ["probabilities"], ["label"], axis=1, keepdims=0),
    ]
    arrays = {"w1": w1, "b1": b1, "w2": w2, "b2": b2}
    source = save(
        tmp_path / "m.onnx",
        nodes,
        [tensor("x", ["n", 64])],
        [tensor("label", ["n"], KINDS.INT64), tensor("probabilities", ["n", 10])],
        [constant(name, array.astype(np.float32)) for name, array in arrays.items()],
        opset=11,
    )
    name = "probabilities"
    export(source, tmp_path / "d.onnx", DEFENSE, output=name, input="probabilities")
    normals = np.random.default_rng(0).normal(size=(1, 100, 10)).astype(np.float32)
    clean = made.predict_proba(images[500:600])
    kept = {"x": images[500:600].astype(np.float32), "noise": normals}
    found = onnx_models.run(tmp_path / "d.onnx", **kept)
    # The perceptron is in double precision, its graph in single: logits to about 1e-5.
    answer = DEFENSE(np.log(np.maximum(clean, 1e-300)), FixedNoise(normals))
    np.testing.assert_allclose(found, answer, atol=2e-5)


@pytest.mark.behaviour
def test_a_module_that_torch_exports(tmp_path: Path) -> None:
    torch: Any = pytest.importorskip("torch", reason="pip install 'dynanoise[train]'")
    pytest.importorskip("onnxscript", reason="torch.onnx needs onnxscript")
    import warnings

    nn = torch.nn
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.ReLU(), nn.Dropout())
        net = nn.Sequential(net, nn.Flatten(), nn.Linear(72, 3)).eval()
        images = torch.randn(5, 1, 8, 8)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        shapes = ({0: torch.export.Dim("batch")},)
        made = torch.onnx.export(net, (images,), dynamic_shapes=shapes, dynamo=True, verbose=False)
        made.save(tmp_path / "m.onnx")
    with torch.no_grad():
        logits = net(images).numpy()
    export(tmp_path / "m.onnx", tmp_path / "d.onnx", DEFENSE)
    name = onnx.load(tmp_path / "d.onnx").graph.input[0].name
    for count in (5, 2):
        feed = {name: images[:count].numpy(), "noise": NORMALS[:, :count]}
        found = onnx_models.run(tmp_path / "d.onnx", **feed)
        answer = DEFENSE(logits[:count], FixedNoise(NORMALS[:, :count]))
        np.testing.assert_allclose(found, answer, atol=1e-6)


def test_temperature_alone_needs_no_server(tmp_path: Path) -> None:
    made = export(linear(tmp_path / "m.onnx"), tmp_path / "d.onnx", Temperature(5))
    assert made.noise is None
    assert [one.name for one in onnx.load(tmp_path / "d.onnx").graph.input] == ["x"]
