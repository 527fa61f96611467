"""The command line as its users meet it, in processes of its own where that matters."""

from __future__ import annotations

import importlib.metadata
import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from dynanoise.cli import app
from dynanoise.core import registry
from dynanoise.report.io.results import to_json
from tests.factories.results import overhead_records, records

FEW = ["--defense", "temperature", "--defense", "static", "--defense", "dynanoise"]
FEW += ["--protocol", "paper"]
"""Without the peer defenses and pools, which take minutes."""

torch_missing = pytest.mark.skipif(
    __import__("importlib.util").util.find_spec("torch") is None,
    reason="training needs torch: pip install 'dynanoise[train]'",
)


@pytest.fixture(autouse=True)
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """So that no test finds models of another one, and none are left in the user's cache."""
    monkeypatch.setenv("DYNANOISE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments))


@pytest.mark.process
@pytest.mark.parametrize(
    "way", [["-m", "dynanoise"], ["-c", "from dynanoise.cli import app; app()"]]
)
def test_help_and_version_import_nothing_heavy(way: list[str]) -> None:
    code = textwrap.dedent("""
        import runpy, sys
        sys.argv = ["dynanoise", sys.argv[1]]
        try:
            runpy.run_module("dynanoise", run_name="__main__")
        except SystemExit as end:
            assert end.code == 0, end.code
        heavy = {"torch", "sklearn", "scipy", "numpy", "matplotlib"} & set(sys.modules)
        assert not heavy, heavy
    """)
    for option in ("--help", "--version"):
        done = subprocess.run(
            [sys.executable, "-c", code, option], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        direct = subprocess.run([sys.executable, *way, option], capture_output=True, check=False)
        assert direct.returncode == 0


def test_the_presets_are_listed() -> None:
    found = run("bench", "--list")
    assert found.exit_code == 0
    assert "\ndigits: scikit-learn's digits" in found.stdout
    assert "\noverhead: time and memory" in found.stdout


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["bench"], "No preset was named. Name one; `dynanoise bench --list` has all."),
        (["bench", "digit"], "There is no preset 'digit'. Did you mean 'digits'?"),
        (["bench", "digits", "--seeds", "0"], "seeds is 0. Use an integer of at least 1."),
        (["bench", "digits", "--canaries", "-1"], "canaries is -1."),
        (["bench", "digits", "--canaries", "601"], "601 canaries do not fit a pool of 600"),
        (
            ["bench", "digits", "--canaries", "9", "--protocol", "paper"],
            "The protocol 'paper' has no pool of models to plant canaries in. Use adaptive",
        ),
        (["bench", "digits", "--out", ""], "--out is empty."),
        (["bench", "cifar10", "--quick", "--size", "cpu"], "Both --quick and --size cpu"),
        (["bench", "digits", "--no-store", "--store", "x"], "Both --store and --no-store"),
        (["sweep", "sigma"], "no parameter 'sigma' to sweep. Known: base_variance, lambda_scale"),
        (["sweep", "temperature", "digit"], "There is no preset 'digit'. Did you mean 'digits'?"),
        (["sweep", "temperature", "--values", "1,x"], "The values are '1,x'. Pass numbers"),
        (["sweep", "temperature", "--values", "0"], "temperature"),
        (["sweep", "temperature", "--values", "2,2"], "repeat one"),
        (["show", "nowhere.json"], "nowhere.json cannot be read"),
    ],
)
def test_wrong_use_is_one_sentence_and_exit_code_2(arguments: list[str], says: str) -> None:
    found = run(*arguments)
    assert found.exit_code == 2
    assert found.stderr.startswith("Error: ") and says in found.stderr
    assert found.stderr.count("\n") == 1 and found.stdout == ""


def test_a_folder_that_cannot_be_written_is_named_before_the_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import dynanoise.benchmark.benchmark as module

    monkeypatch.setattr(module, "bench", None)  # the work would fail
    (tmp_path / "file").write_text("")
    found = run("bench", "digits", "--seeds", "1000", "--out", str(tmp_path / "file"))
    assert found.exit_code == 2 and "is not a folder that can be written" in found.stderr


def test_without_torch_the_remedy_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    found = run("bench", "digits")
    assert found.exit_code == 2
    assert "pip install 'dynanoise[train]'" in found.stderr


