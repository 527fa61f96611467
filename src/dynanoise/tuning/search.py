"""The search over settings of DynaNoise: Optuna proposes, the objective judges."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from dynanoise.core.defense import Method
from dynanoise.core.errors import InputError, MissingExtraError
from dynanoise.core.seeding import derive
from dynanoise.defenses.dynanoise import DynaNoise
from dynanoise.tuning.objective import Judged, Objective

if TYPE_CHECKING:
    from optuna import Trial

Progress = Callable[[str], None]
Judge = Callable[[Sequence[Method]], list[Judged]]

GENERATION = 50
"""Settings that are proposed at once; the next ones learn from them."""


@dataclass(frozen=True)
class Limits:
    """What a setting may cost.

    Attributes:
        drop: of accuracy, at most.
        nll: negative log-likelihood in nats, at most; None for no limit.
        ece: expected calibration error, at most; None for no limit.

    Raises:
        InputError: for a limit that is no number of at least 0.
    """

    drop: float = 0.01
    nll: float | None = None
    ece: float | None = None

    def __post_init__(self) -> None:
        for name, value in (("accuracy drop", self.drop), ("nll", self.nll), ("ece", self.ece)):
            if value is not None and not (np.isfinite(value) and value >= 0):
                raise InputError(f"The limit of {name} is {value!r}.", "Use a number from 0 on.")

    def excess(self, drop: float, nll: float, ece: float) -> dict[str, float]:
        """By how much each limit is exceeded; 0 or less where it is kept.

        >>> Limits(drop=0.01, nll=1.2).excess(0.0, 1.3, 0.5)
        {'drop': -0.01, 'nll': 0.10000000000000009}
        """
        pairs = {"drop": (drop, self.drop), "nll": (nll, self.nll), "ece": (ece, self.ece)}
        return {name: found - most for name, (found, most) in pairs.items() if most is not None}

    def kept(self, judged: Judged) -> bool:
        """Whether a setting keeps to all of them."""
        excess = self.excess(judged.drop, judged.utility.nll, judged.utility.ece)
        return all(over <= 0 for over in excess.values())


def reference_cells(gap: float) -> list[Method]:
    """Cells without noise, of several widths and temperatures: what noise has to beat.

    Args:
        gap: the median gap between the largest two logits.
    """
    return [
        cells
        for width in gap * np.geomspace(0.5, 8, 8)
        for temperature in (1.0, 1.5, 2.0, 3.0, 5.0)
        for cells in [_method(0.0, 0.0, temperature, 1, True, float(width))]
    ]


def search(
    objective: Objective,
    limits: Limits,
    trials: int,
    judge: Judge,
    progress: Progress = lambda step: None,
) -> Iterator[Judged]:
    """Settings that get better, by NSGA-II (Deb et al. 2002) as Optuna has it.

    Two goals, a large worst-case MIDPUT and a small negative log-likelihood, under the limits. The
    same objective, limits and trials give the same settings whoever judges them.

    Args:
        objective: gives scale and seed.
        limits: what a setting may cost.
        trials: how many settings, >= 1.
        judge: `Objective.several`, or something that shares the work.
        progress: called after each setting.

    Raises:
        MissingExtraError: if Optuna is not installed.
        InputError: if trials is below 1.
    """
    if trials < 1:
        raise InputError(f"trials is {trials}.", "Try at least one setting.")
    study = _study(objective.seed)
    gap = objective.gap
    for start in _starts(gap)[:trials]:
        study.enqueue_trial(start)
    for begin in range(0, trials, GENERATION):
        asked = [study.ask() for _ in range(min(GENERATION, trials - begin))]
        judged = judge([_proposed(trial, gap) for trial in asked])
        for trial, one in zip(asked, judged, strict=True):
            for name, over in limits.excess(one.drop, one.utility.nll, one.utility.ece).items():
                trial.set_constraint(name, over)
            study.tell(trial, (one.gain, one.utility.nll))
            progress(f"setting {trial.number}")
            yield one


def front(judged: Sequence[Judged]) -> list[Judged]:
    """Those that no other one beats in MIDPUT without a worse likelihood, likelihoods ascending.

    >>> from dynanoise.tuning.objective import Utility
    >>> def one(gain, nll):
    ...     return Judged(Method("x", DynaNoise()), gain, 0.0, Utility(1.0, nll, 0.0))
    >>> [found.gain for found in front([one(0.1, 1.0), one(0.05, 1.1), one(0.2, 1.2)])]
    [0.1, 0.2]
    """
    best, found = -np.inf, []
    for one in sorted(judged, key=lambda one: (one.utility.nll, -one.gain)):
        if one.gain > best:
            best = one.gain
            found.append(one)
    return found


@contextmanager
def judges(objective: Objective, workers: int) -> Iterator[Judge]:
    """This process, or several that share the settings.

    Args:
        objective: what judges.
        workers: processes, >= 1.
    """
    if workers == 1:
        yield objective.several
        return
    from dynanoise.core.workers import worker_processes
    from dynanoise.evaluation.executors import begin_judging

    with worker_processes(workers, begin_judging) as pool:

        def shared(methods: Sequence[Method]) -> list[Judged]:
            count = 4 * workers  # parts, so that nobody waits long for the last
            parts = [list(methods[index::count]) for index in range(count)]
            futures = [pool.submit(objective.several, part) for part in parts]
            done = [iter(future.result()) for future in futures]
            return [next(done[index % count]) for index in range(len(methods))]

        yield shared


def _study(seed: int) -> Any:
    try:
        import optuna
    except ImportError as error:
        raise MissingExtraError(
            "Tuning needs optuna, which is not installed.",
            "Install it with: pip install 'dynanoise[tune]'",
        ) from error
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    sampler = optuna.samplers.NSGAIISampler(
        population_size=GENERATION, seed=derive(seed, "search") % 2**32
    )
    return optuna.create_study(directions=["maximize", "minimize"], sampler=sampler)


def _starts(gap: float) -> list[dict[str, Any]]:
    """The published CIFAR-10 setting with either noise, and two that are often good."""
    published = {"base_variance": 0.3, "lambda_scale": 2.0, "temperature": 10.0, "samples": 1}
    often = {"base_variance": 0.3 * gap**2, "lambda_scale": 2.0, "temperature": 3.0, "samples": 1}
    return [
        {**published, "keep_label": False, "noise": "fresh"},
        {**published, "keep_label": True, "noise": "keyed", "cell_width": 2.5 * gap},
        {**often, "keep_label": True, "noise": "fresh"},
        {**often, "keep_label": True, "noise": "keyed", "cell_width": 1.5 * gap},
    ]


def _proposed(trial: Trial, gap: float) -> Method:
    """A setting; scales follow the gap, because what is much noise depends on the logits."""
    keyed = trial.suggest_categorical("noise", ["fresh", "keyed"]) == "keyed"
    variance = trial.suggest_float("base_variance", 0.003 * gap**2, 4 * gap**2, log=True)
    growth = trial.suggest_float("lambda_scale", 0.0, 4.0)
    temperature = trial.suggest_float("temperature", 0.5, 20.0, log=True)
    samples = trial.suggest_int("samples", 1, 8, log=True)
    keep = trial.suggest_categorical("keep_label", [False, True])
    width = trial.suggest_float("cell_width", gap / 4, 8 * gap, log=True) if keyed else None
    return _method(variance, growth, temperature, samples, keep, width)


def _method(
    variance: float,
    growth: float,
    temperature: float,
    samples: int,
    keep_label: bool,
    width: float | None,
) -> Method:
    """A setting in three digits: more say nothing, and nobody wants to read them."""

    def rounded(value: float) -> float:
        return float(f"{value:.3g}")

    defense = DynaNoise(
        rounded(variance),
        rounded(growth),
        rounded(temperature),
        samples=samples,
        keep_label=keep_label,
    )
    return Method("search", defense, cell_width=None if width is None else rounded(width))
