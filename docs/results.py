"""The pages of results: an overview, and a page with every table of each data set."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from dynanoise.core.result import Result
from dynanoise.report.io.published import COMPARED, published
from dynanoise.report.io.results import read_results
from dynanoise.report.numbers import change, rate
from dynanoise.report.pages import build_page
from dynanoise.report.render.markdown import captioned_markdown, table_markdown
from dynanoise.report.summary import Summary, by_protocol, largest_runs
from dynanoise.report.table import MISSING, Cell, Emphasis, Row, make_table, number_cell
from dynanoise.report.tables.attack_table import attack_tables
from dynanoise.report.tables.comparison import comparison_notes, comparison_table
from dynanoise.report.tables.paper_table import best_peer, guarantees
from dynanoise.web.data import TUNING

ROOT = Path(__file__).parent.parent

FOLDERS = {
    "digits": "digits",
    "breast_cancer": "breast cancer",
    "cifar10_paper": "CIFAR-10, 50,000 images",
    "cifar10": "CIFAR-10, 10,000 images",
    "imagenet10": "ImageNet-10",
    "sst2": "SST-2",
    "sst2_text": "SST-2, word vectors",
}
"""Names of the data sets by their folder of results."""

FURTHER = {
    "digits": {
        "digits_chosen": "Success against the number of chosen queries",
        "digits_mismatch": "Attackers whose models differ",
    },
    "cifar10_paper": {
        "cifar10_dp": "Differential privacy at other epsilons",
        "cifar10_folds": "Out-of-fold answers of ten networks",
    },
    "cifar10": {
        "cifar10_peers": "Parameters of AdvReg and RelaxLoss",
        "cifar10_pool": "Attackers who know the defense",
        "cifar10_near": "Attackers who query near-duplicates",
        "cifar10_chosen": "Attackers who choose inputs",
        "cifar10_peers_adaptive": "Recipes that train anew under these attackers",
        "cifar10_out_of_fold": "Out-of-fold answers",
        "cifar10_queries": "Attack strength against the number of queries",
        "cifar10_tuned": "Settings that `dynanoise tune` found",
    },
    "imagenet10": {
        "imagenet10_adaptive": "Attackers who know the defense",
        "imagenet10_near": "Attackers who query near-duplicates",
        "imagenet10_chosen": "Attackers who choose inputs",
    },
    "sst2": {"sst2_adaptive": "Attackers who know the defense"},
    "sst2_text": {"sst2_text_adaptive": "Attackers who know the defense"},
}
"""Runs of the same data set with other protocols, by folder."""

ByMethod = Mapping[str, Summary]
"""The summary that each method is shown from."""

ATTACKERS = {
    "paper": "Published attacks",
    "adaptive": "Knows the defense, one query",
    "adaptive_16": "Knows the defense, 16 queries",
    "adaptive_chosen": "Knows the defense, at most 64 chosen queries",
}
"""Columns of the overview by protocol, the strongest attacker last."""


def page_of(folder: str) -> Path:
    """The page of a data set."""
    return ROOT / "docs" / "results" / f"{folder}.md"


def overview() -> str:
    """docs/results.md: one table of at most six columns for each data set."""
    parts = ["# Results", "", (ROOT / "docs" / "results_intro.md").read_text().strip(), ""]
    parts += ["![Privacy against utility on CIFAR-10](privacy_utility.svg)", ""]
    for folder, name in FOLDERS.items():
        summaries = by_method(folder)
        # One table has one accuracy: models of the paper's protocol are others than a pool's.
        paper, *others = (protocol for protocol in ATTACKERS if protocol in summaries)
        attackers = others or [paper]
        parts += [f"## {name}", "", _overview_table(summaries, attackers), ""]
        parts += [_overview_words(summaries, attackers), ""]
        parts += [f"[Every table of {name}](results/{folder}.md)", ""]
    return "\n".join(parts)


def by_method(folder: str) -> Mapping[str, ByMethod]:
    """Summarise a data set's runs.

    Args:
        folder: a key of `FOLDERS`.

    Returns:
        By protocol and method, the summary of the run that the method is shown from; see
        `largest_runs`.
    """
    runs = {name: _read(name) for name in (folder, *_further_runs(folder))}
    runs = {
        name: results for name, results in runs.items() if not results[0].command.startswith(TUNING)
    }
    by_run = {name: by_protocol(results) for name, results in runs.items()}
    summaries: dict[str, dict[str, Summary]] = {}
    for (_, protocol, method), name in largest_runs(runs).items():
        summaries.setdefault(protocol, {})[method] = by_run[name][protocol]
    return summaries


def _further_runs(folder: str) -> dict[str, str]:
    """Titles of the further runs of a data set that have results, by their folder."""
    further = FURTHER.get(folder, {})
    path = ROOT / "results"
    return {name: further[name] for name in further if (path / name / "results.json").exists()}


def _read(folder: str) -> list[Result]:
    return read_results(ROOT / "results" / folder / "results.json")


def _overview_table(summaries: Mapping[str, ByMethod], protocols: Sequence[str]) -> str:
    """Success of the deciding attack under a few protocols, and MIDPUT under the last.

    The accuracy of a row is that of the models that the last protocol attacks, where it was run.
    Methods of none of the protocols are left out: their models are of another size.
    """
    headings = ["Method", "Test acc.", *(ATTACKERS[name] for name in protocols)]
    columns = [summaries[protocol] for protocol in protocols]
    last = columns[-1]
    rows: list[Row] = []
    for method in _methods(summaries, protocols):
        measured = [by_method[method] for by_method in reversed(columns) if method in by_method]
        row: Row = [method, rate(measured[0].spread(method, None, "accuracy").mean)]
        for protocol in protocols:
            summary = summaries[protocol].get(method)
            row.append("not run" if summary is None else number_cell(summary.success(method)[1]))
        midput: Cell | str = MISSING
        if method in last and method != last[method].methods[0]:
            interval = last[method].spread(method, None, "midput_worst_case").interval
            midput = number_cell(interval, change)
        rows.append([*row, midput])
    return table_markdown(make_table("", [*headings, "Worst-case MIDPUT"], rows))


def _methods(summaries: Mapping[str, ByMethod], protocols: Sequence[str]) -> list[str]:
    """Methods that a protocol was run for, in the order of the paper's protocol."""
    measured = {method for protocol in protocols for method in summaries[protocol]}
    everything = (method for by_method in summaries.values() for method in by_method)
    return [method for method in dict.fromkeys(everything) if method in measured]


