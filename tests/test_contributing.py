"""CONTRIBUTING's example is what it claims: one file, and nothing else needs an edit."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

from tests.factories.waiting import LONG

ROOT = Path(__file__).parent.parent

pytestmark = pytest.mark.process


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the repository with the example in it."""
    root = tmp_path_factory.mktemp("contributor")
    for name in ("src", "tests"):
        shutil.copytree(ROOT / name, root / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", root)
    text = (ROOT / "CONTRIBUTING.md").read_text()
    block = re.search(r"<!-- rounding\.py -->\n```python\n(.*?)```", text, re.DOTALL)
    assert block is not None
    (root / "src/dynanoise/defenses/rounding.py").write_text(block.group(1))
    return root


@pytest.mark.parametrize(
    "check",
    [
        ["pytest", "-p", "no:cacheprovider", "-k", "rounding", "tests/contract/test_defenses.py"],
        [
            *("pytest", "-p", "no:cacheprovider", "--doctest-modules"),
            *("src/dynanoise/core/registry.py", "src/dynanoise/defenses"),
        ],
        ["ruff", "check", "--no-cache", "src/dynanoise/defenses"],
        ["ruff", "format", "--no-cache", "--check", "src/dynanoise/defenses"],
        # What `make check` found out about the other files takes it twelve seconds without.
        ["mypy", "--cache-dir", str(ROOT / ".mypy_cache"), "src/dynanoise/defenses/rounding.py"],
    ],
    ids=lambda check: " ".join(word for word in check if not word.startswith(("-", "/"))),
)
def test_the_example_passes_every_check_as_it_stands(copy: Path, check: list[str]) -> None:
    pytest.importorskip(check[0], reason=f"{check[0]} comes with: pip install 'dynanoise[dev]'")
    done = subprocess.run(
        [sys.executable, "-m", *check],
        cwd=copy,
        env={"PYTHONPATH": str(copy / "src"), "PATH": ""},
        capture_output=True,
        text=True,
        check=False,
        timeout=LONG,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_copy_really_has_the_new_defense(copy: Path) -> None:
    code = "from dynanoise.core.registry import DEFENSES; print(DEFENSES.names())"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={"PYTHONPATH": str(copy / "src"), "PATH": ""},
        capture_output=True,
        text=True,
        check=True,
        timeout=LONG,
    )
    assert "rounding" in done.stdout


def test_the_workflow_runs_what_a_contributor_runs_and_the_version_is_one() -> None:
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text())
    steps = workflow["jobs"]["all"]["steps"]
    assert [step for step in steps if "run" in step] == [{"run": ".ci/run"}]
    makefile = (ROOT / "Makefile").read_text()
    for target in re.findall(r"^make ([\w-]+)", (ROOT / ".ci" / "run").read_text(), re.MULTILINE):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    dated = re.search(r"^## \[(\d[\w.]+)\] - (\S+)$", (ROOT / "CHANGELOG.md").read_text(), re.M)
    assert dated is not None
    assert project["version"] == citation["version"] == dated[1]
    assert str(citation["date-released"]) == dated[2]
    forms = sorted((ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml"))
    assert forms and all({"name", "body"} <= set(yaml.safe_load(f.read_text())) for f in forms)
