"""How long and how fast each model is trained where nothing else is said."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from dynanoise.training.schedule import Schedule

SCHEDULES: Mapping[str, Schedule] = MappingProxyType(
    {
        "mlp": Schedule(epochs=100, batch=32, learning_rate=1e-3),
        # Takes the cnn to a training accuracy of 0.99 on 1,500 images, of 1 on 5,600.
        "cnn": Schedule(
            epochs=15,
            batch=64,
            learning_rate=0.05,
            optimizer="sgd",
            weight_decay=5e-4,
            one_cycle=True,
            bfloat16=True,
        ),
        # As the artifact of arXiv:2505.13362v2 trains it; its momentum is not Nesterov's.
        "alexnet": Schedule(epochs=30, batch=64, learning_rate=0.01, optimizer="sgd"),
        "text": Schedule(epochs=12, batch=64, learning_rate=2e-3),
        # Among those that Devlin et al. 2019 (appendix A.3) recommend for fine-tuning.
        "hf": Schedule(epochs=3, batch=32, learning_rate=5e-5),
    }
)
"""By the registered names of models."""
