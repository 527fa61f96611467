"""Write the pages that are made from results, from --help and from the import contract.

``make docs`` runs it; `tests/test_generated.py` fails where a committed page is stale.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import textwrap
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from docs import results, rooms, trade
from docs.privacy_utility import privacy_utility_plot
from docs.results import ATTACKERS, ByMethod
from dynanoise.cli import key, store
from dynanoise.cli.exit_codes import TRACEBACK, ExitCode
from dynanoise.cli.main import COMMANDS
from dynanoise.cli.quickstart import quickstart_text
from dynanoise.core.result import Metric
from dynanoise.report.io.results import read_results
from dynanoise.report.numbers import change, rate, with_interval
from dynanoise.report.pages import build_page
from dynanoise.report.render.markdown import table_markdown
from dynanoise.report.table import MISSING, Cell, Column, Row, make_table, number_cell
from dynanoise.web.data import data_json

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "results" / "digits" / "results.json"


def readme() -> str:
    """The README with its example and its recommendations made anew from results."""
    text = (ROOT / "README.md").read_text()
    example = read_results(ROOT / "results" / "audits" / "quickstart" / "results.json")
    output = textwrap.dedent(quickstart_text(example, Path("quickstart")))
    wrapped = [line for part in output.splitlines() for line in textwrap.wrap(part, 80) or [""]]
    text = _between(text, "quickstart", ["\n".join(["```text", *wrapped, "```"])])
    return _between(text, "choose", list(_recommendations()))


def _recommendations() -> tuple[str, str]:
    """A table of needs and defenses with their numbers, and how to read it."""
    summaries = results.by_method("cifar10")
    _, once, repeated, chosen = (summaries[name] for name in ATTACKERS)
    with_key, moved = summaries["adaptive_key"], _auc_of_images_moved_by_8_pixels()
    large = results.by_method("cifar10_paper")["paper"]
    before = rate(repeated["none"].success("none")[1].value)

    def after(summary: ByMethod, method: str) -> str:
        return rate(summary[method].success(method)[1].value)

    def falls(summary: ByMethod, method: str) -> str:
        return f"{before} to {after(summary, method)}"

    def cost(summary: ByMethod, method: str) -> str:
        change_of = summary[method].change(method, None, "accuracy").mean
        return f"accuracy {change(change_of)}" if change_of else "no accuracy"

    def likelihood(method: str) -> str:
        values = (repeated[each].spread(each, None, "nll").mean for each in ("none", method))
        return "negative log-likelihood {:.2f} to {:.2f}".format(*values)

    queries = chosen["none"].threat.repeats
    training = next(each for each in large["dpsgd"].results if each.method == "dpsgd")
    epsilon = training.recipe_parameters["target_epsilon"]

    def by_choice(method: str) -> str:
        return f"chosen inputs, at most {queries}: {after(chosen, method)}"

    headings = ["You need", "Take", "It costs", "Holds against", "Does not hold against"]
    rows = [
        [
            "labels, with the accuracy of each class as confidence",
            "[`CalibratedLabel`](docs/deploy.md)",
            f"{cost(repeated, 'calibrated_label')}, {likelihood('calibrated_label')}",
            f"repeated queries: {falls(repeated, 'calibrated_label')}",
            f"{by_choice('calibrated_label')}, from labels alone",
        ],
        [
            "probabilities, from clients who may repeat queries",
            "[`DynaNoise(keep_label=True)` with keyed noise](docs/keyed.md)",
            f"{cost(repeated, 'dynanoise_keyed')}, {likelihood('dynanoise_keyed')}; a secret key "
            "to keep",
            f"repeated queries: {falls(repeated, 'dynanoise_keyed')}",
            f"{by_choice('dynanoise_keyed')}; a leaked key: {after(with_key, 'dynanoise_keyed')}",
        ],
        [
            "probabilities, each record queried once, and no key to keep",
            "[`DynaNoise()` with fresh noise](docs/deploy.md)",
            cost(once, "dynanoise"),
            f"one query: {falls(once, 'dynanoise')}",
            f"16 queries: {after(repeated, 'dynanoise')}",
        ],
        [
            "the least leak, and you can train again",
            "[`OutOfFoldClassifier`](docs/out_of_fold.md), its cells with a neighbourhood",
            f"{cost(repeated, 'out_of_fold')}; five models",
            f"repeated queries: {falls(repeated, 'out_of_fold')}; {by_choice('out_of_fold')}",
            "inputs outside the neighbourhood (images moved by 8 pixels: AUC "
            f"{rate(moved)}); white-box access",
        ],
        [
            "a bound for every attacker (differential privacy)",
            "DP-SGD (`bench --defense dpsgd`)",
            f"{cost(large, 'dpsgd')} at epsilon {epsilon:g} with 28,000 images, and a linear model",
            "every attacker, as far as epsilon says; white-box access too",
            "a large epsilon bounds nothing",
        ],
    ]
    counts = sorted({_shadows(repeated, name) for name in ("none", "out_of_fold")})
    shadows = " to ".join(map(str, counts))
    words = (
        f"Numbers: balanced accuracy of the attacker's choice on CIFAR-10 networks ({before} "
        f"undefended, 0.5 is guessing), by an attacker who knows the defense and has {shadows} "
        f"shadow models; repeated queries are {repeated['none'].threat.repeats} of each record, "
        f"and inputs were chosen for {chosen['none'].results[0].counts['pool']} of the records "
        "([all results](docs/results.md))."
    )
    columns = [Column(heading, "left") for heading in headings]
    return _markdown(columns, rows), words


def _auc_of_images_moved_by_8_pixels() -> float:
    """AUC of the learned attack on CIFAR-10's out-of-fold answers."""
    path = ROOT / "results" / "benchmarks" / "out_of_fold_cifar10.json"
    rows = json.loads(path.read_text())["rows"]
    [of_preset] = (row for row in rows if row["setting"] == "")
    return float(of_preset["attacks"]["shift 8"]["learned"]["auc"][0])


