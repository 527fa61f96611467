"""Writes what the Python package says for the page's JavaScript to agree with.

``python -m tests.web.build_vectors`` writes tests/web/vectors; `test_vectors.py` finds stale
ones. Floats are written so that they read back the same. Keyed noise has older known answers, in
tests/noise/vectors.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from scipy import integrate, special

from dynanoise.attacks.statistics import STATISTICS
from dynanoise.core import numerics
from dynanoise.core.errors import TooFewRecordsError
from dynanoise.core.numerics import Float64
from dynanoise.core.outputs import Outputs
from dynanoise.defenses.dynanoise import DynaNoise
from dynanoise.defenses.sensitivity import SENSITIVITIES
from dynanoise.evaluation.responses import observe, recover
from dynanoise.metrics.roc import roc
from dynanoise.noise.keyed import Keyed, canonical_setting
from dynanoise.noise.normals import count_words, normals_v1
from tests.factories.keyed_noise import Raw
from tests.web.sfc32 import Sfc32

FOLDER = Path(__file__).parent / "vectors"

TEMPERATURES = (1.0, 4.0, 10.0, 0.05)


def some_rows() -> list[list[float]]:
    """Logits: usual, tied, uniform, certain, huge, tiny, and many classes."""
    generator = np.random.default_rng(1)
    usual = [
        generator.normal(0, spread, classes).round(3).tolist()
        for classes, spread in ((2, 2.0), (3, 5.0), (10, 3.0), (10, 12.0), (33, 4.0), (200, 2.0))
    ]
    return [
        *usual,
        [0.0, 0.0],
        [0.0] * 7,
        [2.5, 2.5, -1.0],
        [0.0, 800.0],
        [50.0, 0.0, 0.0],
        [1e-9, 0.0, -1e-9],
        [1e308, -1e308],
        [3.4e38, 0.0, -3.4e38, 1.0],
    ]


def formulas() -> list[dict[str, Any]]:
    """Of numerics.py and sensitivity.py."""
    made = []
    for row in some_rows():
        logits = np.array(row)
        log_probs = numerics.log_softmax(logits)
        made.append(
            {
                "logits": row,
                "softmax": {str(t): numerics.softmax(logits, t).tolist() for t in TEMPERATURES},
                "log_softmax": {
                    str(t): numerics.log_softmax(logits, t).tolist() for t in TEMPERATURES
                },
                "entropy": float(numerics.entropy(log_probs)),
                "centred": numerics.centred(log_probs).tolist(),
                "undo": DynaNoise(temperature=0.1).undo(log_probs).tolist(),
                "sensitivity": {
                    name: float(formula(logits[None])[0]) for name, formula in SENSITIVITIES.items()
                },
            }
        )
    return made


class Given:
    """Normals, and what they are added to, that are given."""

    repeatable = False

    def __init__(self, base: Float64, normals: Float64) -> None:
        self.base, self.normals = base, normals

    def draw(self, logits: Float64, draws: int, purpose: str) -> tuple[Float64, Float64]:
        return self.base, self.normals[:draws]


SETTINGS: tuple[dict[str, Any], ...] = (
    {},
    {"base_variance": 0.1, "lambda_scale": 3.0, "temperature": 4.0},
    {"samples": 3, "sensitivity": "margin"},
    {"base_variance": 6.0, "keep_label": True, "sensitivity": "max_probability"},
    {"base_variance": 2.0, "samples": 4, "keep_label": True, "temperature": 1.0},
    {"base_variance": 0.0, "lambda_scale": 0.0, "temperature": 2.0},
    {"base_variance": 0.0, "keep_label": True, "temperature": 1e9},
)


def defended() -> list[dict[str, Any]]:
    """Answers of DynaNoise for given normals, also about another base than the logits."""
    generator, made = np.random.default_rng(2), []
    for parameters in SETTINGS:
        defense = DynaNoise(**parameters)
        for row in some_rows():
            logits = np.array(row)
            moved = generator.normal(0, 3, len(row)).round(3)
            normals = generator.normal(0, 1, (defense.samples, len(row))).round(6)
            noises = {"answer": Given(logits, normals), "of_base": Given(moved, normals)}
            made.append(
                {
                    "parameters": parameters,
                    "logits": row,
                    "base": moved.tolist(),
                    "normals": normals.ravel().tolist() if defense.base_variance > 0 else [],
                    "variance": float(defense.variance(logits)),
                    **{key: defense(logits, noise).tolist() for key, noise in noises.items()},
                }
            )
    return made


def flips() -> list[dict[str, Any]]:
    """The probability that one sample moves the label, by quadrature of SciPy's functions."""

    def probability(gaps: Float64) -> float:
        if len(gaps) == 1:
            return float(special.erfc(gaps[0] / 2) / 2)

        def integrand(t: float) -> float:
            stays = special.log_ndtr(t + gaps).sum()
            return float(-math.expm1(stays) * math.exp(-t * t / 2) / math.sqrt(2 * math.pi))

        value = integrate.quad(
            integrand, -38, 10, points=[-8, -4, 0, 4], epsabs=0, epsrel=1e-13, limit=500
        )[0]
        return float(value)

    made = []
    settings: tuple[dict[str, Any], ...]
    settings = ({}, {"base_variance": 0.1, "lambda_scale": 3.0}, {"base_variance": 20.0})
    for parameters in settings:
        defense = DynaNoise(**parameters)
        for row in (*some_rows()[:12], [0.5, 0.2], [40.0, 0.0, 1.0]):
            logits = np.array(row)
            own = int(logits.argmax())
            gaps = np.delete(logits[own] - logits, own) / np.sqrt(defense.variance(logits))
            if gaps.min() < 36:  # beyond that the probability is no normal float64
                made.append({"parameters": parameters, "logits": row, "value": probability(gaps)})
    return made


