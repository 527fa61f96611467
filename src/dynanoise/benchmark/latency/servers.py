"""Methods as they answer: a model, and behind it a fitted defense."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dynanoise.benchmark.latency.interleaved import peak_mib
from dynanoise.benchmark.preset import Kind, Preset, Size
from dynanoise.core.defense import Defense, Method, Noise
from dynanoise.core.numerics import Floats, Int64
from dynanoise.core.outputs import Outputs
from dynanoise.data import catalog
from dynanoise.data.splits import PaperSplit, split_of
from dynanoise.evaluation.responses import make_noise
from dynanoise.training.architecture import make_model
from dynanoise.training.store.storage import Place


@dataclass(frozen=True, eq=False)
class Server:
    """A method as it answers.

    Args:
        method: who.
        forward: from raw inputs [b, ...] to logits [b, K].
        defense: the method's, fitted.
        noise: which the defense draws from.
    """

    method: Method
    forward: Callable[[Any], Floats]
    defense: Defense
    noise: Noise

    def __call__(self, inputs: Any) -> Floats:
        """Probabilities [b, K] for raw inputs [b, ...]."""
        return self.defense(self.forward(inputs), self.noise)

    def extra_mib(self, inputs: Any) -> float:
        """See `peak_mib`; of the defense alone, without the model and its logits."""
        logits = self.forward(inputs)
        return peak_mib(lambda: self.defense(logits, self.noise))

    @property
    def fitted_mib(self) -> float:
        """MiB of the arrays that `fit` gave the defense."""
        return _array_bytes(self.defense) / 2**20


def _array_bytes(value: Any) -> int:
    if is_dataclass(value):
        return sum(_array_bytes(getattr(value, part.name)) for part in fields(value))
    return value.nbytes if isinstance(value, np.ndarray) else 0


@dataclass(frozen=True, eq=False)
class Prepared:
    """Everything that is there before the clock starts.

    Attributes:
        preset: which methods, and how many threads.
        split: who plays which part.
        seed: of split, weights and noise.
        target: the baseline's answers about members and non-members.
        inputs: from ids to raw inputs, which every server takes.
        servers: by the method's name.
        architectures: by recipe.
        recipes: parameters of those whose models are there, by recipe; of others whose weights
            are used instead.
    """

    preset: Preset
    split: PaperSplit
    seed: int
    target: Outputs
    inputs: Callable[[Int64], Any]
    servers: dict[str, Server]
    architectures: Mapping[str, Any]
    recipes: Mapping[str, Mapping[str, Any]]


def prepare(
    preset: Preset, size: Size, seed: int, device: str, folder: Path | None, store: Place | None
) -> Prepared:
    """Trains or finds the baseline's target model, and puts every method's defense behind it.

    Methods of other recipes with the same architecture use the same model. Where a recipe needs
    another architecture, that is built with its initial weights, behind it the defense fitted to
    the baseline's answers. So these servers are as fast as the methods, and nothing else.

    Args:
        preset: whose data, model and methods.
        size: of the preset.
        seed: of the run.
        device: where the models answer, "cpu" or "cuda".
        folder: where data sets are looked for first, see `data.sources`.
        store: folder where trained models are kept and found again; None trains anew.
    """
    from dynanoise.training import replay
    from dynanoise.training.designs import paper_jobs, paper_run
    from dynanoise.training.store.store import Store

    data = catalog.load_data(preset.dataset, folder)
    split = split_of(data, size.pool, size.reference, seed)
    base = preset.methods[0].recipe
    needed = dict.fromkeys(method.recipe for method in preset.methods)
    architectures = {
        name: make_model(preset.model, **preset.parameters(Kind(name))) for name in needed
    }
    recipe = size.recipe(base)
    # The target's job of `bench`, so that one store serves both.
    (job,) = paper_jobs(
        split,
        architectures[base],
        recipe,
        seed=seed,
        shadows=0,
        threads=preset.threads,
        device=device,
    )
    model, answers = replay.trained(job, data, None if store is None else Store(store))
    run = paper_run(data, split, [answers], seed=seed)
    forwards, recipes = {}, {}
    for name, architecture in architectures.items():
        alike = architecture == architectures[base]
        forwards[name] = model if alike else replay.untrained(architecture, data, job.seed, device)
        recipes[name] = {"weights": f"those of {base}" if alike else "initial"}
    recipes[base] = asdict(recipe)
    view = run.view(0)
    servers = {
        method.name: Server(
            method,
            forwards[method.recipe],
            method.defense.fit(view),
            make_noise(method, seed)(method.name),
        )
        for method in preset.methods
    }
    return Prepared(preset, split, seed, run.target, model.inputs, servers, architectures, recipes)


def some_of_both(outputs: Outputs, shape: tuple[int, int], seed: int) -> Int64:
    """Ids, int64 of that shape, by turns of model 0's members and of its non-members.

    No id comes a second time before all others of its side have come.

    >>> use = np.array([[1, 1, 1, 0, 0]])
    >>> rows = Outputs(np.zeros((1, 5, 1, 2)), np.zeros(5, int), np.arange(5) + 10, use)
    >>> (some_of_both(rows, (2, 3), seed=0) >= 13).tolist()
    [[True, False, True], [False, True, False]]
    """
    generator = np.random.default_rng(seed)
    ids = np.empty(shape, dtype=np.int64)
    flat = ids.reshape(-1)
    for start, side in enumerate(generator.permutation([0, 1])):
        known = generator.permutation(outputs.ids[outputs.use[0] == side])
        flat[start::2] = np.resize(known, flat[start::2].shape)
    return ids