def _shadows(summaries: ByMethod, method: str) -> int:
    """Number of shadow models of an attacker on a method's models."""
    rows = summaries[method].results
    return next(row for row in rows if row.method == method).counts["models"] - 1


def picture() -> str:
    """The README's picture: privacy against utility on CIFAR-10."""
    summaries = results.by_method("cifar10")
    paper, _, repeated, chosen = (summaries[name] for name in ATTACKERS)
    return privacy_utility_plot(paper, repeated, chosen).decode()


def overhead_page() -> str:
    """docs/overhead.md with its table made anew, where the results are there."""
    text = (ROOT / "docs" / "overhead.md").read_text()
    folder = ROOT / "results" / "overhead"
    if not (folder / "results.json").exists():
        return text
    results = read_results(folder / "results.json")
    page = build_page(results)
    parts = [f"`{results[0].command} --out results/overhead`", page.markdown, page.caption]
    parts.append("\n".join(f"- {sentence}" for sentence in page.sentences))
    parts.append("![Time of an output by method](../results/overhead/overhead.svg)")
    return _between(text, "overhead", parts)


def kernel_page() -> str:
    """docs/kernel.md with its tables made anew from the benchmark's results."""
    text = (ROOT / "docs" / "kernel.md").read_text()
    for name in ("kernel", "kernel_avx2"):
        speed = json.loads((ROOT / "results" / "benchmarks" / f"{name}.json").read_text())
        text = _between(text, name, _kernel(speed))
    return text


