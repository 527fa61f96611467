"""Rate at which groups of records that leak no more than others are reported.

    python benchmarks/groups.py

Scores have parts that all models share about a record, and no leak; a finding is a group whose
interval, corrected for the number of groups, lies above 0.5 and above the AUC of all records. No
more than 5% of the audits may have one.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from dynanoise.core.files import write_json
from dynanoise.core.numerics import Int64
from dynanoise.evaluation.provenance import versions
from dynanoise.metrics.bootstrap import PoolScores
from dynanoise.metrics.groups import group_metrics
from dynanoise.metrics.two_way import two_way_metrics


def leak_in_one_group(
    models: int, records: int, groups: int, leak: float, seed: int
) -> tuple[PoolScores, Int64]:
    """Make scores that are higher for the members of group 0.

    Args:
        models: M.
        records: N.
        groups: number of groups, about equally large.
        leak: added to scores of members, in standard deviations.
        seed: seed of all random numbers.

    Returns:
        Scores [M, N], and the group of each record.
    """
    generator = np.random.default_rng(seed)
    members = generator.random((models, records)) < 0.5
    shared = generator.normal(0, 0.8, records)
    scores = shared + generator.normal(0, 0.6, (models, records))
    ward = generator.permutation(np.arange(records) % groups)
    scores += leak * (members & (ward == 0))
    return PoolScores(scores, scores > leak / 2, members, np.ones_like(members)), ward


def share_of_false_findings(seeds: int, models: int, records: int, groups: int) -> float:
    """Measure the share of audits in which a group without a leak is found.

    Args:
        seeds: number of audits.
        models: M.
        records: N.
        groups: number of groups.

    Returns:
        In [0, 1].
    """
    findings = 0
    for seed in range(seeds):
        scores, ward = leak_in_one_group(models, records, groups, 0.0, seed)
        overall = two_way_metrics(scores, ())["auc"].value
        metrics = group_metrics(scores, {"ward": ward}, ())
        lows = [float(metric.low or 0) for name, metric in metrics.items() if name.endswith("auc")]
        findings += max(lows, default=0.0) > max(0.5, overall)
    return findings / seeds


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and write the result."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0] if __doc__ else None)
    parser.add_argument("--out", type=Path, default=Path("results/benchmarks/groups.json"))
    parser.add_argument("--seeds", type=int, default=200)
    chosen = parser.parse_args(arguments)
    rows = [
        {
            "models": models,
            "records": records,
            "groups": groups,
            "share": share_of_false_findings(chosen.seeds, models, records, groups),
        }
        for models, records, groups in ((1, 1000, 10), (4, 800, 8), (8, 1200, 12))
    ]
    result = {
        "command": f"python benchmarks/groups.py --seeds {chosen.seeds}",
        "versions": versions(),
        "rows": rows,
    }
    sys.stdout.write(write_json(chosen.out, result))


if __name__ == "__main__":
    main()
