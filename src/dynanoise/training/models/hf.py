"""Sequence classifiers of the transformers library, such as the paper's DistilBERT."""

from __future__ import annotations

from dataclasses import InitVar, dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from dynanoise.core.errors import DataFileError, InputError
from dynanoise.data import hub
from dynanoise.data import pretrained as checkpoints
from dynanoise.data.dataset import Data
from dynanoise.data.text import Subwords

_AT_ONCE = 64
"""Texts in a batch of queries: a layer of DistilBERT makes 3,072 numbers of each token."""


class Classifier(nn.Module):
    """A network from token ids [b, L] of `Subwords` to logits [b, K].

    Args:
        network: a network of transformers.
        padding: its padding id.
        counted: True to number the positions here, for each text.
    """

    def __init__(self, network: nn.Module, padding: int, counted: bool) -> None:
        super().__init__()
        self.network = network
        self.padding = padding
        self.counted = counted

    def forward(self, tokens: Tensor) -> Tensor:
        """Compute logits [b, K]; those of a text do not depend on the padding behind it.

        Args:
            tokens: int [b, L].
        """
        if not self.training and len(tokens) > _AT_ONCE:
            order = (tokens != 0).sum(dim=1).argsort()  # texts of about one length together
            parts = [self(tokens[rows]) for rows in order.split(_AT_ONCE)]
            return torch.cat(parts)[order.argsort()]
        # Columns that are padding in every text take time and change nothing. A traced graph would
        # keep the length of the example.
        traced = torch.jit.is_tracing() or torch.compiler.is_compiling()  # type: ignore[attr-defined]
        if not traced:
            used = (tokens != 0).any(dim=0).nonzero()
            tokens = tokens[:, : int(used.max()) + 1 if len(used) else 1]
        present = tokens != 0
        ids = torch.where(present, tokens - 1, self.padding).long()
        arguments = {"input_ids": ids, "attention_mask": present.long()}
        if self.counted:
            positions = torch.arange(tokens.shape[1], device=tokens.device)
            arguments["position_ids"] = positions.expand(tokens.shape)
        logits: Tensor = self.network(**arguments).logits
        return logits


@dataclass(frozen=True)
class Hf:
    """A pretrained transformer with a fresh classification head, all of it trained.

    Made by `named`, which finds the files. `dataclasses.asdict` has the parameters that determine
    the model and not the place of its files, on which keys of stored models and results must not
    depend.

    A head that comes with the weights and has the right number of classes is kept. Name a model
    that has not been trained on the data: otherwise all records are members of every model.

    Args:
        name: the last part of a folder's path, or the hub's name of the model.
        revision: see `pretrained.Checkpoint`.
        pretrained: False for random weights in the shape of config.json.
        place: the folder of its files on this machine.
    """

    name: str
    revision: str
    pretrained: bool = True
    place: InitVar[str] = ""
    takes: ClassVar[str] = "texts"
    stored_as: ClassVar[str] = "dynanoise.training.models.hf.Hf"
    packages: ClassVar[tuple[str, ...]] = ("transformers", "tokenizers")

    def __post_init__(self, place: str) -> None:
        object.__setattr__(self, "place", place)

    @classmethod
    def named(cls, what: str, *, pretrained: bool = True) -> Hf:
        """Make the model of a folder or of the hub, with the files that are there now.

        Args:
            what: a folder that save_pretrained has written, or "NAME" or "NAME@REVISION" of the
                hub.
            pretrained: see `Hf`.

        Raises:
            MissingDataError: if there is no such folder and the hub does not give the model.
            DataFileError: if it has no config.json, or no safetensors for pretrained weights.
            MissingExtraError: if transformers is not installed.
        """
        checkpoint = checkpoints.find(what)
        if pretrained:
            checkpoints.check_weights(checkpoint.folder, checkpoint.name)
        return cls(checkpoint.name, checkpoint.revision, pretrained, str(checkpoint.folder))

    @property
    def folder(self) -> Path:
        """The folder of its files.

        Raises:
            InputError: if it was not made by `named`.
        """
        place: str = vars(self)["place"]
        if not place:
            raise InputError(f"Hf({self.name!r}, ...) does not know its files.", "Use Hf.named.")
        return Path(place)

    @property
    def version(self) -> str:
        """The version of this class and those of the libraries, which decide the numbers too."""
        return f"2, {checkpoints.versions()}"

    def check(self, data: Data) -> None:
        """Check that texts were encoded by this model's tokenizer, by the number of its tokens.

        Raises:
            InputError: if the data set has another number of tokens.
        """
        size = Subwords(checkpoints.tokenizer(self.folder, self.name)).size
        if data.vocabulary_size != size:
            raise InputError(
                f"The tokenizer of hf:{self.name} has {size} tokens, padding included, and "
                f"{data.name} has {data.vocabulary_size}.",
                "Load the data with the model's own tokenizer.",
            )

    def build(self, shape: tuple[int, ...], classes: int) -> nn.Module:
        """Build a module from token ids int32 [n, L] of its `Subwords` to logits [n, classes].

        Weights that are missing come from torch's global generator, which the caller seeds.

        Args:
            shape: (L,).
            classes: number of logits.

        Raises:
            InputError: if texts of L tokens are too long for it.
            DataFileError: if its files are not there, cannot be read, or have changed.
            MissingExtraError: if transformers is not installed.
        """
        folder = self.folder
        if self.revision.startswith("sha256:") and self.revision != checkpoints.revision(folder):
            raise DataFileError(
                f"The files of {self.name} have changed since the run began.", "Start it again."
            )
        network = checkpoints.classifier(folder, self.name, classes, weights=self.pretrained)
        padding = _padding(network, folder, self.name)
        model = Classifier(network, padding, _counts(network)).eval()
        try:
            with torch.inference_mode():
                model(torch.ones((2, *shape), dtype=torch.int32))
        except (IndexError, RuntimeError, ValueError) as error:
            most = getattr(network.config, "max_position_embeddings", None)
            raise InputError(
                f"hf:{self.name} cannot take texts of {shape[0]} tokens ({hub.reason(error)}).",
                f"Cut them to fewer tokens{f'; it has {most} positions' if most else ''}.",
            ) from error
        return model


def _padding(network: Any, folder: Path, name: str) -> int:
    """The padding id of a network; any token where it has none, as the mask hides it."""
    if network.config.pad_token_id is None:
        theirs = checkpoints.tokenizer(folder, name)
        ids = (theirs.pad_token_id, theirs.eos_token_id, 0)
        # Networks with their output at the last token look for it by this id.
        network.config.pad_token_id = next(token for token in ids if token is not None)
    padding: int = network.config.pad_token_id
    return padding


def _counts(network: nn.Module) -> bool:
    """True if positions are 0, 1, ..., and the network does not count them otherwise.

    Networks number them once for all texts of a batch, so DP-SGD, which needs the gradient of each
    text alone, has none of these embeddings unless they are numbered for each.
    """
    return any(
        name.endswith(("position_embeddings", ".wpe"))
        and isinstance(module, nn.Embedding)
        and module.padding_idx is None  # RoBERTa counts from its padding id on
        for name, module in network.named_modules()
    )


MODELS = {"hf": Hf}
