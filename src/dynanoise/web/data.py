"""`data.json`: what the page shows of committed results and samples. Nothing in it is typed in.

Made by ``make docs`` in a clone; the wheel has the file, not the results.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from dynanoise.attacks.title import title_of
from dynanoise.core.errors import InputError
from dynanoise.core.result import OVERHEAD, STRONGEST, Metric, Result
from dynanoise.report import overhead
from dynanoise.report.io.published import tables
from dynanoise.report.io.samples import load
from dynanoise.report.side_by_side import by_protocol, strongest
from dynanoise.report.summary import Summary
from dynanoise.report.wording import audit, threats
from dynanoise.web.samples import samples_of

FORMAT = "dynanoise-site/1"

UTILITY = (
    "accuracy",
    "train_accuracy",
    "label_flips",
    "nll",
    "ece",
    "midput",
    "midput_leakage",
    "midput_worst_case",
)
ATTACK = ("asr", "auc", "tpr@0.001", "tpr@0.01")

DECIMALS = 3
"""As in the tables of the documentation."""


def data_json(results: Path, citation: Path) -> str:
    """The page's data as JSON text; the same files give the same text.

    Args:
        results: folder of folders with results.json, and samples.npz where there is one.
        citation: CITATION.cff.

    Raises:
        InputError: if no folder holds results of a benchmark.
        ResultsFileError: if a file cannot be read, or samples are those of other results.
    """
    runs, times, found = [], None, []
    for path in sorted(results.glob("*/results.json")):
        evidence = load(path.parent)
        records = evidence.records
        if audit.of_audit(records):
            continue
        if records[0].protocol == OVERHEAD:
            times = {**_source(path, records), **_overhead(records)}
            continue
        runs.append({**_source(path, records), **_run(records)})
        if evidence.rows is not None:
            found.append((path.parent.name, evidence))
    if not runs:
        raise InputError(f"{results} holds no results of a benchmark.", "Run `make results`.")
    # Each attacker stands in many protocols: the sentence is kept once.
    attackers = dict.fromkeys(one["attacker"] for run in runs for one in run["protocols"])
    place = {sentence: index for index, sentence in enumerate(attackers)}
    for one in (protocol for run in runs for protocol in run["protocols"]):
        one["attacker"] = place[one["attacker"]]
    body = {
        "format": FORMAT,
        "attackers": list(attackers),
        "utility": UTILITY,
        "attack": ATTACK,
        "titles": _titles(runs),
        "runs": runs,
        "overhead": times,
        "published": tables(),
        "samples": samples_of(found),
        "citation": citation_of(citation),
    }
    return json.dumps(body, separators=(",", ":"), allow_nan=False) + "\n"


def _source(path: Path, records: Sequence[Result]) -> dict[str, Any]:
    """Where the numbers of a run are from, and the command that makes them again."""
    record, folder = records[0], path.parent.name
    machine = record.hardware
    return {
        "folder": folder,
        "file": f"results/{folder}/results.json",
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "command": f"{record.command} --out results/{folder}",
        "dataset": record.dataset,
        "preset": record.preset,
        "model": record.model,
        "versions": dict(record.versions),
        "hardware": f"{machine.get('processor')}, {machine.get('cores')} cores, "
        f"{machine.get('device')}",
    }


def _run(records: Sequence[Result]) -> dict[str, Any]:
    return {
        "defenses": {one.method: _defense(one) for one in reversed(records)},
        "protocols": [_protocol(name, summary) for name, summary in by_protocol(records).items()],
    }


def _protocol(name: str, summary: Summary) -> dict[str, Any]:
    first = summary.records[0]
    attacks = (*summary.attacks, *summary.special)
    rows = {}
    for method in summary.methods:
        title, most = strongest(summary, method)
        rows[method] = [
            [title, _cell(most)],
            [_measured(summary, method, None, metric) for metric in UTILITY],
            [
                [_measured(summary, method, attack, metric) for metric in ATTACK]
                for attack in attacks
            ],
        ]
    return {
        "name": name,
        "attacker": threats.attacker(first.threat),
        "intervals": threats.intervals(summary),
        "seeds": len(summary.seeds),
        "repeats": first.threat.repeats,
        "augmented": first.threat.augmented,
        "knows": first.threat.knows_defense,
        "attacks": list(attacks),
        "counts": dict(first.counts),
        "rows": rows,
    }


def _defense(record: Result) -> dict[str, Any]:
    """Name and plain parameters; fitted arrays are for no reader."""
    plain = (str, int, float, bool)
    found = {key: value for key, value in record.defense.items() if isinstance(value, plain)}
    noise = record.defense.get("noise")
    if isinstance(noise, Mapping):
        found |= {"noise": noise["name"], "cell_width": noise["cell_width"]}
    return found


def _measured(
    summary: Summary, method: str, attack: str | None, metric: str
) -> int | list[int] | None:
    """A metric over seeds; None where a seed lacks it, or the attack was not run."""
    found = [
        metric in one.metrics
        for one in summary.records
        if (one.method, one.attack) == (method, attack)
    ]
    return _cell(summary.spread(method, attack, metric).interval) if found and all(found) else None


def _cell(metric: Metric) -> int | list[int]:
    """In thousandths [value, low, high], or the value alone without an interval.

    >>> _cell(Metric(0.78849, 0.7812, 0.7961)), _cell(Metric(-0.0001))
    ([788, 781, 796], 0)
    """
    numbers = [metric.value]
    if metric.low is not None and metric.high is not None:
        numbers += [metric.low, metric.high]
    whole = [round(float(f"{number:.{DECIMALS}f}") * 10**DECIMALS) for number in numbers]
    return whole if len(whole) > 1 else whole[0]


def _overhead(records: Sequence[Result]) -> dict[str, Any]:
    summary = overhead.summarise(records)
    kinds = ("ratio", "ms_per_record", "extra_mib")
    return {
        "batches": list(summary.batches),
        "rows": {
            name: {
                f"{kind}_batch_{batch}": _plain(summary.metric(name, f"{kind}_batch_{batch}"))
                for kind in kinds
                for batch in summary.batches
            }
            for name in summary.methods
        },
        "published": dict(overhead.PUBLISHED),
    }


def _plain(metric: Metric) -> list[float]:
    """[value, low, high] or [value], with four significant digits."""
    numbers = [metric.value, metric.low, metric.high]
    return [float(f"{number:.4g}") for number in numbers if number is not None]


def _titles(runs: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    names = {name for run in runs for one in run["protocols"] for name in one["attacks"]}
    return {name: "Strongest" if name == STRONGEST else title_of(name) for name in sorted(names)}


def citation_of(path: Path) -> dict[str, Any]:
    """The paper that CITATION.cff asks to cite: title, authors, year, address and BibTeX."""
    paper = yaml.safe_load(path.read_text(encoding="utf-8"))["preferred-citation"]
    authors = [(one["given-names"], one["family-names"]) for one in paper["authors"]]
    arxiv = next(
        one["value"].removeprefix("arXiv:")
        for one in paper["identifiers"]
        if one["value"].startswith("arXiv:")
    )
    key = f"{authors[0][1].lower()}{paper['year']}dynanoise"
    fields = {
        "title": f"{{{paper['title']}}}",
        "author": " and ".join(f"{family}, {given}" for given, family in authors),
        "journal": paper["journal"],
        "year": str(paper["year"]),
        "eprint": arxiv,
        "archivePrefix": "arXiv",
        "url": paper["url"],
    }
    lines = [f"  {name:<13} = {{{value}}}," for name, value in fields.items()]
    return {
        "title": paper["title"],
        "authors": [" ".join(author) for author in authors],
        "journal": paper["journal"],
        "year": paper["year"],
        "arxiv": arxiv,
        "url": paper["url"],
        "bibtex": "\n".join([f"@article{{{key},", *lines, "}"]),
    }
