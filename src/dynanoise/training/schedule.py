"""Schedules of training; without torch, so that presets can name them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from dynanoise.core.errors import InputError


@dataclass(frozen=True)
class Schedule:
    """The length and the step sizes of a training run.

    Args:
        epochs: passes over the members, >= 1.
        batch: records a step, >= 1.
        learning_rate: the (peak) step size, > 0.
        optimizer: "adam", or "sgd" with Nesterov momentum 0.9.
        weight_decay: L2 penalty.
        one_cycle: rise to the learning rate over the first quarter of the steps and fall to 0 by
            the last (Smith & Topin 2018), instead of a constant step.
        bfloat16: autocast to bfloat16. `dynanoise bench` turns it off on devices that are not
            clearly faster with it; roundings differ, so results say how many models it trained.

    Raises:
        InputError: for a value outside its range.
    """

    epochs: int = 100
    batch: int = 32
    learning_rate: float = 1e-3
    optimizer: Literal["adam", "sgd"] = "adam"
    weight_decay: float = 0.0
    one_cycle: bool = False
    bfloat16: bool = False

    def __post_init__(self) -> None:
        if self.epochs < 1 or self.batch < 1 or self.learning_rate <= 0:
            raise InputError(
                f"epochs {self.epochs}, batch {self.batch}, learning_rate {self.learning_rate}.",
                "Use at least one epoch, one record a step and a step above 0.",
            )
        if self.optimizer not in ("adam", "sgd"):
            raise InputError(f"optimizer is {self.optimizer!r}.", "Use 'adam' or 'sgd'.")
