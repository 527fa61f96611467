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


def text(**columns: Any) -> str:
    """The table with other cells in some columns, as text."""
    frame = {f"p{k}": probabilities()[:, k] for k in range(3)}
    frame |= {"label": good()["labels"], "member": good()["member"], **columns}
    rows = zip(*frame.values(), strict=True)
    return "\n".join([",".join(frame), *(",".join(map(str, row)) for row in rows)]) + "\n"


def quote(raw: bytes) -> bytes:
    return b'"' + raw.replace(b",", b'","').replace(b"\n", b'"\n"')[:-1]


TRUTH = np.array(["false", "True"])[good()["member"]]
NAMES = np.array(["bird", "cat", "dog"])[good()["labels"]]
SEMICOLONS = table().replace(b",", b";")

DIALECTS: dict[str, bytes] = {
    "a byte order mark": b"\xef\xbb\xbf" + table(),
    "a byte order mark and quotes": b"\xef\xbb\xbf" + quote(table()),
    "utf-16": table().decode().encode("utf-16"),
    "quotes": quote(table()),
    "one quoted cell": table().replace(b"\n", b'\n"0.5",0.25,0.25,0,1\n', 1),
    "zero-padded names": table("p00,p01,p02,label,member"),
    "names padded to several lengths": table("p0,p01,p002,label,member"),
    "names in capitals": table("P0,P1,P2,Label,MEMBER"),
    "labels": table("p0,p1,p2,labels,member"),
    "class": table("p0,p1,p2,class,member"),
    "booleans": text(member=TRUTH).encode(),
    "texts as labels": text(label=NAMES).encode(),
    "quoted texts": text(label=[f'"{name}"' for name in NAMES]).encode(),
    "semicolons": SEMICOLONS,
    "semicolons and decimal commas": SEMICOLONS.replace(b".", b","),
    "a line that names the separator": b"sep=;\r\n" + SEMICOLONS,
    "tabs": table().replace(b",", b"\t"),
    "bars": table().replace(b",", b"|"),
    "an index": csv(
        ",p0,p1,p2,label,member",
        np.column_stack([np.arange(100), probabilities(), good()["labels"], good()["member"]]),
    ),
    "an index that was read again": csv(
        "Unnamed: 0,p0,p1,p2,label,member",
        np.column_stack([np.arange(100), probabilities(), good()["labels"], good()["member"]]),
    ),
    "empty lines before the names": b"\n \n" + table(),
}


@pytest.mark.parametrize("kind", DIALECTS)
def test_every_dialect_is_read_alike(js: JavaScript, tmp_path: Path, kind: str) -> None:
    compare(js, tmp_path / "a.csv", DIALECTS[kind])
    assert read_outputs(tmp_path / "a.csv").logits.shape[1] in (100, 101)


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
    "label and labels": csv(
        "p0,p1,p2,label,labels,member",
        np.column_stack([probabilities(), good()["labels"], good()["labels"], good()["member"]]),
    ),
    "a column twice by its number": table("p0,p00,p01,label,member"),
    "a column twice but for capitals": table("p0,P0,p1,label,member"),
    "a first column of fractions without a name": csv(
        ",p0,p1,p2,label,member",
        np.column_stack([np.arange(100) / 8, probabilities(), good()["labels"], good()["member"]]),
    ),
    "independent sigmoids": table(probs=np.random.default_rng(3).random((100, 3))),
    "percentages": table(probs=100 * probabilities()),
    "a text among numbers": text(label=["0", "1", "two", *good()["labels"][3:]]).encode(),
    "too few texts": text(label=np.where(NAMES == "cat", "dog", NAMES)).encode(),
    "a missing text": text(label=["bird", "", "dog", *NAMES[3:]]).encode(),
    "a missing label": table(labels=changed("labels", 7, np.nan)),
    "a missing member": table(member=changed("member", 7, np.nan)),
    "a word as member": text(member=["in", *TRUTH[1:]]).encode(),
    "decimal commas and points": SEMICOLONS.replace(b".", b",", 9),
    "an identifier": table("p0,p1,id,label,member"),
    "another separator": b"sep=:\n" + table().replace(b",", b":"),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_table_is_refused_by_both(js: JavaScript, tmp_path: Path, kind: str) -> None:
    path = tmp_path / "some.csv"
    path.write_bytes(BROKEN[kind])
    refused = refusal(js, "some.csv", BROKEN[kind])
    with pytest.raises(DynaNoiseError) as error:
        read_outputs(path)
    assert refused["problem"] == error.value.problem.replace(str(path), "some.csv")
    column = {"unknown": "weight", "an identifier": "id"}.get(kind)
    known = " Known: p0, p1, ..., label, member."
    # The command proposes options that name persons and groups, which the page has not.
    assert refused["remedy"] == (f"Leave {column} out.{known}" if column else error.value.remedy)
    assert error.value.remedy.endswith(known) or not column


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
