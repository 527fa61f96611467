"""An evaluator of MLflow: `mlflow.models.evaluate(..., evaluators="dynanoise")` audits a model.

MLflow finds it by the entry-point group ``mlflow.model_evaluator``.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from dynanoise.audits.audit_report import AuditReport
from dynanoise.audits.columns import Columns
from dynanoise.audits.inputs import check_inputs
from dynanoise.audits.pool_audit import AuditPlan, audit_pool
from dynanoise.core.errors import InputError
from dynanoise.core.extras import require
from dynanoise.core.result import STRONGEST
from dynanoise.evaluation.provenance import Provenance

_LOGGED = ("asr", "auc", "tpr@0.01", "tpr@0.001")


class DynaNoiseEvaluator:
    """Audits the probabilities of a classifier on an evaluation data set.

    The evaluator's configuration names the column that tells the members, ``member``, and may hold
    ``attacks``, a list of specifications, and ``seed``. Metrics of the attacker's choice are logged
    as ``membership_auc`` and so on, with the ends of their 95% intervals, and the report as
    ``dynanoise.html``.
    """

    @classmethod
    def can_evaluate(
        cls, *, model_type: str, evaluator_config: dict[str, Any], **kwargs: Any
    ) -> bool:
        """True for classifiers."""
        return model_type == "classifier"

    def evaluate(
        self,
        *,
        model_type: str,
        dataset: Any,
        run_id: str,
        evaluator_config: dict[str, Any],
        model: Any = None,
        **kwargs: Any,
    ) -> Any:
        """Audit a model, and log metrics and the report with its run.

        Args:
            model_type: "classifier".
            dataset: MLflow's evaluation data set, features and labels.
            run_id: the run to log into.
            evaluator_config: ``member`` and options, see the class.
            model: a pyfunc model whose predictions are probabilities [N, K], or which wraps an
                estimator with predict_proba.
            **kwargs: further arguments of MLflow, which are not used.

        Returns:
            MLflow's `EvaluationResult` with the metrics.

        Raises:
            InputError: if the configuration names no column of members.
            MissingExtraError: if MLflow is not installed.
        """
        mlflow = require("mlflow", "Logging an audit to MLflow")
        report = audit_dataset(model, dataset, evaluator_config)
        metrics = report_metrics(report)
        client = mlflow.MlflowClient()
        for name, value in metrics.items():
            client.log_metric(run_id, name, value)
        with tempfile.TemporaryDirectory() as folder:
            page = Path(folder) / "dynanoise.html"
            page.write_text(report.to_html())
            client.log_artifact(run_id, str(page))
        return mlflow.models.EvaluationResult(metrics=metrics, artifacts={})


def audit_dataset(model: Any, dataset: Any, options: dict[str, Any]) -> AuditReport:
    """Audit the probabilities of a model on a data set with a column of members.

    Args:
        model: pyfunc model.
        dataset: MLflow's evaluation data set.
        options: the evaluator's configuration.

    Returns:
        The report.

    Raises:
        InputError: if the configuration names no column of the data set.
    """
    features, column = dataset.features_data, options.get("member")
    if column is None or column not in list(getattr(features, "columns", [])):
        raise InputError(
            f"evaluator_config names the column of members as {column!r}.",
            "Pass evaluator_config={'member': NAME} with a column of 1 for records that the model "
            "was trained on and 0 for others.",
        )
    inputs = features.drop(columns=[column])
    seed = int(options.get("seed", 0))
    outputs = check_inputs(
        str(dataset.name or "dataset"),
        probs=_probabilities(model, inputs),
        labels=np.asarray(dataset.labels_data),
        member=np.asarray(features[column]),
    )
    plan = AuditPlan(attacks=options.get("attacks", ()))
    command = "mlflow.models.evaluate(..., evaluators='dynanoise')"
    provenance = Provenance(outputs.name, "MLflow model", command)
    columns = Columns(inputs=np.asarray(inputs))
    return audit_pool(outputs.pool(seed), plan, provenance, columns=columns)


def _probabilities(model: Any, inputs: Any) -> Any:
    """Probabilities [N, K]: of the estimator inside where there is one, else the predictions."""
    inside = getattr(getattr(model, "_model_impl", None), "sklearn_model", None)
    if inside is not None and hasattr(inside, "predict_proba"):
        return np.asarray(inside.predict_proba(inputs))
    return np.asarray(model.predict(inputs))


def report_metrics(report: AuditReport) -> dict[str, float]:
    """Metrics of the attacker's choice by names of MLflow, with the ends of their intervals.

    Args:
        report: the report of one model.

    Returns:
        ``membership_auc``, ``membership_auc_low`` and so on; MLflow's names do not hold "@".
    """
    choice = next(result for result in report.results if result.attack == STRONGEST)
    metrics: dict[str, float] = {}
    for name in _LOGGED:
        if name not in choice.metrics:
            continue
        metric, title = choice.metrics[name], f"membership_{name.replace('@', '_at_')}"
        ends = {"": metric.value, "_low": metric.low, "_high": metric.high}
        metrics |= {f"{title}{end}": value for end, value in ends.items() if value is not None}
    return metrics
