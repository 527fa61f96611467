"""Files of model outputs: npz, parquet and csv, read without running code from them."""

from __future__ import annotations

import difflib
import io
import re
import shlex
from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from dynanoise.audits.columns import UNNAMED, ColumnNames, Columns
from dynanoise.audits.inputs import AuditInputs, check_inputs
from dynanoise.audits.layouts.arrays import open_array
from dynanoise.audits.layouts.train_test import NAMES as NAMED
from dynanoise.audits.layouts.train_test import (
    by_part,
    common_name,
    is_train_test,
    join_train_test,
)
from dynanoise.core.arrays.npz import open_npz
from dynanoise.core.arrays.predictions import AXES
from dynanoise.core.errors import DataFileError
from dynanoise.core.files import write_atomically
from dynanoise.data.columns import check_named, is_identifier, read_columns

NAMES = ("logits", "probs", "labels", "member", "test_logits", "test_probs", "test_labels")
"""Arrays that a file may hold."""

PERSONS, CLASSES, GROUPS = "groups", "class_names", "by_"
"""Arrays of npz with the persons [N] and the names of the classes [K], and the beginning of the
names of those with groups [N]: they are read without being named."""

_ALIASES = {"label": "labels"}
EXAMPLE = (
    "Write np.savez(FILE, probs=probs, labels=labels, member=member), of shapes [N, K], [N] and "
    "[N], where member is 1 for records trained on."
)
_SYNONYMS = {
    "labels": {"y", "y_true", "target", "targets", "truth", "classes"},
    "probs": {"predictions", "preds", "prob", "proba", "probabilities", "y_prob", "y_proba"}
    | {"scores", "outputs", "y_pred", "predict_proba"},
    "logits": {"logit"},
    "member": {"is_member", "members", "membership", "train", "is_train", "in_train"},
}
_COLUMN = re.compile(r"p(\d+)")


def read_outputs(path: Path, named: ColumnNames = UNNAMED) -> AuditInputs:
    """Read model outputs and membership from a file.

    Args:
        path: ``.npz`` with ``logits`` or ``probs`` ([N, K], or [M, N, K] for M models), ``labels``
            [N], ``member`` ([N] or [M, N]), and where there is test data ``test_logits`` or
            ``test_probs`` ([T, K] or [M, T, K]) with ``test_labels`` [T]; also ``groups`` [N],
            the person of each record, ``by_NAME`` [N], groups of records, and ``class_names`` [K],
            all of which `write_outputs` writes. ``.parquet`` with one
            row a record: a column ``logits`` or ``probs`` of lists (of K numbers, or for M models
            of M lists of K), ``labels`` and ``member`` (a number, or a list of M). ``.csv``, and
            parquet without such a column: columns p0 .. p{K-1}, label and member. Columns are read
            as by `data.columns.read_columns`, and labels have one of its names. Or, in npz or as
            npy files in a folder, the arrays of `layouts.train_test`.
        named: further arrays [N] or columns of the file; in the layout of members and non-members
            each is two arrays, NAME_train and NAME_test.

    Returns:
        The checked arrays, named after the file.

    Raises:
        DataFileError: if the file cannot be read as such, or holds an unknown name.
        InputError: if its arrays do not fit together, see `check_inputs`.
        TooFewRecordsError: for a handful of records.
        MissingExtraError: if parquet is to be read and pyarrow is not installed.
    """
    if path.is_dir():
        files = train_test_files(path, named.names)
        if files:
            _check_parts(path, named, [file.stem for file in path.glob("*.npy")])
        arrays = {file.stem: np.array(open_array(file, texts=True)) for file in files}
        if arrays:
            return _with_columns(path.name, named, join_train_test(path, arrays, named.names))
    readers = {".npz": _npz, ".csv": _table, ".parquet": _table}
    kind = path.suffix.lower()
    if path.is_dir() or kind == ".npy":
        raise DataFileError(
            f"{path} is a {'folder' if path.is_dir() else 'single array'}.",
            "Put the outputs of its models into one file: np.savez(file, logits=logits, "
            f"labels=labels, member=member). {AXES}",
        )
    if kind not in readers:
        raise DataFileError(
            f"{path} ends in {path.suffix or 'nothing'}.",
            "With results of dynanoise, use dynanoise show."
            if kind == ".json"
            else f"Use one of {', '.join(readers)}.",
        )
    if not path.is_file():
        raise DataFileError(f"There is no file {path}.", "Check the path.")
    return _with_columns(path.stem, named, readers[kind](path, named))


def _with_columns(name: str, named: ColumnNames, values: dict[str, Any]) -> AuditInputs:
    """Check outputs, the named columns beside them, and those that the file itself names."""
    # Before a column of the same name is taken out, such as by --by groups.
    held_persons = values.get(PERSONS)
    named = _not_held(named, values)
    columns = named.choose({name: values.pop(name) for name in named.names})
    held = [name for name in values if name.startswith(GROUPS)]
    by = {name.removeprefix(GROUPS): values.pop(name) for name in held}
    values.pop(PERSONS, None)
    persons = held_persons if columns.persons is None else columns.persons
    columns = Columns({**by, **columns.by}, persons)
    classes = tuple(map(str, np.ravel(values.pop(CLASSES, ())).tolist()))
    inputs = check_inputs(name, **values, class_names=classes)
    return replace(inputs, columns=columns.check(len(inputs.labels)))


