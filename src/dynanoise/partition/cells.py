"""Input cells: a keyed map from inputs to folds, and the folds that a neighbourhood touches."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from dynanoise.core.errors import InputError
from dynanoise.core.extras import require
from dynanoise.core.files import write_atomically, write_json, writing
from dynanoise.core.numerics import Bools, Float64, Int64
from dynanoise.noise import subkey
from dynanoise.noise.keys import ExperimentKey, Pinned, RootKey, Secret
from dynanoise.noise.siphash import siphash128
from dynanoise.partition.embeddings import (
    EMBEDDINGS,
    Embedding,
    Record,
    Table,
    Words,
)
from dynanoise.partition.neighbourhood import (
    MARGIN,
    ImageChanges,
    Neighbourhood,
    NumberNoise,
    WordDeletions,
)
from dynanoise.partition.rows import count, is_images
from dynanoise.partition.thumbnails import Thumbnails

VERSION = 1

MOST_TOUCHED = 4096
"""Cells that the neighbourhood of one version of a record may touch."""

EDGE = 4.0
"""Standard deviations at which coordinates end where queries in one cell are counted."""

FARTHEST = 2.0**40
"""Cell index beyond which coordinates are clipped."""

PUBLIC = ExperimentKey(0, "input cells")
"""A key that is not secret; the property of out-of-fold answers needs no secret."""

_WRITE_AGAIN = "Write the cells again, or take the files of the training."


@dataclass(frozen=True, eq=False)
class Cells:
    """A partition of the inputs into cells, and of the cells into K folds.

    The cell of an input is floor(coordinates / width + offset), with the bytes that must be equal;
    its fold is the SipHash-2-4 of its cell modulo K. Offsets and hash have a key, so that borders
    cannot be planned for; the exact property of out-of-fold answers does not depend on it.

    Args:
        embedding: a fitted embedding of the inputs; see `partition.embeddings`.
        folds: K, number of folds and of models, >= 2.
        width: width of a cell, in standard deviations of each coordinate on the reference; 0 for
            cells of one record, whose ``embedding`` is `Record`.
        neighbourhood: inputs that count as close to a record; None for the record's own cell.
            Noise is covered up to `MARGIN` standard deviations of each coordinate; it needs an
            embedding of numbers for `NumberNoise`, of images for `ImageChanges`.
        key: a reference to a secret, or a key that is not secret.

    Raises:
        InputError: for K below 2, or a width or noise that does not suit the embedding.

    >>> cells = Cells.fit(np.arange(12.0).reshape(6, 2), folds=3, width=0)
    >>> cells.fold(np.array([[0.0, 1.0], [0.0, 1.0], [2.0, 3.0]])).tolist()
    [2, 2, 1]
    """

    embedding: Embedding
    folds: int = 5
    width: float = 1.0
    neighbourhood: Neighbourhood | None = None
    key: RootKey = PUBLIC

    def __post_init__(self) -> None:
        if isinstance(self.folds, bool) or not isinstance(self.folds, int) or self.folds < 2:
            raise InputError(
                f"folds is {self.folds!r}.",
                "Use at least 2: with one model every record is in the model that answers it.",
            )
        checked_width(self.width)
        if (self.width == 0) != isinstance(self.embedding, Record):
            raise InputError(
                f"width is {self.width} for cells of {self.embedding.name}.",
                "Use width 0 for cells of one record, and no other width for them.",
            )
        noise = getattr(self.neighbourhood, "noise", 0)
        if noise and _margin(self.neighbourhood, self.embedding) is None:
            raise InputError(
                f"{type(self.neighbourhood).__name__} has noise of {noise}, which cells of "
                f"{self.embedding.name} do not cover: models trained on a record would answer it.",
                "Use a width above 0 and the noise of the inputs' kind, or noise 0.",
            )
        if not isinstance(self.key, Secret | ExperimentKey):
            raise InputError(
                f"key is of type {type(self.key).__name__}.",
                "Pass Secret('env:NAME'), Secret('file:PATH') or a key that is not secret.",
            )

    @classmethod
    def fit(
        cls,
        reference: Any,
        *,
        folds: int = 5,
        width: float = 1.0,
        components: int = 3,
        categories: Int64 | None = None,
        neighbourhood: Neighbourhood | None = None,
        key: RootKey = PUBLIC,
        texts: bool = False,
        standardise: bool = True,
    ) -> Self:
        """Fit cells to reference data, which must not contain training records.

        Args:
            reference: [n, ...]: rows of numbers and categories (array, data frame, sparse matrix),
                images uint8 [n, H, W, channels], or token ids of texts.
            folds: K.
            width: see `Cells`; for texts 0 or any other number. Cells of width 0 take nothing from
                the reference but the number of its columns.
            components: number of principal components, or of frequent words of texts.
            categories: positions of columns of categories, see `Table.fit`.
            neighbourhood: inputs that count as close to a record; None for its own cell.
            key: see `Cells`.
            texts: True if the reference holds token ids.
            standardise: False for numbers of one unit, such as pixels; see `Table.fit`.

        Raises:
            InputError: for a parameter out of range, or reference data without variation.
        """
        checked_width(width)
        if isinstance(components, bool) or not isinstance(components, int) or components < 1:
            raise InputError(f"components is {components!r}.", "Use an integer of at least 1.")
        embedding: Embedding
        if width == 0:
            embedding = Record.fit(reference, texts=texts)
        elif texts:
            embedding = Words.fit(reference, components)
        elif is_images(reference):
            embedding = Thumbnails.fit(reference, components)
        else:
            embedding = Table.fit(reference, components, categories, standardise=standardise)
        return cls(embedding, folds, width, neighbourhood, key)

    def fold(self, inputs: Any) -> Int64:
        """The fold of each input, which is the number of the model that answers it.

        Args:
            inputs: [n, ...] as the reference.

        Returns:
            int64 [n], 0..K-1.

        Raises:
            InputError: if the inputs are of another kind than the reference.
            SecretError: if the key is a secret and there is none.
        """
        key, offsets = self._keys()
        places = self._places(self.embedding.coordinates(inputs), offsets)
        return self._hashed(places, self.embedding.exact(inputs), key)

    def digests(self, inputs: Any) -> list[bytes]:
        """The keyed digest of each input's cell, 16 bytes: equal for inputs in one cell.

        Coordinates are cut off at `EDGE`: without an end, a column that the model ignores would
        lead to any number of cells with the same logits.

        Args:
            inputs: [n, ...] as the reference; errors as of `fold`.
        """
        key, offsets = self._keys()
        coordinates = np.clip(self.embedding.coordinates(inputs), -EDGE, EDGE)
        places = self._places(coordinates, offsets)
        return [row.tobytes() for row in _digests(places, self.embedding.exact(inputs), key)]

    def touched(self, inputs: Any) -> Bools:
        """The folds that the neighbourhood of each input touches, its own among them.

        Args:
            inputs: [n, ...].

        Returns:
            bool [K, n].

        Raises:
            InputError: if a neighbourhood touches thousands of cells.
        """
        key, offsets = self._keys()
        touched = np.zeros((self.folds, count(inputs)), dtype=bool)
        versions = () if self.neighbourhood is None else self.neighbourhood.versions(inputs)
        margin_of = _margin(self.neighbourhood, self.embedding)
        for version in (inputs, *versions):
            coordinates, exact = self.embedding.coordinates(version), self.embedding.exact(version)
            margin = 0.0 if margin_of is None else margin_of(version)
            lowest = self._places(coordinates - margin, offsets)
            spans = self._places(coordinates + margin, offsets) - lowest
            sizes = spans.max(axis=0, initial=0) + 1
            if np.prod(sizes.astype(float)) > MOST_TOUCHED:
                raise InputError(
                    f"The neighbourhood of a record touches up to {' x '.join(map(str, sizes))} "
                    f"cells of width {self.width}.",
                    "Use wider cells, fewer components or a smaller neighbourhood.",
                )
            for step in np.ndindex(*sizes):
                places = lowest + np.minimum(np.array(step, np.int64), spans)
                touched[self._hashed(places, exact, key), np.arange(len(places))] = True
        return touched

    @property
    def digest(self) -> str:
        """SHA-256 of everything that decides the fold of an input and its neighbourhood.

        The key enters by its id. Two `Cells` of one digest are the same partition.
        """
        return hashlib.sha256(json.dumps(self._description(), sort_keys=True).encode()).hexdigest()

    @property
    def scale(self) -> Float64 | None:
        """Spread of each column of numbers on the reference, 0 for others; None without columns."""
        if not isinstance(self.embedding, Table):
            return None
        scale = np.zeros(int(self.embedding.width[0]))
        scale[self.embedding.used] = self.embedding.scale
        return scale

    def to_parts(self) -> tuple[dict[str, Any], dict[str, npt.NDArray[Any]]]:
        """Settings that JSON can hold, and arrays; no secret is among them."""
        return {**self._description(), "digest": self.digest}, self.embedding.arrays()

    @classmethod
    def of_parts(cls, settings: Mapping[str, Any], arrays: Mapping[str, npt.NDArray[Any]]) -> Cells:
        """Make the cells of `to_parts`.

        Raises:
            InputError: if the settings are of another version, the key is another one, or settings
                and arrays do not belong together.
        """
        try:
            version = settings["version"]
            if version != VERSION:
                raise InputError(
                    f"The cells are of version {version!r}, and this release reads {VERSION}.",
                    "Use the release that trained the models, or train them again.",
                )
            cells = Cells(
                EMBEDDINGS[settings["embedding"]].of(arrays),
                settings["folds"],
                settings["width"],
                _neighbourhood_of(settings["neighbourhood"]),
                _key_of(settings["key"]),
            )
            key_id, digest = settings["key_id"], settings["digest"]
        except (KeyError, TypeError) as error:
            raise InputError(f"The cells are incomplete ({error}).", _WRITE_AGAIN) from error
        present = subkey.key_id(cells.key.root())
        if key_id != present:
            raise InputError(
                f"The key has the id {present}, and the cells were made under {key_id}.",
                "Give the key of the training: another one would send inputs to other models.",
            )
        if digest != cells.digest:
            raise InputError("The cells are damaged: their digest does not fit.", _WRITE_AGAIN)
        return cells

    def write(self, path: str | Path) -> None:
        """Write settings as JSON, and arrays as safetensors beside them.

        Args:
            path: the file of the settings, such as cells.json.

        Raises:
            InputError: if it cannot be written.
            MissingExtraError: if safetensors is not installed.
        """
        path = Path(path)
        settings, arrays = self.to_parts()
        save = require("safetensors.numpy", "Writing cells").save
        content = save({name: np.ascontiguousarray(value) for name, value in arrays.items()})
        name = f"{path.stem}-{hashlib.sha256(content).hexdigest()[:12]}.safetensors"
        with writing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(path.parent / name, content)
            write_json(path, {**settings, "arrays": name})

    @classmethod
    def read(cls, path: str | Path) -> Cells:
        """Read the files of `write`.

        Raises:
            InputError: if a file cannot be read or is damaged; see `of_parts`.
            MissingExtraError: if safetensors is not installed.
        """
        path = Path(path)
        load = require("safetensors.numpy", "Reading cells").load
        try:
            settings = json.loads(path.read_text(encoding="utf-8"))
            arrays = load((path.parent / Path(settings["arrays"]).name).read_bytes())
        except OSError as error:
            raise InputError(
                f"{error.filename} cannot be read ({error.strerror}).", _WRITE_AGAIN
            ) from error
        except Exception as error:  # safetensors has an error class of its own, made in Rust
            raise InputError(f"{path} holds no cells ({error}).", _WRITE_AGAIN) from error
        return cls.of_parts(settings, arrays)

    def _description(self) -> dict[str, Any]:
        digest = hashlib.sha256()
        for name, value in sorted(self.embedding.arrays().items()):
            digest.update(f"{name} {value.dtype.str} {value.shape} ".encode())
            digest.update(np.ascontiguousarray(value).tobytes())
        return {
            "version": VERSION,
            "embedding": self.embedding.name,
            "folds": self.folds,
            "width": float(self.width),
            "neighbourhood": _settings_of(self.neighbourhood),
            "fitted": digest.hexdigest(),
            "key": _key_settings(self.key),
            "key_id": subkey.key_id(self.key.root()),
        }

    def __getstate__(self) -> dict[str, Any]:
        """Leave derived keys out of pickles and copies."""
        return {name: value for name, value in vars(self).items() if name != "_kept_keys"}

    def _keys(self) -> tuple[bytes, Float64]:
        """The key of the hash, 16 bytes, and the offsets float64 [C]."""
        constant = isinstance(self.key, Pinned | ExperimentKey)
        return self._kept_keys if constant else self._derived_keys()

    @cached_property
    def _kept_keys(self) -> tuple[bytes, Float64]:
        """Keys of a root that cannot change; a `Secret` is looked up for every call."""
        return self._derived_keys()

    def _derived_keys(self) -> tuple[bytes, Float64]:
        setting = f"dynanoise/input cells/v{VERSION} {self.embedding.name} {self.folds}"
        key = subkey.branch(self.key.root(), setting)
        return subkey.cell_key(key), subkey.offsets(key, max(1, self.embedding.components))

    def _places(self, coordinates: Float64, offsets: Float64) -> Int64:
        """Indices int64 [n, C] of coordinates along each axis."""
        if not coordinates.shape[1]:
            return np.zeros(coordinates.shape, np.int64)
        steps = np.clip(coordinates / self.width, -FARTHEST, FARTHEST)
        return np.floor(steps + offsets).astype(np.int64)

    def _hashed(self, places: Int64, exact: npt.NDArray[np.uint8], key: bytes) -> Int64:
        digests = _digests(places, exact, key)
        return (digests[:, 0] % np.uint64(self.folds)).astype(np.int64)


def _digests(places: Int64, exact: npt.NDArray[np.uint8], key: bytes) -> npt.NDArray[np.uint64]:
    """SipHash of each cell, uint64 [n, 2]."""
    if not len(places):
        return np.zeros((0, 2), np.uint64)
    indices = np.ascontiguousarray(places.astype("<i8"))
    messages = np.concatenate([indices.view(np.uint8).reshape(len(places), -1), exact], axis=1)
    return siphash128(messages, key)


def checked_width(width: Any) -> float:
    """Check the width of cells.

    Raises:
        InputError: if it is not a finite number of 0 or more.
    """
    if isinstance(width, bool) or not isinstance(width, int | float) or not 0 <= width < np.inf:
        raise InputError(f"width is {width!r}.", "Use a finite number, 0 for single records.")
    return float(width)


def _margin(near: Neighbourhood | None, embedding: Embedding) -> Callable[[Any], Float64] | None:
    """Changes of coordinates by noise that the neighbourhood covers, from inputs, [n, C].

    None if the noise's effect on this embedding is not known.
    """
    if isinstance(near, NumberNoise) and isinstance(embedding, Table):
        moved = MARGIN * embedding.displacement(near.noise, relative=near.relative)
        return lambda inputs: moved + embedding.rounding(inputs)
    if isinstance(near, ImageChanges) and isinstance(embedding, Thumbnails):
        return lambda inputs: (
            MARGIN * embedding.displacement(inputs, near.noise)
            + embedding.clipping(inputs, near.noise)
        )
    return None


_NEIGHBOURHOODS: Mapping[str, Any] = {
    kind.__name__: kind for kind in (NumberNoise, ImageChanges, WordDeletions)
}


def _settings_of(neighbourhood: Neighbourhood | None) -> dict[str, Any] | None:
    return (
        None
        if neighbourhood is None
        else {"name": type(neighbourhood).__name__, **vars(neighbourhood)}
    )


def _neighbourhood_of(settings: Mapping[str, Any] | None) -> Neighbourhood | None:
    if settings is None:
        return None
    rest = {name: value for name, value in settings.items() if name != "name"}
    neighbourhood: Neighbourhood = _NEIGHBOURHOODS[settings["name"]](**rest)
    return neighbourhood


def _key_settings(key: RootKey) -> dict[str, Any]:
    if isinstance(key, Secret):
        return {"reference": key.reference}
    assert isinstance(key, ExperimentKey)
    return key.settings()


def _key_of(settings: Mapping[str, Any]) -> RootKey:
    if "reference" in settings:
        return Secret(settings["reference"])
    return ExperimentKey(settings["seed"], *settings["path"])
