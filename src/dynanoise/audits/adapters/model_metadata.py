"""Results of an audit as metadata: of a Hugging Face model card, and of a CycloneDX ML-BOM."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dynanoise.core.errors import InputError
from dynanoise.core.result import STRONGEST, Result

_NAMES = {"asr": "Balanced accuracy", "auc": "AUC", "tpr@0.01": "TPR at 1% FPR"}
TASK = "Membership inference"


def model_card_metadata(results: Sequence[Result], name: str) -> dict[str, Any]:
    """Write results as the ``model-index`` of a Hugging Face model card's metadata.

    Args:
        results: those of one audit.
        name: the model's name.

    Returns:
        A dictionary for the card's YAML header, as `huggingface_hub.model_index_to_eval_results`
        reads it.

    Raises:
        InputError: if no attack was run.
    """
    entries = [
        {
            "task": {"type": "membership-inference", "name": TASK},
            "dataset": {"type": "private", "name": result.dataset},
            "metrics": [
                {
                    "type": metric,
                    "value": round(result.metrics[metric].value, 4),
                    "name": f"{title}, {_description(result)}",
                }
                for metric, title in _NAMES.items()
                if metric in result.metrics
            ],
        }
        for result in _choices(results)
    ]
    return {"model-index": [{"name": name, "results": entries}]}


def cyclonedx_metrics(results: Sequence[Result]) -> list[dict[str, Any]]:
    """Write results as ``modelCard.quantitativeAnalysis.performanceMetrics`` of CycloneDX 1.5.

    Args:
        results: those of one audit.

    Returns:
        Entries with type, value, slice and, where there is one, the confidence interval, as texts.

    Raises:
        InputError: if no attack was run.
    """
    entries = []
    for result in _choices(results):
        for metric, title in _NAMES.items():
            if metric not in result.metrics:
                continue
            value = result.metrics[metric]
            entry: dict[str, Any] = {
                "type": f"{TASK}: {title}",
                "value": f"{value.value:.4f}",
                "slice": _description(result),
            }
            if value.low is not None and value.high is not None:
                bounds = {"lowerBound": f"{value.low:.4f}", "upperBound": f"{value.high:.4f}"}
                entry["confidenceInterval"] = bounds
            entries.append(entry)
    return entries


def _choices(results: Sequence[Result]) -> list[Result]:
    choices = [result for result in results if result.attack == STRONGEST]
    if not choices:
        raise InputError("No result is of the attacker's choice.", "Pass those of an audit.")
    return choices


def _description(result: Result) -> str:
    outputs = "undefended" if result.method == "none" else f"behind {result.method}"
    return (
        f"{outputs}, {result.threat.repeats} queries a record, {result.counts['models']} models, "
        f"{result.counts['pool']} records"
    )
