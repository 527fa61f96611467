"""Attacks with few or no shadow models: LiRA with three variances, BASE, RMIA and others on digits.

    python -m benchmarks.few_shadows

64 MLPs are trained on random halves of 1,200 of scikit-learn's digits; each of some targets is
attacked with k in- and k out-models of every record, drawn from the 63 others. The population of
RMIA and of quantile regression are the other 597 digits. The last two attacks learn nothing from
shadow models: quantile regression reads inputs, Attack-P has one threshold for all records.
"""

from __future__ import annotations

import argparse
import sys
import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier
from threadpoolctl import threadpool_limits

from dynanoise.core import numerics
from dynanoise.core.files import write_json
from dynanoise.core.membership import balance_shadows, has_shadows, shadows_per_record
from dynanoise.core.observation import Observation, ShadowObservations
from dynanoise.core.outputs import Outputs
from dynanoise.core.registry import ATTACKS
from dynanoise.core.seeding import derive
from dynanoise.evaluation.provenance import versions
from dynanoise.evaluation.responses import observe_undefended
from dynanoise.metrics.intervals import mean
from dynanoise.metrics.roc import roc

NAMES = (
    "lira",
    "lira(variance=example)",
    "lira(variance=bayesian)",
    "tempered_ratio(temperature=1)",
    "tempered_ratio",
    "rmia",
    "quantile_regression(least=500)",
    "population",
)

POOL = 1_200


def train(models: int, seed: int) -> tuple[tuple[Observation, ...], Outputs, float]:
    """Train MLPs on random halves of the first digits.

    Args:
        models: M.
        seed: seed of the halves and of the models.

    Returns:
        Observations [M] of the first 1,200, with the others as population, and outputs on the
        first 1,200 with their membership; and accuracy on the others.
    """
    inputs, labels = load_digits(return_X_y=True)
    order = np.random.default_rng(derive(seed, "order")).permutation(len(labels))
    inputs, labels = inputs[order] / 16, labels[order]
    use = (np.random.default_rng(derive(seed, "use")).random((models, POOL)) < 0.5).astype(np.int8)
    logits = []
    for model, member in enumerate(use):
        rows = np.flatnonzero(member)
        classifier = MLPClassifier((64,), max_iter=150, random_state=model)
        with warnings.catch_warnings(), threadpool_limits(1):
            warnings.simplefilter("ignore", ConvergenceWarning)
            classifier.fit(inputs[rows], labels[rows])
        logits.append(numerics.log_probabilities(classifier.predict_proba(inputs)))
    stacked, ids = np.stack(logits), np.arange(len(labels))
    nowhere = np.zeros((models, len(labels) - POOL), dtype=np.int8)
    pool = Outputs(stacked[:, :POOL, None], labels[:POOL], ids[:POOL], use)
    beyond = Outputs(stacked[:, POOL:, None], labels[POOL:], ids[POOL:], nowhere)
    observed = tuple(
        replace(observation, inputs=inputs, population=replace(population, inputs=inputs))
        for observation, population in zip(
            observe_undefended(pool).observations,
            observe_undefended(beyond).observations,
            strict=True,
        )
    )
    accuracy = float((stacked[:, POOL:].argmax(axis=2) == labels[POOL:]).mean())
    return observed, pool, accuracy


def measure(
    everyone: tuple[Observation, ...], pool: Outputs, shadows: int, targets: int, seed: int
) -> dict[str, Any]:
    """Attack the first models with few shadow models of each record.

    Args:
        everyone: observations of all models.
        pool: their outputs, with membership.
        shadows: in- and out-models of each record together, half of either kind; all others for
            M - 1.
        targets: number of models that are attacked.
        seed: seed of the draw of shadow models.

    Returns:
        AUC and TPR at 1% FPR of each attack, means over the targets with their intervals.
    """
    use = pool.use
    aucs: dict[str, list[float]] = {name: [] for name in NAMES}
    tprs: dict[str, list[float]] = {name: [] for name in NAMES}
    for target in range(targets):
        others = [model for model in range(len(use)) if model != target]
        most = shadows_per_record(use[others])
        k = min(shadows // 2, most)
        kept = balance_shadows(use[others], k, derive(seed, "shadows", shadows, target))
        of_target = ShadowObservations(
            tuple(everyone[model] for model in others), kept, pool, tuple(others)
        )
        scored = has_shadows(kept)
        for name in NAMES:
            scores = ATTACKS.build(name).fit(of_target).score(everyone[target])[scored]
            curve = roc(scores, use[target][scored] == 1)
            aucs[name].append(curve.auc)
            tprs[name].append(float(curve.tpr[curve.fpr <= 0.01 + 1e-12].max()))
    return {
        "shadows": shadows,
        "k": k,
        "attacks": {
            name: {"auc": vars(mean(aucs[name])), "tpr@0.01": vars(mean(tprs[name]))}
            for name in NAMES
        },
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Train, attack and write the result."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0] if __doc__ else None)
    parser.add_argument("--out", type=Path, default=Path("results/benchmarks/few_shadows.json"))
    parser.add_argument("--models", type=int, default=64)
    parser.add_argument("--targets", type=int, default=16)
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args(arguments)
    everyone, pool, accuracy = train(chosen.models, chosen.seed)
    rows = [
        measure(everyone, pool, shadows, chosen.targets, chosen.seed)
        for shadows in (2, 4, 8, 16, chosen.models - 1)
    ]
    result = {
        "command": f"python -m benchmarks.few_shadows --models {chosen.models} --targets "
        f"{chosen.targets} --seed {chosen.seed}",
        "versions": versions(),
        "accuracy": round(accuracy, 4),
        "rows": rows,
    }
    sys.stdout.write(write_json(chosen.out, result))


if __name__ == "__main__":
    main()
