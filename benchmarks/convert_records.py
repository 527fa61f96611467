"""Convert results written before version 0.1: records.json becomes results.json.

    python benchmarks/convert_records.py results/*

The field "contender" is called "method", the list "records" is called "results", and the commands
say --defense where they said --contender; no number changes. Samples name the digest
of the new file.
"""

from __future__ import annotations

import hashlib
import io
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np


def renamed(value: Any) -> Any:
    """The same JSON value with the keys of today."""
    if isinstance(value, dict):
        return {
            "method" if key == "contender" else key: renamed(entry) for key, entry in value.items()
        }
    if isinstance(value, list):
        return [renamed(entry) for entry in value]
    return value.replace("--contender ", "--defense ") if isinstance(value, str) else value


def convert(folder: Path) -> None:
    """Writes results.json and samples.npz of one folder and removes records.json."""
    old = folder / "records.json"
    body = renamed(json.loads(old.read_text("utf-8")))
    body["format"] = "dynanoise-results/1"
    body["results"] = body.pop("records")
    content = (json.dumps(body, indent=1, allow_nan=False) + "\n").encode()
    (folder / "results.json").write_bytes(content)
    old.unlink()
    samples = folder / "samples.npz"
    if samples.exists():
        with np.load(samples, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
        index = renamed(json.loads(arrays["index"].tobytes()))
        del index["records"]
        index["results"] = hashlib.sha256(content).hexdigest()
        arrays["index"] = np.frombuffer(json.dumps(index).encode(), dtype=np.uint8)
        buffer = io.BytesIO()
        np.savez_compressed(buffer, allow_pickle=False, **arrays)
        samples.write_bytes(buffer.getvalue())


if __name__ == "__main__":
    for name in sys.argv[1:]:
        if (Path(name) / "records.json").exists():
            convert(Path(name))
