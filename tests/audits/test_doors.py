"""Every way in takes the same arrays, and refuses the others in the same sentence."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import sparse
from sklearn.linear_model import LogisticRegression
from sklearn.naive_bayes import GaussianNB

import dynanoise
from dynanoise.audits.inputs import check_inputs
from dynanoise.audits.model_file import query_model
from dynanoise.audits.outputs_file import read_outputs
from dynanoise.audits.random_halves import check_records
from dynanoise.core.errors import DynaNoiseError
from dynanoise.core.numerics import softmax
from dynanoise.data.tables import load_table
from dynanoise.defenses import response
from dynanoise.defenses.temperature import Temperature
from dynanoise.integrations.holdout import select_rows
from dynanoise.noise.keys import ExperimentKey
from dynanoise.sklearn import DefendedClassifier

onnx: Any = pytest.importorskip("onnx", reason="test models are made by onnx")
pytest.importorskip("onnxruntime", reason="ONNX models need: pip install 'dynanoise[onnx]'")
pandas: Any = pytest.importorskip("pandas", reason="frames of users")
arrow: Any = pytest.importorskip("pyarrow", reason="parquet needs pyarrow")
parquet: Any = pytest.importorskip("pyarrow.parquet")

RECORDS = 150
GENERATOR = np.random.default_rng(0)
LOGITS = GENERATOR.normal(0, 2, (RECORDS, 3))
PROBS = softmax(LOGITS)
LABELS = np.arange(RECORDS) % 3
MEMBER = np.arange(RECORDS) // 3 % 2
TEXTS = np.array(["bird", "cat", "dog"])[LABELS]
ONE_HOT = np.eye(3, dtype=int)[LABELS]
NOT_HELD = "this way in cannot hold such an array"


def identity(path: Path) -> Path:
    """A model whose outputs are its inputs."""
    helper, kinds = onnx.helper, onnx.TensorProto
    ends = [helper.make_tensor_value_info(name, kinds.FLOAT, ["n", 3]) for name in ("x", "z")]
    graph = helper.make_graph(
        [helper.make_node("Identity", ["x"], ["z"])], "m", *[[e] for e in ends]
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, str(path))
    return path


def flat(values: Any) -> Any:
    """A column of a table: [N] of numbers or texts."""
    if hasattr(values, "toarray"):
        pytest.skip(NOT_HELD)
    array = np.asarray(values, dtype=object if isinstance(values, list) else None)
    if array.ndim != 1 or array.dtype.kind in "cSM" or isinstance(values, np.ma.MaskedArray):
        pytest.skip(NOT_HELD)
    return array.tolist()


def npz(path: Path, **arrays: Any) -> Path:
    for values in arrays.values():
        if hasattr(values, "toarray") or isinstance(values, np.ma.MaskedArray):
            pytest.skip(NOT_HELD)
        if np.asarray(values).dtype == object or (
            isinstance(values, list) and any(value is None or value != value for value in values)
        ):
            pytest.skip(NOT_HELD)
    np.savez(path, **arrays)
    return path


def csv(path: Path, columns: dict[str, Any]) -> Path:
    cells = {
        name: ["" if value is None else str(value) for value in values]
        for name, values in columns.items()
    }
    rows = zip(*cells.values(), strict=True)
    path.write_text("\n".join([",".join(cells), *map(",".join, rows)]))
    return path


def arrow_file(path: Path, columns: dict[str, Any]) -> Path:
    try:
        table = arrow.table(columns)
    except (arrow.ArrowInvalid, arrow.ArrowTypeError):
        pytest.skip(NOT_HELD)
    parquet.write_table(table, path)
    return path


FLAT = {f"p{k}": PROBS[:, k].tolist() for k in range(3)}
INPUTS = {f"f{k}": LOGITS[:, k].tolist() for k in range(3)}


def halves(folder: Path, write: Callable[[str, slice], Path]) -> Any:
    """Audit of a model file with the members and the non-members of some arrays."""
    inside, outside = (
        write(name, rows) for name, rows in (("a", slice(75)), ("b", slice(75, None)))
    )
    return query_model(identity(folder / "m.onnx"), None, inside, outside).labels


def tables_csv(folder: Path, labels: Any) -> Any:
    def write(name: str, rows: slice) -> Path:
        columns = {key: values[rows] for key, values in INPUTS.items()}
        return csv(folder / f"{name}.csv", {**columns, "label": flat(labels)[rows]})

    return halves(folder, write)


def tables_parquet(folder: Path, labels: Any) -> Any:
    def write(name: str, rows: slice) -> Path:
        columns = {key: values[rows] for key, values in INPUTS.items()}
        return arrow_file(folder / f"{name}.parquet", {**columns, "label": flat(labels)[rows]})

    return halves(folder, write)


def tables_npz(folder: Path, labels: Any) -> Any:
    def write(name: str, rows: slice) -> Path:
        return npz(folder / f"{name}.npz", X=LOGITS[rows], y=labels[rows])

    return halves(folder, write)


def benchmark(folder: Path, labels: Any) -> Any:
    return load_table(csv(folder / "bench.csv", {**INPUTS, "label": flat(labels)})).labels


def fitted(folder: Path, labels: Any) -> Any:
    model = DefendedClassifier(GaussianNB(), key=ExperimentKey(0)).fit(LOGITS, labels)
    return np.searchsorted(model.classes_, model.classes_)[LABELS]


LABEL_DOORS: dict[str, Callable[[Path, Any], Any]] = {
    "check_inputs": lambda folder, labels: (
        check_inputs("x", probs=PROBS, labels=labels, member=MEMBER).labels
    ),
    "npz of outputs": lambda folder, labels: (
        read_outputs(npz(folder / "o.npz", probs=PROBS, labels=labels, member=MEMBER)).labels
    ),
    "csv of outputs": lambda folder, labels: (
        read_outputs(
            csv(folder / "o.csv", {**FLAT, "label": flat(labels), "member": MEMBER})
        ).labels
    ),
    "parquet of outputs": lambda folder, labels: (
        read_outputs(
            arrow_file(folder / "o.parquet", {**FLAT, "label": flat(labels), "member": MEMBER})
        ).labels
    ),
    "csv tables of a model file": tables_csv,
    "parquet tables of a model file": tables_parquet,
    "npz tables of a model file": tables_npz,
    "bench": benchmark,
    "dynanoise.audit": lambda folder, labels: check_records(LOGITS, labels).numbers,
    "DefendedClassifier.fit": fitted,
}

GOOD_LABELS: dict[str, Any] = {
    "int8": LABELS.astype(np.int8),
    "uint64": LABELS.astype(np.uint64),
    "integers of another byte order": LABELS.astype(">i4"),
    "whole floats": LABELS.astype(np.float32),
    "whole floats of another byte order": LABELS.astype(">f8"),
    "a list": LABELS.tolist(),
    "texts": TEXTS,
    "a list of texts": TEXTS.tolist(),
    "bytes": TEXTS.astype("S"),
    "objects": LABELS.astype(object),
    "texts of numbers": LABELS.astype(str),
    "a column": LABELS[:, None],
    "one-hot integers": ONE_HOT,
    "one-hot floats": ONE_HOT.astype(np.float32),
    "one-hot booleans": ONE_HOT.astype(bool),
    "one-hot sparse": sparse.csr_matrix(ONE_HOT),
    "a series": pandas.Series(LABELS),
    "a series with gaps allowed": pandas.Series(LABELS, dtype="Int64"),
    "categories": pandas.Series(TEXTS, dtype="category"),
    "an arrow array": arrow.array(TEXTS.tolist()),
    "masked without a mask": np.ma.masked_array(LABELS),
}


@pytest.mark.filterwarnings("ignore:A column-vector y was passed")
@pytest.mark.parametrize("door", LABEL_DOORS)
@pytest.mark.parametrize("kind", GOOD_LABELS)
def test_labels_that_every_door_takes(tmp_path: Path, door: str, kind: str) -> None:
    labels = GOOD_LABELS[kind]
    if door == "npz tables of a model file" and not hasattr(labels, "shape"):
        labels = np.asarray(labels)
    np.testing.assert_array_equal(LABEL_DOORS[door](tmp_path, labels), LABELS)


def put(values: Any, row: int, value: Any) -> Any:
    changed = np.asarray(values).astype(object)
    changed[row] = value
    return changed.tolist()


MISSING = "LABELS hold {} in row 7. Give every record a label, or leave the record out."

BAD_LABELS: dict[str, tuple[Any, str]] = {
    "NaN": (np.where(np.arange(RECORDS) == 7, np.nan, LABELS), MISSING.format("nan")),
    "infinity": (np.where(np.arange(RECORDS) == 7, np.inf, LABELS), MISSING.format("inf")),
    "None among numbers": (put(LABELS, 7, None), MISSING.format("(None|nan)")),
    "None among texts": (put(TEXTS, 7, None), MISSING.format("None")),
    "NaN among texts": (put(TEXTS, 7, np.nan), MISSING.format("('nan'|nan)")),
    "a text for a missing one": (
        np.where(np.arange(RECORDS) == 7, "nan", TEXTS),
        MISSING.format("'nan'"),
    ),
    "masked": (
        np.ma.masked_array(LABELS, np.arange(RECORDS) == 7),
        MISSING.format("a masked value"),
    ),
    "pandas.NA": (pandas.Series(put(LABELS, 7, None), dtype="Int64"), MISSING.format("(<NA>|nan)")),
    "a fraction": (
        np.where(np.arange(RECORDS) == 7, 0.5, LABELS),
        "LABELS hold 0.5 in row 7. Unknown label type: labels are class numbers from 0, or texts; "
        r"is a column of probabilities in their place\?",
    ),
    "two ones in a row": (
        np.where(np.arange(RECORDS)[:, None] == 7, 1, ONE_HOT),
        r"LABELS have shape \(\d+, 3\), and row 7 holds 3 ones. Give one label a record, a "
        "1d array, or one-hot rows .*",
    ),
    "soft labels": (
        0.9 * ONE_HOT,
        r"LABELS have shape \(\d+, 3\), and row 0 holds 0.9. Give one label a record, a 1d "
        "array, or one-hot rows .*",
    ),
    "complex numbers": (LABELS.astype(complex), "Complex data not supported: LABELS have them. .*"),
    "three axes": (
        np.zeros((RECORDS, 2, 2), int),
        r"LABELS have shape \(\d+, 2, 2\). Give one label a record, a 1d array \[N\].",
    ),
    "dates": (
        np.arange(RECORDS).astype("datetime64[D]"),
        r"LABELS have dtype datetime64\[D\]. Give whole numbers, booleans or texts.",
    ),
    "texts and numbers": (
        put(TEXTS, 7, 5),
        "LABELS hold texts and other values: 'bird' in row 0, 5 in row 7. Give labels of one kind.",
    ),
}

NAMES_OF_LABELS = re.compile(
    r"\b(labels|y( of \S+)?|The column 'label'( of \S+)?)(?= (hold|have|has|holds)\b)"
)


def sentence(error: DynaNoiseError) -> str:
    """The message with the argument's name, and its verb, replaced."""
    text = NAMES_OF_LABELS.sub("LABELS", str(error))
    return text.replace("LABELS holds", "LABELS hold").replace("LABELS has", "LABELS have")


