"""Write the pages that are made from results, from --help and from the import contract.

``make docs`` runs it; `tests/test_generated.py` fails where a committed page is stale.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

from docs import rooms
from dynanoise.core.result import Result
from dynanoise.report.by_attack import by_attack, markdown
from dynanoise.report.io.published import published
from dynanoise.report.io.results import load
from dynanoise.report.render.pages import page_of
from dynanoise.report.side_by_side import by_protocol, markdown_side_by_side, notes
from dynanoise.report.summary import Summary
from dynanoise.web.data import data_json

ROOT = Path(__file__).parent.parent
RECORDS = ROOT / "results" / "digits" / "results.json"


def readme() -> str:
    """The README with its tables and sentences made anew from the results."""
    records = load(RECORDS)
    page = page_of(records)
    sentences = "\n".join(f"- {sentence}" for sentence in page.sentences)
    body = f"{page.markdown}\n\n{page.caption}\n\n{sentences}"
    command = f"{records[0].command} --out results/digits"
    text = (ROOT / "README.md").read_text()
    block = re.compile(r"<!-- table: .*? -->\n.*?<!-- end of table -->", re.DOTALL)
    assert len(block.findall(text)) == 1
    made = f"<!-- table: {command} -->\n\n{body}\n\n<!-- end of table -->"
    return block.sub(lambda _: made, text)


def results_page() -> str:
    """docs/results.md: every data set's tables, and the published values beside ours."""
    parts = ["# Results", "", (ROOT / "docs" / "results_intro.md").read_text().strip(), ""]
    for folder in ("digits", "breast_cancer", "cifar10", "imagenet10", "sst2"):
        records = load(ROOT / "results" / folder / "results.json")
        page = page_of(records)
        name = records[0].dataset
        parts += [f"## {name}", "", f"`{records[0].command} --out results/{folder}`", ""]
        parts += [page.markdown, "", page.caption, ""]
        parts += [f"- {sentence}" for sentence in page.sentences]
        parts += ["", f"![Attack success on {name}](../results/{folder}/attack_success.svg)", ""]
        if {one.protocol for one in records} - {"paper"}:
            parts += ["### Attack by attack", "", markdown(by_attack(records, "auc"), "auc"), ""]
            parts += [_words(f"results_{folder}_attacks.md"), ""]
        for more, title in FURTHER.get(folder, {}).items():
            further = ROOT / "results" / more / "results.json"
            if further.exists():
                parts += [f"### {title}", "", *_further(records, further, more), ""]
        if published(folder).rows:
            paper = by_protocol(records)["paper"]
            parts += ["### Beside the published values", "", _beside(paper, folder), ""]
            parts += [(ROOT / "docs" / f"results_{folder}.md").read_text().strip(), ""]
    return "\n".join(parts)


FURTHER = {
    "digits": {"digits_mismatch": "Attackers whose models differ"},
    "cifar10": {
        "cifar10_adaptive": "Attackers who know the defense",
        "cifar10_queries": "Attack strength against the number of queries",
        "cifar10_tuned": "Settings that `dynanoise tune` found",
    },
}
"""Runs of the same data set with other protocols, by folder."""


def _words(name: str) -> str:
    path = ROOT / "docs" / name
    return path.read_text().strip() if path.exists() else ""


def _further(base: list[Result], path: Path, folder: str) -> list[str]:
    """Another run beside the paper's protocol of the first, and its AUCs."""
    records = load(path)
    everyone = {one.method for one in records}
    paper = [one for one in base if one.protocol == "paper" and one.method in everyone]
    together = by_protocol([*paper, *records])
    parts = [f"`{records[0].command} --out results/{folder}`", ""]
    parts += [markdown_side_by_side(together), ""]
    parts += [f"- {sentence}" for sentence in notes(together)]
    parts += ["", markdown(by_attack(records, "auc"), "auc"), ""]
    if (path.parent / "tuned.svg").exists():
        how = json.loads((path.parent / "search.json").read_text())
        parts += [
            "",
            f"{how['settings']:,} settings (cells without noise among them) were tried on "
            f"{how['models']} models and {how['records']:,} records in {how['seconds']:.0f} s by "
            f"{how['workers']} processes on {how['hardware']['cores']} cores.",
        ]
        parts += ["", f"![All settings](../results/{folder}/tuned.svg)"]
    return [*parts, "", _words(f"results_{folder}.md")]


def _beside(summary: Summary, name: str) -> str:
    """Ours / published for every row and column the paper has; bold where they differ by > 0.03."""
    columns = {"accuracy": None, "confidence": "confidence", "loss": "loss", "shadow": "shadow"}
    columns |= {"lira": "lira_by_class"}
    theirs = published(name)
    lines = [["", *columns, "MIDPUT"], [":--", *["--:"] * (len(columns) + 1)]]
    for method in theirs.rows:
        cells = [method]
        measured = [(attack, "asr" if attack else "accuracy") for attack in columns.values()]
        for attack, metric in [*measured, (None, "midput")]:
            value = theirs.value(method, attack, metric)
            ours = summary.spread(method, attack, metric).mean
            if value is None:
                cells.append("-")
                continue
            sign = "+" if metric == "midput" else ""
            cell = f"{ours:{sign}.3f} / {value:{sign}.3f}"
            cells.append(f"**{cell}**" if abs(ours - value) > 0.03 else cell)
        lines.append(cells)
    return _markdown(lines)


