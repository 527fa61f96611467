"""Arrays of members and of non-members under names that end in _train and _test.

tensorflow/privacy's AttackInputData, outputs of Hugging Face's `Trainer.predict` saved under these
names, and SACRO-ML's arrays: ``logits_train`` or ``probs_train``, ``labels_train``, ``logits_test``
or ``probs_test``, ``labels_test``. The ending tells the membership.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from dynanoise.core.errors import DataFileError, InputError

_ALIASES = {"proba": "probs", "y": "labels"}  # SACRO-ML's names
PARTS = ("train", "test")


def by_part(names: Iterable[str]) -> list[str]:
    """Names of the arrays of further values of the records, such as persons.

    >>> by_part(["patient"])
    ['patient_train', 'patient_test']
    """
    return [f"{name}_{part}" for name in names for part in PARTS]


NAMES = tuple(by_part(("logits", "probs", "labels")))
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


def join_train_test(
    path: Path, arrays: Mapping[str, npt.NDArray[Any]], also: Sequence[str] = ()
) -> dict[str, Any]:
    """Put members and non-members together.

    Args:
        path: file or folder, for messages.
        arrays: by name.
        also: names of further values of the records, each in two arrays as of `by_part`.

    Returns:
        ``logits`` or ``probs``, ``labels`` and ``member`` as `audits.inputs.check_inputs` takes
        them, and the further values.

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
    unknown = [name for name in named if name not in (*NAMES, *by_part(also))]
    kind = next((kind for kind in ("logits", "probs") if f"{kind}_train" in named), "logits")
    other = "probs" if kind == "logits" else "logits"
    needed = by_part((kind, "labels", *also))
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
    values = {name: [named[array] for array in by_part([name])] for name in ("labels", *also)}
    for name, arrays_of in values.items():
        for part, rows, array in zip(PARTS, outputs, arrays_of, strict=True):
            if len(rows) != len(array):
                raise InputError(
                    f"{kind}_{part} holds {len(rows):,} records and {name}_{part} {len(array):,}.",
                    "Give one value for each record.",
                )
    counts = [len(rows) for rows in outputs]
    return {
        kind: np.concatenate(outputs),
        **{name: np.concatenate(arrays_of) for name, arrays_of in values.items()},
        "member": np.repeat(np.array([1, 0], dtype=np.int8), counts),
    }
