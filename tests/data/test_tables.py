"""A user's tables: what is read, and one clear sentence for what cannot be."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.preprocessing import StandardScaler

from dynanoise.core.errors import DataFileError, DynaNoiseError, InputError, MissingExtraError
from dynanoise.core.registry import DATASETS
from dynanoise.data import catalog, tables
from tests.factories.data_files import arrow, parquet

X = np.array([[1.0, 2.5], [3.0, -1.0], [0.0, 7.0]])
ONES = np.ones((4, 2))


def npz(path: Path, **arrays: Any) -> Path:
    np.savez(path / "mine.npz", **arrays)
    return path / "mine.npz"


def csv(path: Path, text: str) -> Path:
    (path / "mine.csv").write_text(text)
    return path / "mine.csv"


@pytest.mark.parametrize("dtype", [np.int8, np.int64, np.float64, np.bool_])
def test_npz(tmp_path: Path, dtype: Any) -> None:
    data = tables.load_table(npz(tmp_path, X=X, y=np.array([0, 1, 1]).astype(dtype)))
    assert data.inputs.tolist() == X.tolist() and data.inputs.dtype == np.float32
    assert data.labels.tolist() == [0, 1, 1] and data.labels.dtype == np.int64
    assert (data.name, data.classes, data.class_names) == ("mine", 2, ())


def test_npz_of_images_stays_uint8(tmp_path: Path) -> None:
    images = np.arange(2 * 4 * 4 * 3, dtype=np.uint8).reshape(2, 4, 4, 3)
    data = tables.load_table(npz(tmp_path, X=images, y=["dog", "cat"]))
    np.testing.assert_array_equal(data.inputs, images)
    assert data.labels.tolist() == [1, 0] and data.class_names == ("cat", "dog")


@pytest.mark.parametrize(
    "text",
    [
        "a,b,label\n1,2.5,no\n3,-1,yes\n0,7,yes\n",
        "a,Label,b\n1,no,2.5\n3,yes,-1\n0,yes,7\n",
        "y,a,b\nno,1,2.5\nyes,3,-1\nyes,0,7\n",
        "a,b,outcome\n1,2.5,no\n3,-1,yes\n0,7,yes\n",
    ],
)
def test_csv_with_the_label_in_any_of_its_places(tmp_path: Path, text: str) -> None:
    data = tables.load_table(csv(tmp_path, text))
    assert data.inputs.tolist() == X.tolist()
    assert data.labels.tolist() == [0, 1, 1] and data.class_names == ("no", "yes")


def test_parquet(tmp_path: Path) -> None:
    path = tmp_path / "mine.parquet"
    columns = {"a": X[:, 0], "b": X[:, 1], "on": [True, False, True], "target": [1, 0, 2]}
    parquet.write_table(arrow.table(columns), path)
    data = tables.load_table(path)
    assert data.inputs.tolist() == [[1, 2.5, 1], [3, -1, 0], [0, 7, 1]]
    assert data.labels.tolist() == [1, 0, 2] and data.classes == 3


def test_columns_are_standardised_when_asked(tmp_path: Path) -> None:
    """Against scikit-learn's scaler."""
    path = npz(tmp_path, X=np.column_stack([X, [5, 5, 5]]), y=[0, 1, 1])
    wanted = StandardScaler().fit_transform(np.column_stack([X, [5, 5, 5]]))
    np.testing.assert_allclose(tables.load_table(path, standardise=True).inputs, wanted, atol=1e-6)


def test_breast_cancer_is_standardised() -> None:
    from sklearn.datasets import load_breast_cancer

    inputs, labels = load_breast_cancer(return_X_y=True)
    data = DATASETS.get("breast_cancer")()
    np.testing.assert_allclose(data.inputs, StandardScaler().fit_transform(inputs), atol=1e-5)
    np.testing.assert_array_equal(data.labels, labels)
    assert data.test_from is None and data.inputs.dtype == np.float32


