"""The layout of `defense.yaml`, version 1; see docs/deploy.md."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import yaml

from dynanoise.config.configuration import FRESH, Configuration
from dynanoise.config.yaml import Scalar, Section, parsed
from dynanoise.core.defense import Defense
from dynanoise.core.errors import DynaNoiseError, InputError
from dynanoise.core.extras import require
from dynanoise.core.files import write_atomically
from dynanoise.core.numerics import Float64
from dynanoise.core.registry import DEFENSES, meant
from dynanoise.defenses.stored import Parts, put_together, taken_apart
from dynanoise.noise.keyed import Keyed
from dynanoise.noise.secrets import DEFAULT, Secret

VERSION = 1

_KEYS = ("version", "defense", "output", "class_axis", "input", "noise", "fitted")
_KEYED = ("name", "cell_width", "model", "weights", "key")
_HEAD = "# How answers are defended (dynanoise). Holds no secret: noise.key says where it is.\n"

_Made = TypeVar("_Made")


def read(path: Path) -> Configuration:
    """See `Configuration.read`."""
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise InputError(f"{path} is not text in UTF-8.", "Write it as plain text.") from None
    except OSError as error:
        raise InputError(
            f"{path} cannot be read ({error.strerror}).", "Name a defense.yaml."
        ) from None
    top, folder = parsed(text, path.name), _folder(path)
    top.only(_KEYS)
    version = top.required("version", f"version: {VERSION}")
    if version != str(VERSION):
        raise top.error(
            "version",
            f"version is {version!r}.",
            f"This release reads version {VERSION}; another one may read this.",
        )
    noise = _noise(top.section("noise", "noise: {name: fresh}"), folder)
    defense = _defense(
        top.section("defense", "defense: {name: dynanoise}"), _fitted(top, folder), "defense"
    )
    axis = top.scalar("class_axis")
    choices: dict[str, Any] = {
        "output": top.text("output"),
        "class_axis": -1 if axis is None else axis.value,
        "input": "logits" if top.text("input") is None else top.text("input"),
    }
    return _located(top, lambda: Configuration(defense, noise, **choices))


def _folder(path: Path) -> Path:
    return Path(os.path.abspath(path)).parent


def _located(section: Section, make: Callable[[], _Made]) -> _Made:
    """What ``make`` gives; its errors with the line of the setting that they begin with."""
    try:
        return make()
    except DynaNoiseError as error:
        first = error.problem.split(maxsplit=1)[0]
        name = first if first in section.entries else None
        inside = section.prefix if name else ""
        raise section.error(name, f"{inside}{error.problem}", error.remedy) from None


def _defense(section: Section, arrays: Mapping[str, Float64], where: str) -> Defense:
    name = section.required("name", "name: dynanoise")
    known = _located(section, lambda: DEFENSES.parameters(name))
    section.only(("name", *known))
    given = _plain(section)
    for array in arrays:
        if array.partition(".")[0] in given and "." not in array:
            raise section.error(array, f"{where}.{array} is in the fitted file, too.", "Drop it.")
    del given["name"]
    return _located(section, lambda: put_together(Parts(name, given, arrays)))


def _plain(section: Section) -> dict[str, Any]:
    """Values and sections as dictionaries."""
    return {
        name: entry.value if isinstance(entry, Scalar) else _plain(entry)
        for name, entry in section.entries.items()
    }


def _noise(section: Section, folder: Path) -> str | Keyed:
    name = section.required("name", "name: fresh, or name: keyed")
    if name == FRESH:
        section.only(("name",))
        return FRESH
    if name != "keyed":
        raise section.error(
            "name",
            f"There is no noise {name!r}.",
            f"{meant(name, (FRESH, 'keyed'))}Known: {FRESH}, keyed.",
        )
    section.only(_KEYED)
    key = _key(section, folder)
    width = section.scalar("cell_width")
    section.required("cell_width", "cell_width: WIDTH, 2 to 3 times the median top gap")
    model = section.required("model", "model: NAME, any name that its replicas share")
    weights = section.required("weights", "weights: SHA256 of the model's weights")
    return _located(
        section,
        lambda: Keyed(width.value if width else None, model, weights, key),  # type: ignore[arg-type]
    )


def _key(section: Section, folder: Path) -> Secret:
    reference = section.text("key") or DEFAULT
    try:
        secret = Secret(reference)
    except InputError as error:
        raise section.error("key", f"{section.prefix}key: {error.problem}", error.remedy) from None
    kind, _, place = secret.reference.partition(":")
    return Secret(f"file:{folder / place}") if kind == "file" else secret


def _fitted(top: Section, folder: Path) -> dict[str, Float64]:
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
            "fitted", f"{name} is no safetensors file ({error}).", "Write both files again."
        ) from None
    return arrays


def write(configuration: Configuration, path: Path) -> None:
    """See `Configuration.write`."""
    parts, folder = taken_apart(configuration.defense), _folder(path)
    said: dict[str, Any] = {
        "version": VERSION,
        "defense": {"name": parts.name, **parts.parameters},
        "output": configuration.output,
        "class_axis": configuration.class_axis,
        "input": configuration.input,
        "noise": _noise_said(configuration.noise, folder),
    }
    if configuration.output is None:
        del said["output"]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if parts.arrays:
            said["fitted"] = _write_arrays(parts, path)
        write_atomically(path, (_HEAD + _dumped(said)).encode())
    except OSError as error:
        raise InputError(
            f"{path} cannot be written ({error.strerror}).", "Name another file."
        ) from error


def _dumped(said: Mapping[str, Any]) -> str:
    text: str = yaml.safe_dump(said, sort_keys=False, allow_unicode=True, width=10**6)
    if text.replace("\n", "").isprintable():
        return text
    # Unescaped, line ends other than ours would be read as spaces.
    escaped: str = yaml.safe_dump(said, sort_keys=False, width=10**6)
    return escaped


def _write_arrays(parts: Parts, path: Path) -> str:
    """Writes them beside ``path``; returns the file's name."""
    # With a digest in it: a configuration that is there already keeps its own arrays if this is
    # interrupted between the two files.
    content: bytes = require("safetensors.numpy", "Writing fitted arrays").save(dict(parts.arrays))
    name = f"{path.stem}-{hashlib.sha256(content).hexdigest()[:12]}.safetensors"
    write_atomically(path.parent / name, content)
    return name


def _noise_said(noise: str | Keyed, folder: Path) -> dict[str, Any]:
    if not isinstance(noise, Keyed):
        return {"name": FRESH}
    assert isinstance(noise.key, Secret)
    kind, _, place = noise.key.reference.partition(":")
    if kind == "file":
        absolute = Path(os.path.abspath(place))
        inside = absolute.is_relative_to(folder)
        place = str(absolute.relative_to(folder) if inside else absolute)
    return {
        "name": "keyed",
        "cell_width": noise.cell_width,
        "model": noise.model,
        "weights": noise.weights,
        "key": f"{kind}:{place}",
    }
