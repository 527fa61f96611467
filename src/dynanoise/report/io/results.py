"""Records to files and back. A file is either whole or not there."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from dynanoise.core.errors import InputError, ResultsFileError
from dynanoise.core.files import write_atomically
from dynanoise.core.result import Metric, Result, ThreatModel

FORMAT = "dynanoise-results/1"


def to_json(records: Sequence[Result]) -> str:
    """Records as JSON text: what all have in common once, under ``shared``, the rest in a list.

    Raises:
        InputError: if there is no record.
    """
    if not records:
        raise InputError("There are no results.", "Save at least one.")
    rows = [asdict(record) for record in records]
    shared = {
        name: value for name, value in rows[0].items() if all(row[name] == value for row in rows)
    }
    body = {
        "format": FORMAT,
        "shared": shared,
        "results": [{k: v for k, v in row.items() if k not in shared} for row in rows],
    }
    return json.dumps(body, indent=1, allow_nan=False) + "\n"


def from_json(text: str, name: str = "the text") -> list[Result]:
    """Records from `to_json`'s text.

    Raises:
        ResultsFileError: if it is not such a text.
    """
    try:
        body = json.loads(text)
        if body["format"] != FORMAT:
            raise ResultsFileError(
                f"{name} has the format {body['format']!r}.",
                f"This version reads {FORMAT!r}.",
            )
        return [_record({**body["shared"], **row}) for row in body["results"]]
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        if isinstance(error, ResultsFileError):
            raise
        raise ResultsFileError(
            f"{name} does not hold results ({type(error).__name__}: {error}).",
            "Pass a results.json that `dynanoise bench --out DIR` wrote.",
        ) from error


def _record(row: dict[str, Any]) -> Result:
    unknown = set(row) - {field.name for field in fields(Result)}
    if unknown:
        raise ValueError(f"unknown fields {sorted(unknown)}")
    row["threat"] = ThreatModel(**row["threat"])
    row["metrics"] = {name: _metric(name, value) for name, value in row["metrics"].items()}
    record = Result(**row)
    if type(record.seed) is not int or not isinstance(record.counts, dict):
        raise ValueError(f"seed {record.seed!r} and counts {record.counts!r}")
    return record


def _metric(name: str, value: dict[str, Any]) -> Metric:
    metric = Metric(**value)
    numbers = [metric.value, *(bound for bound in (metric.low, metric.high) if bound is not None)]
    if not all(type(number) in (int, float) and math.isfinite(number) for number in numbers):
        raise ValueError(f"metric {name} is {value}")
    return metric


def save(records: Sequence[Result], path: Path) -> None:
    """Writes results so that ``path`` is the old file or the whole new one, never a part."""
    write_atomically(path, to_json(records).encode())


def load(path: Path) -> list[Result]:
    """Records of a file.

    Raises:
        ResultsFileError: if it cannot be read or holds something else.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        inside = path / "results.json"
        raise ResultsFileError(
            f"{path} cannot be read ({error.__class__.__name__}).",
            f"Did you mean {inside}?"
            if inside.is_file()
            else "Pass a results.json that `dynanoise bench --out DIR` wrote.",
        ) from error
    return from_json(text, str(path))
