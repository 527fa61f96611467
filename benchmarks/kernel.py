"""DynaNoise in the compiled kernel beside the same pipeline in plain torch operations.

The torch pipeline is written as the paper's authors write theirs: softmax, logarithm, entropy,
randn_like, square root, softmax, each an operation on the whole batch, float32, without gradients.
It is timed at torch's default number of threads and at one thread, and the faster counts. The
kernel is timed at its entry (in threads where the batch is large enough for them, as in a call)
and through the public call, which checks its input and reads the secret. The floor is the least
work of any such defense: drawing that many normals, and one softmax, in float32, by the faster of
NumPy and torch. All methods take part in every round, in another order each time, and are compared
within the round. "parts" are steps of noise for rows of 10 classes on one thread, in nanoseconds a
row; normals are made of the stream, and their time includes it.

A processor with AVX-512 stands for one without under ``NUMBA_CPU_NAME=haswell``,
``NUMBA_CPU_FEATURES=+avx2,+fma,+bmi,+bmi2,+lzcnt,+popcnt,+f16c`` (without them numba takes the
host's) and ``ATEN_CPU_CAPABILITY=avx2``, with a ``NUMBA_CACHE_DIR`` of its own.
"""

from __future__ import annotations

import argparse
import importlib
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
"""Seconds for which a method is timed in a round, in as many calls as fit."""

Call = Callable[[], object]


def by_torch(logits: Tensor, defense: DynaNoise) -> Tensor:
    """Run the pipeline for one sample in plain operations."""
    probs = torch.softmax(logits, dim=-1)
    entropy = -(probs * torch.log(probs + 1e-12)).sum(dim=-1, keepdim=True)
    sensitivity = 1 - entropy / math.log(logits.shape[-1])
    variance = defense.base_variance * (1 + defense.lambda_scale * sensitivity)
    noisy = logits + torch.randn_like(logits) * torch.sqrt(variance)
    return torch.softmax(noisy / defense.temperature, dim=-1)


def torch_floor(logits: Tensor) -> None:
    """Draw as many normals, and compute one softmax."""
    torch.randn_like(logits)
    torch.softmax(logits, dim=-1)


def numpy_floor(logits: npt.NDArray[np.float32], generator: np.random.Generator) -> None:
    """Do the same in NumPy, in float32."""
    generator.standard_normal(logits.shape, dtype=np.float32)
    weights = np.exp(logits - logits.max(axis=-1, keepdims=True))
    weights /= weights.sum(axis=-1, keepdims=True)


def at_entry(logits: npt.NDArray[np.float32], noise: Noise) -> Call:
    """Make a call of the kernel's entry; fresh noise with a key made before."""
    entries, out = kernel_outputs.kernel_entries(), np.empty_like(logits)
    assert entries is not None, "the kernel needs numba"
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


def with_threads(count: int, call: Call) -> Call:
    """Mark a call with a number of torch's threads, which is set before the clock starts."""

    def timed() -> object:
        return call()

    timed.threads = count  # type: ignore[attr-defined]
    return timed


def methods(count: int, classes: int, default: int) -> dict[str, Call]:
    """Make the calls to be timed, by name, for random logits of that shape."""
    generator = np.random.default_rng(0)
    logits = generator.normal(0, 4, (count, classes)).astype(np.float32)
    tensor = torch.from_numpy(logits)
    fresh, keyed = SystemFresh(), Keyed(12.0, "benchmark", "ab" * 32, ExperimentKey(0))
    calls: dict[str, Call] = {}
    for number in dict.fromkeys([default, 1]):
        calls[f"torch, {number}"] = with_threads(number, lambda: by_torch(tensor, DEFENSE))
        calls[f"floor, torch, {number}"] = with_threads(number, lambda: torch_floor(tensor))
    calls["floor, numpy"] = lambda: numpy_floor(logits, generator)
    calls["kernel, fresh"] = at_entry(logits, fresh)
    calls["kernel, keyed"] = at_entry(logits, keyed)
    calls["call, fresh"] = lambda: DEFENSE(logits, fresh)
    calls["call, keyed"] = lambda: DEFENSE(logits, keyed)
    double = logits.astype(np.float64)
    calls["call, fresh, float64"] = lambda: DEFENSE(double, fresh)
    return calls


def measure(methods: Mapping[str, Call], rounds: int, seed: int) -> dict[str, list[float]]:
    """Measure seconds for each call, in each round."""
    calls: dict[str, int] = {}
    before = torch.get_num_threads()
    for name, call in methods.items():
        torch.set_num_threads(getattr(call, "threads", before))
        call()  # compiles, allocates
        started = time.perf_counter()
        call()
        calls[name] = max(1, round(BLOCK / max(time.perf_counter() - started, 1e-7)))
    seconds: dict[str, list[float]] = {name: [] for name in methods}
    generator = np.random.default_rng(seed)
    with torch.inference_mode():
        for _ in range(rounds):
            for name in map(str, generator.permutation(list(methods))):
                call = methods[name]
                torch.set_num_threads(getattr(call, "threads", before))
                call()
                started = time.perf_counter()
                for _ in range(calls[name]):
                    call()
                seconds[name].append((time.perf_counter() - started) / calls[name])
    torch.set_num_threads(before)
    return seconds


