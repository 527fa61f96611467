"""Evidence to files and back."""

from __future__ import annotations

import io
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dynanoise.core.errors import InputError, ResultsFileError
from dynanoise.core.evidence import Evidence
from dynanoise.report.io.samples import encode_run, read_evidence
from tests.factories.evidence import evidence, paper_records


def written(folder: Path, found: Evidence) -> None:
    for name, content in encode_run(found.results, found).items():
        (folder / name).write_bytes(content)


def test_everything_comes_back(tmp_path: Path) -> None:
    made = evidence()
    written(tmp_path, made)
    found = read_evidence(tmp_path)
    assert found.results == made.results and found.rows is not None and made.rows is not None
    pairs: list[tuple[Any, Any]] = [
        *zip(found.attacks, made.attacks, strict=True),
        *zip(found.reliability, made.reliability, strict=True),
        *zip(found.risks, made.risks, strict=True),
        (replace(found.rows, logits={}), replace(made.rows, logits={})),
    ]
    for one, other in pairs:
        for field in fields(one):
            np.testing.assert_array_equal(getattr(one, field.name), getattr(other, field.name))
    np.testing.assert_array_equal(found.rows.logits["plain"], made.rows.logits["plain"])


def test_the_same_evidence_gives_the_same_bytes() -> None:
    made = evidence()
    assert encode_run(made.results, made) == encode_run(made.results, made)
    assert set(encode_run(made.results, made)) == {"results.json", "samples.npz"}


def test_records_alone_have_no_samples(tmp_path: Path) -> None:
    made = Evidence(tuple(paper_records()))
    assert set(encode_run(made.results, made)) == {"results.json"}
    written(tmp_path, made)
    assert read_evidence(tmp_path).rows is None


def test_samples_of_other_records_are_refused(tmp_path: Path) -> None:
    written(tmp_path, evidence())
    path = tmp_path / "results.json"
    path.write_text(path.read_text().replace("0.62", "0.52", 1))
    with pytest.raises(ResultsFileError, match=r"samples.npz was not written together with .*json"):
        read_evidence(tmp_path)


def test_damaged_samples_are_refused(tmp_path: Path) -> None:
    written(tmp_path, evidence())
    path = tmp_path / "samples.npz"
    whole = path.read_bytes()
    for damaged in (b"", whole[: len(whole) // 2], b"no archive"):
        path.write_bytes(damaged)
        with pytest.raises(ResultsFileError, match=r"does not hold samples|cannot be read"):
            read_evidence(tmp_path)


def test_pickles_are_not_opened(tmp_path: Path) -> None:
    written(tmp_path, evidence())
    buffer = io.BytesIO()
    np.savez(buffer, index=np.array([{"format": "dynanoise-samples/1"}], dtype=object))
    (tmp_path / "samples.npz").write_bytes(buffer.getvalue())
    with pytest.raises(ResultsFileError, match="does not hold samples"):
        read_evidence(tmp_path)


def test_arrays_of_other_lengths_are_refused(tmp_path: Path) -> None:
    written(tmp_path, evidence())
    path = tmp_path / "samples.npz"
    with np.load(path) as archive:
        arrays = {name: archive[name] for name in archive.files}
    arrays["rows.ids"] = arrays["rows.ids"][:-1]
    np.savez_compressed(path, **arrays)
    with pytest.raises(ResultsFileError, match=r"rows of \[39, 40\] lengths"):
        read_evidence(tmp_path)


def test_a_folder_without_records_is_named(tmp_path: Path) -> None:
    with pytest.raises(ResultsFileError, match=r"results.json cannot be read"):
        read_evidence(tmp_path)


def test_there_is_no_evidence_without_records() -> None:
    with pytest.raises(InputError, match="There are no results"):
        Evidence(())
