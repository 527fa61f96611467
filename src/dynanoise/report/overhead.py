"""Records of time and memory for people: table, sentences."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rich import box
from rich.console import Console
from rich.table import Table

from dynanoise.core.errors import InputError
from dynanoise.core.result import OVERHEAD, Metric, Result
from dynanoise.report.io.published import tables

_TABLE = tables()["inference_overhead"]

PUBLISHED: Mapping[str, float] = {
    "none": 1.0,
    **{name: _TABLE[name] for name in ("dynanoise", "memguard")},
}
"""Times over the undefended model's, of arXiv:2505.13362v2."""

PUBLISHED_MS: Mapping[str, float] = {"dynanoise": _TABLE["dynanoise_ms_per_sample"]}
"""Milliseconds a record, likewise."""

_ANY = 1000
"""Columns, more than any table has."""

_QUIET = 0.05
"""Relative noise up to which the machine passes for quiet."""


@dataclass(frozen=True)
class Overhead:
    """Records of one `bench overhead`.

    Attributes:
        records: one for each method; the first is the baseline.
        batches: batch sizes, ascending.
    """

    records: tuple[Result, ...]
    batches: tuple[int, ...]

    def metric(self, method: str, name: str) -> Metric:
        """A metric of a method."""
        return next(row.metrics[name] for row in self.records if row.method == method)

    @property
    def methods(self) -> tuple[str, ...]:
        """In the order of the results."""
        return tuple(record.method for record in self.records)


def summarise(records: Sequence[Result]) -> Overhead:
    """Records of time and memory, checked.

    Raises:
        InputError: if they are none, of several runs, repeated, or lack metrics.
    """
    kinds = dict.fromkeys(f"{record.preset} ({record.protocol})" for record in records)
    if len(kinds) != 1 or records[0].protocol != OVERHEAD:
        raise InputError(
            f"The results are of {', '.join(kinds) or 'nothing'}.",
            "Pass those of one `dynanoise bench overhead`.",
        )
    names = [record.method for record in records]
    if len(set(names)) < len(names):
        raise InputError(
            f"The results are of the methods {', '.join(names)}.", "Pass one for each."
        )
    found = [re.fullmatch(r"ratio_batch_(\d+)", name) for name in records[0].metrics]
    batches = tuple(sorted(int(match[1]) for match in found if match))
    for index, record in enumerate(records):
        kinds_of = ["ratio", "ms_per_record", "extra_mib"]
        kinds_of += [] if index else ["repeat_ratio"]
        needed = {f"{kind}_batch_{batch}" for kind in kinds_of for batch in batches}
        needed.add("fitted_mib")
        lacking = sorted(needed - set(record.metrics))
        if lacking or not batches:
            raise InputError(
                f"The Result of {record.method} lacks {', '.join(lacking) or 'every ratio'}.",
                "Pass results as `dynanoise bench overhead` writes them.",
            )
    return Overhead(tuple(records), batches)


def digits(value: float, significant: int = 3) -> str:
    """A number >= 0 for a table: three significant digits, whole digits never cut off.

    >>> [digits(value) for value in (0.000841, 0.1432, 1.0, 56.07, 198.8, 3387.2, 0)]
    ['0.000841', '0.143', '1.00', '56.1', '199', '3387', '0']
    """
    if value == 0:
        return "0"
    places = significant - 1 - math.floor(math.log10(abs(value)))
    return f"{value:.{max(0, places)}f}"


def times(value: float) -> str:
    """A ratio of times, two decimals where it is near 1.

    >>> [times(value) for value in (0.996, 1.0134, 10.26, 198.8, 1076.3)]
    ['1.00', '1.01', '10.3', '198.8', '1076']
    """
    return f"{value:.{2 if value < 10 else 1 if value < 1000 else 0}f}"


def overhead_table(summary: Overhead, width: int) -> Table:
    """Methods in rows; times with their intervals below, milliseconds and memory in columns.

    Where that does not fit, each batch size has a row of its own.

    Args:
        summary: what to show.
        width: of the terminal.
    """
    header = ["", *_headings(summary, "\n")]
    rows = [[name, *cells] for name, cells in _cells(summary, "\n").items()]
    wide = _table(summary, header, rows)
    if Console(width=_ANY).measure(wide).maximum <= width:
        return wide
    return _table(summary, *_by_batch(summary))


def _table(summary: Overhead, header: list[str], rows: list[list[str]]) -> Table:
    record = summary.records[0]
    table = Table(
        title=f"{record.preset}: {record.model}, time and memory of an answer",
        box=box.SIMPLE_HEAD,
        show_edge=False,
        padding=0,
        title_justify="left",
    )
    for index, heading in enumerate(header):
        table.add_column(
            heading, justify="right" if index else "left", no_wrap=index == 0, overflow="fold"
        )
    for row in rows:
        table.add_row(*row)
    return table


