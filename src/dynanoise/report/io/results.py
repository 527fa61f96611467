"""Results as JSON text, and from files of it."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from dynanoise.core.errors import InputError, ResultsFileError
from dynanoise.core.result import Metric, Result, ThreatModel

FORMAT = "dynanoise-results/1"


def to_json(results: Sequence[Result]) -> str:
    """Write results as JSON text: fields that all share once, the others in a list.

    Raises:
        InputError: if there are no results.
    """
    if not results:
        raise InputError("There are no results.", "Save at least one.")
    rows = [asdict(result) for result in results]
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
    """Read results from the text of `to_json`.

    Args:
        text: JSON.
        name: name of the text in messages.

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
        return [_result({**body["shared"], **row}) for row in body["results"]]
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        if isinstance(error, ResultsFileError):
            raise
        raise ResultsFileError(
            f"{name} does not hold results ({type(error).__name__}: {error}).",
            "Pass a results.json that `dynanoise bench --out DIR` wrote.",
        ) from error


def _result(row: dict[str, Any]) -> Result:
    unknown = set(row) - {field.name for field in fields(Result)}
    if unknown:
        raise ValueError(f"unknown fields {sorted(unknown)}")
    row["threat"] = ThreatModel(**row["threat"])
    row["metrics"] = {name: _metric(name, value) for name, value in row["metrics"].items()}
    result = Result(**row)
    if type(result.seed) is not int or not isinstance(result.counts, dict):
        raise ValueError(f"seed {result.seed!r} and counts {result.counts!r}")
    return result


def _metric(name: str, value: dict[str, Any]) -> Metric:
    metric = Metric(**value)
    numbers = [metric.value, *(bound for bound in (metric.low, metric.high) if bound is not None)]
    if not all(type(number) in (int, float) and math.isfinite(number) for number in numbers):
        raise ValueError(f"metric {name} is {value}")
    return metric


def read_results(path: Path) -> list[Result]:
    """Read the results of a file.

    Raises:
        ResultsFileError: if it cannot be read or holds something else.
    """
    return from_json(read_content(path), str(path))


def read_content(path: Path) -> str:
    """Read the text of a file of results, byte for byte.

    Raises:
        ResultsFileError: if it cannot be read.
    """
    try:
        return path.read_bytes().decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        inside = path / "results.json"
        raise ResultsFileError(
            f"{path} cannot be read ({error.__class__.__name__}).",
            f"Did you mean {inside}?"
            if inside.is_file()
            else "Pass a results.json that `dynanoise bench --out DIR` wrote.",
        ) from error
