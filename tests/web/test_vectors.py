"""The page's formulas agree with the package's, on committed vectors."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dynanoise.core import numerics
from dynanoise.defenses.dynanoise import DynaNoise
from dynanoise.noise.cells import Grid
from tests.web import build_vectors
from tests.web.javascript import LIB, JavaScript, agree, call

KEYED = Path(__file__).parent.parent / "noise" / "vectors"
NAMES = {
    "base_variance": "baseVariance",
    "lambda_scale": "lambdaScale",
    "temperature": "temperature",
    "samples": "samples",
    "sensitivity": "sensitivity",
    "keep_label": "keepLabel",
}


def load(name: str) -> Any:
    return json.loads((build_vectors.FOLDER / name).read_text())


def known(name: str) -> Any:
    return json.loads((KEYED / name).read_text())


def parameters(given: dict[str, Any]) -> dict[str, Any]:
    return {NAMES[name]: value for name, value in given.items()}


@pytest.mark.parametrize("name", build_vectors.FILES)
def test_the_vectors_are_what_the_package_says_today(name: str) -> None:
    agree(load(name), json.loads(build_vectors.text(build_vectors.FILES[name]())), where=name)


def test_every_module_is_short_and_asks_nobody() -> None:
    files = sorted(LIB.glob("*.js"))
    assert len(files) >= 14
    for file in files:
        text = file.read_text()
        assert len(text.splitlines()) < 300, file.name
        for word in (
            "eval(",
            "Function(",
            "fetch(",
            "XMLHttp",
            "document",
            "window",
            "Math.random",
        ):
            assert word not in text, (file.name, word)


# --- formulas ------------------------------------------------------------------------------------


def test_softmax_and_entropy(js: JavaScript) -> None:
    vectors = load("formulas.json")
    for name in ("softmax", "log_softmax"):
        function = {"softmax": "softmax", "log_softmax": "logSoftmax"}[name]
        temperatures = [str(t) for t in build_vectors.TEMPERATURES]
        found = js.values(
            call(f"numerics.{function}", one["logits"], float(t))
            for one in vectors
            for t in temperatures
        )
        expected = [one[name][t] for one in vectors for t in temperatures]
        agree(found, expected, relative=True, where=name)
    logs = [one["log_softmax"]["1.0"] for one in vectors]
    agree(
        js.values(call("numerics.entropy", row) for row in logs),
        [one["entropy"] for one in vectors],
    )
    centred = js.values(call("numerics.centred", row) for row in logs)
    agree(centred, [one["centred"] for one in vectors])
    undone = js.values(call("dynanoise.undo", row, 0.1) for row in logs)
    agree(undone, [one["undo"] for one in vectors])


@pytest.mark.parametrize("name", ["entropy", "max_probability", "margin"])
def test_sensitivity(js: JavaScript, name: str) -> None:
    vectors = load("formulas.json")
    found = js.values(call("dynanoise.sensitivity", one["logits"], name) for one in vectors)
    agree(found, [one["sensitivity"][name] for one in vectors])


def test_entropy_stays_in_its_bounds(js: JavaScript) -> None:
    """Rounding takes neither uniform nor certain answers beyond them."""
    uniform = [[-math.log(k)] * k for k in range(2, 120)]
    found = js.values(call("numerics.entropy", row) for row in uniform)
    assert all(nats <= math.log(k) for k, nats in enumerate(found, start=2))
    assert js.values([call("numerics.entropy", [1e-16, -800.0])]) == [0]


def test_a_tie_goes_to_the_winner_by_one_unit_in_the_last_place(js: JavaScript) -> None:
    rows = [[0.5, 0.5], [0.25, 0.25, 0.5], [0.0, 0.0], [0.2, 0.8]]
    found = js.values(call("numerics.favour", row, 1) for row in rows)
    expected = [numerics.favour(np.array([row]), np.array([1]))[0].tolist() for row in rows]
    assert found == expected and found[0][1] == np.nextafter(0.5, 1)
    # So hot that the answer rounds to equal numbers: the label is that of the noisy logits.
    hot = {"temperature": 1e17}
    for normals in ([0.0, 3.0], [3.0, 0.0]):
        [answer] = js.values([call("dynanoise.answer", [0.1, 0.0], hot, normals)])
        assert abs(answer[0] - answer[1]) < 1e-15
        assert np.argmax(answer) == np.argmax(normals)


def test_answers_and_their_variance(js: JavaScript) -> None:
    vectors = load("defended.json")
    for one in vectors:
        one["set"] = parameters(one["parameters"])
    found = js.values(call("dynanoise.variance", one["logits"], one["set"]) for one in vectors)
    agree(found, [one["variance"] for one in vectors])
    for key in ("answer", "of_base"):
        found = js.values(
            call(
                "dynanoise.answer",
                one["logits"],
                one["set"],
                one["normals"],
                *([one["base"]] if key == "of_base" else []),
            )
            for one in vectors
        )
        agree(found, [one[key] for one in vectors], relative=True, where=key)
        # Also where rounding makes a tie, the label is the same.
        labels = [one[key].index(max(one[key])) for one in vectors]
        assert [row.index(max(row)) for row in found] == labels


def test_label_flips_of_one_sample(js: JavaScript) -> None:
    vectors = load("flips.json")
    calls = [
        call("flips.flipProbability", one["logits"], parameters(one["parameters"]))
        for one in vectors
    ]
    found = js.values(calls)
    assert all(one["exact"] for one in found) and len(found) > 25
    agree([one["value"] for one in found], [one["value"] for one in vectors], relative=True)


def test_statistics_of_attacks(js: JavaScript) -> None:
    vectors = load("statistics.json")
    found = js.values(
        call("attacks.loss", row, label)
        for one in vectors
        for row, label in zip(one["log_probs"], one["labels"], strict=True)
    )
    agree(found, [value for one in vectors for value in one["values"]["loss"]])


def test_curves_and_intervals(js: JavaScript) -> None:
    vectors = load("curves.json")
    arguments = [(one["scores"], one["members"]) for one in vectors]
    curves = js.values(call("roc.roc", *both) for both in arguments)
    for curve, one in zip(curves, vectors, strict=True):
        agree(curve["auc"], one["auc"])
        assert curve["members"] == sum(one["members"]) and curve["thresholds"][0] == float("inf")
        if one["fpr"] is not None:
            agree([curve["fpr"], curve["tpr"]], [one["fpr"], one["tpr"]])
        rates = [float(fpr) for fpr in one["tpr_at"]]
        curve["thresholds"] = []
        said = js.answers(call("roc.tprAt", curve, fpr) for fpr in rates)
        found = [a["value"] if "value" in a else a["refused"]["message"] for a in said]
        agree(found, list(one["tpr_at"].values()))
        assert {a["refused"]["name"] for a in said if "refused" in a} <= {"TooFewRecordsError"}
    large = [(both, one) for both, one in zip(arguments, vectors, strict=True) if one["delong"]]
    found = js.values(call("roc.delong", *both) for both, _ in large)
    agree([list(one.values()) for one in found], [one["delong"] for _, one in large])


def test_averaging(js: JavaScript) -> None:
    vectors = load("repeated.json")
    found = js.values(
        call("test.asked", one["answers"], one["temperature"], one["logits"], None)
        for one in vectors
    )
    assert {one["count"] for one in found} == {6}
    agree([one["errors"][-1] for one in found], [one["error"] for one in vectors])
    agree([one["recovered"] for one in found], [one["recovered"] for one in vectors])


# --- randomness ----------------------------------------------------------------------------------


def test_the_generator(js: JavaScript) -> None:
    vectors = load("streams.json")
    sfc32 = vectors["sfc32"]
    assert js.values([call("test.words", sfc32["start"], 20)]) == [sfc32["words"]]
    agree(js.values([call("normals.normalsV1", sfc32["words"], 9)])[0], sfc32["normals"])
    assert len(sfc32["words"]) == 20


def test_hashes_are_the_published_ones(js: JavaScript) -> None:
    import hashlib
    import hmac

    lengths = (0, 1, 3, 55, 56, 63, 64, 65, 119, 120, 1000)
    messages = [bytes((7 * i + n) % 256 for i in range(n)) for n in lengths]
    published = {
        b"abc": "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
        b"": "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    }
    found = js.values(call("test.sha256", {"$hex": one.hex()}) for one in (*published, *messages))
    own = [hashlib.sha256(one).hexdigest() for one in messages]
    assert [bytes(one).hex() for one in found] == [*published.values(), *own]
    # RFC 4231, cases 1, 2 and 6.
    cases = [
        (
            b"\x0b" * 20,
            b"Hi There",
            "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7",
        ),
        (
            b"Jefe",
            b"what do ya want for nothing?",
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
        ),
        (
            b"\xaa" * 131,
            b"Test Using Larger Than Block-Size Key - Hash Key First",
            "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54",
        ),
    ]
    cases += [(one, one[::-1], hmac.digest(one, one[::-1], "sha256").hex()) for one in messages]
    found = js.values(
        call("cipher.hmac", {"$hex": k.hex()}, {"$hex": m.hex()}) for k, m, _ in cases
    )
    assert [bytes(one).hex() for one in found] == [digest for *_, digest in cases]


def test_the_vendored_library_is_the_one_that_is_named() -> None:
    import hashlib

    vendor = LIB.parent / "vendor"
    digest = hashlib.sha256((vendor / "noble.js").read_bytes()).hexdigest()
    assert f"| noble.js | | {digest} |" in (vendor / "README.md").read_text()
    assert "MIT" in (vendor / "LICENSE").read_text()


def test_ciphers_are_the_published_ones(js: JavaScript) -> None:
    key = {"$hex": bytes(range(16)).hex()}
    hashes = known("siphash128.json")["hashes"]
    found = js.values(
        call("cipher.siphash128", {"$hex": bytes(range(i)).hex()}, key) for i in range(len(hashes))
    )
    assert [bytes(one).hex() for one in found] == hashes
    blocks = known("chacha20.json")["blocks"]
    found = js.values(
        call("test.chacha20", {"$hex": one["key"]}, {"$hex": one["nonce"]}, one["counter"])
        for one in blocks
    )
    assert [bytes(one).hex() for one in found] == [one["block"] for one in blocks]


def test_normals_v1(js: JavaScript) -> None:
    vectors = known("normals_v1.json")
    counts = [len(one["normals"]) for one in vectors]
    streams = js.values(
        call("cipher.stream", {"$hex": one["key"]}, one["nonce"], 4 * -(-count // 2))
        for one, count in zip(vectors, counts, strict=True)
    )
    uniforms = js.values(call("normals.uniforms", words) for words in streams)
    assert uniforms == [[float.fromhex(u) for u in one["uniforms"]] for one in vectors]
    found = js.values(
        call("normals.normalsV1", words, count)
        for words, count in zip(streams, counts, strict=True)
    )
    agree(found, [one["normals"] for one in vectors])
    # A uniform of 0, which no vector has, is the largest normal there is.
    largest = math.sqrt(106 * math.log(2))
    agree(js.values([call("normals.normalsV1", [0, 0, 0, 0], 2)])[0], [largest, 0.0])


# --- keyed noise ---------------------------------------------------------------------------------


def test_keyed_noise_version_1(js: JavaScript) -> None:
    """Integers and bits exactly, normals and probabilities to 1e-12."""
    vectors = known("keyed_v1.json")
    found = js.values(
        call(
            "test.keyed",
            {
                "root": one["setting"]["root"],
                "model": one["setting"]["model"],
                "weights": one["setting"]["weights"],
                "cellWidth": one["setting"]["cell_width"],
            },
            one["logits"],
            {new: one["setting"][old] for old, new in NAMES.items() if old in one["setting"]},
        )
        for one in vectors
    )
    assert len(found) == 60
    for made, one in zip(found, vectors, strict=True):
        for key in ("key_id", "subkey", "cell_key", "cell", "label", "row_key"):
            assert made[key] == one[key], key
        assert made["offsets"] == [float.fromhex(value) for value in one["offsets"]]
        drawn = one["normals"] if one["setting"]["base_variance"] > 0 else []
        agree(made["normals"], [value for row in drawn for value in row])
        agree(made["probs"], one["probs"], relative=True)
        assert made["again"] == made["probs"]


def test_keyed_noise_of_other_settings(js: JavaScript) -> None:
    vectors = load("keyed.json")
    sets = [parameters(one["parameters"]) for one in vectors]
    assert js.values(call("keyed.purpose", one) for one in sets) == [o["purpose"] for o in vectors]
    found = js.values(
        call("test.keyed", one["keyed"], one["logits"], chosen)
        for one, chosen in zip(vectors, sets, strict=True)
    )
    agree([one["probs"] for one in found], [one["probs"] for one in vectors], relative=True)
    written = js.values(
        call(
            "keyed.setting",
            len(one["logits"]),
            json.loads(one["setting"])["draws"],
            one["keyed"]["cellWidth"],
            one["purpose"],
        )
        for one in vectors
    )
    assert written == [one["setting"] for one in vectors]
    said = js.values([call("keyed.setting", 3, 1, 2.0, 'größer \x7f "€"')])
    from dynanoise.noise.keyed import canonical_setting

    assert said == [canonical_setting(3, 1, 2.0, 'größer \x7f "€"')]


def test_cells_and_their_representatives(js: JavaScript) -> None:
    """Bit for bit, on both sides of a boundary and as far as cells are told apart."""
    generator = np.random.default_rng(6)
    width, offsets = 1.7, generator.uniform(0, 1, 5)
    logits = generator.normal(0, 30, (40, 5))
    logits[0] = 0, -1e9, -(2.0**20) * width, 1e-300, -1e300
    grid = Grid(width, offsets)
    cells, labels = grid.find(logits)
    found = js.values(call("keyed.cellOf", row, width, offsets.tolist()) for row in logits.tolist())
    assert [one["cell"] for one in found] == cells.tolist()
    assert [one["label"] for one in found] == labels.tolist()
    assert [one["base"] for one in found] == grid.representatives(cells).tolist()


def test_minus_zero_is_the_same_setting_as_zero(js: JavaScript) -> None:
    plain, minus = js.values(
        call("keyed.purpose", {"lambdaScale": zero}) for zero in (0, {"$number": "-0"})
    )
    assert plain == minus == DynaNoise(lambda_scale=0).purpose
