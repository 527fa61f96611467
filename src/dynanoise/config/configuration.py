"""`defense.yaml`: what every deployment of a defense reads."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy.typing as npt

from dynanoise.core.defense import Defense, Noise
from dynanoise.core.errors import InputError
from dynanoise.core.numerics import Floats
from dynanoise.defenses import values
from dynanoise.defenses.response import answer_logits, answer_probabilities, system_noise
from dynanoise.noise.keyed import Keyed
from dynanoise.noise.secrets import Secret

FRESH = "fresh"
INPUTS = ("logits", "probabilities")


@dataclass(frozen=True, eq=False)
class Configuration(values.ByValue):
    """How a deployed model's answers are defended; never a secret, only where it is.

    Args:
        defense: what the answers pass through, with what it was fitted to.
        noise: "fresh", new noise for every answer, seeded by the operating system; or `Keyed`
            noise, whose key is a reference, "env:NAME" or "file:PATH".
        output: the model's output tensor that it applies to; None where there is one only.
        class_axis: of that output.
        input: what that output holds, "logits" or "probabilities"; probabilities p count as the
            logits ln max(p, tiny).

    Raises:
        InputError: if something is not what it should be.

    >>> import numpy as np
    >>> from dynanoise.defenses.temperature import Temperature
    >>> softer = Configuration(Temperature(2), "fresh", input="probabilities")
    >>> softer.answer([[0.1, 0.9]]).round(6).tolist()
    [[0.25, 0.75]]
    """

    defense: Defense
    noise: str | Keyed
    output: str | None = None
    class_axis: int = -1
    input: str = "logits"

    def __post_init__(self) -> None:
        if isinstance(self.defense, type) or not isinstance(self.defense, Defense):
            raise InputError(
                f"defense is of type {type(self.defense).__name__}.",
                "Pass a defense, such as dn.DynaNoise().",
            )
        if isinstance(self.noise, Keyed):
            if not isinstance(self.noise.key, Secret):
                raise InputError(
                    f"The key of the noise is a {type(self.noise.key).__name__}.",
                    "A deployment names its secret by reference, env:NAME or file:PATH.",
                )
        elif self.noise != FRESH:
            # Not shown: it may be a source with its state, or a key.
            raise InputError(
                f"noise is of type {type(self.noise).__name__}.",
                'Pass "fresh" or Keyed noise, such as dn.Keyed(4.0, "my model", sha256).',
            )
        if self.output is not None and not (isinstance(self.output, str) and self.output):
            raise InputError(f"output is {self.output!r}.", "Name an output tensor, or leave None.")
        if isinstance(self.class_axis, bool) or not isinstance(self.class_axis, int):
            raise InputError(f"class_axis is {self.class_axis!r}.", "Use an integer, such as -1.")
        if self.input not in INPUTS:
            raise InputError(f"input is {self.input!r}.", f"Use {' or '.join(INPUTS)}.")

    @classmethod
    def read(cls, path: str | Path) -> Configuration:
        """What a file holds; files that it names are looked for beside it.

        The secret is not looked up: that is done for each answer.

        Raises:
            InputError: if it, or the file of fitted arrays, cannot be read or holds anything else
                than it should; with the line, the name and the remedy.
            MissingExtraError: if there are fitted arrays and no safetensors package.
        """
        from dynanoise.config.defense_yaml import read

        return read(Path(path))

    @classmethod
    def of(cls, said: Configuration | str | Path) -> Configuration:
        """The configuration itself, or what the file of that name holds; errors as of `read`."""
        return said if isinstance(said, Configuration) else cls.read(said)

    @property
    def place(self) -> dict[str, Any]:
        """Which values the defense applies to: the wrappers' arguments of these names."""
        return {"output": self.output, "class_axis": self.class_axis, "input": self.input}

    def write(self, path: str | Path) -> None:
        """Writes the file, and fitted arrays as safetensors beside it, or neither.

        Raises:
            InputError: if it cannot be written, or the defense is not registered.
            MissingExtraError: if there are fitted arrays and no safetensors package.
        """
        from dynanoise.config.defense_yaml import write

        write(self, Path(path))

    @property
    def cell_width(self) -> float | None:
        """Of keyed noise, in logits; None for fresh noise."""
        return self.noise.cell_width if isinstance(self.noise, Keyed) else None

    def source(self) -> Noise:
        """The noise for one answer: the keyed noise itself, or a new source of fresh noise."""
        return self.noise if isinstance(self.noise, Keyed) else system_noise()

    def answer(self, output: npt.ArrayLike) -> Floats:
        """Defended probabilities for what the model answered, of the same shape and dtype.

        Safe to call from several threads at once.

        Args:
            output: float32 or float64, with K >= 2 classes along ``class_axis``.

        Raises:
            InputError: if the output is not what the configuration says it is.
            NotFittedError: if the defense must be fitted first.
            SecretError: if the noise is keyed and there is no usable secret.
        """
        given: Any = answer_logits if self.input == "logits" else answer_probabilities
        found: Floats = given(self.defense, self.source(), output, self.class_axis)
        return found
