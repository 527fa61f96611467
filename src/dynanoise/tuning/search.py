"""Search over settings of DynaNoise: Optuna proposes, the objective evaluates."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from dynanoise.core.defense import Method
from dynanoise.core.errors import InputError
from dynanoise.core.extras import missing_extra
from dynanoise.core.seeding import derive
from dynanoise.defenses.dynanoise import DynaNoise
from dynanoise.tuning.objective import Objective, Setting

if TYPE_CHECKING:
    from optuna import Trial

Progress = Callable[[str], None]
EvaluateAll = Callable[[Sequence[Method]], list[Setting]]

GENERATION = 50
"""Number of settings proposed at once; later proposals depend on their results."""


@dataclass(frozen=True)
class Limits:
    """Limits on the cost of a setting.

    Attributes:
        drop: largest allowed accuracy loss.
        nll: largest allowed negative log-likelihood, in nats; None for no limit.
        ece: largest allowed expected calibration error; None for no limit.

    Raises:
        InputError: for a limit below 0 or not finite.
    """

    drop: float = 0.01
    nll: float | None = None
    ece: float | None = None

    def __post_init__(self) -> None:
        for name, value in (("accuracy drop", self.drop), ("nll", self.nll), ("ece", self.ece)):
            if value is not None and not (np.isfinite(value) and value >= 0):
                raise InputError(
                    f"The limit of {name} is {value!r}.", "Use a number that is 0 or larger."
                )

    def excess(self, drop: float, nll: float, ece: float) -> dict[str, float]:
        """Compute by how much each limit is exceeded; 0 or less if the limit is met.

        Args:
            drop: loss of accuracy of a setting.
            nll: negative log-likelihood of a setting.
            ece: calibration error of a setting.

        Returns:
            Amounts by limit; those that are not set are left out.

        >>> Limits(drop=0.01, nll=1.2).excess(0.0, 1.3, 0.5)
        {'drop': -0.01, 'nll': 0.10000000000000009}
        """
        pairs = {"drop": (drop, self.drop), "nll": (nll, self.nll), "ece": (ece, self.ece)}
        return {name: value - limit for name, (value, limit) in pairs.items() if limit is not None}

    def excess_of(self, setting: Setting) -> dict[str, float]:
        """Compute the `excess` of a setting.

        Args:
            setting: an evaluated setting.

        Returns:
            Amounts by limit.
        """
        return self.excess(setting.drop, setting.utility.nll, setting.utility.ece)

    def satisfied(self, setting: Setting) -> bool:
        """True if a setting meets all limits."""
        return all(excess <= 0 for excess in self.excess_of(setting).values())


def list_quantisations(gap: float) -> list[Method]:
    """List settings of quantisation only (cells without noise), as a baseline for keyed noise.

    Args:
        gap: median gap between the two largest logits.

    Returns:
        Settings without noise that keep the label.
    """
    return [
        _method(0.0, 0.0, temperature, 1, True, float(width))
        for width in gap * np.geomspace(0.5, 8, 8)
        for temperature in (1.0, 1.5, 2.0, 3.0, 5.0)
    ]


def search(
    objective: Objective,
    limits: Limits,
    trials: int,
    evaluate_all: EvaluateAll,
    progress: Progress = lambda step: None,
) -> Iterator[Setting]:
    """Search settings by NSGA-II (Deb et al. 2002), in the implementation of Optuna.

    Two goals, a large worst-case MIDPUT and a small negative log-likelihood, under the limits. The
    same objective, limits and trials give the same settings with any number of processes.

    Args:
        objective: the objective, whose scale of logits and seed are used.
        limits: limits on the cost of a setting.
        trials: number of settings, >= 1.
        evaluate_all: `Objective.evaluate_all`, or a parallel version of it.
        progress: called after each setting.

    Yields:
        Settings in the order of their proposal.

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
        proposals = [study.ask() for _ in range(min(GENERATION, trials - begin))]
        settings = evaluate_all([_method_of(trial, gap) for trial in proposals])
        for trial, setting in zip(proposals, settings, strict=True):
            for name, excess in limits.excess_of(setting).items():
                trial.set_constraint(name, excess)
            study.tell(trial, (setting.gain, setting.utility.nll))
            progress(f"setting {trial.number}")
            yield setting


