"""A store of trained models and their outputs, under a hash of everything that determines them.

An entry appears whole or not at all, so a run that was killed at any moment finds every finished
model and no other. No pickle: weights are safetensors, outputs npz, the description JSON.
"""

from __future__ import annotations

import hashlib
import io
import json
import logging
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, fields
from typing import Any, TypeVar

import numpy as np
import torch
from safetensors.torch import load, save

from dynanoise.core.errors import MissingModelError, UnknownNameError
from dynanoise.data.dataset import Data
from dynanoise.training.jobs import Job, ModelOutputs, Trained
from dynanoise.training.store.buckets import Bucket
from dynanoise.training.store.storage import ENTRY, Folder, Place, Storage, place

log = logging.getLogger(__name__)

_OUTPUTS, _WEIGHTS = "answers.npz", "model.safetensors"
_FACT = "fact_"

Read = TypeVar("Read")


def describe(job: Job, data: Data) -> dict[str, Any]:
    """Everything that determines a job's outputs, as JSON can hold it.

    The name of the job is not part of it: the same model in another role is the same model.

    Args:
        job: the model.
        data: the data set.
    """

    def component(value: Any) -> dict[str, Any]:
        parameters = asdict(value)
        for each in fields(value):
            # A parameter that a component got later: models that were trained without it stay.
            if each.metadata.get("added") and getattr(value, each.name) == each.default:
                del parameters[each.name]
        return {
            "name": stored_name(type(value)),
            "version": getattr(value, "version", None),
            "parameters": parameters,
        }

    near: dict[str, Any] = {}
    if job.near is not None:
        near["further"] = {**component(job.near.duplicates), "ids": ids_digest(job.near.ids)}
    return {
        **near,
        "data": data.digest,
        "members": ids_digest(job.members),
        "reference": ids_digest(job.reference),
        "asked": ids_digest(np.arange(len(data)) if job.queries is None else job.queries),
        "model": component(job.model),
        "recipe": component(job.recipe),
        "seed": job.seed,
        "threads": job.threads,
        "device": job.device,
        "torch": torch.__version__,
    }


def stored_name(kind: type) -> str:
    """The name of a model, recipe or other component in keys, which stays when its module moves.

    Args:
        kind: the component's class. Its own attribute ``stored_as`` is its name, so that a module
            may move; without one (a subclass does not inherit it) its module and class are.

    >>> from dynanoise.core.registry import MODELS
    >>> stored_name(MODELS.get("mlp"))
    'dynanoise.training.models.mlp.Mlp'
    """
    return str(vars(kind).get("stored_as") or f"{kind.__module__}.{kind.__qualname__}")


def key(job: Job, data: Data) -> str:
    """64 hexadecimal digits, equal exactly for jobs with equal `describe`.

    Args:
        job: the model.
        data: the data set.
    """
    return key_of(describe(job, data))


def key_of(description: dict[str, Any]) -> str:
    """64 hexadecimal digits, equal exactly for equal descriptions.

    Args:
        description: everything that determines an entry, as JSON can hold it.
    """
    text = json.dumps(description, sort_keys=True, default=list)
    return hashlib.sha256(text.encode()).hexdigest()


def ids_digest(values: Any) -> str:
    """SHA-256 of the ids of records, in their order."""
    return hashlib.sha256(np.asarray(values, dtype="<i8").tobytes()).hexdigest()


@dataclass(frozen=True)
class Entry:
    """A stored model, for listings.

    Attributes:
        key: its hash.
        description: see `describe`, with "job", "data set" and "seconds" for people.
        size: bytes on disk.
        created: seconds since the epoch.
    """

    key: str
    description: dict[str, Any]
    size: int
    created: float


