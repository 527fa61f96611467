"""Devices that are not there are refused in a sentence, before the work."""

from __future__ import annotations

import pytest

pytest.importorskip("torch", reason="training needs torch: pip install 'dynanoise[train]'")
import torch

from dynanoise.core.errors import InputError
from dynanoise.training.devices import choose_device
from tests.factories.commands import run


@pytest.mark.parametrize("there", [True, False])
def test_auto_is_the_gpu_where_there_is_one(there: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: there)
    assert choose_device("auto") == ("cuda" if there else "cpu")


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("cuda:99", "There is no device 'cuda:99' on this machine ("),
        ("cuda:x", "There is no device 'cuda:x' on this machine ("),
        ("gpu", "--device is 'gpu'."),
        ("", "--device is ''."),
    ],
)
def test_what_is_no_device(name: str, problem: str) -> None:
    with pytest.raises(InputError) as error:
        choose_device(name)
    assert error.value.problem.startswith(problem)


@pytest.mark.parametrize(
    "arguments",
    [
        ("bench", "digits"),
        ("bench", "digits", "--dry-run"),
        ("bench", "overhead", "--on", "digits"),
        ("sweep", "temperature", "digits"),
    ],
)
def test_commands_refuse_it_before_the_work(arguments: tuple[str, ...]) -> None:
    found = run(*arguments, "--device", "cuda:99")
    assert found.exit_code == 2, found.output
    assert found.stderr.startswith("Error: There is no device 'cuda:99'") and found.stdout == ""


def test_a_cluster_has_devices_of_its_own() -> None:
    found = run("bench", "digits", "--executor", "ray", "--device", "auto")
    assert found.exit_code == 2 and "its nodes may differ" in found.stderr
