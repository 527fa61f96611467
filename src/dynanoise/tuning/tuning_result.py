"""What tuning found, arranged for tables, pictures and files."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

from dynanoise.core.defense import Method
from dynanoise.report.tuned import Point, Row, Search
from dynanoise.tuning.objective import Judged
from dynanoise.tuning.search import front
from dynanoise.tuning.tuning import LABEL, NONE, Tuned


def rows_of(tuned: Tuned) -> list[Row]:
    """The best settings and the label with its accuracy, judged on the other records."""
    utility: dict[str, dict[str, Any]] = {}
    for one in tuned.records:
        if one.attack is None:
            utility.setdefault(one.method, {})[one.protocol] = one.metrics
    plain = next(iter(utility.pop(NONE).values()))
    rows = []
    for name, by_protocol in utility.items():
        own = next(iter(by_protocol.values()))
        said = {"the label with its accuracy": ""}
        rows.append(
            Row(
                name,
                said if name == LABEL else setting(tuned.finalists[name]),
                {protocol: one["midput_worst_case"] for protocol, one in by_protocol.items()},
                plain["accuracy"].value - own["accuracy"].value,
                own["nll"].value,
                own["ece"].value,
            )
        )
    return rows


def setting(method: Method) -> dict[str, str]:
    """Parameters of DynaNoise and its noise, as tables show them.

    >>> from dynanoise.defenses.dynanoise import DynaNoise
    >>> setting(Method("cells", DynaNoise(0, 0, 3, keep_label=True), cell_width=8))
    {'s0': '0', 'T': '3', 'cells': '8', 'keeps label': ''}
    """
    said: dict[str, Any] = asdict(method.defense)  # type: ignore[call-overload]
    names = {"base_variance": "s0", "lambda_scale": "lambda", "temperature": "T", "samples": "M"}
    if said["base_variance"] == 0:
        del names["lambda_scale"], names["samples"]
    found = {short: f"{said[name]:g}" for name, short in names.items()}
    width = method.cell_width
    found |= {"fresh": ""} if width is None else {"cells": f"{width:g}"}
    return found | ({"keeps label": ""} if said["keep_label"] else {})


def search_of(tuned: Tuned) -> Search:
    """All of it as points of a picture."""
    best = front([one for one in tuned.tried if tuned.limits.kept(one)])
    assert tuned.limits.nll is not None
    return Search(
        tried=[_point(one) for one in tuned.tried],
        front=[_point(one) for one in best],
        cells=[_point(one) for one in front(tuned.cells)],
        floor=_point(tuned.floor),
        plain=tuned.plain.nll,
        limit=tuned.limits.nll,
        queries=tuned.plan.queries,
        rows=[row for row in rows_of(tuned) if row.name in tuned.finalists],
        chosen=tuned.chosen,
    )


def search_json(tuned: Tuned) -> dict[str, Any]:
    """How long the search took, on what."""
    first = tuned.records[0]
    return {
        "settings": len(tuned.tried) + len(tuned.cells),
        "models": first.counts["models"],
        "records": tuned.searched,
        "workers": tuned.plan.processes,
        "seconds": round(tuned.seconds, 1),
        "command": first.command,
        "versions": dict(first.versions),
        "hardware": dict(first.hardware),
    }


def settings_json(tuned: Tuned) -> str:
    """Every setting that was tried, and the cells without noise, a line each."""
    lines = [json.dumps(_said(one)) for one in (*tuned.tried, *tuned.cells)]
    return "[\n" + ",\n".join(lines) + "\n]\n"


def _point(one: Judged) -> Point:
    return one.utility.nll, one.gain


def _said(one: Judged) -> dict[str, Any]:
    return {
        **asdict(one.method.defense),  # type: ignore[call-overload]
        "cell_width": one.method.cell_width,
        "midput_worst_case": round(one.gain, 6),
        "accuracy_drop": round(one.drop, 6),
        "nll": round(one.utility.nll, 6),
        "ece": round(one.utility.ece, 6),
    }