def _not_held(named: ColumnNames, held: Container[str]) -> ColumnNames:
    """The named columns without groups that a file holds as by_NAME."""
    return replace(named, by=tuple(name for name in named.by if GROUPS + name not in held))


def train_test_files(folder: Path, also: Sequence[str] = ()) -> list[Path]:
    """List the npy files of a folder that hold members or non-members; see `layouts.train_test`.

    Args:
        folder: where to look.
        also: further values of the records to list, where there are outputs.
    """
    names = {*NAMED, *by_part(also)}
    files = [path for path in sorted(folder.glob("*.npy")) if common_name(path.stem) in names]
    return files if is_train_test(path.stem for path in files) else []


def _check_parts(path: Path, named: ColumnNames, names: Sequence[str]) -> None:
    """Check that the layout of members and non-members holds the named columns."""
    parts = [common_name(name).rpartition("_")[0] for name in names]
    check_named(path, named.names, list(dict.fromkeys(parts)), NAMES)


def write_outputs(inputs: AuditInputs, path: Path) -> None:
    """Write outputs, membership, groups and persons in the form that `read_outputs` reads.

    Args:
        inputs: checked arrays; logits are written where probabilities were passed, as ln p, and
            names of classes as labels where they are not the class numbers.
        path: file that ends in ".npz".

    Raises:
        DataFileError: if it ends otherwise.
        OSError: if it cannot be written.
    """
    if path.suffix.lower() != ".npz":
        raise DataFileError(f"{path} ends in {path.suffix or 'nothing'}.", "Use .npz.")
    names, labels, tested = np.array(inputs.class_names), inputs.labels, inputs.test_labels
    named = len(names) > 0 and names.tolist() != [str(label) for label in range(len(names))]
    if named:  # else names such as "1" would be taken for numbers of other classes
        labels, tested = names[labels], names[tested]
    arrays: dict[str, npt.NDArray[Any]] = {
        "logits": inputs.logits,
        "labels": labels,
        "member": inputs.member,
    }
    if len(tested):
        arrays |= {"test_logits": inputs.test_logits, "test_labels": tested}
    if named:
        arrays[CLASSES] = names
    if inputs.columns.persons is not None:
        arrays[PERSONS] = inputs.columns.persons
    arrays |= {GROUPS + name: values for name, values in inputs.columns.by.items()}
    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, **arrays)
    write_atomically(path, buffer.getvalue())


def _npz(path: Path, named: ColumnNames) -> dict[str, npt.NDArray[Any]]:
    with open_npz(path, f"Save arrays of numbers. {EXAMPLE}") as file:
        if is_train_test(file.names):
            _check_parts(path, named, file.names)
            arrays = {name: file.read(name) for name in file.names}
            return join_train_test(path, arrays, named.names)
        named = _not_held(named, file.names)
        check_named(path, named.names, file.names, NAMES)
        names = [name for name in file.names if not name.startswith(GROUPS)]
        allowed = (*NAMES, PERSONS, CLASSES, *named.names)
        _check_names(path, names, allowed, named, read=file.read)
        return {_ALIASES.get(name, name): file.read(name) for name in file.names}


def _check_names(
    path: Path,
    names: Sequence[str],
    allowed: tuple[str, ...],
    named: ColumnNames,
    *,
    read: Callable[[str], npt.NDArray[Any]],
    numbered: Mapping[str, int] | None = None,
) -> None:
    """Refuse unknown names, so that a misspelled name is not silently left out.

    Args:
        path: the file.
        names: names of its arrays or columns.
        allowed: names that are known.
        named: columns of the user, and whether more can be named.
        read: returns the values of a name.
        numbered: columns p0, p1, ... beside the names; None where outputs are lists or arrays.
    """
    for alias, name in _ALIASES.items():
        if alias in names and name in names:
            raise DataFileError(f"{path} holds both {alias!r} and {name!r}.", "Keep one of them.")
    unknown = [name for name in names if name not in allowed and name not in _ALIASES]
    if not unknown:
        return
    likely = {name: _likely(name, allowed) for name in unknown}
    listed = [f"{name!r}" + (f" ({likely[name]}?)" if likely[name] else "") for name in unknown]
    remedy = _remedy(
        {name: read(name) for name in unknown if not likely[name]}, named, numbered == {}
    )
    arrays = path.suffix.lower() == ".npz"
    raise DataFileError(
        f"{path} holds unknown {'arrays' if arrays else 'columns'}: {', '.join(listed)}.",
        f"{remedy}Known: {'' if numbered is None else 'p0, p1, ..., '}{', '.join(allowed)}."
        + (f" {EXAMPLE}" if arrays else ""),
    )


