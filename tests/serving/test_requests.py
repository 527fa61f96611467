"""Any bytes at all give a request or a refusal; and what is written is read."""

from __future__ import annotations

import json
import tracemalloc
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("orjson", reason="the gateway: pip install 'dynanoise[serve]'")
pytest.importorskip("prometheus_client", reason="the gateway: pip install 'dynanoise[serve]'")
pytest.importorskip("tritonclient.utils", reason="texts: pip install 'dynanoise[serve]'")
from dynanoise.oip import v1, v2
from dynanoise.oip.faults import Refused
from dynanoise.oip.tensors import DTYPES, Description, Spec, Tensor, from_values
from dynanoise.serving.gateway import Gateway, Limits

anything: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=12,
)
inputs = st.fixed_dictionaries(
    {},
    optional={
        "name": st.just("x") | anything,
        "datatype": st.sampled_from(sorted(DTYPES)) | anything,
        "shape": st.lists(st.integers(0, 3), max_size=3) | anything,
        "data": st.lists(st.integers(-300, 300) | st.floats() | st.text(max_size=2)) | anything,
        "parameters": st.dictionaries(st.sampled_from(["binary_data_size", "a"]), anything),
    },
)
requests = st.fixed_dictionaries(
    {"inputs": st.lists(inputs, max_size=2) | anything},
    optional={"id": anything, "outputs": anything, "parameters": anything},
)
headers = st.none() | st.integers(-5, 200).map(str) | st.text(max_size=4)


def read_or_refused(read: Any, *given: Any, inputs: bool = False) -> tuple[Tensor, ...]:
    """What was read; nothing if it was refused as a bad request."""
    try:
        found: Any = read(*given)
    except Refused as refused:
        if refused.status != 400:
            raise
        return ()
    read_in: tuple[Tensor, ...] = found.inputs if inputs else found
    return read_in


@given(requests, headers, st.binary(max_size=20))
def test_any_request_is_read_or_refused(said: Any, header: str | None, rest: bytes) -> None:
    body = json.dumps(said).encode()
    for given_header, whole in ((header, body + rest), (str(len(body)), body + rest), (None, body)):
        for tensor in read_or_refused(v2.parse_request, whole, given_header, inputs=True):
            assert tensor.values.dtype == np.dtype(DTYPES[tensor.datatype])


@given(anything)
def test_any_instances_are_read_or_refused(said: Any) -> None:
    for datatype in ("FP32", "INT8", "BYTES"):
        one = Description((Spec("x", datatype, (-1, 2)),), None, "")
        for body in (said, {"instances": said}, {"instances": [{"x": said}]}):
            read_or_refused(v1.parse, json.dumps(body).encode(), one)


@given(st.data(), st.sampled_from(sorted(DTYPES)), st.booleans())
def test_what_is_written_is_read(data: Any, datatype: str, binary: bool) -> None:
    dtype = np.dtype(DTYPES[datatype])
    if dtype.kind == "O":
        flat: Any = data.draw(st.lists(st.text(max_size=4).map(str.encode), min_size=6, max_size=6))
        values = np.empty(6, object)
        values[:] = flat
    else:
        raw = data.draw(st.binary(min_size=6 * dtype.itemsize, max_size=6 * dtype.itemsize))
        values = np.frombuffer(raw, np.uint8).view(dtype) if dtype.kind != "b" else np.ones(6, bool)
        if dtype.kind == "f":
            values = np.where(np.isfinite(values), values, np.asarray(0.1, dtype))
    sent = Tensor("x", datatype, values.reshape(2, 3))
    body, header = v2.write([sent], {"id": "a"}, "inputs", binary)
    (got,) = v2.parse_request(body, header.get(v2.HEADER)).inputs
    np.testing.assert_array_equal(got.values, sent.values)
    assert got.values.dtype == sent.values.dtype


def request(shape: Any, data: str, datatype: str = "FP32") -> bytes:
    said = f'"name":"x","datatype":"{datatype}","shape":{json.dumps(shape)}'
    return f'{{"inputs":[{{{said},"data":{data}}}]}}'.encode()