@pytest.mark.parametrize("door", LABEL_DOORS)
@pytest.mark.parametrize("kind", BAD_LABELS)
def test_labels_that_every_door_refuses(tmp_path: Path, door: str, kind: str) -> None:
    labels, says = BAD_LABELS[kind]
    if kind == "texts and numbers" and (door == "bench" or re.match("csv|npz", door)):
        pytest.skip(NOT_HELD)
    if kind == "dates" and ("parquet" in door or "csv" in door or door == "bench"):
        pytest.skip(NOT_HELD)
    if door == "npz tables of a model file" and not hasattr(labels, "shape"):
        pytest.skip(NOT_HELD)
    with pytest.raises(DynaNoiseError) as error:
        LABEL_DOORS[door](tmp_path, labels)
    assert re.fullmatch(says, sentence(error.value)), sentence(error.value)


K_DOORS = [
    door
    for door in LABEL_DOORS
    if door not in ("bench", "dynanoise.audit", "DefendedClassifier.fit")
]

OUT_OF_RANGE: dict[str, tuple[Any, str]] = {
    "from 1": (LABELS + 1, "from 1 to 3 with 3 classes. Count classes from 0: subtract 1."),
    "too large": (LABELS * 2, "4 with 3 classes. Labels count from 0 to 2."),
    "negative": (LABELS - 1, "-1 with 3 classes. Labels count from 0 to 2."),
    "texts of two of three classes": (
        np.where(TEXTS == "cat", "dog", TEXTS),
        "2 different texts, and there are 3 classes.",
    ),
    "texts of four classes": (
        np.where(np.arange(RECORDS) == 7, "fish", TEXTS),
        "4 different texts, and there are 3 classes.",
    ),
}


