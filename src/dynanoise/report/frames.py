"""Results in long form: a row for each metric, as a data frame or CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator
from typing import Any

from dynanoise.core.errors import MissingExtraError
from dynanoise.core.result import Result

COLUMNS = (
    *("dataset", "model", "method", "protocol", "queries", "attack", "seed"),
    *("metric", "value", "low", "high"),
)
"""Columns of the long form."""


def results_frame(results: Iterable[Result]) -> Any:
    """Make a data frame with one row for each metric of each result.

    Args:
        results: any.

    Returns:
        A pandas frame with the columns `COLUMNS`; attack is missing for utility, low and high where
        no interval was computed.

    Raises:
        MissingExtraError: if pandas is not installed.
    """
    try:
        import pandas as pd
    except ImportError as error:
        raise MissingExtraError(
            "A data frame needs pandas, which is not installed.",
            "Install it with: pip install pandas",
        ) from error
    return pd.DataFrame(list(_rows(results)), columns=list(COLUMNS))


def results_csv(results: Iterable[Result]) -> str:
    """Write one line for each metric of each result, numbers at full precision.

    Args:
        results: any.

    Returns:
        CSV with the columns `COLUMNS`; what is missing is empty.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows(_rows(results))
    return text.getvalue()


def _rows(results: Iterable[Result]) -> Iterator[tuple[Any, ...]]:
    for result in results:
        names = (result.dataset, result.model, result.method, result.protocol)
        for name, metric in result.metrics.items():
            values = (name, metric.value, metric.low, metric.high)
            yield (*names, result.threat.repeats, result.attack, result.seed, *values)
