"""Records and persons on both sides of an audit: refused, or warned of, and without an epsilon."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from dynanoise.audits.columns import Columns, count_copies, overlap_warnings
from dynanoise.audits.layouts import folder_audit
from dynanoise.cli import app
from tests.audits.test_doors import identity
from tests.audits.test_folders import written
from tests.factories.audit_files import Arrays, arrays

RECORDS = 600


def halves() -> Arrays:
    """Outputs of one model with as many members as non-members, three records a person."""
    files = arrays(1, records=4 * RECORDS, leak=0.0, tests=0)
    rows = [np.flatnonzero(files["member"] == kind)[: RECORDS // 2] for kind in (1, 0)]
    files = {name: values[np.concatenate(rows)] for name, values in files.items()}
    return {**files, "person": np.arange(RECORDS) // 3}


def tables(folder: Path, files: Arrays, copied: int = 0) -> list[str]:
    """A model that returns its inputs, with members of whom some are among the non-members."""
    inside, outside = (files["member"] == kind for kind in (1, 0))
    arguments = ["--model", str(identity(folder / "m.onnx"))]
    for option, chosen, more in (("members", inside, 0), ("nonmembers", outside, copied)):
        rows = np.concatenate([np.flatnonzero(inside)[:more], np.flatnonzero(chosen)])
        further = {"person": files["person"][rows]}
        np.savez(folder / option, X=files["logits"][rows], y=files["labels"][rows], **further)
        arguments += [f"--{option}", str(folder / f"{option}.npz")]
    return arguments


def run(arguments: list[str], *more: str) -> Result:
    return CliRunner().invoke(app, ["audit", *arguments, "--attack", "loss", *more])


def choice(arguments: list[str], *more: str) -> dict[str, Any]:
    """Metrics of the attacker's choice."""
    results = json.loads(run(arguments, *more, "--json").stdout)["results"]
    metrics: dict[str, Any] = results[-1]["metrics"]
    return metrics


def test_the_same_table_as_members_and_non_members_is_refused(tmp_path: Path) -> None:
    files = halves()
    arguments = tables(tmp_path, files)
    members = arguments[3]
    refused = run([*arguments[:4], "--nonmembers", members])
    assert refused.exit_code == 2
    assert "300 of 300 records of members.npz and 300 of 300 of members.npz" in refused.stderr
    refused = run(tables(tmp_path, files, copied=160))
    assert refused.exit_code == 2
    assert "160 of 300 records of members.npz and 160 of 460 of nonm" in refused.stderr


def test_copies_of_members_are_counted_and_conditions_are_refused(tmp_path: Path) -> None:
    few = tables(tmp_path, halves(), copied=3)
    assert "WARNING" not in run(few).stdout and "epsilon" not in choice(few)
    assert "3 of 303 non-members are copies of members" in run(few, "--fail-if", "auc>0.99").stdout
    arguments = tables(tmp_path, halves(), copied=4)
    found = run(arguments)
    assert found.exit_code == 0
    assert found.stdout.startswith("WARNING: 4 of 304 non-members are copies of members")
    assert "Leave such records out on both sides." in " ".join(found.stdout.split())
    assert "epsilon" not in choice(arguments)
    refused = run(arguments, "--fail-if", "auc>0.99")
    assert refused.exit_code == 2 and "PASS" not in refused.stdout
    assert "4 of 304 non-members are copies of members" in refused.stderr
    assert "Without --fail-if the audit goes on." in refused.stderr
    fair = tables(tmp_path, halves())
    assert "WARNING" not in run(fair).stdout and "epsilon" in choice(fair)
    assert run(fair, "--fail-if", "auc>0.99").exit_code == 0


@pytest.mark.parametrize("door", ["file of outputs", "tables"])
def test_persons_on_both_sides_are_counted_and_have_no_epsilon(tmp_path: Path, door: str) -> None:
    files, named = halves(), ["--groups", "person"]
    files["person"][-4:] = [0, 0, 1, 2]

    def arguments() -> list[str]:
        np.savez(tmp_path / "outputs.npz", **files)
        return tables(tmp_path, files) if door == "tables" else [str(tmp_path / "outputs.npz")]

    found = run(arguments(), *named)
    assert found.exit_code == 0
    says = " ".join(found.stdout.split())
    assert says.startswith("WARNING: 3 of 199 persons have records among the members and")
    assert "epsilon" not in choice(arguments(), *named)
    refused = run(arguments(), *named, "--fail-if", "auc>0.99")
    assert refused.exit_code == 2 and "3 of 199 persons" in refused.stderr
    files["person"] = halves()["person"]
    assert "WARNING" not in run(arguments(), *named).stdout
    assert "epsilon" in choice(arguments(), *named)