USED = ("loss",)
"""The page's statistics."""

SPREADS = (0.1, 1.0, 4.0, 20.0, 60.0, 4.0, 400.0)


def statistics() -> list[dict[str, Any]]:
    """Of answers from uncertain to certain, with right and wrong labels."""
    generator, made = np.random.default_rng(3), []
    for classes in (2, 5, 40):
        logits = generator.normal(0, np.array(SPREADS)[:, None], (7, classes))
        logits[5] = 0
        log_probs = numerics.log_softmax(logits)
        labels = generator.integers(0, classes, 7)
        labels[::3] = logits.argmax(axis=1)[::3]
        values = {name: STATISTICS[name](log_probs, labels).tolist() for name in USED}
        made.append({"log_probs": log_probs.tolist(), "labels": labels.tolist(), "values": values})
    return made


def curves() -> list[dict[str, Any]]:
    """ROC, AUC and its interval, of scores with many ties and with none."""
    generator, made = np.random.default_rng(4), []
    for count, digits in ((4, 0), (30, 1), (40, 8), (600, 1), (2400, 6)):
        members = generator.integers(0, 2, count)
        members[:2] = 0, 1
        scores = (generator.normal(0, 1, count) + 0.7 * members).round(digits)
        truth = members.astype(bool)
        curve = roc(scores, truth)
        made.append(
            {
                "scores": scores.tolist(),
                "members": members.tolist(),
                "fpr": curve.fpr.tolist() if count < 100 else None,
                "tpr": curve.tpr.tolist() if count < 100 else None,
                "auc": curve.auc,
                "tpr_at": {str(fpr): _tpr(curve, fpr) for fpr in (0.001, 0.01, 0.1, 0.5, 1.0)},
                "delong": delong(scores, truth) if count > 4 else None,
            }
        )
    return made


def _tpr(curve: Any, fpr: float) -> float | str:
    try:
        return float(curve.tpr_at(fpr))
    except TooFewRecordsError as error:
        return str(error)


def delong(scores: Float64, members: Any) -> list[float]:
    """DeLong's interval straight from its definition, all pairs at once."""
    inside, outside = scores[members], scores[~members]
    ahead = (inside[:, None] > outside) + (inside[:, None] == outside) / 2
    parts = ahead.mean(axis=1), ahead.mean(axis=0)
    deviation = math.sqrt(sum(part.var(ddof=1) / len(part) for part in parts))
    half = float(special.ndtri(0.975)) * deviation
    value = float(ahead.mean())
    return [value, max(0.0, value - half), min(1.0, value + half)]


