"""Rotation of the key of a deployed defense: what it costs, and when it costs nothing.

A record that is queried under several keys, versions of the model or settings has an independent
sample of noise under each. Their average is closer to the undefended output than any of them.
"""

from __future__ import annotations

import hashlib
import math
import re
from dataclasses import dataclass
from pathlib import Path

from dynanoise.config.configuration import Configuration
from dynanoise.core.errors import InputError
from dynanoise.core.files import write_atomically, writing
from dynanoise.defenses import parameters
from dynanoise.defenses.dynanoise import DynaNoise
from dynanoise.noise.keys import write_secret
from dynanoise.noise.subkey import key_id

_LINE = re.compile("([0-9a-f]{16}) ([0-9a-f]{64}) ([0-9a-f]{16})")
_HEAD = (
    "# Noise that outputs of this model have had (dynanoise key rotate); no secrets.\n"
    "# A line each: id of the key, SHA-256 of the weights, digest of defense and cell width.\n"
)


@dataclass(frozen=True)
class Sample:
    """The noise of one key, version of the model and setting; that of every other is independent.

    Attributes:
        key_id: id of the key, 16 hexadecimal digits.
        weights: SHA-256 of the model's weights.
        setting: digest of the defense with its parameters and the cell width.
    """

    key_id: str
    weights: str
    setting: str


@dataclass(frozen=True)
class Rotation:
    """A new key, and what an attacker gains by it.

    Attributes:
        present: the sample under the key that is replaced.
        before: samples of noise that outputs have had so far, the present among them.
        new: the sample under the new key.
    """

    present: Sample
    before: tuple[Sample, ...]
    new: Sample

    @property
    def keys(self) -> int:
        """Number of different keys, the new one among them."""
        return len({sample.key_id for sample in (*self.before, self.new)})

    @property
    def is_free(self) -> bool:
        """Whether the weights are new, so that their noise would be new under any key."""
        return self.new.weights not in {sample.weights for sample in self.before}


def average_error(configuration: Configuration, samples: int) -> float | None:
    """Compute the error that the average over independent samples of noise leaves to an attacker.

    A cell's representative is off by a uniform error of the cell's width, and the noise adds its
    variance: sqrt((width^2 / 12 + variance) / samples).

    Args:
        configuration: defense with keyed noise.
        samples: number of samples, >= 1.

    Returns:
        Standard deviation in logits, for one class of a confident output (R = 1); None if the
        variance of this defense has no such formula.

    >>> from dynanoise.noise.keyed import Keyed
    >>> noise = Keyed(4.0, "m", "ab" * 32)
    >>> configuration = Configuration(DynaNoise(0.3, lambda_scale=2.0), noise)
    >>> [round(average_error(configuration, samples), 2) for samples in (1, 2, 4)]
    [1.49, 1.06, 0.75]
    """
    defense, width = configuration.defense, configuration.cell_width
    if width is None or not isinstance(defense, DynaNoise):
        return None
    variance = defense.base_variance * (1 + defense.lambda_scale)
    return math.sqrt((width**2 / 12 + variance) / samples)


def rotate(
    configuration: Configuration,
    out: Path,
    history: Path,
    weights: str | None = None,
    leaked: bool = False,
) -> Rotation:
    """Make a new key, and note it and the present one in a file.

    Args:
        configuration: defense with keyed noise, under the present key.
        out: file of the new key, which must not exist.
        history: file of the samples so far; made if it is not there.
        weights: SHA-256 of the weights that are served under the new key; None for those of the
            configuration.
        leaked: whether the present key may be known, so that a further sample of noise for every
            record is the smaller harm.

    Returns:
        The rotation.

    Raises:
        InputError: if the noise is not keyed, a file cannot be used, or records would get a further
            sample although the key is not known to anyone.
        SecretError: if the present key cannot be read.
    """
    noise = configuration.keyed_noise
    if noise is None:
        raise InputError("The noise is fresh, and has no key.", "Configure keyed noise first.")
    assert not isinstance(noise.key, str)
    setting = _setting(configuration, noise.cell_width)
    present = Sample(key_id(noise.key.root()), noise.weights, setting)
    before = tuple(dict.fromkeys([*read_history(history), present]))
    weights = weights or noise.weights
    if not leaked and weights in {sample.weights for sample in before}:
        keys = len({sample.key_id for sample in before})
        raise InputError(
            f"Outputs for these weights exist under {keys} key(s): a new one would "
            "give attackers a further sample of noise for every record.",
            "Wait for the next version of the model, which has new noise anyway, and pass its file "
            "as --weights; or pass --leaked if the key may be known.",
        )
    new = Sample(write_secret(out), weights, setting)
    lines = [f"{sample.key_id} {sample.weights} {sample.setting}\n" for sample in (*before, new)]
    try:
        with writing(history):
            write_atomically(history, (_HEAD + "".join(lines)).encode())
    except InputError:
        out.unlink()
        raise
    return Rotation(present, before, new)


def read_history(path: Path) -> list[Sample]:
    """Read the samples in a file of `rotate`; none if there is no file.

    Raises:
        InputError: if it cannot be read or holds anything else.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return []
    except (OSError, UnicodeDecodeError):
        raise InputError(f"{path} cannot be read.", "Name the file of earlier rotations.") from None
    samples = []
    for number, line in enumerate(lines, 1):
        text = line.partition("#")[0].strip()
        match = _LINE.fullmatch(text)
        if match:
            samples.append(Sample(*match.groups()))
        elif text:  # not shown: it may be a key
            raise InputError(
                f"{path}, line {number}, is not 'KEY_ID WEIGHTS SETTING'.",
                "Name the file that `dynanoise key rotate` wrote.",
            )
    return samples


def _setting(configuration: Configuration, width: float) -> str:
    parts = parameters.to_parts(configuration.defense)
    text = parameters.canonical(parts.name, width=width, **parts.parameters, **parts.arrays)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
