"""Outputs of models, and the parts that training hands on: one run, or a pool of models.

data -> training -> `Outputs` -> defense -> attack -> metrics -> `Result` -> report.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from dynanoise.core.errors import InputError, check
from dynanoise.core.numerics import Float64, Floats, Int8, Int64


def _frozen(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    view = array.view()
    view.flags.writeable = False
    return view


@dataclass(frozen=True, eq=False)
class Outputs:
    """Logits of M models on N records, with the records' labels and membership.

    The arrays are read-only views, not copies: leave the originals unchanged.

    Attributes:
        logits: float32 or float64 [M, N, A, K], finite: A distinct inputs for each record (0 is
            the original, the rest augmentations), K >= 2 classes. Repeated queries have no axis.
        labels: int64 [N], the true classes, in 0..K-1.
        ids: int64 [N], positions of the records in the data set, each once.
        use: int8 [M, N]; 1 = the model was trained on the record, 0 = it was not, -1 = hidden.
        memo: statistics of all models by name, which `attacks.statistics` keeps here. Other outputs
            made of these start empty.

    Raises:
        InputError: if shapes, dtypes or ranges do not fit together.

    >>> logits = np.zeros((2, 3, 1, 10), np.float32)
    >>> outputs = Outputs(logits, np.arange(3), np.arange(3), np.zeros((2, 3), int))
    >>> outputs.models, outputs.inputs, outputs.classes
    (2, 1, 10)
    >>> outputs.select(models=[1], records=[0, 2]).logits.shape
    (1, 2, 1, 10)
    """

    logits: Floats
    labels: Int64
    ids: Int64
    use: Int8
    memo: dict[str, Any] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        logits = np.asarray(self.logits)
        labels, ids = np.asarray(self.labels), np.asarray(self.ids)
        use = np.asarray(self.use)
        check(
            logits.ndim == 4 and logits.dtype in (np.float32, np.float64),
            f"Outputs.logits have shape {logits.shape} and dtype {logits.dtype}.",
            "Pass float32 or float64 of shape [models, records, inputs, classes].",
        )
        models, records, inputs, classes = logits.shape
        check(
            inputs >= 1 and classes >= 2,
            f"Outputs.logits have shape {logits.shape}.",
            "Give each record at least one input, and two classes.",
        )
        check(
            bool(np.isfinite(logits).all()),
            "Outputs.logits hold NaN or infinity.",
            "Logits must be finite numbers.",
        )
        for name, array, shape in (
            ("labels", labels, (records,)),
            ("ids", ids, (records,)),
            ("use", use, (models, records)),
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
        ordered = np.sort(ids)  # many times as fast as `np.unique` of integers
        check(
            bool((ordered[1:] != ordered[:-1]).all()),
            "Outputs.ids name a record twice.",
            "Give every record its own id.",
        )
        check(
            bool(((use >= -1) & (use <= 1)).all()),
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
        """A, the number of inputs for each record."""
        return int(self.logits.shape[2])

    @property
    def classes(self) -> int:
        """K, the number of classes."""
        return int(self.logits.shape[3])

    def select(
        self,
        *,
        models: Any = slice(None),
        records: Any = slice(None),
        inputs: slice = slice(None),
    ) -> Self:
        """Select models, records and inputs.

        Args:
            models: index array, mask or slice over M.
            records: index array, mask or slice over N.
            inputs: slice over A.

        Returns:
            Outputs of the selected models on the selected records.
        """
        return replace(
            self,
            logits=self.logits[models][:, records, inputs],
            labels=self.labels[records],
            ids=self.ids[records],
            use=self.use[models][:, records],
        )


@dataclass(frozen=True, eq=False)
class View:
    """Outputs of one model that its defender may fit to; never of non-members that are scored.

    Attributes:
        members: outputs on the model's members, M = 1.
        reference: outputs on the defender's known non-members, M = 1, disjoint from every record
            that is scored.
        random: logits on random inputs, [R, K]; None without any.
    """

    members: Outputs
    reference: Outputs
    random: Floats | None = None


@dataclass(frozen=True, eq=False)
class Run:
    """Outputs of one target model and of the attacker's shadow models.

    In the paper's protocol the shadow models' ids are disjoint from the target's; leave-one-out
    over a pool shares them.

    Attributes:
        target: outputs of the target model on members and non-members, M = 1.
        shadows: outputs of the shadow models on their members and non-members, M = S.
        test: outputs of the target model on data for utility, M = 1.
        reference: outputs of the target (model 0) and the shadow models on known non-members,
            M = 1 + S.
        seed: the run's seed.
        split: a hash of the parts that the records play. It differs between the targets of a pool,
            because noise is drawn from the seed and the split.
        random: logits of the target and the shadow models on random inputs, [1 + S, R, K].
    """

    target: Outputs
    shadows: Outputs
    test: Outputs
    reference: Outputs
    seed: int
    split: str
    random: Floats | None = None

    def view(self, model: int) -> View:
        """Take the defender's view of the target (0) or of shadow model ``model - 1``."""
        outputs = self.target if model == 0 else self.shadows.select(models=[model - 1])
        members = outputs.select(records=outputs.use[0] == 1)
        random = None if self.random is None else self.random[model]
        return View(members, self.reference.select(models=[model]), random)


@dataclass(frozen=True, eq=False)
class Pool:
    """Outputs of M models on one pool of N records; each model is the target once.

    Attributes:
        records: outputs on the pool, M models, N records. A pair of model and record that is
            hidden (``use`` -1) is not scored and counts as neither an in- nor an out-model.
        test: outputs on data for utility, M models; empty where utility is not measured.
        reference: outputs on known non-members of all models, which are the defender's reference
            set and the attacker's population, M models; may be empty.
        seed: the pool's seed.
        split: a hash of the parts that the records play.
        random: logits on random inputs, [M, R, K]; None without any.
        inputs: numbers [D, F] of the whole data set, of which ``ids`` are rows, for attacks that
            read inputs; None where they are not known or not read.

    Raises:
        InputError: if the parts have different numbers of models.
    """

    records: Outputs
    test: Outputs
    reference: Outputs
    seed: int
    split: str
    random: Floats | None = None
    inputs: Float64 | None = None

    def __post_init__(self) -> None:
        counts = {part.models for part in (self.records, self.test, self.reference)}
        if len(counts) > 1 or (self.random is not None and len(self.random) not in counts):
            raise InputError(
                f"The parts of the pool are of {sorted(counts)} models.",
                "Query every model with all parts.",
            )

    @property
    def models(self) -> int:
        """M."""
        return self.records.models

    def take_first(self, models: int) -> Pool:
        """Take the pool of the first ``models`` models."""
        if models == self.models:
            return self
        return replace(
            self,
            records=self.records.select(models=slice(models)),
            test=self.test.select(models=slice(models)),
            reference=self.reference.select(models=slice(models)),
            random=None if self.random is None else self.random[:models],
        )

    def originals(self) -> Pool:
        """Take the pool without outputs on near-duplicates."""
        if self.records.inputs == self.reference.inputs == 1:
            return self
        return replace(
            self,
            records=self.records.select(inputs=slice(1)),
            reference=self.reference.select(inputs=slice(1)),
        )

    def view(self, model: int) -> View:
        """Take the defender's view of one model, without outputs on near-duplicates."""
        outputs = self.records.select(models=[model], inputs=slice(1))
        members = outputs.select(records=outputs.use[0] == 1)
        random = None if self.random is None else self.random[model]
        return View(members, self.reference.select(models=[model], inputs=slice(1)), random)
