"""Made-up results for tests of what is made from results."""

from __future__ import annotations

from dataclasses import replace

from dynanoise.core.result import Metric, Result
from dynanoise.evaluation.protocols import PAPER


def record(method: str, attack: str | None, seed: int, **metrics: float) -> Result:
    """A Result with these metrics and made-up circumstances."""
    return Result(
        dataset="made up",
        model="mlp",
        model_parameters={"hidden": [256]},
        method=method,
        recipe="plain",
        recipe_parameters={"epochs": 100},
        defense={"name": "Temperature", "temperature": 1.0},
        attack=attack,
        protocol="paper",
        threat=PAPER.threat,
        preset="made up",
        metrics={name: Metric(value) for name, value in metrics.items()},
        seed=seed,
        split=f"split {seed}",
        counts={"scored": 168},
        command="dynanoise bench digits --seeds 3",
        versions={"python": "3.11"},
        hardware={"cores": 2},
        seconds=0.5,
    )


def utility(method: str, seed: int, accuracy: float, midput: float) -> Result:
    """The Result of a method's utility."""
    return record(
        method,
        None,
        seed,
        accuracy=accuracy,
        label_flips=0.0,
        train_accuracy=1.0,
        midput=midput,
        midput_leakage=midput,
        midput_worst_case=midput,
    )


def records(temperature_asr: float = 0.5) -> list[Result]:
    """Three seeds, three methods, two attacks; every number is easy to follow."""
    rows = []
    for seed in (0, 1, 2):
        for name, asr, accuracy in (
            ("none", 0.60 + 0.01 * seed, 0.90),
            ("temperature", temperature_asr, 0.90),
            ("dynanoise", 0.50, 0.89 - 0.01 * seed),
        ):
            rows += [
                record(name, "confidence", seed, asr=asr, auc=asr),
                record(name, "loss", seed, asr=asr - 0.01, auc=asr + 0.05),
                utility(name, seed, accuracy, 0.1 * (name != "none")),
            ]
    return rows


def overhead_record(method: str, ratio: float, **changes: float) -> Result:
    """A Result of time and memory: 0.1 ms undefended alone, half of it in a batch."""
    plain = record(method, None, 0)
    metrics = {}
    for batch, milliseconds in ((1, 0.1), (256, 0.05)):
        interval = () if method == "none" else (0.98 * ratio, 1.02 * ratio)
        metrics[f"ratio_batch_{batch}"] = Metric(ratio, *interval)
        metrics[f"ms_per_record_batch_{batch}"] = Metric(ratio * milliseconds)
        metrics[f"extra_mib_batch_{batch}"] = Metric(0.005 * batch)
        if method == "none":
            metrics[f"repeat_ratio_batch_{batch}"] = Metric(1.0, 0.99, 1.02)
    metrics["fitted_mib"], metrics["model_mib"] = Metric(0.0), Metric(2.0)
    metrics |= {name: Metric(value) for name, value in changes.items()}
    return replace(plain, protocol="overhead", metrics=metrics, seconds=1.0)


def overhead_records() -> list[Result]:
    """Four methods, two of them with published values."""
    return [
        overhead_record("none", 1.0),
        overhead_record("temperature", 1.0),
        overhead_record("dynanoise", 1.25),
        overhead_record("memguard", 250.0, fitted_mib=0.336),
    ]
