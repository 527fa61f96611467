"""`dynanoise store`, and where `bench` keeps models."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import Result

from tests.factories.commands import FEW, run, torch_missing


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
