"""Evidence as files: results.json, and samples.npz beside it, which holds its digest."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeGuard

import numpy as np
import numpy.typing as npt

from dynanoise.core.errors import ResultsFileError
from dynanoise.core.evidence import AttackSample, Evidence, Origin, Reliability, Risk, Rows
from dynanoise.core.result import Result
from dynanoise.report.io.results import from_json, read_content, to_json

FORMAT = "dynanoise-samples/1"
RESULTS, SAMPLES = "results.json", "samples.npz"

_Arrays = dict[str, npt.NDArray[Any]]
_STACKED = {
    "attacks": ("edges", "members", "others", "scores"),
    "reliability": ("count", "confidence", "right"),
    "risks": ("counts", "expected"),
}
_RAGGED = {"attacks": ("fpr", "tpr"), "reliability": (), "risks": ("ids", "labels", "success")}
_NAMED = {
    "attacks": ("protocol", "method", "attack", "non_members"),
    "reliability": ("method",),
    "risks": ("protocol", "method", "models"),
}
_KINDS: dict[str, type[Any]] = {"attacks": AttackSample, "reliability": Reliability, "risks": Risk}


def encode_run(results: Sequence[Result], evidence: Evidence | None = None) -> dict[str, bytes]:
    """Encode the files of a run: results.json, and samples.npz if samples were kept.

    Args:
        results: all of a run.
        evidence: that of the same run; None for results alone.

    Returns:
        Contents by file name. The same results and evidence give the same bytes.
    """
    content = to_json(results).encode()
    files = {RESULTS: content}
    if has_samples(evidence):
        files[SAMPLES] = _to_npz(evidence, hashlib.sha256(content).hexdigest())
    return files


def has_samples(evidence: Evidence | None) -> TypeGuard[Evidence]:
    """True if samples were kept beside the results."""
    return evidence is not None and evidence.rows is not None


def read_evidence(folder: Path) -> Evidence:
    """Read the evidence of a folder that --out named; results alone where it has no samples.

    Args:
        folder: with results.json.

    Raises:
        ResultsFileError: if a file cannot be read, holds something else, or if the samples are
            those of other results.
    """
    path = folder / RESULTS
    content = read_content(path)
    results = tuple(from_json(content, str(path)))
    samples = folder / SAMPLES
    if not samples.exists():
        return Evidence(results)
    try:
        with np.load(io.BytesIO(samples.read_bytes()), allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
        index = json.loads(arrays["index"].tobytes().decode("utf-8"))
        if index["format"] != FORMAT:
            raise ValueError(f"format {index['format']!r}, not {FORMAT!r}")
        if index["results"] != hashlib.sha256(content.encode()).hexdigest():
            raise ResultsFileError(
                f"{samples} was not written together with {path}.",
                f"Run it with --out again, or remove {SAMPLES} to report results alone.",
            )
        return _from_arrays(results, index, arrays)
    except ResultsFileError:
        raise
    except (OSError, EOFError, ValueError, LookupError, TypeError, zipfile.BadZipFile) as error:
        raise ResultsFileError(
            f"{samples} does not hold samples ({type(error).__name__}: {error}).",
            "Run it with --out again, or remove the file to report results alone.",
        ) from error


def _to_npz(evidence: Evidence, digest: str) -> bytes:
    assert evidence.rows is not None
    index: dict[str, Any] = {"format": FORMAT, "results": digest, "notes": evidence.notes}
    arrays: _Arrays = {}
    if evidence.class_names:
        index["classes"] = evidence.class_names
    if evidence.origin != Origin():
        index["origin"] = asdict(evidence.origin)
    for kind, names in _NAMED.items():
        parts = getattr(evidence, kind)
        index[kind] = [{name: getattr(part, name) for name in names} for part in parts]
        if not parts:
            continue
        for name in _STACKED[kind]:
            arrays[f"{kind}.{name}"] = np.stack([getattr(part, name) for part in parts])
        for name in _RAGGED[kind]:
            pieces = [getattr(part, name) for part in parts]
            arrays[f"{kind}.{name}"] = np.concatenate(pieces)
            arrays[f"{kind}.{name}.lengths"] = np.array([len(piece) for piece in pieces])
    rows = evidence.rows
    for name in ("models", "ids", "labels", "members"):
        arrays[f"rows.{name}"] = getattr(rows, name)
    index["logits"] = list(rows.logits)
    for position, logits in enumerate(rows.logits.values()):
        arrays[f"rows.logits.{position}"] = logits
    arrays["index"] = np.frombuffer(json.dumps(index).encode(), dtype=np.uint8)
    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, **arrays)
    return buffer.getvalue()


def _from_arrays(results: tuple[Result, ...], index: dict[str, Any], arrays: _Arrays) -> Evidence:
    parts: dict[str, tuple[Any, ...]] = {}
    for kind, make in _KINDS.items():
        entries = index[kind]
        columns: dict[str, Any] = {}
        for name in _STACKED[kind] if entries else ():
            columns[name] = arrays[f"{kind}.{name}"]
        for name in _RAGGED[kind] if entries else ():
            ends = np.cumsum(arrays[f"{kind}.{name}.lengths"])[:-1]
            columns[name] = np.split(arrays[f"{kind}.{name}"], ends)
        for name, column in columns.items():
            if len(column) != len(entries):
                raise ValueError(f"{kind}.{name} has {len(column)} rows, not {len(entries)}")
        parts[kind] = tuple(
            make(**names, **{name: column[row] for name, column in columns.items()})
            for row, names in enumerate(entries)
        )
    logits = {name: arrays[f"rows.logits.{i}"] for i, name in enumerate(index["logits"])}
    fields = [arrays[f"rows.{name}"] for name in ("models", "ids", "labels", "members")]
    sizes = {len(array) for array in (*fields, *logits.values())}
    sizes |= {len(sample.scores) for sample in parts["attacks"]}
    if len(sizes) != 1:
        raise ValueError(f"rows of {sorted(sizes)} lengths")
    rows = Rows(fields[0], fields[1], fields[2], fields[3], logits)
    notes = tuple(map(str, index["notes"]))
    classes = tuple(map(str, index.get("classes", ())))
    samples = parts["attacks"], parts["reliability"], parts["risks"]
    origin = Origin(**{name: str(value) for name, value in index.get("origin", {}).items()})
    return Evidence(results, *samples, rows, notes, classes, origin)
