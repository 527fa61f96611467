"""A torch module with defended outputs: `Defended`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from dynanoise.config.configuration import Configuration
from dynanoise.core.defense import Defense, Noise
from dynanoise.core.errors import InputError
from dynanoise.defenses import parameters, response
from dynanoise.integrations.batches import differs
from dynanoise.integrations.digests import weights_digest
from dynanoise.noise.fresh import Fresh
from dynanoise.noise.keyed import Keyed
from dynanoise.noise.keys import DEFAULT, RootKey

_UNKNOWN_DIGEST = "00" * 32
"""Placeholder for a digest that is taken at the first output; no output is made with it."""

_FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


class Defended(nn.Module):
    """A module whose outputs pass through a defense.

    ``forward`` runs the module without gradients and returns probabilities with the shape, dtype
    and device of its logits; nothing else that the module returns gets out. The defense runs on the
    processor in NumPy, the same object as everywhere, so that probabilities are the library's, bit
    for bit, on any device (float16 and bfloat16 are defended in float32 and rounded, without moving
    the label). On a GPU this waits for the logits and copies them.

    Training mode is refused: dropout would be randomness that no key controls, and batch
    statistics would make an output depend on other queries. With keyed noise the first batch of two
    records or more is queried twice, the second time in part, and a module whose output for a
    record changes is refused as well. Train ``defended.module``; outputs carry no gradient.

    ``state_dict`` has the wrapped module's keys and can be loaded into it and back. A deep copy
    shares the noise source. Neither ``state_dict`` nor repr nor a pickle holds a secret. A module
    with `Fresh` noise cannot be pickled: the state of its generator gives away the noise.

    Threat model: that of the noise source, for an attacker who sees outputs only. Access to
    ``defended.module`` or its weights is access to the undefended outputs.

    Args:
        module: returns logits [batch, ..., K], or several outputs of which ``output`` names the
            logits. One axis alone could be the batch of a squeezed sigmoid, and is refused.
        defense: fitted, where it must be.
        noise: the noise source; None for fresh noise that the operating system seeds anew for each
            output. `keyed` makes keyed noise and takes the digest of the weights itself.
        output: None if the module returns a tensor; a key or attribute of a dictionary or of a
            transformers ModelOutput, such as "logits"; the position in a tuple or list.
        class_axis: axis of the classes in the logits.
        input: "logits", or "probabilities" of a module that ends in a softmax.

    Raises:
        InputError: for an argument of the wrong type, or a batch norm without running statistics;
            in ``forward``, if the module is in training mode, is traced, has no such output, its
            logits have one axis or are not finite, or if keyed noise would be on logits that change
            from query to query.

    >>> from dynanoise.defenses.dynanoise import DynaNoise
    >>> clean = nn.Identity().eval()
    >>> defended = Defended(clean, DynaNoise(0.3, 2, 10), Fresh(0))
    >>> defended(torch.tensor([[6.0, 0.0, 0.0]], dtype=torch.float64)).numpy().round(4).tolist()
    [[0.493, 0.2608, 0.2462]]
    """

    def __init__(
        self,
        module: nn.Module,
        defense: Defense,
        noise: Noise | None,
        *,
        output: str | int | None = None,
        class_axis: int = -1,
        input: str = "logits",  # noqa: A002
    ) -> None:
        super().__init__()
        if not isinstance(module, nn.Module):
            raise InputError(f"module is of type {type(module).__name__}.", "Pass a torch module.")
        if isinstance(output, bool) or not isinstance(output, str | int | None):
            raise InputError(f"output is {output!r}.", "Pass a name, a position or None.")
        _refuse_batch_statistics(module)
        self.module = module
        self.training = _training(module)
        self.defense = response.check_defense(defense)
        self.output = output
        self.class_axis = response.check_axis(class_axis)
        self.input = response.check_kind(input)
        self._shared = _Shared(None if noise is None else parameters.noise_source(noise))
        self._by_weights = self._stale = False
        self._repeated = self._apart = False

    @classmethod
    def keyed(
        cls,
        module: nn.Module,
        defense: Defense,
        *,
        cell_width: float,
        model: str,
        key: str | RootKey = DEFAULT,
        **options: Any,
    ) -> Self:
        """Wrap a module with `Keyed` noise that is bound to its weights.

        The digest of the weights (`weights_digest`) is taken at the first output, and again after
        ``load_state_dict``, ``half``, ``to`` and their like on the wrapper. After any other change
        of the weights, wrap the module again: new weights under the digest of the old ones would
        get the old noise.

        Args:
            module: a module, see `Defended`.
            defense: the defense, fitted where it must be.
            cell_width: width of the cells, in logits.
            model: the model's name.
            key: a reference to the root secret, never the secret.
            options: ``output``, ``class_axis`` and ``input`` of `Defended`.
        """
        noise = Keyed(cell_width, model, _UNKNOWN_DIGEST, key)
        defended = cls(module, defense, noise, **options)
        defended._by_weights = defended._stale = True
        return defended

    @classmethod
    def configured(cls, module: nn.Module, configuration: Configuration | str | Path) -> Self:
        """Wrap a module with the defense, noise and output of a configuration.

        Args:
            module: a module, see `Defended`. If it returns a tuple, wrap it by hand: the output of
                a configuration is a name.
            configuration: a `Configuration`, or the path of a `defense.yaml`.
        """
        config = Configuration.of(configuration)
        return cls(module, config.defense, config.keyed_noise, **config.placement)

    @property
    def noise(self) -> Noise:
        """The noise source; a new one of the operating system each time if there is none."""
        if self._stale:
            noise = self._shared.noise
            assert isinstance(noise, Keyed)
            # The source before the flag: another thread that sees the flag down has the source.
            self._shared = _Shared(replace(noise, weights=weights_digest(self.module)))
            self._stale = False
        return response.system_noise() if self._shared.noise is None else self._shared.noise

    @property
    def cell_width(self) -> float | None:
        """Cell width of keyed noise, in logits; None for fresh noise."""
        noise = self._shared.noise
        return noise.cell_width if isinstance(noise, Keyed) else None

    def forward(self, *args: Any, **kwargs: Any) -> torch.Tensor:
        """Compute defended probabilities.

        Args:
            args: arguments of the wrapped module.
            kwargs: arguments of the wrapped module.

        Returns:
            Probabilities of the shape, dtype and device of the module's logits, detached.
        """
        probs, logits = self.forward_wide(*args, **kwargs)
        return narrow_probs(probs, logits.dtype, self.class_axis).to(logits.device)

    def forward_wide(self, *args: Any, **kwargs: Any) -> tuple[torch.Tensor, torch.Tensor]:
        """Compute defended probabilities that are not rounded to the dtype of the logits.

        Returns:
            Probabilities, float32 or float64 on the processor; and the undefended logits, which
            must not leave the process.
        """
        if torch.jit.is_tracing() or torch.compiler.is_compiling():  # type: ignore[attr-defined]
            raise InputError(
                "A traced, compiled or exported graph would hold the noise of the trace.",
                "Trace, compile or export the wrapped module; `dynanoise export` adds the defense "
                "to ONNX.",
            )
        self._refuse_training()
        logits = self._logits(args, kwargs)
        if logits.ndim < 2:
            raise InputError(
                f"The module's output has shape {list(logits.shape)}: one number a record, or one "
                "record without a batch.",
                "Return logits [batch, classes], and query a single record as a batch of one. For "
                "a sigmoid output z return the two logits [0, z].",
            )
        if getattr(self._shared.noise, "repeatable", False):
            self._refuse_changes(logits, args, kwargs)
        precise = logits.dtype in (torch.float32, torch.float64)
        probs = response.defend(
            (logits if precise else logits.float()).detach().cpu().numpy(),
            self.defense,
            self.noise,
            class_axis=self.class_axis,
            kind=self.input,
        )
        return torch.from_numpy(np.ascontiguousarray(probs)), logits

    def _logits(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> torch.Tensor:
        with torch.no_grad():
            return select_logits(self.module(*args, **kwargs), self.output)

    def _refuse_changes(
        self, logits: torch.Tensor, args: Sequence[Any], kwargs: Mapping[str, Any]
    ) -> None:
        """Refuse a module whose output for a record is another beside other records, or later."""
        count = len(logits)
        part = count if count < 2 else (count + 1) // 2
        if self._apart or (self._repeated and part == count):
            return

        def first(value: Any) -> Any:
            batched = isinstance(value, torch.Tensor) and value.ndim and len(value) == count
            return value[:part] if batched else value

        try:
            again = self._logits([*map(first, args)], {key: first(kwargs[key]) for key in kwargs})
        except Exception:  # a module of a fixed batch has errors of its own
            part, again = count, self._logits(args, kwargs)
        if differs(logits[:part].double().cpu().numpy(), again.double().cpu().numpy()):
            raise InputError(
                "The module's output for a record changes with the records beside it, or from call "
                "to call: repeated queries would average keyed noise out.",
                "Leave out dropout that is active in evaluation mode, statistics of the batch, and "
                "dynamic quantization.",
            )
        self._repeated, self._apart = True, count > 1

    def _refuse_training(self) -> None:
        if self.training or _training(self.module):
            raise InputError(
                "The module is in training mode: dropout and batch statistics would enter the "
                "outputs.",
                "Call .eval() on it first; to train, use defended.module.",
            )

    def state_dict(self, *args: Any, **kwargs: Any) -> Any:
        """State of the wrapped module, under its names."""
        return self.module.state_dict(*args, **kwargs)

    def load_state_dict(
        self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False
    ) -> Any:
        """Load the state of the wrapped module."""
        try:
            return self.module.load_state_dict(state_dict, strict, assign)
        finally:
            # Afterwards: a query in between would take the digest of the old weights.
            self._stale = self._by_weights

    def _apply(self, fn: Any, recurse: bool = True) -> Self:
        """Called by `half`, `to` and their like: in another precision it is another model."""
        super()._apply(fn, recurse)
        self._stale = self._by_weights
        return self

    def _load_from_state_dict(self, state_dict: Any, prefix: str, *args: Any) -> None:
        """Inside another module, which expects ``prefix`` + "module." + the module's names."""
        self._stale = self._by_weights
        for name in [name for name in state_dict if name.startswith(prefix)]:
            state_dict[f"{prefix}module.{name.removeprefix(prefix)}"] = state_dict.pop(name)
        super()._load_from_state_dict(state_dict, prefix, *args)

    def extra_repr(self) -> str:
        """The defense and the noise source; of a key the reference at most."""
        source = self._shared.noise
        noise = response.SYSTEM_NOISE if source is None else repr(source)
        if self._stale:
            noise = "Keyed(...)"
        return f"{self.defense!r}, {noise}"


