"""Arrays of members and of non-members under names that end in _train and _test.

tensorflow/privacy's AttackInputData, outputs of Hugging Face's `Trainer.predict` saved under these
names, and SACRO-ML's arrays: ``logits_train`` or ``probs_train``, ``labels_train``, ``logits_test``
or ``probs_test``, ``labels_test``. The ending tells the membership.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from dynanoise.core.errors import DataFileError, InputError

_ALIASES = {"proba": "probs", "y": "labels"}  # SACRO-ML's names
PARTS = ("train", "test")
NAMES = tuple(f"{name}_{part}" for name in ("logits", "probs", "labels") for part in PARTS)
"""Arrays of a file or a folder in this layout."""

_BEYOND = ("test_logits", "test_probs", "test_labels")


def common_name(name: str) -> str:
    """The layout's name of an array, for those that SACRO-ML calls otherwise.

    >>> common_name("proba_train"), common_name("y_test"), common_name("logits_test")
    ('probs_train', 'labels_test', 'logits_test')
    """
    start, _, part = name.rpartition("_")
    return f"{_ALIASES[start]}_{part}" if start in _ALIASES and part in PARTS else name


def is_train_test(names: Iterable[str]) -> bool:
    """True if the name of an array of outputs says that it is of members or of non-members."""
    outputs = {name for name in NAMES if not name.startswith("labels")}
    return any(common_name(name) in outputs for name in names)


def join_train_test(path: Path, arrays: Mapping[str, npt.NDArray[Any]]) -> dict[str, Any]:
    """Put members and non-members together.

    Args:
        path: file or folder, for messages.
        arrays: by name.

    Returns:
        ``logits`` or ``probs``, ``labels`` and ``member`` as `audits.inputs.check_inputs` takes
        them.

    Raises:
        DataFileError: if an array is missing, or another one is there.
        InputError: if arrays do not fit together.
    """
    named = {common_name(name): array for name, array in arrays.items()}
    mixed = [name for name in named if name in (*_BEYOND, "member", "logits", "probs", "labels")]
    if mixed:
        part = next(name for name in named if name in NAMES)
        raise DataFileError(
            f"{path} holds both {part!r} and {mixed[0]!r}, which are of two layouts.",
            "logits_test are outputs on the non-members of an audit; test_logits are those on "
            "records beyond members and non-members. Use names of one layout.",
        )
    unknown = [name for name in named if name not in NAMES]
    kind = next((kind for kind in ("logits", "probs") if f"{kind}_train" in named), "logits")
    other = "probs" if kind == "logits" else "logits"
    needed = [f"{name}_{part}" for name in (kind, "labels") for part in PARTS]
    missing = [name for name in needed if name not in named]
    if unknown or missing or any(f"{other}_{part}" in named for part in PARTS):
        what = (
            f"no {missing[0]!r}" if missing else f"{(unknown or [f'both {kind} and {other}'])[0]}"
        )
        raise DataFileError(
            f"{path} holds {what} beside {', '.join(sorted(set(named) - set(unknown)))}.",
            "Give logits_train (or probs_train), labels_train, logits_test (or probs_test) and "
            "labels_test.",
        )
    outputs = [named[f"{kind}_{part}"] for part in PARTS]
    if outputs[0].ndim != 2 or outputs[0].shape[1:] != outputs[1].shape[1:]:
        raise InputError(
            f"{kind}_train has shape {outputs[0].shape} and {kind}_test {outputs[1].shape}.",
            "Give [N, K] each, of one model with K classes.",
        )
    labels = [named[f"labels_{part}"] for part in PARTS]
    for part, rows, truth in zip(PARTS, outputs, labels, strict=True):
        if len(rows) != len(truth):
            raise InputError(
                f"{kind}_{part} holds {len(rows):,} records and labels_{part} {len(truth):,}.",
                "Give the true class of each record.",
            )
    counts = [len(rows) for rows in outputs]
    return {
        kind: np.concatenate(outputs),
        "labels": np.concatenate(labels),
        "member": np.repeat(np.array([1, 0], dtype=np.int8), counts),
    }
