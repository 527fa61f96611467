"""A visitor's file reads the same in the page as in `dynanoise audit`, or is refused by both."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from dynanoise.audits.outputs_file import read_outputs
from dynanoise.core.errors import DynaNoiseError
from tests.web.javascript import JavaScript, agree, buffer, call

Array = npt.NDArray[Any]


def good(records: int = 100, classes: int = 3) -> dict[str, Array]:
    """Columns of one model that no check refuses."""
    generator = np.random.default_rng(0)
    rows = np.exp(generator.normal(0, 3, (records, classes)))
    labels = generator.integers(0, classes, records)
    labels[:3] = 0, 1, 2
    probs = rows / rows.sum(axis=1, keepdims=True)
    return {"probs": probs, "labels": labels, "member": np.arange(records) % 2}


def probabilities(records: int = 100, classes: int = 3) -> Array:
    return good(records, classes)["probs"]


def csv(names: str, rows: Array, end: str = "\n") -> bytes:
    lines = [names, *(",".join(f"{value:.17g}" for value in row) for row in rows)]
    return (end.join(lines) + end).encode()


def table(columns: str = "p0,p1,p2,label,member", **changes: Array) -> bytes:
    made = {**good(), **changes}
    return csv(columns, np.column_stack([made["probs"], made["labels"], made["member"]]))


def read(js: JavaScript, name: str, raw: bytes) -> Any:
    return js.values([call("outputs.readOutputs", name, buffer(raw))])[0]


def refusal(js: JavaScript, name: str, raw: bytes) -> dict[str, str]:
    found = js.answers([call("outputs.readOutputs", name, buffer(raw))])[0]
    assert "refused" in found, "the page takes it"
    refused: dict[str, str] = found["refused"]
    assert refused["problem"].endswith(".") and refused["remedy"].endswith((".", "?", ").", "!"))
    return refused


def compare(js: JavaScript, path: Path, raw: bytes) -> None:
    """The same columns from both readers."""
    path.write_bytes(raw)
    expected, found = read_outputs(path), read(js, path.name, raw)
    assert [1, found["records"], found["classes"]] == list(expected.logits.shape)
    agree(np.log(found["probs"]).tolist(), expected.logits.astype(np.float64).ravel().tolist())
    assert found["labels"] == expected.labels.tolist()
    assert found["member"] == expected.member.ravel().tolist()


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


def changed(name: str, place: int, value: float) -> Array:
    column = good()[name].astype(float)
    column[place] = value
    return column


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
    "no probabilities": csv("p0,p1,p2,label,member", np.log(probabilities()) @ np.ones((3, 5))),
    "few": b"\n".join(table().split(b"\n")[:31]),
    "above 1": table(probs=probabilities() * 2),
    "a sum": table(probs=probabilities() * 0.9),
    "a fraction": table(labels=changed("labels", 4, 0.5)),
    "labels from 1": table(labels=good()["labels"] + 1),
    "a large label": table(labels=changed("labels", 4, 7)),
    "a negative label": table(labels=changed("labels", 4, -1)),
    "member 2": table(member=changed("member", 4, 2)),
    "a fraction of member": table(member=changed("member", 5, 0.25)),
    "exchanged flags": csv(
        "p0,p1,label,member",
        np.column_stack(
            [
                np.where(np.eye(2)[good()["member"]], 0.95, 0.05),
                np.arange(100) // 2 % 2,
                good()["member"],
            ]
        ),
    ),
    "only members": table(member=np.ones(100, int)),
    "only unknown": table(member=-np.ones(100, int)),
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


def test_a_table_that_is_too_much_for_a_page(js: JavaScript) -> None:
    """300 numbers of 100 records fit where 500 do; 100 records of 5 columns are one too many."""
    raw = table()
    [found] = js.answers([call("csv.readCsv", "a.csv", buffer(raw), 499)])
    assert "more than 499 numbers, which is too much" in found["refused"]["problem"]
    assert "dynanoise audit" in found["refused"]["remedy"]
    [found] = js.answers([call("csv.readCsv", "a.csv", buffer(raw), 500)])
    assert found["value"]["records"] == 100


@pytest.mark.parametrize("name", ["a.npz", "a.parquet", "a.txt", "a"])
def test_other_formats_are_left_to_the_command(js: JavaScript, name: str) -> None:
    refused = refusal(js, name, b"")
    assert f"ends in {name[1:] or 'nothing'}." in refused["problem"]
    assert "`dynanoise audit FILE` reads .npz and .parquet" in refused["remedy"]
