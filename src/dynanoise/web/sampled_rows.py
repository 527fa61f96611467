"""Sampled rows of committed runs, small enough for a page: logits, and attack scores as ranks."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from dynanoise.core.evidence import Evidence, Float32, Rows
from dynanoise.core.result import Result
from dynanoise.report.wording import threats

ATTACK = "lira"
"""The attack of the scores: the strongest that has a name in the literature."""

STEP = 0.01
"""Logits are rounded to it, far below any noise that a defense adds to them."""

MISSING = 65535
"""In place of the rank of a row without a score."""


def sampled_rows(
    runs: Sequence[tuple[str, Evidence]], folders: Mapping[tuple[str, str, str], str]
) -> dict[str, Any] | None:
    """Select the sampled rows that the page draws and attacks.

    The run that most scores are shown from decides on the rows; others add their scores if theirs
    are the same pairs of model and record.

    Args:
        runs: evidence by folder, with samples, of one data set.
        folders: the folder that a method is shown from, by data set, protocol and method; scores of
            other folders are left out.

    Returns:
        Rows as JSON values; None where no run has samples of an undefended model.
    """
    undefended = [(name, run) for name, run in runs if run.attacks_on(_first(run), "none")]
    if not undefended:
        return None
    undefended.sort(key=lambda pair: -list(folders.values()).count(pair[0]))
    folder, base = undefended[0]
    rows = base.rows
    assert rows is not None
    recipe = _recipe(base.results, "none")
    logits = rows.logits[recipe]
    kept = np.isfinite(logits).all(axis=1)
    logits, scores, arrays = logits[kept], [], list[bytes]()
    for name, run in undefended:
        assert run.rows is not None
        if not _same(rows, run.rows):
            continue
        for sample in run.attacks:
            place = run.results[0].preset, sample.protocol, sample.method
            if sample.attack != ATTACK or folders[place] != name:
                continue
            if _recipe(run.results, sample.method) != recipe:
                continue
            threat = next(r.threat for r in run.results if r.protocol == sample.protocol)
            if threat.augmented or threat.chosen or not threats.honest(threat):
                continue  # the page queries the records themselves
            packed = ranks(sample.scores[kept])
            if packed not in arrays:
                arrays.append(packed)
            scores.append(
                {
                    "protocol": sample.protocol,
                    "method": sample.method,
                    "repeats": threat.repeats,
                    "ranks": arrays.index(packed),
                }
            )
    top = np.sort(logits, axis=1)
    return {
        "folder": folder,
        "preset": base.results[0].preset,
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


def _recipe(results: Sequence[Result], method: str) -> str:
    return next(result.recipe for result in results if result.method == method)


def _same(one: Rows, other: Rows) -> bool:
    names = ("models", "ids", "labels", "members")
    return all(np.array_equal(getattr(one, name), getattr(other, name)) for name in names)


def ranks(scores: Float32) -> bytes:
    """Encode scores as dense ranks, 16 bits each, little-endian; equal scores have equal ranks.

    The ROC of the ranks is the ROC of the scores.

    >>> np.frombuffer(ranks(np.array([0.5, -1, 0.5, np.nan], dtype="f4")), "<u2").tolist()
    [1, 0, 1, 65535]
    """
    there = ~np.isnan(scores)
    packed = np.full(len(scores), MISSING, dtype="<u2")
    packed[there] = np.unique(scores[there], return_inverse=True)[1]
    return packed.tobytes()


def _text(content: bytes) -> str:
    return base64.b64encode(content).decode("ascii")
