"""Runs of one data set, and the run that a method is shown from."""

from __future__ import annotations

from dataclasses import replace

from dynanoise.core.result import Result
from dynanoise.report.summary import data_sets, largest_runs
from tests.factories.results import records


def of_model(model: str, preset: str = "digits", methods: tuple[str, ...] = ()) -> list[Result]:
    rows = [replace(row, model=model, preset=preset) for row in records()]
    return [row for row in rows if not methods or row.method in methods]


def test_a_run_of_another_model_is_a_data_set_of_its_own() -> None:
    runs = {
        "digits": of_model("cnn"),
        "digits_more": of_model("cnn"),
        "digits_small": of_model("mlp"),
        "digits_large": [
            replace(row, command="dynanoise bench digits --size paper --seeds 1")
            for row in of_model("cnn")
        ],
        "digits_usual": [
            replace(row, command="dynanoise bench digits --size cpu") for row in of_model("cnn")
        ],
        "sst2_only": of_model("text", "sst2"),  # no run is named like its preset
    }
    assert data_sets(runs) == {
        "digits": "digits",
        "digits_more": "digits",
        "digits_small": "digits_mlp",
        "digits_large": "digits_paper",
        "digits_usual": "digits",
        "sst2_only": "sst2",
    }


def test_methods_are_shown_from_the_run_with_most_of_them_on_the_same_model() -> None:
    two = ("none", "temperature")
    runs = {
        "digits": of_model("cnn", methods=two),
        "digits_all": of_model("cnn"),
        "digits_small": of_model("mlp"),
    }
    chosen = largest_runs(runs)
    assert chosen["digits", "paper", "none"] == "digits_all"
    assert chosen["digits_mlp", "paper", "none"] == "digits_small"
    del runs["digits_all"]
    assert largest_runs(runs)["digits", "paper", "temperature"] == "digits"
    assert ("digits", "paper", "dynanoise") not in largest_runs(runs)
