"""Out-of-fold models as a folder: K ONNX graphs, the cells, the exclusion, and their digests.

The cells stay outside the graphs. ONNX promises neither the order of a sum nor its rounding, and an
input at the border of a cell that another runtime sends to another model could be answered by one
that was trained on it; and a graph would have to hold the key. So the fold of a query is found by
the code that found it for the training.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from dynanoise.core.errors import DataFileError, InputError
from dynanoise.core.files import write_atomically, writing
from dynanoise.integrations.onnx_inputs import Array
from dynanoise.integrations.onnx_model import Classifier, open_classifier, read_graph
from dynanoise.noise.keys import Pinned, Secret
from dynanoise.partition.cells import Cells
from dynanoise.partition.exclusion import Exclusion
from dynanoise.partition.proof import EXCLUSION, read_proof, write_proof

MODELS = "models.json"
"""The file that names the graphs in the order of the folds, with the SHA-256 of all files."""

VERSION = 1

_EXPORT_AGAIN = "Export the models again."


@dataclass(frozen=True, eq=False)
class Routed(Classifier):
    """K classifiers, of which the one of a record's fold computes its output.

    The other attributes are those of the first classifier; all have the same inputs and output.

    Attributes:
        classifiers: the K classifiers, in the order of the folds.
        cells: the partition; a secret key is read once.
    """

    classifiers: tuple[Classifier, ...] = ()
    cells: Cells | None = None

    def folds(self, feed: Mapping[str, Array]) -> Array:
        """The fold of each record, int64 [n].

        Args:
            feed: arrays by the names of all inputs, records first. Several inputs are the columns
                of the reference data, in their order.
        """
        arrays = [feed[each.name] for each in self.inputs]
        assert self.cells is not None
        if len(arrays) == 1:
            return self.cells.fold(arrays[0])
        columns = [values.reshape(len(values), -1).astype(object) for values in arrays]
        return self.cells.fold(np.concatenate(columns, axis=1))

    def run(self, feed: Mapping[str, Array], options: Any = None) -> Array:
        """See `Classifier.run`; errors are also those of `Cells.fold`."""
        folds = self.folds(feed)
        rows = [np.flatnonzero(folds == fold) for fold in np.unique(folds)]
        if len(rows) < 2:
            return self.classifiers[folds[0] if len(folds) else 0].run(feed, options)
        parts = [
            self.classifiers[folds[part[0]]].run(
                {name: values[part] for name, values in feed.items()}, options
            )
            for part in rows
        ]
        return np.asarray(np.concatenate(parts)[np.concatenate(rows).argsort()])


def open_model(
    path: Path,
    *,
    output: str | None = None,
    class_axis: int = -1,
    kind: str | None = None,
    options: Any = None,
    providers: Sequence[Any] = (),
) -> Classifier:
    """Open a model: an ONNX file, or a folder of out-of-fold models.

    Args:
        path: the file or the folder.
        output: name of its output, see `onnx_model.read_graph`.
        class_axis: axis of the classes.
        kind: "logits" or "probabilities" as declared by the user; None to take either.
        options: onnxruntime.SessionOptions, or None.
        providers: providers of ONNX Runtime; () for the processor.

    Raises:
        DataFileError: see `onnx_model.read_graph` and `onnx_model.open_classifier`; or if a file of
            the folder is missing or damaged, or the graphs have different inputs or outputs.
        InputError: if the output is missing or has to be chosen; or see `proof.read_proof`.
        SecretError: if the key of the cells is a secret and there is none.
        MissingExtraError: if a package is not installed.
    """
    named: dict[str, Any] = {"output": output, "class_axis": class_axis, "kind": kind}
    if not path.is_dir():
        return open_classifier(read_graph(path, **named), options, providers)
    files, digest = _read_models(path)
    cells, exclusion = read_proof(path)
    if len(files) != cells.folds or exclusion.left_out.shape[0] != cells.folds:
        raise DataFileError(
            f"{path} has {len(files)} graphs and {cells.folds} folds.", _EXPORT_AGAIN
        )
    if isinstance(cells.key, Secret):
        cells = replace(cells, key=Pinned(cells.key.reference))
    graphs = [read_graph(file, **named) for file in files]
    opened = [open_classifier(graph, options, providers) for graph in graphs]
    _check_alike(path, opened)
    # A missing value is taken if every model takes it.
    several = zip(*(each.inputs for each in opened), strict=True)
    inputs = tuple(replace(same[0], missing=all(each.missing for each in same)) for same in several)
    first = {each.name: getattr(opened[0], each.name) for each in fields(Classifier)}
    first |= {
        "path": path,
        "inputs": inputs,
        "digest": digest,
        "kind": opened[0].kind if len({each.kind for each in opened}) == 1 else None,
        "external": any(each.external for each in opened),
        "batch_dependent": any(each.batch_dependent for each in opened),
    }
    return Routed(**first, classifiers=tuple(opened), cells=cells)


def write_models(folder: Path, graphs: Sequence[bytes], cells: Cells, exclusion: Exclusion) -> str:
    """Write a folder that `open_model` opens and `dynanoise verify` checks.

    Args:
        folder: made if it is not there.
        graphs: an ONNX model for each fold, in their order.
        cells: the partition.
        exclusion: the models that each training record was left out of.

    Returns:
        The digest that stands for the folder in keyed noise: the SHA-256 of `MODELS`.

    Raises:
        InputError: if a file cannot be written, or graphs, cells and exclusion do not fit.
        MissingExtraError: if safetensors is not installed.
    """
    if len(graphs) != cells.folds:
        raise InputError(
            f"There are {len(graphs)} graphs, and the cells have {cells.folds} folds.",
            "Pass a graph for each fold, in their order.",
        )
    write_proof(folder, cells, exclusion)
    content = {f"model_{fold}.onnx": graph for fold, graph in enumerate(graphs)}
    with writing(folder):
        for name, graph in content.items():
            write_atomically(folder / name, graph)
        digests = {name: hashlib.sha256(graph).hexdigest() for name, graph in content.items()}
        about = {
            "version": VERSION,
            "models": digests,
            "cells": cells.digest,
            "exclusion": hashlib.sha256((folder / EXCLUSION).read_bytes()).hexdigest(),
        }
        text = json.dumps(about, indent=1) + "\n"
        write_atomically(folder / MODELS, text.encode())
    return hashlib.sha256(text.encode()).hexdigest()


def _read_models(folder: Path) -> tuple[list[Path], str]:
    """The files of the graphs, checked, and the digest of the folder."""
    try:
        text = (folder / MODELS).read_bytes()
        about = json.loads(text)
        version = about["version"]
        if version != VERSION:
            raise DataFileError(
                f"{folder} is of version {version!r}, and this release reads {VERSION}.",
                "Use the release that exported the models, or export them again.",
            )
        named = {**about["models"], EXCLUSION: about["exclusion"]}
        for name, sha256 in named.items():
            if hashlib.sha256((folder / Path(name).name).read_bytes()).hexdigest() != sha256:
                raise DataFileError(
                    f"{folder / name} is damaged: its digest is not that in {MODELS}.",
                    _EXPORT_AGAIN,
                )
        files = [folder / Path(name).name for name in about["models"]]
        cells = str(json.loads((folder / "cells.json").read_text())["digest"])
        if cells != about["cells"]:
            raise DataFileError(
                f"The cells in {folder} are {cells[:12]}, and the models were exported with "
                f"{about['cells'][:12]}.",
                "Take the cells of the training: others send inputs to other models.",
            )
    except OSError as error:
        raise DataFileError(
            f"{error.filename} cannot be read ({error.strerror}).",
            "Name an ONNX file, or a folder that `dynanoise export` wrote.",
        ) from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        if isinstance(error, DataFileError):
            raise
        raise DataFileError(f"{folder} is damaged ({error}).", _EXPORT_AGAIN) from error
    return files, hashlib.sha256(text).hexdigest()


def _check_alike(folder: Path, opened: Sequence[Classifier]) -> None:
    """Refuse graphs that differ, round their inputs, or have no first axis of records."""
    first = opened[0]

    def shape(each: Classifier) -> Any:
        takes = [(spec.name, spec.dtype, spec.dims[1:]) for spec in each.inputs]
        return takes, each.output.name, each.output.kind, each.output.classes

    for number, each in enumerate(opened):
        if shape(each) != shape(first):
            raise DataFileError(
                f"Models 0 and {number} in {folder} have different inputs or outputs.",
                "Export all of them in one way, with the same classes.",
            )
        half = [spec.name for spec in each.inputs if spec.dtype == np.float16]
        if half:
            raise DataFileError(
                f"Input {half[0]} of model {number} in {folder} is float16, and a rounded record "
                "may be in the cell of another model.",
                "Export it with inputs of float32, which the graph may convert.",
            )
        fixed = any(not spec.dims or isinstance(spec.dims[0], int) for spec in each.inputs)
        if each.output.axis == 0 or (fixed and each.batch is None):
            raise DataFileError(
                f"Model {number} in {folder} has no axis of records.",
                "Export it with a first axis of variable length, [batch, ...].",
            )