def repeated() -> list[dict[str, Any]]:
    """What an informed attacker recovers of one query asked Q times."""
    made = []
    settings: tuple[dict[str, Any], ...] = ({}, SETTINGS[1])
    for parameters in settings:
        defense = DynaNoise(**parameters)
        for row in some_rows()[:5]:
            logits = np.array(row)
            normals = np.random.default_rng(5).normal(0, 1, (6, len(row))).round(6)

            def noise(purpose: str, logits: Float64 = logits, normals: Float64 = normals) -> Given:
                i = 0 if purpose == "first" else 1 + int(purpose.split()[1])
                return Given(logits[None, None], normals[i][None, None, None])

            outputs = Outputs(
                logits[None, None, None],
                np.zeros(1, int),
                np.zeros(1, int),
                np.ones((1, 1), np.int8),
            )
            seen = observe(defense, outputs, noise, repeats=6, aware=True)
            mean = np.mean(
                [defense.undo(np.log(one)) for one in _answers(defense, logits, normals)], 0
            )
            made.append(
                {
                    "temperature": defense.temperature,
                    "logits": row,
                    "answers": [one.tolist() for one in _answers(defense, logits, normals)],
                    "recovered": recover(seen, 6).log_probs[0, 0].tolist(),
                    "error": float(np.sqrt(np.mean((mean - numerics.centred(logits)) ** 2))),
                }
            )
    return made


def _answers(defense: DynaNoise, logits: Float64, normals: Float64) -> list[Any]:
    return [defense(logits, Given(logits, one[None])) for one in normals]


def keyed_answers() -> list[dict[str, Any]]:
    """Settings that tests/noise/vectors lack: other sensitivities, many classes."""
    made = []
    changes: tuple[dict[str, Any], ...] = (
        {"sensitivity": "margin"},
        {"sensitivity": "max_probability", "samples": 2, "keep_label": True},
        {"base_variance": 0.0, "temperature": 1.0},
    )
    for i, parameters in enumerate(changes):
        defense = DynaNoise(**parameters)
        noise = Keyed(3.0 + i / 3, 'a "model" \\ größer', "AB" * 32, Raw(bytes(range(i, 32 + i))))
        for row in some_rows()[1:6]:
            draws = defense.samples if defense.base_variance > 0 else 0
            made.append(
                {
                    "keyed": {
                        "root": noise.key.root().hex(),  # type: ignore[union-attr]
                        "model": noise.model,
                        "weights": noise.weights,
                        "cellWidth": noise.cell_width,
                    },
                    "parameters": parameters,
                    "logits": row,
                    "purpose": defense.purpose,
                    "setting": canonical_setting(
                        len(row), draws, noise.cell_width, defense.purpose
                    ),
                    "probs": defense(np.array(row), noise).tolist(),
                }
            )
    return made


def streams() -> dict[str, Any]:
    """sfc32 by an implementation of its own, and normals from its words."""
    start = [0x12345678, 0x9ABCDEF0, 0x0F1E2D3C, 1]
    words = Sfc32(*start).words(count_words(9))
    normals = normals_v1(np.array([words], np.uint32), 9)[0].tolist()
    return {"sfc32": {"start": start, "words": words, "normals": normals}}


FILES: dict[str, Callable[[], Any]] = {
    "formulas.json": formulas,
    "defended.json": defended,
    "flips.json": flips,
    "statistics.json": statistics,
    "curves.json": curves,
    "repeated.json": repeated,
    "keyed.json": keyed_answers,
    "streams.json": streams,
}


def text(values: Any) -> str:
    """One known answer a line."""
    if isinstance(values, dict):
        return json.dumps(values, allow_nan=False) + "\n"
    return "[\n" + ",\n".join(json.dumps(value, allow_nan=False) for value in values) + "\n]\n"


if __name__ == "__main__":
    for name, make in FILES.items():
        (FOLDER / name).write_text(text(make()))