def overhead_page() -> str:
    """docs/overhead.md with its table made anew, where the results are there."""
    text = (ROOT / "docs" / "overhead.md").read_text()
    folder = ROOT / "results" / "overhead"
    if not (folder / "results.json").exists():
        return text
    records = load(folder / "results.json")
    page = page_of(records)
    parts = [f"`{records[0].command} --out results/overhead`", page.markdown, page.caption]
    parts.append("\n".join(f"- {sentence}" for sentence in page.sentences))
    parts.append("![Time of an answer by method](../results/overhead/overhead.svg)")
    return _between(text, "overhead", parts)


def kernel_page() -> str:
    """docs/kernel.md with its table made anew from the benchmark's result."""
    text = (ROOT / "docs" / "kernel.md").read_text()
    found = json.loads((ROOT / "results" / "benchmarks" / "kernel.json").read_text())
    hardware, chosen = found["hardware"], found["settings"]
    ours = ("kernel, fresh", "call, fresh", "kernel, keyed", "call, keyed")
    lines = [["rows x classes", "torch, us", *ours, "keyed / fresh", "fresh / floor"]]
    lines.append([":--", *["--:"] * 7])
    for shape, row in found["by_shape"].items():
        times = row["microseconds"]
        torch = min(one["value"] for name, one in times.items() if name.startswith("torch"))
        cells = [shape.replace("x", " x "), f"{torch:,.1f}"]
        cells += [_ratio(row["times_as_fast_as_torch"][name], 1) for name in ours]
        cells += [_ratio(row[name], 2) for name in ("keyed_over_fresh", "fresh_over_floor")]
        lines.append(cells)
    words = (
        f"Times as fast as the same pipeline in torch {found['versions']['torch']}, float32, by "
        f"the faster of 1 and {chosen['torch_threads']} threads, in the same round: medians over "
        f"{chosen['rounds']} rounds with 95% intervals. *kernel* is its entry, *call* the public "
        "call `DynaNoise()(logits, noise)`, with its checks and, for keyed noise, the look-up of "
        "the key. The floor is drawing as many normals and one softmax, by the faster of NumPy and "
        f"torch. {hardware['processor']}, {hardware['cores']} cores; load before the run "
        f"{hardware['load_before']}."
    )
    return _between(text, "kernel", [f"`{found['command']}`", _markdown(lines), words])


def gateway_page() -> str:
    """docs/gateway.md with its table of load made anew, where the benchmark's result is there."""
    text = (ROOT / "docs" / "gateway.md").read_text()
    path = ROOT / "results" / "benchmarks" / "gateway.json"
    if not path.exists():
        return text
    found = json.loads(path.read_text())
    hardware = found["hardware"]
    heads = ["as", "model, ms", "clients", "undefended p50, p99", "a second"]
    lines = [[*heads, "defended p50, p99", "a second", "p50 ratio", "errors"]]
    lines.append([":--", *["--:"] * 8])
    direct = []
    for row in found["rows"]:
        ways = [row["undefended"], row["defended"]]
        times = [
            (f"{one['p50_ms']:,.2f}, {one['p99_ms']:,.2f}", f"{one['requests_per_second']:,.0f}")
            for one in ways
        ]
        mode = {"onnx": "server", "upstream": "proxy"}[row["mode"]]
        cells = [mode, f"{row['model_ms']:,.2f}", str(row["clients"])]
        cells += [cell for pair in times for cell in pair]
        turns = row["p50_ratio_of_each_turn"]
        cells.append(f"{row['p50_ratio']:.3f} [{min(turns):.3f}, {max(turns):.3f}]")
        lines.append([*cells, str(sum(one["errors"] for one in ways))])
        if "direct" in row:
            asked, behind = row["direct"]["p50_ms"], row["undefended"]["p50_ms"]
            direct.append(
                f"{asked:,.2f} and {behind:,.2f} ms ({row['clients']} at once, model of "
                f"{row['model_ms']:,.2f} ms)"
            )
    words = (
        "Milliseconds. In each row the two gateways were asked in turns, by "
        f"{found['versions']['wrk']} from a process of its own, {hardware['cores']} cores for "
        "everything; the ratio of the medians, with the least and greatest of the turns. Model: "
        f"one answer on one thread. {hardware['processor']}; load before the run "
        f"{hardware['load_before']}."
    )
    parts = [f"`{found['command']}`", _markdown(lines), words]
    if direct:
        parts.append(f"Asked directly, and through an undefended proxy, p50: {'; '.join(direct)}.")
    return _between(text, "load", parts)


