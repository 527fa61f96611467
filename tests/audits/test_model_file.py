"""Models in files: ONNX and torch say the same, and each mistake has its sentence."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dynanoise.audits.model_file import query_model
from dynanoise.core.errors import DataFileError, InputError
from dynanoise.core.numerics import softmax

onnx: Any = pytest.importorskip("onnx", reason="test models are made by onnx")
pytest.importorskip("onnxruntime", reason="ONNX models need: pip install 'dynanoise[onnx]'")

WEIGHTS = np.random.default_rng(0).normal(0, 1, (3, 4)).astype(np.float32)
FACTORY = "tests.audits.test_model_file:linear"


def linear() -> Any:
    """Model that the factory builds."""
    from torch import nn

    return nn.Linear(4, 3, bias=False)


def two_layers() -> Any:
    """Model that the factory builds, with one weight in two layers."""
    from torch import nn

    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 3))
    model[1].weight = model[0].weight
    return model


def wrapped() -> Any:
    """Model that the factory builds, with names as behind DataParallel."""
    from torch import nn

    model = nn.Sequential()
    model.add_module("module", linear())
    return model


def write_onnx(path: Path, *, batch: int | str = "n", end: str | None = None) -> Path:
    helper, kinds = onnx.helper, onnx.TensorProto
    nodes = [helper.make_node("MatMul", ["x", "w"], ["z"])]
    if end is not None:
        nodes.append(helper.make_node(end, ["z"], ["end"]))
    last = "z" if end is None else "end"
    kind = kinds.INT64 if end == "ArgMax" else kinds.FLOAT
    graph = helper.make_graph(
        nodes,
        "model",
        [helper.make_tensor_value_info("x", kinds.FLOAT, [batch, 4])],
        [helper.make_tensor_value_info(last, kind, None)],
        [onnx.numpy_helper.from_array(np.ascontiguousarray(WEIGHTS.T), "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, str(path))
    return path


def tables(
    folder: Path, labels: dict[str, Any] | None = None, columns: int = 4
) -> tuple[Path, Path]:
    generator = np.random.default_rng(1)
    for name in ("in", "out"):
        inputs = generator.normal(0, 1, (50, columns)).astype(np.float32)
        classes = (labels or {}).get(name, np.arange(50) % 3)
        np.savez(folder / f"{name}.npz", X=inputs, y=classes)
    return folder / "in.npz", folder / "out.npz"


@pytest.mark.parametrize("batch", ["n", 1])
@pytest.mark.parametrize("end", [None, "Softmax"])
def test_onnx_answers_are_logits_or_probabilities(
    tmp_path: Path, batch: int | str, end: str | None
) -> None:
    inside, outside = tables(tmp_path)
    outputs = query_model(
        write_onnx(tmp_path / "m.onnx", batch=batch, end=end), None, inside, outside
    )
    inputs = np.concatenate([np.load(inside)["X"], np.load(outside)["X"]])
    expected = inputs.astype(np.float64) @ WEIGHTS.T
    np.testing.assert_allclose(
        softmax(outputs.logits[0].astype(float)), softmax(expected), rtol=1e-4
    )
    assert outputs.query is not None
    np.testing.assert_allclose(outputs.query(inputs), outputs.logits[0], rtol=1e-6)
    np.testing.assert_array_equal(outputs.member[0], np.arange(100) < 50)
    np.testing.assert_array_equal(outputs.labels[:50], np.arange(50) % 3)


def test_torch_says_what_onnx_says(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch", reason="torch models need: pip install 'dynanoise[train]'")
    files = pytest.importorskip("safetensors.torch")
    inside, outside = tables(tmp_path)
    files.save_file({"weight": torch.tensor(WEIGHTS)}, tmp_path / "m.safetensors")
    outputs = query_model(tmp_path / "m.safetensors", FACTORY, inside, outside)
    same = query_model(write_onnx(tmp_path / "m.onnx"), None, inside, outside)
    np.testing.assert_allclose(outputs.logits, same.logits, atol=1e-5)
    assert outputs.query is not None
    np.testing.assert_allclose(outputs.query(np.eye(4)), WEIGHTS.T, atol=1e-6)
    wrong = tmp_path / "wrong.safetensors"
    files.save_file({"bias": torch.zeros(3)}, wrong)
    with pytest.raises(DataFileError, match=r"does not hold the weights of what tests.audit"):
        query_model(wrong, FACTORY, inside, outside)
    for factory, says in (
        ("linear", "Write package.module:function"),
        ("tests.audit:nobody", "cannot be called"),
        ("nowhere_at_all:linear", "cannot be called"),
        ("builtins:dict", "made a dict"),
    ):
        with pytest.raises(InputError, match=says):
            query_model(tmp_path / "m.safetensors", factory, inside, outside)
    with pytest.raises(DataFileError, match=r"returns no output for inputs of shape"):
        query_model(tmp_path / "m.safetensors", FACTORY, *tables(tmp_path, columns=5))


def add_part(name: str) -> str:
    """Names as torch.compile of the first layer writes them."""
    return name.replace("0.", "0._orig_mod.")


@pytest.mark.parametrize(
    ("factory", "rename"),
    [
        ("two_layers", lambda name: f"module.{name}"),
        ("two_layers", lambda name: f"_orig_mod.{name}"),
        ("two_layers", lambda name: f"_orig_mod.module.{name}"),
        ("two_layers", lambda name: f"model.net.{name}"),
        ("two_layers", add_part),
        ("two_layers", lambda name: f"module.{add_part(name)}"),
        ("wrapped", lambda name: name.removeprefix("module.")),
        ("wrapped", lambda name: name.replace("module.", "_orig_mod.")),
    ],
)
def test_weights_of_wrapped_models_are_loaded_under_the_models_names(
    tmp_path: Path, factory: str, rename: Callable[[str], str]
) -> None:
    torch = pytest.importorskip("torch", reason="torch models need: pip install 'dynanoise[train]'")
    files = pytest.importorskip("safetensors.torch")
    torch.manual_seed(0)
    model = {"two_layers": two_layers, "wrapped": wrapped}[factory]()
    state = {name: value.detach() for name, value in model.state_dict().items()}
    state.pop("1.weight", None)  # as save_model leaves one of two shared weights out
    path = tmp_path / "m.safetensors"
    files.save_file({rename(name): value for name, value in state.items()}, path)
    inside, outside = tables(tmp_path)
    outputs = query_model(path, f"tests.audits.test_model_file:{factory}", inside, outside)
    inputs = np.concatenate([np.load(inside)["X"], np.load(outside)["X"]])
    with torch.no_grad():
        expected = model(torch.from_numpy(inputs)).numpy()
    np.testing.assert_allclose(outputs.logits[0], expected, rtol=1e-6)
    first = next(iter(sorted(state)))
    assert outputs.notes == (
        f"Names of weights were changed to the model's: {rename(first)} is now {first}.",
    )


@pytest.mark.parametrize(
    ("names", "says"),
    [
        (["module.weight", "head.bias"], r"without weight, with head.bias, module.weight"),
        (["module.weight", "module.bias"], r"without weight, with module.bias, module.weight"),
        (["net.kernel"], "without weight, with net.kernel"),
        (["module.weight"], r"module.weight has shape \[3, 5\] and needs \[3, 4\]"),
    ],
)
def test_other_weights_are_refused_with_their_names(
    tmp_path: Path, names: list[str], says: str
) -> None:
    torch = pytest.importorskip("torch", reason="torch models need: pip install 'dynanoise[train]'")
    files = pytest.importorskip("safetensors.torch")
    shape = (3, 5) if "shape" in says else (3, 4)
    path = tmp_path / "m.safetensors"
    files.save_file({name: torch.zeros(shape) for name in names}, path)
    with pytest.raises(DataFileError, match=says):
        query_model(path, FACTORY, *tables(tmp_path))


def test_mistakes_with_onnx_have_their_sentences(tmp_path: Path) -> None:
    model = write_onnx(tmp_path / "m.onnx")
    inside, outside = tables(tmp_path)
    with pytest.raises(InputError, match=r"comes with a factory"):
        query_model(model, FACTORY, inside, outside)
    with pytest.raises(InputError, match=r"comes without a factory"):
        query_model(tmp_path / "m.safetensors", None, inside, outside)
    with pytest.raises(DataFileError, match=r"ends in .pt.*dynanoise.audit\(estimator, X, y\)"):
        query_model(tmp_path / "m.pt", None, inside, outside)
    with pytest.raises(DataFileError, match=r"nowhere.onnx cannot be read"):
        query_model(tmp_path / "nowhere.onnx", None, inside, outside)
    labels_only = write_onnx(tmp_path / "labels.onnx", end="ArgMax")
    with pytest.raises(DataFileError, match=r"holds int64 .*no floating-point numbers"):
        query_model(labels_only, None, inside, outside)
    (tmp_path / "bad.onnx").write_text("no model")
    with pytest.raises(DataFileError, match=r"is not an ONNX model"):
        query_model(tmp_path / "bad.onnx", None, inside, outside)
    with pytest.raises(DataFileError, match=r"returns no output for inputs of shape"):
        query_model(model, None, *tables(tmp_path, columns=5))
    with pytest.raises(InputError, match=r"labels hold 3 with 3 classes"):
        query_model(
            model, None, *tables(tmp_path, {"in": np.arange(50) % 4, "out": np.arange(50) % 4})
        )
    with pytest.raises(DataFileError, match=r"The classes are a, b in in.npz and numbers in out"):
        query_model(model, None, *tables(tmp_path, {"in": np.array(["a", "b"] * 25)}))
