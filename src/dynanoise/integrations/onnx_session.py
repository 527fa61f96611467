"""A session of ONNX Runtime with defended outputs: `DefendedSession`."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from dynanoise.config.configuration import Configuration
from dynanoise.core.defense import Defense, Noise
from dynanoise.core.errors import DataFileError, InputError
from dynanoise.core.extras import require
from dynanoise.core.numerics import Floats
from dynanoise.defenses import parameters, response
from dynanoise.integrations import onnx_graph
from dynanoise.integrations.onnx_export import MARK


class DefendedSession:
    """An ONNX Runtime session that returns defended probabilities and nothing else.

    For two kinds of files: one of `export`, for which the session draws the standard normals of
    every call; or a model as it is with ``defense``, whose logits pass through the library's own
    defense, in Python. The second is the way for `Keyed` noise and for every other defense.

    A file that draws random numbers anywhere in it is refused. Callers cannot supply the noise.
    Safe to call from several threads at once.

    Threat model: that of the noise source, for an attacker who sees outputs only.

    Args:
        path: the ONNX file.
        noise: the noise source; None for fresh noise that the operating system seeds anew for each
            call.
        defense: for a model as it is; None for a file of `export`, which holds its own.
        output: with ``defense``, name of the output with the logits; None for the only one.
        class_axis: with ``defense``, axis of its classes.
        input: with ``defense``, kind of that output, "logits" or "probabilities".
        providers: providers of ONNX Runtime; by default the processor.
        options: onnxruntime.SessionOptions.

    Raises:
        DataFileError: if the file cannot be read or run, or draws randomness.
        InputError: for an argument of the wrong type; from a call, if inputs are missing, unknown
            or of the wrong shape, or the model's own output is not finite.
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
        self.defense = None if defense is None else response.check_defense(defense)
        self._axis, self._kind = response.check_axis(class_axis), response.check_kind(input)
        self._session, metadata = _open(path, list(providers), options)
        self._inputs = {info.name: info for info in self._session.get_inputs()}
        self._noise_input: Any = None
        if metadata is None:
            if self.defense is None:
                raise InputError(
                    f"{path} has no defense in it.",
                    "Pass defense=..., or a file that `dynanoise export` wrote.",
                )
            self._output = _choose_output(self._session, output, path)
            return
        self._check_exported(path, output)
        self._output = metadata["output"]
        if metadata["noise"] is not None:
            self._noise_input = self._inputs.pop(metadata["noise"])

    @classmethod
    def configured(
        cls, path: str | Path, configuration: Configuration | str | Path, **options: Any
    ) -> Self:
        """Open a model as it is, with the defense, noise and output of a configuration.

        Args:
            path: the ONNX file.
            configuration: a `Configuration`, or the path of a `defense.yaml`.
            options: ``providers`` and ``options``.
        """
        config = Configuration.of(configuration)
        return cls(path, config.keyed_noise, defense=config.defense, **config.placement, **options)

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
        defense = "in the graph" if self.defense is None else repr(self.defense)
        noise = response.SYSTEM_NOISE if self.noise is None else repr(self.noise)
        return f"DefendedSession(defense {defense}, {noise})"

    def _source(self) -> Noise:
        """The noise source; a new one for each call if there is none, also after forking."""
        return response.system_noise() if self.noise is None else self.noise

    def __call__(self, inputs: npt.ArrayLike | Mapping[str, npt.ArrayLike]) -> Floats:
        """Compute defended probabilities.

        Args:
            inputs: an array if the model has one input, else arrays by the names of all inputs;
                floating-point numbers are converted to the precision of the input.

        Returns:
            Probabilities of the shape of the model's logits; float32 from a file of `export`, else
            in the dtype of the model's output, float32 for half precision.
        """
        feed = self._feed(inputs)
        if self._noise_input is not None:
            feed[self._noise_input.name] = self._normals(feed)
        try:
            (outputs,) = self._session.run([self._output], feed)
        except Exception as error:  # ONNX Runtime's errors have no base class of their own
            raise InputError(
                f"The model does not take these inputs ({onnx_graph.first_line(error)}).",
                f"It takes {self._describe_inputs()}.",
            ) from error
        if self.defense is not None:
            wide = outputs.astype(np.float32) if outputs.dtype == np.float16 else outputs
            return response.defend(
                wide, self.defense, self._source(), class_axis=self._axis, kind=self._kind
            )
        if not np.isfinite(outputs).all():
            raise InputError("The model's logits were not finite.", "Check its inputs.")
        return np.asarray(outputs)

    def _feed(self, inputs: Any) -> dict[str, npt.NDArray[Any]]:
        """Arrays by name, for the model's own inputs only: a caller must not supply the noise."""
        if not isinstance(inputs, Mapping):
            if len(self._inputs) != 1:
                raise InputError(
                    f"The model has {len(self._inputs)} inputs.",
                    f"Pass a dictionary of {self._describe_inputs()}.",
                )
            inputs = {next(iter(self._inputs)): inputs}
        if set(inputs) != set(self._inputs):
            odd = sorted(set(inputs) ^ set(self._inputs))[0]
            raise InputError(
                f"Inputs {sorted(inputs)} were given; {odd!r} is "
                f"{'missing' if odd in self._inputs else 'none of the model'}.",
                f"Pass {self._describe_inputs()}.",
            )
        feed = {name: _cast(value, self._inputs[name].type) for name, value in inputs.items()}
        for name, value in feed.items():
            if value.ndim != len(self._inputs[name].shape):
                raise InputError(
                    f"{name} has shape {value.shape}.", f"Pass {self._describe_inputs()}."
                )
        return feed

    def _normals(self, feed: Mapping[str, npt.NDArray[Any]]) -> npt.NDArray[np.float32]:
        """Standard normals for one call, of the shape of the graph's noise input."""
        sizes = {
            dim: value.shape[axis]
            for name, value in feed.items()
            for axis, dim in enumerate(self._inputs[name].shape)
            if isinstance(dim, str) and axis < value.ndim
        }
        samples, *shape = (sizes.get(dim, dim) for dim in self._noise_input.shape)
        _, normals = self._source().draw(np.zeros(shape), samples, MARK)
        return normals.astype(np.float32)

    def _describe_inputs(self) -> str:
        return ", ".join(f"{name}: {info.type} {info.shape}" for name, info in self._inputs.items())


