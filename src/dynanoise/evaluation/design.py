"""Designs: who is the target, who are the shadow models, and what an interval is over."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol, Self

from dynanoise.core.defense import Defense, Method
from dynanoise.core.outputs import Outputs, View
from dynanoise.core.result import ThreatModel
from dynanoise.evaluation.responses import NoiseSource
from dynanoise.evaluation.trial import AttackScores, Trial
from dynanoise.metrics.success import Success

ModelNoise = Callable[[int, str], NoiseSource]
"""Noise of one model, given its position and its part, "target" or "shadow"."""


class Design(Protocol):
    """Trained models and their roles in an evaluation; see `PaperSplit` and the others."""

    @property
    def records(self) -> Outputs:
        """Undefended outputs of the M target models about the N records of every trial."""

    @property
    def seed(self) -> int:
        """Seed that the models were made from."""

    @property
    def split(self) -> str:
        """Digest of which record plays which part; noise is drawn from it and the seed."""

    def take_first(self, targets: int) -> Self:
        """Keep only the first target models.

        Args:
            targets: how many to keep, from 1 to M.

        Returns:
            A design of the same records.
        """

    def views(self, threat: ThreatModel) -> Iterator[View]:
        """Views that a defense is fitted to: one for each target, then those of shadow models.

        Empty where the predictions were collected elsewhere and no defense is fitted.

        Args:
            threat: knowledge of the attacker, who may need shadow models behind the defense.

        Yields:
            Views in the order in which `trials` takes the defenses.
        """

    def noise(self, method: Method) -> ModelNoise:
        """Noise of each model behind a method's defense.

        Args:
            method: decides between fresh and keyed noise.

        Returns:
            A function from position and part of a model to its noise.
        """

    def trials(
        self, defenses: Sequence[Defense], threat: ThreatModel, noise: ModelNoise
    ) -> Iterator[Trial]:
        """Observe the models behind defenses, and yield one trial for each target.

        Args:
            defenses: fitted to `views`, in their order.
            threat: knowledge of the attacker, and its query budget.
            noise: noise of each model.

        Yields:
            One trial for each target, in their order.
        """

    def utility(self) -> Iterator[tuple[Outputs, Outputs]]:
        """Outputs about test data and about members, for each target; none without test data.

        Yields:
            Two outputs of one model each, M = 1.
        """

    def metrics(self, attack: AttackScores, fprs: Sequence[float]) -> Success:
        """Measure the success of an attack.

        Args:
            attack: its scores and decisions on all trials.
            fprs: false positive rates at which the TPR is wanted.

        Returns:
            Metrics with intervals, and their replicates where models are resampled.
        """