@pytest.mark.parametrize("datatype", ["FP32", "INT64", "UINT64", "BOOL", "BYTES"])
def test_no_request_takes_much_more_memory_than_it_has_bytes(datatype: str) -> None:
    """One long text among numbers: NumPy would give every number as much room as the text."""
    data = "[" + '"' + "a" * 4000 + '"' + ",1" * 4000 + "]"
    instances = Description((Spec("x", datatype, (-1,)),), None, "")
    tracemalloc.start()
    for shape in ([1, 8], [4001]):
        assert not read_or_refused(
            v2.parse_request, request(shape, data, datatype), None, inputs=True
        )
    read_or_refused(v1.parse, f'{{"instances":{data}}}'.encode(), instances)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 4 << 20


@pytest.mark.parametrize("item", ["[]", "[[]]", "[1,[2]]", "[2,3]", '"a"', "null", "{}"])
def test_lists_that_are_no_array_do_not_reach_numpy(
    item: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of 5 million lists without anything in them it would make an array for 12 seconds."""

    def reached(*given: Any, **more: Any) -> None:
        raise AssertionError

    for name in ("array", "asarray", "empty"):
        monkeypatch.setattr(np, name, reached)
    for shape in ([1, 8], [9], [9, 0], [9, 1]):
        data = f"[[1],{','.join([item] * 8)}]"
        assert not read_or_refused(v2.parse_request, request(shape, data), None, inputs=True)


@pytest.mark.parametrize("shape", [[0, 2**39, 2**39], [2**39, 0, 2**39, 1]])
def test_a_shape_of_nothing_can_be_too_large(shape: list[int]) -> None:
    assert not read_or_refused(v2.parse_request, request(shape, "[]"), None, inputs=True)
    assert not read_or_refused(v2.parse_request, request(shape, "[]", "BYTES"), None, inputs=True)


def test_values_are_of_the_datatype_that_is_said() -> None:
    """Truth values among numbers would be 0 and 1, and lists of one level are of one length."""
    good: Any = [
        ("FP32", [[1, 2.5], [3, 4]], [1, 2.5, 3, 4]),
        ("FP64", [2**64 - 1, -(2**63), 0, 1], [2.0**64, -(2.0**63), 0, 1]),
        ("UINT64", [2**64 - 1, 2**63, 0, 1], [2**64 - 1, 2**63, 0, 1]),
        ("INT8", [[[-128]], [[127]], [[0]], [[1]]], [-128, 127, 0, 1]),
        ("BOOL", [True, False, True, True], [True, False, True, True]),
        ("BYTES", [["a", b"b"], ["", "ä"]], [b"a", b"b", b"", "ä".encode()]),
    ]
    for datatype, data, values in good:
        assert from_values("x", datatype, (4,), data).values.tolist() == values
    bad: Any = [
        ("FP32", [True, 1.5, 1, 1]),
        ("FP32", [1, [2], 3, 4]),
        ("FP32", [[1, 2], [3], [4]]),
        ("INT32", [True, 1, 1, 1]),
        ("INT8", [128, 0, 0, 0]),
        ("UINT8", [-1, 0, 0, 0]),
        ("UINT64", [-1, 2**64 - 1, 0, 0]),
        ("INT64", [2**63, 0, 0, 0]),
        ("INT64", [1.0, 0, 0, 0]),
        ("BOOL", [1, 0, 1, 1]),
        ("BYTES", [["a"], "b", "c", "d"]),
        ("FP32", [[], [], [], []]),
        ("FP32", {"a": 1}),
    ]
    for datatype, data in bad:
        with pytest.raises(Refused) as caught:
            from_values("x", datatype, (4,), data)
        assert caught.value.status == 400


def test_large_bodies_share_a_limit() -> None:
    """Whoever sends them; small ones come through all the same."""
    limits = Limits(body=1 << 20, at_once=8)
    gateway: Any = Gateway(None, None, None, None, limits, None)  # type: ignore[arg-type]
    receipts = first, second, third = [gateway.receive("anyone") for _ in range(3)]
    assert first.add(600_000) == 600_000 and second.add(400_000) == 400_000
    assert third.add(60_000) == 60_000
    with pytest.raises(Refused) as caught:
        third.add(60_000)
    assert caught.value.status == 503 and caught.value.retry_after == 1
    for receipt in receipts:
        receipt.release()
    assert gateway.receive("anyone").add(1_000_000) == 1_000_000
