"""Steps of stacked parameters against torch's optimizers, one for each model."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs torch: pip install 'dynanoise[train]'")

from dynanoise.training import loop  # noqa: E402
from dynanoise.training.execution.stacked_steps import Steps, paces  # noqa: E402
from dynanoise.training.schedule import Schedule  # noqa: E402

SCHEDULES = [
    Schedule(4, 10, 0.1),
    Schedule(4, 10, 0.1, weight_decay=0.1, one_cycle=True),
    Schedule(4, 10, 0.1, optimizer="sgd"),
    Schedule(4, 10, 0.1, optimizer="sgd", weight_decay=0.1, one_cycle=True),
]
COUNTS = (30, 50)


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_each_model_steps_as_with_an_optimizer_of_its_own(schedule: Schedule) -> None:
    """The second has two more batches in each epoch, at which the first stays as it is."""
    generator = torch.Generator().manual_seed(0)
    shapes = [(3, 4), (3,)]
    given = [torch.randn(2, *shape, generator=generator) for shape in shapes]
    ours = [one.clone() for one in given]
    steps = Steps(ours, schedule, COUNTS)
    own = [torch.nn.ParameterList([one[model].clone() for one in given]) for model in range(2)]
    theirs = [loop.optimiser(model, schedule) for model in own]
    pace = [
        loop.steps_scheduler(one, schedule, count)
        for one, count in zip(theirs, COUNTS, strict=True)
    ]
    for _ in range(schedule.epochs):
        for step in range(5):
            gradients = [torch.randn(2, *shape, generator=generator) for shape in shapes]
            # As torch gives some: the same values in another order in memory.
            gradients[0] = gradients[0].transpose(1, 2).contiguous().transpose(1, 2)
            moving = np.array([step < 3, True])
            still = [one[~moving].clone() for one in ours]
            steps.step(gradients, moving)
            for now, before in zip(ours, still, strict=True):
                assert torch.equal(now[~moving], before)
            for model in np.flatnonzero(moving).tolist():
                for parameter, gradient in zip(own[model], gradients, strict=True):
                    parameter.grad = gradient[model].clone()
                theirs[model].step()
                pace[model].step()
            for model in range(2):
                for parameter, stacked in zip(own[model], ours, strict=True):
                    torch.testing.assert_close(
                        stacked[model], parameter.detach(), rtol=1e-5, atol=1e-6
                    )


def test_paces_are_those_of_the_scheduler() -> None:
    cycle = paces(SCHEDULES[3], 35)
    assert cycle.shape == (16, 2)
    # torch begins a cycle at a 25th of the peak, with a momentum of 0.95 that falls to 0.85.
    assert cycle[0].tolist() == pytest.approx([0.1 / 25, 0.95])
    assert cycle[:, 0].max() == pytest.approx(0.1, rel=0.02)
    assert cycle[:, 1].min() == pytest.approx(0.85, rel=0.02)
    # A last batch of 1 is left out, and the rates go on with the batches that there are.
    assert len(paces(SCHEDULES[0], 31)) == 12