@pytest.mark.parametrize("door", K_DOORS)
@pytest.mark.parametrize("kind", OUT_OF_RANGE)
def test_labels_that_are_not_of_the_models_classes(tmp_path: Path, door: str, kind: str) -> None:
    labels, says = OUT_OF_RANGE[kind]
    with pytest.raises(DynaNoiseError) as error:
        LABEL_DOORS[door](tmp_path, labels)
    assert says in str(error.value)


# --- membership ----------------------------------------------------------------------------------

MEMBER_DOORS: dict[str, Callable[[Path, Any], Any]] = {
    "check_inputs": lambda folder, member: check_inputs(
        "x", probs=PROBS, labels=LABELS, member=member
    ),
    "npz": lambda folder, member: read_outputs(
        npz(folder / "o.npz", probs=PROBS, labels=LABELS, member=member)
    ),
    "csv": lambda folder, member: read_outputs(
        csv(folder / "o.csv", {**FLAT, "label": LABELS, "member": flat(member)})
    ),
    "parquet": lambda folder, member: read_outputs(
        arrow_file(folder / "o.parquet", {**FLAT, "label": LABELS, "member": flat(member)})
    ),
}

GOOD_MEMBER: dict[str, Any] = {
    "integers": MEMBER,
    "booleans": MEMBER == 1,
    "a list of booleans": (MEMBER == 1).tolist(),
    "floats": MEMBER.astype(np.float32),
    "another byte order": MEMBER.astype(">i2"),
    "texts": np.array(["False", "True"])[MEMBER],
    "small texts": np.array(["false", "true"])[MEMBER],
    "texts of numbers": MEMBER.astype(str),
    "a column": MEMBER[:, None],
    "a row": MEMBER[None],
}


