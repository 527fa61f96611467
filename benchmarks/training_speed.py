"""Images a second: this project's training loop beside a plain PyTorch loop.

Ours is `dynanoise.training.loop.fit`: uint8 pixels in memory, normalised by the network itself,
channels-last, bfloat16 autocast where the processor is faster with it, no DataLoader. The
plain one is that of tutorials: PIL images in a Dataset, turned into tensors and normalised one by
one, a DataLoader, float32 and contiguous NCHW. Network, batch size, optimizer, learning rates and
torch's threads are the same. Both are timed in turns, an epoch each, and compared within a round.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import PIL
import torch
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from dynanoise.core.files import write_json
from dynanoise.evaluation import provenance
from dynanoise.metrics import intervals
from dynanoise.training import loop
from dynanoise.training.models.cnn import Cnn, Normalise
from dynanoise.training.recipes.plain import Plain
from dynanoise.training.schedule import Schedule

OUT = Path(__file__).parent.parent / "results" / "benchmarks" / "training_speed.json"
SIDE, CLASSES = 32, 10
MEAN, SD = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)  # CIFAR-10's, as tutorials have them

Epoch = Callable[[], object]


class Pictures(Dataset[tuple[Tensor, int]]):
    """PIL images with labels, with the arithmetic of torchvision's ToTensor and Normalize."""

    def __init__(self, images: list[Image.Image], labels: list[int]) -> None:
        self.images, self.labels = images, labels
        self.mean, self.sd = (torch.tensor(values)[:, None, None] for values in (MEAN, SD))

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        pixels = torch.from_numpy(np.array(self.images[index])).permute(2, 0, 1).contiguous()
        return pixels.float().div(255).sub_(self.mean).div_(self.sd), self.labels[index]


def plain_network(model: nn.Module) -> nn.Sequential:
    """``model``, changed in place, for normalised float32 [b, C, H, W] in contiguous memory.

    Convolutions choose their format by inputs and weights, so the weights are contiguous too.
    """
    for weights in model.parameters():
        weights.data = weights.data.contiguous()
    return nn.Sequential(*(part for part in model.children() if not isinstance(part, Normalise)))


def plain_epoch(
    model: nn.Module, loader: DataLoader[tuple[Tensor, int]], schedule: Schedule
) -> None:
    """An epoch as tutorials write it."""
    model.train()
    steps = loop.optimiser(model, schedule)
    pace = loop.steps_scheduler(steps, schedule, len(loader.dataset))  # type: ignore[arg-type]
    for images, labels in loader:
        steps.zero_grad()
        nn.functional.cross_entropy(model(images), labels).backward()
        steps.step()
        pace.step()


def methods(count: int, workers: Sequence[int], schedule: Schedule, seed: int) -> dict[str, Epoch]:
    """Make functions that train an epoch on ``count`` random images, by name, ours first."""
    generator = np.random.default_rng(seed)
    pixels = generator.integers(0, 256, (count, SIDE, SIDE, 3), dtype=np.uint8)
    labels = generator.integers(0, CLASSES, count)
    inputs, targets = torch.from_numpy(pixels), torch.from_numpy(labels)
    torch.manual_seed(seed)
    ours = Cnn().build((SIDE, SIDE, 3), CLASSES)
    order = torch.Generator().manual_seed(seed)
    epochs: dict[str, Epoch] = {
        "dynanoise": lambda: loop.fit(ours, inputs, targets, schedule, order)
    }
    pictures = Pictures([Image.fromarray(image) for image in pixels], labels.tolist())
    for number in workers:
        plain = plain_network(Cnn().build((SIDE, SIDE, 3), CLASSES))
        loader = DataLoader(
            pictures,
            schedule.batch,
            shuffle=True,
            num_workers=number,
            persistent_workers=number > 0,  # started once, before the clock
        )
        epochs[f"plain, {number} workers"] = lambda model=plain, loader=loader: plain_epoch(  # type: ignore[misc]
            model, loader, schedule
        )
    return epochs


@contextmanager
def threads(count: int) -> Iterator[None]:
    """Set the number of torch's threads, and restore it afterwards."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def measure(epochs: Mapping[str, Epoch], count: int, rounds: int, seed: int) -> dict[str, Any]:
    """Measure images a second, and the ratio in the same round: medians with 95% intervals."""
    for epoch in epochs.values():  # starts workers, compiles kernels
        epoch()
    speeds: dict[str, list[float]] = {name: [] for name in epochs}
    generator = np.random.default_rng(seed)
    for _ in range(rounds):
        for name in map(str, generator.permutation(list(epochs))):
            started = time.perf_counter()
            epochs[name]()
            speeds[name].append(count / (time.perf_counter() - started))
    ours, *others = epochs
    ratios = {
        name: [a / b for a, b in zip(speeds[ours], speeds[name], strict=True)] for name in others
    }
    return {
        "images_per_second": {n: asdict(intervals.median(values)) for n, values in speeds.items()},
        "times_as_fast": {n: asdict(intervals.median(values)) for n, values in ratios.items()},
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=str(__doc__).split("\n", 1)[0])
    parser.add_argument("--images", type=int, default=1024, help="an epoch")
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=7, help="6 or more give intervals")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2], help="of torch")
    parser.add_argument("--workers", type=int, nargs="+", default=[0, 1, 2], help="of the loader")
    parser.add_argument("--out", type=Path, default=OUT)
    options = parser.parse_args(arguments)
    usual = Schedule(
        epochs=1,
        batch=options.batch,
        learning_rate=0.1,
        optimizer="sgd",
        weight_decay=5e-4,
        one_cycle=True,
        bfloat16=True,
    )
    schedule = loop.settled(Plain(usual), "cpu").schedule
    load = os.getloadavg()[0]
    measured: dict[str, Any] = {}
    for count in options.threads:
        with threads(count):
            epochs = methods(options.images, options.workers, schedule, seed=0)
            measured[str(count)] = measure(epochs, options.images, options.rounds, seed=0)
        for name, speed in measured[str(count)]["images_per_second"].items():
            ratio = measured[str(count)]["times_as_fast"].get(name)
            beside = f"; ours {_shown(ratio, 2)} times as fast" if ratio else ""
            sys.stdout.write(f"{count} threads, {name}: {_shown(speed, 0)} images/s{beside}\n")
    words = " ".join(sys.argv[1:] if arguments is None else arguments)
    body = {
        "command": f"python benchmarks/training_speed.py {words}".strip(),
        "versions": {**provenance.versions(), "pillow": PIL.__version__},
        "hardware": {
            **provenance.hardware(),
            "bfloat16": schedule.bfloat16,
            "load_before": round(load, 2),
        },
        "network": {"name": "cnn", **asdict(Cnn())},
        "settings": {"images": options.images, "rounds": options.rounds, **asdict(schedule)},
        "by_threads": measured,
    }
    write_json(options.out, body)


def _shown(metric: Mapping[str, float | None], digits: int) -> str:
    value, low, high = (metric[name] for name in ("value", "low", "high"))
    interval = f" [{low:.{digits}f}, {high:.{digits}f}]" if low is not None else ""
    return f"{value:.{digits}f}{interval}"


if __name__ == "__main__":
    main()
