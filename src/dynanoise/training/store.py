"""Trained models and what they said, kept under a hash of everything that determines them.

An entry is a folder that appears whole or not at all, so a run that was killed at any moment finds
every model that was finished and nothing that was not. No pickle: weights are safetensors, answers
npz, the description JSON.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
import tempfile
import time
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file

from dynanoise.errors import UnknownNameError
from dynanoise.training.data import Data
from dynanoise.training.jobs import Answers, Job, Trained

log = logging.getLogger(__name__)

_ANSWERS, _WEIGHTS = "answers.npz", "model.safetensors"
_UNFINISHED = ".unfinished-"
_FACT = "fact_"


def describe(job: Job, data: Data) -> dict[str, Any]:
    """Everything that determines a job's answers, as JSON can hold it.

    The name of the job is not among it: the same model in another part is the same model.
    """

    def component(value: Any) -> dict[str, Any]:
        return {
            "name": f"{type(value).__module__}.{type(value).__qualname__}",
            "version": getattr(value, "version", None),
            "parameters": asdict(value),
        }

    def ids(values: Any) -> str:
        return hashlib.sha256(np.asarray(values, dtype="<i8").tobytes()).hexdigest()

    asked_further: dict[str, Any] = {}
    if job.further is not None:
        asked_further["further"] = {**component(job.further.near), "ids": ids(job.further.ids)}
    return {
        **asked_further,
        "data": data.digest,
        "members": ids(job.members),
        "reference": ids(job.reference),
        "asked": ids(np.arange(len(data)) if job.asked is None else job.asked),
        "model": component(job.model),
        "recipe": component(job.recipe),
        "seed": job.seed,
        "threads": job.threads,
        "device": job.device,
        "torch": torch.__version__,
    }


def key(job: Job, data: Data) -> str:
    """64 hexadecimal digits, equal exactly for jobs with equal `describe`."""
    text = json.dumps(describe(job, data), sort_keys=True, default=list)
    return hashlib.sha256(text.encode()).hexdigest()


@dataclass(frozen=True)
class Entry:
    """A stored model, for listings.

    Attributes:
        key: its hash.
        description: what `describe` said, with "job", "data set" and "seconds" for people.
        size: bytes on disk.
        made: seconds since the epoch.
    """

    key: str
    description: dict[str, Any]
    size: int
    made: float


@dataclass(frozen=True)
class Store:
    """A folder of trained models.

    Args:
        root: made when something is first stored.
    """

    root: Path

    def _folder(self, name: str) -> Path:
        return self.root / name[:2] / name

    def get(self, name: str) -> Answers | None:
        """The answers stored under a key; None if there are none or they are damaged.

        A damaged entry (a checksum does not fit, a file is missing) is logged and removed, so that
        it is trained again.
        """
        folder = self._folder(name)
        if not folder.exists():
            return None
        try:
            entry = json.loads((folder / "entry.json").read_text())
            for part in {_ANSWERS, *entry["sha256"]}:
                if _digest(folder / part) != entry["sha256"][part]:
                    raise ValueError(f"the checksum of {part} does not fit")
            with np.load(folder / _ANSWERS, allow_pickle=False) as arrays:
                facts = {
                    part.removeprefix(_FACT): arrays[part]
                    for part in arrays
                    if part.startswith(_FACT)
                }
                return Answers(
                    arrays["logits"],
                    arrays["random"],
                    int(entry["retries"]),
                    float(entry["seconds"]),
                    facts,
                    arrays.get("near"),
                )
        except (OSError, ValueError, LookupError, TypeError) as error:
            log.warning("stored model %s is damaged (%s) and is trained again", name[:12], error)
            shutil.rmtree(folder, ignore_errors=True)
            return None

    def weights(self, name: str) -> dict[str, torch.Tensor]:
        """The stored state dictionary of a model, facts included; see `facts.load`.

        Raises:
            UnknownNameError: if nothing is stored under the key.
        """
        if self.get(name) is None:
            raise UnknownNameError(f"No model {name[:12]} is stored.", "See `dynanoise store ls`.")
        return load_file(self._folder(name) / _WEIGHTS)

    def put(self, name: str, made: Trained | Answers, description: dict[str, Any]) -> bool:
        """Stores a model and its answers, or further answers alone; True if it is there afterwards.

        A disk that is full or cannot be written is logged and loses nothing but the storing.
        """
        folder = self._folder(name)
        scratch = None
        try:
            folder.parent.mkdir(parents=True, exist_ok=True)
            scratch = Path(tempfile.mkdtemp(dir=folder.parent, prefix=_UNFINISHED))
            answers = made.answers if isinstance(made, Trained) else made
            facts = {f"{_FACT}{fact}": value for fact, value in answers.facts.items()}
            arrays: dict[str, Any] = {"logits": answers.logits, "random": answers.random, **facts}
            if answers.near is not None:
                arrays["near"] = answers.near
            np.savez(scratch / _ANSWERS, **arrays)
            if isinstance(made, Trained):
                state = {k: v.contiguous() for k, v in made.model.state_dict().items()}
                save_file(state, scratch / _WEIGHTS)
            entry = {
                **description,
                "retries": answers.retries,
                "seconds": answers.seconds,
                "sha256": {part.name: _digest(part) for part in sorted(scratch.iterdir())},
            }
            (scratch / "entry.json").write_text(json.dumps(entry, default=list))
            for part in scratch.iterdir():
                _flush(part)
            os.rename(scratch, folder)
        except OSError as error:
            if scratch is not None:
                shutil.rmtree(scratch, ignore_errors=True)
            if folder.exists():  # another process stored the same model first
                return True
            log.warning("a trained model could not be stored (%s); the run goes on", error)
            return False
        except BaseException:
            if scratch is not None:
                shutil.rmtree(scratch, ignore_errors=True)
            raise
        return True

    def entries(self) -> Iterator[Entry]:
        """What is stored, oldest first; unreadable entries are left out."""
        found = []
        for path in self.root.glob("??/*/entry.json"):
            try:
                body = json.loads(path.read_text())
                size = sum(part.stat().st_size for part in path.parent.iterdir())
                found.append(Entry(path.parent.name, body, size, path.stat().st_mtime))
            except (OSError, ValueError):
                continue
        yield from sorted(found, key=lambda entry: entry.made)

    def remove(self, prefixes: Iterable[str]) -> list[str]:
        """Removes the entries whose keys begin with one of the prefixes; their keys.

        Raises:
            UnknownNameError: if a prefix fits no entry; nothing is removed then.
        """
        names = [entry.key for entry in self.entries()]
        chosen: list[str] = []
        for prefix in prefixes:
            fitting = [name for name in names if prefix and name.startswith(prefix)]
            if not fitting:
                raise UnknownNameError(
                    f"No stored model begins with {prefix!r}.", "See `dynanoise store ls`."
                )
            chosen += fitting
        for name in chosen:
            shutil.rmtree(self._folder(name), ignore_errors=True)
        return chosen

    def sweep(self, older_than: float = 3600.0) -> None:
        """Removes what killed processes left unfinished longer than some seconds ago."""
        for scratch in self.root.glob(f"??/{_UNFINISHED}*"):
            try:
                if time.time() - scratch.stat().st_mtime > older_than:
                    shutil.rmtree(scratch, ignore_errors=True)
            except OSError:
                continue


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _flush(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())
