"""Options are fields of dataclasses: the command line, its help and repeated commands agree."""

from __future__ import annotations

import shlex
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Any

import pytest
import typer
from typer.testing import CliRunner, Result

from dynanoise.audits.options import AuditOptions
from dynanoise.benchmark.execution import Execution
from dynanoise.benchmark.options import BenchOptions, OverheadOptions, SweepOptions
from dynanoise.benchmark.plan import Plan, plan_of
from dynanoise.cli.options import command, refuse
from dynanoise.core.errors import InputError
from dynanoise.core.options import Option, command_line, option_fields
from dynanoise.serving.options import Serving
from dynanoise.tuning.options import SourceOptions, TuneOptions

Width = Annotated[float, Option("Width of the kernel, in pixels.")]


def pair(text: str) -> tuple[int, int]:
    try:
        left, right = map(int, text.split("x"))
    except ValueError:
        raise InputError(f"{text} is not a size.", "Use 3x4.") from None
    return left, right


@dataclass(frozen=True)
class Blur:
    path: Annotated[Path, Option("Image.", argument=True)]
    width: Width = 2.0
    kernels: Annotated[tuple[str, ...], Option("Kernel.", flag="--kernel", short="-k")] = ()
    size: Annotated[
        tuple[int, int] | None,
        Option("Size.", read=pair, write=lambda size: f"{size[0]}x{size[1]}"),
    ] = None
    gray: Annotated[bool, Option("Drop colours.")] = False
    wrap: Annotated[bool, Option("Continue at the other side.")] = True
    seed: Annotated[int, Option("Seed.", always=True)] = 0
    threads: Annotated[int, Option("Threads.", repeat=False)] = 1

    def __post_init__(self) -> None:
        if self.width <= 0:
            raise InputError(f"width is {self.width}.", "Use a number above 0.")


@dataclass(frozen=True)
class Sharpen:
    width: Width = 2.0
    amount: Annotated[float, Option("Amount.")] = 1.0


seen: list[dict[str, Any]] = []
app = typer.Typer()
app.callback()(lambda: None)


@command(app, "filter")
def run_filter(
    blur: Blur,
    sharpen: Sharpen,
    *,
    as_json: Annotated[bool, Option("JSON.", flag="--json")] = False,
) -> None:
    """Filter an image.

    A paragraph
    of two lines.
    """
    seen.append({"blur": blur, "sharpen": sharpen, "as_json": as_json})


def run(*words: str) -> Result:
    return CliRunner().invoke(app, ["filter", *words])


def test_dataclasses_and_parameters_become_options() -> None:
    words = ["a.png", "-k", "box", "--kernel", "disc", "--size", "3x4", "--width", "0.5", "--gray"]
    assert run(*words, "--no-wrap", "--json", "--amount", "2").exit_code == 0
    blur = Blur(Path("a.png"), 0.5, ("box", "disc"), (3, 4), gray=True, wrap=False)
    assert seen[-1] == {"blur": blur, "sharpen": Sharpen(0.5, 2.0), "as_json": True}
    assert run("a.png").exit_code == 0
    assert seen[-1] == {"blur": Blur(Path("a.png")), "sharpen": Sharpen(), "as_json": False}


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--width", "0"), "Error: width is 0.0. Use a number above 0.\n"),
        (("--size", "3"), "Error: 3 is not a size. Use 3x4.\n"),
    ],
)
def test_errors_of_fields_are_one_sentence(words: tuple[str, ...], says: str) -> None:
    found = run("a.png", *words)
    assert (found.exit_code, found.stderr) == (2, says)


def test_help_has_each_option_once_and_joins_lines() -> None:
    text = run("--help").stdout
    assert text.count("--width") == 1 and "A paragraph of two lines." in text


def test_the_repeated_command_makes_the_same_options() -> None:
    blur = Blur(Path("in/my cat.png"), 0.5, ("box", "disc"), (3, 4), True, False, 7, threads=4)
    text = command_line("filter", blur)
    assert text == (
        "filter 'my cat.png' --width 0.5 --kernel box --kernel disc --size 3x4 --gray --no-wrap "
        "--seed 7"
    )
    assert run(*shlex.split(text)[1:]).exit_code == 0
    assert command_line("filter", seen[-1]["blur"]) == text
    assert (
        command_line("filter", Blur(Path("a")), Sharpen(amount=3)) == "filter a --seed 0 --amount 3"
    )


def test_options_without_effect_are_refused() -> None:
    refuse(Blur(Path("a")), ("kernels", "width"), "no reason")
    with pytest.raises(InputError, match=r"--kernel does not fit here: it is a test\."):
        refuse(Blur(Path("a"), kernels=("box",)), ("kernels",), "it is a test")


EVERY = (AuditOptions, BenchOptions, OverheadOptions, SweepOptions, Execution, Serving)


@pytest.mark.parametrize("kind", [*EVERY, SourceOptions, TuneOptions])
def test_every_field_is_an_option_with_a_sentence(kind: type[Any]) -> None:
    options = {field.name: field.option for field in option_fields(kind)}
    assert list(options) == [field.name for field in fields(kind)]
    for option in options.values():
        assert option.help[0].isupper() and option.help.endswith(".")


@pytest.mark.parametrize(
    "plan",
    [
        Plan("digits"),
        Plan("digits", 1, attacks=("lira(variance=example)",), protocols=("adaptive_4",)),
        Plan("cifar10", 2, size="quick", methods=("relaxloss+static", "hamp"), device="cuda"),
        Plan("digits", canaries=60),
    ],
)
def test_the_command_of_a_plan_makes_the_same_plan(
    plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dynanoise.cli import app as real

    plans: list[Plan] = []

    def stop(options: BenchOptions, **more: Any) -> Any:
        plans.append(plan_of(options, **more)[0])
        raise typer.Exit(9)

    monkeypatch.setattr("dynanoise.benchmark.plan.plan_of", stop)
    monkeypatch.setattr("dynanoise.training.devices.choose_device", lambda name: name)
    assert CliRunner().invoke(real, shlex.split(plan.command)[1:]).exit_code == 9
    assert plans == [plan]
