"""Published values of arXiv:2505.13362v2."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

COMPARED = ("cifar10_paper", "imagenet10", "sst2")
"""Data sets that stand beside the published values, named as by `data_sets`: of each preset, model
and size nearest to the paper's."""

_COLUMNS = {"lira_by_class": "lira", None: "accuracy"}
"""The paper's column for an attack where its name differs; None stands for utility."""


@dataclass(frozen=True)
class Published:
    """The tables of one data set.

    Attributes:
        rows: by method, values by column: "accuracy", "confidence", "loss", "shadow", "lira".
        midput: by method, the mean over the paper's six attacks.
    """

    rows: Mapping[str, Mapping[str, float]]
    midput: Mapping[str, float]

    def value(self, method: str, attack: str | None, metric: str) -> float | None:
        """The published "asr" of an attack, or "accuracy" and "midput" of a method (attack None).

        >>> published("cifar10").value("dynanoise", "lira_by_class", "asr")
        0.5342
        >>> published("cifar10").value("dynanoise", None, "midput")
        0.1035
        """
        if (attack, metric) == (None, "midput"):
            return self.midput.get(method)
        if metric != ("asr" if attack else "accuracy"):
            return None
        return self.rows.get(method, {}).get(_COLUMNS.get(attack, attack or ""))


@cache
def tables() -> Mapping[str, Any]:
    """All published tables, as they stand in ``published.json``."""
    text = resources.files("dynanoise.report.io").joinpath("published.json").read_text()
    values: dict[str, Any] = json.loads(text)
    return values


def published(preset: str) -> Published:
    """Select the published values of a preset's data set; empty where the paper has none.

    >>> published("digits").rows
    {}
    """
    values = tables()
    columns = values["columns"]
    rows = values["attack_success"].get(preset, {})
    return Published(
        {name: dict(zip(columns, row, strict=True)) for name, row in rows.items()},
        values["midput"].get(preset, {}),
    )