def _open(path: Path, providers: list[Any], options: Any) -> tuple[Any, Any]:
    """A session without randomness, and the metadata of `export` if the file has them."""
    model, content = onnx_graph.read_model(path)
    onnx_graph.refuse_randomness(model, path)
    runtime = require("onnxruntime", "Running an ONNX model")
    if options is None:
        options = runtime.SessionOptions()
        options.log_severity_level = 3  # its errors are raised, too
    # The bytes that were searched, unless further data are found by the path.
    source = str(path) if onnx_graph.has_external_data(model) else content
    try:
        session = runtime.InferenceSession(source, sess_options=options, providers=providers)
    except Exception as error:
        raise DataFileError(
            f"{path} cannot be run by ONNX Runtime ({onnx_graph.first_line(error)}).",
            "Export it again; external data files must lie beside it.",
        ) from error
    metadata = [entry.value for entry in model.metadata_props if entry.key == MARK]
    return session, json.loads(metadata[0]) if metadata else None


def _choose_output(session: Any, output: str | None, path: Path) -> str:
    names = [info.name for info in session.get_outputs()]
    if output is None and len(names) == 1:
        return str(names[0])
    if output is None or output not in names:
        raise InputError(
            f"{path} has the outputs {', '.join(names)}; output is {output!r}.",
            "Name the one with the logits by output=.",
        )
    return output


def _cast(value: Any, kind: str) -> npt.NDArray[Any]:
    """Floating-point numbers in the precision of the input; all else as it is."""
    array = np.asarray(value)
    dtypes = {"tensor(float)": "f4", "tensor(double)": "f8", "tensor(float16)": "f2"}
    if array.dtype.kind == "f" and kind in dtypes:
        return array.astype(dtypes[kind], copy=False)
    return array