def _kernel(speed: dict[str, Any]) -> list[str]:
    """Command, table, words, and the steps of a row."""
    hardware, settings = speed["hardware"], speed["settings"]
    ours = ("kernel, fresh", "call, fresh", "kernel, keyed", "call, keyed")
    headings = ["rows x classes", "torch, us", *ours, "keyed / fresh", "fresh / floor"]
    rows = []
    for shape, row in speed["by_shape"].items():
        times = row["microseconds"]
        torch = min(time["value"] for name, time in times.items() if name.startswith("torch"))
        cells = [shape.replace("x", " x "), f"{torch:,.1f}"]
        cells += [_ratio(row["times_as_fast_as_torch"][name], 1) for name in ours]
        cells += [_ratio(row[name], 2) for name in ("keyed_over_fresh", "fresh_over_floor")]
        rows.append(cells)
    words = (
        f"Times as fast as the same pipeline in torch {speed['versions']['torch']}, float32, by "
        f"the faster of 1 and {settings['torch_threads']} threads, in the same round: medians over "
        f"{settings['rounds']} rounds with 95% intervals. *kernel* is its entry, *call* the public "
        "call `DynaNoise()(logits, noise)`, with its checks and, for keyed noise, the look-up of "
        "the key. The floor is drawing as many normals and one softmax, by the faster of NumPy and "
        f"torch. {hardware['processor']}, {hardware['cores']} cores; load before the run "
        f"{hardware['load_before']}."
    )
    steps = [[name, f"{time:,.0f}"] for name, time in speed["parts"].items()]
    parts = _markdown([Column("step", "left"), "nanoseconds a row"], steps)
    return [f"`{speed['command']}`", _markdown(headings, rows), words, parts]


def gateway_page() -> str:
    """docs/gateway.md with its table of load made anew, where the benchmark's result is there."""
    text = (ROOT / "docs" / "gateway.md").read_text()
    path = ROOT / "results" / "benchmarks" / "gateway.json"
    if not path.exists():
        return text
    load = json.loads(path.read_text())
    hardware = load["hardware"]
    headings = ["as", "model, ms", "clients", "undefended p50, p99", "a second"]
    headings += ["defended p50, p99", "a second", "p50 ratio", "errors"]
    rows, direct = [], []
    for row in load["rows"]:
        cells = [{"onnx": "server", "upstream": "proxy"}[row["mode"]]]
        cells += [f"{row['model_ms']:,.2f}", str(row["clients"])]
        gateways = [row["undefended"], row["defended"]]
        for gateway in gateways:
            cells.append(f"{gateway['p50_ms']:,.2f}, {gateway['p99_ms']:,.2f}")
            cells.append(f"{gateway['requests_per_second']:,.0f}")
        turns = row["p50_ratio_of_each_turn"]
        cells.append(f"{row['p50_ratio']:.3f} [{min(turns):.3f}, {max(turns):.3f}]")
        rows.append([*cells, str(sum(gateway["errors"] for gateway in gateways))])
        if "direct" in row:
            direct.append(
                f"{row['direct']['p50_ms']:,.2f} and {row['undefended']['p50_ms']:,.2f} ms "
                f"({row['clients']} at once, model of {row['model_ms']:,.2f} ms)"
            )
    words = (
        "Milliseconds. In each row the two gateways were queried in turns, by "
        f"{load['versions']['wrk']} from a process of its own, {hardware['cores']} cores for "
        "everything; the ratio of the medians, with the least and greatest of the turns. Model: "
        f"one output on one thread. {hardware['processor']}; load before the run "
        f"{hardware['load_before']}."
    )
    parts = [f"`{load['command']}`", _markdown(headings, rows), words]
    if direct:
        parts.append(
            f"Queried directly, and through an undefended proxy, p50: {'; '.join(direct)}."
        )
    return _between(_capacity(_neighbourhood(_overload(text))), "load", parts)