@pytest.mark.parametrize("door", MEMBER_DOORS)
@pytest.mark.parametrize("kind", GOOD_MEMBER)
def test_membership_that_every_door_takes(tmp_path: Path, door: str, kind: str) -> None:
    inputs = MEMBER_DOORS[door](tmp_path, GOOD_MEMBER[kind])
    np.testing.assert_array_equal(inputs.member[0], MEMBER)


BAD_MEMBER: dict[str, tuple[Any, str]] = {
    "2": (np.where(np.arange(RECORDS) == 7, 2, MEMBER), r"member holds 2(\.0)? in row 7."),
    "a fraction": (np.where(np.arange(RECORDS) == 7, 0.5, MEMBER), "member holds 0.5 in row 7."),
    "NaN": (np.where(np.arange(RECORDS) == 7, np.nan, MEMBER), "member holds nan in row 7."),
    "None": (put(MEMBER == 1, 7, None), "member holds (None|nan) in row 7."),
    "another text": (
        np.where(np.arange(RECORDS) == 7, "in", np.array(["false", "true"])[MEMBER]),
        "member holds 'in' in row 7.",
    ),
}


@pytest.mark.parametrize("door", MEMBER_DOORS)
@pytest.mark.parametrize("kind", BAD_MEMBER)
def test_membership_that_every_door_refuses(tmp_path: Path, door: str, kind: str) -> None:
    member, says = BAD_MEMBER[kind]
    with pytest.raises(DynaNoiseError) as error:
        MEMBER_DOORS[door](tmp_path, member)
    remedy = " Use 1 for trained on, 0 for not trained on, -1 for unknown."
    assert re.fullmatch(says + remedy, str(error.value)), str(error.value)


