"""Write `data.json`, the page's numbers, from committed results and samples alone.

``make docs`` runs it in a clone; the wheel has the file, not the results.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from dynanoise.core.errors import InputError
from dynanoise.core.evidence import Evidence
from dynanoise.core.result import OVERHEAD, Metric, Result
from dynanoise.report.io.published import COMPARED, tables
from dynanoise.report.io.samples import read_evidence
from dynanoise.report.summary import Summary, attack_title, by_protocol, data_sets, largest_runs
from dynanoise.report.tables import audit_table, time_table
from dynanoise.report.wording import threats
from dynanoise.web.sampled_rows import sampled_rows

FORMAT = "dynanoise-site/1"

UTILITY = ("accuracy", "midput", "midput_worst_case")
ATTACK = ("asr", "auc", "tpr@0.001", "tpr@0.01")

DECIMALS = 3
"""Decimals of a number, the same in the tables of the documentation."""

TUNING = "dynanoise tune "
"""Runs by this command compare settings, which the page does not show."""

CURVE = "adaptive_chosen_"
"""Prefix of the protocols of a curve over the number of chosen queries, of which the page shows the
default number alone."""

SAMPLED = "cifar10"
"""The data set whose sampled rows the page draws and attacks."""


def data_json(results: Path, citation: Path) -> str:
    """Write the page's data as JSON text; the same files give the same text.

    Args:
        results: folder of folders with results.json, and samples.npz where there is one.
        citation: CITATION.cff.

    Raises:
        InputError: if no folder holds results of a benchmark.
        ResultsFileError: if a file cannot be read, or samples are those of other results.
    """
    runs, times = dict[str, Evidence](), None
    for path in sorted(results.glob("*/results.json")):
        evidence = read_evidence(path.parent)
        first = evidence.results[0]
        if first.protocol == OVERHEAD:
            times = {**_source(path, evidence.results), **_overhead(evidence.results)}
        elif not audit_table.is_audit(evidence.results) and not first.command.startswith(TUNING):
            runs[path.parent.name] = evidence
    if not runs:
        raise InputError(f"{results} holds no results of a benchmark.", "Run `make results`.")
    measured = {name: run.results for name, run in runs.items()}
    folders, sets = largest_runs(measured), data_sets(measured)
    bodies = [
        {**_source(results / folder / "results.json", evidence.results), "set": sets[folder], **run}
        for folder, evidence in runs.items()
        if (run := _run(folder, sets[folder], evidence.results, folders))["protocols"]
    ]
    # Versions, defenses, attackers, lists of attacks, and rows that repeated queries do not change,
    # are kept once.
    protocols = [protocol for run in bodies for protocol in run["protocols"]]
    versions, defenses, attackers = list[Any](), list[Any](), list[str]()
    lists, rows = list[Any](), list[Any]()
    for run in bodies:
        run["versions"] = _place(run["versions"], versions)
        run["defenses"] = {name: _place(each, defenses) for name, each in run["defenses"].items()}
    for protocol in protocols:
        protocol["attacker"] = _place(protocol["attacker"], attackers)
        protocol["attacks"] = _place(protocol["attacks"], lists)
        protocol["rows"] = {name: _place(row, rows) for name, row in protocol["rows"].items()}
    sampled = [
        (name, run) for name, run in runs.items() if sets[name] == SAMPLED and run.rows is not None
    ]
    body = {
        "format": FORMAT,
        "versions": versions,
        "defenses": defenses,
        "attackers": attackers,
        "attacks": lists,
        "rows": rows,
        "utility": UTILITY,
        "attack": ATTACK,
        "titles": _titles(lists),
        "runs": bodies,
        "overhead": times,
        "published": {**tables(), "compared": COMPARED},
        "samples": sampled_rows(sampled, folders),
        "citation": citation_of(citation),
    }
    return json.dumps(body, separators=(",", ":"), allow_nan=False) + "\n"


def _place(value: Any, values: list[Any]) -> int:
    """The place of a value among others; a new one is added."""
    if value not in values:
        values.append(value)
    return values.index(value)


def _source(path: Path, results: Sequence[Result]) -> dict[str, Any]:
    """The file of a run's numbers, and the command that measures them again."""
    result, folder = results[0], path.parent.name
    machine = result.hardware
    return {
        "folder": folder,
        "file": f"results/{folder}/results.json",
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "command": f"{result.command} --out results/{folder}",
        "dataset": result.dataset,
        "preset": result.preset,
        "model": result.model,
        "versions": dict(result.versions),
        "hardware": f"{machine.get('processor')}, {machine.get('cores')} cores, "
        f"{machine.get('device')}",
    }