def test_persons_of_several_models_have_one_coin_in_each() -> None:
    persons, use = np.repeat(np.arange(20), 2), np.zeros((4, 40), np.int8)
    use[:, :20] = 1
    labels, columns = np.zeros(40, int), Columns(persons=persons)
    assert overlap_warnings(columns, labels, use) == ()
    use[2, 7], use[3, 0] = 0, -1
    [warning] = overlap_warnings(columns, labels, use)
    assert "1 of 20 persons" in warning and "on all records of a person, or on none" in warning


@pytest.mark.parametrize("by_parts", [False, True])
def test_persons_of_a_folder_on_both_sides(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, by_parts: bool
) -> None:
    if by_parts:
        monkeypatch.setattr(folder_audit, "IN_MEMORY", 0)
    files = arrays(8, records=600, tests=0)
    folder = written(tmp_path / "lira", files)
    np.save(folder / "person.npy", np.arange(600) // 2)
    arguments = ["audit", str(folder), "--attack", "lira", "--groups", "person"]
    found = CliRunner().invoke(app, arguments)
    assert found.exit_code == 0, found.output
    assert "of 300 persons have records among the members" in found.stdout.partition("Verdict")[0]
    assert "Epsilon (" not in found.stdout
    refused = CliRunner().invoke(app, [*arguments, "--fail-if", "auc>0.99"])
    assert refused.exit_code == 2 and "of 300 persons" in refused.stderr


def test_copies_are_expected_where_most_rows_repeat() -> None:
    generator = np.random.default_rng(0)
    rows, labels = generator.integers(0, 2, (2000, 6)).astype(float), np.zeros(2000, int)
    member = (np.arange(2000) < 1000).astype(np.int8)
    assert count_copies(rows, labels, member)[2:] == (False, True)
    [note] = overlap_warnings(Columns(inputs=rows), labels, member[None])
    assert "non-members are copies of members" in note and "WARNING" not in note


def test_equal_outputs_are_no_evidence(tmp_path: Path) -> None:
    files = halves()
    files.pop("person")
    copies = np.flatnonzero(files["member"] == 0)[:50]
    for name in ("logits", "labels"):
        files[name][copies] = files[name][:50]
    np.savez(tmp_path / "outputs.npz", **files)
    assert "WARNING" not in run([str(tmp_path / "outputs.npz")]).stdout


def test_records_are_compared_by_inputs_and_labels() -> None:
    inputs = np.array([[0.0, np.nan], [1.0, 2.0], [-0.0, np.nan], [1.0, 2.0]])
    member, labels = np.array([1, 1, 0, 0], np.int8), np.array(["a", "a", "a", "b"])
    assert count_copies(inputs, labels, member)[:3] == (1, 1, False)
    texts = np.array([["x", None], ["y", 1], ["x", None], ["y", 2]], dtype=object)
    assert count_copies(texts, labels, member)[:3] == (1, 1, False)


def test_a_share_of_members_of_no_fair_coin_has_no_epsilon(tmp_path: Path) -> None:
    """Four of five guesses would be right without a leak: a bound of 0.8 and more."""
    files = arrays(1, records=2000, tests=0, leak=0.0)
    inside, outside = (np.flatnonzero(files["member"] == kind) for kind in (1, 0))
    few = np.concatenate([inside[:800], outside[:200]])
    for name, rows in (("fair", slice(None)), ("uneven", few)):
        np.savez(tmp_path / name, **{key: values[rows] for key, values in files.items()})
    fair, uneven = ([str(tmp_path / f"{name}.npz")] for name in ("fair", "uneven"))
    assert choice(fair)["epsilon"]["value"] < 0.2 and "epsilon" not in choice(uneven)
    says = " ".join(run(uneven).stdout.split())
    assert "Epsilon has no bound: 80% of the scored records, or persons, are members" in says
