"""A session of ONNX Runtime with defended outputs: `DefendedSession`."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from dynanoise.config.configuration import Configuration
from dynanoise.core.arrays.inputs import convert_inputs
from dynanoise.core.defense import Defense, Noise
from dynanoise.core.errors import InputError
from dynanoise.core.numerics import Floats
from dynanoise.defenses import parameters, response
from dynanoise.defenses.temperature import undefended
from dynanoise.integrations import onnx_graph, onnx_model
from dynanoise.integrations.onnx_graph import MARK
from dynanoise.integrations.onnx_inputs import Input, run_in_parts
from dynanoise.integrations.out_of_fold.onnx_folder import open_model


class DefendedSession:
    """An ONNX Runtime session that returns defended probabilities and nothing else.

    For two kinds of files: one of `export`, for which the session draws the standard normals of
    every call; or a model as it is with ``defense``, whose logits pass through the library's own
    defense, in Python. The second is the way for `Keyed` noise and for every other defense. A
    folder of out-of-fold models (`export_out_of_fold`) needs no defense besides: each record is
    answered by the model of its fold.

    A file that draws random numbers anywhere in it is refused. Callers cannot supply the noise.
    Safe to call from several threads at once.

    Threat model: that of the noise source, for an attacker who sees outputs only.

    Args:
        path: the ONNX file, or a folder of out-of-fold models.
        noise: the noise source; None for fresh noise that the operating system seeds anew for each
            call.
        defense: for a model as it is; None for a file of `export`, which holds its own, and for a
            folder whose answers are not changed further.
        output: with ``defense``, name of the output with the logits; None to choose, see
            `onnx_output.find_output`.
        class_axis: with ``defense``, axis of its classes.
        input: with ``defense``, kind of that output, "logits" or "probabilities".
        providers: providers of ONNX Runtime; by default the processor.
        options: onnxruntime.SessionOptions.

    Raises:
        DataFileError: if the file cannot be read or run, draws randomness or mixes records, or its
            output is of another kind than declared.
        InputError: for an argument of the wrong type, or an output that is missing or has to be
            chosen; from a call, if inputs are missing, unknown
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
        self._noise_dims: tuple[Any, ...] | None = None
        self._digest: str | None = None  # of a model whose weights it covers
        folder = path.is_dir()
        if folder and self.defense is None:
            self.defense = undefended()
        proto = None if folder else onnx_graph.read_model(path)[0]
        metadata = None if folder else onnx_graph.metadata_of(proto).get(MARK)
        if metadata is None:
            if self.defense is None:
                raise InputError(
                    f"{path} has no defense in it.",
                    "Pass defense=..., or a file that `dynanoise export` wrote.",
                )
            classifier = open_model(
                path,
                output=output,
                class_axis=self._axis,
                kind=self._kind,
                options=options,
                providers=providers,
            )
            self._inputs = {each.name: each for each in classifier.inputs}
            self._run: Callable[[dict[str, npt.NDArray[Any]]], npt.NDArray[Any]] = classifier.run
            self._digest = None if classifier.external else classifier.digest
            return
        self._check_exported(path, output)
        onnx_graph.refuse_randomness(proto, path)
        session = onnx_model.open_session(proto, path, options, providers)
        inputs = {info.name: info for info in session.get_inputs()}
        settings = json.loads(metadata)
        if settings["noise"] is not None:
            self._noise_name = settings["noise"]
            self._noise_dims = tuple(inputs.pop(settings["noise"]).shape)
        self._inputs = {name: onnx_model.describe_input(info) for name, info in inputs.items()}
        self._batch = settings.get("batch")
        self._run = partial(onnx_model.run_session, session, settings["output"])

    @classmethod
    def configured(
        cls, path: str | Path, configuration: Configuration | str | Path, **options: Any
    ) -> Self:
        """Open a model as it is, with the defense, noise and output of a configuration.

        Args:
            path: the ONNX file.
            configuration: a `Configuration`, or the path of a `defense.yaml`.
            options: ``providers`` and ``options``.

        Raises:
            InputError: if keyed noise was configured for other weights. Weights in files beside
                the model are not compared.
        """
        config = Configuration.of(configuration)
        noise, defense = config.keyed_noise, config.defense
        session = cls(path, noise, defense=defense, **config.placement, **options)
        if session._digest is not None:
            file = None if isinstance(configuration, Configuration) else Path(configuration)
            name = "The configuration" if file is None else file.name
            config.check_weights(session._digest, Path(path), name)
        return session

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
        try:
            outputs = self._run(feed) if self.defense is not None else self._run_exported(feed)
        except InputError:
            raise
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
        feed = {
            name: _convert(np.asarray(values), self._inputs[name])
            for name, values in inputs.items()
        }
        for name, value in feed.items():
            if value.ndim != len(self._inputs[name].dims):
                raise InputError(
                    f"{name} has shape {value.shape}.", f"Pass {self._describe_inputs()}."
                )
        return feed

    def _run_exported(self, feed: dict[str, npt.NDArray[Any]]) -> npt.NDArray[Any]:
        """Output of a graph of `export`, with new normals; a fixed batch is filled up."""
        if self._batch is None:
            return self._run({**feed, **self._normals(feed)})
        # Axes of the noise: samples, records, ...
        normals = {name: values.swapaxes(0, 1) for name, values in self._normals(feed).items()}

        def run(part: dict[str, npt.NDArray[Any]]) -> npt.NDArray[Any]:
            turned = {
                name: values.swapaxes(0, 1) for name, values in part.items() if name in normals
            }
            return self._run({**part, **turned})

        return run_in_parts(run, {**feed, **normals}, self._batch, pad=True)

    def _normals(self, feed: Mapping[str, npt.NDArray[Any]]) -> dict[str, npt.NDArray[np.float32]]:
        """Standard normals for one call, of the shape of the graph's noise input, by its name."""
        if self._noise_dims is None:
            return {}
        sizes = {
            dim: value.shape[axis]
            for name, value in feed.items()
            for axis, dim in enumerate(self._inputs[name].dims)
            if isinstance(dim, str)
        }
        samples, *shape = (sizes.get(dim, dim) for dim in self._noise_dims)
        if self._batch is not None:
            shape[0] = len(next(iter(feed.values())))
        _, normals = self._source().draw(np.zeros(shape), samples, MARK)
        return {self._noise_name: normals.astype(np.float32)}

    def _describe_inputs(self) -> str:
        return ", ".join(each.text for each in self._inputs.values())


def _convert(values: npt.NDArray[Any], expected: Input) -> npt.NDArray[Any]:
    """Numbers in the type of the input, texts as objects."""
    if expected.dtype.kind == "O":
        return values.astype(object)
    return convert_inputs(values, expected.dtype, f"Values of {expected.name}")
