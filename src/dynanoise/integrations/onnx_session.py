"""Asks ONNX models and answers with defended probabilities."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from dynanoise.config import checks
from dynanoise.config.configuration import Configuration
from dynanoise.core.defense import Defense, Noise
from dynanoise.core.errors import DataFileError, InputError
from dynanoise.core.extras import require
from dynanoise.core.numerics import Floats
from dynanoise.defenses import parameters
from dynanoise.defenses.response import system_noise
from dynanoise.integrations import onnx_graph
from dynanoise.integrations.onnx_export import MARK
from dynanoise.noise.keyed import Keyed


class DefendedSession:
    """An ONNX Runtime session that gives defended probabilities and nothing else.

    Two kinds of files: one of `export`, for which it draws the standard normals of every call; or
    a model as it is with ``defense``, whose logits it gets and passes through the library's own
    defense, in Python. The second is the way for `Keyed` noise and for every other defense.

    A file that draws randomness of its own is refused, wherever in it that happens. Callers cannot
    supply the noise, and may ask from several threads at once.

    Threat model: that of the noise source, for who sees answers only.

    Args:
        path: of the file.
        noise: where the randomness comes from; None for fresh noise that the operating system
            seeds anew for each answer.
        defense: for a model as it is; None for a file of `export`, which has its own.
        output: with ``defense``, the output with the logits; None for the only one.
        class_axis: with ``defense``, which of its axes counts the classes.
        input: with ``defense``, "logits" or "probabilities".
        providers: of ONNX Runtime; the processor unless others are named.
        options: onnxruntime.SessionOptions.

    Raises:
        DataFileError: if the file cannot be read or run, or draws randomness.
        InputError: for a wrong argument, also of an answer: wrong or too many inputs, shapes that
            do not fit; if the model's own output is not finite.
        MissingExtraError: if onnx or onnxruntime is not installed.
    """

    def __init__(
        self,
        path: str | Path,
        noise: Noise | None = None,
        *,
        defense: Defense | None = None,
        output: str | None = None,
        class_axis: int = -1,
        input: str = "logits",  # noqa: A002
        providers: Sequence[Any] = ("CPUExecutionProvider",),
        options: Any = None,
    ) -> None:
        path = Path(path)
        self.noise = None if noise is None else parameters.noise_source(noise)
        self.defense = None if defense is None else checks.checked_defense(defense)
        self._axis, self._kind = checks.checked_axis(class_axis), checks.checked_kind(input)
        self._session, said = _opened(path, list(providers), options)
        self._noise_input: Any = None
        if said is None:
            if self.defense is None:
                raise InputError(
                    f"{path} has no defense in it.",
                    "Pass defense=..., or a file that `dynanoise export` wrote.",
                )
            self._output = _output(self._session, output, path)
        else:
            self._check_exported(path, output)
            self._output, self._noise_name = said["output"], said["noise"]
        self._inputs = {one.name: one for one in self._session.get_inputs()}
        if said is not None and said["noise"] is not None:
            self._noise_input = self._inputs.pop(said["noise"])

    @classmethod
    def configured(
        cls, path: str | Path, configuration: Configuration | str | Path, **options: Any
    ) -> Self:
        """A model as it is, with what a `Configuration` says, or the file of one, "defense.yaml".

        Args:
            path: of the model.
            configuration: of its defense.
            options: ``providers`` and ``options``.
        """
        said = Configuration.of(configuration)
        noise = said.noise if isinstance(said.noise, Keyed) else None
        return cls(path, noise, defense=said.defense, **said.place, **options)

    def _check_exported(self, path: Path, output: str | None) -> None:
        if self.defense is not None or output is not None:
            raise InputError(
                f"{path} has a defense and one output already.",
                "Leave out defense and output, or pass the original model.",
            )
        if self.noise is not None and self.noise.repeatable:
            raise InputError(
                f"The graph in {path} adds fresh noise; {type(self.noise).__name__} noise repeats "
                "and needs more than normals.",
                "Serve the original model by DefendedSession(model, noise, defense=...).",
            )

    def __repr__(self) -> str:
        inside = "in the graph" if self.defense is None else repr(self.defense)
        noise = checks.SYSTEM if self.noise is None else repr(self.noise)
        return f"DefendedSession(defense {inside}, {noise})"

    def _source(self) -> Noise:
        """The noise source; a new one for each answer where none was given, also after forking."""
        return system_noise() if self.noise is None else self.noise

    def __call__(self, inputs: npt.ArrayLike | Mapping[str, npt.ArrayLike]) -> Floats:
        """Defended probabilities, of the shape of the model's logits.

        Args:
            inputs: an array if the model has one input, else arrays by the names of all inputs;
                floating-point numbers are brought to the precision that it takes.

        Returns:
            float32 from a file of `export`; else the dtype of the model's output, float32 for half
            precision.
        """
        feed = self._feed(inputs)
        if self._noise_input is not None:
            feed[self._noise_input.name] = self._normals(feed)
        try:
            (found,) = self._session.run([self._output], feed)
        except Exception as error:  # ONNX Runtime's errors have no base class of their own
            raise InputError(
                f"The model does not answer these inputs ({onnx_graph.first_line(error)}).",
                f"It takes {self._takes()}.",
            ) from error
        if self.defense is not None:
            wide = found.astype(np.float32) if found.dtype == np.float16 else found
            return checks.answer(
                wide, self.defense, self._source(), class_axis=self._axis, kind=self._kind
            )
        if not np.isfinite(found).all():
            raise InputError("The model's logits were not finite.", "Check its inputs.")
        return np.asarray(found)

    def _feed(self, inputs: Any) -> dict[str, npt.NDArray[Any]]:
        """Arrays by name. Nothing but the model's own inputs: noise least of all."""
        if not isinstance(inputs, Mapping):
            if len(self._inputs) != 1:
                raise InputError(
                    f"The model has {len(self._inputs)} inputs.",
                    f"Pass a dictionary of {self._takes()}.",
                )
            inputs = {next(iter(self._inputs)): inputs}
        if set(inputs) != set(self._inputs):
            odd = sorted(set(inputs) ^ set(self._inputs))
            raise InputError(
                f"Inputs {sorted(inputs)} were given; {odd[0]!r} is "
                f"{'missing' if odd[0] in self._inputs else 'none of the model'}.",
                f"Pass {self._takes()}.",
            )
        feed = {name: _cast(value, self._inputs[name].type) for name, value in inputs.items()}
        for name, value in feed.items():
            if value.ndim != len(self._inputs[name].shape):
                raise InputError(f"{name} has shape {value.shape}.", f"Pass {self._takes()}.")
        return feed

    def _normals(self, feed: Mapping[str, npt.NDArray[Any]]) -> npt.NDArray[np.float32]:
        """Standard normals for one call, of the shape that the graph's input has for it."""
        sizes = {
            dim: value.shape[axis]
            for name, value in feed.items()
            for axis, dim in enumerate(self._inputs[name].shape)
            if isinstance(dim, str) and axis < value.ndim
        }
        samples, *shape = (sizes.get(dim, dim) for dim in self._noise_input.shape)
        _, normals = self._source().draw(np.zeros(shape), samples, MARK)
        return normals.astype(np.float32)

    def _takes(self) -> str:
        return ", ".join(f"{name}: {one.type} {one.shape}" for name, one in self._inputs.items())


