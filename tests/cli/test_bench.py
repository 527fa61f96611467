"""`dynanoise bench`, in processes of its own where that matters."""

from __future__ import annotations

import importlib.metadata
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from typer.testing import Result

from docs.generate import ROOT
from dynanoise.benchmark.options import BenchOptions
from dynanoise.benchmark.presets import PRESETS
from dynanoise.core import registry
from dynanoise.core.options import option_fields
from dynanoise.evaluation.protocols import NAMES
from tests.factories.commands import FEW, interruptible, made_up_run, run, torch_missing
from tests.factories.presets import small_digits
from tests.factories.waiting import limited


def test_the_presets_are_listed() -> None:
    found = run("bench", "--list")
    assert found.exit_code == 0
    assert "\ndigits: scikit-learn's digits" in found.stdout
    assert "\noverhead: time and memory" in found.stdout


@pytest.mark.parametrize("name", NAMES)
def test_help_and_documentation_name_every_protocol(name: str) -> None:
    [option] = [each.option for each in option_fields(BenchOptions) if each.flag == "--protocol"]
    assert re.search(rf"\b{name}\b", option.help)
    assert f"`{name}`" in (ROOT / "docs" / "protocol.md").read_text()


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
    assert "'torch<3,>=" in found.stderr


@pytest.mark.behaviour
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
    assert found.exit_code == 2
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
    # And what a reader needs.
    found = json.loads(first.stdout)
    shared, rows = found["shared"], found["results"]
    assert shared["command"] == " ".join(["dynanoise bench digits --seeds 1", *FEW])
    assert shared["threat"] == {
        "name": "paper", "knows_defense": False, "repeats": 1, "augmented": False,
        "shadows": "same",
        "key_known": False, "chosen": False,
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
    process = subprocess.Popen(
        interruptible("bench", "digits", "--seeds", "1", "--out", str(out)),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with limited(process):
        # The first stored model shows that it is at work.
        while not list(empty_cache.glob("models/*/*/entry.json")) and process.poll() is None:
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        stdout, stderr = process.communicate()
    # A shell reports 130 for both: interrupted inside an exec(), CPython ends itself by the signal.
    assert process.returncode in (130, -signal.SIGINT)
    assert stderr.endswith("No result was written.\nInterrupted.\n")
    assert "Traceback" not in stderr
    assert stdout == "" and list(out.iterdir()) == []


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
def test_both_protocols_are_printed_side_by_side(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`show` prints the same again, and `report` makes the reports of the pool again."""
    monkeypatch.setitem(PRESETS, "digits", small_digits(models=16))
    arguments = ["--defense", "temperature", "--defense", "dynanoise"]
    arguments += ["--attack", "loss", "--attack", "population"]
    found = run("bench", "digits", "--quick", *arguments, "--out", str(tmp_path))
    assert found.exit_code == 0, found.stderr
    shown = " ".join(found.stdout.split())
    for name in ("paper", "adaptive", "adaptive_16"):
        assert f"{name}:" in shown and f"Threat model '{name}'" in shown
    assert "'adaptive_16', 16 queries a record: an attacker with black-box access" in shown
    assert "averages repeated queries" in shown and "over 16 models and 150 records" in shown
    again = run("show", str(tmp_path / "results.json"))
    assert again.stdout == found.stdout
    assert sorted(path.name for path in tmp_path.glob("*.*")) == [
        "attack_success.svg",
        "report.html",
        "report.md",
        "results.json",
        "samples.npz",
    ]
    before = (tmp_path / "report.html").read_text()
    assert "temperature changes nothing for this attacker" in before
    assert run("report", str(tmp_path)).exit_code == 0
    assert (tmp_path / "report.html").read_text() == before
    only = run("bench", "digits", "--quick", *arguments, "--protocol", "adaptive")
    assert only.exit_code == 0 and "does not know of the defense" not in only.stdout
