"""What a preset may ask for, before any work."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from dynanoise.audit.bench import bench, steps
from dynanoise.audit.presets import PRESETS
from dynanoise.errors import InputError
from dynanoise.record import AttackProtocol
from dynanoise.registry import PRESETS as REGISTRY


@pytest.mark.parametrize(
    "change",
    [
        {"design": "pool"},
        {"threat": replace(PRESETS["digits"].protocol.threat, augmented=True)},
    ],
)
def test_a_protocol_that_cannot_be_run_is_refused(
    change: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise its name would stand over the results of another one."""
    digits = PRESETS["digits"]
    protocol: AttackProtocol = replace(digits.protocol, **change)
    monkeypatch.setattr(REGISTRY, "get", lambda name: replace(digits, protocol=protocol))
    with pytest.raises(InputError, match="Only the design 'paper_split'"):
        next(bench("digits"))


def test_steps_are_counted() -> None:
    """Three seeds, four models, four contenders with six attacks and utility."""
    assert steps(PRESETS["digits"], 3) == 3 * (4 + 4 * 7)


@pytest.mark.parametrize("seeds", [0, -1, True, 1.5])
def test_impossible_numbers_of_seeds_are_refused(seeds: Any) -> None:
    with pytest.raises(InputError, match="seeds is"):
        next(bench("digits", seeds))
