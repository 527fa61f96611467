"""`dynanoise tune` as its users meet it."""

from __future__ import annotations

import json
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from dynanoise.cli import app
from dynanoise.config.configuration import Configuration
from dynanoise.defenses.dynanoise import DynaNoise
from dynanoise.noise.keys import write_secret
from dynanoise.report.io.results import read_results
from dynanoise.tuning.search import list_quantisations
from tests.factories.audit_files import arrays, probabilities


@pytest.fixture(autouse=True)
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few attacks, and some of the cells without noise."""
    monkeypatch.setattr("dynanoise.evaluation.feasibility.STRONG", ("lira", "gap", "population"))
    monkeypatch.setattr(
        "dynanoise.tuning.tuning.list_quantisations", lambda gap: list_quantisations(gap)[::3]
    )


@pytest.fixture
def file(tmp_path: Path) -> str:
    path = tmp_path / "outputs.npz"
    np.savez(path, **arrays(8, records=300))
    return str(path)


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["tune", *arguments])


def in_threads(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Run what belongs to worker processes in threads, and note how many are asked for."""
    asked: list[int] = []

    def worker_threads(workers: int, *_: object) -> ThreadPoolExecutor:
        asked.append(workers)
        return ThreadPoolExecutor(workers)

    for module in ("core.workers", "evaluation.engine"):
        monkeypatch.setattr(f"dynanoise.{module}.worker_processes", worker_threads)
    return asked