def test_show_prints_tables_json_and_markdown(tmp_path: Path) -> None:
    (tmp_path / "results.json").write_text(to_json(records()))
    table = run("show", str(tmp_path / "results.json"))
    assert table.exit_code == 0 and "0.610" in table.stdout and "Threat model" in table.stdout
    as_json = run("show", "--json", str(tmp_path / "results.json"))
    assert as_json.stdout == (tmp_path / "results.json").read_text()
    markdown = run("show", "--markdown", str(tmp_path / "results.json"))
    assert markdown.stdout.startswith("| Method | Test acc. |")
    assert run("show", str(tmp_path)).stdout == table.stdout  # the folder does as well


def made_up_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """`bench` without the work."""
    import dynanoise.benchmark.benchmark as module

    monkeypatch.setattr(module, "bench", lambda plan, progress, **options: iter(records()))


def test_an_earlier_run_is_replaced_and_said_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made_up_run(monkeypatch)
    assert "Wrote" in run("bench", "digits", "--out", str(tmp_path)).stderr
    assert "Replaced" in run("bench", "digits", "--out", str(tmp_path)).stderr
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    without = run("bench", "digits", "--out", str(tmp_path))
    assert "No picture: " in without.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["results.json"]  # no stale picture


def test_a_write_that_fails_after_the_work_still_shows_the_result(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made_up_run(monkeypatch)
    (tmp_path / "results.json").mkdir()
    found = run("bench", "digits", "--out", str(tmp_path))
    assert found.exit_code == 1
    assert "could not be written" in found.stderr
    assert "0.610" in found.stdout


def test_a_broken_component_of_another_package_is_named_and_hides_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    entry = importlib.metadata.EntryPoint(
        "theirs", "no_such_module:X", "dynanoise.benchmark.presets"
    )
    monkeypatch.setattr(importlib.metadata, "entry_points", lambda group: [entry])
    monkeypatch.delitem(vars(registry.PRESETS), "_places", raising=False)
    found = run("bench", "--list")
    monkeypatch.undo()
    monkeypatch.delitem(vars(registry.PRESETS), "_places", raising=False)
    assert found.exit_code == 0
    assert "digits: scikit-learn's digits" in found.stdout
    assert "theirs: The preset 'theirs' of an unknown package cannot be loaded" in found.stdout


@pytest.mark.behaviour
@torch_missing
def test_bench_writes_what_it_prints_and_repeats_itself(tmp_path: Path) -> None:
    """`dynanoise bench digits` twice gives identical numbers, down to the last bit."""
    first = run("bench", "digits", "--seeds", "1", *FEW, "--out", str(tmp_path / "a"), "--json")
    assert first.exit_code == 0, first.stderr
    assert json.loads(first.stdout) == json.loads((tmp_path / "a" / "results.json").read_text())
    second = run("bench", "digits", "--seeds", "1", *FEW, "--json", "--no-store")

    def numbers(result: Result) -> list[tuple[object, ...]]:
        return [
            (row["method"], row["attack"], row["metrics"])
            for row in json.loads(result.stdout)["results"]
        ]

    assert numbers(first) == numbers(second)
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == [
        "attack_success.svg",
        "results.json",
    ]


@pytest.mark.behaviour
@torch_missing
def test_records_hold_what_a_reader_needs(tmp_path: Path) -> None:
    found = json.loads(run("bench", "digits", "--seeds", "1", *FEW, "--json").stdout)
    shared, rows = found["shared"], found["results"]
    assert shared["command"] == " ".join(["dynanoise bench digits --seeds 1", *FEW])
    assert shared["threat"] == {
        "name": "paper", "knows_defense": False, "repeats": 1, "augmented": False,
        "shadows": "same",
        "key_known": False,
    }  # fmt: skip
    assert {"python", "numpy", "torch", "dynanoise"} <= set(shared["versions"])
    assert {"processor", "cores", "memory_gib", "threads"} <= set(shared["hardware"])
    assert shared["counts"]["scored"] == 168 and len(shared["split"]) == 16
    assert len(rows) == 4 * 7
    assert all(row["seconds"] > 0 and row["metrics"] for row in rows)
    assert {row["attack"] for row in rows} == {
        None, "confidence", "loss", "entropy", "modified_entropy", "shadow", "lira_by_class",
    }  # fmt: skip


@pytest.mark.process
@pytest.mark.behaviour
@torch_missing
@pytest.mark.skipif(os.name != "posix", reason="signals are POSIX")
def test_ctrl_c_leaves_no_half_written_file(tmp_path: Path, empty_cache: Path) -> None:
    out = tmp_path / "out"
    command = [sys.executable, "-m", "dynanoise", "bench", "digits", "--seeds", "500"]
    process = subprocess.Popen(
        [*command, "--out", str(out)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    # The first stored model shows that it is at work; without a limit, however busy the machine.
    while not list(empty_cache.glob("models/*/*/entry.json")) and process.poll() is None:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    stdout, stderr = process.communicate()
    # A shell reports 130 for both: interrupted inside an exec(), CPython ends itself by the signal.
    assert process.returncode in (130, -signal.SIGINT)
    assert stderr.endswith("No result was written.\nInterrupted.\n")
    assert "Traceback" not in stderr
    assert stdout == "" and list(out.iterdir()) == []


@pytest.mark.behaviour
@torch_missing
def test_stored_models_are_used_listed_and_removed(tmp_path: Path) -> None:
    arguments = ("bench", "digits", "--seeds", "1", "--attack", "loss", *FEW, "--json")
    store = str(tmp_path / "store")
    first = run(*arguments, "--store", store)
    assert first.exit_code == 0, first.stderr
    again = run(*arguments, "--store", store)

    def numbers(result: Result) -> list[object]:
        return [row["metrics"] for row in json.loads(result.stdout)["results"]]

    assert numbers(first) == numbers(again) == numbers(run(*arguments, "--no-store"))
    listed = run("store", "ls", "--store", store)
    lines = listed.stdout.splitlines()
    assert len(lines) == 4
    assert all("digits" in line and "Plain" in line for line in lines)
    assert "in all." in listed.stderr
    key = lines[0].split()[0]
    assert "Removed 1 model." in run("store", "rm", key, "--store", store).stderr
    assert run("store", "rm", key, "--store", store).exit_code == 2
    assert run("store", "rm", "--store", store).exit_code == 2
    assert "Removed 3 models." in run("store", "rm", "--all", "--store", store).stderr
    assert run("store", "ls", "--store", store).stdout == ""
    assert "is no folder" in run("store", "ls", "--store", str(tmp_path / "nowhere")).stderr


def test_options_that_do_not_fit_are_named(tmp_path: Path) -> None:
    for arguments, says in (
        (["--size", "huge"], "There is no size 'huge'"),
        (["--defense", "dynanose"], "no method 'dynanose'"),
        (["--attack", "liar"], "no attack 'liar'"),
        (["--workers", "0"], "workers is 0"),
    ):
        found = run("bench", "digits", *arguments)
        assert found.exit_code == 2
        assert says in found.stderr


@pytest.mark.behaviour
@torch_missing
def test_models_are_kept_in_the_users_cache_unless_told_otherwise(empty_cache: Path) -> None:
    arguments = ("bench", "digits", "--quick", "--defense", "temperature", "--attack", "loss")
    # No other protocol has this attack, so no pool is trained.
    assert run(*arguments, "--no-store").exit_code == 0
    assert run("store", "ls").stdout == "" and not (empty_cache / "models").exists()
    found = run(*arguments)
    assert "One seed." in found.stdout
    assert len(run("store", "ls").stdout.splitlines()) == 4
    assert len(list((empty_cache / "models").glob("*/*/model.safetensors"))) == 4


@pytest.mark.behaviour
@torch_missing
def test_a_sweep_uses_stored_models_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    arguments = ("sweep", "temperature", "--seeds", "1", "--values", "10,1", "--attack", "loss")
    before = run(*arguments)
    assert before.exit_code == 2 and before.stdout == ""
    assert (
        "no target of this run. Train it first: `dynanoise bench digits --seeds 1" in before.stderr
    )
    bench = run("bench", "digits", "--seeds", "1", *FEW, "--attack", "loss", "--json")
    never = "dynanoise.training.execution.outputs.train_and_query"
    monkeypatch.setattr(never, None)  # training would fail
    out = tmp_path / "out"
    found = run(*arguments, "--out", str(out))
    assert found.exit_code == 0, found.stderr
    lines = [line.split(",") for line in found.stdout.splitlines()]
    assert lines[0][:5] == ["method", "parameter", "value", "seed", "accuracy"]
    assert [line[:4] for line in lines[1:]] == [
        ["none", "", "", "0"],
        ["dynanoise", "temperature", "10", "0"],
        ["dynanoise", "temperature", "1", "0"],
    ]
    assert sorted(path.name for path in out.iterdir()) == ["results.json", "sweep.csv", "sweep.svg"]
    assert (out / "sweep.csv").read_text() == found.stdout
    rows = json.loads(bench.stdout)["results"]
    undefended = next(r for r in rows if r["method"] == "none" and r["attack"] is None)
    assert float(lines[1][4]) == undefended["metrics"]["accuracy"]["value"]
    shared = json.loads((out / "results.json").read_text())["shared"]
    assert shared["command"] == (
        "dynanoise sweep temperature digits --values 10,1 --seeds 1 --attack loss"
    )


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["overhead", "--seeds", "3"], "--seeds does not fit here: overhead trains one model"),
        (["overhead", "--attack", "loss"], "--attack does not fit here"),
        (["overhead", "--workers", "1"], "--workers does not fit here"),
        (["overhead", "--canaries", "9"], "--canaries does not fit here"),
        (["digits", "--on", "digits"], "--on does not fit here: digits is a preset itself"),
        (["overhead", "--on", "digitz"], "Did you mean 'digits'"),
        (["overhead", "--on", "overhead"], "There is no preset 'overhead'"),
        (["overhead", "--size", "huge"], "There is no size 'huge'. Known: cpu, paper, quick"),
        (["overhead", "--defense", "dynanose"], "no method 'dynanose'"),
    ],
)
def test_options_that_overhead_does_not_have_are_refused(arguments: list[str], says: str) -> None:
    found = run("bench", *arguments, "--data", "nowhere")  # so that nothing is trained
    assert found.exit_code == 2
    assert says in found.stderr and found.stderr.count("\n") == 1


