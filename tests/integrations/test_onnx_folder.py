"""Out-of-fold models in a folder: the training's router, by every way in, and refused damage."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.factories.commands import run
from tests.factories.gateways import OTHER_SECRET, SECRET, defense_file, digest
from tests.factories.onnx_models import WEIGHTS, constant, node, save, tensor

pytest.importorskip("onnxruntime", reason="pip install 'dynanoise[onnx]'")
pytest.importorskip("safetensors", reason="files of cells need safetensors")

from dynanoise.audits.model_file import query_model
from dynanoise.core.errors import DynaNoiseError, InputError, MissingExtraError
from dynanoise.core.numerics import softmax
from dynanoise.defenses.temperature import Temperature
from dynanoise.integrations.out_of_fold.onnx_folder import MODELS, open_model, write_models
from dynanoise.noise.keyed import Keyed
from dynanoise.noise.keys import ExperimentKey, Secret
from dynanoise.onnx import DefendedSession, export, export_out_of_fold
from dynanoise.partition.cells import Cells
from dynanoise.partition.exclusion import Exclusion
from dynanoise.partition.neighbourhood import NumberNoise, sample

FOLDS = 3
GENERATOR = np.random.default_rng(3)
REFERENCE = GENERATOR.normal(size=(60, 4))
ROWS = GENERATOR.normal(size=(200, 4)).astype(np.float32)
NEAR = NumberNoise(0.05, relative=True)
CELLS = Cells.fit(REFERENCE, folds=FOLDS, width=1.0, components=2, neighbourhood=NEAR)


def graph(path: Path, fold: int, **changes: Any) -> bytes:
    """x @ WEIGHTS in the model of the first fold, twice and three times that in the others."""
    name = changes.get("name", "x")
    weights = [constant("w", WEIGHTS * np.float32(fold + 1))]
    ends = [node("MatMul", [name, "w"], ["logits"])]
    batch = changes.get("batch", "batch")
    takes, gives = [tensor(name, [batch, 4])], [tensor("logits", [batch, 3])]
    save(path, ends, takes, gives, weights, external=changes.get("external", False))
    return path.read_bytes()


def folder_of(path: Path, cells: Cells = CELLS, **changes: Any) -> Path:
    graphs = [graph(path.parent / "graph.onnx", fold, **changes) for fold in range(FOLDS)]
    write_models(path, graphs, cells, Exclusion.of(cells, ROWS))
    return path


def logits(rows: Any, cells: Cells = CELLS) -> Any:
    """What the model of each row's fold computes."""
    return rows @ WEIGHTS * (cells.fold(rows) + 1)[:, None].astype(np.float32)


@pytest.mark.behaviour
def test_no_model_that_saw_a_record_answers_any_point_near_it(tmp_path: Path) -> None:
    """The router of the folder is that of the training: 1,000 points near each record."""
    model: Any = open_model(folder_of(tmp_path / "models"))
    left_out = Exclusion.of(CELLS, ROWS).left_out
    rows, records, seen, shifted = np.arange(len(ROWS)), 0, 0, 0
    points = sample(NEAR, ROWS, np.random.default_rng(0), 1000, CELLS.scale)
    for queries in (ROWS, *points):
        folds = model.folds({"x": queries})
        records += len(folds)
        seen += int((~left_out[folds, rows]).sum())
        shifted += int((~left_out[(folds + 1) % FOLDS, rows]).sum())
        assert (folds == CELLS.fold(queries.astype(np.float64))).all()
    assert records == 1001 * len(ROWS) and seen == 0 and shifted > records / 3


def test_each_row_is_computed_by_the_graph_of_its_fold(tmp_path: Path) -> None:
    path = folder_of(tmp_path / "models")
    model = open_model(path)
    np.testing.assert_allclose(model.run({"x": ROWS}), logits(ROWS), rtol=1e-5)
    assert len(set(CELLS.fold(ROWS))) == FOLDS
    for row in ROWS[:20]:
        np.testing.assert_allclose(model.run({"x": row[None]}), logits(row[None]), rtol=1e-5)
    assert model.run({"x": ROWS[:0]}).shape == (0, 3)
    fixed = open_model(folder_of(tmp_path / "fixed", batch=7))
    np.testing.assert_allclose(fixed.run({"x": ROWS[:25]}), logits(ROWS[:25]), rtol=1e-5)


