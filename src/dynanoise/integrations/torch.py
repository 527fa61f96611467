"""A torch module that gives defended probabilities and nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from torch import nn

from dynanoise.config import checks
from dynanoise.config.configuration import Configuration
from dynanoise.core.defense import Defense, Noise
from dynanoise.core.errors import InputError
from dynanoise.defenses import parameters
from dynanoise.defenses.response import system_noise
from dynanoise.integrations.weights import weights_digest
from dynanoise.noise.fresh import Fresh
from dynanoise.noise.keyed import Keyed
from dynanoise.noise.secrets import DEFAULT, RootKey

_LATER = "00" * 32
"""Stands for a digest that is not known yet; no answer is ever made with it."""

_FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


class Defended(nn.Module):
    """A module whose answers pass through a defense.

    ``forward`` runs the module without gradients and returns probabilities with the shape, dtype
    and device of its logits; nothing else of what it returns gets out. The defense itself runs on
    the processor in NumPy, the same object as everywhere, so the answers are the library's, bit for
    bit, wherever the module runs (float16 and bfloat16 are answered in float32 and rounded; the
    label of that answer is kept). On a GPU this waits for the logits and copies them.

    Training mode is refused: dropout would be randomness that no key controls, and batch
    statistics would make an answer depend on other queries. Train ``defended.module``; answers
    carry no gradient. ``state_dict`` has the wrapped module's keys and can be loaded into it and
    back. A deep copy shares the noise source. Neither ``state_dict`` nor repr nor a pickle holds a
    secret, and a module with `Fresh` noise is not pickled at all, for its generator's state is as
    good as the noise.

    Threat model: that of the noise source, for who sees answers only. Who can call
    ``defended.module`` or has its weights has the undefended answers.

    Args:
        module: returns logits, or several outputs of which ``output`` names the logits.
        defense: fitted, where it must be.
        noise: where its randomness comes from; None for fresh noise that the operating system seeds
            anew for each answer. `keyed` makes keyed noise without a digest at hand.
        output: None if the module returns a tensor; a key or attribute of a dictionary or of a
            transformers ModelOutput, such as "logits"; the position in a tuple or list.
        class_axis: which axis of the logits counts the classes.
        input: "logits", or "probabilities" of a module that ends in a softmax.

    Raises:
        InputError: for a wrong argument; when asked, if the module is in training mode, is traced,
            returns something else than the output said, or its logits are not finite.

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
        self.module = module
        self.training = _training(module)
        self.defense = checks.checked_defense(defense)
        self.output = output
        self.class_axis = checks.checked_axis(class_axis)
        self.input = checks.checked_kind(input)
        self._shared = _Shared(None if noise is None else parameters.noise_source(noise))
        self._by_weights = self._stale = False

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
        """With `Keyed` noise for the weights that the module has when it answers.

        Their digest (`weights_digest`) is taken at the first answer, and again after
        ``load_state_dict``, ``half``, ``to`` and their like on the wrapper. After any other change
        of the weights, wrap the module again: new weights under the digest of the old would be
        answered with the old noise.

        Args:
            module: as for `Defended`.
            defense: likewise.
            cell_width: as for `Keyed`, and so are ``model`` and ``key``.
            model: the model's name.
            key: a reference to the root secret, never the secret.
            options: ``output``, ``class_axis`` and ``input`` of `Defended`.
        """
        made = cls(module, defense, Keyed(cell_width, model, _LATER, key), **options)
        made._by_weights = made._stale = True
        return made

    @classmethod
    def configured(cls, module: nn.Module, configuration: Configuration | str | Path) -> Self:
        """As a `Configuration` says, or the file of one, "defense.yaml".

        Its ``output`` is a name; for a tuple, wrap the module by hand.
        """
        said = Configuration.of(configuration)
        noise = said.noise if isinstance(said.noise, Keyed) else None
        return cls(module, said.defense, noise, **said.place)

    @property
    def noise(self) -> Noise:
        """The noise source; a new one each time where None was given."""
        if self._stale:
            noise = self._shared.noise
            assert isinstance(noise, Keyed)
            # The source before the flag: another thread that sees the flag down has the source.
            self._shared = _Shared(replace(noise, weights=weights_digest(self.module)))
            self._stale = False
        held = self._shared.noise
        return system_noise() if held is None else held

    def forward(self, *args: Any, **kwargs: Any) -> torch.Tensor:
        """Probabilities of the shape, dtype and device of the module's logits, detached."""
        probs, logits = self.wide(*args, **kwargs)
        return narrowed(probs, logits.dtype, self.class_axis).to(logits.device)

    def wide(self, *args: Any, **kwargs: Any) -> tuple[torch.Tensor, torch.Tensor]:
        """The probabilities before they are rounded to the logits' dtype, and the clean logits.

        Returns:
            float32 or float64 on the processor; the logits as the module gave them, which are not
            for others to see.
        """
        if torch.jit.is_tracing() or torch.compiler.is_compiling():  # type: ignore[attr-defined]
            raise InputError(
                "A traced, compiled or exported graph would hold the noise of the trace.",
                "Trace, compile or export the wrapped module; `dynanoise export` adds the defense "
                "to ONNX.",
            )
        self._refuse_training()
        with torch.no_grad():
            logits = chosen(self.module(*args, **kwargs), self.output)
        precise = logits.dtype in (torch.float32, torch.float64)
        probs = checks.answer(
            (logits if precise else logits.float()).detach().cpu().numpy(),
            self.defense,
            self.noise,
            class_axis=self.class_axis,
            kind=self.input,
        )
        return torch.from_numpy(np.ascontiguousarray(probs)), logits

    def _refuse_training(self) -> None:
        if self.training or _training(self.module):
            raise InputError(
                "The module is in training mode: dropout and batch statistics would enter the "
                "answers.",
                "Call .eval() on it before it answers; to train, use defended.module.",
            )

    def state_dict(self, *args: Any, **kwargs: Any) -> Any:
        """The wrapped module's, under its own names."""
        return self.module.state_dict(*args, **kwargs)

    def load_state_dict(
        self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False
    ) -> Any:
        """Loads the wrapped module's state."""
        try:
            return self.module.load_state_dict(state_dict, strict, assign)
        finally:
            # Afterwards: an answer in between would take the digest of the old weights.
            self._stale = self._by_weights

    def _apply(self, fn: Any, recurse: bool = True) -> Self:
        """Behind `half`, `to` and their like: in another precision it is another model."""
        super()._apply(fn, recurse)
        self._stale = self._by_weights
        return self

    def _load_from_state_dict(self, state_dict: Any, prefix: str, *args: Any) -> None:
        """Inside another module: that one asks for ``prefix`` + "module." + the module's names."""
        self._stale = self._by_weights
        for name in [name for name in state_dict if name.startswith(prefix)]:
            state_dict[f"{prefix}module.{name.removeprefix(prefix)}"] = state_dict.pop(name)
        super()._load_from_state_dict(state_dict, prefix, *args)

    def extra_repr(self) -> str:
        """The defense and the noise source, which shows a reference at most."""
        held = self._shared.noise
        known = checks.SYSTEM if held is None else repr(held)
        noise = "Keyed(...)" if self._stale else known
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
                "A pickle would hold the state of the Fresh noise: who reads it knows the noise.",
                "Save state_dict() and wrap the module again where it is loaded.",
            )
        return _Shared, (self.noise,)


