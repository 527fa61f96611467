"""Sampled rows of committed runs, small enough for a page: logits, and attack scores as ranks."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Any

import numpy as np

from dynanoise.core.evidence import Evidence, Float32, Rows
from dynanoise.core.result import Result
from dynanoise.report.wording import threats

ATTACK = "lira"
"""Whose scores the page shows: the strongest attack that has a name in the literature."""

STEP = 0.01
"""Logits are rounded to it, far below any noise that a defense adds to them."""

MISSING = 65535
"""In place of the rank of a row without a score."""


def samples_of(found: Sequence[tuple[str, Evidence]]) -> dict[str, Any] | None:
    """What the page draws and attacks; None where no run has samples of an undefended model.

    The run with most protocols decides on the rows; others add their scores if theirs are the
    same pairs of model and record.

    Args:
        found: runs by folder, with their samples.
    """
    able = [(name, one) for name, one in found if one.attacks_on(_first(one), "none")]
    if not able:
        return None
    able.sort(key=lambda pair: -len({one.protocol for one in pair[1].attacks}))
    folder, base = able[0]
    rows = base.rows
    assert rows is not None
    recipe = next(one.recipe for one in base.records if one.method == "none")
    logits = rows.logits[recipe]
    kept = np.isfinite(logits).all(axis=1)
    logits, scores, arrays = logits[kept], [], list[bytes]()
    seen: set[tuple[str, str]] = set()
    for name, one in able:
        assert one.rows is not None
        if not _same(rows, one.rows):
            continue
        for sample in one.attacks:
            pair = sample.protocol, sample.method
            if sample.attack != ATTACK or pair in seen:
                continue
            if _recipe(one.records, sample.method) != recipe:
                continue
            threat = next(r.threat for r in one.records if r.protocol == sample.protocol)
            if threat.augmented or not threats.honest(threat):
                continue  # the page asks about the records themselves
            seen.add(pair)
            packed = ranks(sample.scores[kept])
            if packed not in arrays:
                arrays.append(packed)
            scores.append(
                {
                    "folder": name,
                    "protocol": sample.protocol,
                    "method": sample.method,
                    "repeats": threat.repeats,
                    "ranks": arrays.index(packed),
                }
            )
    top = np.sort(logits, axis=1)
    return {
        "folder": folder,
        "attack": ATTACK,
        "rows": int(kept.sum()),
        "classes": logits.shape[1],
        "step": STEP,
        "gap": round(float(np.median(top[:, -1] - top[:, -2])), 2),
        "models": rows.models[kept].tolist(),
        "ids": rows.ids[kept].tolist(),
        "labels": rows.labels[kept].tolist(),
        "members": "".join("1" if member else "0" for member in rows.members[kept]),
        "logits": _text(np.rint(np.clip(logits, -327, 327) / STEP).astype("<i2").tobytes()),
        "scores": scores,
        "ranks": [_text(packed) for packed in arrays],
    }


def _first(evidence: Evidence) -> str:
    return evidence.attacks[0].protocol if evidence.attacks else ""


def _recipe(records: Sequence[Result], method: str) -> str:
    return next(one.recipe for one in records if one.method == method)


def _same(one: Rows, other: Rows) -> bool:
    names = ("models", "ids", "labels", "members")
    return all(np.array_equal(getattr(one, name), getattr(other, name)) for name in names)


def ranks(scores: Float32) -> bytes:
    """Scores as dense ranks, 16 bits each, little-endian; equal scores have equal ranks.

    Everything that a ROC says survives this.

    >>> np.frombuffer(ranks(np.array([0.5, -1, 0.5, np.nan], dtype="f4")), "<u2").tolist()
    [1, 0, 1, 65535]
    """
    there = ~np.isnan(scores)
    packed = np.full(len(scores), MISSING, dtype="<u2")
    packed[there] = np.unique(scores[there], return_inverse=True)[1]
    return packed.tobytes()


def _text(content: bytes) -> str:
    return base64.b64encode(content).decode("ascii")