def _opened(path: Path, providers: list[Any], options: Any) -> tuple[Any, Any]:
    """A session without randomness, and what `export` wrote into the file, if it did."""
    model, content = onnx_graph.read(path)
    onnx_graph.refuse_randomness(model, path)
    runtime = require("onnxruntime", "Asking an ONNX model")
    if options is None:
        options = runtime.SessionOptions()
        options.log_severity_level = 3  # what it finds wrong is raised, too
    # The bytes that were searched, unless further data are found by the path.
    what = str(path) if onnx_graph.external(model) else content
    try:
        session = runtime.InferenceSession(what, sess_options=options, providers=providers)
    except Exception as error:
        raise DataFileError(
            f"{path} cannot be run by ONNX Runtime ({onnx_graph.first_line(error)}).",
            "Export it again; external data files must lie beside it.",
        ) from error
    said = [one.value for one in model.metadata_props if one.key == MARK]
    return session, json.loads(said[0]) if said else None


def _output(session: Any, output: str | None, path: Path) -> str:
    names = [one.name for one in session.get_outputs()]
    if output is None and len(names) == 1:
        return str(names[0])
    if output is None or output not in names:
        raise InputError(
            f"{path} has the outputs {', '.join(names)}; output is {output!r}.",
            "Name the one with the logits by output=.",
        )
    return output


def _cast(value: Any, kind: str) -> npt.NDArray[Any]:
    """Floating-point numbers in the precision that the model takes; all else as it is."""
    array = np.asarray(value)
    wanted = {"tensor(float)": "f4", "tensor(double)": "f8", "tensor(float16)": "f2"}
    if array.dtype.kind == "f" and kind in wanted:
        return array.astype(wanted[kind], copy=False)
    return array
