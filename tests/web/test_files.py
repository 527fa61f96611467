"""A user's file says the same to the page as to `dynanoise audit`, or is refused by both."""

from __future__ import annotations

import io
import struct
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from dynanoise.audits.inputs import check_inputs
from dynanoise.audits.outputs_file import read_outputs
from dynanoise.core.errors import DynaNoiseError
from tests.web.javascript import JavaScript, agree, buffer, call

Array = npt.NDArray[Any]


def good(records: int = 100, classes: int = 3, **changes: Any) -> dict[str, Any]:
    """Arrays of one model that nobody refuses."""
    generator = np.random.default_rng(0)
    logits = generator.normal(0, 3, (records, classes))
    labels = generator.integers(0, classes, records)
    labels[:3] = 0, 1, 2
    member = np.arange(records) % 2
    made = {"logits": logits, "labels": labels, "member": member}
    return {name: value for name, value in {**made, **changes}.items() if value is not None}


def probabilities(records: int = 100, classes: int = 3) -> Array:
    rows = np.exp(good(records, classes)["logits"])
    return np.asarray(rows / rows.sum(axis=1, keepdims=True))


def npz(arrays: dict[str, Any], compressed: bool = False) -> bytes:
    file = io.BytesIO()
    (np.savez_compressed if compressed else np.savez)(file, **arrays)
    return file.getvalue()


def csv(names: str, rows: Array, end: str = "\n") -> bytes:
    lines = [names, *(",".join(f"{value:.17g}" for value in row) for row in rows)]
    return (end.join(lines) + end).encode()


def table(columns: str = "p0,p1,p2,label,member") -> bytes:
    made = good()
    rows = np.column_stack([probabilities(), made["labels"], made["member"]])
    return csv(columns, rows)


def read(js: JavaScript, name: str, raw: bytes) -> Any:
    return js.values([call("given.readFile", name, buffer(raw))])[0]


def refusal(js: JavaScript, name: str, raw: bytes) -> dict[str, str]:
    found = js.answers([call("given.readFile", name, buffer(raw))])[0]
    assert "refused" in found, "the page takes it"
    refused: dict[str, str] = found["refused"]
    assert refused["problem"].endswith(".") and refused["remedy"].endswith((".", "?", ").", "!"))
    return refused


def compare(js: JavaScript, path: Path, raw: bytes) -> None:
    """The same arrays from both readers."""
    path.write_bytes(raw)
    expected, found = read_outputs(path), read(js, path.name, raw)
    assert [found["models"], found["records"], found["classes"]] == list(expected.logits.shape)
    agree(found["logits"], expected.logits.astype(np.float64).ravel().tolist())
    assert found["labels"] == expected.labels.tolist()
    assert found["member"] == expected.member.ravel().tolist()
    tests = len(expected.test_labels)
    assert (found["test"] is None) == (tests == 0)
    if tests:
        agree(found["test"]["logits"], expected.test_logits.astype(float).ravel().tolist())
        assert found["test"]["labels"] == expected.test_labels.tolist()


# --- npz -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("dtype", ["<f2", ">f2", "<f4", ">f4", "<f8", ">f8"])
def test_floats_of_any_size_and_byte_order(
    js: JavaScript, tmp_path: Path, dtype: str, compressed: bool
) -> None:
    arrays = good(logits=good()["logits"].astype(dtype))
    compare(js, tmp_path / "a.npz", npz(arrays, compressed))


@pytest.mark.parametrize("dtype", ["i1", "u1", ">i2", "u2", "<i4", "u4", "<i8", ">i8", "u8", "f4"])
def test_whole_numbers_of_any_kind(js: JavaScript, tmp_path: Path, dtype: str) -> None:
    arrays = good(labels=good()["labels"].astype(dtype), member=good()["member"].astype(bool))
    compare(js, tmp_path / "a.npz", npz(arrays))


def test_several_models_in_fortran_order_with_test_data(js: JavaScript, tmp_path: Path) -> None:
    logits = np.random.default_rng(1).normal(0, 2, (3, 100, 4))
    member = np.random.default_rng(2).permuted(np.tile([0, 1], (3, 50)), axis=1)
    member[:, :9] = -1
    labels = np.arange(100) % 4
    tests = {"test_probs": np.full((3, 5, 4), 0.25), "test_labels": np.arange(5) % 4}
    arrays = {"logits": logits, "labels": labels, "member": member, **tests}
    compare(js, tmp_path / "a.npz", npz(arrays, compressed=True))
    turned = {name: np.asfortranarray(value) for name, value in arrays.items()}
    assert turned["logits"].flags.f_contiguous
    compare(js, tmp_path / "a.npz", npz(turned))


