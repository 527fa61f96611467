"""Divergence: a model at chance is retrained with a smaller learning rate, and not saved."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from dynanoise.core.errors import DivergedError
from dynanoise.core.numerics import Int64

_LOG = logging.getLogger(__name__)

RETRIES = 2
"""Number of times a diverged model is trained again, each with a third of the learning rate."""

T = TypeVar("T")


def chance_bound(labels: Int64) -> float:
    """Compute the accuracy above which a model is better than chance; it may exceed 1.

    It is the share s of the largest class, which a constant prediction reaches, plus three standard
    deviations of a binomial proportion, sqrt(s (1 - s) / n).

    Args:
        labels: int64 [n], the true classes, n >= 1.

    Returns:
        The bound, above 0.

    >>> round(chance_bound(np.arange(1000) % 10), 4)
    0.1285
    """
    share = float(np.unique(labels, return_counts=True)[1].max()) / len(labels)
    return share + 3 * float(np.sqrt(share * (1 - share) / len(labels)))


def balanced_chance_bound(predicted: Int64, labels: Int64) -> float:
    """Compute the balanced accuracy above which a model is better than chance; it may exceed 1.

    It is that of guesses with the frequencies q of the predictions, 1 / K, plus three of its
    standard deviations sqrt(sum over classes of q (1 - q) / n) / K, of which that of a rare class
    is the largest. A constant prediction reaches 1 / K, however rare a class is.

    Args:
        predicted: int64 [n], the predicted classes.
        labels: int64 [n], the true classes, K of which occur, n >= 1.

    Returns:
        The bound, above 0.

    >>> labels = np.arange(1000) % 10
    >>> round(balanced_chance_bound(labels, labels), 4)
    0.1285
    """
    classes, counts = np.unique(labels, return_counts=True)
    shares = (predicted[:, None] == classes).mean(axis=0)
    deviation = float(np.sqrt((shares * (1 - shares) / counts).sum()))
    return (1 + 3 * deviation) / len(classes)


def check_converged(
    name: str, logits: npt.NDArray[Any], labels: Int64, *, private: bool = False
) -> None:
    """Check that a model's outputs are finite and its accuracy is better than chance.

    Either accuracy is enough: plain above `chance_bound`, or balanced (the mean over classes of the
    share of their records that are predicted right) above `balanced_chance_bound`, as of a model
    that finds some records of a rare class and mistakes as many others for it.

    If `chance_bound` is 1 or more (a single class, or very few records) no accuracy could exceed
    it, so only outputs that are not finite raise. So it is with differential privacy, whose noise
    may leave nothing of the data: that is what it costs, and a repetition would cost privacy.

    Args:
        name: the name of the model, for the message.
        logits: float [n, K], outputs on the records it was trained on.
        labels: int64 [n], the true classes.
        private: True for a model trained with differential privacy.

    Raises:
        DivergedError: if an output is not finite or the accuracy is at chance.
    """
    remedy = "Train it longer, with a lower learning rate or a weaker defense."
    if not np.isfinite(logits).all():
        raise DivergedError(f"{name} diverged: its outputs are not finite.", remedy)
    predicted = logits.argmax(axis=-1)
    right = predicted == labels
    accuracy, bound = float(right.mean()), chance_bound(labels)
    balanced = float(np.mean([right[labels == label].mean() for label in np.unique(labels)]))
    balanced_bound = balanced_chance_bound(predicted, labels)
    if accuracy <= bound < 1 and balanced <= balanced_bound and not private:
        raise DivergedError(
            f"{name} learnt nothing: its accuracy on {len(labels)} records is {accuracy:.3f}, and "
            f"guessing reaches up to {bound:.3f}; its balanced accuracy is {balanced:.3f}, and "
            f"guessing reaches up to {balanced_bound:.3f}.",
            remedy,
        )


def train_with_retries(name: str, recipe: Any, attempt: Callable[[Any], T]) -> tuple[T, int]:
    """Train with a recipe, and again with a lower learning rate if training diverges.

    Args:
        name: the name of the job.
        recipe: the recipe of the first attempt. Each further one has a third of the learning rate
            of its ``schedule``; a recipe without a schedule has one attempt.
        attempt: trains with a recipe; raises DivergedError if that fails.

    Returns:
        The value of ``attempt``, and the number of repetitions.

    Raises:
        DivergedError: if the last attempt fails, naming the job and the learning rates tried.
    """
    rates: list[float] = []
    while True:
        schedule = getattr(recipe, "schedule", None)
        if schedule is not None:
            rates.append(schedule.learning_rate)
        try:
            return attempt(recipe), max(0, len(rates) - 1)
        except DivergedError as error:
            if schedule is None or len(rates) > RETRIES:
                tried = ", ".join(f"{rate:.3g}" for rate in rates) or "the recipe's own"
                raise DivergedError(
                    f"{name}: {error.problem} Learning rates tried: {tried}.", error.remedy
                ) from error
            smaller = replace(schedule, learning_rate=schedule.learning_rate / 3)
            _LOG.warning(
                "%s: %s Trying again with learning rate %.3g.",
                name,
                error.problem,
                smaller.learning_rate,
            )
            recipe = replace(recipe, schedule=smaller)
