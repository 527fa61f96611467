"""A user's own images: a folder with one sub-folder a class."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import NamedTuple

from dynanoise.core.errors import DataFileError
from dynanoise.data import images
from dynanoise.data.cache import cached
from dynanoise.data.dataset import Data
from dynanoise.data.labels import encode

_TEST = ("test", "validation", "val")


class _File(NamedTuple):
    path: Path
    label: str


def _files(folder: Path) -> list[_File]:
    """All files below the sub-folders of a folder, sorted."""
    if not folder.is_dir():
        raise DataFileError(f"{folder} is not a folder.", "Check the path.")
    classes = sorted(path for path in folder.iterdir() if path.is_dir() and _seen(path))
    if not classes:
        raise DataFileError(f"{folder} has no sub-folders.", "Give it one for each class.")
    found = []
    for each in classes:
        files = [path for path in sorted(each.rglob("*")) if path.is_file() and _seen(path)]
        if not files:
            raise DataFileError(f"{each} holds no images.", "Fill it or take it away.")
        found += [_File(path, each.name) for path in files]
    return found


def _seen(path: Path) -> bool:
    return not path.name.startswith(".")


def load(folder: Path, side: int | None = None) -> Data:
    """Images of a folder with one sub-folder a class, in sorted order.

    A folder with ``train`` and one of ``test``, ``validation`` or ``val``, each with a sub-folder a
    class, gives the official test part too. Hidden files (``.DS_Store``) are passed over.

    Args:
        folder: the folder.
        side: crop each image to its central square and resize it to side x side; without it all
            must have one size.

    Returns:
        Inputs uint8 [N, H, W, 3] in RGB; the classes are called what the sub-folders are.

    Raises:
        DataFileError: if a file is not an image, sizes differ, a sub-folder is empty, or the two
            parts have different classes.
        InputError: if there is one class only.
        MissingExtraError: if Pillow is not installed.
    """
    train, test = folder / "train", [folder / name for name in _TEST if (folder / name).is_dir()]
    if train.is_dir() and test:
        parts = [_files(train), _files(test[0])]
        names = [sorted({file.label for file in part}) for part in parts]
        if names[0] != names[1]:
            odd = sorted(set(names[0]) ^ set(names[1]))
            raise DataFileError(
                f"{train} and {test[0]} differ in the classes {', '.join(odd)}.",
                "Give both a sub-folder for each class.",
            )
    else:
        parts = [_files(folder)]
    files = [file for part in parts for file in part]
    labels, class_names = encode([file.label for file in files], str(folder))
    digest = hashlib.sha256()
    for file in files:
        relative = file.path.relative_to(folder).as_posix()
        with file.path.open("rb") as opened:
            digest.update(relative.encode() + hashlib.file_digest(opened, "sha256").digest())

    def make() -> Data:
        return Data(
            name=folder.resolve().name,
            inputs=images.decode(
                (file.path.read_bytes() for file in files),
                len(files),
                lambda index: str(files[index].path),
                side,
            ),
            labels=labels,
            classes=len(class_names),
            test_from=len(parts[0]) if len(parts) > 1 else None,
            class_names=class_names,
        )

    key = {"folder": digest.hexdigest(), "side": side, "decoder": images.decoder()}
    return cached(folder.resolve().name, key, make)