def _training(module: nn.Module) -> bool:
    """Whether any part is in training mode.

    A module of torch.export cannot be switched, it answers as when it was exported; its flags say
    nothing. A frozen one of TorchScript has none.
    """
    exported = "eval" in vars(module)
    return not exported and any(getattr(part, "training", False) for part in module.modules())


def chosen(answer: Any, output: str | int | None) -> torch.Tensor:
    """The logits among what a module returned.

    >>> chosen({"loss": None, "logits": torch.zeros(1, 2)}, "logits").tolist()
    [[0.0, 0.0]]
    """
    found = answer
    if isinstance(output, int):
        held = answer if isinstance(answer, tuple | list) else ()
        found = held[output] if -len(held) <= output < len(held) else None
    elif output is not None:
        found = answer.get(output) if isinstance(answer, Mapping) else getattr(answer, output, None)
    if not isinstance(found, torch.Tensor) or found.dtype not in _FLOATS:
        raise InputError(
            f"The module returns {_described(answer)}; output is {output!r}.",
            "Name the tensor of logits, floats of 16 to 64 bits, by output='NAME' or its position.",
        )
    return found


def _described(answer: Any) -> str:
    """What a module returned, for a message: types and names, no values."""
    if isinstance(answer, torch.Tensor):
        return f"one tensor of {answer.dtype}"
    kind = type(answer).__name__
    if isinstance(answer, Mapping):
        return f"{kind} with {', '.join(map(repr, answer)) or 'nothing'}"
    return f"{kind} of {len(answer)}" if isinstance(answer, tuple | list) else kind


def narrowed(probs: torch.Tensor, dtype: torch.dtype, axis: int = -1) -> torch.Tensor:
    """Probabilities in the dtype of the logits, with the same argmax.

    >>> narrowed(torch.tensor([[0.3331, 0.3332, 0.3333]]), torch.bfloat16).argmax().item()
    2
    """
    rows = probs.to(dtype)
    if rows.dtype == probs.dtype:
        return rows
    own = probs.numpy().argmax(axis=axis)
    lost = torch.from_numpy(rows.float().numpy().argmax(axis=axis) != own).unsqueeze(axis)
    if not lost.any():
        return rows
    # Of positive numbers the next larger one has the next larger bits, in every IEEE format.
    top = rows.amax(dim=axis, keepdim=True)
    raised = (top.view(torch.int16) + 1).view(dtype)
    places = torch.from_numpy(own).unsqueeze(axis)
    return rows.scatter(axis, places, torch.where(lost, raised, rows.gather(axis, places)))
