"""The benchmarks compare what they say they compare; their numbers are never asserted."""

from __future__ import annotations

import json
import time
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs torch: pip install 'dynanoise[train]'")
Image = pytest.importorskip("PIL.Image", reason="pictures need: pip install 'dynanoise[data]'")

from benchmarks import training_speed  # noqa: E402
from dynanoise.training.models.cnn import Cnn  # noqa: E402

PIXELS = np.random.default_rng(0).integers(0, 256, (4, 32, 32, 3), dtype=np.uint8)


def test_both_loops_train_the_same_network() -> None:
    """On the same normalised pixels it gives the same logits, from memory of the plain format."""
    model = Cnn().build((32, 32, 3), 10).eval()
    with torch.inference_mode():
        ours = model(torch.from_numpy(PIXELS))
        normalised = next(model.children())(torch.from_numpy(PIXELS)).contiguous()
    plain = training_speed.plain_network(model)
    assert all(weights.is_contiguous() for weights in plain.parameters())
    seen = []
    convolution = next(part for part in plain if isinstance(part, torch.nn.Conv2d))
    convolution.register_forward_hook(lambda part, given, made: seen.append(made))
    with torch.inference_mode():
        theirs = plain(normalised)
    assert theirs.numpy() == pytest.approx(ours.numpy(), abs=1e-4)
    assert seen[0].is_contiguous()  # no convolution in channels-last after all


def test_pictures_become_what_torchvision_makes_of_them() -> None:
    """(x / 255 - mean) / deviation for each channel, channels first."""
    pictures = training_speed.Pictures([Image.fromarray(image) for image in PIXELS], [3, 1, 0, 2])
    tensor, label = pictures[1]
    assert (len(pictures), label) == (4, 1)
    assert tensor.shape == (3, 32, 32) and tensor.is_contiguous()
    assert float(tensor[2, 5, 7]) == pytest.approx((PIXELS[1, 5, 7, 2] / 255 - 0.4465) / 0.2616)


def test_the_faster_has_the_larger_ratio() -> None:
    epochs = {"dynanoise": lambda: time.sleep(0.002), "plain": lambda: time.sleep(0.02)}
    found = training_speed.measure(epochs, count=100, rounds=6, seed=0)
    assert set(found["times_as_fast"]) == {"plain"}
    assert found["times_as_fast"]["plain"]["value"] > 2
    speeds = found["images_per_second"]
    assert speeds["plain"]["value"] <= 100 / 0.02 and speeds["dynanoise"]["low"] is not None


@pytest.mark.behaviour
def test_everything_is_measured_and_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "new" / "speed.json"
    few = "--images 8 --batch 4 --rounds 1 --threads 1 --workers 0 --out"
    training_speed.main([*few.split(), str(out)])
    found = json.loads(out.read_text())
    assert {"python", "torch", "pillow"} <= set(found["versions"])
    assert {"processor", "cores", "bfloat16", "load_before"} <= set(found["hardware"])
    assert found["settings"]["batch"] == 4
    one = found["by_threads"]["1"]
    ratio = one["times_as_fast"]["plain, 0 workers"]["value"]
    ours, theirs = (
        one["images_per_second"][name]["value"] for name in ("dynanoise", "plain, 0 workers")
    )
    assert ratio == pytest.approx(ours / theirs)
    assert "1 threads, plain, 0 workers: " in capsys.readouterr().out