def find_front(settings: Sequence[Setting]) -> list[Setting]:
    """Pareto front: settings of which none has both a larger MIDPUT and a better likelihood.

    Args:
        settings: evaluated settings.

    Returns:
        The front by ascending negative log-likelihood.

    >>> from dynanoise.tuning.objective import Utility
    >>> def setting(gain, nll):
    ...     return Setting(Method("x", DynaNoise()), gain, 0.0, Utility(1.0, nll, 0.0))
    >>> settings = [setting(0.1, 1.0), setting(0.05, 1.1), setting(0.2, 1.2)]
    >>> [best.gain for best in find_front(settings)]
    [0.1, 0.2]
    """
    best: list[Setting] = []
    for setting in sorted(settings, key=lambda setting: (setting.utility.nll, -setting.gain)):
        if not best or setting.gain > best[-1].gain:
            best.append(setting)
    return best


@contextmanager
def open_evaluation(objective: Objective, workers: int) -> Iterator[EvaluateAll]:
    """Open `Objective.evaluate_all`, or a parallel version of it for several workers.

    Args:
        objective: evaluates settings.
        workers: processes, >= 1.

    Yields:
        A function that evaluates several settings.
    """
    if workers == 1:
        yield objective.evaluate_all
        return
    from dynanoise.core.workers import worker_processes
    from dynanoise.evaluation.engine import begin_worker

    with worker_processes(workers, begin_worker) as processes:

        def evaluate_all(methods: Sequence[Method]) -> list[Setting]:
            count = 4 * workers  # small parts, so that no process waits long for the last
            parts = [list(methods[index::count]) for index in range(count)]
            futures = [processes.submit(objective.evaluate_all, part) for part in parts]
            settings = [iter(future.result()) for future in futures]
            return [next(settings[index % count]) for index in range(len(methods))]

        yield evaluate_all


def _study(seed: int) -> Any:
    try:
        import optuna
    except ImportError as error:
        raise missing_extra("tune", "Tuning needs optuna, which is not installed.") from error
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    sampler = optuna.samplers.NSGAIISampler(
        population_size=GENERATION, seed=derive(seed, "search") % 2**32
    )
    return optuna.create_study(directions=["maximize", "minimize"], sampler=sampler)


def _starts(gap: float) -> list[dict[str, Any]]:
    """The published CIFAR-10 setting with either noise, and two that are often good.

    The published one is left out where its variance is not searched, as for very large logits.
    """
    published = {"base_variance": 0.3, "lambda_scale": 2.0, "temperature": 10.0, "samples": 1}
    typical = {"base_variance": 0.3 * gap**2, "lambda_scale": 2.0, "temperature": 3.0, "samples": 1}
    low, high = _variances(gap)
    near = [
        {**published, "keep_label": False, "noise": "fresh"},
        {**published, "keep_label": True, "noise": "keyed", "cell_width": 2.5 * gap},
    ]
    return [
        *(near if low <= published["base_variance"] <= high else []),
        {**typical, "keep_label": True, "noise": "fresh"},
        {**typical, "keep_label": True, "noise": "keyed", "cell_width": 1.5 * gap},
    ]


def _variances(gap: float) -> tuple[float, float]:
    """Least and largest base variance of the search."""
    return 0.003 * gap**2, 4 * gap**2


def _method_of(trial: Trial, gap: float) -> Method:
    """A proposed setting; ranges scale with the median gap between the two largest logits."""
    keyed = trial.suggest_categorical("noise", ["fresh", "keyed"]) == "keyed"
    variance = trial.suggest_float("base_variance", *_variances(gap), log=True)
    lambda_scale = trial.suggest_float("lambda_scale", 0.0, 4.0)
    temperature = trial.suggest_float("temperature", 0.5, 20.0, log=True)
    samples = trial.suggest_int("samples", 1, 8, log=True)
    keep = trial.suggest_categorical("keep_label", [False, True])
    width = trial.suggest_float("cell_width", gap / 4, 8 * gap, log=True) if keyed else None
    return _method(variance, lambda_scale, temperature, samples, keep, width)


def _method(
    variance: float,
    lambda_scale: float,
    temperature: float,
    samples: int,
    keep_label: bool,
    width: float | None,
) -> Method:
    """A setting with parameters rounded to 3 significant digits."""

    def rounded(value: float) -> float:
        return float(f"{value:.3g}")

    defense = DynaNoise(
        rounded(variance),
        rounded(lambda_scale),
        rounded(temperature),
        samples=samples,
        keep_label=keep_label,
    )
    return Method("search", defense, cell_width=None if width is None else rounded(width))
