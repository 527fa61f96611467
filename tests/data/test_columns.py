"""csv in every dialect, the index of data frames, and the column of labels."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dynanoise.core.errors import DataFileError, DynaNoiseError, InputError
from dynanoise.data.columns import read_columns
from dynanoise.data.tables import load_table, read_table

pandas: Any = pytest.importorskip("pandas", reason="frames of users")
pytest.importorskip("pyarrow", reason="parquet needs pyarrow")

PLAIN = "f0,f1,on,label\n0.5,-1e-3,1,cat\n1.25,3,0,dog\n-2.5,0,1,cat\n"


def quoted(text: str) -> str:
    return "\n".join(
        f'"{line.replace(",", chr(34) + "," + chr(34))}"' for line in text.splitlines()
    )


def semicolons(text: str) -> str:
    return text.replace(",", ";")


DIALECTS: dict[str, Callable[[str], bytes]] = {
    "plain": str.encode,
    "a byte order mark": lambda text: text.encode("utf-8-sig"),
    "utf-16": lambda text: text.encode("utf-16"),
    "lines of Windows": lambda text: text.replace("\n", "\r\n").encode(),
    "quotes": lambda text: quoted(text).encode(),
    "quotes and a byte order mark": lambda text: quoted(text).encode("utf-8-sig"),
    "spaces": lambda text: text.replace(",", " , ").encode(),
    "semicolons": lambda text: semicolons(text).encode(),
    "decimal commas": lambda text: semicolons(text).replace(".", ",").encode(),
    "quoted decimal commas": lambda text: quoted(text.replace(".", "~")).replace("~", ",").encode(),
    "tabs": lambda text: text.replace(",", "\t").encode(),
    "bars": lambda text: text.replace(",", "|").encode(),
    "a line with the separator": lambda text: b"sep=;\n" + semicolons(text).encode(),
    "booleans": lambda text: text.replace(",1,", ",True,").replace(",0,", ",false,").encode(),
    "empty lines": lambda text: ("\n" + text.replace("\n", "\n\n")).encode(),
}


@pytest.mark.parametrize("dialect", DIALECTS)
def test_every_dialect_is_read_alike(tmp_path: Path, dialect: str) -> None:
    path = tmp_path / "a.csv"
    if dialect == "quoted decimal commas":
        path.write_bytes(DIALECTS[dialect](PLAIN).replace(b'","', b'";"'))
    else:
        path.write_bytes(DIALECTS[dialect](PLAIN))
    table = read_table(path)
    assert table.columns == ("f0", "f1", "on") and table.labels.tolist() == ["cat", "dog", "cat"]
    np.testing.assert_array_equal(
        table.inputs, np.array([[0.5, -1e-3, 1], [1.25, 3, 0], [-2.5, 0, 1]])
    )


def test_csv_is_what_pandas_and_arrow_read(tmp_path: Path) -> None:
    """Against two other readers, with 9,000 rows, missing numbers and texts that come late."""
    generator = np.random.default_rng(0)
    frame = pandas.DataFrame(generator.normal(0, 1e3, (9000, 3)), columns=["a", "b", "c"])
    frame.loc[::7, "b"] = None
    frame["words"] = "7"
    frame.loc[8999, "words"] = "seven"
    frame.to_csv(tmp_path / "a.csv", index=False)
    columns = read_columns(tmp_path / "a.csv")
    again = pandas.read_csv(tmp_path / "a.csv", dtype={"words": str})
    for name in "abc":
        np.testing.assert_array_equal(columns.values[name], again[name].to_numpy())
    assert columns.values["words"].tolist() == again["words"].tolist()
    csv = pytest.importorskip("pyarrow.csv")
    table = csv.read_csv(tmp_path / "a.csv")
    for name in "abc":
        expected = table.column(name).to_numpy(zero_copy_only=False)
        np.testing.assert_array_equal(columns.values[name], expected)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a;b;label\n1,5;0.5;1\n2,5;1,234.5;0\n", "'b' of .* holds the text '1,234.5' in row 1"),
        ("sep=:\na:b\n", "names the separator ':'. Separate cells by commas, semicolons, tabs"),
        ("a b label\n1 2 0\n", "has 1 columns. .* separated by commas, semicolons, tabs, bars"),
        ("a,b,b,label\n1,2,3,0\n", "has the column 'b' twice"),
        ("a,b,label\n1,2,0\n1,2,0,1\n", "has 3 column names and 4 columns in line 3"),
        ("a,b,label\n1_000,2,0\n3,4,1\n", "'a' of .* holds the text '1_000' in row 0"),
        ("a,b,label\n0x1,2,0\n3,4,1\n", "'a' of .* holds the text '0x1' in row 0"),
        ("0.5,1,2\n1,2,0\n", "first line of .* holds numbers"),
        (",a,label\n0.5,2,0\n3,4,1\n", "first column of .* has no name"),
    ],
)
def test_csv_that_cannot_be_understood_is_a_sentence(tmp_path: Path, text: str, says: str) -> None:
    (tmp_path / "a.csv").write_text(text)
    with pytest.raises(DataFileError, match=says):
        load_table(tmp_path / "a.csv")


def test_text_in_another_encoding(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes("größe,label\n1,0\n".encode("latin-1"))
    with pytest.raises(DataFileError, match=r"cannot be read as csv \(it is not UTF-8 text\)"):
        load_table(tmp_path / "a.csv")


# --- the index of a data frame -------------------------------------------------------------------


def frame() -> Any:
    """A frame with an index that is not 0, 1, 2, ..., as after sampling."""
    generator = np.random.default_rng(0)
    columns = {name: generator.normal(size=30) for name in ("a", "b")}
    columns["species"] = np.array(["x", "y", "z"])[np.arange(30) % 3]
    return pandas.DataFrame(columns).sample(frac=1, random_state=0)


def written(folder: Path, kind: str) -> Path:
    table, path = frame(), folder / "data.parquet"
    if kind == "shuffled":
        table.to_parquet(path)
    elif kind == "a named index":
        table.rename_axis("id").to_parquet(path)
    elif kind == "two levels":
        table.set_index([np.arange(30), np.arange(30) % 2]).to_parquet(path)
    elif kind == "without pandas' notes":
        arrow = pytest.importorskip("pyarrow")
        files = pytest.importorskip("pyarrow.parquet")
        files.write_table(arrow.Table.from_pandas(table).replace_schema_metadata(None), path)
    else:
        path = folder / "data.csv"
        if kind == "csv that was read again":
            table.to_csv(path)
            table = pandas.read_csv(path)
        if kind == "csv of frames put together":
            table = pandas.concat([table[:10], table[:10], table])
        if kind == "csv of names":
            table.index = [f"row {row}" for row in table.index]
        table.to_csv(path, index=kind != "csv that was read again")
    return path


@pytest.mark.parametrize(
    "kind",
    [
        "shuffled",
        "a named index",
        "two levels",
        "without pandas' notes",
        "csv",
        "csv that was read again",
        "csv of frames put together",
        "csv of names",
    ],
)
def test_index_becomes_label(tmp_path: Path, caplog: pytest.LogCaptureFixture, kind: str) -> None:
    """It never does, nor an input; the column of texts is taken, and both are said."""
    data = load_table(written(tmp_path, kind))
    assert data.class_names == ("x", "y", "z") and data.inputs.shape[1] == 2
    assert "the index" in caplog.text and "is left out" in caplog.text
    assert "the labels are its last column, 'species'" in caplog.text


def test_an_index_with_the_labels_is_named(tmp_path: Path) -> None:
    frame().set_index("species").rename_axis("label").to_parquet(tmp_path / "a.parquet")
    with pytest.raises(DataFileError, match=r"column 'label' of .* is the index of a data frame"):
        load_table(tmp_path / "a.parquet")
    data = load_table(tmp_path / "a.parquet", label="label")
    assert data.class_names == ("x", "y", "z") and data.inputs.shape == (30, 2)


# --- the column of labels ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("header", "label", "said"),
    [
        ("class,f0,f1", "class", ""),
        ("f0,Class,f1", "Class", ""),
        ("f0,f1,labels", "labels", ""),
        ("target,f0,f1", "target", ""),
        ("f0,label,y", "label", ""),
        ("target,f0,class", "class", ""),
        ("f0,y,f1", "y", "the labels are the column 'y'"),
        ("f0,f1,species", "species", "the labels are its last column, 'species'"),
    ],
)
def test_which_column_is_the_label(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, header: str, label: str, said: str
) -> None:
    rows = [[0, 1, 0], [1, 0, 2], [2, 2, 1], [0, 1, 0]]
    path = tmp_path / "a.csv"
    path.write_text("\n".join([header, *(",".join(map(str, row)) for row in rows)]))
    table = read_table(path)
    place = header.split(",").index(label)
    assert table.label == label and table.labels.tolist() == [row[place] for row in rows]
    assert said in caplog.text and (said or "labels" not in caplog.text)


def wide(last: Any, name: str = "f7") -> str:
    head = f"f0,class_of_ticket,{name}"
    return "\n".join([head, *(f"{row % 5},{row % 2},{value}" for row, value in enumerate(last))])


@pytest.mark.parametrize(
    ("last", "says"),
    [
        ([0.5, 1.5, 2.5, 1.0], "its last, 'f7', holds 0.5 in row 0"),
        ([1, 0, -3, 1], "its last, 'f7', holds -3.0 in row 2"),
        ([1, "", 2, 1], "its last, 'f7', holds nan in row 1"),
        ([4, 7, 1, 0], "its last, 'f7', holds another number in every row"),
        (["a1", "b2", "c3", "d4"], "its last, 'f7', holds another text in every row"),
    ],
)
def test_a_last_column_that_cannot_be_the_label_is_refused(
    tmp_path: Path, last: Any, says: str
) -> None:
    (tmp_path / "a.csv").write_text(wide(last))
    with pytest.raises(DataFileError) as error:
        load_table(tmp_path / "a.csv")
    assert "has no column called label, labels, class, target, y" in error.value.problem
    assert says in error.value.problem and "--label NAME" in error.value.remedy
    assert "'class_of_ticket'" in error.value.remedy
    assert (
        load_table(tmp_path / "a.csv", label="f0").labels.tolist() == [0, 1, 2, 3]
        if all(isinstance(value, int) and value >= 0 for value in last)
        else True
    )


def test_the_label_by_name(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(wide([0, 1, 2, 0]))
    assert read_table(tmp_path / "a.csv", "class_of_ticket").columns == ("f0", "f7")
    with pytest.raises(DataFileError, match=r"has no column 'nowhere'. Its columns are 'f0', "):
        read_table(tmp_path / "a.csv", "nowhere")
    np.savez(tmp_path / "a.npz", X=np.ones((4, 2)), y=[0, 1, 0, 1])
    with pytest.raises(InputError, match=r"has no columns to choose 'f0' from. In npz"):
        read_table(tmp_path / "a.npz", "f0")


def test_label_and_labels(tmp_path: Path) -> None:
    for names in ("label,labels", "Label,label"):
        (tmp_path / "a.csv").write_text(f"f0,{names}\n1,0,0\n2,1,1\n")
        with pytest.raises(DataFileError, match=r"holds both '.*' and '.*'. Keep one column"):
            read_table(tmp_path / "a.csv")


def test_a_first_column_of_classes_beside_a_last_one_of_numbers(tmp_path: Path) -> None:
    """Texts among the inputs point to the column of labels."""
    (tmp_path / "a.csv").write_text("species,f0,count\ncat,1,0\ndog,2,1\ncat,3,0\n")
    with pytest.raises(DataFileError, match=r"'species' .* has the labels, pass --label spec"):
        load_table(tmp_path / "a.csv")
    assert load_table(tmp_path / "a.csv", label="species").class_names == ("cat", "dog")


@pytest.mark.parametrize(
    ("name", "values", "noticed"),
    [
        ("id", [3, 1, 1, 2] * 8, True),
        ("Index", range(32), True),
        ("ticket", range(900, 932), True),
        ("age", [30, 40, 50, 30] * 8, False),
        ("weight", np.arange(32) / 8, False),
    ],
)
def test_identifiers_among_the_inputs_are_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, name: str, values: Any, noticed: bool
) -> None:
    rows = [f"{value},{row % 2}" for row, value in enumerate(values)]
    (tmp_path / "a.csv").write_text("\n".join([f"{name},label", *rows]))
    caplog.set_level(logging.WARNING)
    load_table(tmp_path / "a.csv")
    assert (f"the column '{name}' looks like an identifier" in caplog.text) == noticed


# --- missing values ------------------------------------------------------------------------------


@pytest.mark.parametrize("standardise", [False, True])
@pytest.mark.parametrize("suffix", ["csv", "parquet", "npz"])
def test_a_missing_input_is_named_by_its_row_and_column(
    tmp_path: Path, standardise: bool, suffix: str
) -> None:
    """Also where all columns are scaled, which makes their other rows NaN, too."""
    table = pandas.DataFrame(np.ones((900, 3)), columns=["f0", "age", "f2"])
    table["label"] = np.arange(900) % 2
    table.loc[700, "age"] = None
    path = tmp_path / f"a.{suffix}"
    if suffix == "csv":
        table.to_csv(path, index=False)
    elif suffix == "parquet":
        table.to_parquet(path)
    else:
        np.savez(path, X=table[["f0", "age", "f2"]], y=table["label"])
    name = "" if suffix == "npz" else r" \('age'\)"
    with pytest.raises(DynaNoiseError, match=rf"input nan in row 700, column 1{name}\. Fill in"):
        load_table(path, standardise=standardise)
    assert np.isnan(read_table(path).inputs).sum() == 1


@pytest.mark.parametrize("cell", ["", "NA", "n/a", "NaN", "null", "None", "#N/A", "<NA>"])
def test_every_spelling_of_a_missing_number(tmp_path: Path, cell: str) -> None:
    (tmp_path / "a.csv").write_text(f"a,b,label\n1,2,0\n{cell},3,1\n")
    assert np.isnan(read_table(tmp_path / "a.csv").inputs).tolist() == [[False] * 2, [True, False]]
