"""The command line as a whole: help, version, and wrong use of any command."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
import textwrap

import pytest

from dynanoise.cli.main import COMMANDS
from dynanoise.cli.options import Command
from tests.factories.commands import run
from tests.factories.waiting import LONG


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
            [sys.executable, "-c", code, option],
            capture_output=True,
            text=True,
            check=False,
            timeout=LONG,
        )
        assert done.returncode == 0, done.stderr
        direct = subprocess.run(
            [sys.executable, *way, option], capture_output=True, check=False, timeout=LONG
        )
        assert direct.returncode == 0


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


@pytest.mark.parametrize("function", COMMANDS, ids=lambda function: function.__name__)
def test_help_begins_with_a_verb_and_ends_with_examples_that_parse(function: Command) -> None:
    name = function.__name__
    text = run(name, "--help").stdout
    verbs = "Audit|Measure|Search|Write|Serve|Put|Train,|Vary|Print|Show|Advise|Check"
    assert re.search(rf"Usage: [^\n]*\s+({verbs}) ", text), text[:300]
    _, _, examples = text.partition("Examples:")
    known = set(re.findall(r"--[a-z-]+", text))
    lines = list(filter(None, re.split(r"\s+(?=dynanoise )", " " + " ".join(examples.split()))))
    assert lines
    for line in lines:
        words = shlex.split(line)
        assert words[0] == "dynanoise" and words[1] in {each.__name__ for each in COMMANDS}
        assert words[1] != name or {word for word in words if word.startswith("--")} <= known, line