def _capacity(text: str) -> str:
    """docs/gateway.md with what many clients at once get, beside an earlier gateway."""
    load = json.loads((ROOT / "results" / "benchmarks" / "capacity.json").read_text())
    rows = []
    for row in load["rows"]:
        for way in ("before", "one worker", "two workers"):
            summary = row[way]
            answered = summary["statuses"]["200"] / summary["requests"]
            rows.append(
                [
                    str(row["clients"]),
                    way,
                    f"{answered * summary['requests_per_second']:,.0f}",
                    f"{summary['p50_ms']:,.1f}, {summary['p99_ms']:,.1f}",
                    f"{1 - answered:.0%}",
                ]
            )
    words = (
        "In turns, with keyed noise; before: the gateway without a queue, which refused with 503. "
        "Milliseconds are of all responses. wrk has the same "
        f"{load['hardware']['cores']} cores. Model: {load['model_ms']:.3f} ms an output; load "
        f"before the run {load['hardware']['load_before']}."
    )
    headings: list[str | Column] = ["clients", Column("gateway", "left"), "responses a second"]
    headings += ["p50, p99, ms", "refused"]
    return _between(text, "capacity", [f"`{load['command']}`", _markdown(headings, rows), words])


def _neighbourhood(text: str) -> str:
    """docs/gateway.md with the attacks under a limit on queries close to each other."""
    path = ROOT / "results" / "benchmarks" / "neighbourhood.json"
    measured = json.loads(path.read_text())
    headings = ["queries in a cell", "colluding clients", "queries a record"]
    rows = [
        [
            str(row["near"]) if row["near"] else "no limit",
            str(row["clients"]),
            str(row["queries"]),
            f"{row['answered_a_record']:.1f}",
            with_interval(Metric(**row["auc"])),
        ]
        for row in measured["rows"]
    ]
    refused = " and ".join(
        f"{share:.0%} under a limit of {limit}"
        for limit, share in measured["held_out_refused"].items()
    )
    direct = Metric(**measured["rows"][0]["auc_direct_query"])
    words = (
        f"Digits, {measured['targets']} target, {measured['records']} records, an attacker with "
        f"{measured['shadow_models']} shadow models who probes by labels alone, knows the limit, "
        "and takes the shadow models' label where all clients are refused; AUC with its 95% "
        "interval over records. A direct query alone (LiRA) has AUC "
        f"{with_interval(direct)}. Cells: {measured['cells']}. Of {measured['held_out_queries']} "
        f"held-out records that one client sends in a day, {refused} are refused."
    )
    table = _markdown([*headings, "answered", "AUC"], rows)
    return _between(text, "neighbourhood", [f"`{measured['command']}`", table, words])


def _overload(text: str) -> str:
    """docs/gateway.md with the figures of a client beside others that overload the gateway."""
    path = ROOT / "results" / "benchmarks" / "overload.json"
    if not path.exists():
        return text
    load = json.loads(path.read_text())
    before, during = load["before"], load["during"]
    words = (
        f"With {load['silent_connections']:,} silent connections to the gRPC port and "
        f"{load['large_bodies_at_once']} JSON bodies of {load['megabytes']:.0f} MB at a time, "
        f"again and again, a client that sends single records waits {during['p50_ms']:.0f} ms "
        f"(median) and at most {during['max_ms']:.0f} ms, where alone it waits "
        f"{before['p50_ms']:.1f} ms; all get status 200. The gateway's memory grows from "
        f"{load['memory_before_mib']:.0f} to at most {load['greatest_memory_mib']:.0f} MiB. "
        f"{load['hardware']['cores']} cores for everything."
    )
    assert set(during["statuses"]) == {"200"}
    return _between(text, "overload", [f"`{load['command']}`", words])


def _markdown(headings: Sequence[str | Column], rows: Sequence[Sequence[str | Cell]]) -> str:
    return table_markdown(make_table("", headings, rows))


def _between(text: str, name: str, parts: list[str]) -> str:
    """The text with new parts between the comments of that name."""
    block = re.compile(rf"<!-- {name} -->\n.*?<!-- end of {name} -->", re.DOTALL)
    assert len(block.findall(text)) == 1
    new = "\n\n".join([f"<!-- {name} -->", *parts, f"<!-- end of {name} -->"])
    return block.sub(lambda _: new, text)