class _Shared:
    """A noise source that copies of its owner share: two copies would draw the same noise."""

    def __init__(self, noise: Noise | None) -> None:
        self.noise = noise

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        if isinstance(self.noise, Fresh):
            raise InputError(
                "A pickle would hold the state of the Fresh noise, which gives away the noise.",
                "Save state_dict() and wrap the module again where it is loaded.",
            )
        return _Shared, (self.noise,)


def _refuse_batch_statistics(module: nn.Module) -> None:
    """Refuse batch norms that take the statistics of the batch in evaluation mode, too."""
    for part in module.modules():
        if isinstance(part, _BatchNorm) and part.running_mean is None:
            raise InputError(
                f"The module has a {type(part).__name__} without running statistics: an output "
                "would depend on other records of its batch.",
                "Use track_running_stats=True, or a norm of single records, such as GroupNorm.",
            )


def _training(module: nn.Module) -> bool:
    """Whether any part is in training mode.

    A module of torch.export stays in the mode it was exported in, and its flags do not show it. A
    frozen one of TorchScript has no flags.
    """
    exported = "eval" in vars(module)
    return not exported and any(getattr(part, "training", False) for part in module.modules())


def select_logits(outputs: Any, output: str | int | None) -> torch.Tensor:
    """Select the logits from the outputs of a module.

    Args:
        outputs: a tensor, or a tuple, list, mapping or object with tensors.
        output: None for a tensor, else its position, key or attribute.

    Raises:
        InputError: if there is no such tensor of floats.

    >>> select_logits({"loss": None, "logits": torch.zeros(1, 2)}, "logits").tolist()
    [[0.0, 0.0]]
    """
    logits = outputs
    if isinstance(output, int):
        parts = outputs if isinstance(outputs, tuple | list) else ()
        logits = parts[output] if -len(parts) <= output < len(parts) else None
    elif output is not None:
        mapping = isinstance(outputs, Mapping)
        logits = outputs.get(output) if mapping else getattr(outputs, output, None)
    if not isinstance(logits, torch.Tensor) or logits.dtype not in _FLOATS:
        raise InputError(
            f"The module returns {_describe(outputs)}; output is {output!r}.",
            "Name the tensor of logits, floats of 16 to 64 bits, by output='NAME' or its position.",
        )
    return logits