def test_probabilities_and_the_name_label(js: JavaScript, tmp_path: Path) -> None:
    probs = probabilities().astype(np.float16)
    probs[0] = 1, 0, 0
    arrays = good(logits=None, probs=probs)
    arrays["label"] = arrays.pop("labels")
    compare(js, tmp_path / "a.npz", npz(arrays))


def test_float16_bit_by_bit(js: JavaScript) -> None:
    """Every finite float16, subnormal ones and -0 too; infinity and NaN are refused by name."""
    every = np.arange(2**16, dtype=np.uint16).view(np.float16)
    finite = every[np.isfinite(every)]
    raw = npz({"logits": finite})
    found = js.values([call("npz.readNpz", "a.npz", buffer(raw))])[0]["logits"]
    assert found["dtype"] == "float16" and found["shape"] == [len(finite)]
    assert found["values"] == finite.astype(float).tolist()


@pytest.mark.parametrize("version", [(1, 0), (2, 0), (3, 0)])
def test_headers_of_every_version(js: JavaScript, version: tuple[int, int]) -> None:
    file, inner = io.BytesIO(), io.BytesIO()
    np.lib.format.write_array(inner, np.arange(6.0).reshape(2, 3), version=version)
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("probs.npy", inner.getvalue())
    found = js.values([call("npz.readNpz", "a.npz", buffer(file.getvalue()))])[0]
    assert found == {"probs": {"dtype": "float64", "shape": [2, 3], "values": [0, 1, 2, 3, 4, 5]}}


def member_file(name: str, header: str, body: bytes = b"") -> bytes:
    """An npz with one hand-made member."""
    file = io.BytesIO()
    raw = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header.encode() + body
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr(name, raw)
    return file.getvalue()


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (b"", "it is no zip archive"),
        (b"PK not a zip" * 100, "it is no zip archive"),
        (npz(good())[:-30], "no zip archive, or its end is missing"),
        (npz({"labels": np.array(["a", "b"])}), "dtype <U1"),
        (npz({"labels": np.array([{}], dtype=object)}), "takes pickle"),
        (npz({"labels": np.zeros(3, [("a", "f8")])}), "of several fields"),
        (npz({"labels": np.zeros(3, "c16")}), "dtype <c16"),
        (member_file("probs.npy", "__import__('os')"), "its header"),
        (member_file("probs.npy", "{'descr': '<f8', 'shape': (3,)}"), "its header"),
        (
            member_file("probs.npy", "{'descr': '<f8', 'fortran_order': False, 'shape': (3,), }"),
            "0 bytes for 3 numbers",
        ),
        (
            member_file(
                "probs.npy", "{'descr': '<f8', 'fortran_order': False, 'shape': (9999999,9999), }"
            ),
            "99989990001 numbers",
        ),
        (member_file("probs", "{}"), "its header"),
        (npz({"logit": np.zeros(3)}), "Did you mean 'logits'?"),
        (npz({"x": np.zeros(3)}), "the unknown 'x' among its arrays"),
    ],
)
def test_what_is_no_npz_of_numbers_is_a_sentence(js: JavaScript, raw: bytes, said: str) -> None:
    assert said in refusal(js, "some.npz", raw)["message"]


def test_damaged_and_dishonest_archives(js: JavaScript) -> None:
    whole = bytearray(npz(good()))
    whole[300] ^= 1
    assert "checksum" in refusal(js, "a.npz", bytes(whole))["message"]
    packed = bytearray(npz(good(), compressed=True))
    packed[120] ^= 255
    assert "npz" in refusal(js, "a.npz", bytes(packed))["message"]
    # 64 MiB of zeros in 64 KiB, which claim to be 400 bytes: no more than that is unpacked.
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("logits.npy", bytes(2**26))
    bomb = file.getvalue()
    place = bomb.rindex(b"PK\x01\x02") + 24
    lying = bomb[:place] + struct.pack("<I", 400) + bomb[place + 4 :]
    assert "does not unpack to the size" in refusal(js, "a.npz", lying)["message"]
    found = js.answers([call("npz.readNpz", "a.npz", buffer(bomb), 1000)])[0]["refused"]
    assert "64 MiB for logits, which is too much" in found["problem"]


