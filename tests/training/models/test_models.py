"""Every architecture: shapes, sizes, and that it learns."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs torch: pip install 'dynanoise[train]'")

from dynanoise.core.registry import MODELS  # noqa: E402
from dynanoise.training import loop  # noqa: E402
from dynanoise.training.schedule import Schedule  # noqa: E402


def pixels(count: int, side: int, seed: int = 0) -> Any:
    generator = np.random.default_rng(seed)
    return torch.from_numpy(generator.integers(0, 256, (count, side, side, 3), dtype=np.uint8))


@pytest.mark.parametrize("side", [32, 64])
@pytest.mark.parametrize("norm", ["batch", "group"])
def test_the_cnn_takes_both_sizes_with_either_normalisation(side: int, norm: str) -> None:
    torch.manual_seed(0)
    model = MODELS.get("cnn")(norm=norm).build((side, side, 3), 7)
    assert loop.predict(model.eval(), pixels(5, side)).shape == (5, 7)
    assert 400_000 < sum(p.numel() for p in model.parameters()) < 600_000
    batch_norms = [m for m in model.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    assert bool(batch_norms) == (norm == "batch")


@pytest.mark.behaviour
@pytest.mark.parametrize("side", [32, 64])
def test_alexnet_enlarges_what_is_too_small(side: int) -> None:
    torch.manual_seed(0)
    model = MODELS.get("alexnet")().build((side, side, 3), 10).eval()
    assert loop.predict(model, pixels(2, side)).shape == (2, 10)


def test_images_are_normalised_channels_last() -> None:
    from dynanoise.training.models.cnn import Normalise

    raw = pixels(4, 32)
    out = Normalise()(raw)
    assert out.shape == (4, 3, 32, 32)
    assert out.is_contiguous(memory_format=torch.channels_last)
    expected = (raw[1, 2, 3, 0].item() / 255 - 0.4733) / 0.2516
    assert out[1, 0, 2, 3].item() == pytest.approx(expected, abs=1e-5)


def test_text_ignores_padding_and_knows_unknown_words() -> None:
    torch.manual_seed(0)
    model = MODELS.get("text")(vocabulary=10, width=4).build((6,), 2).eval()
    short = torch.tensor([[3, 4, 0, 0, 0, 0]], dtype=torch.int32)
    longer = torch.tensor([[3, 4, 0, 0, 0, 0, 0, 0]], dtype=torch.int32)
    torch.testing.assert_close(loop.predict(model, short), loop.predict(model, longer))
    beyond = torch.tensor([[3, 99, 0, 0, 0, 0]], dtype=torch.int32)
    unknown = torch.tensor([[3, 1, 0, 0, 0, 0]], dtype=torch.int32)
    torch.testing.assert_close(loop.predict(model, beyond), loop.predict(model, unknown))
    assert torch.isfinite(loop.predict(model, torch.zeros_like(short))).all()


@pytest.mark.parametrize("bfloat16", [False, True])
@pytest.mark.behaviour
def test_the_cnn_learns_colours(bfloat16: bool) -> None:
    """Red, green and blue images, told apart after a few steps."""
    torch.manual_seed(0)
    labels = torch.arange(96) % 3
    images = pixels(96, 32) // 4
    images[torch.arange(96), :, :, labels] += 128
    model = MODELS.get("cnn")(width=8).build((32, 32, 3), 3)
    schedule = Schedule(4, 16, 0.05, "sgd", one_cycle=True, bfloat16=bfloat16)
    loop.fit(model, images, labels, schedule, torch.Generator().manual_seed(0))
    assert (loop.predict(model, images).argmax(1) == labels).float().mean() > 0.9


def test_one_cycle_ends_at_zero_and_peaks_at_the_learning_rate() -> None:
    model = torch.nn.Linear(1, 1)
    schedule = Schedule(4, 10, 0.3, "sgd", one_cycle=True)
    steps = loop.optimiser(model, schedule)
    pace = loop.steps_scheduler(steps, schedule, 35)
    rates = []
    for _ in range(4 * 4):
        rates.append(steps.param_groups[0]["lr"])
        steps.step()
        pace.step()
    assert max(rates) == pytest.approx(0.3, rel=0.02)
    assert rates[-1] < 0.01


def test_batches_hold_every_record_once_but_never_one_alone() -> None:
    generator = torch.Generator().manual_seed(0)
    rows = torch.cat(list(loop.batches(32, 8, generator)))
    assert sorted(rows.tolist()) == list(range(32))
    assert [len(part) for part in loop.batches(33, 8, generator)] == [8, 8, 8, 8]
    assert [len(part) for part in loop.batches(1, 8, generator)] == [1]
