"""Records survive a file, and a file is whole or not there."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from dynanoise.core import files
from dynanoise.core.errors import InputError, ResultsFileError
from dynanoise.core.result import Metric, Result
from dynanoise.report.io.results import from_json, read_results, to_json
from tests.factories.results import records


def write(results: Sequence[Result], path: Path) -> None:
    """As every command writes files."""
    files.write_atomically(path, to_json(results).encode())


def test_records_survive_a_file(tmp_path: Path) -> None:
    rows = records()
    rows[0] = replace(rows[0], metrics={"asr": Metric(0.1, 0.05, 0.2)})
    write(rows, tmp_path / "results.json")
    assert read_results(tmp_path / "results.json") == rows


def test_common_fields_are_written_once() -> None:
    text = to_json(records())
    assert text.count('"made up"') == 2  # data set and preset, of 27 Records
    assert text.count('"knows_defense"') == 1
    assert len(json.loads(text)["results"]) == 27


def test_numbers_are_not_rounded() -> None:
    rows = [replace(records()[0], metrics={"asr": Metric(1 / 3, 0.1 + 0.2)})]
    assert from_json(to_json(rows)) == rows


def test_a_file_is_readable_by_others_as_any_file(tmp_path: Path) -> None:
    write(records(), tmp_path / "results.json")
    (tmp_path / "plain").write_text("")
    assert (tmp_path / "results.json").stat().st_mode == (tmp_path / "plain").stat().st_mode


@pytest.mark.parametrize("error", [OSError(28, "No space left"), KeyboardInterrupt()])
@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_an_interrupted_write_leaves_the_old_file_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str, error: BaseException
) -> None:
    path = tmp_path / "results.json"
    write(records(), path)
    before = path.read_bytes()

    def fail(*args: object) -> None:
        raise error

    monkeypatch.setattr(os, step, fail)
    with pytest.raises(type(error)):
        write(records()[:3], path)
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["results.json"]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("not json", "JSONDecodeError"),
        ("[]", "TypeError"),
        ("{}", "KeyError"),
        ('{"format": "dynanoise-results/9"}', "format 'dynanoise-results/9'"),
        ('{"format": "dynanoise-results/1", "shared": {}, "results": [{}]}', "KeyError"),
        (
            '{"format": "dynanoise-results/1", "shared": {"colour": 1}, "results": [{}]}',
            r"unknown fields \['colour'\]",
        ),
    ],
)
def test_other_files_are_named(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "other.json"
    path.write_text(text)
    with pytest.raises(ResultsFileError, match=says):
        read_results(path)


@pytest.mark.parametrize(
    ("field", "value", "says"),
    [
        ("metrics", {"asr": {"value": "0.5"}}, "metric asr is"),
        ("metrics", {"asr": {"value": None}}, "metric asr is"),
        ("metrics", {"asr": {"value": float("nan")}}, "metric asr is"),
        ("metrics", {"asr": {"value": 0.5, "low": True}}, "metric asr is"),
        ("metrics", {"asr": {"wert": 0.5}}, "unexpected keyword argument 'wert'"),
        ("seed", "1", "seed '1'"),
        ("counts", 5, "counts 5"),
    ],
)
def test_wrong_values_are_named(field: str, value: object, says: str) -> None:
    body = json.loads(to_json(records()))
    body["results"][0][field] = value
    with pytest.raises(ResultsFileError, match=says):
        from_json(json.dumps(body))


def test_a_folder_with_records_is_recognised(tmp_path: Path) -> None:
    write(records(), tmp_path / "results.json")
    with pytest.raises(ResultsFileError, match=r"Did you mean .*results\.json\?"):
        read_results(tmp_path)


def test_unreadable_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(ResultsFileError, match=r"nowhere\.json cannot be read"):
        read_results(tmp_path / "nowhere.json")
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00\x80")
    with pytest.raises(ResultsFileError, match="UnicodeDecodeError"):
        read_results(tmp_path / "binary")


def test_no_records_are_refused() -> None:
    with pytest.raises(InputError, match="no results"):
        to_json([])


def test_the_umask_is_left_as_it_was() -> None:
    before = files._umask()
    assert files._umask() == before
