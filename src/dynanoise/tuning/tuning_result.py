"""Results of tuning, arranged for tables, pictures and files."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

from dynanoise.core.defense import Method
from dynanoise.defenses.temperature import Temperature
from dynanoise.report.charts.search_front import Point, SearchPoints
from dynanoise.report.numbers import change
from dynanoise.report.tables.settings_table import MeasuredSetting
from dynanoise.tuning.objective import Setting
from dynanoise.tuning.search import find_front
from dynanoise.tuning.tuning import LABEL, NONE, SCALED, Tuned, compare


def make_rows(tuned: Tuned) -> list[MeasuredSetting]:
    """The best settings and the label with its accuracy, on records that the search did not use.

    Args:
        tuned: the result of tuning.

    Returns:
        One row for each method but the undefended one.
    """
    utility: dict[str, dict[str, Any]] = {}
    for result in tuned.results:
        if result.attack is None:
            utility.setdefault(result.method, {})[result.protocol] = result.metrics
    plain = next(iter(utility.pop(NONE).values()))
    scaled = tuned.scaled.method.defense
    assert isinstance(scaled, Temperature)
    references = {
        LABEL: {"the label with its accuracy": ""},
        SCALED: {"scaling without noise": "", "T": f"{scaled.temperature:g}"},
    }
    rows = []
    for name, by_protocol in utility.items():
        first = next(iter(by_protocol.values()))
        rows.append(
            MeasuredSetting(
                name,
                describe_setting(tuned.finalists[name])
                if name in tuned.finalists
                else references[name],
                {protocol: m["midput_worst_case"] for protocol, m in by_protocol.items()},
                plain["accuracy"].value - first["accuracy"].value,
                first["nll"].value,
                first["ece"].value,
            )
        )
    return rows


def describe_setting(method: Method) -> dict[str, str]:
    """Parameters of DynaNoise and its noise, as tables show them.

    Args:
        method: DynaNoise with fresh or keyed noise.

    Returns:
        Values by short name; a name without a value stands alone.

    >>> from dynanoise.defenses.dynanoise import DynaNoise
    >>> describe_setting(Method("cells", DynaNoise(0, 0, 3, keep_label=True), cell_width=8))
    {'s0': '0', 'T': '3', 'cells': '8', 'keeps label': ''}
    """
    parameters: dict[str, Any] = asdict(method.defense)  # type: ignore[call-overload]
    names = {"base_variance": "s0", "lambda_scale": "lambda", "temperature": "T", "samples": "M"}
    if parameters["base_variance"] == 0:
        del names["lambda_scale"], names["samples"]
    texts = {short: f"{parameters[name]:g}" for name, short in names.items()}
    width = method.cell_width
    texts |= {"fresh": ""} if width is None else {"cells": f"{width:g}"}
    return texts | ({"keeps label": ""} if parameters["keep_label"] else {})


def compare_references(tuned: Tuned) -> list[str]:
    """Compare the best settings with the defenses that need no search.

    Args:
        tuned: the result of tuning.

    Returns:
        Sentences on settings that are beaten in every column, and on the recommended one.
    """
    sentences = [
        f"{name} is not recommended: {reference} is as good or better in every column."
        for name, references in tuned.beaten.items()
        for reference in references
    ]
    if tuned.chosen is None:
        rows = {row.name: row for row in make_rows(tuned)}
        label = rows[LABEL]
        sentences.append(
            f"{LABEL}, which needs no search, has a worst-case MIDPUT of "
            f"{change(label.worst.value)} at an NLL of {label.nll:.3f}: deploy it if the label "
            "with its accuracy is enough, or allow more with --max-nll."
        )
        return sentences
    for reference in (LABEL, SCALED):
        better = compare(tuned.results, tuned.chosen, reference)
        gained, lost = (
            ", ".join(
                f"{column} by {abs(value):.3f}"
                for column, value in better.items()
                if sign * value > 0
            )
            for sign in (1, -1)
        )
        sentences.append(
            f"Beside {reference}, {tuned.chosen} is better in {gained}"
            + (f", worse in {lost}." if lost else ".")
        )
    return sentences


def make_search(tuned: Tuned) -> SearchPoints:
    """All settings as points of a picture.

    Args:
        tuned: the result of tuning.

    Returns:
        Points of likelihood and worst-case MIDPUT.
    """
    best = find_front([setting for setting in tuned.tried if tuned.limits.satisfied(setting)])
    assert tuned.limits.nll is not None
    return SearchPoints(
        tried=[_point(setting) for setting in tuned.tried],
        front=[_point(setting) for setting in best],
        cells=[_point(setting) for setting in find_front(tuned.cells)],
        floor=_point(tuned.floor),
        plain=tuned.plain.nll,
        limit=tuned.limits.nll,
        queries=tuned.plan.queries,
        settings=[row for row in make_rows(tuned) if row.name in tuned.finalists],
        recommended=tuned.chosen,
    )


def search_json(tuned: Tuned) -> dict[str, Any]:
    """Size and duration of the search.

    Args:
        tuned: the result of tuning.

    Returns:
        Values by name that can be written as JSON.
    """
    first = tuned.results[0]
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
    """Every setting that was tried, and the cells without noise, a line each.

    Args:
        tuned: the result of tuning.

    Returns:
        JSON, a list of objects.
    """
    lines = [json.dumps(_fields(setting)) for setting in (*tuned.tried, *tuned.cells)]
    return "[\n" + ",\n".join(lines) + "\n]\n"


def _point(setting: Setting) -> Point:
    return setting.utility.nll, setting.gain


def _fields(setting: Setting) -> dict[str, Any]:
    return {
        **asdict(setting.method.defense),  # type: ignore[call-overload]
        "cell_width": setting.method.cell_width,
        "midput_worst_case": round(setting.gain, 6),
        "accuracy_drop": round(setting.drop, 6),
        "nll": round(setting.utility.nll, 6),
        "ece": round(setting.utility.ece, 6),
    }
