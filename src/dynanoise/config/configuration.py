"""The configuration of a deployed defense, and `defense.yaml`, the file it is kept in.

The layout of the file is version 1; see docs/deploy.md.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy.typing as npt
import yaml

from dynanoise.config.yaml import Section, read_section
from dynanoise.core.defense import Defense, Noise
from dynanoise.core.errors import DynaNoiseError, InputError, check
from dynanoise.core.extras import require
from dynanoise.core.files import write_atomically, writing
from dynanoise.core.numerics import Float64, Floats
from dynanoise.core.registry import DEFENSES, meant
from dynanoise.defenses import response
from dynanoise.defenses.parameters import ByValue, Parts, from_parts, to_parts
from dynanoise.noise.keyed import Keyed
from dynanoise.noise.keys import DEFAULT, Secret

if TYPE_CHECKING:
    from dynanoise.partition.cells import Cells

FRESH = "fresh"
VERSION = 1

_KEYS = (
    "version",
    "defense",
    "output",
    "class_axis",
    "input",
    "noise",
    "budget",
    "neighbourhood",
    "upstream_tls",
    "fitted",
)
_KEYED = ("name", "cell_width", "model", "weights", "key")
_TLS = ("ca", "certificate", "key")
_HEAD = "# How answers are defended (dynanoise). Holds no secret: noise.key says where it is.\n"

_Value = TypeVar("_Value")


@dataclass(frozen=True)
class Near:
    """A limit on queries that are close to each other.

    Args:
        budget: queries of one client a day in one cell of the inputs, >= 1.
        cells: the file of these cells, as `partition.cells.Cells.write` makes it.

    Raises:
        InputError: if the budget is not a number of queries.
    """

    budget: int
    cells: Path

    def __post_init__(self) -> None:
        check(
            type(self.budget) is int and self.budget >= 1,
            f"budget is {self.budget!r}.",
            "Write a number of queries a day, at least 1.",
        )


@dataclass(frozen=True)
class UpstreamTls:
    """Certificates of the gateway's connection to a model on another server, files in PEM.

    Args:
        ca: certificate authorities, one of which signed the server's certificate; None for the
            system's.
        certificate: certificate of the gateway, with its chain, for a server that demands one; None
            for none.
        key: its private key, without a passphrase.

    Raises:
        InputError: if certificate or key is alone, or nothing is named.
    """

    ca: Path | None = None
    certificate: Path | None = None
    key: Path | None = None

    def __post_init__(self) -> None:
        pair = self.certificate, self.key
        check(
            None not in pair or pair == (None, None),
            f"upstream_tls.{'certificate' if self.certificate is None else 'key'} is missing.",
            "A client certificate needs both, certificate: FILE and key: FILE.",
        )
        check(
            self.ca is not None or self.certificate is not None,
            "upstream_tls.ca is missing.",
            "Name ca: FILE, or certificate: FILE and key: FILE.",
        )


@dataclass(frozen=True, eq=False)
class Configuration(ByValue):
    """A defense, its noise, and the model output they apply to. Holds no secret.

    Args:
        defense: the defense, fitted where it must be.
        noise: "fresh", new noise for every response, seeded by the operating system; or `Keyed`
            noise, whose key is a reference, "env:NAME" or "file:PATH".
        output: name of the model's output tensor; None where the model has one output.
        class_axis: axis of the classes in that output.
        input: kind of that output, "logits" or "probabilities"; probabilities p count as the
            logits ln max(p, tiny).
        budget: queries that the gateway answers one client in a day, >= 1; None leaves it to
            `dynanoise serve`.
        near: limit on queries that are close to each other; None for none. It takes keyed noise,
            whose key its digests of cells have.
        upstream_tls: certificates of the gateway's connection to a model on another server; None
            for those of the system.

    Raises:
        InputError: if a value is of the wrong type or out of range.

    >>> import numpy as np
    >>> from dynanoise.defenses.temperature import Temperature
    >>> softer = Configuration(Temperature(2), "fresh", input="probabilities")
    >>> softer.defend([[0.1, 0.9]]).round(6).tolist()
    [[0.25, 0.75]]
    """

    defense: Defense
    noise: str | Keyed
    output: str | None = None
    class_axis: int = -1
    input: str = "logits"
    budget: int | None = None
    near: Near | None = None
    upstream_tls: UpstreamTls | None = None

    def __post_init__(self) -> None:
        response.check_defense(self.defense)
        if isinstance(self.noise, Keyed):
            if not isinstance(self.noise.key, Secret):
                raise InputError(
                    f"The key of the noise is a {type(self.noise.key).__name__}.",
                    "A deployment names its secret by reference, env:NAME or file:PATH.",
                )
        elif self.noise != FRESH:
            raise InputError(
                f"noise is {response.noise_text(self.noise)}.",
                'Pass "fresh" or Keyed noise, such as dn.Keyed(4.0, "my model", sha256).',
            )
        if self.output is not None and not (isinstance(self.output, str) and self.output):
            raise InputError(f"output is {self.output!r}.", "Name an output tensor, or leave None.")
        response.check_axis(self.class_axis)
        response.check_kind(self.input)
        check(
            self.budget is None or (type(self.budget) is int and self.budget >= 1),
            f"budget is {self.budget!r}.",
            "Write a number of queries a day, at least 1, or leave it out.",
        )
        check(
            self.near is None or isinstance(self.noise, Keyed),
            "neighbourhood needs the key of keyed noise.",
            "Write keyed noise, or leave neighbourhood out.",
        )

    @classmethod
    def read(cls, path: str | Path) -> Configuration:
        """Read a `defense.yaml`; files that it names are relative to its folder.

        The secret is not looked up: that is done for each response.

        Raises:
            InputError: if the file, or that of the fitted arrays, cannot be read or is not a
                configuration; with the line, the name and the remedy.
            MissingExtraError: if there are fitted arrays and safetensors is not installed.
        """
        return _read(Path(path))

    @classmethod
    def of(cls, source: Configuration | str | Path) -> Configuration:
        """Return a configuration as it is, or read the file of that name."""
        return source if isinstance(source, Configuration) else cls.read(source)

    def write(self, path: str | Path) -> None:
        """Write the file, and fitted arrays as safetensors beside it; both or neither.

        Raises:
            InputError: if it cannot be written, or the defense is not registered.
            MissingExtraError: if there are fitted arrays and safetensors is not installed.
        """
        _write(self, Path(path))

    @property
    def placement(self) -> dict[str, Any]:
        """``output``, ``class_axis`` and ``input``, as the wrappers take them."""
        return {"output": self.output, "class_axis": self.class_axis, "input": self.input}

    @property
    def cell_width(self) -> float | None:
        """Cell width of keyed noise, in logits; None for fresh noise."""
        return self.noise.cell_width if isinstance(self.noise, Keyed) else None

    @property
    def keyed_noise(self) -> Keyed | None:
        """The keyed noise; None for fresh noise."""
        return self.noise if isinstance(self.noise, Keyed) else None

    def input_cells(self) -> Cells | None:
        """Cells of inputs that `near` counts queries in, under the key of the noise, or None.

        Raises:
            InputError: if their file cannot be read.
            MissingExtraError: if safetensors is not installed.
        """
        if self.near is None:
            return None
        from dynanoise.partition.cells import Cells

        noise = self.keyed_noise
        assert noise is not None
        assert isinstance(noise.key, Secret)
        return replace(Cells.read(self.near.cells), key=noise.key)

    def check_weights(self, digest: str, model: Path, name: str) -> None:
        """Refuse a model that the keyed noise was not configured for.

        Args:
            digest: SHA-256 of the model's weights, 64 hexadecimal digits.
            model: the file of the weights, for the message.
            name: name of the configuration's file, or other words for it.

        Raises:
            InputError: if ``noise.weights`` is another digest.
        """
        noise = self.keyed_noise
        if noise is not None and noise.weights != digest:
            raise InputError(
                f"{name} was written for other weights than {model} holds: two models must not "
                "share a key's noise.",
                f"If this is the model, write noise.weights: {digest}",
            )

    def noise_source(self) -> Noise:
        """Noise for one response: the keyed noise itself, or a new source of fresh noise."""
        return self.keyed_noise or response.system_noise()

    def defend(self, outputs: npt.ArrayLike) -> Floats:
        """Compute the defended probabilities of a model's outputs.

        Safe to call from several threads at once.

        Args:
            outputs: float32 or float64, with K >= 2 classes along ``class_axis``.

        Returns:
            Probabilities in [0, 1] of the same shape and dtype.

        Raises:
            InputError: if the outputs are not of the configured kind.
            NotFittedError: if the defense must be fitted first.
            SecretError: if the noise is keyed and there is no usable secret.
        """
        return response.defend(
            outputs,
            self.defense,
            self.noise_source(),
            class_axis=self.class_axis,
            kind=self.input,
        )


def _read(path: Path) -> Configuration:
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise InputError(f"{path} is not text in UTF-8.", "Write it as plain text.") from None
    except OSError as error:
        raise InputError(
            f"{path} cannot be read ({error.strerror}).", "Name a defense.yaml."
        ) from None
    top, folder = read_section(text, path.name), _folder(path)
    top.allow(_KEYS)
    version = top.required("version", f"version: {VERSION}")
    if version != str(VERSION):
        raise top.error(
            "version",
            f"version is {version!r}.",
            f"This release reads version {VERSION}; another one may read this.",
        )
    noise = _read_noise(top.section("noise", "noise: {name: fresh}"), folder)
    section = top.section("defense", "defense: {name: dynanoise}")
    defense = _read_defense(section, _read_arrays(top, folder))
    axis, budget = top.scalar("class_axis"), top.scalar("budget")
    near, tls = _read_near(top, folder), _read_tls(top, folder)
    kind = top.text("input")
    return _with_line(
        top,
        lambda: Configuration(
            defense,
            noise,
            output=top.text("output"),
            class_axis=-1 if axis is None else axis.value,
            input="logits" if kind is None else kind,
            budget=None if budget is None else budget.value,
            near=near,
            upstream_tls=tls,
        ),
    )


def _read_near(top: Section, folder: Path) -> Near | None:
    if "neighbourhood" not in top.entries:
        return None
    section = top.section("neighbourhood", "neighbourhood: {budget: 16, cells: cells.json}")
    section.allow(("budget", "cells"))
    section.required("budget", "budget: 16")
    cells = folder / section.required("cells", "cells: FILE, as Cells.write makes it")
    return _with_line(section, lambda: Near(section.plain()["budget"], cells))


def _read_tls(top: Section, folder: Path) -> UpstreamTls | None:
    if "upstream_tls" not in top.entries:
        return None
    section = top.section("upstream_tls", "upstream_tls: {ca: ca.pem}")
    section.allow(_TLS)
    files = {name: section.text(name) for name in _TLS}
    paths = {name: folder / text for name, text in files.items() if text is not None}
    return _with_line(section, lambda: UpstreamTls(**paths))


def _folder(path: Path) -> Path:
    return Path(os.path.abspath(path)).parent


def _with_line(section: Section, make: Callable[[], _Value]) -> _Value:
    """Call ``make``; its errors get the line of the setting that they begin with."""
    try:
        return make()
    except DynaNoiseError as error:
        first = error.problem.split(maxsplit=1)[0]
        name = first if first in section.entries else None
        prefix = section.prefix if name else ""
        raise section.error(name, f"{prefix}{error.problem}", error.remedy) from None


def _read_defense(section: Section, arrays: Mapping[str, Float64]) -> Defense:
    name = section.required("name", "name: dynanoise")
    parameters = _with_line(section, lambda: DEFENSES.parameters(name))
    section.allow(("name", *parameters))
    settings = section.plain()
    for array in arrays:
        if array in settings:
            problem = f"{section.prefix}{array} is in the fitted file, too."
            raise section.error(array, problem, "Drop it.")
    del settings["name"]
    return _with_line(section, lambda: from_parts(Parts(name, settings, arrays)))


def _read_noise(section: Section, folder: Path) -> str | Keyed:
    name = section.required("name", "name: fresh, or name: keyed")
    if name == FRESH:
        section.allow(("name",))
        return FRESH
    if name != "keyed":
        raise section.error(
            "name",
            f"There is no noise {name!r}.",
            f"{meant(name, (FRESH, 'keyed'))}Known: {FRESH}, keyed.",
        )
    section.allow(_KEYED)
    key = _read_key(section, folder)
    section.required(
        "cell_width",
        "cell_width: WIDTH, 2 to 3 times the median gap between the two largest logits",
    )
    model = section.required("model", "model: NAME, any name that its replicas share")
    weights = section.required("weights", "weights: SHA256 of the model's weights")
    width = section.plain()["cell_width"]
    return _with_line(section, lambda: Keyed(width, model, weights, key))


def _read_key(section: Section, folder: Path) -> Secret:
    try:
        secret = Secret(section.text("key") or DEFAULT)
    except InputError as error:
        raise section.error("key", f"{section.prefix}key: {error.problem}", error.remedy) from None
    kind, _, place = secret.reference.partition(":")
    return Secret(f"file:{folder / place}") if kind == "file" else secret


def _read_arrays(top: Section, folder: Path) -> dict[str, Float64]:
    name = top.text("fitted")
    if name is None:
        return {}
    numpy = require("safetensors.numpy", "Reading fitted arrays")
    try:
        arrays: dict[str, Float64] = numpy.load((folder / name).read_bytes())
    except OSError as error:
        raise top.error(
            "fitted",
            f"{name} cannot be read ({error.strerror}).",
            "It belongs beside the configuration.",
        ) from None
    except Exception as error:  # safetensors has an error class of its own, made in Rust
        raise top.error(
            "fitted", f"{name} is not a safetensors file ({error}).", "Write both files again."
        ) from None
    return arrays


def _write(configuration: Configuration, path: Path) -> None:
    parts, folder = to_parts(configuration.defense), _folder(path)
    settings: dict[str, Any] = {
        "version": VERSION,
        "defense": {"name": parts.name, **parts.parameters},
        **configuration.placement,
        "noise": _noise_settings(configuration.noise, folder),
    }
    if configuration.output is None:
        del settings["output"]
    if configuration.budget is not None:
        settings["budget"] = configuration.budget
    if configuration.near is not None:
        near = configuration.near
        cells = _place(str(near.cells), folder)
        settings["neighbourhood"] = {"budget": near.budget, "cells": cells}
    if configuration.upstream_tls is not None:
        files = {name: getattr(configuration.upstream_tls, name) for name in _TLS}
        settings["upstream_tls"] = {
            name: _place(str(file), folder) for name, file in files.items() if file is not None
        }
    with writing(path):
        folder.mkdir(parents=True, exist_ok=True)
        if parts.arrays:
            settings["fitted"] = _write_arrays(parts, path)
        write_atomically(path, (_HEAD + _dump(settings)).encode())


def _dump(settings: Mapping[str, Any]) -> str:
    text: str = yaml.safe_dump(settings, sort_keys=False, allow_unicode=True, width=10**6)
    if text.replace("\n", "").isprintable():
        return text
    # Unescaped, line ends other than \n would be read as spaces.
    escaped: str = yaml.safe_dump(settings, sort_keys=False, width=10**6)
    return escaped


def _write_arrays(parts: Parts, path: Path) -> str:
    """Write fitted arrays beside ``path`` and return the name of their file."""
    # With a digest in it: a configuration that is there already keeps its own arrays if this is
    # interrupted between the two files.
    content: bytes = require("safetensors.numpy", "Writing fitted arrays").save(dict(parts.arrays))
    name = f"{path.stem}-{hashlib.sha256(content).hexdigest()[:12]}.safetensors"
    write_atomically(path.parent / name, content)
    return name


def _noise_settings(noise: str | Keyed, folder: Path) -> dict[str, Any]:
    if not isinstance(noise, Keyed):
        return {"name": FRESH}
    assert isinstance(noise.key, Secret)
    kind, _, place = noise.key.reference.partition(":")
    if kind == "file":
        place = _place(place, folder)
    return {
        "name": "keyed",
        "cell_width": noise.cell_width,
        "model": noise.model,
        "weights": noise.weights,
        "key": f"{kind}:{place}",
    }


def _place(file: str, folder: Path) -> str:
    """A file as it is written: relative to the folder of the configuration, if it is inside."""
    absolute = Path(os.path.abspath(file))
    return str(absolute.relative_to(folder) if absolute.is_relative_to(folder) else absolute)
