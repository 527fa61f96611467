"""Inputs, keys and files by which a record would be answered by a model that was trained on it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from sklearn.datasets import make_classification
from sklearn.naive_bayes import GaussianNB
from sklearn.tree import DecisionTreeClassifier

from dynanoise.core.errors import DataFileError, InputError
from dynanoise.noise.keys import ExperimentKey, Secret
from dynanoise.partition.cells import Cells
from dynanoise.partition.exclusion import Exclusion
from dynanoise.partition.neighbourhood import NumberNoise
from dynanoise.sklearn import OutOfFoldClassifier

X, Y = make_classification(240, 6, n_informative=4, n_classes=3, random_state=0)
REFERENCE, X, Y = X[:80], X[80:], Y[80:]


def test_another_key_than_that_of_the_training_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DYNANOISE_CELLS", "5f" * 32)
    model = OutOfFoldClassifier(GaussianNB(), key="env:DYNANOISE_CELLS").fit(X, Y)
    before = model.predict_proba(X)
    monkeypatch.setenv("DYNANOISE_CELLS", "5e" * 32)
    with pytest.raises(InputError, match="were trained with the cells"):
        model.predict_proba(X)
    monkeypatch.setenv("DYNANOISE_CELLS", "5f" * 32)
    assert (model.predict_proba(X) == before).all()


@pytest.mark.parametrize("dtype", ["U20", object])
def test_numbers_as_texts_are_refused(dtype: Any) -> None:
    model = OutOfFoldClassifier(DecisionTreeClassifier()).fit(X, Y)
    with pytest.raises(InputError, match="Column 0 has texts where `fit` had numbers"):
        model.predict_proba(X.astype("U20").astype(dtype))
    numbers = X.astype(np.float32).astype(object)
    assert (model.predict_proba(numbers) == model.predict_proba(X)).all()


def test_a_column_of_a_frame_that_became_texts_is_refused() -> None:
    pandas = pytest.importorskip("pandas", reason="frames need: pip install pandas")
    frame = pandas.DataFrame(X, columns=[*"abcdef"])
    model = OutOfFoldClassifier(DecisionTreeClassifier()).fit(frame, Y)
    with pytest.raises(InputError, match="Column 2 has texts"):
        model.predict_proba(frame.assign(c=frame["c"].astype(str)))


def test_the_column_of_groups_is_that_of_the_fit() -> None:
    patients = np.column_stack([X, np.arange(len(X)) // 2])
    model = OutOfFoldClassifier(GaussianNB(), groups=6).fit(patients, Y)
    before = model.predict_proba(patients)
    assert (model.set_params(groups=None).predict_proba(patients) == before).all()
    pandas = pytest.importorskip("pandas", reason="frames need: pip install pandas")
    frame = pandas.DataFrame(patients, columns=[6, 5, 4, 3, 2, 1, 0])
    with pytest.raises(InputError, match="another column of X is named 6"):
        OutOfFoldClassifier(GaussianNB(), groups=6).fit(frame, Y)
    with pytest.raises(InputError, match="groups is True"):
        OutOfFoldClassifier(GaussianNB(), groups=True).fit(X, Y)


def test_a_fit_that_fails_leaves_the_classes_of_the_one_before() -> None:
    model = OutOfFoldClassifier(GaussianNB()).fit(X, Y)
    with pytest.raises(InputError, match="has none of the records"):
        model.fit(X[:1].repeat(3, axis=0), ["x", "y", "z"])
    assert set(model.predict(X)) <= {0, 1, 2}


def test_lists_and_a_series_of_texts_are_fitted_and_verified() -> None:
    model = OutOfFoldClassifier(GaussianNB()).fit(X.tolist(), Y)
    model.verify(X.tolist())
    pandas = pytest.importorskip("pandas", reason="frames need: pip install pandas")
    from sklearn.feature_extraction.text import CountVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    texts = [f"word{row % 7} word{row % 11} word{row}" for row in range(60)]
    words = make_pipeline(CountVectorizer(), LogisticRegression())
    series = pandas.Series(texts)
    of_texts = OutOfFoldClassifier(words, 3).fit(series, np.arange(60) % 2)
    of_texts.verify(texts)
    assert (of_texts.predict_proba(series) == of_texts.predict_proba(texts)).all()


def constant_models(folds: int) -> list[Any]:
    """Modules whose only output is the number of their fold."""
    torch: Any = pytest.importorskip("torch", reason="pip install 'dynanoise[train]'")

    class Constant(torch.nn.Module):  # type: ignore[misc]
        def __init__(self, fold: int) -> None:
            super().__init__()
            self.fold = fold

        def forward(self, inputs: Any) -> Any:
            return torch.full((len(inputs), 1), float(self.fold))

    return [Constant(fold) for fold in range(folds)]


def test_a_router_refuses_half_precision_and_scaled_pixels() -> None:
    models = constant_models(5)
    import torch

    from dynanoise.torch import Router

    router = Router(models, Cells.fit(REFERENCE, width=0))
    rows = torch.from_numpy(X.astype(np.float32))
    assert router(rows)[:, 0].tolist() == router.cells.fold(X).tolist()
    for dtype in (torch.float16, torch.bfloat16):
        with pytest.raises(InputError, match=f"The inputs are {dtype}"):
            router(rows.to(dtype))
    pixels = np.random.default_rng(0).integers(0, 256, (30, 8, 8, 3)).astype(np.uint8)
    images = Router(models, Cells.fit(pixels))
    inputs = torch.from_numpy(pixels)
    assert (images(inputs.float()) == images(inputs)).all()
    for wrong in (inputs.float() / 255, inputs.float() - 1, inputs.float() * torch.nan):
        with pytest.raises(InputError, match="not whole numbers from 0 to 255"):
            images(wrong)


def test_a_router_refuses_weights_of_other_cells(monkeypatch: pytest.MonkeyPatch) -> None:
    models = constant_models(5)
    import torch

    from dynanoise.torch import Router

    cells, rows = Cells.fit(REFERENCE, width=0), torch.from_numpy(X.astype(np.float32))
    router = Router(models, cells)
    other = Router(models, replace(cells, key=ExperimentKey(7)))
    other.load_state_dict(router.state_dict())
    with pytest.raises(InputError, match="The weights belong to other cells"):
        other(rows)
    monkeypatch.setenv("DYNANOISE_CELLS", "5f" * 32)
    secret = Router(models, replace(cells, key=Secret("env:DYNANOISE_CELLS")))
    assert len(secret(rows)) == len(rows)
    monkeypatch.setenv("DYNANOISE_CELLS", "5e" * 32)
    with pytest.raises(InputError, match="the key of the cells has changed"):
        secret(rows)


def test_a_folder_refuses_inputs_of_half_precision(tmp_path: Any) -> None:
    onnx: Any = pytest.importorskip("onnx", reason="makes the model: pip install 'dynanoise[dev]'")
    pytest.importorskip("onnxruntime", reason="ONNX models: pip install 'dynanoise[onnx]'")
    pytest.importorskip("safetensors", reason="files of cells need safetensors")
    from dynanoise.integrations.out_of_fold.onnx_folder import write_models
    from dynanoise.onnx import DefendedSession

    helper, cells = onnx.helper, Cells.fit(REFERENCE, folds=2, width=0)
    exclusion = Exclusion.of(cells, X)
    for half, kind in ((False, onnx.TensorProto.FLOAT), (True, onnx.TensorProto.FLOAT16)):
        weights = np.ones((6, 2), np.float16 if half else np.float32)
        graph = helper.make_graph(
            [helper.make_node("MatMul", ["x", "w"], ["logits"])],
            "m",
            [helper.make_tensor_value_info("x", kind, ["n", 6])],
            [helper.make_tensor_value_info("logits", kind, ["n", 2])],
            [onnx.numpy_helper.from_array(weights, "w")],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
        write_models(tmp_path, [model.SerializeToString()] * 2, cells, exclusion)
        if half:
            with pytest.raises(DataFileError, match=r"Input x of model 0 .* is float16"):
                DefendedSession(tmp_path, input="logits")
        else:
            session = DefendedSession(tmp_path, input="logits")
            assert session(X.astype(np.float32)).shape == (len(X), 2)


def test_a_frame_in_another_order_is_not_exported(tmp_path: Any) -> None:
    pandas = pytest.importorskip("pandas", reason="frames need: pip install pandas")
    from dynanoise.onnx import export_out_of_fold

    frame = pandas.DataFrame(X, columns=[*"abcdef"])
    model = OutOfFoldClassifier(GaussianNB()).fit(frame, Y)
    with pytest.raises(ValueError, match="feature names"):
        export_out_of_fold(model, tmp_path, frame[[*"fabcde"]])


def test_groups_of_a_proof_are_those_of_the_training() -> None:
    cells = Cells.fit(REFERENCE, neighbourhood=NumberNoise(0.05, relative=True))
    patients = np.arange(len(X)) // 2
    exclusion = Exclusion.of(cells, X, patients)
    exclusion.verify(cells, X, [f"p{patient}" for patient in patients[::-1]])
    for others in (np.arange(len(X)), patients // 2):
        with pytest.raises(InputError, match="not the groups of the training"):
            exclusion.verify(cells, X, others)
