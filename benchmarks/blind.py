"""Rate at which the blind baseline tells members from non-members that are drawn alike.

    python benchmarks/blind.py

The lower end of its 95% interval may lie above 0.5 in 2.5% of the audits.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from dynanoise.audits.blind_baseline import blind_auc
from dynanoise.core.files import write_json
from dynanoise.evaluation.provenance import versions


def share_of_warnings(seeds: int, records: int, *, inputs: bool, shift: float = 0.0) -> float:
    """Measure the share of audits in which the blind baseline warns.

    Args:
        seeds: number of audits.
        records: N.
        inputs: True for inputs and labels, False for labels alone.
        shift: added to members' inputs, in standard deviations, and to their first class's share.

    Returns:
        In [0, 1].
    """
    warnings = 0
    for seed in range(seeds):
        generator = np.random.default_rng(seed)
        member = generator.random(records) < 0.5
        labels = generator.integers(0, 4, records)
        labels[member & (generator.random(records) < shift / 2)] = 0
        rows = generator.normal(0, 1, (records, 5)) + shift * member[:, None]
        auc = blind_auc(rows if inputs else None, labels, member.astype(np.int8), seed)
        warnings += auc is not None and float(auc.low or 0) > 0.5
    return warnings / seeds


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and write the result."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0] if __doc__ else None)
    parser.add_argument("--out", type=Path, default=Path("results/benchmarks/blind.json"))
    parser.add_argument("--seeds", type=int, default=200)
    chosen = parser.parse_args(arguments)
    rows = [
        {
            "sees": "inputs and labels" if inputs else "labels",
            "shift": shift,
            "records": records,
            "share": share_of_warnings(seeds, records, inputs=inputs, shift=shift),
        }
        for inputs, shift, records, seeds in (
            (False, 0.0, 1000, chosen.seeds),
            (True, 0.0, 1000, chosen.seeds),
            (False, 0.3, 1000, min(20, chosen.seeds)),
            (True, 0.3, 1000, min(20, chosen.seeds)),
        )
    ]
    result = {
        "command": f"python benchmarks/blind.py --seeds {chosen.seeds}",
        "versions": versions(),
        "rows": rows,
    }
    sys.stdout.write(write_json(chosen.out, result))


if __name__ == "__main__":
    main()
