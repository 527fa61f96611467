"""DP-SGD by Opacus: clipped gradients of single records with noise, and their epsilon."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import nn

from dynanoise.core.errors import InputError
from dynanoise.core.extras import missing_extra
from dynanoise.training import loop
from dynanoise.training.facts import attach
from dynanoise.training.material import Material
from dynanoise.training.schedule import Schedule


@dataclass(frozen=True)
class DpSgd:
    """Each record's gradient clipped, Gaussian noise on the sum, Poisson batches.

    Abadi et al., "Deep Learning with Differential Privacy", CCS 2016, algorithm 1, with Opacus'
    per-record gradients. A step takes each member with probability batch / n and divides the noisy
    sum by ``schedule.batch``; an epoch has ceil(n / batch) steps. The schedule's optimizer gets the
    noisy gradient ("adam" has the same guarantee, as it uses nothing else). Its ``bfloat16`` is
    not used: gradients of single records are taken in float32.

    The returned model is the plain module and carries facts (see `training.facts`): "epsilon",
    "delta" (1 / n), "noise_multiplier", "sampling_rate" and "steps". Epsilon is for adding or
    removing one member, by the accountant of Renyi differential privacy, and for this one training
    run: parameters chosen by looking at other runs, and a retry after outputs that are not finite,
    are not counted.
    The noise comes from torch's ordinary generator, so that the run repeats: it measures the effect
    of noise and is not cryptographically secure.

    Args:
        schedule: how long and how fast; ``batch`` is the expected batch.
        noise_multiplier: standard deviation of the noise in units of the clipping norm, >= 0. The
            default is the high-utility setting: its guarantee is next to nothing (epsilon in the
            hundreds or more) and yet it weakens attacks, the baseline that defenses without a
            guarantee have to beat (Aerni, Zhang & Tramer 2024). About 1 for a useful guarantee.
        max_grad_norm: the L2 norm that a record's gradient is clipped to, > 0.
        target_epsilon: epsilon to reach at delta = 1 / n, > 0: the least noise that does replaces
            ``noise_multiplier``. None for the noise as given.

    Raises:
        InputError: for a parameter outside its range.
    """

    schedule: Schedule = field(default_factory=Schedule)
    noise_multiplier: float = 0.2
    max_grad_norm: float = 1.0
    target_epsilon: float | None = field(default=None, metadata={"added": True})
    version: ClassVar[int] = 1
    stored_as: ClassVar[str] = "dynanoise.training.recipes.dpsgd.DpSgd"

    def __post_init__(self) -> None:
        if not (self.noise_multiplier >= 0 and self.max_grad_norm > 0):
            raise InputError(
                f"noise_multiplier is {self.noise_multiplier} and max_grad_norm "
                f"{self.max_grad_norm}.",
                "Use noise of 0 or more and a norm above 0.",
            )
        if self.target_epsilon is not None and not self.target_epsilon > 0:
            raise InputError(f"target_epsilon is {self.target_epsilon}.", "Use a number above 0.")

    def train(self, material: Material) -> nn.Module:
        """Train a model on the members.

        Args:
            material: everything the training may use.

        Returns:
            The model in evaluation mode, with its facts.

        Raises:
            MissingExtraError: if Opacus is not installed.
            InputError: if the model mixes the records of a batch, as batch normalisation does.
        """
        opacus = _opacus()
        model = material.build()
        _refuse_mixing(model)
        labels = material.labels(material.members)
        trained, inputs = loop.trained_part(model, material.inputs(material.members))
        count = len(inputs)
        rate = min(1.0, self.schedule.batch / count)
        steps = self.schedule.epochs * -(-count // self.schedule.batch)
        try:
            # A sum, because an empty batch, which Poisson sampling may draw, has no mean.
            wrapped = opacus.GradSampleModule(trained.train(), loss_reduction="sum")
        except NotImplementedError as error:
            raise _unfit(error) from error
        noise_multiplier = self._noise_multiplier(rate, steps, count)
        plain = loop.optimiser(trained, self.schedule)
        noisy = opacus.optimizers.DPOptimizer(
            plain,
            noise_multiplier=noise_multiplier,
            max_grad_norm=self.max_grad_norm,
            expected_batch_size=rate * count,
            generator=_on_device(material.generator("noise"), material.device),
        )
        pace = loop.steps_scheduler(plain, self.schedule, count)
        order = material.generator("order")
        with warnings.catch_warnings():
            # Of Opacus' hook on the first layer, whose input, the data, needs no gradient.
            warnings.filterwarnings("ignore", message="Full backward hook is firing")
            for step in range(steps):
                rows = (torch.rand(count, generator=order) < rate).nonzero()[:, 0].to(inputs.device)
                noisy.zero_grad(set_to_none=True)
                try:
                    logits = wrapped(inputs[rows])
                    nn.functional.cross_entropy(logits, labels[rows], reduction="sum").backward()
                    noisy.step()
                except (AttributeError, RuntimeError) as error:
                    # A model that Opacus cannot take fails in the first step; memory in any.
                    if step or isinstance(error, torch.OutOfMemoryError):
                        raise
                    raise _unfit(error) from error
                pace.step()
        wrapped.to_standard_module()  # takes Opacus' hooks off the module
        return attach(
            model.eval(),
            {
                "epsilon": epsilon(noise_multiplier, rate, steps, delta=1 / count),
                "delta": 1 / count,
                "noise_multiplier": float(noise_multiplier),
                "sampling_rate": rate,
                "steps": steps,
            },
        )

    def _noise_multiplier(self, rate: float, steps: int, count: int) -> float:
        """Noise in units of the clipping norm, for ``count`` members."""
        if self.target_epsilon is None:
            return self.noise_multiplier
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Optimal order is the", category=UserWarning)
            return float(
                _opacus().accountants.utils.get_noise_multiplier(
                    target_epsilon=self.target_epsilon,
                    target_delta=1 / count,
                    sample_rate=rate,
                    steps=steps,
                    accountant="rdp",
                )
            )


def epsilon(noise_multiplier: float, sampling_rate: float, steps: int, *, delta: float) -> float:
    """Compute the epsilon of a number of steps, by Opacus' RDP accountant.

    Mironov, Talwar & Zhang 2019 (arXiv:1908.10530) for the sampled Gaussian mechanism.

    Args:
        noise_multiplier: >= 0; epsilon is infinite without noise.
        sampling_rate: probability that a record is in a batch, in (0, 1].
        steps: number of batches.
        delta: at most 1 / n, in (0, 1).

    >>> round(epsilon(1.0, 0.01, 1000, delta=1e-5), 4)
    2.1014
    """
    accountant = _opacus().accountants.RDPAccountant()
    accountant.history.append((noise_multiplier, sampling_rate, steps))
    with warnings.catch_warnings():
        # A warning for very large or small epsilon: the bound holds, only not tightly.
        warnings.filterwarnings("ignore", message="Optimal order is the", category=UserWarning)
        return float(accountant.get_epsilon(delta=delta))


def _opacus() -> Any:
    try:
        import opacus
        import opacus.accountants.utils
        import opacus.optimizers
    except ImportError as error:
        raise missing_extra("dp", "DP-SGD needs Opacus, which is not installed.") from error
    return opacus


def _unfit(error: Exception) -> InputError:
    return InputError(
        f"Opacus takes no per-record gradients of this model: {error}",
        "Use layers that it supports and that keep no state of the records.",
    )


def _on_device(generator: torch.Generator, device: torch.device) -> torch.Generator:
    """Make a generator of the same seed on the device of the gradients."""
    return torch.Generator(device).manual_seed(generator.initial_seed())


def _refuse_mixing(model: nn.Module) -> None:
    """Refuse batch normalisation: one record's gradient depends on the others', without bound."""
    for name, module in model.named_modules():
        mixes = isinstance(module, nn.modules.batchnorm._BatchNorm)
        remembers = isinstance(module, nn.modules.instancenorm._InstanceNorm) and (
            module.track_running_stats
        )
        if mixes or remembers:
            raise InputError(
                f"{name or 'The model'} is {type(module).__name__}, which mixes the records of a "
                "batch: DP-SGD would have no guarantee.",
                "Use the architecture without batch normalisation, or nn.GroupNorm instead.",
            )


RECIPES = {"dpsgd": DpSgd}