def test_sessions_answer_with_and_without_a_defense_of_outputs(tmp_path: Path) -> None:
    path = folder_of(tmp_path / "models")
    expected = logits(ROWS)
    plain = DefendedSession(path)
    np.testing.assert_allclose(plain(ROWS), softmax(expected.astype(float)), atol=1e-6)
    softer = DefendedSession(path, defense=Temperature(4.0))
    np.testing.assert_allclose(softer(ROWS), softmax(expected.astype(float) / 4), atol=1e-6)
    noise = Keyed(2.0, "m", open_model(path).digest, ExperimentKey(0))
    keyed = DefendedSession(path, noise, defense=Temperature(4.0))
    np.testing.assert_array_equal(keyed(ROWS), keyed(ROWS))
    with pytest.raises(InputError, match="3 columns, and the cells were fitted to 4"):
        plain(ROWS[:, :3])
    with pytest.raises(DynaNoiseError, match="cannot be read"):
        export(path, tmp_path / "d.onnx", Temperature(4.0))


def test_the_gateway_answers_each_query_by_the_model_of_its_group(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("orjson", reason="the gateway: pip install 'dynanoise[serve]'")
    pytest.importorskip("starlette", reason="the gateway: pip install 'dynanoise[serve]'")
    pytest.importorskip("prometheus_client", reason="the gateway: pip install 'dynanoise[serve]'")
    from dynanoise.oip.tensors import Tensor
    from dynanoise.serving.options import Serving
    from dynanoise.serving.startup import make_gateway

    monkeypatch.setenv("DYNANOISE_KEY", SECRET)
    path = folder_of(tmp_path / "shop")
    defense = defense_file(tmp_path / "defense.yaml", open_model(path).digest)
    gateway, _ = make_gateway(Serving(defense, model=path, no_auth=True))
    assert gateway.model.name == "shop"

    async def ask() -> Any:
        answer = await gateway.model.infer([Tensor("x", "FP32", ROWS)], None)
        await gateway.model.close()
        return answer.values

    np.testing.assert_allclose(asyncio.run(ask()), logits(ROWS), rtol=1e-5)
    # Keyed noise is bound to all graphs, the cells and the exclusion.
    other = replace(CELLS, key=ExperimentKey(1))
    changed = folder_of(tmp_path / "other", other)
    with pytest.raises(InputError, match="written for other weights"):
        make_gateway(Serving(defense, model=changed, no_auth=True))


def test_a_configuration_names_the_digest_of_a_folder(tmp_path: Path) -> None:
    folder, file = folder_of(tmp_path / "shop"), tmp_path / "defense.yaml"
    result = run("configure", str(folder), "--out", str(file), "--key", "env:DYNANOISE_KEY")
    assert result.exit_code == 0, result.stderr
    assert f"weights: {digest(folder / MODELS)}  # SHA-256 of shop/models.json" in file.read_text()


def test_an_audit_queries_a_folder(tmp_path: Path) -> None:
    tables: list[Any] = []
    for part, name in ((ROWS[:100], "in.npz"), (ROWS[100:], "out.npz")):
        np.savez(tmp_path / name, X=part, y=np.arange(100) % 3)
        tables.append(tmp_path / name)
    inputs = query_model(folder_of(tmp_path / "models"), None, *tables)
    np.testing.assert_allclose(inputs.logits[0], logits(ROWS), rtol=1e-5)


def test_several_inputs_are_the_columns_of_a_table(tmp_path: Path) -> None:
    """Numbers and texts, as a converter of a data frame writes them."""
    pandas = pytest.importorskip("pandas", reason="frames need: pip install pandas")

    def frame(rows: Any) -> Any:
        table = pandas.DataFrame(rows[:, :1].astype(float), columns=["age"])
        table["ward"] = np.where(rows[:, 1] > 0, "north", "south")
        table["visits"] = np.abs(rows[:, 2] * 5).astype(int)
        return table

    cells = Cells.fit(frame(REFERENCE), folds=2, width=0.5, components=2)
    kinds = {"age": 1, "ward": 8, "visits": 7}  # FLOAT, STRING, INT64 of onnx.TensorProto
    graphs = []
    for fold in range(2):
        file = tmp_path / "graph.onnx"
        ends = [
            node("Concat", ["age", "age"], ["twice"], axis=1),
            node("Mul", ["twice", "factor"], ["logits"]),
        ]
        save(
            file,
            [*ends, node("Identity", ["ward"], ["w"]), node("Identity", ["visits"], ["v"])],
            [tensor(name, ["batch", 1], kind) for name, kind in kinds.items()],
            [tensor("logits", ["batch", 2])],
            [constant("factor", np.array([1.0, 2.0], np.float32) * (fold + 1))],
        )
        graphs.append(file.read_bytes())
    table = frame(ROWS)
    write_models(tmp_path / "models", graphs, cells, Exclusion.of(cells, table))
    model: Any = open_model(tmp_path / "models")
    feed = {
        "age": table[["age"]].to_numpy(np.float32),
        "ward": table[["ward"]].to_numpy(object),
        "visits": table[["visits"]].to_numpy(np.int64),
    }
    np.testing.assert_array_equal(model.folds(feed), cells.fold(table))
    ratio = model.run(feed)[:, 0] / feed["age"][:, 0]
    np.testing.assert_allclose(ratio, cells.fold(table) + 1, rtol=1e-6)


def edited(name: str, **changes: Any) -> Callable[[Path], None]:
    def edit(folder: Path) -> None:
        file = folder / name
        file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))

    return edit


