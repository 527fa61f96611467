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


def test_the_data_are_small_and_of_every_run() -> None:
    assert (SITE / "data.json").stat().st_size < LARGEST
    runs = {run["folder"]: run for run in _data()["runs"]}
    for path in (ROOT / "results").glob("*/results.json"):
        body = json.loads(path.read_text())
        one = {**body["shared"], **body["results"][0]}
        if one["preset"] == "audit":
            continue
        run = _data()["overhead"] if one["protocol"] == "overhead" else runs[path.parent.name]
        assert run["command"].startswith(f"{one['command']} --out results/")
        assert run["versions"] == one["versions"] and run["file"].endswith("results.json")


@pytest.mark.parametrize("folder", ["cifar10", "cifar10_adaptive", "digits"])
def test_cells_are_those_of_records(folder: str) -> None:
    body = json.loads((ROOT / "results" / folder / "results.json").read_text())
    records = [{**body["shared"], **row} for row in body["results"]]
    run = next(one for one in _data()["runs"] if one["folder"] == folder)
    compared = 0
    for protocol in run["protocols"]:
        for method, place in protocol["rows"].items():
            _, utility, attacks = _data()["rows"][place]
            cells = [(None, utility, _data()["utility"])]
            cells += [
                (name, values, _data()["attack"])
                for name, values in zip(protocol["attacks"], attacks, strict=True)
            ]
            for attack, values, names in cells:
                mine = [
                    one["metrics"]
                    for one in records
                    if (one["protocol"], one["method"], one["attack"])
                    == (protocol["name"], method, attack)
                ]
                for metric, cell in zip(names, values, strict=True):
                    if cell is None:
                        assert not mine or any(metric not in one for one in mine)
                        continue
                    mean = np.mean([one[metric]["value"] for one in mine])
                    value = cell[0] if isinstance(cell, list) else cell
                    assert abs(value - 1000 * mean) <= 0.5 + 1e-9
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
        if one["folder"] != samples["folder"]:
            continue
        ranks = np.frombuffer(base64.b64decode(samples["ranks"][one["ranks"]]), "<u2")
        sample = next(
            found
            for found in evidence.attacks_on(one["protocol"], one["method"])
            if found.attack == samples["attack"]
        )
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
    assert sampled_rows([]) is None


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no results"):
        data_json(tmp_path, ROOT / "CITATION.cff")


def test_the_paper_is_the_one_of_the_citation_file() -> None:
    paper = citation_of(ROOT / "CITATION.cff")
    assert paper["authors"] == ["Javad Forough", "Hamed Haddadi"]
    assert paper["arxiv"] == "2505.13362" and paper["year"] == 2026
    assert "author        = {Forough, Javad and Haddadi, Hamed}," in paper["bibtex"]