def test_overhead_is_planned_written_and_shown_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import dynanoise.benchmark.latency.overhead as module

    asked = []

    def made_up(plan: module.OverheadPlan, progress: object, **options: object) -> object:
        asked.append((plan, options))
        return overhead_records()

    monkeypatch.setattr(module, "overhead", made_up)
    store, data, out = (str(tmp_path / name) for name in ("store", "data", "out"))
    options = ("--defense", "dynanoise", "--device", "cuda", "--store", store, "--data", data)
    found = run("bench", "overhead", "--size", "quick", *options, "--out", out)
    assert found.exit_code == 0 and "198.8" in found.stdout
    assert asked == [
        (
            module.OverheadPlan("cifar10", "quick", ("dynanoise",), "cuda"),
            {"folder": Path(data), "store": Path(store)},
        )
    ]
    assert sorted(path.name for path in Path(out).iterdir()) == ["overhead.svg", "results.json"]
    again = run("show", str(Path(out) / "results.json"))
    assert again.stdout == found.stdout
    markdown = run("show", "--markdown", str(Path(out) / "results.json"))
    assert markdown.stdout.startswith("| Method | Time, batch 1 |")
    as_json = run("bench", "overhead", "--on", "digits", "--json")
    assert as_json.stdout == (Path(out) / "results.json").read_text()
    assert asked[-1][0] == module.OverheadPlan("digits")


