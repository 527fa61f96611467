"""Outputs of models, and the parts that training hands on: one run, or a pool of models.

data -> training -> `Outputs` -> defense -> attack -> metrics -> `Result` -> report.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from dynanoise.core.errors import InputError, check
from dynanoise.core.numerics import Floats, Int8, Int64


def _frozen(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    view = array.view()
    view.flags.writeable = False
    return view


@dataclass(frozen=True, eq=False)
class Outputs:
    """What M models said about N examples.

    The arrays are read-only views, not copies: leave the originals unchanged.

    Attributes:
        logits: float32 or float64 [M, N, A, K]; A distinct inputs for each example (0 is the
            original, the rest augmentations), K classes. Repeats of a query are never an axis:
            they are asked for.
        labels: int64 [N], the true class, 0..K-1.
        ids: int64 [N], which record of the data set, without repetition.
        use: int8 [M, N]; 1 = the model was trained on the example, 0 = it was not, -1 = hidden.

    Raises:
        InputError: if shapes, dtypes or ranges do not fit together.
    """

    logits: Floats
    labels: Int64
    ids: Int64
    use: Int8

    def __post_init__(self) -> None:
        logits = np.asarray(self.logits)
        labels, ids = np.asarray(self.labels), np.asarray(self.ids)
        use = np.asarray(self.use)
        check(
            logits.ndim == 4 and logits.dtype in (np.float32, np.float64),
            f"Outputs.logits have shape {logits.shape} and dtype {logits.dtype}.",
            "Pass float32 or float64 of shape [models, examples, inputs, classes].",
        )
        models, examples, inputs, classes = logits.shape
        check(
            inputs >= 1 and classes >= 2,
            f"Outputs.logits have shape {logits.shape}.",
            "Give at least one input an example and two classes.",
        )
        check(
            bool(np.isfinite(logits).all()),
            "Outputs.logits hold NaN or infinity.",
            "Logits must be finite numbers.",
        )
        for name, array, shape in (
            ("labels", labels, (examples,)),
            ("ids", ids, (examples,)),
            ("use", use, (models, examples)),
        ):
            check(
                array.shape == shape and np.issubdtype(array.dtype, np.integer),
                f"Outputs.{name} has shape {array.shape} and dtype {array.dtype}.",
                f"For logits of shape {logits.shape} pass integers of shape {shape}.",
            )
        outside = labels[(labels < 0) | (labels >= classes)]
        check(
            outside.size == 0,
            f"A label is {outside[0] if outside.size else None} with {classes} classes.",
            f"Labels count from 0 to {classes - 1}.",
        )
        check(
            len(np.unique(ids)) == examples,
            "Outputs.ids name an example twice.",
            "Give every example its own id.",
        )
        check(
            bool(np.isin(use, (-1, 0, 1)).all()),
            f"Outputs.use holds {np.setdiff1d(use, (-1, 0, 1))}.",
            "Use 1 for trained on, 0 for not trained on, -1 for hidden.",
        )
        object.__setattr__(self, "logits", _frozen(logits))
        object.__setattr__(self, "labels", _frozen(labels.astype(np.int64, copy=False)))
        object.__setattr__(self, "ids", _frozen(ids.astype(np.int64, copy=False)))
        object.__setattr__(self, "use", _frozen(use.astype(np.int8, copy=False)))

    @property
    def models(self) -> int:
        """M, the number of models."""
        return int(self.logits.shape[0])

    @property
    def inputs(self) -> int:
        """A, the number of inputs for each example."""
        return int(self.logits.shape[2])

    @property
    def classes(self) -> int:
        """K, the number of classes."""
        return int(self.logits.shape[3])

    def select(
        self,
        *,
        models: Any = slice(None),
        examples: Any = slice(None),
        inputs: slice = slice(None),
    ) -> Self:
        """The same outputs for some models, examples (index arrays, masks or slices) and inputs."""
        return replace(
            self,
            logits=self.logits[models][:, examples, inputs],
            labels=self.labels[examples],
            ids=self.ids[examples],
            use=self.use[models][:, examples],
        )


@dataclass(frozen=True, eq=False)
class View:
    """What the defender of one model may learn from. Never the non-members that are scored.

    Attributes:
        members: the one model's answers about its members, M = 1.
        reference: its answers about the defender's known non-members, M = 1, disjoint from
            everything that is scored.
        random: its logits about random inputs, [R, K]; None where nobody asked.
    """

    members: Outputs
    reference: Outputs
    random: Floats | None = None


@dataclass(frozen=True, eq=False)
class Run:
    """Everything one measurement needs from the trained models.

    In the paper's protocol the shadows' ids are disjoint from the target's; leave-one-out over a
    pool shares them.

    Attributes:
        target: the attacked model's answers about members and non-members, M = 1.
        shadows: the attacker's models about their members and non-members, M = S.
        test: the target's answers about data for utility, M = 1.
        reference: known non-members answered by the target (model 0) and the shadows, M = 1 + S.
        seed: the seed the run was made from.
        split: a hash of which record played which part; another one for another target of a pool,
            because noise is drawn from the seed and it.
        random: logits about random inputs, of the target and the shadows, [1 + S, R, K].
    """

    target: Outputs
    shadows: Outputs
    test: Outputs
    reference: Outputs
    seed: int
    split: str
    random: Floats | None = None

    def view(self, model: int) -> View:
        """The defender's view of the target (0) or of shadow ``model - 1``."""
        outputs = self.target if model == 0 else self.shadows.select(models=[model - 1])
        members = outputs.select(examples=outputs.use[0] == 1)
        random = None if self.random is None else self.random[model]
        return View(members, self.reference.select(models=[model]), random)


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