def _overview_words(summaries: Mapping[str, ByMethod], protocols: Sequence[str]) -> str:
    """The protocol of MIDPUT, DynaNoise's beside the best peer's, and methods without a row."""
    paper = summaries["paper"]
    sentences = [f"Worst-case MIDPUT is under the protocol `{protocols[-1]}`."]
    sentences += [f"In the paper's protocol, {sentence}" for sentence in best_peer(paper["none"])]
    if missing := paper.keys() - set(_methods(summaries, protocols)):
        names = ", ".join(f"`{method}`" for method in paper if method in missing)
        sentences.append(f"Attacked in the paper's protocol alone: {names}.")
    if protocols[-1] == "paper":
        sentences.append("Attackers who know the defense have not been measured on this data set.")
    return " ".join(sentences)


def page(folder: str) -> str:
    """A data set's page: every table, and the published values beside ours.

    Args:
        folder: a key of `FOLDERS`.
    """
    name = FOLDERS[folder]
    results = _read(folder)
    built = build_page(results)
    parts = [f"# Results: {name}", "", _command(results, folder), ""]
    parts += [built.markdown, "", built.caption, ""]
    parts += [f"- {sentence}" for sentence in built.sentences]
    parts += ["", f"![Attack success on {name}](../../results/{folder}/attack_success.svg)", ""]
    if {result.protocol for result in results} - {"paper"}:
        parts += ["## Attack by attack", "", _attacks(results), "", _words(f"{folder}_attacks"), ""]
    for more, title in _further_runs(folder).items():
        parts += [f"## {title}", "", *_further(results, more), ""]
    if folder in COMPARED:
        paper = by_protocol(results)["paper"]
        parts += ["## Beside the published values", "", _beside(paper, results[0].preset), ""]
        parts += [_words(folder), ""]
    return "\n".join(parts)