@pytest.mark.behaviour
@torch_missing
def test_overhead_runs_on_digits() -> None:
    found = run("bench", "overhead", "--on", "digits", "--defense", "dynanoise", "--json")
    assert found.exit_code == 0, found.stderr
    rows = json.loads(found.stdout)["results"]
    assert [row["method"] for row in rows] == ["none", "dynanoise"]
    assert rows[1]["metrics"]["ratio_batch_1"]["value"] > 0


@pytest.mark.behaviour
@torch_missing
def test_both_protocols_are_printed_side_by_side(tmp_path: Path) -> None:
    arguments = ("--defense", "dynanoise", "--attack", "loss", "--attack", "population")
    found = run("bench", "digits", "--quick", *arguments, "--out", str(tmp_path))
    assert found.exit_code == 0, found.stderr
    shown = " ".join(found.stdout.split())
    assert "paper: adaptive: adaptive_16:" in shown.replace("strongest", "")
    assert "adaptive_16: the attacker knows the defense and its parameters" in shown
    assert (
        "queries each record 16 times and averages" in shown
        and "16 models over 600 records" in shown
    )
    again = run("show", str(tmp_path / "results.json"))
    assert again.stdout == found.stdout
    only = run("bench", "digits", "--quick", *arguments, "--protocol", "adaptive")
    assert only.exit_code == 0 and "does not know of the defense" not in only.stdout