def fastest(seconds: Mapping[str, list[float]], kind: str) -> list[float]:
    """Take the seconds of the method with the smallest median among names with that beginning."""
    names = [name for name in seconds if name.startswith(kind)]
    return seconds[min(names, key=lambda name: float(np.median(seconds[name])))]


def summary(seconds: Mapping[str, list[float]]) -> dict[str, Any]:
    """Compute medians with 95% intervals over the rounds, and ratios within a round."""

    def ratio(above: Iterable[float], below: Iterable[float]) -> dict[str, Any]:
        return asdict(intervals.median([a / b for a, b in zip(above, below, strict=True)]))

    torch_, floor = fastest(seconds, "torch"), fastest(seconds, "floor")
    kernel_names = [name for name in seconds if name.startswith(("kernel", "call"))]
    return {
        "microseconds": {
            name: asdict(intervals.median([1e6 * value for value in values]))
            for name, values in seconds.items()
        },
        "times_as_fast_as_torch": {name: ratio(torch_, seconds[name]) for name in kernel_names},
        "keyed_over_fresh": ratio(seconds["kernel, keyed"], seconds["kernel, fresh"]),
        "fresh_over_floor": ratio(seconds["kernel, fresh"], floor),
    }


def parts(rounds: int, rows: int = 1024, classes: int = 10) -> dict[str, float]:
    """Measure the steps of keyed and of fresh noise on one thread, in nanoseconds a row.

    Args:
        rounds: the median over so many is taken.
        rows: rows of a call.
        classes: K.
    """
    from dynanoise.noise.kernel import normals, stream

    generator = np.random.default_rng(0)
    logits = generator.normal(0, 4, (rows, classes)).astype(np.float32)
    out, entries = np.empty_like(logits), kernel_outputs.kernel_entries()
    assert entries is not None, "the kernel needs numba"
    keyed = Keyed(12.0, "benchmark", "ab" * 32, ExperimentKey(0))
    numbers, words = kernel_outputs.keyed_arguments(DEFENSE.kernel_setting, keyed, classes)
    message = np.zeros((2 * (classes // 2 + 2), rows), np.uint32)
    keys, state = np.zeros((8, rows), np.uint32), np.zeros((8, rows), np.uint64)
    streams = np.zeros((2, 16 * stream.LANES), np.uint32)
    blocks = -(-classes // 8)
    doubles = np.empty((8, blocks * rows))
    singles = np.empty(rows * classes + 16 * stream.LANES, np.float32)
    key, secret, nonce = np.zeros(8, np.uint32), os.urandom(32), np.uint32(0)

    def chacha(steps: int, count: int) -> None:
        for _ in range(0, count, stream.LANES):
            stream.chacha(streams[0], streams[1], steps, stream.LANES)

    fresh = DEFENSE.kernel_setting.fresh_numbers
    calls: dict[str, Call] = {
        "keyed, whole": lambda: entries["keyed"](logits, out, numbers, words, 0, rows),
        "keyed, SipHash": lambda: stream.row_keys(words[0], words[1], message, state, keys),
        "keyed, ChaCha20": lambda: chacha(20, blocks * rows),
        "keyed, normals": lambda: normals.keyed_normals(keys, nonce, streams, classes, doubles),
        "fresh, whole": lambda: entries["fresh_32"](logits, out, fresh, secret, 0, rows),
        "fresh, ChaCha8": lambda: chacha(8, -(-classes * rows // 16)),
        "fresh, normals": lambda: normals.fresh_normals_32(
            key, np.uint64(0), nonce, streams, singles
        ),
    }
    seconds = measure(calls, rounds, seed=0)
    return {name: round(1e9 * float(np.median(each)) / rows, 1) for name, each in seconds.items()}


def numba_processor() -> str:
    """Name the processor that numba compiles for, with its features where they are limited."""
    host = importlib.import_module("llvmlite.binding").get_host_cpu_name()
    names = ("NUMBA_CPU_NAME", str(host)), ("NUMBA_CPU_FEATURES", "")
    return " ".join(os.environ.get(name, default) for name, default in names).strip()


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print and write the results."""
    parser = argparse.ArgumentParser(description=str(__doc__).split("\n", 1)[0])
    parser.add_argument("--shapes", nargs="+", default=list(SHAPES), help="ROWSxCLASSES")
    parser.add_argument("--rounds", type=int, default=21, help="6 or more give intervals")
    parser.add_argument("--parts", action="store_true", help="measure the steps as well")
    parser.add_argument("--out", type=Path, default=OUT)
    options = parser.parse_args(arguments)
    load = os.getloadavg()[0]
    default = torch.get_num_threads()
    by_shape: dict[str, Any] = {}
    for shape in options.shapes:
        count, classes = map(int, shape.split("x"))
        seconds = measure(methods(count, classes, default), options.rounds, seed=0)
        by_shape[shape] = summary(seconds)
        for name, value in by_shape[shape]["microseconds"].items():
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
            "torch_instructions": torch.backends.cpu.get_cpu_capability(),
            "kernel_processor": numba_processor(),
        },
        "by_shape": by_shape,
        "parts": parts(options.rounds) if options.parts else {},
    }
    write_json(options.out, body)


if __name__ == "__main__":
    main()
