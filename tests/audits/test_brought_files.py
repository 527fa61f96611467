"""Files of outputs, models with tables and estimators as users bring them: audited, or refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from dynanoise.audits.inputs import check_inputs, membership_warnings
from dynanoise.audits.model_file import query_model, read_records
from dynanoise.audits.outputs_file import read_outputs
from dynanoise.cli import app
from dynanoise.core.errors import DataFileError, DynaNoiseError, InputError, TooFewRecordsError
from dynanoise.core.numerics import softmax
from tests.factories.audit_files import arrays, probabilities

onnx: Any = pytest.importorskip("onnx", reason="test models are made by onnx")
pytest.importorskip("onnxruntime", reason="ONNX models need: pip install 'dynanoise[onnx]'")

WEIGHTS = np.random.default_rng(0).normal(0, 1, (3, 4)).astype(np.float32)
NAMES = np.array(["bird", "cat", "dog"])


def write_model(path: Path, *, gaps: str = "", names: Any = None) -> Path:
    """A linear model of 4 inputs and 3 classes.

    Args:
        path: of the file.
        gaps: "" makes NaN of missing inputs, "routed" takes them as 1.
        names: of the classes, which an exported classifier carries; None for none.
    """
    helper, kinds = onnx.helper, onnx.TensorProto
    nodes, source = [], "x"
    if gaps:
        nodes += [
            helper.make_node("IsNaN", ["x"], ["gap"]),
            helper.make_node("Where", ["gap", "one", "x"], ["filled"]),
        ]
        source = "filled"
    nodes.append(helper.make_node("MatMul", [source, "w"], ["z"]))
    outputs = [helper.make_tensor_value_info("z", kinds.FLOAT, ["n", 3])]
    if names is not None:
        key = "classlabels_strings" if isinstance(names[0], str) else "classlabels_int64s"
        nodes.append(
            helper.make_node("ZipMap", ["z"], ["map"], domain="ai.onnx.ml", **{key: names})
        )
        kind = kinds.STRING if isinstance(names[0], str) else kinds.INT64
        floats = helper.make_tensor_type_proto(kinds.FLOAT, [])
        mapping = helper.make_sequence_type_proto(helper.make_map_type_proto(kind, floats))
        outputs.append(helper.make_value_info("map", mapping))
    constants = [
        onnx.numpy_helper.from_array(np.ascontiguousarray(WEIGHTS.T), "w"),
        onnx.numpy_helper.from_array(np.ones(1, np.float32), "one"),
    ]
    inputs = [helper.make_tensor_value_info("x", kinds.FLOAT, ["n", 4])]
    graph = helper.make_graph(nodes, "m", inputs, outputs, constants)
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 3)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), str(path))
    return path


def write_table(path: Path, labels: Any, *, seed: int = 0, order: str = "abcd") -> Path:
    """A csv table of 50 records; its columns have one set of names in some order."""
    inputs = np.random.default_rng(seed).normal(0, 1, (50, 4)).round(3)
    columns = dict(zip("abcd", inputs.T.tolist(), strict=True))
    rows = zip(*(columns[name] for name in order), labels, strict=True)
    path.write_text(
        "\n".join([",".join([*order, "label"]), *(",".join(map(str, r)) for r in rows)])
    )
    return path


def tables(folder: Path, inside: Any, outside: Any) -> tuple[Path, Path]:
    return (
        write_table(folder / "a.csv", inside),
        write_table(folder / "b.csv", outside, seed=1),
    )


def labels_of(folder: Path, inside: Any, outside: Any, names: Any = None) -> Any:
    model = write_model(folder / "m.onnx", names=names)
    return query_model(model, None, *tables(folder, inside, outside)).labels


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["audit", *arguments, "--attack", "loss"])


# --- classes over two tables ---------------------------------------------------------------------

FULL, LACKING = np.arange(50) % 3, np.arange(50) % 2 * 2


def test_nonmembers_lack_a_class(tmp_path: Path) -> None:
    expected = [*FULL, *LACKING]
    assert labels_of(tmp_path, FULL, LACKING).tolist() == expected
    assert labels_of(tmp_path, LACKING, FULL).tolist() == [*LACKING, *FULL]
    assert labels_of(tmp_path, NAMES[FULL], NAMES[LACKING]).tolist() == expected
    assert labels_of(tmp_path, FULL.astype(float), LACKING).tolist() == expected


@pytest.mark.parametrize("order", [["bird", "cat", "dog"], ["dog", "bird", "cat"]])
def test_names_of_classes_come_from_the_model(tmp_path: Path, order: list[str]) -> None:
    """Then also where neither table has all of them."""
    found = labels_of(tmp_path, NAMES[LACKING], NAMES[LACKING], order)
    assert found.tolist() == [order.index(name) for name in NAMES[[*LACKING, *LACKING]]]


def test_numbers_of_classes_come_from_the_model(tmp_path: Path) -> None:
    """A classifier that was trained on 1, 2 and 3 has outputs 0, 1 and 2."""
    found = labels_of(tmp_path, FULL + 1, LACKING + 1, [1, 2, 3])
    assert found.tolist() == [*FULL, *LACKING]
    with pytest.raises(InputError, match=r"holds '4', which is not a class of the model. Its clas"):
        labels_of(tmp_path, FULL + 2, LACKING + 1, [1, 2, 3])


def test_texts_without_all_classes_are_not_guessed(tmp_path: Path) -> None:
    """Numbered in sorted order, "dog" would be class 1 here and is class 2."""
    with pytest.raises(InputError, match=r"holds 2 different texts, and there are 3 classes"):
        labels_of(tmp_path, NAMES[LACKING], NAMES[LACKING])
    with pytest.raises(DataFileError, match=r"are bird, cat, dog in a.csv and numbers in b.csv"):
        labels_of(tmp_path, NAMES[FULL], LACKING)


def test_columns_in_another_order_are_put_in_that_of_the_members(tmp_path: Path) -> None:
    inside = write_table(tmp_path / "a.csv", FULL)
    same = read_records(inside, write_table(tmp_path / "b.csv", FULL, seed=1)).inputs
    other = read_records(inside, write_table(tmp_path / "b.csv", FULL, seed=1, order="dbca")).inputs
    np.testing.assert_array_equal(same, other)
    text = (tmp_path / "b.csv").read_text()
    (tmp_path / "b.csv").write_text(text.replace("d,", "e,", 1))
    with pytest.raises(DataFileError, match=r"a.csv and b.csv differ in the columns 'd', 'e'"):
        read_records(inside, tmp_path / "b.csv")


def test_labels_under_two_names(tmp_path: Path) -> None:
    inside, outside = tables(tmp_path, FULL, FULL)
    outside.write_text(outside.read_text().replace("label", "class"))
    with pytest.raises(DataFileError, match=r"the column 'label' in a.csv and 'class' in b.csv"):
        read_records(inside, outside)


def test_which_column_is_the_label(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """On the command line, in the command that repeats it, and refused beside a file of outputs."""
    inside, outside = tables(tmp_path, FULL, FULL)
    for path in (inside, outside):
        path.write_text(path.read_text().replace("label", "kind"))
    model = str(write_model(tmp_path / "m.onnx"))
    named = ("--model", model, "--members", str(inside), "--nonmembers", str(outside))
    plain = run(*named)
    assert plain.exit_code == 0 and "labels are its last column, 'kind'" in caplog.text
    caplog.clear()
    chosen = run(*named, "--label", "kind", "--json")
    assert chosen.exit_code == 0 and not caplog.text
    assert "--label kind" in chosen.stdout
    wrong = run(*named, "--label", "a")
    assert wrong.exit_code == 2 and "The column 'a' of" in wrong.stderr
    beside = run("outputs.npz", "--label", "a")
    assert beside.exit_code == 2 and "Error: --label needs --model or --url, and" in " ".join(
        beside.stderr.split()
    )


# --- missing values ------------------------------------------------------------------------------


def with_gaps(path: Path, rows: tuple[int, ...] = (7,), columns: tuple[int, ...] = (2,)) -> Path:
    lines = [line.split(",") for line in path.read_text().splitlines()]
    for row in rows:
        for column in columns:
            lines[row + 1][column] = ""
    path.write_text("\n".join(map(",".join, lines)))
    return path


@pytest.mark.parametrize(
    ("rows", "columns"), [((7,), (2,)), ((0, 49), (0, 1, 2, 3)), (tuple(range(50)), (1,))]
)
def test_tables_with_missing_values(
    tmp_path: Path, rows: tuple[int, ...], columns: tuple[int, ...]
) -> None:
    """A model that routes them is audited on the records that it was trained on."""
    inside, outside = tables(tmp_path, FULL, FULL)
    with_gaps(outside, rows, columns)
    model = write_model(tmp_path / "m.onnx", gaps="routed")
    outputs = query_model(model, None, inside, outside)
    inputs = read_records(inside, outside).inputs
    assert np.isnan(inputs).sum() == len(rows) * len(columns)
    expected = np.where(np.isnan(inputs), 1, inputs) @ WEIGHTS.T
    np.testing.assert_allclose(outputs.logits[0], expected, atol=1e-5)


def test_a_model_that_does_not_take_missing_values(tmp_path: Path) -> None:
    inside, outside = tables(tmp_path, FULL, FULL)
    with_gaps(outside)
    with pytest.raises(InputError, match=r"row 7, column 2 \('c'\) of b.csv, and m.onnx does not"):
        query_model(write_model(tmp_path / "m.onnx"), None, inside, outside)
    with_gaps(inside, (3,))
    with pytest.raises(InputError, match=r"row 3, column 2 \('c'\) of a.csv, and m.onnx does not"):
        query_model(write_model(tmp_path / "m.onnx"), None, inside, outside)


def test_infinite_inputs_are_refused_for_every_model(tmp_path: Path) -> None:
    inside, outside = tables(tmp_path, FULL, FULL)
    head, first, *rest = inside.read_text().splitlines()
    first = ",".join(["1e300", *first.split(",")[1:]])
    inside.write_text("\n".join([head, first, *rest]))
    says = r"hold 1e\+300 in row 0, column 0 \('a'\) of a.csv, and the model takes float32"
    with pytest.raises(InputError, match=says):
        query_model(write_model(tmp_path / "m.onnx", gaps="routed"), None, inside, outside)


# --- exchanged and inverted columns --------------------------------------------------------------


def lopsided(
    members: float, positive: float, prefers: int, records: int = 4000, seed: int = 0
) -> dict[str, Any]:
    """A weak model that predicts one class nearly everywhere, and uneven shares of all kinds."""
    generator = np.random.default_rng(seed)
    labels = (generator.random(records) < positive).astype(int)
    member = (generator.random(records) < members).astype(int)
    z = generator.normal(0, 0.3, records) + 0.2 * (2 * labels - 1) * (1 + member)
    z += 1.5 if prefers else -1.5
    probs = 1 / (1 + np.exp(-z))
    return {"probs": np.stack([1 - probs, probs], axis=1), "labels": labels, "member": member}


@pytest.mark.parametrize(
    "shape",
    [
        (0.03, 0.45, 0),
        (0.95, 0.55, 1),
        (0.95, 0.45, 1),
        (0.05, 0.97, 0),
        (0.5, 0.5, 0),
        (0.97, 0.03, 1),
    ],
)
def test_looks_exchanged_but_is_not(shape: tuple[float, float, int]) -> None:
    """Shares of members and classes make predictions agree with membership, and say nothing."""
    data = lopsided(*shape)
    inputs = check_inputs("x", **data)
    np.testing.assert_array_equal(inputs.labels, data["labels"])
    assert membership_warnings(inputs.pool().records) == ()


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_columns_that_are_exchanged_are_refused(classes: int, share: float) -> None:
    """Predictions of a model that is better than chance tell the two apart whatever the shares."""
    generator = np.random.default_rng(1)
    labels = (generator.random(2000) < share).astype(int)
    logits = generator.normal(0, 1, (2000, classes))
    logits[np.arange(2000), labels] += 2
    member = (generator.random(2000) < 0.3).astype(int)
    assert check_inputs("x", logits=logits, labels=labels, member=member).models == 1
    with pytest.raises(InputError, match=r"labels and member look exchanged. Exchange the two"):
        check_inputs("x", logits=logits, labels=member, member=labels)


def test_a_doubt_about_exchanged_columns_is_a_warning() -> None:
    """Members of one class only, and a model that knows them better than labels: both can be so."""
    generator = np.random.default_rng(2)
    member = np.repeat([0, 1], 500)
    labels = np.where(generator.random(1000) < 0.65, member, 1 - member)
    predicted = np.where(generator.random(1000) < 0.97, member, 1 - member)
    logits = np.stack([np.zeros(1000), 4.0 * predicted - 2], axis=1)
    inputs = check_inputs("x", logits=logits, labels=labels, member=member)
    [warning] = membership_warnings(inputs.pool().records)
    assert "labels and member look exchanged. Exchange the two if they are." in warning


@pytest.mark.parametrize(("models", "leak"), [(1, 3.0), (1, 1.5), (8, 2.0)])
def test_inverted_membership_is_said(tmp_path: Path, models: int, leak: float) -> None:
    files = arrays(models, records=400, leak=leak)
    assert membership_warnings(check_inputs("x", **files).pool().records) == ()
    files["member"] = 1 - files["member"]
    [warning] = membership_warnings(check_inputs("x", **files).pool().records)
    assert "Members have higher losses than non-members" in warning and "1 - member" in warning
    if models == 1:
        np.savez(tmp_path / "o.npz", **files)
        found = run(str(tmp_path / "o.npz"))
        assert found.exit_code == 0 and "1 - member" in found.stdout
        found = run(str(tmp_path / "o.npz"), "--fail-if", "auc>0.6")
        assert found.exit_code == 2 and "Without --fail-if the audit goes on" in found.stderr


@pytest.mark.parametrize("models", [1, 8])
def test_labels_in_another_order_are_the_first_thing_said(models: int, tmp_path: Path) -> None:
    files = arrays(models, records=400, leak=1.0)
    assert membership_warnings(check_inputs("x", **files).pool().records) == ()
    files["labels"] = np.random.default_rng(0).permutation(files["labels"])
    warning, *_ = membership_warnings(check_inputs("x", **files).pool().records)
    assert "no more than guessing would (3 classes). Are labels and outputs in the" in warning
    share = float(warning.partition("for ")[2].partition("%")[0])
    assert share == pytest.approx(33, abs=5)
    if models == 1:
        np.savez(tmp_path / "o.npz", **files)
        found = run(str(tmp_path / "o.npz"), "--attack", "loss")
        assert found.stdout.startswith("WARNING: The outputs agree with the labels for")
        assert "No leak was measured" not in found.stdout.partition("Verdict")[0]
        found = run(str(tmp_path / "o.npz"), "--fail-if", "auc>0.99")
        assert found.exit_code == 2 and "PASS" not in found.stdout
        assert "Are labels and outputs in the same order? Without --fail-if the" in found.stderr


def test_labels_of_one_class_are_in_any_order() -> None:
    """Such as those of folders that hold the probability of the true class alone."""
    files = {**arrays(1), "labels": np.ones(200, int), "test_labels": np.ones(100, int)}
    assert membership_warnings(check_inputs("x", **files).pool().records) == ()


def test_a_model_without_a_leak_is_not_called_inverted() -> None:
    for seed in range(40):
        files = arrays(1, records=160, leak=0.0, seed=seed)
        assert membership_warnings(check_inputs("x", **files).pool().records) == ()


# --- outputs -------------------------------------------------------------------------------------


def test_sigmoid_scores_of_a_model_file(tmp_path: Path) -> None:
    helper, kinds = onnx.helper, onnx.TensorProto
    graph = helper.make_graph(
        [
            helper.make_node("MatMul", ["x", "w"], ["z"]),
            helper.make_node("Sigmoid", ["z"], ["scores"]),
        ],
        "m",
        [helper.make_tensor_value_info("x", kinds.FLOAT, ["n", 4])],
        [helper.make_tensor_value_info("scores", kinds.FLOAT, ["n", 3])],
        [onnx.numpy_helper.from_array(np.ascontiguousarray(WEIGHTS.T), "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, str(tmp_path / "m.onnx"))
    with pytest.raises(DataFileError, match=r"m.onnx holds independent sigmoids"):
        query_model(tmp_path / "m.onnx", None, *tables(tmp_path, FULL, FULL))


def test_logits_that_lie_between_0_and_1_by_their_remedy() -> None:
    """Subtracting 1 is what the sentence says, and it changes no probability."""
    files = arrays(1)
    low, high = files["logits"].min(), files["logits"].max()
    files = {**files, "logits": (files["logits"] - low) / (high - low)}
    with pytest.raises(InputError, match=r"independent sigmoids.* subtract 1 from all"):
        check_inputs("x", **files)
    inputs = check_inputs("x", **{**files, "logits": files["logits"] - 1})
    np.testing.assert_allclose(softmax(inputs.logits[0]), softmax(files["logits"]))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda probs: probs[:, :1], "shape (200, 1): one number a record. Give a column for each"),
        (lambda probs: 100 * probs, "Every row of probs sums to 100. Divide percentages by 100."),
        (lambda probs: probs[:, :2], "is a column missing or exchanged?"),
        (np.log, "which is not a probability"),
        (lambda probs: probs[:, 0], "probs have shape (200,): one number a record."),
    ],
)
def test_one_sigmoid_column_and_others_that_are_not_probabilities(change: Any, says: str) -> None:
    files = probabilities(arrays(1))
    files["probs"] = change(files["probs"])
    with pytest.raises(InputError) as error:
        check_inputs("x", **files)
    assert says in str(error.value)


@pytest.mark.parametrize(
    ("dtype", "value", "says"),
    [
        (np.float16, np.inf, "hold inf for model 0, record 7, class 2: float16 ends at 65,504."),
        (np.float16, -np.inf, "hold -inf for model 0, record 7, class 2: float16 ends at 65,504."),
        (np.float16, np.nan, "hold nan for model 0, record 7, class 2. Give finite numbers"),
        (np.float32, np.inf, "hold inf for model 0, record 7, class 2. Give finite numbers"),
    ],
)
def test_float16_overflow(dtype: Any, value: float, says: str) -> None:
    files = arrays(1)
    files["logits"] = files["logits"].astype(dtype)
    files["logits"][7, 2] = value
    with pytest.raises(InputError) as error:
        check_inputs("x", **files)
    assert says in str(error.value)


# --- several models ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("axes", "place", "turned"),
    [
        ((1, 0, 2), 0, "np.transpose(logits, (1, 0, 2))"),
        ((0, 2, 1), 2, "np.swapaxes(logits, -1, -2)"),
        ((1, 2, 0), 0, "np.transpose(logits, (2, 0, 1))"),
        ((2, 1, 0), 1, "np.transpose(logits, (2, 1, 0))"),
        ((2, 0, 1), 2, "np.transpose(logits, (1, 2, 0))"),
    ],
)
def test_layouts_of_lira(axes: tuple[int, ...], place: int, turned: str) -> None:
    files = arrays(8, records=150, tests=0)
    logits = files["logits"].transpose(axes)
    with pytest.raises(InputError) as error:
        check_inputs("x", **{**files, "logits": logits})
    assert f"have the records on axis {place}." in error.value.problem
    assert "The axes are [M, N, K]: M models, N records, K classes" in error.value.remedy
    assert f"Pass {turned}, and member as [M, N]" in error.value.remedy
    if axes == (1, 0, 2):  # all axes as the other tool has them
        with pytest.raises(InputError, match=r"Pass np.transpose\(logits, \(1, 0, 2\)\)"):
            check_inputs("x", **{**files, "logits": logits, "member": files["member"].T})
    remedied = eval(turned, {"np": np, "logits": logits})
    np.testing.assert_array_equal(remedied, files["logits"])


def test_classes_first_of_one_model() -> None:
    files = arrays(1, records=150, tests=0)
    logits = files["logits"].T
    with pytest.raises(InputError, match=r"Pass np.swapaxes\(logits, -1, -2\)"):
        check_inputs("x", **{**files, "logits": logits})


def test_layouts_of_lira_with_several_inputs_a_record(tmp_path: Path) -> None:
    files = arrays(1, records=150, tests=0)
    several = np.stack([files["logits"]] * 2, axis=1)
    with pytest.raises(InputError, match=r"Of several inputs a record, .*pass one: logits\[:, 0\]"):
        check_inputs("x", **{**files, "logits": several})
    with pytest.raises(InputError, match=r"shape \(150, 1, 2, 3\). .*The axes are \[M, N, K\]"):
        check_inputs("x", **{**files, "logits": several[:, None]})
    files = arrays(8, records=150, tests=0)
    with pytest.raises(InputError, match=r"Its axes are \[M, N\], models first: pass member.T"):
        check_inputs("x", **{**files, "member": files["member"].T})
    with pytest.raises(DataFileError, match=r"is a single array. .* The axes are \[M, N, K\]"):
        read_outputs(tmp_path / "logits.npy")
    with pytest.raises(DataFileError, match=r"is a folder. .* The axes are \[M, N, K\]"):
        read_outputs(tmp_path)


def split_of(models: int, kind: str, records: int = 600) -> Any:
    """Membership of models that each leave a part of the records out, or see a part only."""
    parts = np.arange(records) % models
    member = (parts != np.arange(models)[:, None]).astype(int)
    return member if kind == "out" else 1 - member


@pytest.mark.parametrize(
    ("models", "kind", "says"),
    [
        (5, "out", "Each record has 4 models trained on it and 1 not, as in cross-validation"),
        (10, "out", "Each record has 9 models trained on it and 1 not, as in cross-validation"),
        (5, "in", "Each record has 1 model trained on it and 4 not, as in cross-validation"),
        (2, "out", "Each record has 1 model trained on it and 1 not, as in cross-validation"),
    ],
)
def test_k_fold(tmp_path: Path, models: int, kind: str, says: str) -> None:
    """Said before the work begins, and with what can be done."""
    files = arrays(models, records=600, tests=0)
    files["member"] = split_of(models, kind)
    np.savez(tmp_path / "o.npz", **files)
    found = run(str(tmp_path / "o.npz"))
    assert found.exit_code == 3 and says in found.stderr
    assert "Audit one model at a time, logits[m] with member[m]" in found.stderr
    assert "Running audit" not in found.stderr
    alone = {**files, "logits": files["logits"][0], "member": files["member"][0]}
    assert len(check_inputs("x", **alone).pool().records.labels) == 600


def test_models_that_are_too_few_for_each_other() -> None:
    files = arrays(3, records=200, tests=0)
    with pytest.raises(
        TooFewRecordsError,
        match=r"records have 1 to 3 models trained on them and 0",
    ):
        check_inputs("x", **files).pool()
    assert check_inputs("x", **arrays(8, records=200, tests=0)).pool().models == 8


# --- names of arrays -----------------------------------------------------------------------------


def test_label_and_labels_in_npz(tmp_path: Path) -> None:
    files = arrays(1)
    np.savez(tmp_path / "o.npz", label=files["labels"], **files)
    with pytest.raises(DataFileError, match=r"holds both 'label' and 'labels'. Keep one of them"):
        read_outputs(tmp_path / "o.npz")


def test_texts_of_test_data_are_the_same_classes() -> None:
    files = arrays(1)
    texts = {name: NAMES[files[name]] for name in ("labels", "test_labels")}
    texts["labels"] = np.where(texts["labels"] == "cat", "dog", texts["labels"])
    inputs = check_inputs("x", **{**files, **texts})
    np.testing.assert_array_equal(inputs.test_labels, files["test_labels"])
    with pytest.raises(DynaNoiseError, match=r"labels hold 2 different texts"):
        check_inputs("x", **{**files, "labels": texts["labels"]})


def test_one_hot_rows_of_other_classes() -> None:
    files = arrays(1)
    with pytest.raises(InputError, match=r"shape \(200, 5\), and there are 3 classes"):
        check_inputs("x", **{**files, "labels": np.eye(5)[files["labels"]]})


def test_identifiers_in_a_file_of_outputs(tmp_path: Path) -> None:
    lines = ["id,p0,p1,label,member", *(f"{row},0.5,0.5,{row % 2},1" for row in range(9))]
    (tmp_path / "o.csv").write_text("\n".join(lines))
    with pytest.raises(DataFileError, match=r"unknown columns: 'id'.* Leave out id, with another"):
        read_outputs(tmp_path / "o.csv")
