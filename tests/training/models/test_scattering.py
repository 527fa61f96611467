"""Scattering features: what they keep, and how recipes train a head on them."""

from __future__ import annotations

from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="training needs torch: pip install 'dynanoise[train]'")
pytest.importorskip("kymatio", reason="scattering needs kymatio: pip install 'dynanoise[dp]'")

from torch import nn  # noqa: E402

from dynanoise.core.errors import InputError  # noqa: E402
from dynanoise.core.registry import MODELS  # noqa: E402
from dynanoise.training import loop  # noqa: E402
from dynanoise.training.schedule import Schedule  # noqa: E402
from tests.training.models.test_models import pixels  # noqa: E402


def test_scattering_features_of_a_shifted_image_change_little() -> None:
    """And of a batch and of single images they are alike, as DP-SGD needs."""
    model = MODELS.get("scattering")().build((32, 32, 3), 10)
    assert sum(p.numel() for p in model.parameters()) == 10 * (243 * 8 * 8 + 1)
    smooth = torch.linspace(0, 255, 32)[None, :, None, None].expand(2, 32, 32, 3).to(torch.uint8)
    images = torch.cat([smooth, smooth.roll(1, dims=2).transpose(1, 2), pixels(1, 32)])
    features = model.compute(images)
    assert features.shape == (5, 243 * 8 * 8)
    torch.testing.assert_close(features[4:], model.features(images[4:]), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(features[0], features[1])
    shifted = model.compute(pixels(1, 32).roll(1, dims=2))
    unrelated = model.compute(pixels(1, 32, seed=1))
    assert (shifted - features[4]).norm() < 0.7 * (unrelated - features[4]).norm()


@pytest.mark.behaviour
def test_a_head_on_fixed_features_is_trained_as_the_whole_module_is() -> None:
    model = MODELS.get("scattering")().build((32, 32, 3), 3)
    inputs, labels = pixels(24, 32), torch.arange(24) % 3
    schedule = Schedule(epochs=2, batch=8, learning_rate=1e-3)
    loop.fit(model, inputs, labels, schedule, torch.Generator().manual_seed(0))

    class Whole(nn.Module):
        """The same layers, which no recipe takes apart."""

        def __init__(self) -> None:
            super().__init__()
            self.inner = MODELS.get("scattering")().build((32, 32, 3), 3)

        def forward(self, rows: Any) -> Any:
            return self.inner(rows)

    whole = loop.fit(Whole(), inputs, labels, schedule, torch.Generator().manual_seed(0))
    expected = loop.predict(whole, inputs)
    torch.testing.assert_close(loop.predict(model, inputs), expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("options", [{"groups": 7}, {"scales": 6}])
def test_scattering_refuses_what_it_cannot_take(options: dict[str, int]) -> None:
    with pytest.raises(InputError, match="scattering channels"):
        MODELS.get("scattering")(**options).build((32, 32, 3), 10)
