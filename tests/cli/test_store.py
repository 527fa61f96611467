"""`dynanoise store`, and where `bench` keeps models."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import Result

from dynanoise.partition.cells import Cells
from dynanoise.partition.exclusion import Exclusion
from tests.factories.commands import FEW, run, torch_missing


@pytest.mark.behaviour
@torch_missing
def test_stored_models_are_used_listed_and_removed(tmp_path: Path) -> None:
    arguments = ("bench", "digits", "--seeds", "1", "--attack", "loss", *FEW, "--json")
    store = str(tmp_path / "store")
    first = run(*arguments, "--store", store)
    assert first.exit_code == 0, first.stderr
    again = run(*arguments, "--store", store)

    def numbers(result: Result) -> list[object]:
        return [row["metrics"] for row in json.loads(result.stdout)["results"]]

    assert numbers(first) == numbers(again) == numbers(run(*arguments, "--no-store"))
    listed = run("store", "ls", "--store", store)
    lines = listed.stdout.splitlines()
    assert len(lines) == 4
    assert all("digits" in line and "Plain" in line for line in lines)
    assert "in all." in listed.stderr
    key = lines[0].split()[0]
    assert "Removed 1 model." in run("store", "rm", key, "--store", store).stderr
    assert run("store", "rm", key, "--store", store).exit_code == 2
    assert run("store", "rm", "--store", store).exit_code == 2
    assert "Removed 3 models." in run("store", "rm", "--all", "--store", store).stderr
    assert run("store", "ls", "--store", store).stdout == ""
    assert "is not a folder" in run("store", "ls", "--store", str(tmp_path / "nowhere")).stderr


@pytest.mark.behaviour
@torch_missing
def test_models_are_kept_in_the_users_cache_unless_told_otherwise(empty_cache: Path) -> None:
    arguments = ("bench", "digits", "--quick", "--defense", "temperature", "--attack", "loss")
    # No other protocol has this attack, so no pool is trained.
    assert run(*arguments, "--no-store").exit_code == 0
    assert run("store", "ls").stdout == "" and not (empty_cache / "models").exists()
    found = run(*arguments)
    assert "One seed." in found.stdout
    assert len(run("store", "ls").stdout.splitlines()) == 4
    assert len(list((empty_cache / "models").glob("*/*/model.safetensors"))) == 4


def test_a_proof_of_exclusion_is_computed_again(tmp_path: Path) -> None:
    pytest.importorskip("safetensors", reason="files of cells need safetensors")
    generator = np.random.default_rng(0)
    rows, proof, file = generator.normal(size=(40, 3)), tmp_path / "proof", tmp_path / "rows.npy"
    cells = Cells.fit(generator.normal(size=(40, 3)), folds=3, components=2)
    groups = np.arange(40) // 2
    cells.write(proof / "cells.json")
    Exclusion.of(cells, rows, groups).write(proof / "exclusion.json")
    np.save(file, rows)
    np.save(tmp_path / "groups.npy", groups)
    arguments = ("verify", str(proof), "--data", str(file))
    grouped = (*arguments, "--groups", str(tmp_path / "groups.npy"))
    result = run(*grouped)
    assert result.exit_code == 0, result.stderr
    assert result.stdout == "40 records and 3 models: no record is in a model near it.\n"
    assert "left out by group" in run(*arguments).stderr
    np.save(file, rows[1:])
    result = run(*grouped)
    assert result.exit_code == 2 and "are not the 40 of the training" in result.stderr
    text = (proof / "exclusion.json").read_text()
    (proof / "exclusion.json").write_text(text.replace('"models": 3', '"models": 4'))
    assert "damaged" in run(*grouped).stderr
    (proof / "exclusion.json").write_text(text)
    assert "Pass --data" in run("verify", str(proof)).stderr
    np.save(file, rows)
    Exclusion.of(cells, rows).write(proof / "exclusion.json")
    assert run(*arguments).exit_code == 0
    result = run(*grouped)
    assert result.exit_code == 2 and "were trained without groups" in result.stderr


@pytest.mark.parametrize("names", [("y",), ("age", "patient")])
def test_the_proof_of_a_table_whose_names_are_those_of_labels_or_groups(
    tmp_path: Path, names: tuple[str, ...]
) -> None:
    """Inputs called y without labels, and groups that are inputs as well."""
    pytest.importorskip("safetensors", reason="files of cells need safetensors")
    rows = np.arange(40.0)[:, None] + np.zeros((1, len(names)))
    cells = Cells.fit(rows, folds=3, width=0)
    cells.write(tmp_path / "cells.json")
    groups = rows[:, -1] if "patient" in names else None
    Exclusion.of(cells, rows, groups).write(tmp_path / "exclusion.json")
    file = tmp_path / "train.csv"
    lines = [",".join(map(str, row)) for row in rows.tolist()]
    file.write_text("\n".join([",".join(names), *lines]) + "\n")
    further = ("--groups", "patient") if groups is not None else ()
    result = run("verify", str(tmp_path), "--data", str(file), *further)
    assert result.exit_code == 0, result.stderr


def test_the_proof_of_a_data_frame_with_texts_and_dates(tmp_path: Path) -> None:
    """From the table that pandas writes, with or without labels and the column of patients."""
    pandas = pytest.importorskip("pandas")
    pytest.importorskip("pyarrow", reason="parquet: pip install 'dynanoise[data]'")
    pytest.importorskip("safetensors", reason="files of cells need safetensors")
    frame = pandas.DataFrame(
        {
            "age": np.arange(40.0),
            "ward": pandas.Categorical(["a", None, "b", "c"] * 10),
            "visit_date": np.array(["2020-01-02", "2021-03-04T05"] * 20, "datetime64[s]"),
        }
    ).iloc[::-1]  # rows of a split are not in the order of their index
    patients = np.arange(40) // 2
    cells = Cells.fit(frame, folds=3, width=0)
    cells.write(tmp_path / "cells.json")
    said = "40 records and 3 models: no record is in a model near it.\n"
    for groups in (None, patients):
        Exclusion.of(cells, frame, groups).write(tmp_path / "exclusion.json")
        further = () if groups is None else ("--groups", "patient")
        columns = {} if groups is None else {"patient": groups}
        for labels in ({}, {"died": patients % 2}, {"label": patients % 2}):
            for name in ("train.parquet", "train.csv"):
                table = frame.assign(**labels, **columns)
                write = table.to_csv if name.endswith("csv") else table.to_parquet
                write(tmp_path / name)
                result = run("verify", str(tmp_path), "--data", str(tmp_path / name), *further)
                assert result.stdout == said, (name, labels, result.stderr)
    table.insert(0, "outcome", "x")
    table.to_parquet(tmp_path / "train.parquet")
    named = ("verify", str(tmp_path), "--data", str(tmp_path / "train.parquet"), *further)
    assert "columns of the training alone" in run(*named, "--label", "label").stderr
    table.drop(columns="label").to_parquet(tmp_path / "train.parquet")
    assert run(*named, "--label", "outcome").stdout == said


@pytest.fixture
def stored_model(tmp_path: Path) -> tuple[Any, str]:
    """A store with an out-of-fold model on digits, and its key."""
    from dynanoise.core.registry import DATASETS

    return store_model(tmp_path, DATASETS.get("digits")(), width=0)


def store_model(folder: Path, data: Any, **parameters: Any) -> tuple[Any, str]:
    """Train an out-of-fold model on 200 records, and store it."""
    from dynanoise.core.registry import MODELS
    from dynanoise.training.execution.outputs import outputs_of
    from dynanoise.training.jobs import Job
    from dynanoise.training.recipes.out_of_fold import OutOfFold
    from dynanoise.training.schedule import Schedule
    from dynanoise.training.store.store import Store, key

    store = Store(folder)
    recipe = OutOfFold(Schedule(epochs=15, batch=32, learning_rate=1e-2), 2, **parameters)
    job = Job("target", MODELS.get("mlp")((32,)), recipe, np.arange(200), np.arange(200, 300), 0)
    outputs_of(job, data, store)
    return store, key(job, data)


@torch_missing
def test_the_exclusion_of_a_stored_model_is_computed_again(
    tmp_path: Path, stored_model: tuple[Any, str]
) -> None:
    store, name = stored_model
    named = ("--data", "digits", "--store", str(tmp_path))
    result = run("verify", name[:12], *named)
    assert result.stdout == "200 records and 2 models: no record is in a model near it.\n"
    assert "0 stored models begin with" in run("verify", "nothing", *named).stderr
    stored = store.get(name)
    assert stored is not None
    left_out = stored.facts["left_out"].copy()
    left_out[tuple(np.argwhere(left_out)[0])] = False
    store.remove([name])
    store.put(name, replace(stored, facts={**stored.facts, "left_out": left_out}), {})
    result = run("verify", name[:12], *named)
    assert result.exit_code == 2 and "1 records are in a model that may answer" in result.stderr


@torch_missing
def test_a_stored_model_of_a_table_is_verified_with_the_table(tmp_path: Path) -> None:
    """`bench` standardises its columns, and the cells are those of standardised rows."""
    from dynanoise.data.catalog import load_data

    generator, file = np.random.default_rng(0), tmp_path / "own.csv"
    rows = 100 + 30 * generator.normal(size=(300, 2))
    lines = (f"{a},{b},{int(a > 100)}" for a, b in rows)
    file.write_text("\n".join(["a,b,label", *lines]))
    _, name = store_model(tmp_path, load_data(str(file), standardise=True), width=0.5, noise=0)
    named = ("verify", name[:12], "--data", str(file), "--store", str(tmp_path))
    assert run(*named).stdout == "200 records and 2 models: no record is in a model near it.\n"
    assert "no groups" in run(*named, "--groups", "a").stderr


@torch_missing
@pytest.mark.behaviour
def test_a_stored_model_is_exported_with_its_cells_and_its_proof(
    tmp_path: Path, stored_model: tuple[Any, str]
) -> None:
    pytest.importorskip("onnxruntime", reason="pip install 'dynanoise[onnx]'")
    pytest.importorskip("onnxscript", reason="torch.onnx needs onnxscript")
    from dynanoise.core.registry import DATASETS
    from dynanoise.integrations.out_of_fold.onnx_folder import open_model

    store, name = stored_model
    folder = tmp_path / "exported"
    result = run("export", name[:12], "--store", str(tmp_path), "--out", str(folder))
    assert result.exit_code == 0, result.stderr
    model = open_model(folder)
    assert f"Weights for defense.yaml: {model.digest}." in result.stdout
    inputs, outputs = DATASETS.get("digits")().inputs, store.get(name)
    logits = model.run({"inputs": inputs})
    np.testing.assert_allclose(logits, outputs.logits[:, 0], atol=1e-4)
    np.save(tmp_path / "members.npy", inputs[outputs.facts["members"]])
    proof = run("verify", str(folder), "--data", str(tmp_path / "members.npy"))
    assert proof.stdout == "200 records and 2 models: no record is in a model near it.\n"
    assert "is a folder" in run("export", str(folder), "--out", str(tmp_path / "d.onnx")).stderr
    assert "0 stored models" in run("export", "0f", "--store", str(tmp_path), "-o", "m").stderr
