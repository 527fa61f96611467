"""Logits, outputs, runs and views of models that were never trained."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from dynanoise.core.outputs import Outputs, Run, View

LARGEST_FLOAT32 = float(np.finfo(np.float32).max)


def logit_arrays(
    largest: float = 30.0, dtype: Any = np.float64, classes: int | None = None, rows: int = 6
) -> st.SearchStrategy[npt.NDArray[Any]]:
    """Finite logits [n, K] within ±largest."""
    elements = hnp.from_dtype(
        np.dtype(dtype),
        min_value=float(np.asarray(-largest, dtype)),
        max_value=float(np.asarray(largest, dtype)),
        allow_nan=False,
        allow_infinity=False,
    )
    shapes = st.tuples(st.integers(1, rows), st.just(classes) if classes else st.integers(2, 12))
    return shapes.flatmap(lambda shape: hnp.arrays(dtype, shape, elements=elements))


def read_only_copy(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """A copy that cannot be written to."""
    copy = array.copy()
    copy.flags.writeable = False
    return copy


def make_outputs(
    models: int = 1,
    records: int = 40,
    classes: int = 3,
    seed: int = 0,
    first_id: int = 0,
    members: int = 20,
    leak: float = 0.0,
) -> Outputs:
    """Random float32 outputs whose first ``members`` records were trained on."""
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, classes, records)
    rows = generator.normal(0, 2, (models, records, 1, classes)).astype(np.float32)
    used = np.arange(records) < members
    rows[:, np.arange(records), 0, labels] += 2 + leak * used
    use = np.broadcast_to(used, (models, records)).astype(np.int8)
    return Outputs(rows, labels, np.arange(records) + first_id, use)


def make_run(
    seed: int = 0, leak: float = 3.0, shadows: int = 3, members: int = 60, classes: int = 3
) -> Run:
    """A made-up run in the paper's layout, without training."""
    return Run(
        target=make_outputs(1, 100, classes, seed, members=members, leak=leak),
        shadows=make_outputs(shadows, 100, classes, seed + 1, members=50, leak=leak, first_id=100),
        test=make_outputs(1, 50, classes, seed + 2, members=0, first_id=200),
        reference=make_outputs(1 + shadows, 30, classes, seed + 3, members=0, first_id=300),
        seed=seed,
        split="made up",
        random=np.random.default_rng(seed + 4).normal(0, 2, (1 + shadows, 20, classes)),
    )


def make_view(seed: int = 0, classes: int = 3) -> View:
    """A defender's view of one model."""
    return make_run(seed, classes=classes).view(0)
