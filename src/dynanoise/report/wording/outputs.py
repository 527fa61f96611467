"""Names of audited outputs in sentences: undefended, or a defense with its noise."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dynanoise.core.result import SERVED, Result

NAMES = {"none": "undefended", SERVED: "the server's outputs"}
"""Outputs without a defense that is measured, by the name of their method."""


def method_title(method: str) -> str:
    """Name a method in headings and legends.

    >>> method_title("none"), method_title("dynanoise_keyed")
    ('undefended', 'dynanoise_keyed')
    """
    return NAMES.get(method, method)


def outputs_title(result: Result) -> str:
    """Name the outputs that a result is about.

    Args:
        result: a result of an audit.

    Returns:
        "undefended", "the server's outputs", or the defense with its noise, such as
        "dynanoise with keyed noise".
    """
    if result.method in NAMES:
        return NAMES[result.method]
    noise = noise_name(result.defense)
    return f"{result.method} with {noise} noise" if noise else result.method


def noise_name(defense: Mapping[str, Any]) -> str:
    """Name the noise of a defense as results describe it.

    Args:
        defense: parameters by name, as of `evaluation.provenance.describe`.

    Returns:
        "keyed", "fresh", or "" for a defense without noise.

    >>> noise_name({"name": "DynaNoise", "base_variance": 0.3})
    'fresh'
    >>> noise_name({"name": "DynaNoise", "base_variance": 0.3, "noise": {"name": "keyed"}})
    'keyed'
    >>> noise_name({"name": "Temperature", "temperature": 4.0})
    ''
    """
    if "noise" in defense:
        return str(defense["noise"]["name"])
    parts = [defense, *(value for value in defense.values() if isinstance(value, Mapping))]
    return "fresh" if any(part.get("base_variance") for part in parts) else ""