@pytest.mark.parametrize(
    ("arrays", "says"),
    [
        ({"X": X, "y": [0, 1, 3]}, "labels from 0 to 3 with 3 classes. Labels count from 0 to 2"),
        ({"X": X, "y": [1, 2, 1]}, "labels from 1 to 2 with 2 classes"),
        ({"X": X, "y": [-1, 0, 1]}, "labels from -1 to 1"),
        ({"X": X, "y": [0, 0, 0]}, "mine has labels of one class only"),
        ({"X": X, "y": ["a", "a", "a"]}, "mine has labels of one class only"),
        ({"X": X, "y": [0, 0.5, 1]}, "y of .* holds 0.5 in row 1. Unknown label type: labels are"),
        ({"X": X, "y": [0, np.nan, 1]}, "y of .* holds nan in row 1. Give every record a label"),
        ({"X": X, "y": [[0, 2], [1, 0], [0, 1]]}, r"y of .* shape \(3, 2\), and row 0 holds 2"),
        ({"X": X, "y": [0, 1]}, "3 inputs and 2 labels"),
        ({"X": X[:0], "y": []}, "has no records"),
        ({"X": [[0.0, 1], [np.nan, 2]], "y": [0, 1]}, "the input nan in row 1, column 0"),
        ({"X": [[0.0, 1e300], [1, 2]], "y": [0, 1]}, "the input 1e\\+300 in row 0, column 1"),
        ({"X": [1.0, 2.0], "y": [0, 1]}, r"X of .* is float64 of the shape \(2,\)"),
        ({"X": [["a"], ["b"]], "y": [0, 1]}, "X holds numbers"),
        ({"X": X, "labels": [0, 1, 1]}, "has the arrays X, labels"),
        ({"X": np.array([[{}], [{}]]), "y": [0, 1]}, "npz without pickle: 'X' holds Python obj"),
    ],
)
def test_arrays_that_are_refused(tmp_path: Path, arrays: dict[str, Any], says: str) -> None:
    with pytest.raises(DynaNoiseError, match=says):
        tables.load_table(npz(tmp_path, **arrays))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a,b,label\n1,,0\n2,3,1\n", "the input nan in row 0, column 1"),
        (
            "a,b,label\n1,2,0\n2,3,\n",
            "'label' of .* holds nan in row 1. Give every",
        ),
        (
            "a,city,label\n1,Oslo,0\n2,Rome,1\n",
            "'city' of .* holds the text 'Oslo' in row 0",
        ),
        ("1,2,0\n2,3,1\n", "first line of .* holds numbers"),
        ("label\n0\n1\n", "has 1 columns"),
        ("a,b,label\n1,2,0\n1,2\n", "has 3 column names and 2 columns in line 3"),
        ("", "cannot be read as csv"),
    ],
)
def test_csv_that_is_refused(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(DynaNoiseError, match=says):
        tables.load_table(csv(tmp_path, text))


@pytest.mark.parametrize("name", ["mine.npz", "mine.parquet"])
def test_unreadable_files_are_named(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    for content in (b"", b"PK\x03\x04 no zip", b"garbage" * 100):
        path.write_bytes(content)
        with pytest.raises(DataFileError, match=f"{name} cannot be read as"):
            tables.load_table(path)
    path.unlink()
    with pytest.raises(DataFileError, match=f"There is no file .*{name}"):
        tables.load_table(path)


def test_other_endings_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataFileError, match=r"ends in \.txt"):
        tables.load_table(tmp_path / "mine.txt")


def test_without_pyarrow_the_extra_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "mine.parquet"
    parquet.write_table(arrow.table({"a": [1.0, 2.0], "label": [0, 1]}), path)
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    with pytest.raises(MissingExtraError, match=r"pyarrow.*pip install .*pyarrow"):
        tables.load_table(path)
    assert tables.load_table(csv(tmp_path, "a,label\n1,0\n2,1\n")).classes == 2
    assert tables.load_table(npz(tmp_path, X=X, y=[0, 1, 1])).classes == 2


def test_anything_finds_tables_and_names(tmp_path: Path) -> None:
    assert catalog.load_data(str(npz(tmp_path, X=X, y=[0, 1, 1]))).name == "mine"
    assert catalog.load_data("breast_cancer").name == "breast_cancer"
    with pytest.raises(DynaNoiseError, match="Did you mean 'digits'"):
        catalog.load_data("digit")
    with pytest.raises(DataFileError, match=r"There is nothing at .*other\.csv"):
        catalog.load_data(str(tmp_path / "other.csv"))


def test_a_range_error_is_an_input_error(tmp_path: Path) -> None:
    with pytest.raises(InputError):
        tables.load_table(npz(tmp_path, X=ONES, y=[0, 1, 2, 9]))


@pytest.mark.parametrize(
    ("columns", "label", "says"),
    [
        ({"a": [0.5, 1.0], "b": [1.0, 2.0], "species": ["x", "y"]}, None, "'species'"),
        ({"a": [0.5, 1.0], "species": ["x", "y"], "b": [1.0, 2.0]}, "species", "'species'"),
        ({"class": [0, 1], "a": [0.5, 1.0], "b": [1.0, 2.0]}, None, "'class'"),
        ({"a": [0.5, 1.0], "b": [1.0, 2.0], "label": [1, 0]}, None, "'label'"),
        ({"a": [0.5, 1.0], "b": [1.0, 2.0], "y": [1, 0]}, None, "'y'"),
    ],
)
def test_the_column_of_labels_is_told(
    columns: dict[str, list[Any]],
    label: str | None,
    says: str,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    path = tmp_path / "data.csv"
    rows = zip(*(values * 30 for values in columns.values()), strict=True)
    path.write_text("\n".join(",".join(map(str, row)) for row in [columns, *rows]))
    tables.load_table(path, label=label)
    expected = f"labels: column {says}, 2 classes; inputs: 2 columns; 60 records."
    assert [text for text in caplog.messages if text.endswith(expected)]


@pytest.mark.parametrize(
    ("name", "told"),
    [
        *((name, True) for name in ("customer_id", "PassengerId", "userID", "Index", "row id")),
        *((name, False) for name in ("grid", "void", "width", "liquid", "idea")),
    ],
)
def test_identifiers_among_the_inputs_are_pointed_out(
    name: str, told: bool, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "data.csv"
    rows = [f"{row % 7},{row / 8},{row % 2}" for row in range(60)]
    path.write_text("\n".join([f"{name},a,label", *rows]))
    tables.load_table(path)
    expected = f"the column {name!r} looks like an identifier of the records and is an input"
    assert any(expected in text for text in caplog.messages) == told


def test_a_column_of_distinct_whole_numbers_is_pointed_out(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "data.csv"
    rows = [f"{1000 + row},{row / 8},{row % 2}" for row in range(60)]
    path.write_text("\n".join(["number,a,label", *rows]))
    tables.load_table(path)
    (told,) = (text for text in caplog.messages if "column 'number' looks like an ident" in text)
    assert told.endswith("leave it out of the table unless the model should take it.")
