"""Results as data frames."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from dynanoise.core.errors import MissingExtraError
from dynanoise.core.result import Result


def results_frame(results: Iterable[Result]) -> Any:
    """Make a data frame with one row for each metric of each result.

    Args:
        results: any.

    Returns:
        A pandas frame with the columns dataset, model, method, protocol, queries, attack, seed,
        metric, value, low, high.

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
    rows = [
        {
            "dataset": result.dataset,
            "model": result.model,
            "method": result.method,
            "protocol": result.protocol,
            "queries": result.threat.repeats,
            "attack": result.attack,
            "seed": result.seed,
            "metric": name,
            "value": metric.value,
            "low": metric.low,
            "high": metric.high,
        }
        for result in results
        for name, metric in result.metrics.items()
    ]
    return pd.DataFrame(rows)
