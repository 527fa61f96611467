"""Many models over the same examples: each is the target once, the others its shadows."""

from __future__ import annotations

from dataclasses import dataclass, replace

from dynanoise.core.errors import InputError
from dynanoise.core.types import Floats, Outputs, View


@dataclass(frozen=True, eq=False)
class Pool:
    """What M models said about one pool of N examples, and what the defender and the attacker have.

    Attributes:
        examples: M models, N examples; ``use`` says who was trained on what. A pair that is hidden
            (-1) is neither scored nor counts as an in- or out-model.
        test: data for utility, the same for all models, M models.
        reference: known non-members of all models: the defender's, and the attacker's population.
            Either may be empty: nothing is then said of utility, or nobody compares with it.
        seed: the seed the pool was made from.
        split: a hash of which record played which part.
        random: logits about random inputs, [M, R, K]; None where nobody asked.

    Raises:
        InputError: if the parts are not of the same models.
    """

    examples: Outputs
    test: Outputs
    reference: Outputs
    seed: int
    split: str
    random: Floats | None = None

    def __post_init__(self) -> None:
        counts = {part.models for part in (self.examples, self.test, self.reference)}
        if len(counts) > 1 or (self.random is not None and len(self.random) not in counts):
            raise InputError(
                f"The parts of the pool are of {sorted(counts)} models.",
                "Ask every model about everything.",
            )

    @property
    def models(self) -> int:
        """M."""
        return self.examples.models

    def first(self, models: int) -> Pool:
        """The same pool with its first models only."""
        if models == self.models:
            return self
        return replace(
            self,
            examples=self.examples.select(models=slice(models)),
            test=self.test.select(models=slice(models)),
            reference=self.reference.select(models=slice(models)),
            random=None if self.random is None else self.random[:models],
        )

    def originals(self) -> Pool:
        """The same pool without answers about near-duplicates."""
        if self.examples.inputs == self.reference.inputs == 1:
            return self
        return replace(
            self,
            examples=self.examples.select(inputs=slice(1)),
            reference=self.reference.select(inputs=slice(1)),
        )

    def view(self, model: int) -> View:
        """What the defender of one model may learn from: nothing about near-duplicates."""
        outputs = self.examples.select(models=[model], inputs=slice(1))
        members = outputs.select(examples=outputs.use[0] == 1)
        random = None if self.random is None else self.random[model]
        return View(members, self.reference.select(models=[model], inputs=slice(1)), random)
