"""The evaluator of MLflow audits a table with a column of members, and logs what it measured."""

from __future__ import annotations

import importlib.util
import tomllib
from importlib.metadata import EntryPoint
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from sklearn.datasets import make_classification
from sklearn.tree import DecisionTreeClassifier

from dynanoise.audits.adapters.mlflow_evaluator import (
    DynaNoiseEvaluator,
    audit_dataset,
    report_metrics,
)
from dynanoise.core.errors import InputError

ROOT = Path(__file__).parents[3]


class Frame(dict[str, Any]):
    """Columns of a data frame."""

    @property
    def columns(self) -> list[str]:
        return list(self)

    def drop(self, columns: list[str]) -> Frame:
        return Frame({name: self[name] for name in self if name not in columns})

    def __array__(self, *arguments: Any, **keywords: Any) -> Any:
        return np.column_stack(list(self.values()))


class Tree:
    """A pyfunc model whose predictions are probabilities."""

    def __init__(self, inputs: Any, labels: Any) -> None:
        self.tree = DecisionTreeClassifier(random_state=0).fit(inputs, labels)

    def predict(self, inputs: Any) -> Any:
        return self.tree.predict_proba(np.asarray(inputs))


def data() -> tuple[Any, Any]:
    """A model, and a table of its members and of others."""
    X, y = make_classification(400, n_features=6, flip_y=0.3, random_state=0)
    member = np.arange(400) % 2
    frame = Frame({f"f{i}": X[:, i] for i in range(6)}, member=member)
    dataset = SimpleNamespace(features_data=frame, labels_data=y, name="table")
    return Tree(X[member == 1], y[member == 1]), dataset


def test_metrics_are_those_of_the_audit() -> None:
    model, dataset = data()
    report = audit_dataset(model, dataset, {"member": "member", "attacks": ["threshold"]})
    metrics = report_metrics(report)
    assert metrics["membership_auc_low"] > 0.5
    assert metrics["membership_auc_low"] <= metrics["membership_auc"]
    assert not any("@" in name for name in metrics)
    with pytest.raises(InputError, match="names the column of members as 'nowhere'"):
        audit_dataset(model, dataset, {"member": "nowhere"})
    assert DynaNoiseEvaluator.can_evaluate(model_type="classifier", evaluator_config={})
    assert not DynaNoiseEvaluator.can_evaluate(model_type="regressor", evaluator_config={})


def test_the_entry_point_names_the_evaluator() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    group = "mlflow.model_evaluator"
    ((name, value),) = project["entry-points"][group].items()
    assert name == "dynanoise"
    assert EntryPoint(name, value, group).load() is DynaNoiseEvaluator


@pytest.mark.skipif(importlib.util.find_spec("mlflow") is None, reason="mlflow is not installed")
@pytest.mark.behaviour
@pytest.mark.filterwarnings("ignore")
def test_mlflow_evaluates_with_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mlflow: Any = importlib.import_module("mlflow")
    pandas: Any = importlib.import_module("pandas")
    registry: Any = importlib.import_module("mlflow.models.evaluation.evaluator_registry")
    registry._model_evaluation_registry.register("dynanoise", DynaNoiseEvaluator)
    monkeypatch.chdir(tmp_path)
    mlflow.set_tracking_uri(f"sqlite:///{tmp_path}/runs.db")
    X, y = make_classification(400, n_features=6, flip_y=0.3, random_state=0)
    member = np.arange(400) % 2
    frame = pandas.DataFrame(X, columns=[f"f{i}" for i in range(6)])
    tree = DecisionTreeClassifier(random_state=0).fit(frame[member == 1], y[member == 1])
    table = frame.assign(member=member, label=y)
    with mlflow.start_run() as run:
        trusted = ["sklearn.tree._tree.Tree"]
        info = mlflow.sklearn.log_model(tree, name="model", skops_trusted_types=trusted)
        result = mlflow.models.evaluate(
            info.model_uri,
            table,
            targets="label",
            model_type="classifier",
            evaluators="dynanoise",
            evaluator_config={"member": "member", "attacks": ["threshold"]},
        )
    assert result.metrics["membership_auc_low"] > 0.5
    logged = mlflow.get_run(run.info.run_id).data.metrics
    assert logged["membership_auc"] == result.metrics["membership_auc"]