def _markdown(lines: list[list[str]]) -> str:
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _between(text: str, name: str, parts: list[str]) -> str:
    """The text with new parts between the comments of that name."""
    block = re.compile(rf"<!-- {name} -->\n.*?<!-- end of {name} -->", re.DOTALL)
    assert len(block.findall(text)) == 1
    made = "\n\n".join([f"<!-- {name} -->", *parts, f"<!-- end of {name} -->"])
    return block.sub(lambda _: made, text)


def cluster_page() -> str:
    """docs/cluster.md with its tables made anew from the benchmarks' results."""
    text = (ROOT / "docs" / "cluster.md").read_text()
    for name, make in (("million", _million), ("cluster", _cluster)):
        found = json.loads((ROOT / "results" / "benchmarks" / f"{name}.json").read_text())
        lines, words = make(found)
        text = _between(text, name, [f"`{found['command']}`", _markdown(lines), words])
    return text


def _million(found: dict[str, Any]) -> tuple[list[list[str]], str]:
    lines = [["attack", "driver, GiB", "largest worker, GiB", "scores, s", "AUC and TPR, s"]]
    lines.append([":--", *["--:"] * 4])
    for row in found["rows"]:
        peaks = row["peak_memory_gib"], row["peak_memory_gib_of_largest_worker"]
        times = row["seconds_scores"], row["seconds_metrics"]
        lines.append([f"`{row['attack']}`", *map(str, (*peaks, *times))])
    hardware = found["hardware"]
    words = (
        f"Greatest memory of each process; the pool has {found['pool_gib_on_disk']} GiB on disk, "
        f"in float16, and took {found['seconds_writing']} s to make. {hardware['processor']}, "
        f"{hardware['cores']} cores; load {hardware['load_average']} afterwards."
    )
    return lines, words


def _cluster(found: dict[str, Any]) -> tuple[list[list[str]], str]:
    lines = [["executor", "workers", "seconds", "all stored, s", "same bits as one process"]]
    lines.append([":--", *["--:"] * 4])
    for row in found["rows"]:
        same = {True: "yes", False: "no", None: "-"}[row.get("same_bits_as_in_process")]
        stored = str(row.get("seconds_all_stored", "-"))
        name = row["executor"].replace("_", " ")
        lines.append([name, str(row["workers"]), str(row["seconds"]), stored, same])
    overhead, hardware = found["overhead"], found["hardware"]
    words = (
        f"Overhead of a task: {overhead['ms_overhead_a_task']} ms, the mean over "
        f"{overhead['tasks']} on one worker. {hardware['processor']}, {hardware['cores']} cores, "
        f"which driver, head and workers share; load before the run {hardware['load_before']}."
    )
    return lines, words


def _ratio(metric: dict[str, float], digits: int) -> str:
    value, low, high = (metric[name] for name in ("value", "low", "high"))
    return f"{value:.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]"


def site_data() -> str:
    """The web page's numbers and sampled rows."""
    return data_json(ROOT / "results", ROOT / "CITATION.cff")


def cli_page() -> str:
    """docs/cli.md: every command's --help, at 80 columns."""
    parts = ["# The command line", "", "Made by `make docs` from `--help`.", ""]
    commands: tuple[list[str], ...] = (
        [],
        ["bench"],
        ["audit"],
        ["tune"],
        ["export"],
        ["sweep"],
        ["show"],
        ["report"],
        ["demo"],
        ["serve"],
        ["key", "new"],
        ["key", "id"],
        ["key", "client"],
        ["store", "ls"],
        ["store", "rm"],
    )
    for command in commands:
        name = " ".join(["dynanoise", *command])
        parts += [f"## `{name}`", "", "```text", _help(command), "```", ""]
    return "\n".join(parts)


def _help(command: list[str]) -> str:
    done = subprocess.run(  # noqa: S603
        [sys.executable, "-m", "dynanoise", *command, "--help"],
        capture_output=True,
        text=True,
        check=True,
        env={
            "COLUMNS": "80",
            "TERM": "dumb",
            "NO_COLOR": "1",
            "PYTHONIOENCODING": "utf-8",
            "PYTHONPATH": str(ROOT / "src"),  # of this checkout, whatever is installed
        },
    )
    return "\n".join(line.rstrip() for line in done.stdout.strip("\n").splitlines())


PAGES = {
    ROOT / "README.md": readme,
    ROOT / "docs" / "cli.md": cli_page,
    ROOT / "docs" / "results.md": results_page,
    ROOT / "docs" / "overhead.md": overhead_page,
    ROOT / "docs" / "kernel.md": kernel_page,
    ROOT / "docs" / "gateway.md": gateway_page,
    ROOT / "docs" / "cluster.md": cluster_page,
    rooms.PICTURE: rooms.picture,
    ROOT / "src" / "dynanoise" / "web" / "data.json": site_data,
}


if __name__ == "__main__":
    for page, make in PAGES.items():
        page.write_text(make())
        sys.stdout.write(f"wrote {page.relative_to(ROOT)}\n")
