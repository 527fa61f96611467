"""Every way in takes --by and --groups in the same words, and gives the same numbers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from dynanoise.audits.columns import Columns
from dynanoise.audits.layouts import folder_audit
from dynanoise.audits.random_halves import check_records
from dynanoise.cli import app
from dynanoise.core.errors import InputError
from dynanoise.core.numerics import softmax
from dynanoise.core.result import Result
from dynanoise.report.io.results import from_json
from tests.audits.test_doors import arrow_file, csv, identity
from tests.audits.test_folders import written
from tests.factories.audit_files import Arrays, arrays

RECORDS, EACH = 960, 3
NAMED = ["--by", "ward", "--groups", "patient"]


def of_wards(models: int) -> Arrays:
    """Outputs that leak in one ward alone, with three records a patient; members first."""
    leaking, silent = (arrays(models, RECORDS, leak=leak, tests=0) for leak in (6.0, 0.0))
    patient = np.arange(RECORDS) // EACH
    logits, quiet = (values["logits"].reshape(models, RECORDS, 3) for values in (leaking, silent))
    member = leaking["member"].reshape(models, RECORDS)
    ward = np.array(["ICU", "north"])[patient % 2]
    true = np.arange(models)[:, None], np.arange(RECORDS), leaking["labels"]
    logits[:, ward == "north"] = quiet[:, ward == "north"]
    kept = member[:, ::EACH].repeat(EACH, axis=1)
    logits[true] += 6.0 * (kept - member) * (ward == "ICU")
    files = {"labels": leaking["labels"], "ward": ward, "patient": patient}
    if models > 1:
        return {**files, "logits": logits.astype(np.float32), "member": kept}
    order = np.argsort(-kept[0], kind="stable")
    files = {name: values[order] for name, values in files.items()}
    return {**files, "logits": logits[0, order].astype(np.float32), "member": kept[0, order]}


ONE, SEVERAL = of_wards(1), of_wards(8)
PROBS = softmax(ONE["logits"].astype(np.float64))
MEMBERS = int(ONE["member"].sum())
PARTS = {"train": slice(MEMBERS), "test": slice(MEMBERS, None)}
COLUMNS = {name: ONE[name].tolist() for name in ("ward", "patient")}


def table_of_outputs(write: Callable[[Path, dict[str, Any]], Path], suffix: str) -> Any:
    def door(folder: Path) -> list[Any]:
        columns = {f"p{k}": PROBS[:, k].tolist() for k in range(3)}
        rest = {"label": ONE["labels"].tolist(), "member": ONE["member"].tolist(), **COLUMNS}
        return [write(folder / f"outputs.{suffix}", {**columns, **rest})]

    return door


def by_part() -> Arrays:
    names = ("logits", "labels", "ward", "patient")
    return {f"{n}_{part}": ONE[n][rows] for n in names for part, rows in PARTS.items()}


def train_test_npz(folder: Path) -> list[Any]:
    np.savez(folder / "outputs.npz", **by_part())
    return [folder / "outputs.npz"]


def train_test_folder(folder: Path) -> list[Any]:
    for name, values in by_part().items():
        np.save(folder / f"{name}.npy", values)
    return [folder]


def model_file(write: Callable[[Path, dict[str, Any]], Path] | None, suffix: str) -> Any:
    def door(folder: Path) -> list[Any]:
        arguments: list[Any] = ["--model", identity(folder / "m.onnx")]
        for part, option in (("train", "members"), ("test", "nonmembers")):
            path, rows = folder / f"{option}.{suffix}", PARTS[part]
            if write is None:
                further = {name: ONE[name][rows] for name in COLUMNS}
                np.savez(path, X=ONE["logits"][rows], y=ONE["labels"][rows], **further)
            else:
                inputs = {f"f{k}": ONE["logits"][rows, k].tolist() for k in range(3)}
                further = {name: values[rows] for name, values in COLUMNS.items()}
                # Between the inputs, so that columns are told by name.
                columns = {"f0": inputs.pop("f0"), **further, **inputs}
                write(path, {**columns, "label": ONE["labels"][rows].tolist()})
            arguments += [f"--{option}", path]
        return arguments

    return door


def lira_folder(folder: Path) -> list[Any]:
    path = written(folder / "lira", SEVERAL)
    for name in COLUMNS:
        np.save(path / f"{name}.npy", SEVERAL[name])
    return [path]


def meter(folder: Path) -> list[Any]:
    """The probability of the true class alone."""
    path = folder / "log_dir"
    (path / "models").mkdir(parents=True)
    (path / "signals").mkdir()
    probs = softmax(SEVERAL["logits"].astype(np.float64))
    signals = probs[:, np.arange(RECORDS), SEVERAL["labels"]].T
    np.save(path / "models" / "memberships.npy", SEVERAL["member"] == 1)
    np.save(path / "signals" / "rmia_signals.npy", signals)
    for name in COLUMNS:
        np.save(path / f"{name}.npy", SEVERAL[name])
    return [path]


DOORS: dict[str, tuple[str, Callable[[Path], list[Any]]]] = {
    "csv of outputs": ("loss", table_of_outputs(csv, "csv")),
    "parquet of outputs": ("loss", table_of_outputs(arrow_file, "parquet")),
    "npz of members and non-members": ("loss", train_test_npz),
    "folder of members and non-members": ("loss", train_test_folder),
    "model file with npz tables": ("loss", model_file(None, "npz")),
    "model file with csv tables": ("loss", model_file(csv, "csv")),
    "model file with parquet tables": ("loss", model_file(arrow_file, "parquet")),
    "LiRA folder": ("lira", lira_folder),
    "LiRA folder by parts": ("lira", lira_folder),
    "Privacy Meter folder": ("lira", meter),
}
"""By name: the attack, and a function that writes the files and gives arguments of the command."""


def audit(arguments: list[Any], *more: str) -> Any:
    return CliRunner().invoke(app, ["audit", *map(str, arguments), *more, "--json"])


def both(run: Any) -> list[Result]:
    """Results of the attack, and of the attacker's choice, which has the groups."""
    assert run.exit_code == 0, run.output
    return [result for result in from_json(run.stdout) if result.attack is not None]


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Result]]:
    """Results on npz files of outputs, by attack."""
    results = {}
    for attack, files in (("loss", ONE), ("lira", SEVERAL)):
        path = tmp_path_factory.mktemp("reference") / "outputs.npz"
        np.savez(path, **files)
        results[attack] = both(audit([path], *NAMED, "--attack", attack))
    return results