def swap(folder: Path) -> None:
    """The first two graphs change their places."""
    first, second = folder / "model_0.onnx", folder / "model_1.onnx"
    content = first.read_bytes()
    first.write_bytes(second.read_bytes())
    second.write_bytes(content)


def damage(pattern: str, part: slice = slice(-9, None)) -> Callable[[Path], None]:
    def edit(folder: Path) -> None:
        (file,) = folder.glob(pattern)
        content = bytearray(file.read_bytes())
        content[part] = bytes(byte ^ 1 for byte in content[part])
        file.write_bytes(content)

    return edit


def exclusion_of_others(folder: Path) -> None:
    """The exclusion of other records, whole in itself."""
    Exclusion.of(CELLS, ROWS[:50]).write(folder / "exclusion.json")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (edited("cells.json", version=0), "cells are of version 0, and this release reads 1"),
        (edited("cells.json", key={"seed": 5, "path": ["input cells"]}), "The key has the id"),
        (edited("cells.json", width=2.0), "cells are damaged: their digest does not fit"),
        (damage("cells-*.safetensors"), "cells are damaged: their digest does not fit"),
        (damage("exclusion.json", slice(60, 64)), "exclusion.json is damaged"),
        (exclusion_of_others, "exclusion.json is damaged"),
        (swap, "model_0.onnx is damaged: its digest is not that in models.json"),
        (edited(MODELS, version=2), "is of version 2, and this release reads 1"),
        (edited(MODELS, cells="ab" * 32), "exported with abababababab"),
        (lambda folder: (folder / "model_2.onnx").unlink(), "model_2.onnx cannot be read"),
        (lambda folder: (folder / MODELS).unlink(), "a folder that `dynanoise export` wrote"),
        (lambda folder: (folder / MODELS).write_text("{}"), "is damaged"),
    ],
)
def test_a_changed_folder_is_refused(
    change: Callable[[Path], None], message: str, tmp_path: Path
) -> None:
    folder = folder_of(tmp_path / "models")
    change(folder)
    with pytest.raises(DynaNoiseError, match=message):
        open_model(folder)


def test_a_secret_key_stays_outside_and_another_one_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CELLS_KEY", SECRET)
    cells = replace(CELLS, key=Secret("env:CELLS_KEY"))
    folder = folder_of(tmp_path / "models", cells)
    model: Any = open_model(folder)
    assert not any(SECRET.encode() in file.read_bytes() for file in folder.iterdir())
    monkeypatch.setenv("CELLS_KEY", OTHER_SECRET)
    assert (model.folds({"x": ROWS}) != replace(cells).fold(ROWS)).any()  # it was read once
    with pytest.raises(InputError, match="another one would send inputs to other models"):
        open_model(folder)
    monkeypatch.delenv("CELLS_KEY")
    with pytest.raises(DynaNoiseError, match="env:CELLS_KEY is not set"):
        open_model(folder)


