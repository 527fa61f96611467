"""DynaNoise in the compiled kernel beside the same pipeline in plain torch operations.

The torch pipeline is written as the paper's authors write theirs: softmax, logarithm, entropy,
randn_like, square root, softmax, each an operation on the whole batch, float32, without gradients.
It is timed at torch's default number of threads and at one, and the faster is what counts. The
kernel's are timed at its entry (in threads where the batch is large enough for them, as in a call)
and through the public call, which checks its input and looks the secret up. The floor is what no
such defense can do without: drawing that many normals, and one softmax, in float32, by whichever
of NumPy and torch is faster. Everybody takes part in every round, in another order each time, and
is compared within the round.
"""

from __future__ import annotations

import argparse
import math
import os
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from dynanoise.core.defense import Noise
from dynanoise.core.files import write_json
from dynanoise.defenses import kernel_outputs
from dynanoise.defenses.dynanoise import DynaNoise
from dynanoise.evaluation import provenance
from dynanoise.metrics import intervals
from dynanoise.noise.fresh import SystemFresh
from dynanoise.noise.kernel import threads
from dynanoise.noise.keyed import Keyed
from dynanoise.noise.keys import ExperimentKey

OUT = Path(__file__).parent.parent / "results" / "benchmarks" / "kernel.json"
SHAPES = ("1x10", "100000x10", "10000x1000")
DEFENSE = DynaNoise()
BLOCK = 0.004
"""Seconds for which one is timed in a round, in as many calls as that takes."""

Answer = Callable[[], object]


def by_torch(logits: Tensor, defense: DynaNoise) -> Tensor:
    """The pipeline for one sample in plain operations."""
    probs = torch.softmax(logits, dim=-1)
    entropy = -(probs * torch.log(probs + 1e-12)).sum(dim=-1, keepdim=True)
    sensitivity = 1 - entropy / math.log(logits.shape[-1])
    variance = defense.base_variance * (1 + defense.lambda_scale * sensitivity)
    noisy = logits + torch.randn_like(logits) * torch.sqrt(variance)
    return torch.softmax(noisy / defense.temperature, dim=-1)


def torch_floor(logits: Tensor) -> None:
    """As many normals, and one softmax."""
    torch.randn_like(logits)
    torch.softmax(logits, dim=-1)


def numpy_floor(logits: npt.NDArray[np.float32], generator: np.random.Generator) -> None:
    """Likewise, in float32."""
    generator.standard_normal(logits.shape, dtype=np.float32)
    weights = np.exp(logits - logits.max(axis=-1, keepdims=True))
    weights /= weights.sum(axis=-1, keepdims=True)


def at_entry(logits: npt.NDArray[np.float32], noise: Noise) -> Answer:
    """The kernel without the public call around it; fresh noise with a key made before."""
    entries, out = kernel_outputs.kernel_entries(), np.empty_like(logits)
    assert entries is not None, "the kernel needs numba: pip install 'dynanoise[fast]'"
    count, classes = logits.shape
    numbers: Any
    key: Any
    if isinstance(noise, Keyed):
        entry, (numbers, key) = (
            entries["keyed"],
            kernel_outputs.keyed_arguments(DEFENSE.kernel_setting, noise, classes),
        )
    else:
        entry, key = entries["fresh_32"], os.urandom(32)
        numbers = DEFENSE.kernel_setting.fresh_numbers
    if logits.size <= threads.ENTRIES:
        return lambda: entry(logits, out, numbers, key, 0, count)

    def part(begin: int, end: int) -> bool:
        return bool(entry(logits, out, numbers, key, begin, end))

    return lambda: threads.share(part, count, classes, threads.usable())


def with_threads(count: int, answer: Answer) -> Answer:
    """The same, with so many of torch's threads; they are set before the clock starts."""

    def timed() -> object:
        return answer()

    timed.threads = count  # type: ignore[attr-defined]
    return timed


