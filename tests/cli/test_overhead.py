"""`dynanoise bench overhead`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from dynanoise.defenses.kernel_outputs import kernel_entries
from tests.factories.commands import run, torch_missing
from tests.factories.results import overhead_records


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
    monkeypatch.setattr("dynanoise.training.devices.choose_device", lambda name: name)
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
    uncompiled = ["dynanoise_numpy"] if kernel_entries() is not None else []
    assert [row["method"] for row in rows] == ["none", "dynanoise", *uncompiled]
    assert rows[1]["metrics"]["ratio_batch_1"]["value"] > 0