def test_arrays_that_are_too_much_together(js: JavaScript) -> None:
    """600 numbers fit where 1,000 do; twice 600 do not, whether large bytes or small ones."""
    for dtype in ("f8", "i1"):
        raw = npz({"labels": np.zeros(600, dtype), "member": np.zeros(600, dtype)})
        [found] = js.answers([call("npz.readNpz", "a.npz", buffer(raw), 1000)])
        assert "600 numbers, and 400 fit" in found["refused"]["problem"]


def test_an_encrypted_archive(js: JavaScript) -> None:
    raw = bytearray(npz(good()))
    place = raw.rindex(b"PK\x01\x02") + 8
    first = raw.index(b"PK\x01\x02") + 8
    raw[first] |= 1
    raw[place] |= 1
    assert "encrypted" in refusal(js, "a.npz", bytes(raw))["problem"]


# --- csv -----------------------------------------------------------------------------------------


def test_a_table(js: JavaScript, tmp_path: Path) -> None:
    compare(js, tmp_path / "a.csv", table())
    compare(js, tmp_path / "a.csv", table().replace(b"\n", b"\r\n"))
    compare(js, tmp_path / "a.csv", table().replace(b"\n", b"\n\n").rstrip())
    compare(js, tmp_path / "a.csv", table().replace(b",", b" , "))
    compare(js, tmp_path / "a.csv", table('"p0","p1",p2,"label", member'))
    mixed = np.column_stack([good()["member"], probabilities()[:, ::-1], good()["labels"]])
    compare(js, tmp_path / "a.csv", csv("member,p2,p1,p0,label", mixed))


def test_a_table_with_a_byte_order_mark(js: JavaScript) -> None:
    """As spreadsheets write it."""
    assert read(js, "a.csv", b"\xef\xbb\xbf" + table())["records"] == 100


BROKEN: dict[str, bytes] = {
    "nothing": b"",
    "numbers first": table().split(b"\n", 1)[1],
    "a word": table().replace(b"\n", b"\nhello,0,0,0,0\n", 1),
    "hexadecimal": table().replace(b"\n", b"\n0x1,0,0,0,0\n", 1),
    "an empty cell": table().replace(b"\n", b"\n,0.5,0.5,0,0\n", 1),
    "nan": table().replace(b"\n", b"\nnan,0.5,0.5,0,0\n", 1),
    "inf": table().replace(b"\n", b"\n-inf,0.5,0.5,0,0\n", 1),
    "a short row": table().replace(b"\n", b"\n1,0,0,0\n", 1),
    "a long row": table().replace(b"\n", b"\n1,0,0,0,1,1\n", 1),
    "a quoted cell": table().replace(b"\n", b'\n"1",0,0,0,1\n', 1),
    "a column twice": table("p0,p1,p1,label,member"),
    "a gap": table("p0,p1,p3,label,member"),
    "one class": csv("p0,label,member", np.ones((100, 3))),
    "misspelled": table("p0,p1,p2,lable,member"),
    "unknown": table("p0,p1,p2,label,weight"),
    "no label": csv("p0,p1,p2,member", np.column_stack([probabilities(), good()["member"]])),
    "no member": csv("p0,p1,p2,label", np.column_stack([probabilities(), good()["labels"]])),
    "latin-1": table().replace(b"member", "membr\xe9".encode("latin-1"), 1),
    "exchanged": table("p0,p1,p2,member,label"),
    "a label among the probabilities": table("p0,p1,label,p2,member"),
    "no probabilities": csv("p0,p1,p2,label,member", good(100)["logits"] @ np.ones((3, 5))),
    "few": b"\n".join(table().split(b"\n")[:31]),
}


CELLS = {"a word", "hexadecimal", "a quoted cell", "a short row", "a long row", "latin-1"}
"""What numpy and Python say of these is theirs; all else is word for word the same."""