def _describe(outputs: Any) -> str:
    """Types and names of a module's outputs, without values."""
    if isinstance(outputs, torch.Tensor):
        return f"one tensor of {outputs.dtype}"
    kind = type(outputs).__name__
    if isinstance(outputs, Mapping):
        return f"{kind} with {', '.join(map(repr, outputs)) or 'nothing'}"
    return f"{kind} of {len(outputs)}" if isinstance(outputs, tuple | list) else kind


def narrow_probs(probs: torch.Tensor, dtype: torch.dtype, axis: int = -1) -> torch.Tensor:
    """Round probabilities to another dtype without moving the argmax.

    Args:
        probs: float32 or float64.
        dtype: dtype of the result.
        axis: axis of the classes.

    >>> narrow_probs(torch.tensor([[0.3331, 0.3332, 0.3333]]), torch.bfloat16).argmax().item()
    2
    """
    rounded = probs.to(dtype)
    if rounded.dtype == probs.dtype:
        return rounded
    labels = probs.numpy().argmax(axis=axis)
    moved = torch.from_numpy(rounded.float().numpy().argmax(axis=axis) != labels).unsqueeze(axis)
    if not moved.any():
        return rounded
    # The next larger of positive numbers has the next larger bits, in every IEEE format.
    top = rounded.amax(dim=axis, keepdim=True)
    raised = (top.view(torch.int16) + 1).view(dtype)
    places = torch.from_numpy(labels).unsqueeze(axis)
    values = torch.where(moved, raised, rounded.gather(axis, places))
    return rounded.scatter(axis, places, values)
