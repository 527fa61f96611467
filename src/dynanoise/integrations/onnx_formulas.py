"""DynaNoise as nodes of an ONNX graph, in float32, with the standard normals as an input.

The formulas are those of `DynaNoise.__call__`, in its order. In float32, everything is shifted by
the row's largest value before it is divided or exponentiated, and logarithms of probabilities below
e^-100 count as -100 in the entropy, to which they add nothing that float32 can hold.
"""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np

from dynanoise.core import numerics
from dynanoise.core.defense import Defense
from dynanoise.core.errors import InputError
from dynanoise.core.extras import require
from dynanoise.defenses.dynanoise import DynaNoise
from dynanoise.defenses.temperature import Temperature

LARGEST = float(np.finfo(np.float32).max)
_SMALLEST = float(np.finfo(np.float32).tiny)
_FAINT = -100.0
_NEXT = 1 + 2.0**-23
"""Factor by which a positive float32 grows by one or two units in the last place."""


class Builder:
    """Nodes and constants to add to a graph, with names that are free there.

    Args:
        taken: every name in the graph.

    Attributes:
        nodes: nodes so far.
        constants: constants so far.
    """

    def __init__(self, taken: set[str]) -> None:
        self._helper = require("onnx.helper", "Writing an ONNX graph")
        self._numpy = require("onnx.numpy_helper", "Writing an ONNX graph")
        self.taken = set(taken)
        self.nodes: list[Any] = []
        self.constants: list[Any] = []

    def name(self, preferred: str) -> str:
        """A free name: the preferred one, or dynanoise_NAME, dynanoise_NAME_2 ..."""
        base = preferred if preferred.startswith("dynanoise") else f"dynanoise_{preferred}"
        numbered = (f"{base}_{number}" for number in itertools.count(2))
        candidates = itertools.chain([preferred, base], numbered)
        free = next(name for name in candidates if name not in self.taken)
        self.taken.add(free)
        return free

    def node(self, kind: str, *inputs: str, output: str | None = None, **attributes: Any) -> str:
        """Add a node and return the name of its output."""
        name = self.name(f"dynanoise/{kind}")
        result = output or self.name(f"{name}:0")
        self.nodes.append(
            self._helper.make_node(kind, list(inputs), [result], name=name, **attributes)
        )
        return result

    def number(self, value: float) -> str:
        """Add a float32 constant without axes."""
        return self._constant(np.array(value, np.float32))

    def integers(self, *values: int) -> str:
        """Add an int64 constant with one axis."""
        return self._constant(np.array(values, np.int64))

    def double(self, value: float) -> str:
        """Add a float64 constant without axes."""
        return self._constant(np.array(value, np.float64))

    def _constant(self, value: Any) -> str:
        name = self.name("dynanoise/constant")
        self.constants.append(self._numpy.from_array(value, name))
        return name


def setting_of(defense: Defense) -> DynaNoise:
    """The DynaNoise with the same outputs, if a float32 graph can compute them.

    Args:
        defense: `DynaNoise` or `Temperature`.

    Raises:
        InputError: for another defense, or a parameter that float32 cannot hold.

    >>> setting_of(Temperature(4)).base_variance
    0.0
    """
    if isinstance(defense, Temperature):
        defense = DynaNoise(base_variance=0, temperature=defense.temperature)
    if not isinstance(defense, DynaNoise):
        name = type(defense).__name__
        raise InputError(
            f"{name} cannot be written into a graph.",
            "Export dynanoise or temperature. For static noise, fit Static and export the "
            "DynaNoise that fit(view) returns."
            if name == "Static"
            else "Export dynanoise or temperature, or run it in Python with DefendedSession("
            "model, noise, defense=...).",
        )
    largest = defense.base_variance * (1 + defense.lambda_scale)
    for name, value in (
        ("base_variance", defense.base_variance),
        ("lambda_scale", defense.lambda_scale),
        ("temperature", defense.temperature),
        ("base_variance (1 + lambda_scale)", largest),
    ):
        if value and not _SMALLEST <= value <= LARGEST:
            raise InputError(
                f"{name} is {value!r}, which float32 does not hold.", "Use an ordinary number."
            )
    if defense.sensitivity not in ("entropy", "max_probability", "margin"):
        raise InputError(
            f"The sensitivity {defense.sensitivity!r} cannot be written into a graph.",
            "Use entropy, max_probability or margin.",
        )
    return defense


def logits_of(build: Builder, probs: str) -> str:
    """Add ln max(p, tiny), where tiny is `numerics.TINY`."""
    positive = build.node("Greater", probs, build.number(0))
    return build.node(
        "Where", positive, build.node("Log", probs), build.number(np.log(numerics.TINY))
    )