def _run(
    folder: str,
    data_set: str,
    results: Sequence[Result],
    folders: Mapping[tuple[str, str, str], str],
) -> dict[str, Any]:
    """The methods of a run that are shown from it, by protocol."""
    protocols, kept = [], set[str]()
    for name, summary in by_protocol(results).items():
        if name.startswith(CURVE):
            continue
        # Other parameters of a method are compared in the documentation.
        methods = [
            each
            for each in summary.methods
            if folders[data_set, name, each] == folder and "(" not in each
        ]
        if methods:
            protocols.append(_protocol(name, summary, methods))
            kept |= set(methods)
    defenses = {each.method: _defense(each) for each in reversed(results) if each.method in kept}
    return {"defenses": defenses, "protocols": protocols}


def _protocol(name: str, summary: Summary, methods: Sequence[str]) -> dict[str, Any]:
    first = summary.results[0]
    attacks = (*summary.attacks, *summary.special)
    rows = {}
    for method in methods:
        title, success = summary.success(method)
        cells: list[Metric | None] = [success]
        cells += [summary.metric(method, None, metric) for metric in UTILITY]
        cells += [summary.metric(method, attack, metric) for attack in attacks for metric in ATTACK]
        rows[method] = [title, ",".join(map(_cell, cells))]
    return {
        "name": name,
        "attacker": threats.threat_sentence(first.threat),
        "intervals": threats.interval_sentence(summary),
        "seeds": len(summary.seeds),
        "repeats": first.threat.repeats,
        "augmented": first.threat.augmented,
        "knows": first.threat.knows_defense,
        "attacks": list(attacks),
        "counts": dict(first.counts),
        "rows": rows,
    }


def _defense(result: Result) -> dict[str, Any]:
    """Name and plain parameters, without fitted arrays."""
    values = result.defense.items()
    plain = {name: value for name, value in values if isinstance(value, str | int | float | bool)}
    noise = result.defense.get("noise")
    if isinstance(noise, Mapping):
        plain |= {"noise": noise["name"], "cell_width": noise["cell_width"]}
    return plain


def _cell(metric: Metric | None) -> str:
    """Encode a number in thousandths: value, and how far its interval reaches below and above.

    >>> _cell(Metric(0.78849, 0.7812, 0.7961)), _cell(Metric(-0.0001)), _cell(None)
    ('788 7 8', '0', '')
    """
    if metric is None:
        return ""
    value = _thousandths(metric.value)
    if metric.low is None or metric.high is None:
        return str(value)
    return f"{value} {value - _thousandths(metric.low)} {_thousandths(metric.high) - value}"


def _thousandths(number: float) -> int:
    return round(float(f"{number:.{DECIMALS}f}") * 1000)


def _overhead(results: Sequence[Result]) -> dict[str, Any]:
    times = time_table.collect_times(results)
    kinds = ("ratio", "ms_per_record", "extra_mib")
    return {
        "batches": list(times.batches),
        "rows": {
            name: {
                f"{kind}_batch_{batch}": _plain(times.metric(name, f"{kind}_batch_{batch}"))
                for kind in kinds
                for batch in times.batches
            }
            for name in times.methods
        },
        "published": dict(time_table.PUBLISHED),
    }


def _plain(metric: Metric) -> list[float]:
    """[value, low, high] or [value], with four significant digits."""
    numbers = [metric.value, metric.low, metric.high]
    return [float(f"{number:.4g}") for number in numbers if number is not None]


def _titles(lists: Sequence[Sequence[str]]) -> dict[str, str]:
    names = {name for attacks in lists for name in attacks}
    return {name: attack_title(name) for name in sorted(names)}


def citation_of(path: Path) -> dict[str, Any]:
    """Read the paper to cite from CITATION.cff: title, authors, year, address and BibTeX.

    Addresses of the code and of the documentation are "" where the file has none.
    """
    software = yaml.safe_load(path.read_text(encoding="utf-8"))
    paper = software["preferred-citation"]
    authors = [(author["given-names"], author["family-names"]) for author in paper["authors"]]
    identifiers = [identifier["value"] for identifier in paper["identifiers"]]
    arxiv = next(value[6:] for value in identifiers if value.startswith("arXiv:"))
    key = f"{authors[0][1].lower()}{paper['year']}dynanoise"
    fields = {
        "title": f"{{{paper['title']}}}",
        "author": " and ".join(f"{family}, {first}" for first, family in authors),
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
        "affiliation": ", ".join(dict.fromkeys(a["affiliation"] for a in paper["authors"])),
        "journal": paper["journal"],
        "year": paper["year"],
        "arxiv": arxiv,
        "url": paper["url"],
        "code": software.get("repository-code", ""),
        "docs": software.get("url", ""),
        "bibtex": "\n".join([f"@article{{{key},", *lines, "}"]),
    }