@pytest.mark.behaviour
@pytest.mark.parametrize("door", DOORS)
def test_groups_and_persons_are_those_of_a_file_of_outputs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, expected: dict[str, list[Result]], door: str
) -> None:
    attack, write = DOORS[door]
    if door == "LiRA folder by parts":
        monkeypatch.setattr(folder_audit, "IN_MEMORY", 0)
    results = both(audit(write(tmp_path), *NAMED, "--attack", attack))
    kinds = "persons", "scored_members", "scored_non_members"
    for result, reference in zip(results, expected[attack], strict=True):
        assert result.counts["persons"] == RECORDS // EACH
        assert [result.counts[kind] for kind in kinds] == [reference.counts[kind] for kind in kinds]
        for name, metric in reference.metrics.items():
            one_class = door == "Privacy Meter folder" and name.startswith("class=")
            if not one_class and name.endswith(("auc", "auc_largest")) and "blind" not in name:
                assert result.metrics[name].value == pytest.approx(metric.value, abs=1e-6)
    metrics = results[1].metrics
    assert (metrics["ward=ICU auc"].low or 0) > max(0.6, metrics["ward=north auc"].value)


WRONG: dict[str, tuple[list[str], str]] = {
    "a misspelled name": (["--by", "wart"], "holds no 'wart'. Did you mean 'ward'?"),
    "labels": (["--by", "{label}"], "holds labels, outputs or membership."),
}


@pytest.mark.parametrize("kind", WRONG)
@pytest.mark.parametrize(
    "door", ["csv of outputs", "npz of members and non-members", *list(DOORS)[4:8]]
)
def test_columns_that_every_door_refuses(tmp_path: Path, door: str, kind: str) -> None:
    label = "y" if "npz tables" in door else "y_train" if "LiRA" in door else "label"
    label = "labels" if "non-members" in door else label
    options, says = WRONG[kind]
    result = audit(DOORS[door][1](tmp_path), *(option.format(label=label) for option in options))
    assert result.exit_code == 2
    assert says in " ".join(result.stderr.split()), result.stderr


def test_a_model_with_too_few_inputs_names_the_columns_that_were_left_out(tmp_path: Path) -> None:
    arguments = model_file(csv, "csv")(tmp_path)
    result = audit(arguments, "--by", "f1", "--by", "ward", "--groups", "patient")
    assert result.exit_code == 2
    assert "(f1, ward, patient) are not inputs" in " ".join(result.stderr.split())


def test_missing_values_are_a_group_and_no_person() -> None:
    columns = Columns({"age": np.array([30.0, np.nan, 41.0])}, np.array(["a", None, "b"]))
    with pytest.raises(InputError, match="groups holds no person in row 1"):
        columns.check(3)
    several = np.arange(4000.0).reshape(2000, 2), np.arange(2000) % 2
    with pytest.raises(InputError, match="groups holds no person in row 1"):
        check_records(*several, groups=["a", np.nan, *["b"] * 1998])
    by = Columns(columns.by, np.arange(3.0)).check(3)
    assert by.by["age"].tolist() == ["30", "missing", "41"] and by.persons is not None
    assert by.persons.dtype == np.int64
    texts = np.array(["a", "nan", "b"])  # as to_numpy(dtype=str) of pandas writes a missing one
    with pytest.raises(InputError, match="groups holds no person in row 1"):
        Columns(persons=texts).check(3)
    assert Columns({"ward": texts}).check(3).by["ward"].tolist() == ["a", "missing", "b"]
    numbers = np.array([1234567.0, 1234568.0, "unknown"], dtype=object)
    long = Columns({"code": np.array([1234567.0, 1234568.0, np.nan])}, numbers).check(3)
    assert long.by["code"].tolist() == ["1234567", "1234568", "missing"]
    assert long.persons is not None and long.persons.tolist() == ["1234567", "1234568", "unknown"]
