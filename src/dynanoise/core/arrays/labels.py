"""Labels and membership of a user, checked alike wherever they come in.

Files, tables, the command line and the Python functions all call these, so that each accepts the
same arrays and refuses the others in the same sentences.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from dynanoise.core.errors import InputError
from dynanoise.core.numerics import Int8, Int64

_MISSING = ("", "nan", "<na>")
"""Texts that stand for a missing value: what `str` makes of one."""

_MISSING_TYPES = ("NoneType", "NAType", "NaTType")

_WHOLE = re.compile(r"[+-]?\d+(\.0*)?")

_FLAGS = {"true": 1, "false": 0}

_PLURAL = re.compile(r"(The )?(\w+_)?(labels|logits|probs|outputs|probabilities)\b")
"""Names of arrays that take a verb in the plural."""


def check_labels(
    values: Any, name: str = "labels", *, classes: int | None = None
) -> npt.NDArray[Any]:
    """Check class labels of any kind.

    Args:
        values: one label a record: whole numbers of any dtype, booleans or texts, [N] or [N, 1]; or
            one-hot rows [N, K], which become class numbers. Lists, arrays and columns of any
            library, dense or sparse.
        name: name of the array in messages.
        classes: K, where it is known: the width of one-hot rows.

    Returns:
        [N], of booleans, integers, whole floating-point numbers or texts.

    Raises:
        InputError: if a label is missing, or is neither a whole number nor a text, or the shape is
            that of something else.

    >>> check_labels(np.array([[0, 1], [1, 0]]))
    array([1, 0])
    >>> check_labels(["cat", None], "y")
    Traceback (most recent call last):
    dynanoise.core.errors.InputError: y holds None in row 1. Give every record a label, or leave ...
    """
    labels = _plain(values, name, "Give every record a label, or leave the record out.")
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    elif labels.ndim == 2:
        return _one_hot(labels, name, classes)
    if labels.ndim != 1:
        raise InputError(
            f"{name} {has(name)} shape {labels.shape}.", "Give one label a record, a 1d array [N]."
        )
    if labels.dtype.kind == "f":
        _check_whole(
            labels,
            name,
            "Unknown label type: labels are class numbers from 0, or texts; is a column of "
            "probabilities in their place?",
        )
    return labels


def class_numbers(
    values: Any, name: str = "labels", *, classes: int | None = None, names: Sequence[str] = ()
) -> tuple[Int64, tuple[str, ...]]:
    """Number the classes of labels.

    Whole numbers are class numbers, also as booleans, floats and texts. Other texts are numbered by
    ``names``, or without them in sorted order, which must then be all classes there are.

    Args:
        values: labels as `check_labels` takes them.
        name: name of the array in messages.
        classes: K, the number of classes, where it is known.
        names: the classes in the order of their numbers, where it is known.

    Returns:
        Class numbers int64 [N], in 0..K-1 where K is known; and the names, () for numbers.

    Raises:
        InputError: errors of `check_labels`; if a label is out of range or not among the names, or
            texts name fewer or more classes than there are.

    >>> class_numbers(["dog", "cat", "dog"])
    (array([1, 0, 1]), ('cat', 'dog'))
    >>> class_numbers(["dog"], names=("bird", "cat", "dog"))
    (array([2]), ('bird', 'cat', 'dog'))
    >>> class_numbers([0.0, 2.0], classes=3)
    (array([0, 2]), ())
    """
    labels = check_labels(values, name, classes=classes)
    if names:
        return _numbered_by(labels, tuple(names), name), tuple(names)
    if labels.dtype.kind != "U":
        return _in_range(labels.astype(np.int64), name, classes), ()
    texts, numbers = np.unique(labels, return_inverse=True)
    if all(_WHOLE.fullmatch(text) for text in texts):
        whole = np.array([int(float(text)) for text in texts], dtype=np.int64)
        if classes is not None or np.array_equal(np.sort(whole), np.arange(len(whole))):
            return _in_range(whole[numbers], name, classes), ()
        order = np.argsort(whole, kind="stable")
        texts, numbers = texts[order], np.argsort(order)[numbers]
    if classes is not None and len(texts) != classes:
        raise InputError(
            f"{name} {hold(name)} {len(texts)} different texts, and there are {classes} classes.",
            "Give class numbers from 0, in the model's order: texts are numbered in sorted order, "
            "which needs every class.",
        )
    return numbers.astype(np.int64), tuple(texts.tolist())


def check_membership(values: Any, models: int, records: int, name: str = "member") -> Int8:
    """Check membership.

    Args:
        values: [N] or [N, 1] for one model, [M, N] for M models: 1, True or "true" = the model was
            trained on the record; 0, False or "false" = it was not; -1 = unknown.
        models: M.
        records: N.
        name: name of the array in messages.

    Returns:
        int8 [M, N].

    Raises:
        InputError: if a value is missing or something else, or the shape does not fit.

    >>> check_membership(["True", "false"], 1, 2).tolist()
    [[1, 0]]
    """
    remedy = "Use 1 for trained on, 0 for not trained on, -1 for unknown."
    member = _plain(values, name, remedy)
    if member.dtype.kind == "U":
        member = _flags(member, name, remedy)
    if models == 1 and member.shape in ((records,), (records, 1)):
        member = member.reshape(1, records)
    if member.shape != (models, records):
        turned = models > 1 and member.shape == (records, models)
        raise InputError(
            f"{name} {has(name)} shape {member.shape} for {models} models and {records} records.",
            "Its axes are [M, N], models first: "
            + (f"pass {name}.T." if turned else "one row a model, and for one model [N]."),
        )
    odd = ~np.isin(member, (-1, 0, 1))
    if odd.any():
        index = tuple(int(i) for i in np.argwhere(odd)[0])
        place = f"row {index[1]}" if models == 1 else f"row {index[1]} of model {index[0]}"
        raise InputError(f"{name} {hold(name)} {member[index]} in {place}.", remedy)
    return member.astype(np.int8)


def _plain(values: Any, name: str, remedy: str) -> npt.NDArray[Any]:
    """Array of booleans, numbers or texts; a missing or other value is refused by its row."""
    array = _array(values, name)
    if isinstance(values, np.ma.MaskedArray) and np.ma.getmaskarray(values).any():
        raise _holds(name, "a masked value", np.ma.getmaskarray(values), remedy)
    if array.dtype.kind == "S":
        array = np.char.decode(array, "utf-8")
    if array.dtype.kind == "O":
        array = _resolved(array, name, remedy)
    if array.dtype.kind == "c":
        raise InputError(f"Complex data not supported: {name} {has(name)} them.", "Give numbers.")
    if array.dtype.kind not in "biufU":
        raise InputError(
            f"{name} {has(name)} dtype {array.dtype}.", "Give whole numbers, booleans or texts."
        )
    if array.dtype.kind == "U":
        missing = np.isin(np.char.lower(np.char.strip(array)), _MISSING)
        if missing.any():
            raise _holds(name, repr(str(array[missing].flat[0])), missing, remedy)
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        infinite = ~np.isfinite(array)
        raise _holds(name, str(array[infinite].flat[0]), infinite, remedy)
    return array.astype(array.dtype.newbyteorder("="), copy=False)


def _array(values: Any, name: str) -> npt.NDArray[Any]:
    if hasattr(values, "toarray"):  # sparse matrices of SciPy
        values = values.toarray()
    # NumPy makes text of numbers, None and NaN that stand among texts.
    kind = object if isinstance(values, list | tuple) else None
    try:
        array = np.asarray(values, dtype=kind)
    except (TypeError, ValueError, RuntimeError) as error:
        raise InputError(
            f"{name} of type {type(values).__name__} do not make an array ({error}).",
            "Pass a NumPy array; from torch, tensor.detach().cpu().numpy().",
        ) from error
    # Texts of pandas and of NumPy's StringDType, with missing ones among them.
    return array.astype(object) if array.dtype.kind == "T" else array


def _resolved(array: npt.NDArray[Any], name: str, remedy: str) -> npt.NDArray[Any]:
    """Array of one kind from an array of objects."""
    flat = array.ravel()
    missing = np.array([_is_missing(value) for value in flat], dtype=bool)
    if missing.any():
        raise _holds(name, repr(flat[missing][0]), missing.reshape(array.shape), remedy)
    texts = np.array([isinstance(value, str | bytes) for value in flat], dtype=bool)
    if texts.all() and len(flat):
        plain = [value.decode() if isinstance(value, bytes) else str(value) for value in flat]
        return np.array(plain, dtype=str).reshape(array.shape)
    if texts.any():
        number = str(flat[~texts][0])
        raise InputError(
            f"{name} {hold(name)} texts and other values: "
            f"{str(flat[texts][0])!r} in row {int(np.argmax(texts))}, {number} in row "
            f"{int(np.argmax(~texts))}.",
            "Give labels of one kind.",
        )
    try:
        plain_array = np.array([_scalar(value) for value in flat])
    except (TypeError, ValueError):
        plain_array = np.array([], dtype=object)
    if plain_array.dtype.kind not in "biuf" or plain_array.shape != flat.shape:
        kind = type(flat[0]).__name__ if len(flat) else "nothing"
        raise InputError(
            f"{name} {hold(name)} values of type {kind}.",
            "Give whole numbers, booleans or texts, one a record.",
        )
    return plain_array.reshape(array.shape)


def _scalar(value: Any) -> Any:
    return value.item() if hasattr(value, "item") else value


def _is_missing(value: Any) -> bool:
    if type(value).__name__ in _MISSING_TYPES or value is np.ma.masked:
        return True
    return isinstance(value, float | np.floating) and bool(value != value)  # noqa: PLR0124


def _holds(name: str, value: str, where: npt.NDArray[Any], remedy: str) -> InputError:
    """Error that names a value and the first row that holds it."""
    index = tuple(int(i) for i in np.argwhere(where)[0])
    if not index:  # a single value in place of an array
        return InputError(f"{name} {'are' if _plural(name) else 'is'} {value}.", remedy)
    place = f"row {index[0]}"
    if len(index) == 2 and where.shape[1] > 1:
        place = f"row {index[0]}, column {index[1]}"
    return InputError(f"{name} {hold(name)} {value} in {place}.", remedy)


def _check_whole(values: npt.NDArray[Any], name: str, remedy: str) -> None:
    fractional = values != np.round(values)
    if fractional.any():
        raise _holds(name, str(values[fractional].flat[0]), fractional, remedy)


def _one_hot(rows: npt.NDArray[Any], name: str, classes: int | None) -> Int64:
    """Class numbers of one-hot rows [N, K]."""
    shape = f"{name} {has(name)} shape {rows.shape}"
    if rows.dtype.kind == "U":
        raise InputError(f"{shape} and hold texts.", "Give one label a record, a 1d array [N].")
    binary = np.isin(rows, (0, 1)).all(axis=1)
    if not binary.all():
        row = int(np.argmin(binary))
        raise InputError(
            f"{shape}, and row {row} holds {rows[row][~np.isin(rows[row], (0, 1))][0]}.",
            "Give one label a record, a 1d array, or one-hot rows of zeros and a single 1.",
        )
    ones = rows.astype(np.int64).sum(axis=1)
    if (ones != 1).any():
        row = int(np.argmax(ones != 1))
        raise InputError(
            f"{shape}, and row {row} holds {ones[row]} ones.",
            "Give one label a record, a 1d array, or one-hot rows of zeros and a single 1; a model "
            "of several yes-or-no labels is audited one label at a time.",
        )
    if classes is not None and rows.shape[1] != classes:
        raise InputError(
            f"{shape}, and there are {classes} classes.",
            "Give one-hot rows of the model's classes.",
        )
    numbers: Int64 = rows.argmax(axis=1).astype(np.int64)
    return numbers


def _in_range(numbers: Int64, name: str, classes: int | None) -> Int64:
    if classes is None or not len(numbers):
        return numbers
    if numbers.min() == 1 and numbers.max() == classes:
        raise InputError(
            f"{name} go{'' if _plural(name) else 'es'} from 1 to {classes} with {classes} classes.",
            "Count classes from 0: subtract 1.",
        )
    outside = (numbers < 0) | (numbers >= classes)
    if outside.any():
        raise InputError(
            f"{name} {hold(name)} {numbers[outside][0]} with {classes} classes.",
            f"Labels count from 0 to {classes - 1}.",
        )
    return numbers


def _numbered_by(labels: npt.NDArray[Any], names: tuple[str, ...], name: str) -> Int64:
    """Positions of labels among the names of the classes, or class numbers as they are."""
    values, places = np.unique(labels, return_inverse=True)
    whole = labels.dtype.kind != "U"
    texts = [str(int(value)) if whole else str(value) for value in values]
    if whole and not all(_WHOLE.fullmatch(text) for text in names):
        return _in_range(labels.astype(np.int64), name, len(names))
    positions = {text: position for position, text in enumerate(names)}
    unknown = [position for position, text in enumerate(texts) if text not in positions]
    if unknown:
        raise InputError(
            f"{name} {hold(name)} {texts[unknown[0]]!r}, which is not a class of the model.",
            f"Its classes are {', '.join(names[:20])}{', ...' if len(names) > 20 else ''}.",
        )
    return np.array([positions[text] for text in texts], dtype=np.int64)[places]


def _flags(member: npt.NDArray[Any], name: str, remedy: str) -> Int64:
    """Membership from texts."""
    texts, places = np.unique(np.char.lower(np.char.strip(member)), return_inverse=True)
    whole = [int(float(text)) if _WHOLE.fullmatch(text) else None for text in texts.tolist()]
    values = [_FLAGS.get(text, value) for text, value in zip(texts.tolist(), whole, strict=True)]
    odd = np.array([value is None for value in values])[places].reshape(member.shape)
    if odd.any():
        raise _holds(name, repr(str(member[odd].flat[0])), odd, remedy)
    return np.array(values, dtype=np.int64)[places].reshape(member.shape)


def _plural(name: str) -> bool:
    return _PLURAL.match(name) is not None


def hold(name: str) -> str:
    """The verb "hold" after the name of an array, as its number demands."""
    return "hold" if _plural(name) else "holds"


def has(name: str) -> str:
    """The verb "have" after the name of an array, as its number demands."""
    return "have" if _plural(name) else "has"
