"""Time and memory of defended outputs: the table, its caption and its findings."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from dynanoise.core.errors import InputError
from dynanoise.core.result import OVERHEAD, Metric, Result
from dynanoise.report.io.published import tables
from dynanoise.report.numbers import amount, ratio, with_interval
from dynanoise.report.table import MISSING, Cell, Row, Table, make_table, number_cell

_TABLE = tables()["inference_overhead"]

PUBLISHED: Mapping[str, float] = {
    "none": 1.0,
    **{name: _TABLE[name] for name in ("dynanoise", "memguard")},
}
"""Times over the undefended model's, of arXiv:2505.13362v2."""

PUBLISHED_MS: Mapping[str, float] = {"dynanoise": _TABLE["dynanoise_ms_per_sample"]}
"""Milliseconds a record, likewise."""

_QUIET = 0.05
"""Relative noise up to which the machine passes for quiet."""


@dataclass(frozen=True)
class Times:
    """The results of one `bench overhead`.

    Attributes:
        results: one for each method; the first is the baseline.
        batches: batch sizes, ascending.
    """

    results: tuple[Result, ...]
    batches: tuple[int, ...]

    def metric(self, method: str, name: str) -> Metric:
        """A metric of a method."""
        return next(row.metrics[name] for row in self.results if row.method == method)

    @property
    def methods(self) -> tuple[str, ...]:
        """Names in the order of the results."""
        return tuple(result.method for result in self.results)


def collect_times(results: Sequence[Result]) -> Times:
    """Check results of time and memory and put them together.

    Raises:
        InputError: if there are none, if they are of several runs, repeated, or lack metrics.
    """
    kinds = dict.fromkeys(f"{result.preset} ({result.protocol})" for result in results)
    if len(kinds) != 1 or results[0].protocol != OVERHEAD:
        raise InputError(
            f"The results are of {', '.join(kinds) or 'nothing'}.",
            "Pass those of one `dynanoise bench overhead`.",
        )
    names = [result.method for result in results]
    if len(set(names)) < len(names):
        raise InputError(
            f"The results are of the methods {', '.join(names)}.", "Pass one for each."
        )
    matches = [re.fullmatch(r"ratio_batch_(\d+)", name) for name in results[0].metrics]
    batches = tuple(sorted(int(match[1]) for match in matches if match))
    for index, result in enumerate(results):
        needed = ["ratio", "ms_per_record", "extra_mib"] + ([] if index else ["repeat_ratio"])
        metrics = {f"{kind}_batch_{batch}" for kind in needed for batch in batches}
        lacking = sorted({*metrics, "fitted_mib", "model_mib"} - set(result.metrics))
        if lacking or not batches:
            raise InputError(
                f"The result of {result.method} lacks {', '.join(lacking) or 'every ratio'}.",
                "Pass results as `dynanoise bench overhead` writes them.",
            )
    return Times(tuple(results), batches)


def time_table(times: Times) -> Table:
    """Tabulate ratios of times with their intervals, milliseconds and memory of every method.

    Returns:
        A table with methods in rows.
    """
    headings = [
        "Method",
        *(f"Time, batch {batch}" for batch in times.batches),
        "Time, paper",
        *(f"ms, batch {batch}" for batch in times.batches),
        *(f"MiB, batch {batch}" for batch in times.batches),
        "MiB, kept",
    ]
    rows: list[Row] = []
    for name in times.methods:
        by_batch = [_cells(times, name, batch) for batch in times.batches]
        ratios, milliseconds, memory = zip(*by_batch, strict=True)
        kept = [times.metric(name, part).value for part in ("model_mib", "fitted_mib")]
        rows.append(
            [name, *ratios, _published(name), *milliseconds, *memory, _memory(Metric(sum(kept)))]
        )
    result = times.results[0]
    caption = f"{result.preset}: {result.model}, time and memory of an output"
    return make_table(caption, headings, rows)


def _cells(times: Times, name: str, batch: int) -> tuple[Cell, Cell, Cell]:
    """Ratio of times, milliseconds a record, and memory."""
    return (
        number_cell(times.metric(name, f"ratio_batch_{batch}"), ratio),
        Cell(amount(times.metric(name, f"ms_per_record_batch_{batch}").value)),
        _memory(times.metric(name, f"extra_mib_batch_{batch}")),
    )


def _published(name: str) -> Cell:
    return Cell(ratio(PUBLISHED[name]) if name in PUBLISHED else MISSING)


def _memory(metric: Metric) -> Cell:
    small = 0 < metric.value < 0.01
    return Cell("<0.01" if small else amount(metric.value, 2), number=metric)


def time_caption(times: Times) -> str:
    """Explain the cells of the table, in sentences."""
    threads = times.results[0].hardware.get("threads", 1)
    return (
        "Time is that of outputs from the same raw records, the model's forward pass and then the "
        "defense, over that of the undefended model in the same round: the median over rounds "
        f"with its 95% interval, on {threads} thread{'' if threads == 1 else 's'}. ms is for one "
        "record. MiB is the most that Python and NumPy held while the defense handled one batch, "
        "beyond what it keeps between batches, which is the model and the arrays of the defense. "
        "Rows that end in _numpy are without the compiled kernel."
    )


def time_findings(times: Times) -> list[str]:
    """Write sentences about the noise of the machine and the published values."""
    sentences = [_noise(times)]
    names = [name for name in times.methods[1:] if name in PUBLISHED]
    if names:
        values = [f"{ratio(PUBLISHED[name])} with {name}" for name in names]
        values += [
            f"{PUBLISHED_MS[name]} ms a record with {name}"
            for name in names
            if name in PUBLISHED_MS
        ]
        sentences.append(
            f"Published are times of {', '.join(values)} (arXiv:2505.13362v2), for "
            "another model on another machine. The larger the model, the smaller the ratio, for a "
            "defense sees nothing but the logits."
        )
    return sentences


def _noise(times: Times) -> str:
    first = times.methods[0]
    repeats = {batch: times.metric(first, f"repeat_ratio_batch_{batch}") for batch in times.batches}
    ratios = " and ".join(
        f"{with_interval(repeat, ratio)} of the first at batch {batch}"
        for batch, repeat in repeats.items()
    )
    bounds = [
        bound
        for repeat in repeats.values()
        for bound in (repeat.value, repeat.low, repeat.high)
        if bound is not None
    ]
    noise = max(abs(bound - 1) for bound in bounds)
    sentence = f"Timed twice a round, the undefended model's second time was {ratios}"
    if noise <= _QUIET:
        return f"{sentence}; differences of that size are noise."
    return (
        f"{sentence}. The machine was not quiet: differences below {noise:.0%} are noise. Measure "
        "again when nothing else runs."
    )
