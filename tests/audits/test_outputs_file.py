"""Files of outputs: three formats say the same, and nothing is read that could run."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dynanoise.audits.columns import ColumnNames
from dynanoise.audits.inputs import check_inputs
from dynanoise.audits.outputs_file import read_outputs
from dynanoise.core.errors import DataFileError, InputError
from tests.factories.audit_files import Arrays, arrays, probabilities


def npz(folder: Path, found: Arrays) -> Path:
    path = folder / "outputs.npz"
    np.savez(path, **found)
    return path


def csv(folder: Path, found: Arrays, header: str = "p0,p1,p2,label,member") -> Path:
    path = folder / "outputs.csv"
    columns = np.column_stack([found["probs"], found["labels"], found["member"]])
    np.savetxt(path, columns, delimiter=",", header=header, comments="", fmt="%.9g")
    return path


def parquet(folder: Path, columns: dict[str, Any]) -> Path:
    arrow = pytest.importorskip("pyarrow", reason="parquet needs pyarrow")
    files = pytest.importorskip("pyarrow.parquet")
    files.write_table(arrow.table(columns), folder / "outputs.parquet")
    return folder / "outputs.parquet"


def test_npz_csv_and_parquet_say_the_same(tmp_path: Path) -> None:
    found = probabilities(arrays(1, tests=0))
    flat = {f"p{k}": found["probs"][:, k] for k in range(3)}
    flat |= {"label": found["labels"], "member": found["member"].astype(bool)}
    lists = {"probs": found["probs"].tolist(), "labels": found["labels"]}
    read = [read_outputs(npz(tmp_path, found)), read_outputs(csv(tmp_path, found))]
    read += [read_outputs(parquet(tmp_path, flat))]
    read += [read_outputs(parquet(tmp_path, {**lists, "member": found["member"]}))]
    for given in read:
        np.testing.assert_allclose(given.logits[0], np.log(found["probs"]), atol=1e-6)
        np.testing.assert_array_equal(given.labels, found["labels"])
        np.testing.assert_array_equal(given.member[0], found["member"])


def test_parquet_of_several_models(tmp_path: Path) -> None:
    found = arrays(4, tests=0)
    columns = {
        "logits": np.moveaxis(found["logits"], 0, 1).tolist(),
        "labels": found["labels"],
        "member": found["member"].T.tolist(),
    }
    given = read_outputs(parquet(tmp_path, columns))
    np.testing.assert_array_equal(given.logits, found["logits"])
    np.testing.assert_array_equal(given.member, found["member"])


def test_a_file_that_is_no_npz_and_one_that_needs_pickle(tmp_path: Path) -> None:
    path = tmp_path / "outputs.npz"
    path.write_text("logits")
    with pytest.raises(DataFileError, match=r"cannot be read as npz without pickle"):
        read_outputs(path)
    found = arrays(1)
    found["labels"] = np.array(["cat"] * 200, dtype=object)
    with pytest.raises(DataFileError, match=r"without pickle: 'labels' holds Python objects. Sav"):
        read_outputs(npz(tmp_path, found))
    found = {**arrays(1), "ward": found["labels"]}
    with pytest.raises(DataFileError, match=r"'ward' holds Python objects.*to_numpy\(dtype=str\)"):
        read_outputs(npz(tmp_path, found), ColumnNames(groups="ward"))
    for name in ("logits", "labels"):
        for part in ("train", "test"):
            np.save(tmp_path / f"{name}_{part}.npy", found[name])
    np.save(tmp_path / "labels_test.npy", found["ward"])
    with pytest.raises(DataFileError, match=r"labels_test.npy .* as an array without pickle: it h"):
        read_outputs(tmp_path)


def test_unknown_arrays_and_columns_are_named(tmp_path: Path) -> None:
    found = arrays(1)
    found["test_label"] = found.pop("test_labels")
    with pytest.raises(DataFileError, match=r"unknown arrays: 'test_label' \(test_labels\?\)"):
        read_outputs(npz(tmp_path, found))
    flat = probabilities(arrays(1, tests=0))
    with pytest.raises(DataFileError, match=r"unknown columns: 'weight'\. Leave.*--by wei"):
        read_outputs(csv(tmp_path, flat, "p0,p1,weight,label,member"))
    columns = {"logits": found["logits"].tolist(), "labels": found["labels"], "w": [1] * 200}
    with pytest.raises(DataFileError, match=r"unknown columns: 'w'\."):
        read_outputs(parquet(tmp_path, columns))


def test_all_unknown_arrays_are_named_at_once_with_what_they_stand_for(tmp_path: Path) -> None:
    given = probabilities(arrays(1, tests=0))
    files = {"predictions": given, "y": arrays(1)["labels"], "is_member": arrays(1)["member"]}
    with pytest.raises(DataFileError) as caught:
        read_outputs(npz(tmp_path, files))
    text = str(caught.value)
    assert "'predictions' (probs?), 'y' (labels?), 'is_member' (member?)." in text
    assert "np.savez(FILE, probs=probs, labels=labels, member=member), of shapes [N, K]" in text
    with pytest.raises(DataFileError, match="dynanoise show"):
        read_outputs(tmp_path / "results.json")


@pytest.mark.parametrize(
    ("names", "says"),
    [
        (
            "p0 p1 p2 label member patient_id ward sex",
            "Leave patient_id, ward, sex out, or name persons with --groups patient_id, groups "
            "with --by ward --by sex. Known: p0, p1, ..., label, member.",
        ),
        (
            "p0 p1 p2 label member record_id ward",
            "Leave out record_id, with another value in every row, such as an index (pandas: "
            "index=False). Leave ward out, or name groups with --by ward, the column of persons "
            "with --groups. Known",
        ),
        (
            "mild moderate severe label member",
            "Call probabilities p0, p1, ... in the order of the classes (mild, moderate, severe?).",
        ),
    ],
)
def test_unknown_columns_have_the_remedy_that_their_values_suggest(
    tmp_path: Path, names: str, says: str
) -> None:
    found = probabilities(arrays(1, tests=0))
    rows = np.arange(200)
    columns = [*found["probs"].T, found["labels"], found["member"]]
    further = {"patient_id": rows // 2, "record_id": rows, "ward": rows % 3, "sex": rows % 2}
    columns += [further[name] for name in names.split()[5:]]
    path, header = tmp_path / "outputs.csv", names.replace(" ", ",")
    np.savetxt(path, np.column_stack(columns), "%.9g", ",", header=header, comments="")
    with pytest.raises(DataFileError) as error:
        read_outputs(path)
    assert says in error.value.remedy
    with pytest.raises(DataFileError) as error:
        read_outputs(path, ColumnNames(options=False))
    assert "--" not in error.value.remedy


def test_probabilities_of_transposed_axes_are_told_by_their_shape() -> None:
    files = arrays(1, tests=0)
    logits = files.pop("logits")
    probs = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    for name, values in (("probs", probs), ("logits", logits)):
        with pytest.raises(InputError, match=r"the records on axis 2.*np.swapaxes"):
            check_inputs("x", **{**files, name: values.T})


@pytest.mark.parametrize(
    ("header", "says"),
    [
        ("p0,p1,p3,label,member", "these columns of probabilities: p0, p1, p3."),
        ("label,p0,p1,p2,member", "which is not a probability. Give probabilities, or call them"),
        ("p0,p1,p2,member,label", "labels hold only 0 and 1, and member holds 2"),
        ("0.1,0.2,0.7,1,1", "The first line of"),
        ("p0,p0,p1,label,member", "has the column 'p0' twice"),
        ("p0,p1,p2,label", "has 4 column names and 5 columns"),
    ],
)
def test_columns_that_are_exchanged_or_misnamed(tmp_path: Path, header: str, says: str) -> None:
    path = csv(tmp_path, probabilities(arrays(1, tests=0)), header)
    with pytest.raises((DataFileError, InputError), match=re.escape(says)):
        read_outputs(path)


def test_cells_that_are_empty_or_words(tmp_path: Path) -> None:
    path = csv(tmp_path, probabilities(arrays(1, tests=0)))
    text = path.read_text().splitlines()
    path.write_text("\n".join([*text[:5], ",0.5,0.5,1,1", *text[5:]]))
    with pytest.raises(InputError, match=r"probs hold nan for model 0, record 4, class 0."):
        read_outputs(path)
    path.write_text("\n".join([text[0], "a,0.5,0.5,1,1"]))
    with pytest.raises(DataFileError, match=r"'p0' of .* holds the text 'a' in row 0. Prob"):
        read_outputs(path)
    path.write_text("")
    with pytest.raises(DataFileError, match=r"these columns of probabilities: none"):
        read_outputs(path)


def test_lists_of_several_lengths_and_words_in_parquet(tmp_path: Path) -> None:
    labels = [0] * 3
    with pytest.raises(DataFileError, match=r"'probs' .* lists of 2 lengths"):
        read_outputs(parquet(tmp_path, {"probs": [[1.0], [1.0, 0.0], [1.0]], "labels": labels}))
    texts = {"probs": [[1.0, 0.0]] * 3, "labels": ["a", "b", "c"], "member": [1, 0, 1]}
    with pytest.raises(InputError, match=r"labels hold 3 different texts, and there are 2 classes"):
        read_outputs(parquet(tmp_path, texts))


def test_other_files(tmp_path: Path) -> None:
    with pytest.raises(DataFileError, match=r"ends in .pkl. Use one of .npz, .csv, .parquet"):
        read_outputs(tmp_path / "outputs.pkl")
    with pytest.raises(DataFileError, match=r"There is no file"):
        read_outputs(tmp_path / "outputs.npz")
    path = tmp_path / "outputs.parquet"
    path.write_text("no")
    pytest.importorskip("pyarrow")
    with pytest.raises(DataFileError, match=r"cannot be read as parquet"):
        read_outputs(path)
