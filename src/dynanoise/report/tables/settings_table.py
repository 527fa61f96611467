"""The best settings of a search over a defense's parameters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from dynanoise.core.result import Metric
from dynanoise.report.numbers import change, rate
from dynanoise.report.table import Column, Row, Table, make_table, number_cell


@dataclass(frozen=True)
class MeasuredSetting:
    """One of the best settings, measured on records that the search did not use.

    Attributes:
        name: the method's name in results.
        parameters: values by short names.
        gains: worst-case MIDPUT by protocol.
        drop: fall of accuracy.
        nll: negative log-likelihood, nats.
        ece: expected calibration error.
    """

    name: str
    parameters: Mapping[str, str]
    gains: Mapping[str, Metric]
    drop: float
    nll: float
    ece: float

    @property
    def worst(self) -> Metric:
        """The gain with the lowest lower limit."""
        return min(self.gains.values(), key=lower_limit)


def lower_limit(metric: Metric) -> float:
    """The lower end of the interval; the value where there is none."""
    return metric.value if metric.low is None else metric.low


def settings_table(settings: Sequence[MeasuredSetting], recommended: str | None) -> Table:
    """Tabulate settings, one a row.

    Args:
        settings: in the order of the table.
        recommended: name of the setting to be marked; None to mark none.
    """
    protocols = list(settings[0].gains) if settings else []
    rows: list[Row] = []
    for setting in settings:
        values = ", ".join(f"{key} {value}".strip() for key, value in setting.parameters.items())
        name = f"> {setting.name}" if setting.name == recommended else setting.name
        gains = [number_cell(setting.gains[protocol], change) for protocol in protocols]
        rows.append(
            [name, values, *gains, change(setting.drop), rate(setting.nll), rate(setting.ece)]
        )
    headings: list[str | Column] = [
        "Name",
        Column("Setting", "left"),
        *protocols,
        "Acc. drop",
        "NLL",
        "ECE",
    ]
    caption = "Worst-case MIDPUT by attacker, on records that the search did not use"
    return make_table(caption, headings, rows)