def _remedy(unknown: Mapping[str, npt.NDArray[Any]], named: ColumnNames, outputs: bool) -> str:
    """Propose by their values how to name columns, or to leave them out.

    Args:
        unknown: columns by name.
        named: whether columns can be named.
        outputs: True where columns of probabilities are missing.
    """
    shares = [name for name, values in unknown.items() if _are_shares(values)]
    if outputs and len(shares) > 1:
        return (
            f"Call probabilities p0, p1, ... in the order of the classes ({', '.join(shares)}?). "
        )
    numbered = [name for name, values in unknown.items() if is_identifier(name)]
    rows = [name for name in numbered if _all_differ(unknown[name])]
    persons = [name for name in numbered if name not in rows]
    groups = [name for name in unknown if name not in numbered]
    remedy = (
        f"Leave out {', '.join(rows)}, with another value in every row, such as an index (pandas: "
        "index=False). "
        if rows
        else ""
    )
    if not persons + groups:
        return remedy
    if not named.options:
        return f"{remedy}Leave out {', '.join(persons + groups)}. "
    options = [f"persons with --groups {shlex.quote(name)}" for name in persons]
    if groups:
        options.append(f"groups with {' '.join(f'--by {shlex.quote(name)}' for name in groups)}")
    if not persons:
        options.append("the column of persons with --groups")
    return f"{remedy}Leave {', '.join(persons + groups)} out, or name {', '.join(options)}. "


def _are_shares(values: npt.NDArray[Any]) -> bool:
    """True for fractions between 0 and 1."""
    inside = values.dtype.kind == "f" and bool(((values >= 0) & (values <= 1)).all())
    return inside and bool((values != values.round()).any())


def _all_differ(values: npt.NDArray[Any]) -> bool:
    """True for another value in every row."""
    return values.ndim == 1 and len(set(values.tolist())) == len(values)


def _likely(name: str, allowed: Sequence[str]) -> str:
    """The allowed name that an unknown one stands for; "" if none is close."""
    usual = next((word for word, others in _SYNONYMS.items() if name.lower() in others), name)
    for word in (usual, usual.removesuffix("s")):
        if word in allowed:
            return word
    return next(iter(difflib.get_close_matches(name.lower(), allowed, n=1)), "")


def _table(path: Path, named: ColumnNames) -> dict[str, npt.NDArray[Any]]:
    """Arrays of a csv or parquet file."""
    columns, also = read_columns(path), named.names
    label = columns.named_label()
    outputs = [name for name in columns.names if name == label or _spelled(name) != name]
    check_named(path, also, columns.names, (*NAMES, *outputs))
    names = {
        name: "labels" if name == label else name if name in also else _spelled(name)
        for name in columns.names
    }
    if len(set(names.values())) < len(names):
        raise DataFileError(f"{path} has a column twice.", "Name every column once.")
    columns = replace(columns, values={names[name]: columns.values[name] for name in names})
    values = dict(columns.values)
    lists = {"logits", "probs"} & set(values)
    numbered = {name: int(match[1]) for name in values if (match := _COLUMN.fullmatch(name))}
    read = values.__getitem__
    if lists:
        allowed = ("logits", "probs", "labels", "member", *also)
        _check_names(path, list(values), allowed, named, read=read)
    else:
        others = [name for name in values if name not in numbered and name != "labels"]
        _check_names(path, others, ("label", "member", *also), named, read=read, numbered=numbered)
        for name in numbered:
            if columns.is_text(name):
                raise DataFileError(
                    f"{columns.describe(name)} holds {columns.first_text(name)}.",
                    "Probabilities are numbers.",
                )
        return _joined(path, values, numbered)
    # One row a record in the file; models first in memory.
    for name in ("logits", "probs", "member"):
        if name in values and values[name].ndim == (2 if name == "member" else 3):
            values[name] = np.moveaxis(values[name], 1, 0)
    return values


def _spelled(name: str) -> str:
    """A column's name in small letters where that is a known one.

    >>> _spelled("Member"), _spelled("P0"), _spelled("Weight")
    ('member', 'p0', 'Weight')
    """
    small = name.lower()
    return small if small in NAMES or _COLUMN.fullmatch(small) else name


def _joined(
    path: Path, values: dict[str, npt.NDArray[Any]], numbered: Mapping[str, int]
) -> dict[str, npt.NDArray[Any]]:
    """Columns of probabilities put together in the order of their numbers."""
    order = sorted(numbered, key=numbered.__getitem__)
    if [numbered[name] for name in order] != list(range(len(order))) or len(order) < 2:
        raise DataFileError(
            f"{path} has these columns of probabilities: {', '.join(order) or 'none'}.",
            "Give one for each of K classes, p0 to p{K-1}, beside label and member.",
        )
    probs = np.stack([values.pop(name) for name in order], axis=1)
    return {"probs": probs, **values}
