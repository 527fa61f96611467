"""From one key to another and back, and what that gives away."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dynanoise.config.configuration import Configuration
from dynanoise.config.rotation import average_error
from dynanoise.core.numerics import centred, log_probabilities
from dynanoise.defenses.dynanoise import DynaNoise
from dynanoise.noise.keyed import Keyed
from dynanoise.noise.keys import ExperimentKey
from dynanoise.noise.subkey import key_id
from tests.factories.gateways import (
    LAST_RESORT,
    OTHER_SECRET,
    SECRET,
    ask,
    defense_file,
    digest,
    gateway,
    infer_body,
    onnx_file,
    queries,
)

BODY = infer_body(queries(20))


def write(path: Path, secret: str) -> Path:
    path.touch(0o600)
    path.write_text(secret)
    return path


@pytest.mark.process
def test_over_to_another_key_and_back(tmp_path: Path) -> None:
    """Old and new side by side, the old one away, and back: two answers to each query in all."""
    pytest.importorskip("onnxruntime", reason="ONNX models: pip install 'dynanoise[onnx]'")
    model = onnx_file(tmp_path / "linear.onnx")
    noise = {"name": "keyed", "cell_width": 2.0, "model": "linear", "weights": digest(model)}
    defenses = {
        name: defense_file(
            tmp_path / f"{name}.yaml",
            noise={**noise, "key": f"file:{write(tmp_path / f'{name}.key', secret)}"},
        )
        for name, secret in (("old", SECRET), ("new", OTHER_SECRET))
    }
    options = ("--model", model, "--no-auth", "--rate", 0, "--budget", 0)
    seen: dict[str, set[bytes]] = {"old": set(), "new": set()}

    def look(name: str, url: str) -> None:
        said = ask(f"{url}/v2/models/linear").json["properties"]
        secret = {"old": SECRET, "new": OTHER_SECRET}[name]
        assert said == {"noise": "keyed", "key_id": key_id(bytes.fromhex(secret))}
        assert ask(f"{url}/v2/health/ready").status == 200
        for _ in range(3):
            seen[name].add(ask(f"{url}/v2/models/linear/infer", BODY).body)

    with gateway(*options, "--defense", defenses["old"], secret=None) as old:
        look("old", old.url)
        with gateway(*options, "--defense", defenses["new"], secret=None) as new:
            for _ in range(3):  # a client that asks them in turn, as long as both are there
                look("old", old.url)
                look("new", new.url)
            # The old key's file is taken by another: a running gateway stays with its own.
            write(tmp_path / "old.key", "77" * 32)
            look("old", old.url)
            old.terminate()
            assert old.process.wait(LAST_RESORT) == 0
            look("new", new.url)
    write(tmp_path / "old.key", SECRET)
    with gateway(*options, "--defense", defenses["old"], secret=None) as again:
        look("old", again.url)
    assert [len(answers) for answers in seen.values()] == [1, 1]
    assert seen["old"] != seen["new"]


@pytest.mark.behaviour
@pytest.mark.parametrize(("width", "variance"), [(4.0, 0.0), (4.0, 2.0), (0.5, 2.0)])
def test_n_keys_are_n_samples(width: float, variance: float) -> None:
    """The error of the mean over n keys is that of one key, divided by the root of n.

    A cell's representative is off by a uniform error of the cell's width, for the grid lies
    elsewhere under each key; the noise adds its variance. Centring K of them leaves 1 - 1 / K.
    """
    classes, keys = 5, 1024
    logits = np.random.default_rng(0).normal(0, 3, (200, classes))
    defense = DynaNoise(variance, 0.0, 10.0)
    errors = []
    for key in range(keys):
        noise = Keyed(width, "m", "ab" * 32, ExperimentKey(0, key))
        answer = defense(logits, noise)
        np.testing.assert_array_equal(defense(logits, noise), answer)  # back to it: nothing new
        errors.append(defense.undo(log_probabilities(answer)) - centred(logits))
    one = (1 - 1 / classes) * (width**2 / 12 + variance)
    for count in (1, 4, 16):
        means = np.stack(errors).reshape(-1, count, *logits.shape).mean(axis=1)
        assert np.sqrt((means**2).mean() / one) == pytest.approx(1 / np.sqrt(count), rel=0.1)
        printed = average_error(Configuration(defense, Keyed(width, "m", "ab" * 32)), count)
        assert printed == pytest.approx(np.sqrt(one / (1 - 1 / classes) / count))


@pytest.mark.behaviour
def test_a_new_version_is_one_sample_under_the_old_key_and_under_a_new_one() -> None:
    """And a new key for the same weights is one more."""
    logits = np.random.default_rng(0).normal(0, 3, (500, 5))
    defense = DynaNoise(2.0, 0.0, 10.0)

    def error(key: str, weights: str) -> Any:
        noise = [Keyed(4.0, "m", weights * 32, ExperimentKey(0, key, seed)) for seed in range(20)]
        rows = [defense.undo(log_probabilities(defense(logits, source))) for source in noise]
        return np.stack(rows) - centred(logits)

    first, kept, rotated = error("old", "ab"), error("old", "cd"), error("new", "cd")
    further = error("new", "ab")

    def left(*errors: Any) -> float:
        return float(np.sqrt((np.mean(errors, axis=0) ** 2).mean()))

    assert left(first, kept) / left(first) == pytest.approx(1 / np.sqrt(2), rel=0.03)
    assert left(first, rotated) / left(first, kept) == pytest.approx(1, rel=0.03)
    assert left(first, further, rotated) / left(first) == pytest.approx(1 / np.sqrt(3), rel=0.03)