def cluster_page() -> str:
    """docs/cluster.md with its tables made anew from the benchmarks' results."""
    text = (ROOT / "docs" / "cluster.md").read_text()
    for name, build in (("million", _million), ("cluster", _cluster)):
        results = json.loads((ROOT / "results" / "benchmarks" / f"{name}.json").read_text())
        table, words = build(results)
        text = _between(text, name, [f"`{results['command']}`", table, words])
    return text


def _million(results: dict[str, Any]) -> tuple[str, str]:
    headings = ["attack", "driver, GiB", "largest worker, GiB", "scores, s", "AUC and TPR, s"]
    measures = ["peak_memory_gib", "peak_memory_gib_of_largest_worker"]
    measures += ["seconds_scores", "seconds_metrics"]
    rows: list[Row] = [
        [Cell(row["attack"], emphasis="code"), *(str(row[name]) for name in measures)]
        for row in results["rows"]
    ]
    hardware = results["hardware"]
    words = (
        f"Greatest memory of each process; the pool has {results['pool_gib_on_disk']} GiB on disk, "
        f"in float16, and took {results['seconds_writing']} s to make. {hardware['processor']}, "
        f"{hardware['cores']} cores; load {hardware['load_average']} afterwards."
    )
    return _markdown(headings, rows), words


def _cluster(results: dict[str, Any]) -> tuple[str, str]:
    headings = ["executor", "workers", "seconds", "all stored, s", "same bits as one process"]
    same = {True: "yes", False: "no", None: MISSING}
    rows = [
        [
            row["executor"].replace("_", " "),
            str(row["workers"]),
            str(row["seconds"]),
            str(row.get("seconds_all_stored", MISSING)),
            same[row.get("same_bits_as_in_process")],
        ]
        for row in results["rows"]
    ]
    overhead, hardware = results["overhead"], results["hardware"]
    words = (
        f"Overhead of a task: {overhead['ms_overhead_a_task']} ms, the mean over "
        f"{overhead['tasks']} on one worker. {hardware['processor']}, {hardware['cores']} cores, "
        f"which driver, head and workers share; load before the run {hardware['load_before']}."
    )
    return _markdown(headings, rows), words


def _ratio(metric: dict[str, float], digits: int) -> str:
    return with_interval(Metric(**metric), lambda value: f"{value:.{digits}f}")


def remedies_page() -> str:
    """docs/what_to_do.md with its table made anew from the measurement."""
    text = (ROOT / "docs" / "what_to_do.md").read_text()
    measured = json.loads((ROOT / "results" / "benchmarks" / "remedies.json").read_text())
    headings: list[str | Column] = ["Data", Column("Remedy", "left"), "AUC of the attack"]
    headings += ["Accuracy", "On members"]
    rows: list[list[str | Cell]] = []
    before = ""
    for row in measured["rows"]:
        auc = number_cell(Metric(**row["auc"]))
        accuracies = [rate(row[name]["value"]) for name in ("accuracy", "train_accuracy")]
        data = row["data"] if row["data"] != before else ""
        rows.append([data, Cell(row["remedy"], emphasis="code"), auc, *accuracies])
        before = row["data"]
    words = (
        f"Random forests of scikit-learn with its defaults, {measured['models']} models on random "
        "halves, attacked by an attacker with the other models as shadow models, one query a "
        "record; 95% intervals over models and records. `calibrated_label` is a defense of the "
        "outputs, known to the attacker; *half of the features* keeps those that separate the "
        "classes best. The labels of the last set are wrong in one of five records."
    )
    parts = [f"`{measured['command']}`", _markdown(headings, rows), words]
    return _between(text, "remedies", parts)


def out_of_fold_page() -> str:
    """docs/out_of_fold.md with the tables of its picture and of distances made anew."""
    text = (ROOT / "docs" / "out_of_fold.md").read_text()
    for name in ("out_of_fold", "out_of_fold_cifar10"):
        text = _between(text, name, [_distances(ROOT / "results" / "benchmarks" / f"{name}.json")])
    return _between(text, "trade", [trade.table()])


