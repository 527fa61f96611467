"""A digest that names weights, whatever holds them."""

from __future__ import annotations

import copy
import hashlib
import struct
from typing import Any

import numpy as np
import pytest

torch: Any = pytest.importorskip("torch", reason="pip install 'dynanoise[train]'")

from torch import nn  # noqa: E402

from dynanoise.core.errors import InputError  # noqa: E402
from dynanoise.defenses.dynanoise import DynaNoise  # noqa: E402
from dynanoise.noise.fresh import Fresh  # noqa: E402
from dynanoise.torch import Defended, weights_digest  # noqa: E402


class State(nn.Module):
    """Nothing but the state it is given."""

    def __init__(self, **state: Any) -> None:
        super().__init__()
        for name, value in state.items():
            self.register_buffer(name, value)


def by_hand(**arrays: tuple[str, Any]) -> str:
    """The definition, from names, torch's dtypes and little-endian arrays."""
    said = b"dynanoise/weights/v1"
    for name, (kind, array) in sorted(arrays.items()):
        shape = ",".join(str(size) for size in np.shape(array)).encode()
        for part in (name.encode(), f"torch.{kind}".encode(), shape, np.asarray(array).tobytes()):
            said += struct.pack(">Q", len(part)) + part
    return hashlib.sha256(said).hexdigest()


def test_it_is_what_its_definition_says() -> None:
    values = np.arange(6, dtype="<f4").reshape(2, 3)
    state = State(
        second=torch.from_numpy(values),
        first=torch.tensor(5),
        halves=torch.tensor([1.0, -2.0], dtype=torch.bfloat16),
        none=torch.zeros(0, 3, dtype=torch.bool),
    )
    expected = by_hand(
        second=("float32", values),
        first=("int64", np.int64(5)),
        halves=("bfloat16", np.array([0x3F80, 0xC000], "<u2")),  # the upper halves of float32
        none=("bool", np.zeros((0, 3), bool)),
    )
    assert weights_digest(state) == expected


@pytest.mark.parametrize(
    "kind", ["float16", "bfloat16", "float32", "float64", "int8", "bool", "complex64"]
)
def test_memory_layout_and_order_do_not_count(kind: str) -> None:
    values = (torch.arange(12).reshape(3, 4) % 2).to(getattr(torch, kind))
    strided = values.T.contiguous().T
    one, same = State(a=values, b=values[:1]), State(b=values[:1].clone(), a=strided)
    assert not strided.is_contiguous() and weights_digest(one) == weights_digest(same)


def test_conjugated_views_are_their_values() -> None:
    values = torch.tensor([1 + 2j])
    plain = State(a=torch.tensor([1 - 2j]))
    assert weights_digest(State(a=values.conj())) == weights_digest(plain)


def test_every_difference_counts() -> None:
    base = {"a": torch.zeros(2, 2), "b": torch.ones(1)}
    others = [
        {"a": torch.zeros(4), "b": torch.ones(1)},
        {"a": torch.zeros(2, 2), "c": torch.ones(1)},
        {"a": torch.zeros(2, 2, dtype=torch.int32), "b": torch.ones(1)},
        {"a": -torch.zeros(2, 2), "b": torch.ones(1)},  # other bits
        {"a": torch.zeros(2, 2)},
        {"a": torch.ones(1), "b": torch.zeros(2, 2)},
    ]
    digests = {weights_digest(State(**state)) for state in [base, *others]}
    assert len(digests) == 7


def test_wrapping_and_copying_do_not_count() -> None:
    module: Any = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
    digest = weights_digest(module)
    assert weights_digest(copy.deepcopy(module)) == digest
    assert weights_digest(Defended(module, DynaNoise(), Fresh(0))) == digest
    with torch.no_grad():
        module[0].bias[0] += 1e-6
    assert weights_digest(module) != digest


def test_what_has_no_bytes_is_named() -> None:
    for value in (torch.zeros(2, device="meta"), torch.eye(2).to_sparse()):
        with pytest.raises(InputError, match="'odd' of the module's state"):
            weights_digest(State(odd=value))