@dataclass(frozen=True)
class Store:
    """Trained models in a folder, or at an address that fsspec opens.

    Args:
        root: the folder, made when something is first stored, or "s3://BUCKET/FOLDER" and the like,
            see `storage.place`.
        lease: seconds that a claim at an address holds, see `buckets.Bucket`.
    """

    root: Place
    lease: float = 120.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "root", place(self.root))

    @property
    def _storage(self) -> Storage:
        return Bucket(self.root, self.lease) if isinstance(self.root, str) else Folder(self.root)

    @property
    def pause(self) -> float:
        """Seconds between two looks for a model that another run is training."""
        return self._storage.pause

    def __contains__(self, name: str) -> bool:
        """True if something seems to be stored under a key; nothing is read, checked or removed."""
        return self._storage.holds(name)

    def claim(self, name: str, owner: str) -> AbstractContextManager[bool]:
        """Claim a model against other runs while it is trained, see `storage.Storage.claim`.

        Args:
            name: its key.
            owner: a name; an owner takes over its own earlier claim.
        """
        return self._storage.claim(name, owner)

    def get(self, name: str) -> ModelOutputs | None:
        """Read the outputs stored under a key; None if there are none or they are damaged.

        A damaged entry (a checksum does not fit, a part is missing) is logged and removed, so that
        it is trained again.

        Args:
            name: the key.

        Raises:
            StoreError: if a store at an address cannot be reached.
        """
        return self._read(name, _model_outputs)

    def arrays(self, name: str) -> dict[str, Any] | None:
        """Read the arrays stored under a key by `put_arrays`; None as in `get`.

        Args:
            name: the key.
        """
        return self._read(name, lambda arrays, entry: arrays)

    def _read(
        self, name: str, build: Callable[[dict[str, Any], dict[str, Any]], Read]
    ) -> Read | None:
        """Build a value from an entry's arrays and its description."""
        storage = self._storage
        try:
            text = storage.entry(name)
            if text is None:
                return None
            entry = json.loads(text)
            content = _checked(storage, name, _OUTPUTS, entry["sha256"][_OUTPUTS])
            for part, sha256 in entry["sha256"].items():
                if part != _OUTPUTS and not storage.fits(name, part, sha256):
                    raise ValueError(f"the checksum of {part} does not fit")
            with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
                return build(dict(arrays), entry)
        except (OSError, ValueError, LookupError, TypeError, zipfile.BadZipFile) as error:
            self._remove_damaged(name, error)
            return None

    def _remove_damaged(self, name: str, error: Exception) -> None:
        log.warning("what is stored as %s is damaged (%s) and is made again", name[:12], error)
        self.discard(name)

    def discard(self, name: str) -> None:
        """Remove what is stored under a key, if anything is.

        Args:
            name: the key.
        """
        self._storage.remove(name)

    def weights(self, name: str) -> dict[str, torch.Tensor]:
        """Read the state dictionary of a model, facts included; see `facts.load_state`.

        Args:
            name: the key.

        Raises:
            UnknownNameError: if nothing is stored under the key.
            MissingModelError: if the weights are damaged; they are removed.
        """
        if self.get(name) is None:
            raise UnknownNameError(f"No model {name[:12]} is stored.", "See `dynanoise store ls`.")
        storage = self._storage
        try:
            sha256 = json.loads(storage.entry(name) or b"{}")["sha256"][_WEIGHTS]
            return load(_checked(storage, name, _WEIGHTS, sha256))
        except (OSError, ValueError, LookupError) as error:
            self._remove_damaged(name, error)
            raise MissingModelError(
                f"The stored model {name[:12]} was damaged.", "Train it again."
            ) from error

    def put(self, name: str, result: Trained | ModelOutputs, description: dict[str, Any]) -> bool:
        """Store a model with its outputs, or outputs on near-duplicates alone.

        A store that is full or cannot be written is logged, and the run goes on.

        Args:
            name: the key.
            result: the model or the outputs.
            description: see `describe`.

        Returns:
            True if the entry is there afterwards.
        """
        outputs = result.outputs if isinstance(result, Trained) else result
        facts = {f"{_FACT}{fact}": value for fact, value in outputs.facts.items()}
        arrays: dict[str, Any] = {"logits": outputs.logits, "random": outputs.random, **facts}
        if outputs.near is not None:
            arrays["near"] = outputs.near
        entry = {
            **description,
            "retries": outputs.retries,
            "bfloat16": outputs.bfloat16,
            "seconds": outputs.seconds,
        }
        weights = result.model.state_dict() if isinstance(result, Trained) else None
        return self.put_arrays(name, arrays, entry, weights)

    def put_arrays(
        self,
        name: str,
        arrays: Mapping[str, Any],
        description: dict[str, Any],
        weights: Mapping[str, torch.Tensor] | None = None,
    ) -> bool:
        """Store arrays that were computed from models; see `put`.

        Args:
            name: the key.
            arrays: arrays by name.
            description: everything that determines them, with "job" and "data set" for listings.
            weights: a model's state dictionary to keep with them.
        """
        try:
            file = io.BytesIO()
            np.savez(file, **arrays)
            parts = {_OUTPUTS: file.getvalue()}
            if weights is not None:
                parts[_WEIGHTS] = save(_apart(weights))
            sha256 = {part: _digest(content) for part, content in sorted(parts.items())}
            entry = json.dumps({**description, "sha256": sha256}, default=list)
            self._storage.put(name, {**parts, ENTRY: entry.encode()})
        except OSError as error:
            log.warning("%s could not be stored (%s); the run goes on", name[:12], error)
            return False
        return True

    def entries(self) -> Iterator[Entry]:
        """All stored models, oldest first; unreadable entries are left out."""
        entries = []
        for listed in self._storage.entries():
            try:
                entries.append(
                    Entry(listed.name, json.loads(listed.text), listed.size, listed.created)
                )
            except ValueError:
                continue
        yield from sorted(entries, key=lambda entry: entry.created)

    def one(self, prefix: str) -> Entry:
        """The only stored model whose key begins with a text.

        Args:
            prefix: the beginning of a key.

        Raises:
            UnknownNameError: if no or several keys begin with it.
        """
        fitting = [entry for entry in self.entries() if entry.key.startswith(prefix)]
        if len(fitting) != 1:
            raise UnknownNameError(
                f"{len(fitting)} stored models begin with {prefix!r}.", "See `dynanoise store ls`."
            )
        return fitting[0]

    def remove(self, prefixes: Iterable[str]) -> list[str]:
        """Remove the entries whose keys begin with one of the prefixes.

        Args:
            prefixes: beginnings of keys.

        Returns:
            The keys of the removed entries.

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
            self._storage.remove(name)
        return chosen

    def sweep(self, older_than: float = 3600.0) -> None:
        """Remove what killed processes left unfinished longer than some seconds ago.

        Args:
            older_than: seconds.

        Raises:
            StoreError: if a store at an address cannot be reached.
        """
        self._storage.sweep(older_than)


def _model_outputs(arrays: dict[str, Any], entry: dict[str, Any]) -> ModelOutputs:
    facts = {
        part.removeprefix(_FACT): value for part, value in arrays.items() if part.startswith(_FACT)
    }
    return ModelOutputs(
        arrays["logits"],
        arrays["random"],
        int(entry["retries"]),
        float(entry["seconds"]),
        facts,
        arrays.get("near"),
        bfloat16=bool(entry.get("bfloat16", False)),
    )


def _apart(state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Copy tensors that share memory with an earlier one, which safetensors refuses."""
    apart: dict[str, torch.Tensor] = {}
    places: set[int] = set()
    for name, value in state.items():
        place = value.untyped_storage().data_ptr()
        apart[name] = value.clone().contiguous() if place in places else value.contiguous()
        places.add(place)
    return apart


def _checked(storage: Storage, name: str, part: str, sha256: str) -> bytes:
    content = storage.part(name, part, sha256)
    if _digest(content) != sha256:
        raise ValueError(f"the checksum of {part} does not fit")
    return content


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