def methods(count: int, classes: int, default: int) -> dict[str, Answer]:
    """By name, what answers for random logits of that shape."""
    generator = np.random.default_rng(0)
    logits = generator.normal(0, 4, (count, classes)).astype(np.float32)
    tensor = torch.from_numpy(logits)
    fresh, keyed = SystemFresh(), Keyed(12.0, "benchmark", "ab" * 32, ExperimentKey(0))
    found: dict[str, Answer] = {}
    for number in dict.fromkeys([default, 1]):
        found[f"torch, {number}"] = with_threads(number, lambda: by_torch(tensor, DEFENSE))
        found[f"floor, torch, {number}"] = with_threads(number, lambda: torch_floor(tensor))
    found["floor, numpy"] = lambda: numpy_floor(logits, generator)
    found["kernel, fresh"], found["kernel, keyed"] = (
        at_entry(logits, fresh),
        at_entry(logits, keyed),
    )
    found["call, fresh"] = lambda: DEFENSE(logits, fresh)
    found["call, keyed"] = lambda: DEFENSE(logits, keyed)
    return found


def measure(answers: Mapping[str, Answer], rounds: int, seed: int) -> dict[str, list[float]]:
    """Seconds a call, of each round."""
    calls: dict[str, int] = {}
    before = torch.get_num_threads()
    for name, answer in answers.items():
        torch.set_num_threads(getattr(answer, "threads", before))
        answer()  # compiles, allocates
        started = time.perf_counter()
        answer()
        calls[name] = max(1, round(BLOCK / max(time.perf_counter() - started, 1e-7)))
    seconds: dict[str, list[float]] = {name: [] for name in answers}
    generator = np.random.default_rng(seed)
    with torch.inference_mode():
        for _ in range(rounds):
            for name in map(str, generator.permutation(list(answers))):
                answer = answers[name]
                torch.set_num_threads(getattr(answer, "threads", before))
                answer()
                started = time.perf_counter()
                for _ in range(calls[name]):
                    answer()
                seconds[name].append((time.perf_counter() - started) / calls[name])
    torch.set_num_threads(before)
    return seconds


def fastest(seconds: Mapping[str, list[float]], kind: str) -> list[float]:
    """Of all whose name begins so the one with the least median."""
    names = [name for name in seconds if name.startswith(kind)]
    return seconds[min(names, key=lambda name: float(np.median(seconds[name])))]


def summary(seconds: Mapping[str, list[float]]) -> dict[str, Any]:
    """Medians with 95% intervals over the rounds; ratios within a round."""

    def ratio(above: Iterable[float], below: Iterable[float]) -> dict[str, Any]:
        return asdict(intervals.median([a / b for a, b in zip(above, below, strict=True)]))

    torch_, floor = fastest(seconds, "torch"), fastest(seconds, "floor")
    ours = [name for name in seconds if name.startswith(("kernel", "call"))]
    return {
        "microseconds": {
            name: asdict(intervals.median([1e6 * value for value in found]))
            for name, found in seconds.items()
        },
        "times_as_fast_as_torch": {name: ratio(torch_, seconds[name]) for name in ours},
        "keyed_over_fresh": ratio(seconds["kernel, keyed"], seconds["kernel, fresh"]),
        "fresh_over_floor": ratio(seconds["kernel, fresh"], floor),
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Measures, prints and writes."""
    parser = argparse.ArgumentParser(description=str(__doc__).split("\n", 1)[0])
    parser.add_argument("--shapes", nargs="+", default=list(SHAPES), help="ROWSxCLASSES")
    parser.add_argument("--rounds", type=int, default=21, help="6 or more give intervals")
    parser.add_argument("--out", type=Path, default=OUT)
    options = parser.parse_args(arguments)
    load = os.getloadavg()[0]
    default = torch.get_num_threads()
    found: dict[str, Any] = {}
    for shape in options.shapes:
        count, classes = map(int, shape.split("x"))
        seconds = measure(methods(count, classes, default), options.rounds, seed=0)
        found[shape] = summary(seconds)
        for name, value in found[shape]["microseconds"].items():
            sys.stdout.write(f"{shape}, {name}: {value['value']:.1f} microseconds\n")
    words = " ".join(sys.argv[1:] if arguments is None else arguments)
    body = {
        "command": f"python benchmarks/kernel.py {words}".strip(),
        "versions": provenance.versions(["numba"]),
        "hardware": {**provenance.hardware(), "load_before": round(load, 2)},
        "settings": {
            "defense": asdict(DEFENSE),
            "dtype": "float32",
            "rounds": options.rounds,
            "torch_threads": default,
            "kernel_threads": threads.usable(),
        },
        "by_shape": found,
    }
    write_json(options.out, body)


if __name__ == "__main__":
    main()