@pytest.mark.behaviour
def test_it_writes_what_deployments_read(
    file: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    found = run(file, "--trials", "6", "--workers", "1", "--out", str(out))
    assert found.exit_code == 0, found.output
    assert {one.name for one in out.iterdir()} >= {
        "defense.yaml",
        "tuned.svg",
        "results.json",
        "settings.json",
        "search.json",
    }
    configured = Configuration.read(out / "defense.yaml")
    assert isinstance(configured.defense, DynaNoise)
    marked = re.search(r"> (setting_\d|cells_\d)", found.stdout)
    assert marked is not None and f"defense.yaml: {marked[1]}" in found.stdout
    records = read_results(out / "results.json")
    own = next(one for one in records if one.method == marked[1])
    assert own.defense["base_variance"] == configured.defense.base_variance
    assert records[0].command == (
        "dynanoise tune outputs.npz --trials 6 --queries 16 --max-accuracy-drop 0.01"
    )
    assert found.stderr.startswith("Running tuning on outputs: ")
    settings = json.loads((out / "settings.json").read_text())
    assert len(settings) == 6 + 14
    how = json.loads((out / "search.json").read_text())
    assert how["settings"] == len(settings) and how["seconds"] > 0 and how["records"] > 0
    assert b"recommended, measured anew" in (out / "tuned.svg").read_bytes()
    # The same again.
    again = tmp_path / "again"
    asked = in_threads(monkeypatch)
    run(file, "--trials", "6", "--workers", "2", "--out", str(again))
    assert set(asked) == {2}
    assert (again / "defense.yaml").read_bytes() == (out / "defense.yaml").read_bytes()
    assert (again / "settings.json").read_bytes() == (out / "settings.json").read_bytes()


@pytest.mark.behaviour
def test_limits_that_nothing_keeps_to(file: str, tmp_path: Path) -> None:
    out = tmp_path / "out"
    found = run(file, "--trials", "4", "--workers", "1", "--max-nll", "0", "--out", str(out))
    assert found.exit_code == 1
    assert "no defense.yaml" in found.stdout and not (out / "defense.yaml").exists()


@pytest.mark.parametrize("kind", ["npz", "npz [1, N, K]", "parquet", "npz without test data"])
def test_too_little_is_refused_before_the_work(kind: str, tmp_path: Path) -> None:
    path = tmp_path / f"outputs.{kind[:7] if kind == 'parquet' else 'npz'}"
    files = arrays(
        8 if "without" in kind else 1, records=300, tests=0 if "without" in kind else 100
    )
    if kind == "parquet":
        parquet = pytest.importorskip("pyarrow.parquet", reason="pip install 'dynanoise[data]'")
        arrow = pytest.importorskip("pyarrow", reason="pip install 'dynanoise[data]'")
        columns = {name: files[name].tolist() for name in ("logits", "labels", "member")}
        parquet.write_table(arrow.table(columns), path)
    elif "1" in kind:
        np.savez(
            path,
            **{name: v if "labels" in name else v[None] for name, v in files.items()},
        )
    else:
        np.savez(path, **files)
    found = run(str(path), "--out", str(tmp_path / "out"))
    assert found.exit_code == 2
    problem = "outputs about 0 records of test data" if "without" in kind else "There is one model"
    assert found.stderr.startswith("Error: ") and problem in found.stderr  # no "Running ..."


@pytest.mark.behaviour
def test_models_that_return_probabilities_are_configured_so(tmp_path: Path) -> None:
    """And the gateway refuses a file that says otherwise."""
    for package in ("onnx", "onnxruntime", "starlette", "orjson"):
        pytest.importorskip(package, reason="the gateway: pip install 'dynanoise[serve]'")
    from dynanoise.core.errors import DynaNoiseError
    from dynanoise.serving.options import Serving
    from dynanoise.serving.startup import make_gateway
    from tests.serving.test_output_kinds import SOFTMAX, model

    file, weights = tmp_path / "outputs.npz", model(tmp_path / "m.onnx", *SOFTMAX)
    np.savez(file, **probabilities(arrays(8, records=300)))
    secret = tmp_path / "key"
    write_secret(secret)
    out = tmp_path / "out"
    options = ("--trials", "6", "--workers", "1", "--max-nll", "9", "--key", f"file:{secret}")
    found = run(str(file), *options, "--weights", str(weights), "--out", str(out))
    assert found.exit_code == 0, found.output
    configured = Configuration.read(out / "defense.yaml")
    assert configured.input == "probabilities" and "% of the labels" in found.stdout
    serving = Serving(defense=out / "defense.yaml", model=weights, no_auth=True, fresh=True)
    make_gateway(serving)
    text = (out / "defense.yaml").read_text()
    (out / "defense.yaml").write_text(text.replace("input: probabilities", "input: logits"))
    with pytest.raises(DynaNoiseError, match="declared as logits and holds probabilities"):
        make_gateway(serving)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--preset", "digits"), "belong to a folder of models"),
        (("--key", "ab" * 32), "The key is not a reference"),
        (("--weights", "missing.onnx"), "missing.onnx cannot be read"),
        (("--max-accuracy-drop", "-1"), "limit of accuracy drop is -1"),
    ],
)
def test_wrong_use(file: str, tmp_path: Path, arguments: tuple[str, ...], said: str) -> None:
    found = run(file, "--trials", "4", "--out", str(tmp_path / "out"), *arguments)
    assert found.exit_code == 2
    assert said in found.output and "ab" * 32 not in found.output


def test_columns_beside_outputs_have_no_options_here(tmp_path: Path) -> None:
    np.savez(tmp_path / "o.npz", ward=np.arange(200) % 3, **arrays(8))
    found = run(str(tmp_path / "o.npz"), "--out", str(tmp_path / "out"))
    assert found.exit_code == 2 and "unknown arrays: 'ward'. Leave out ward. Known" in found.stderr
    np.savez(tmp_path / "o.npz", groups=np.arange(200), by_ward=np.arange(200) % 3, **arrays(1))
    found = run(str(tmp_path / "o.npz"), "--out", str(tmp_path / "out"))
    assert "There is one model" in found.stderr  # the columns of saved outputs are read
    assert "The outputs name persons; settings are judged by record." in found.stderr


def test_a_folder_needs_a_preset(tmp_path: Path) -> None:
    found = run(str(tmp_path), "--out", str(tmp_path / "out"))
    assert found.exit_code == 2 and "--preset" in found.output


def test_a_folder_without_the_models_says_what_to_do(tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="training needs torch: pip install 'dynanoise[train]'")
    found = run(str(tmp_path / "."), "--preset", "digits", "--out", str(tmp_path / "out"))
    assert found.exit_code == 2 and "dynanoise bench" in found.output