def markdown_table(summary: Overhead) -> str:
    """The same table in Markdown, intervals in the same line."""
    header = ["", *_headings(summary, ", ")]
    lines = [header, [":--", *["--:"] * (len(header) - 1)]]
    lines += [[name, *cells] for name, cells in _cells(summary, " ").items()]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _headings(summary: Overhead, between: str) -> list[str]:
    return [
        *(f"Time{between}batch {batch}" for batch in summary.batches),
        f"Time{between}paper",
        *(f"ms{between}batch {batch}" for batch in summary.batches),
        *(f"MiB{between}batch {batch}" for batch in summary.batches),
        f"MiB{between}fitted",
    ]


def _by_batch(summary: Overhead) -> tuple[list[str], list[list[str]]]:
    """Headings and rows of the narrow table: the same cells, batch sizes below each other."""
    count = len(summary.batches)
    rows = []
    for name, cells in _cells(summary, "\n").items():
        published, fitted = cells[count], cells[-1]
        for index, batch in enumerate(summary.batches):
            ratio, *interval = cells[index].split("\n")
            own = [ratio, *(interval or ["-"]), cells[count + 1 + index]]
            own.append(cells[2 * count + 1 + index])
            once = ["", "", ""] if index else [name, published, fitted]
            rows.append([once[0], str(batch), *own, *once[1:]])
    return ["", "batch", "time", "95%", "ms", "MiB", "paper", "fitted"], rows


def _memory(found: Metric) -> str:
    return digits(found.value, 2) if found.value >= 0.01 or not found.value else "<0.01"


def _cells(summary: Overhead, between: str) -> dict[str, list[str]]:
    """For each method what its row says, in the order of `_headings`."""
    rows = {}
    for name in summary.methods:
        ratios = [summary.metric(name, f"ratio_batch_{batch}") for batch in summary.batches]
        published = times(PUBLISHED[name]) if name in PUBLISHED else "-"
        each = [summary.metric(name, f"ms_per_record_batch_{batch}") for batch in summary.batches]
        extra = [summary.metric(name, f"extra_mib_batch_{batch}") for batch in summary.batches]
        rows[name] = [
            *(with_interval(ratio, between) for ratio in ratios),
            published,
            *(digits(found.value) for found in each),
            *(_memory(found) for found in extra),
            _memory(summary.metric(name, "fitted_mib")),
        ]
    return rows


def with_interval(ratio: Metric, between: str = " ") -> str:
    """Such as "2.21 [2.18, 2.26]".

    >>> with_interval(Metric(1.0)), with_interval(Metric(1.013, 1.008, 1.021))
    ('1.00', '1.01 [1.01, 1.02]')
    """
    if ratio.low is None or ratio.high is None:
        return times(ratio.value)
    if between == "\n":
        return f"{times(ratio.value)}\n{times(ratio.low)}-{times(ratio.high)}"
    return f"{times(ratio.value)}{between}[{times(ratio.low)}, {times(ratio.high)}]"


def caption(summary: Overhead) -> str:
    """What is compared, in sentences."""
    threads = summary.records[0].hardware.get("threads", 1)
    return (
        "Time is that of the same raw records answered, the model's forward pass and then the "
        "defense, over that of the undefended model in the same round: the median over rounds "
        f"with its 95% interval, on {threads} thread{'' if threads == 1 else 's'}. ms is for one "
        "record. MiB is the most that Python and NumPy held while the defense answered one batch, "
        "beyond the model, its logits and what was fitted before."
    )


def findings(summary: Overhead) -> list[str]:
    """Sentences for under the table: the noise of the machine, and the published values."""
    sentences = [_noise(summary)]
    known = [name for name in summary.methods[1:] if name in PUBLISHED]
    if known:
        said = ", ".join(f"{times(PUBLISHED[name])} with {name}" for name in known)
        milliseconds = [
            f"{PUBLISHED_MS[name]} ms a record with {name}"
            for name in known
            if name in PUBLISHED_MS
        ]
        sentences.append(
            f"Published are times of {', '.join([said, *milliseconds])} (arXiv:2505.13362v2), for "
            "another model on another machine. The larger the model, the smaller the ratio, for a "
            "defense sees nothing but the logits."
        )
    return sentences


def _noise(summary: Overhead) -> str:
    first = summary.methods[0]
    repeats = {
        batch: summary.metric(first, f"repeat_ratio_batch_{batch}") for batch in summary.batches
    }
    said = " and ".join(
        f"{with_interval(ratio)} of the first at batch {batch}" for batch, ratio in repeats.items()
    )
    bounds = [
        bound
        for ratio in repeats.values()
        for bound in (ratio.value, ratio.low, ratio.high)
        if bound is not None
    ]
    noise = max(abs(bound - 1) for bound in bounds)
    sentence = f"Timed twice a round, the undefended model's second time was {said}"
    if noise <= _QUIET:
        return f"{sentence}; differences of that size are noise."
    return (
        f"{sentence}. The machine was not quiet: differences below {noise:.0%} are noise. Measure "
        "again when nothing else runs."
    )
