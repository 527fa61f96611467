"""Numbers of other tools' own code on small folders in their layouts.

    python benchmarks/other_tools.py --lira DIR --fork DIR --privacy-meter DIR

DIR are the folders with `plot.py` and `score.py` of tensorflow/privacy's research/mi_lira_2021 and
of orientino/lira-pytorch, and a clone of privacytrustlab/ml_privacy_meter. Their code reads the
files that the functions below lay out and attacks them; its scores are written with the commits
into `tests/audits/other_tools.json`, which a test compares with ours. It needs matplotlib and
scikit-learn.
"""

from __future__ import annotations

import argparse
import importlib.util
import logging
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt

from dynanoise.core.files import write_json

SHADOWS, RECORDS, INPUTS, CLASSES = 8, 120, 2, 5
REFERENCES, POPULATION, A = 3, 90, 0.3
"""Privacy Meter: pairs of reference models, records of the population, and offline_a."""


def lay_out_lira(folder: Path, *, fork: bool = False) -> npt.NDArray[np.bool_]:
    """Write logits and membership of nine models as LiRA does; the last is the target.

    Each record is in exactly half of the eight shadow models.

    Args:
        folder: where to write.
        fork: True for the layout of lira-pytorch, without labels.

    Returns:
        Membership [9, N].
    """
    generator = np.random.default_rng(20211207)
    labels = generator.integers(0, CLASSES, RECORDS)
    half = np.repeat(np.arange(SHADOWS)[:, None] < SHADOWS // 2, RECORDS, axis=1)
    keep = np.concatenate([generator.permuted(half, axis=0), generator.random((1, RECORDS)) < 0.5])
    logits = generator.normal(0, 1, (SHADOWS + 1, RECORDS, INPUTS, CLASSES))
    logits[:, np.arange(RECORDS), :, labels] += 1 + 2 * keep.T[..., None]
    for model, (kept, rows) in enumerate(zip(keep, logits.astype(np.float32), strict=True)):
        experiment = folder / (str(model) if fork else f"experiment-{model}_{SHADOWS + 1}")
        experiment.mkdir(parents=True)
        np.save(experiment / "keep.npy", kept)
        if fork:
            np.save(experiment / "logits.npy", rows)
            continue
        (experiment / "logits").mkdir()
        np.save(experiment / "logits" / f"{100:010d}.npy", rows[:, None])
    np.save(folder.parent / "labels.npy" if fork else folder / "y_train.npy", labels)
    return keep


def lay_out_privacy_meter(folder: Path) -> npt.NDArray[np.bool_]:
    """Write signals and memberships of pairs of models as Privacy Meter does.

    Args:
        folder: where to write.

    Returns:
        Membership [M, N]; each record is in one model of each pair.
    """
    generator = np.random.default_rng(20230712)
    models = 2 * (REFERENCES + 1)
    first = generator.random((REFERENCES + 1, RECORDS)) < 0.5
    memberships = np.stack([first, ~first], axis=1).reshape(models, RECORDS)
    hard = generator.normal(0, 1.5, RECORDS)
    phi = hard + generator.normal(0, 1, (models, RECORDS)) + 2 * memberships
    beyond = generator.normal(0, 1.5, POPULATION) + generator.normal(0, 1, (models, POPULATION))
    (folder / "models").mkdir(parents=True)
    (folder / "signals").mkdir()
    np.save(folder / "models" / "memberships.npy", memberships)
    for name, values in (("rmia_signals", phi), ("rmia_signals_pop", beyond)):
        signals = (1 / (1 + np.exp(-values))).T.astype(np.float32)
        np.save(folder / "signals" / f"{name}.npy", signals)
    return memberships


@contextmanager
def _loaded(path: Path, *arguments: str) -> Iterator[Any]:
    """A module of another tool, which may read the command line and import its neighbours."""
    argv, sys.argv = sys.argv, [str(path), *arguments]
    sys.path.insert(0, str(path.parent))
    try:
        spec = importlib.util.spec_from_file_location(f"other_{path.stem}", path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        yield module
    finally:
        sys.argv = argv
        sys.path.remove(str(path.parent))


def _lira(module: Any, keep: Any, scores: Any) -> dict[str, Any]:
    """Scores of the last model by every variant of plot.py, which are larger for non-members."""
    variants = {
        "online": (module.generate_ours, False),
        "online, fixed variance": (module.generate_ours, True),
        "offline": (module.generate_ours_offline, False),
        "offline, fixed variance": (module.generate_ours_offline, True),
    }
    numbers = {}
    for name, (attack, fixed) in variants.items():
        parts = keep[:-1], scores[:-1], keep[-1:], scores[-1:]
        predictions, answers = attack(*parts, fix_variance=fixed)
        area = module.sweep(np.array(predictions), np.array(answers, dtype=bool))[2]
        numbers[name] = {"scores": [float(value) for value in predictions], "auc": float(area)}
    return numbers


def _of_tensorflow(code: Path, work: Path) -> dict[str, Any]:
    folder = work / "lira"
    lay_out_lira(folder)
    subprocess.run(  # noqa: S603
        [sys.executable, str(code / "score.py"), str(folder)], check=True, stdout=subprocess.DEVNULL
    )
    with _loaded(code / "plot.py") as plot:
        scores, keep = plot.load_data(str(folder))
        # The target is the last one, in whatever order the tool has listed the folder.
        names = [name for name in os.listdir(folder) if name.startswith("experiment")]
        order = np.argsort(names)
        return {**_lira(plot, keep[order], scores[order]), "phi": scores[order][-1].tolist()}


def _of_fork(code: Path, work: Path) -> dict[str, Any]:
    folder = work / "fork"
    lay_out_lira(folder, fork=True)
    stub = ModuleType("torchvision.datasets")
    stub.CIFAR10 = None  # type: ignore[attr-defined]
    sys.modules.setdefault("torchvision", ModuleType("torchvision"))
    sys.modules.setdefault("torchvision.datasets", stub)
    with _loaded(code / "score.py", "--savedir", str(folder)) as score:
        score.get_labels = lambda: np.load(work / "labels.npy")
        for model in range(SHADOWS + 1):
            score.load_one(str(folder / str(model)))
    with _loaded(code / "plot.py", "--savedir", str(folder)) as plot:
        plot.load_data()
        order = np.argsort(os.listdir(folder))
        return _lira(plot, plot.keep[order], plot.scores[order])


def _of_privacy_meter(code: Path, work: Path) -> dict[str, Any]:
    folder = work / "privacy_meter"
    memberships = lay_out_privacy_meter(folder)
    signals = np.load(folder / "signals" / "rmia_signals.npy")
    population = np.load(folder / "signals" / "rmia_signals_pop.npy")
    with _loaded(code / "attacks.py") as attacks:
        every = attacks.run_rmia(0, signals, population, memberships.T, REFERENCES, A)
        a = attacks.tune_offline_a(0, signals, population, memberships.T, logging.getLogger())[0]
        keep_out = attacks.get_rmia_out_signals

        def average_all(values: Any, members: Any, target: int, count: int) -> Any:
            # As it is, the k largest of the 2k signals on z are averaged: none of them is zero.
            return keep_out(values, members, target, count if members.any() else 2 * count)

        attacks.get_rmia_out_signals = average_all
        averaged = attacks.run_rmia(0, signals, population, memberships.T, REFERENCES, A)
    return {
        "offline_a": A,
        "tuned offline_a": float(a),
        "scores": every.tolist(),
        "scores, all 2k signals averaged for z": averaged.tolist(),
    }


def _commit(clone: Path) -> str:
    command = ["git", "-C", str(clone), "rev-parse", "HEAD"]
    process = subprocess.run(command, check=False, capture_output=True, text=True)  # noqa: S603
    return process.stdout.strip()


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the other tools' code and write its numbers."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0] if __doc__ else None)
    parser.add_argument("--out", type=Path, default=Path("tests/audits/other_tools.json"))
    for name in ("lira", "fork", "privacy-meter"):
        parser.add_argument(f"--{name}", type=Path, required=True, help="folder of its code")
        parser.add_argument(f"--{name}-commit", help="commit of the code, where DIR is not a clone")
    chosen = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as temporary:
        work = Path(temporary)
        numbers = {
            "tensorflow/privacy research/mi_lira_2021": _of_tensorflow(chosen.lira, work),
            "orientino/lira-pytorch": _of_fork(chosen.fork, work),
            "privacytrustlab/ml_privacy_meter": _of_privacy_meter(chosen.privacy_meter, work),
        }
    commits = [
        chosen.lira_commit or _commit(chosen.lira),
        chosen.fork_commit or _commit(chosen.fork),
        chosen.privacy_meter_commit or _commit(chosen.privacy_meter),
    ]
    for tool, commit in zip(numbers.values(), commits, strict=True):
        tool["commit"] = commit
    write_json(chosen.out, {"numpy": np.__version__, **numbers})


if __name__ == "__main__":
    main()