@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_table_is_refused_by_both(js: JavaScript, tmp_path: Path, kind: str) -> None:
    path = tmp_path / "some.csv"
    path.write_bytes(BROKEN[kind])
    refused = refusal(js, "some.csv", BROKEN[kind])
    with pytest.raises(DynaNoiseError) as error:
        read_outputs(path)
    if kind in CELLS:
        assert "some.csv" in refused["problem"] and "line 2" in refused["problem"] + " line 2" * (
            kind == "latin-1"
        )
        return
    assert refused["problem"] == error.value.problem.replace(str(path), "some.csv")
    assert refused["remedy"] == error.value.remedy


def test_a_table_without_records(js: JavaScript) -> None:
    problem = refusal(js, "some.csv", b"p0,p1,label,member\n")["problem"]
    assert problem == "Model 0 has no members among 0 records."


def test_other_endings(js: JavaScript) -> None:
    for name, said in (("a.txt", "ends in .txt"), ("a", "ends in nothing")):
        assert said in refusal(js, name, b"")["problem"]
    assert "reads parquet" in refusal(js, "a.parquet", b"")["remedy"]


# --- what does not fit together ------------------------------------------------------------------


def rows(**changes: Any) -> dict[str, Any]:
    return good(**changes)


def odd(name: str, place: Any, value: float) -> dict[str, Any]:
    arrays = good()
    arrays[name] = arrays[name].astype(float)
    arrays[name][place] = value
    return arrays


UNFIT: dict[str, dict[str, Any]] = {
    "nothing said": rows(logits=None),
    "both": rows(probs=probabilities()),
    "no labels": rows(labels=None),
    "no member": rows(member=None),
    "integers": rows(logits=good()["logits"].astype(int)),
    "one axis": rows(logits=np.zeros(100)),
    "four axes": rows(logits=np.zeros((1, 1, 100, 3))),
    "one class": rows(logits=np.zeros((100, 1))),
    "nan": odd("logits", (7, 2), np.nan),
    "inf": odd("logits", (7, 2), -np.inf),
    "probabilities as logits": rows(logits=probabilities()),
    "logits as probabilities": rows(logits=None, probs=good()["logits"]),
    "above 1": rows(logits=None, probs=probabilities() * 2),
    "a sum": rows(logits=None, probs=probabilities() * 0.9),
    "a fraction": odd("labels", 4, 0.5),
    "labels of others": rows(labels=good()["labels"][:-1]),
    "labels from 1": rows(labels=good()["labels"] + 1),
    "a large label": odd("labels", 4, 7),
    "a negative label": odd("labels", 4, -1),
    "member of others": rows(member=good()["member"][:-1]),
    "member 2": odd("member", 4, 2),
    "member [2, N]": rows(member=np.tile(good()["member"], (2, 1))),
    "a fraction of member": odd("member", 5, 0.25),
    "exchanged": rows(labels=good()["member"], member=good()["labels"]),
    "exchanged flags": rows(
        logits=np.eye(2)[good()["member"]] * 3.0, labels=np.arange(100) // 2 % 2
    ),
    "few": {name: value[:70] for name, value in good().items()},
    "only members": rows(member=np.ones(100, int)),
    "only unknown": rows(member=-np.ones(100, int)),
    "tests without labels": rows(test_logits=np.zeros((4, 3))),
    "labels without tests": rows(test_labels=np.zeros(4, int)),
    "tests of other classes": rows(test_logits=np.zeros((4, 2)), test_labels=np.zeros(4, int)),
    "both tests": rows(
        test_logits=np.zeros((4, 3)), test_probs=np.ones((4, 3)) / 3, test_labels=np.zeros(4, int)
    ),
    "test labels": rows(test_logits=np.zeros((4, 3)), test_labels=np.full(4, 3)),
}


@pytest.mark.parametrize("kind", UNFIT)
def test_what_does_not_fit_is_refused_in_the_same_words(js: JavaScript, kind: str) -> None:
    arrays = UNFIT[kind]
    with pytest.raises(DynaNoiseError) as error:
        check_inputs("some", **arrays)
    refused = refusal(js, "some.npz", npz(arrays))
    assert refused["problem"] == error.value.problem
    assert refused["remedy"] == error.value.remedy
    assert refused["name"] == type(error.value).__name__


def test_answers_of_no_model(js: JavaScript) -> None:
    arrays = rows(logits=np.zeros((0, 100, 3)), member=np.zeros((0, 100), int))
    assert "of no model" in refusal(js, "a.npz", npz(arrays))["problem"]
