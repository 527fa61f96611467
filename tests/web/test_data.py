"""The page's data beside the files that they are made from, read in another way."""

from __future__ import annotations

import base64
import json
import shutil
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from docs.generate import ROOT
from dynanoise.core.errors import InputError, ResultsFileError
from dynanoise.metrics.roc import roc
from dynanoise.report.io.samples import read_evidence
from dynanoise.web.data import citation_of, data_json
from dynanoise.web.sampled_rows import MISSING, sampled_rows

SITE = ROOT / "src" / "dynanoise" / "web"
LARGEST = 230_000


@cache
def _data() -> Any:
    return json.loads((SITE / "data.json").read_text())


def _results(folder: str) -> list[Any]:
    body = json.loads((ROOT / "results" / folder / "results.json").read_text())
    return [{**body["shared"], **row} for row in body["results"]]


def test_the_data_are_small_and_hold_every_method_once() -> None:
    assert (SITE / "data.json").stat().st_size < LARGEST
    shown: dict[tuple[str, str, str], Any] = {}
    for run in _data()["runs"]:
        for protocol in run["protocols"]:
            for method in protocol["rows"]:
                assert (run["set"], protocol["name"], method) not in shown
                shown[run["set"], protocol["name"], method] = run
    for path in (ROOT / "results").glob("*/results.json"):
        folder, rows = path.parent.name, _results(path.parent.name)
        first = rows[0]
        if first["preset"] == "audit" or first["command"].startswith("dynanoise tune"):
            continue
        same = first["model"] == _results(first["preset"])[0]["model"]
        data_set = first["preset"] if same else f"{first['preset']}_{first['model']}"
        data_set += "_paper" if "--size paper" in first["command"] else ""
        for row in rows:
            overhead = row["protocol"] == "overhead"
            # Of a curve, or with other parameters: in docs/.
            if row["protocol"].startswith("adaptive_chosen_") or "(" in row["method"]:
                continue
            place = data_set, row["protocol"], row["method"]
            run = _data()["overhead"] if overhead else shown[place]
            if run["folder"] == folder:
                assert run["command"] == f"{first['command']} --out results/{folder}"
                versions = run["versions"]
                assert (versions if overhead else _data()["versions"][versions]) == first[
                    "versions"
                ]


@pytest.mark.behaviour
@pytest.mark.parametrize("folder", ["cifar10", "cifar10_chosen", "digits"])
def test_cells_are_those_of_records(folder: str) -> None:
    records = _results(folder)
    run = next(one for one in _data()["runs"] if one["folder"] == folder)
    compared = 0
    for protocol in run["protocols"]:
        attacks = [
            (name, metric)
            for name in _data()["attacks"][protocol["attacks"]]
            for metric in _data()["attack"]
        ]
        columns = [(None, metric) for metric in _data()["utility"]] + attacks
        for method, place in protocol["rows"].items():
            _, text = _data()["rows"][place]
            _, *cells = text.split(",")
            for (attack, metric), cell in zip(columns, cells, strict=True):
                mine = [
                    one["metrics"]
                    for one in records
                    if (one["protocol"], one["method"], one["attack"])
                    == (protocol["name"], method, attack)
                ]
                if not cell:
                    assert not mine or any(metric not in one for one in mine)
                    continue
                value, *margins = map(int, cell.split())
                mean = np.mean([one[metric]["value"] for one in mine])
                assert abs(value - 1000 * mean) <= 0.5 + 1e-9
                if len(mine) == 1 and margins:
                    low, high = (1000 * mine[0][metric][end] for end in ("low", "high"))
                    below, above = margins
                    assert abs(value - below - low) <= 0.5 + 1e-9 >= abs(value + above - high)
                compared += 1
    assert compared > 150


def test_ranks_say_what_scores_say() -> None:
    samples = _data()["samples"]
    evidence = read_evidence(ROOT / "results" / samples["folder"])
    members = np.array([letter == "1" for letter in samples["members"]])
    assert evidence.rows is not None
    assert (members == evidence.rows.members).all() and 0 < members.sum() < len(members)
    seen = 0
    for one in samples["scores"]:
        ranks = np.frombuffer(base64.b64decode(samples["ranks"][one["ranks"]]), "<u2")
        found = evidence.attacks_on(one["protocol"], one["method"])
        if not found:
            continue  # of another run on the same rows
        sample = next(sample for sample in found if sample.attack == samples["attack"])
        there = ranks != MISSING
        assert (there == ~np.isnan(sample.scores)).all()
        packed = roc(ranks[there].astype(float), members[there]).auc
        assert packed == roc(sample.scores[there], members[there]).auc
        seen += 1
    assert seen > 5
    logits = np.frombuffer(base64.b64decode(samples["logits"]), "<i2") * samples["step"]
    original = next(iter(evidence.rows.logits.values()))
    assert np.abs(logits.reshape(original.shape) - original).max() <= samples["step"] / 2 + 1e-6


def test_samples_of_other_records_are_refused(tmp_path: Path) -> None:
    folder = tmp_path / "some"
    shutil.copytree(ROOT / "results" / _data()["samples"]["folder"], folder)
    text = (folder / "results.json").read_text()
    (folder / "results.json").write_text(text.replace('"seed": 0', '"seed": 1', 1))
    with pytest.raises(ResultsFileError, match="not written together"):
        data_json(tmp_path, ROOT / "CITATION.cff")


def test_runs_without_samples_do() -> None:
    assert sampled_rows([], {}) is None


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no results"):
        data_json(tmp_path, ROOT / "CITATION.cff")


def test_the_paper_is_the_one_of_the_citation_file() -> None:
    paper = citation_of(ROOT / "CITATION.cff")
    assert paper["authors"] == ["Javad Forough", "Hamed Haddadi"]
    assert paper["arxiv"] == "2505.13362" and paper["year"] == 2026
    assert "author        = {Forough, Javad and Haddadi, Hamed}," in paper["bibtex"]
