"""Snippets and notebooks of the documentation run, and its links lead somewhere."""

from __future__ import annotations

import json
import re
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from dynanoise.noise.keys import write_secret

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
NOTEBOOKS = sorted((ROOT / "docs" / "notebooks").glob("*.ipynb"))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_between_files_lead_somewhere(page: Path) -> None:
    text = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
    targets = re.findall(r"\]\(\s*([^)\s#]+)", text)
    for target in targets:
        if "://" in target or target.startswith("mailto:"):
            continue
        generated = {"project/contributing.md": "CONTRIBUTING.md"}
        place = next((root for end, root in generated.items() if target.endswith(end)), None)
        assert (ROOT / place if place else page.parent / target).exists(), target


def _intervals(value: Any) -> Iterator[tuple[float, float, float]]:
    """Numbers with their intervals anywhere in a file of results."""
    if isinstance(value, dict):
        if value.get("low") is not None:
            yield value["value"], value["low"], value["high"]
        value = list(value.values())
    if isinstance(value, list):
        if len(value) == 3 and all(isinstance(each, float) for each in value):
            yield value[0], value[1], value[2]
        for each in value:
            yield from _intervals(each)


@pytest.mark.behaviour
def test_intervals_in_prose_are_those_of_committed_results() -> None:
    committed = {
        tuple(f"{number:+.3f}" for number in interval)
        for file in (ROOT / "results").rglob("*.json")
        for interval in _intervals(json.loads(file.read_text()))
    }
    number = r"([+-]?0?\.\d{3})"
    quoted = 0
    for page in PAGES:
        if page.parent.name == "results" or page.name == "results.md":
            continue  # made from results as a whole; intervals over seeds are not in the files
        text = re.sub(r"<!-- (\S+) -->.*?<!-- end of \1 -->", "", page.read_text(), flags=re.DOTALL)
        for interval in re.findall(rf"{number}\s\[{number},\s{number}\]", text):
            assert tuple(f"{float(part):+.3f}" for part in interval) in committed, (page, interval)
            quoted += 1
    assert quoted > 50


@pytest.mark.behaviour
@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda notebook: notebook.stem)
def test_notebooks_run_from_top_to_bottom(notebook: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("pandas", reason="frames of users")
    pytest.importorskip("matplotlib", reason="charts need: pip install 'matplotlib>=")
    monkeypatch.setenv("MPLBACKEND", "agg")
    namespace: dict[str, Any] = {}
    for cell in json.loads(notebook.read_text())["cells"]:
        if cell["cell_type"] == "code":
            exec(compile("".join(cell["source"]), notebook.name, "exec"), namespace)
            assert cell["outputs"] == []  # made anew by readers, never stale
    assert len(namespace) > 5


def test_the_snippets_of_the_readme_use_functions_that_exist(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    text = (ROOT / "README.md").read_text()
    blocks = [b for b in re.findall(r"```python\n(.*?)```", text, re.DOTALL) if ">>>" not in b]
    calls: list[str] = []
    module = types.ModuleType("dynanoise")
    import dynanoise

    def record(name: str) -> Any:
        function = getattr(dynanoise, name)

        def call(*arguments: Any) -> Any:
            calls.append(function.__name__)
            assert len(arguments) == 3
            return types.SimpleNamespace(save=dynanoise.AuditReport.save.__get__)

        return call

    module.audit, module.audit_training = record("audit"), record("audit_training")  # type: ignore[attr-defined]
    model = types.SimpleNamespace(predict_proba=lambda X: np.ones((2, 2)) / 2)
    names = {"estimator": None, "train": None, "X": None, "y": [0, 1], "member": [0, 1]}
    saved = sys.modules["dynanoise"]
    sys.modules["dynanoise"] = module
    try:
        exec("\n".join(blocks), {**names, "np": np, "model": model})
    finally:
        sys.modules["dynanoise"] = saved
    assert calls == ["audit", "audit_training"]
    with np.load("outputs.npz") as file:
        assert sorted(file) == ["labels", "member", "probs"]


def test_the_application_of_the_guide_answers_defended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """FastAPI is stood in for by its decorator; the model, the key and the defense are real."""
    text = (ROOT / "docs" / "how_to" / "fastapi.md").read_text()
    block = re.search(r"<!-- fastapi -->\n```python\n(.*?)```", text, re.DOTALL)
    assert block is not None
    inputs = np.random.default_rng(0).normal(size=(60, 3))
    model = LogisticRegression().fit(inputs, inputs[:, 0] > 0)
    routes: dict[str, Any] = {}

    class FastAPI:
        def post(self, address: str) -> Any:
            return lambda function: routes.setdefault(address, function)

    stand_in = types.ModuleType("fastapi")
    stand_in.FastAPI = FastAPI  # type: ignore[attr-defined]
    joblib = types.ModuleType("joblib")
    joblib.load = lambda path: model  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "fastapi", stand_in)
    monkeypatch.setitem(sys.modules, "joblib", joblib)
    write_secret(tmp_path / "key")
    monkeypatch.setenv("DYNANOISE_KEY", (tmp_path / "key").read_text().strip())
    exec(block.group(1), {"__name__": "application"})
    answers = [routes["/predict"](inputs[:4].tolist()) for _ in range(2)]
    assert answers[0] == answers[1] and len(answers[0]) == 4
    assert not np.allclose(answers[0], model.predict_proba(inputs[:4]))
