"""Derived seeds do not collide and refuse nonsense."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dynanoise.core.errors import InputError
from dynanoise.core.seeding import derive

PARTS = st.one_of(st.text(max_size=4), st.integers(0, 99))


@given(
    st.integers(0, 5), st.lists(PARTS, max_size=3), st.integers(0, 5), st.lists(PARTS, max_size=3)
)
def test_different_paths_have_different_seeds(
    seed: int, path: list[str | int], other: int, other_path: list[str | int]
) -> None:
    same = (seed, path) == (other, other_path)
    assert (derive(seed, *path) == derive(other, *other_path)) == same


@pytest.mark.parametrize("bad", [-1, 1.5, "0", True, None])
def test_bad_seeds_are_named(bad: object) -> None:
    with pytest.raises(InputError, match="The seed is"):
        derive(bad, "split")  # type: ignore[arg-type]