def _command(results: Sequence[Result], folder: str) -> str:
    """The command of a run, and the time that the attacked models took."""
    first = results[0]
    trained = {
        (each.recipe, json.dumps(each.recipe_parameters), each.seed, each.training["seconds"])
        for each in results
        if "seconds" in each.training
    }
    minutes = sum(seconds for *_, seconds in trained) / 60
    command = f"`{first.command} --out results/{folder}`"
    if not minutes:
        return command
    took = f"{minutes / 60:.1f} hours" if minutes >= 90 else f"{minutes:.0f} minutes"
    machine = first.hardware
    return (
        f"{command}. Training and querying the attacked models, one after the other, took "
        f"{took if minutes >= 2 else 'less than 2 minutes'} ({machine['processor']}, threads for "
        f"each: {machine['threads']}, device: {machine['device']})."
    )


def _attacks(results: Sequence[Result]) -> str:
    return captioned_markdown(attack_tables(results, "auc"))


def _words(name: str) -> str:
    """The sentences written by hand about a run, with links as from docs/results/, or ""."""
    path = ROOT / "docs" / f"results_{name}.md"
    if not path.exists():
        return ""
    return re.sub(r"\]\((?!#|https?:)", "](../", path.read_text().strip())


def _further(base: Sequence[Result], folder: str) -> list[str]:
    """Another run beside the paper's protocol of the first, and its AUCs."""
    results = _read(folder)
    if {result.protocol for result in results} == {"paper"}:
        parts = [_command(results, folder), "", build_page(results).markdown, ""]
        notes = [f"- {sentence}" for sentence in guarantees(results)]
        return [*parts, *notes, *([""] if notes else []), _words(folder)]
    methods = {result.method for result in results}
    paper = [row for row in base if row.protocol == "paper" and row.method in methods]
    summaries = by_protocol([*paper, *results])
    parts = [_command(results, folder), ""]
    parts += [table_markdown(comparison_table(summaries)), ""]
    notes = [*comparison_notes(summaries), *guarantees(results)]
    parts += [f"- {sentence}" for sentence in notes]
    parts += ["", _attacks(results), ""]
    path = ROOT / "results" / folder
    if (path / "tuned.svg").exists():
        search = json.loads((path / "search.json").read_text())
        parts += [
            "",
            f"{search['settings']:,} settings (cells without noise among them) were tried on "
            f"{search['models']} models and {search['records']:,} records.",
        ]
        parts += ["", f"![All settings](../../results/{folder}/tuned.svg)"]
    return [*parts, "", _words(folder)]


def _beside(summary: Summary, name: str) -> str:
    """Ours / published for every row and column the paper has; bold where they differ by > 0.03."""
    columns = {"accuracy": None, "confidence": "confidence", "loss": "loss", "shadow": "shadow"}
    columns |= {"lira": "lira_by_class"}
    theirs = published(name)
    rows = []
    for method in (name for name in theirs.rows if name in summary.methods):
        cells: Row = [method]
        measures = [(attack, "asr" if attack else "accuracy") for attack in columns.values()]
        for attack, metric in [*measures, (None, "midput")]:
            value = theirs.value(method, attack, metric)
            ours = summary.spread(method, attack, metric).mean
            if value is None:
                cells.append(MISSING)
                continue
            write = change if metric == "midput" else rate
            emphasis: Emphasis = "strong" if abs(ours - value) > 0.03 else ""
            cells.append(Cell(f"{write(ours)} / {write(value)}", emphasis=emphasis))
        rows.append(cells)
    return table_markdown(make_table("", ["Method", *columns, "MIDPUT"], rows))