def add_defense(
    build: Builder,
    values: tuple[str, str],
    noise: str | None,
    setting: DynaNoise,
    *,
    classes: int,
    axis: int,
) -> str:
    """Add the defense.

    Args:
        build: gets the nodes.
        values: names of the logits, float32 [..., K], and of the tensor they were computed from,
            whose argmax is the label: logarithms and rounding make ties.
        noise: name of the standard normals, float32 [samples, ..., K]; None where the setting has
            no variance.
        setting: the parameters, from `setting_of`.
        classes: number of classes K.
        axis: axis of the classes, the last, counted from 0: runtimes disagree about negative axes
            of a scatter.

    Returns:
        Name of the probabilities, float32 [..., K].
    """
    logits, clean = values
    last = build.integers(-1)
    shifted = _shifted(build, logits, last)
    noisy = shifted
    if noise is not None:
        # Fewer normals than logits would be repeated over the rows without this.
        rows = build.node("Shape", logits)
        shape = build.node("Concat", build.integers(setting.samples), rows, axis=0)
        normals = build.node("Reshape", noise, shape)
        sigma = build.node("Sqrt", _variance(build, shifted, setting, classes, last))
        noisy = build.node("Add", shifted, build.node("Mul", normals, sigma))
        noisy = _shifted(build, noisy, last)
    tempered = build.node("Div", noisy, build.number(setting.temperature))
    probs = build.node("Softmax", tempered, axis=-1)
    if noise is not None:
        probs = build.node("ReduceMean", probs, build.integers(0), keepdims=0)
    if setting.keep_label:
        labels = build.node("ArgMax", clean, axis=-1, keepdims=1)
        return _favour(build, _exchange_top(build, probs, labels, axis), labels, axis)
    if noise is not None and setting.samples > 1:
        return probs
    winners = build.node("ArgMax", clean if noise is None else noisy, axis=-1, keepdims=1)
    if noise is not None:
        winners = build.node("Squeeze", winners, build.integers(0))
    return _favour(build, probs, winners, axis)


def _shifted(build: Builder, values: str, last: str) -> str:
    """Rows minus their maximum; -infinity below float32, a probability of 0."""
    return build.node("Sub", values, build.node("ReduceMax", values, last, keepdims=1))


def _variance(build: Builder, shifted: str, setting: DynaNoise, classes: int, last: str) -> str:
    """Variance sigma^2 [..., 1]."""
    measure = _entropy if setting.sensitivity == "entropy" else _by_top
    raw = measure(build, shifted, setting.sensitivity, classes, last)
    sensitivity = build.node("Clip", raw, build.number(0), build.number(1))
    scaled = build.node("Mul", sensitivity, build.number(setting.lambda_scale))
    relative = build.node("Add", scaled, build.number(1))
    return build.node("Mul", relative, build.number(setting.base_variance))


def _entropy(build: Builder, shifted: str, _: str, classes: int, last: str) -> str:
    """Entropy sensitivity R = 1 - H / ln K."""
    total = build.node("ReduceSum", build.node("Exp", shifted), last, keepdims=1)
    exact = build.node("Sub", shifted, build.node("Log", total))
    logs = build.node("Max", exact, build.number(_FAINT))
    terms = build.node("Mul", build.node("Exp", logs), logs)
    negative = build.node("ReduceSum", terms, last, keepdims=1)  # -H
    share = build.node("Div", negative, build.number(np.log(classes)))
    return build.node("Add", share, build.number(1))


def _by_top(build: Builder, shifted: str, measure: str, classes: int, last: str) -> str:
    """Lead of the first class over the second, or over chance."""
    probs = build.node("Softmax", shifted, axis=-1)
    if measure == "max_probability":
        top, rest = build.node("ReduceMax", probs, last, keepdims=1), build.number(1 / classes)
        lead = build.node("Sub", top, rest)
        return build.node("Div", lead, build.number(1 - 1 / classes))
    both = build.node("TopK", probs, build.integers(2), axis=-1, largest=1, sorted=1)
    build.nodes[-1].output.append(build.name(f"{both}:places"))
    first, second = (build.node("Gather", both, build.integers(place), axis=-1) for place in (0, 1))
    return build.node("Sub", first, second)


def _exchange_top(build: Builder, probs: str, labels: str, axis: int) -> str:
    """Nodes of `numerics.exchange_top`."""
    top = build.node("ArgMax", probs, axis=-1, keepdims=1)
    largest = build.node("GatherElements", probs, top, axis=axis)
    labelled = build.node("GatherElements", probs, labels, axis=axis)
    half = build.node("ScatterElements", probs, top, labelled, axis=axis)
    return build.node("ScatterElements", half, labels, largest, axis=axis)


def _favour(build: Builder, probs: str, winners: str, axis: int) -> str:
    """Nodes of `numerics.favour`: rounding does not move the label."""
    labels = build.node("ArgMax", probs, axis=-1, keepdims=1)
    kept = build.node("Equal", labels, winners)
    top = build.node("ReduceMax", probs, build.integers(axis), keepdims=1)
    raised = build.node("Mul", top, build.number(_NEXT))
    current = build.node("GatherElements", probs, winners, axis=axis)
    value = build.node("Where", kept, current, raised)
    return build.node("ScatterElements", probs, winners, value, axis=axis)
