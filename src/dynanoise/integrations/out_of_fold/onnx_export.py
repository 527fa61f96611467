"""Export of out-of-fold models, of torch or scikit-learn, to a folder of ONNX graphs."""

from __future__ import annotations

import importlib
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dynanoise.core.errors import InputError, MissingExtraError
from dynanoise.integrations.out_of_fold.onnx_folder import write_models
from dynanoise.partition.exclusion import Exclusion

if TYPE_CHECKING:
    from dynanoise.integrations.out_of_fold.classifier import OutOfFoldClassifier
    from dynanoise.integrations.out_of_fold.router import Router


def export_out_of_fold(
    model: Router | OutOfFoldClassifier,
    folder: str | Path,
    inputs: Any,
    exclusion: Exclusion | None = None,
) -> str:
    """Export K models to a folder that answers each query by the model of its fold.

    The folder holds a graph for each model, the cells, the exclusion, and the digests of all of
    them. `DefendedSession`, ``dynanoise serve --model FOLDER`` and ``dynanoise audit --model
    FOLDER`` find the fold of a query by the code that found it for the training, in float64, bit
    for bit. ``dynanoise verify FOLDER`` checks the exclusion. The cells name the place of a secret
    key and never hold it.

    Args:
        model: a fitted `OutOfFoldClassifier`, whose classifiers skl2onnx converts; or a torch
            `Router` in evaluation mode, whose models torch.onnx exports.
        folder: made if it is not there; files of an earlier export are replaced.
        inputs: two or more inputs in the form that the model takes; only shape and types matter,
            and for a data frame the names and the order of its columns, which become an input each.
        exclusion: for a `Router`, the exclusion that its models were trained with.

    Returns:
        The digest that stands for the folder in keyed noise, 64 hexadecimal digits.

    Raises:
        InputError: if a classifier was fitted to fewer classes than the others, or there is no
            exclusion, or it is that of other cells.
        MissingExtraError: if skl2onnx, or onnxscript for torch, is not installed.
    """
    fitted: Any = model
    if hasattr(model, "estimators_"):
        graphs = _of_classifiers(fitted, inputs)
        return write_models(Path(folder), graphs, fitted.cells_, fitted.exclusion_)
    if exclusion is None:
        raise InputError(
            "A Router was passed without its exclusion.",
            "Pass the Exclusion that its models were trained with.",
        )
    return write_models(Path(folder), _of_modules(fitted, inputs), fitted.cells, exclusion)


def _of_classifiers(model: Any, inputs: Any) -> list[bytes]:
    """Graphs of scikit-learn classifiers with the output "probabilities"."""
    rows, _ = model._fitted_inputs(inputs)
    converter = _peer("skl2onnx", "Exporting scikit-learn classifiers")
    if not hasattr(rows, "iloc"):
        rows = np.asarray(rows.toarray() if hasattr(rows, "toarray") else rows)
        # The cells compare numbers as float32, and so do the gateway and the audit.
        rows = rows.astype(np.float32) if rows.dtype.kind == "f" else rows
    graphs = []
    for fold, estimator in enumerate(model.estimators_):
        if len(estimator.classes_) < len(model.classes_):
            raise InputError(
                f"Classifier {fold} was fitted to {len(estimator.classes_)} of "
                f"{len(model.classes_)} classes.",
                "Use more records of the rare classes, narrower cells or fewer folds.",
            )
        proto = converter.to_onnx(estimator, rows[:1], options={"zipmap": False})
        graphs.append(proto.SerializeToString(deterministic=True))
    return graphs


def _of_modules(router: Router, inputs: Any) -> list[bytes]:
    """Graphs of torch modules with the input "inputs" and the output "logits"."""
    import torch

    _peer("onnxscript", "Exporting torch modules")
    # A batch of one would be taken for a constant.
    example = torch.as_tensor(inputs)[:2]
    shapes = ({0: torch.export.Dim("batch")},)
    graphs = []
    for module in router.models:
        with _quiet():
            program = torch.onnx.export(
                module.eval(),
                (example,),
                dynamic_shapes=shapes,
                input_names=["inputs"],
                output_names=["logits"],
                dynamo=True,
                verbose=False,
            )
        assert program is not None
        graphs.append(program.model_proto.SerializeToString(deterministic=True))
    return graphs


@contextmanager
def _quiet() -> Iterator[None]:
    """Leave out what torch reports of its own functions and of packages that are not needed."""
    logger = logging.getLogger("torch.onnx")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(before)


def _peer(package: str, purpose: str) -> Any:
    try:
        return importlib.import_module(package)
    except ImportError as error:
        raise MissingExtraError(
            f"{purpose} needs {package}, which is not installed.",
            f"Install it with: pip install {package}",
        ) from error