def _distances(path: Path) -> str:
    """AUC of attacks on changed records: a row for each setting and attack, seed 0."""
    measured = [row for row in json.loads(path.read_text())["rows"] if row["seed"] == 0]
    changed = [query for query in measured[0]["attacks"] if query not in ("direct", "near")]
    queries = ("direct", *changed, "near")
    # Of numbers, "distance 0.1" is written 0.1.
    headings = [query.removeprefix("distance ") for query in ("direct", *changed, "all")]
    rows = [
        [
            setting["setting"].replace(",", ", ") or "the preset's",
            attack,
            *(
                rate(auc[attack]["auc"][0]) if attack in auc else ""
                for auc in (setting["attacks"][query] for query in queries)
            ),
        ]
        for setting in measured
        for attack in ("lira", "learned", "label_only")
    ]
    left = [Column(heading, "left") for heading in ("setting", "attack")]
    return _markdown([*left, *headings], rows)


def site_data() -> str:
    """The web page's numbers and sampled rows."""
    return data_json(ROOT / "results", ROOT / "CITATION.cff")


def cli_page() -> str:
    """docs/cli.md: every command's --help, at 80 columns."""
    parts = ["# The command line", "", "Made by `make docs` from `--help`.", ""]
    groups = {"key": key.app, "store": store.app}
    commands = [[], *([function.__name__] for function in COMMANDS)]
    for name, group in groups.items():
        commands += [[name, str(command.name)] for command in group.registered_commands]
    for command, text in zip(commands, _help(commands), strict=True):
        name = " ".join(["dynanoise", *command])
        parts += [f"## `{name}`", "", "```text", text, "```", ""]
    parts += ["## Exit codes", "", "| exit code | meaning |", "| --: | :-- |"]
    parts += [f"| {code} | {code.description} |" for code in ExitCode]
    parts += ["", f"`{TRACEBACK}=1` in the environment shows the traceback of an unexpected error,"]
    parts += ["and of those of the machine.", ""]
    return "\n".join(parts)


_PRINT_HELP = """
import json, sys
from dynanoise.cli import app
for command in json.loads(sys.argv[1]):
    try:
        app([*command, "--help"], prog_name="dynanoise")
    except SystemExit:
        print(end=chr(0))
"""
"""A process of its own, because a terminal's width and colours are read on import."""


def _help(commands: list[list[str]]) -> list[str]:
    """The help of each command."""
    process = subprocess.run(  # noqa: S603
        [sys.executable, "-c", _PRINT_HELP, json.dumps(commands)],
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
    texts = process.stdout.split(chr(0))[:-1]
    return ["\n".join(line.rstrip() for line in text.strip("\n").splitlines()) for text in texts]


PAGES: dict[Path, Callable[[], str]] = {
    ROOT / "README.md": readme,
    ROOT / "docs" / "cli.md": cli_page,
    ROOT / "docs" / "results.md": results.overview,
    **{results.page_of(folder): partial(results.page, folder) for folder in results.FOLDERS},
    ROOT / "docs" / "overhead.md": overhead_page,
    ROOT / "docs" / "kernel.md": kernel_page,
    ROOT / "docs" / "gateway.md": gateway_page,
    ROOT / "docs" / "cluster.md": cluster_page,
    ROOT / "docs" / "what_to_do.md": remedies_page,
    ROOT / "docs" / "out_of_fold.md": out_of_fold_page,
    rooms.PICTURE: rooms.picture,
    trade.PICTURE: trade.picture,
    ROOT / "docs" / "privacy_utility.svg": picture,
    ROOT / "src" / "dynanoise" / "web" / "data.json": site_data,
}


if __name__ == "__main__":
    for page, make in PAGES.items():
        page.write_text(make())
        sys.stdout.write(f"wrote {page.relative_to(ROOT)}\n")
