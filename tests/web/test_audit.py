"""The page's audit is the loss attack of the package, on all records of known membership."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dynanoise.attacks import statistics
from dynanoise.core import numerics
from dynanoise.metrics.roc import auc_error, roc
from tests.factories.commands import run
from tests.web.build_vectors import delong
from tests.web.javascript import JavaScript, agree, buffer, call


def table(records: int, classes: int, seed: int) -> tuple[bytes, Any, Any, Any]:
    """CSV, and its probabilities, labels and membership, of a model that remembers a little."""
    generator = np.random.default_rng(seed)
    logits = generator.normal(0, 2, (records, classes))
    labels = generator.integers(0, classes, records)
    member = generator.integers(0, 2, records)
    logits[np.arange(records), labels] += 1 + 1.5 * member
    member[::20] = -1
    probs = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    head = ",".join([*(f"p{k}" for k in range(classes)), "label", "member"])
    lines = [
        ",".join([*map(repr, row.tolist()), str(label), str(use)])
        for row, label, use in zip(probs, labels, member, strict=True)
    ]
    return "\n".join([head, *lines]).encode(), probs, labels, member


@pytest.mark.parametrize(("records", "classes", "seed"), [(240, 4, 0), (240, 2, 5), (4600, 3, 1)])
def test_every_number_is_that_of_the_package(
    js: JavaScript, records: int, classes: int, seed: int
) -> None:
    raw, probs, labels, member = table(records, classes, seed)
    log_probs = numerics.log_softmax(numerics.log_probabilities(probs))
    [found] = js.values([call("test.logProbs", "a.csv", buffer(raw))])
    agree(found, log_probs.ravel().tolist())
    known = member >= 0
    scores = statistics.STATISTICS["loss"](log_probs, labels)[known]
    truth = member[known] == 1
    curve = roc(scores, truth)
    [audit] = js.values([call("test.audit", "a.csv", buffer(raw))])
    value, low, high = delong(scores, truth)
    agree(audit["auc"], {"value": curve.auc, "low": low, "high": high})
    assert value == pytest.approx(curve.auc, abs=1e-12)
    assert audit["roc"]["members"] == truth.sum() and audit["roc"]["nonMembers"] == (~truth).sum()
    assert audit["tprAt"]["0.001"] is None
    if (~truth).sum() < 1000:
        assert audit["tprAt"]["0.01"] is None
    else:
        agree(audit["tprAt"]["0.01"], float(curve.tpr_at(0.01)))


def test_a_model_that_remembers_nothing_is_seldom_accused(js: JavaScript) -> None:
    """95% intervals begin above 0.5 in 2.5% of all cases, which is 5 of these 200."""
    generator = np.random.default_rng(7)
    lows = []
    for _ in range(200):
        probs = generator.dirichlet(np.ones(3), 100)
        lines = [
            ",".join([*map(repr, row.tolist()), str(i % 3), str(i // 3 % 2)])
            for i, row in enumerate(probs)
        ]
        raw = "\n".join(["p0,p1,p2,label,member", *lines]).encode()
        [audit] = js.values([call("test.audit", "a.csv", buffer(raw))])
        lows.append(audit["auc"]["low"])
    accused = sum(low > 0.5 for low in lows)
    assert accused < 11 and math.isfinite(sum(lows))


def test_inverted_membership_is_pointed_out(js: JavaScript) -> None:
    """The page would else say that nothing leaks."""
    raw, *_ = table(400, 3, 2)
    [audit] = js.values([call("test.audit", "a.csv", buffer(raw))])
    assert audit["inverted"] is False and audit["auc"]["low"] > 0.5
    head, *rows = raw.decode().splitlines()
    other = {"0": "1", "1": "0", "-1": "-1"}
    turned = [f"{row.rpartition(',')[0]},{other[row.rpartition(',')[2]]}" for row in rows]
    [audit] = js.values([call("test.audit", "a.csv", buffer("\n".join([head, *turned]).encode()))])
    assert audit["inverted"] is True and audit["auc"]["high"] < 0.4


def turned(raw: bytes, share: float, seed: int = 0) -> bytes:
    """The same file with some of the membership exchanged."""
    generator = np.random.default_rng(seed)
    head, *rows = raw.decode().splitlines()
    other = {"0": "1", "1": "0", "-1": "-1"}
    cells = [row.rpartition(",") for row in rows]
    kept = [use if generator.random() >= share else other[use] for _, _, use in cells]
    lines = [f"{row},{use}" for (row, _, _), use in zip(cells, kept, strict=True)]
    return "\n".join([head, *lines]).encode()


FILES = {
    "a large leak": table(900, 4, 3)[0],
    "two classes": table(240, 2, 5)[0],
    "few records": table(100, 10, 6)[0],
    "a small leak": turned(table(2000, 3, 4)[0], 0.4),
    "no leak": turned(table(900, 4, 3)[0], 0.5),
    "no leak, few records": turned(table(110, 3, 9)[0], 0.5),
    "inverted": turned(table(900, 4, 3)[0], 1.0),
    "nearly inverted": turned(table(400, 3, 8)[0], 0.7),
}


@pytest.mark.behaviour
@pytest.mark.parametrize("name", FILES)
def test_page_and_command_have_one_headline(js: JavaScript, name: str, tmp_path: Path) -> None:
    (tmp_path / "outputs.csv").write_bytes(FILES[name])
    [headline] = js.values([call("test.headline", "outputs.csv", buffer(FILES[name]))])
    found = run("audit", str(tmp_path / "outputs.csv"), "--attack", "loss")
    assert found.exit_code == 0, found.output
    printed = " ".join(found.stdout.split())
    area = headline.partition(": ")[2]
    inverted = f"WARNING: {headline} by the loss attack"
    alone = f"\N{BULLET} By the loss attack alone: {area} on all"
    assert [text in printed for text in (inverted, alone)] == (
        [True, False] if headline.startswith("Members have higher") else [False, True]
    )
    warned, verdict = printed.find("WARNING: Members"), printed.index("Verdict:")
    assert warned < verdict


def test_the_files_have_every_headline(js: JavaScript) -> None:
    found = js.values([call("test.headline", "o.csv", buffer(raw)) for raw in FILES.values()])
    leads = dict(zip(FILES, (text.split(":")[0] for text in found), strict=True))
    assert leads["a large leak"] == leads["a small leak"] == "This model reveals membership"
    assert leads["no leak"] == leads["no leak, few records"] == "No leak was measured"
    assert leads["inverted"] == "Members have higher losses than non-members"


@pytest.mark.parametrize("decimals", [0, 1, 8])
def test_the_standard_error_is_that_of_all_pairs(decimals: int) -> None:
    generator = np.random.default_rng(decimals)
    scores = generator.normal(0, 1, 130).round(decimals)
    members = generator.random(130) < 0.4
    value, _, high = delong(scores, members)
    assert auc_error(scores, members) == pytest.approx((high - value) / 1.959963984540054)
