"""Pretrained transformers: a folder or a name on the hub, read without pickle or foreign code."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dynanoise.core.errors import DataFileError, MissingDataError
from dynanoise.core.extras import require
from dynanoise.data import hub

_TEXTS = ("*.json", "*.txt", "*.model")
"""Configurations, vocabularies and merges."""
_WEIGHTS = "*.safetensors"


@dataclass(frozen=True)
class Checkpoint:
    """The files of a pretrained model.

    Attributes:
        name: the last part of a folder's path, or the hub's name of the model.
        revision: "sha256:" and 64 hexadecimal digits over a folder's configuration, tokenizer and
            weights; the commit of a model of the hub.
        folder: its files on this machine.
    """

    name: str
    revision: str
    folder: Path


def find(what: str) -> Checkpoint:
    """Find a pretrained model: a folder, else "NAME" or "NAME@REVISION" of the hub.

    From the hub only safetensors, configurations and vocabularies are fetched, once; where it is
    out of reach, the copy of an earlier call is used.

    Args:
        what: the folder or the name.

    Raises:
        MissingDataError: if there is no such folder and the hub does not give the model.
        DataFileError: if there is no config.json.
        MissingExtraError: if transformers is not installed.
    """
    folder = Path(what)
    if folder.is_dir():
        _configured(folder, what)
        return Checkpoint(folder.resolve().name, revision(folder), folder.resolve())
    if folder.is_absolute() or what.startswith(".") or len(folder.parts) > 2:
        raise MissingDataError(f"There is no folder {what}.", "Check the path.")
    return _from_hub(what)


def _from_hub(what: str) -> Checkpoint:
    _library()  # before hours of fetching
    library = require("huggingface_hub", f"Fetching {what} from the hub")
    name, _, revision = what.partition("@")
    try:
        fetched = library.snapshot_download(
            name,
            revision=revision or None,
            allow_patterns=[*_TEXTS, _WEIGHTS],
            ignore_patterns=["*/*"],
            local_files_only=not hub.reachable(),
        )
    except Exception as error:  # the library's and its HTTP client's errors have no common base
        raise MissingDataError(
            f"{what!r} is not a folder, nor a model that the hub gives ({hub.reason(error)}).",
            "Check its name and the connection, or pass a folder that save_pretrained has written.",
        ) from error
    folder = Path(fetched)
    _configured(folder, what)
    return Checkpoint(name, folder.name, folder)  # the library calls snapshots by their commit


def _configured(folder: Path, what: str) -> None:
    if not (folder / "config.json").is_file():
        raise DataFileError(
            f"{what} has no config.json.", "Name a model that save_pretrained has written."
        )


def revision(folder: Path) -> str:
    """The revision of a model in a folder, see `Checkpoint`."""
    return f"sha256:{digest(folder)}"


def digest(folder: Path, *, weights: bool = True) -> str:
    """SHA-256 over the names and contents of a model's files, 64 hexadecimal digits.

    Args:
        folder: the folder of the model.
        weights: False leaves the weights out, for the files that decide how texts become tokens.
    """
    patterns = (*_TEXTS, _WEIGHTS) if weights else _TEXTS
    sha256 = hashlib.sha256()
    for path in sorted({path for pattern in patterns for path in folder.glob(pattern)}):
        with path.open("rb") as file:
            sha256.update(
                f"{path.name}:{hashlib.file_digest(file, 'sha256').hexdigest()}\n".encode()
            )
    return sha256.hexdigest()


def check_weights(folder: Path, name: str) -> None:
    """Check that the weights lie in a folder as safetensors.

    Args:
        folder: the folder of the model.
        name: the name of the model, for messages.

    Raises:
        DataFileError: if there are none, naming a pickle that lies there instead.
    """
    if any(folder.glob(_WEIGHTS)):
        return
    pickled = sorted(path.name for path in folder.glob("*.bin"))
    if pickled:
        raise DataFileError(
            f"The weights of {name} are in {pickled[0]}, a pickle, which can run code when loaded.",
            "Save them as safetensors: load the model where you trust it and call save_pretrained.",
        )
    raise DataFileError(
        f"{name} has no weights as safetensors.",
        "Call save_pretrained on the model, or ask for random weights by pretrained=False.",
    )


def classifier(folder: Path, name: str, classes: int, *, weights: bool) -> Any:
    """Load a transformers model in evaluation mode, float32.

    Weights that are missing, such as the classification head of a language model, come from torch's
    global generator; so does a head of another number of classes, and everything where ``weights``
    is False.

    Args:
        folder: the folder of the model.
        name: the name of the model, for messages.
        classes: number of logits.
        weights: False for random weights in the shape of config.json.

    Raises:
        DataFileError: if there is no such model, or the weights are another architecture's.
        MissingExtraError: if transformers is not installed.
    """
    library = _library()
    local = {"local_files_only": True, "trust_remote_code": False}
    with _quiet(library), _named(name):
        config = library.AutoConfig.from_pretrained(folder, num_labels=classes, **local)
    if config.is_encoder_decoder:
        raise DataFileError(
            f"{name} is an encoder and a decoder.",
            "Name an encoder, such as DistilBERT, or a decoder.",
        )
    with _quiet(library), _named(name):
        if not weights:
            untrained = library.AutoModelForSequenceClassification.from_config(
                config, dtype="float32", trust_remote_code=False
            )
            return untrained.eval()
        model, info = library.AutoModelForSequenceClassification.from_pretrained(
            folder,
            config=config,
            dtype="float32",
            use_safetensors=True,
            ignore_mismatched_sizes=True,
            output_loading_info=True,
            **local,
        )
    _check_loaded(model, info, name)
    return model


def _check_loaded(model: Any, info: dict[str, Any], name: str) -> None:
    """Refuse weights of another architecture: transformers fills in all that it does not find."""
    prefix = f"{model.base_model_prefix}."
    lacking = {key for key in info["missing_keys"] if key.startswith(prefix)}
    other = {key for key, *_ in info["mismatched_keys"] if key.startswith(prefix)}
    # The pooler belongs to the head: language models have none.
    odd = sorted(other | {key for key in lacking if "pooler" not in key})
    if odd:
        raise DataFileError(
            f"The weights of {name} are not those of its config.json: {odd[0]} is "
            f"{'of another size' if odd[0] in other else 'not there'}.",
            "Copy both from the same model.",
        )


def tokenizer(folder: Path, name: str) -> Any:
    """Load the tokenizer that lies beside a model.

    Args:
        folder: the folder of the model.
        name: the name of the model, for messages.

    Raises:
        DataFileError: if there is none that can be read.
        MissingExtraError: if transformers is not installed.
    """
    library = _library()
    with _quiet(library), _named(name):
        loaded = library.AutoTokenizer.from_pretrained(
            folder, local_files_only=True, trust_remote_code=False
        )
    # Without the files of a tokenizer the library makes one that knows no words.
    if len(loaded) <= len(loaded.all_special_ids):
        raise DataFileError(
            f"There is no tokenizer beside {name}.",
            "Call save_pretrained on its tokenizer, too, with the same folder.",
        )
    return loaded


def versions() -> str:
    """The libraries that decide tokens and numbers besides a model's files, for keys."""
    return " ".join(
        f"{module.__name__} {module.__version__}"
        for module in (_library(), require("tokenizers", "Pretrained tokenizers"))
    )


def _library() -> Any:
    return require("transformers", "The model hf")


@contextmanager
def _named(name: str) -> Iterator[None]:
    """Turn the library's errors, which have no common base, into one sentence."""
    try:
        yield
    except Exception as error:
        raise DataFileError(
            f"transformers cannot read {name} ({hub.reason(error)}).",
            "Name a model that save_pretrained has written with its tokenizer and that needs no "
            "code of its own.",
        ) from error


@contextmanager
def _quiet(library: Any) -> Iterator[None]:
    """Turn off progress bars and reports, which would break into the progress of a run."""
    logging = library.utils.logging
    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()
