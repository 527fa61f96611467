"""Any sequence classifier of the transformers library, such as the paper's DistilBERT."""

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
"""Texts of a question at once: a layer of DistilBERT makes 3,072 numbers of each token."""


class Classifier(nn.Module):
    """From token ids [b, L] of `Subwords` to logits [b, K].

    Args:
        network: of transformers.
        padding: the id that it takes for padding.
        counted: True to number the positions here, for each text.
    """

    def __init__(self, network: nn.Module, padding: int, counted: bool) -> None:
        super().__init__()
        self.network = network
        self.padding = padding
        self.counted = counted

    def forward(self, tokens: Tensor) -> Tensor:
        """Logits; what a text gets does not depend on the padding behind it."""
        if not self.training and len(tokens) > _AT_ONCE:
            return torch.cat([self(part) for part in tokens.split(_AT_ONCE)])
        present = tokens != 0
        ids = torch.where(present, tokens - 1, self.padding).long()
        given = {"input_ids": ids, "attention_mask": present.long()}
        if self.counted:
            positions = torch.arange(tokens.shape[1], device=tokens.device)
            given["position_ids"] = positions.expand(tokens.shape)
        logits: Tensor = self.network(**given).logits
        return logits


@dataclass(frozen=True)
class Hf:
    """A pretrained transformer with a fresh classification head, all of it trained.

    Made by `named`, which finds the files. `dataclasses.asdict` has what determines the model and
    not where it lies, so that neither the keys of stored models nor results depend on that.

    A head that comes with the weights and has the right number of classes is kept. Name a model
    that has not been trained on the data: otherwise every target and shadow knows all records.

    Args:
        name: a folder's own name, or the hub's name of the model.
        revision: see `pretrained.Checkpoint`.
        pretrained: False for random weights in the shape that config.json says.
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
        """The model of a folder or of the hub, with what lies there now.

        Args:
            what: a folder that save_pretrained has written, or "NAME" or "NAME@REVISION" of the
                hub.
            pretrained: see `Hf`.

        Raises:
            MissingDataError: if it is no folder and the hub does not give it.
            DataFileError: if it has no config.json, or no safetensors where it is to have weights.
            MissingExtraError: if transformers is not installed.
        """
        found = checkpoints.find(what)
        if pretrained:
            checkpoints.check_weights(found.folder, found.name)
        return cls(found.name, found.revision, pretrained, str(found.folder))

    @property
    def folder(self) -> Path:
        """Where its files are.

        Raises:
            InputError: if it was not made by `named`.
        """
        place: str = vars(self)["place"]
        if not place:
            raise InputError(f"Hf({self.name!r}, ...) does not know its files.", "Use Hf.named.")
        return Path(place)

    @property
    def version(self) -> str:
        """Its own, and those of the libraries, which decide the numbers too."""
        return f"1, {checkpoints.versions()}"

    def check(self, data: Data) -> None:
        """Raises unless the data are texts as this model's tokenizer makes tokens of them.

        It is known by how many tokens there are.

        Raises:
            InputError: if they are other tokens.
        """
        size = Subwords(checkpoints.tokenizer(self.folder, self.name)).size
        if data.vocabulary_size != size:
            raise InputError(
                f"The tokenizer of hf:{self.name} has {size} tokens, padding included, and "
                f"{data.name} has {data.vocabulary_size}.",
                "Load the data with the model's own tokenizer.",
            )

    def build(self, shape: tuple[int, ...], classes: int) -> nn.Module:
        """A module from token ids int32 [n, L] of its `Subwords` to logits [n, classes].

        What the weights lack comes from torch's global generator, which the caller seeds.

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
    """The network's padding id; any token where it has none, as it is hidden by the mask."""
    if network.config.pad_token_id is None:
        theirs = checkpoints.tokenizer(folder, name)
        known = (theirs.pad_token_id, theirs.eos_token_id, 0)
        # Networks that answer at the last token look for it by this id.
        network.config.pad_token_id = next(one for one in known if one is not None)
    padding: int = network.config.pad_token_id
    return padding


def _counts(network: nn.Module) -> bool:
    """True if positions are 0, 1, ..., and not counted in a way of the network's own.

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
