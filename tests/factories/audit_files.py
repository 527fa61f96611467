"""Made-up answers of models, as users bring them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from dynanoise.audits.inputs import AuditInputs, check_inputs
from dynanoise.core import numerics

Arrays = dict[str, Any]
"""Arrays by the names of a file; `Any`, so that they can be passed as keyword arguments."""


def arrays(
    models: int = 8,
    records: int = 200,
    classes: int = 3,
    leak: float = 2.0,
    tests: int = 100,
    halves: bool = False,
    seed: int = 0,
) -> Arrays:
    """Logits that are ``leak`` higher for members' true class; one model gives [N, K] and [N].

    Args:
        models: M.
        records: N.
        classes: K.
        leak: added to the true class of members.
        tests: T, of records that no model was trained on; 0 for none.
        halves: every record is in exactly half of the models, instead of fair coins.
        seed: seed of all random numbers.
    """
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, classes, records + tests)
    member = generator.random((models, records)) < 0.5
    if halves:
        member = generator.permuted(
            np.repeat(np.arange(models)[:, None] < models // 2, records, axis=1), axis=0
        )
    base = generator.normal(0, 1, (records + tests, classes))
    logits = base + generator.normal(0, 0.7, (models, records + tests, classes))
    logits[:, np.arange(records + tests), labels] += 1.5
    logits[:, np.arange(records), labels[:records]] += leak * member
    files: Arrays = {
        "logits": logits[:, :records],
        "labels": labels[:records],
        "member": member.astype(np.int8),
    }
    if tests:
        files |= {"test_logits": logits[:, records:], "test_labels": labels[records:]}
    if models == 1:
        alone = {"logits", "member", "test_logits"}
        files = {name: value[0] if name in alone else value for name, value in files.items()}
    return files


def probabilities(files: Mapping[str, npt.NDArray[Any]], dtype: Any = np.float64) -> Arrays:
    """The same with probabilities instead of logits."""
    return {
        name.replace("logits", "probs"): numerics.softmax(value).astype(dtype)
        if "logits" in name
        else value
        for name, value in files.items()
    }


def given(**choices: Any) -> AuditInputs:
    """`arrays`, checked."""
    return check_inputs("made up", **arrays(**choices))