# --- outputs -------------------------------------------------------------------------------------


def outputs_of_a_model(folder: Path, name: str, values: Any) -> Any:
    """Outputs of a model file, which says neither logits nor probabilities."""
    if values.dtype == np.float16 or not np.isfinite(values).all() or values.shape[1] != 3:
        pytest.skip(NOT_HELD)
    for half, rows in (("a", slice(75)), ("b", slice(75, None))):
        np.savez(folder / f"{half}.npz", X=values[rows], y=LABELS[rows])
    inside, outside = folder / "a.npz", folder / "b.npz"
    return query_model(identity(folder / "m.onnx"), None, inside, outside).logits


def lists_of_parquet(folder: Path, name: str, values: Any) -> Any:
    if values.dtype.byteorder == ">" or values.dtype == np.float16:
        pytest.skip(NOT_HELD)
    columns = {name: list(values), "labels": LABELS, "member": MEMBER}
    return read_outputs(arrow_file(folder / "o.parquet", columns)).logits


OUTPUT_DOORS: dict[str, Callable[[Path, str, Any], Any]] = {
    "check_inputs": lambda folder, name, values: (
        check_inputs("x", **{name: values}, labels=LABELS, member=MEMBER).logits
    ),
    "npz": lambda folder, name, values: (
        read_outputs(npz(folder / "o.npz", **{name: values}, labels=LABELS, member=MEMBER)).logits
    ),
    "parquet": lists_of_parquet,
    "a model file": outputs_of_a_model,
}


@pytest.mark.parametrize("door", OUTPUT_DOORS)
@pytest.mark.parametrize("name", ["logits", "probs"])
@pytest.mark.parametrize("dtype", ["<f2", ">f2", "<f4", ">f4", "<f8", ">f8"])
def test_outputs_of_every_dtype(tmp_path: Path, door: str, name: str, dtype: str) -> None:
    values = (LOGITS if name == "logits" else PROBS).astype(dtype)
    logits = OUTPUT_DOORS[door](tmp_path, name, values)
    assert logits.dtype in (np.float32, np.float64)  # of the machine's byte order
    wide = values.astype(np.float64)
    expected = wide if name == "logits" else np.log(np.maximum(wide, np.finfo(float).tiny))
    np.testing.assert_allclose(logits[0], expected, rtol=1e-5, atol=1e-6)


SIGMOIDS = 1 / (1 + np.exp(-LOGITS))
INDEPENDENT = (
    "OUTPUTS are between 0 and 1 and do not sum to 1: independent sigmoids, one for each class."
)

BAD_OUTPUTS: dict[str, tuple[Any, str]] = {
    "independent sigmoids": (SIGMOIDS, INDEPENDENT),
    "sigmoids of float32": (SIGMOIDS.astype(np.float32), INDEPENDENT),
    "sigmoids near 0 and 1": (1 / (1 + np.exp(-9 * LOGITS)), INDEPENDENT),
    "one column of sigmoids": (
        SIGMOIDS[:, :1],
        "OUTPUTS have shape (150, 1): one number a record.",
    ),
    "NaN": (
        np.where(np.arange(RECORDS)[:, None] == 7, np.nan, LOGITS),
        "OUTPUTS hold nan for model 0, record 7, class 0.",
    ),
    "float16 beyond its range": (
        np.where(np.arange(RECORDS)[:, None] == 7, np.inf, LOGITS).astype(np.float16),
        "OUTPUTS hold inf for model 0, record 7, class 0: float16 ends at 65,504.",
    ),
    "whole numbers": (np.round(LOGITS).astype(int), "OUTPUTS have dtype int64."),
}