def test_graphs_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    file, exclusion = tmp_path / "graph.onnx", Exclusion.of(CELLS, ROWS)
    graphs = [graph(file, fold) for fold in range(FOLDS)]
    with pytest.raises(InputError, match="2 graphs, and the cells have 3 folds"):
        write_models(tmp_path / "few", graphs[:2], CELLS, exclusion)
    other = replace(CELLS, key=ExperimentKey(4))
    with pytest.raises(InputError, match="were trained with the cells"):
        write_models(tmp_path / "other", graphs, other, exclusion)
    graphs[1] = graph(file, 1, external=True)
    write_models(tmp_path / "beside", graphs, CELLS, exclusion)
    (tmp_path / "graph.onnx.data").rename(tmp_path / "beside" / "graph.onnx.data")
    # Weights that the digest of the folder does not cover, in one of the models.
    assert open_model(tmp_path / "beside").external
    graphs[1] = graph(file, 1, name="y")
    write_models(tmp_path / "names", graphs, CELLS, exclusion)
    with pytest.raises(DynaNoiseError, match=r"Models 0 and 1 .* different inputs"):
        open_model(tmp_path / "names")


@pytest.mark.behaviour
def test_fitted_classifiers_are_exported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from sklearn.linear_model import LogisticRegression

    from dynanoise.sklearn import OutOfFoldClassifier

    labels = np.arange(len(ROWS)) % 3
    model = OutOfFoldClassifier(LogisticRegression(), cells=CELLS).fit(ROWS, labels)
    with monkeypatch.context() as missing:
        missing.setitem(__import__("sys").modules, "skl2onnx", None)
        with pytest.raises(MissingExtraError, match=r"needs skl2onnx.*pip install skl2onnx"):
            export_out_of_fold(model, tmp_path / "m", ROWS)
    pytest.importorskip("skl2onnx", reason="skl2onnx is not installed")
    export_out_of_fold(model, tmp_path / "m", ROWS)
    session = DefendedSession(tmp_path / "m", input="probabilities")
    np.testing.assert_allclose(session(ROWS), model.predict_proba(ROWS), atol=1e-5)
    few = OutOfFoldClassifier(LogisticRegression(), 2).fit(ROWS[:12], [1] + [0] * 11)
    with pytest.raises(InputError, match=r"Classifier \d was fitted to 1 of 2 classes"):
        export_out_of_fold(few, tmp_path / "few", ROWS)


def test_a_router_of_torch_takes_a_defense_and_has_weights_of_its_own() -> None:
    torch: Any = pytest.importorskip("torch", reason="pip install 'dynanoise[train]'")
    from dynanoise.torch import Defended, Router, weights_digest

    models = []
    for fold in range(FOLDS):
        layer = torch.nn.Linear(4, 3, bias=False)
        layer.weight.data = torch.from_numpy(WEIGHTS.T * np.float32(fold + 1)).contiguous()
        models.append(layer)
    router = Router(models, CELLS).eval()
    rows = torch.from_numpy(ROWS)
    # Sums of numbers about 1 round by 1e-7, of which a small sum is a larger share.
    np.testing.assert_allclose(router(rows).detach(), logits(ROWS), rtol=1e-5, atol=1e-6)
    softer = Defended(router, Temperature(4.0), None)
    np.testing.assert_allclose(softer(rows), softmax(logits(ROWS).astype(float) / 4), atol=1e-6)
    other = Router(models, replace(CELLS, key=ExperimentKey(1))).eval()
    assert weights_digest(router) != weights_digest(other)
    with pytest.raises(InputError, match="2 models, and the cells have 3 folds"):
        Router(models[:2], CELLS)
    with pytest.raises(InputError, match="without its exclusion"):
        export_out_of_fold(router, "nowhere", rows)