@pytest.mark.parametrize("door", OUTPUT_DOORS)
@pytest.mark.parametrize("name", ["logits", "probs"])
@pytest.mark.parametrize("kind", BAD_OUTPUTS)
def test_outputs_that_every_door_refuses(tmp_path: Path, door: str, name: str, kind: str) -> None:
    values, says = BAD_OUTPUTS[kind]
    if kind == "whole numbers" and door == "a model file":
        pytest.skip(NOT_HELD)
    with pytest.raises(DynaNoiseError) as error:
        OUTPUT_DOORS[door](tmp_path, name, values)
    text = re.sub(r"^(logits|probs|The outputs of m.onnx) ", "OUTPUTS ", error.value.problem)
    assert text == says
    if kind.startswith("one column"):
        assert "[1 - p, p]" in error.value.remedy and "[0 * z, z]" in error.value.remedy
    if says is INDEPENDENT:
        assert "one label at a time, as [1 - p, p]" in error.value.remedy


def test_wrappers_refuse_independent_sigmoids_in_the_same_words() -> None:
    with pytest.raises(DynaNoiseError) as error:
        response.defend(SIGMOIDS, Temperature(2), response.system_noise(), kind="probabilities")
    assert error.value.problem == INDEPENDENT.replace("OUTPUTS", "probabilities")


# --- inputs --------------------------------------------------------------------------------------


def sparse_of(kind: str, holder: Any) -> Callable[[Any], Any]:
    return lambda X: holder(X).asformat(kind)


INPUT_KINDS: dict[str, Callable[[Any], Any]] = {
    **{
        f"{kind} {holder.__name__}": sparse_of(kind, holder)
        for kind in ("csr", "csc", "coo", "bsr", "dia", "lil", "dok")
        for holder in (sparse.csr_matrix, sparse.csr_array)
    },
    "another byte order": lambda X: X.astype(">f8"),
    "Fortran order": np.asfortranarray,
    "a list": lambda X: X.tolist(),
    "a pandas frame": pandas.DataFrame,
    "a pandas frame of another index": lambda X: pandas.DataFrame(X, index=range(9, 9 + len(X))),
    "a polars frame": lambda X: pytest.importorskip(
        "polars", reason="polars is not installed"
    ).DataFrame(X),
}


@pytest.mark.filterwarnings("ignore:Constructing a DIA matrix")
@pytest.mark.parametrize("kind", INPUT_KINDS)
def test_inputs_of_every_kind_are_those_of_an_array(kind: str) -> None:
    """For both doors that train: the same labels, whatever holds the records."""
    X = np.where(np.abs(LOGITS) > 1, LOGITS, 0.0)
    model = DefendedClassifier(LogisticRegression(), holdout=0.3, key=ExperimentKey(0))
    expected = model.fit(X, LABELS).predict(X)
    values = INPUT_KINDS[kind](X)
    np.testing.assert_array_equal(model.fit(values, LABELS).predict(values), expected)
    rows = select_rows(check_records(values, LABELS).inputs, np.arange(9))
    np.testing.assert_array_equal(model.predict(rows), expected[:9])


@pytest.mark.behaviour
def test_sparse_coo() -> None:
    """An audit takes rows, which this format has not."""
    X = sparse.coo_matrix(np.tile(np.where(np.abs(LOGITS) > 1, LOGITS, 0.0), (3, 1)))
    audits = [
        dynanoise.audit(
            GaussianNB() if dense else LogisticRegression(), rows, np.tile(LABELS, 3), models=8
        )
        for dense, rows in ((False, X), (False, X.tobsr()), (False, X.toarray()))
    ]
    values = [
        [result.metrics["auc"].value for result in report.results if "auc" in result.metrics]
        for report in audits
    ]
    assert values[0] == values[1] and len(values[0]) > 2
    np.testing.assert_allclose(values[0], values[2], atol=0.02)  # solvers differ in the last digit
