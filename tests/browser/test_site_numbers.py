"""What the web page computes, beside what Python computes."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import pytest
from scipy import integrate, special, stats

import dynanoise as dn
from docs.generate import ROOT
from dynanoise.config.configuration import Configuration
from dynanoise.core.errors import DynaNoiseError
from dynanoise.defenses.sensitivity import entropy as sensitivity
from dynanoise.metrics.roc import roc
from dynanoise.report.io.results import read_results
from dynanoise.report.io.samples import read_evidence
from dynanoise.report.summary import by_protocol
from tests.browser.site_page import Opened
from tests.web.build_vectors import delong

pytestmark = pytest.mark.process


def _expected(logits: np.ndarray[Any, Any], s0: float, scale: float, temperature: float) -> Any:
    """Entropy, R, variance, flip probability, smoothed top, all by Python or by an integral."""
    p = np.exp(logits - logits.max())
    p /= p.sum()
    entropy = -(p * np.log(p)).sum()
    r = float(sensitivity(logits[None])[0])
    variance = s0 * (1 + scale * r)
    top = int(logits.argmax())
    gaps = (logits[top] - np.delete(logits, top)) / np.sqrt(variance)

    def keeps(x: float) -> float:
        return float(stats.norm.pdf(x) * np.prod(stats.norm.cdf(x + gaps)))

    flips = 1 - integrate.quad(keeps, -9, 9, epsabs=1e-12)[0]
    smooth = dn.Temperature(temperature)(logits[None], dn.Fresh(0))[0, top]
    return entropy, r, variance, flips, p[top], smooth


SETTINGS = [
    (0.9, 10, 0.1, 3.0, 4.0),
    (0.5, 3, 0.8, 6.0, 2.0),
    (0.999, 100, 2.0, 10.0, 20.0),
    (0.6, 2, 0.5, 0.0, 0.5),
]


@pytest.mark.parametrize(("confidence", "classes", "s0", "scale", "temperature"), SETTINGS)
def test_sliders_change_the_numbers_to_those_of_python(
    visit: Opened, confidence: float, classes: int, s0: float, scale: float, temperature: float
) -> None:
    given = {"confidence": confidence, "classes": classes, "s0": s0, "lambda": scale}
    for name, value in {**given, "T": temperature}.items():
        visit.slide(f"#sim-{name}", value)
    p = np.full(classes, (1 - confidence) / (classes - 1))
    p[0] = confidence
    entropy, r, variance, flips, top, smooth = _expected(np.log(p), s0, scale, temperature)
    assert visit.number("#sim-H") == pytest.approx(entropy, abs=5.1e-5)
    assert visit.number("#sim-R") == pytest.approx(r, abs=5.1e-5)
    assert visit.number("#sim-variance") == pytest.approx(variance, abs=5.1e-5)
    assert visit.number("#sim-flips") == pytest.approx(flips, abs=5.1e-5)
    before, _, after = visit.text("#sim-top").split()
    assert float(before.rstrip("%")) == pytest.approx(100 * top, abs=0.051)
    assert float(after.rstrip("%")) == pytest.approx(100 * smooth, abs=0.051)
    label = "low" if r < 1 / 3 else "medium" if r < 2 / 3 else "high"
    assert f"{label} risk" in visit.text("#sim-R")


def test_the_address_restores_the_setting(browser: Any, address: str) -> None:
    logits = [4.25, -1.5, 0.125]
    asked = "?s0=0.4&lambda=5&T=7.5&logits=4.25,-1.5,0.125#simulator"
    opened = Opened(browser, address, asked)
    entropy, r, variance, flips, _, _ = _expected(np.array(logits), 0.4, 5, 7.5)
    assert opened.number("#sim-H") == pytest.approx(entropy, abs=5.1e-5)
    assert opened.number("#sim-R") == pytest.approx(r, abs=5.1e-5)
    assert opened.number("#sim-variance") == pytest.approx(variance, abs=5.1e-5)
    assert opened.number("#sim-flips") == pytest.approx(flips, abs=5.1e-5)
    opened.slide("#sim-T", 3.5)
    opened.page.wait_for_function("() => location.search.includes('T=3.5')")
    again = opened.page.url
    shown = opened.text("#sim-stats")
    opened.page.goto("about:blank")
    opened.page.goto(again)
    opened.page.wait_for_selector("html[data-ready]", state="attached")
    assert opened.text("#sim-stats") == shown
    assert opened.page.input_value("#sim-logits") == "4.25,-1.5,0.125"
    opened.page.click("#sim-form button[type=reset]")
    opened.page.wait_for_function("() => location.search === ''")
    assert opened.page.input_value("#sim-T") == "4"
    # An address that somebody broke gives the defaults, not an empty page.
    opened.page.goto(f"{address}?T=hot&classes=1e9&logits=one,two")
    opened.page.wait_for_selector("html[data-ready]", state="attached")
    assert opened.page.input_value("#sim-T") == "4"
    assert "logits" in opened.text("#sim-wrong")
    assert opened.said == []
    opened.close()


@pytest.mark.parametrize(
    ("logits", "flips"),
    [
        ([1000, 0, 0], 0),
        ([3e38, -3e38, 0], 0),
        ([1.7e308, -1.7e308], 0),
        ([1e-320, 0], 0.5),
        ([-5000, -5000, -9000], 0.5),
    ],
)
def test_logits_of_any_size_give_numbers(
    browser: Any, address: str, logits: list[float], flips: float
) -> None:
    said = quote(",".join(map(str, logits)))
    opened = Opened(browser, address, f"?T=0.5&s0=0.1&lambda=3&logits={said}")
    answers = dn.DynaNoise(0.1, 3, 0.5)(np.tile(np.array(logits, float), (4000, 1)), dn.Fresh(0))
    mean = answers.mean(axis=0)
    there = mean[mean > 0]
    entropy = -(there * np.log(there)).sum()
    assert opened.number("#sim-out") == pytest.approx(entropy, abs=0.02)
    assert opened.number("#sim-flips") == pytest.approx(flips, abs=1e-4)
    assert "NaN" not in opened.text("#simulator")
    opened.close()


def test_the_setting_can_be_deployed(visit: Opened, tmp_path: Path) -> None:
    for name, value in {"s0": 0.25, "lambda": 2, "T": 6}.items():
        visit.slide(f"#sim-{name}", value)
    path = tmp_path / "defense.yaml"
    path.write_text(visit.page.text_content("#sim-yaml-text"))
    expected = Configuration(
        dn.DynaNoise(base_variance=0.25, lambda_scale=2, temperature=6), "fresh"
    )
    assert Configuration.read(path) == expected


def test_keyed_noise_is_that_of_the_package_and_can_be_deployed(
    browser: Any, address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = Opened(browser, address, "?logits=9,1,-3,0.5&s0=0.3&lambda=2&T=6")
    fresh = opened.number("#sim-out")
    opened.choose("#sim-noise", "keyed")
    opened.slide("#sim-width", 4.5)
    opened.page.wait_for_function("() => location.search.includes('width=4.5&noise=keyed')")
    assert opened.number("#sim-out") != fresh
    # The page's key is for showing: all its bytes are 5f.
    monkeypatch.setenv("DYNANOISE_KEY", "5f" * 32)
    noise = dn.Keyed(4.5, "page", "5f" * 32)
    defense = dn.DynaNoise(base_variance=0.3, lambda_scale=2, temperature=6, keep_label=True)
    output = defense(np.array([[9, 1, -3, 0.5]]), noise)[0]
    assert opened.number("#sim-out") == pytest.approx(-(output * np.log(output)).sum(), abs=5.1e-5)
    assert f"{100 * output[0]:.1f}%" in opened.text("#sim-bars")
    assert opened.number("#sim-flips") == 0
    path = tmp_path / "defense.yaml"
    path.write_text(str(opened.page.text_content("#sim-yaml-text")))
    with pytest.raises(DynaNoiseError, match="weights"):
        Configuration.read(path)  # until the digest of the model is filled in
    path.write_text(path.read_text().replace("SHA256 ", "5f" * 32, 1))
    read = Configuration.read(path)
    assert read.defense == defense and read.noise == dn.Keyed(4.5, "my-model", "5f" * 32)
    opened.page.click("#sim-form button[type=reset]")
    assert opened.page.is_checked("#sim-noise input[value=fresh]")
    assert opened.said == []
    opened.close()


def test_the_game_counts_what_the_visitor_and_lira_choose(visit: Opened) -> None:
    """Beside LiRA's scores; over many pairs its share is the AUC."""
    evidence = read_evidence(ROOT / "results" / "cifar10_pool")
    assert evidence.rows is not None
    kept = np.isfinite(next(iter(evidence.rows.logits.values()))).all(axis=1)
    members = evidence.rows.members[kept]
    page = visit.page
    for method in ("none", "dynanoise_keyed"):
        visit.choose("#game-defense", method)
        assert "trained on?" in visit.text("#game-score")
        sample = next(
            one for one in evidence.attacks_on("adaptive", method) if one.attack == "lira"
        )
        scores, yours, attack = sample.scores[kept], 0, 0.0
        for count in range(1, 9):
            rows = page.locator("#game-cards .card").evaluate_all(
                "all => all.map(n => +n.dataset.row)"
            )
            assert members[rows[0]] != members[rows[1]]
            page.locator("#game-cards button").first.click()
            yours += int(members[rows[0]])
            inside, outside = sorted(rows, key=lambda row: not members[row])
            attack += (np.sign(scores[inside] - scores[outside]) + 1) / 2
            said = visit.text("#game-score")
            assert said.startswith(
                f"You {yours} of {count}, LiRA {attack:g}, guessing {count / 2:g}."
            )
            assert ("Right" in said) == bool(members[rows[0]])
            page.click("#game-next")
        auc = visit.number("#game-note a.num")
        summary = by_protocol(evidence.results)["adaptive"]
        assert auc == pytest.approx(summary.spread(method, "lira", "auc").interval.value, abs=6e-4)


def test_fresh_noise_is_averaged_away_and_keyed_noise_is_not(visit: Opened) -> None:
    page = visit.page

    def error() -> float:
        return visit.number("#att-rms")

    visit.choose("#att-noise", "fresh")
    visit.choose("#att-question", "same")
    page.click("#att-again")
    page.click("#att-one")
    for _ in range(9):
        page.click("#att-hundred")
    # sigma is below 1 there: 901 answers leave 0.03, give or take.
    assert error() < 0.08

    visit.choose("#att-noise", "keyed")
    page.click("#att-one")
    first = error()
    page.click("#att-hundred")
    assert "101 queries" in visit.text("#att-verdict")
    assert error() == first > 0.5

    visit.choose("#att-question", "near")
    for _ in range(3):
        page.click("#att-hundred")
    assert "300 different queries" in visit.text("#att-verdict")
    near = error()
    assert 0.08 < near < first

    visit.choose("#att-question", "pairs")
    page.click("#att-hundred")
    assert error() < first


def test_what_a_near_duplicate_moves_is_not_known_to_the_attacker(visit: Opened) -> None:
    page = visit.page
    visit.choose("#att-noise", "fresh")
    found = {}
    for question in ("same", "near", "pairs"):
        visit.choose("#att-question", question)
        errors = []
        for _ in range(12):
            page.click("#att-again")
            page.click("#att-one")
            errors.append(visit.number("#att-rms"))
        found[question] = np.mean(errors)
    # They move each logit by 2, the noise by less than 1; who shifts logits knows by how much.
    assert found["near"] > 1.4 > found["same"]
    assert found["pairs"] < 1.4
    visit.choose("#att-question", "same")


def test_charts_of_attackers_who_adapt_hold_the_numbers_of_results(visit: Opened) -> None:
    def described(box: str) -> str:
        return str(visit.page.get_attribute(f"{box} svg[role=img]", "aria-label"))

    def success(folder: str, protocol: str, method: str) -> str:
        summary = by_protocol(read_results(ROOT / "results" / folder / "results.json"))[protocol]
        return f"{summary.success(method)[1].value:.3f}"

    chosen = [success("digits", name, "hamp") for name in ("adaptive", "adaptive_chosen")]
    said = described("#adapt-chosen").split("HAMP: ")[1].split(". ")[0]
    assert (
        f"1 query {chosen[0]}" in said and f"inputs of its choice, 64 queries {chosen[1]}" in said
    )
    queries = by_protocol(read_results(ROOT / "results" / "cifar10_queries" / "results.json"))
    auc = [
        f"{summary.spread('dynanoise', 'lira', 'auc').interval.value:.3f} with {count}"
        for name, count in (("adaptive", 1), ("adaptive_4", 4), ("adaptive_256", 256))
        for summary in [queries[name]]
    ]
    said = described("#adapt-repeated")
    assert all(text in said.split("DynaNoise ")[1] for text in auc)
    for attacker, protocol, folder in (
        (0, "paper", "cifar10"),
        (1, "adaptive_16", "cifar10_pool"),
    ):
        visit.choose("#dilemma-attacker", str(attacker))
        for method, title in (("dynanoise", "DynaNoise"), ("relaxloss", "RelaxLoss")):
            path = ROOT / "results" / folder / "results.json"
            accuracy = by_protocol(read_results(path))[protocol].spread(method, None, "accuracy")
            value = success(folder, protocol, method)
            point = f"{title}: {accuracy.interval.value:.3f}, {value}"
            assert point in described("#dilemma-chart")


def test_bars_hold_the_numbers_of_results(visit: Opened) -> None:
    """MIDPUT under each attacker, and the time of an output; what was not run is not claimed."""

    def described(box: str) -> str:
        label = visit.page.get_attribute(f"{box} svg[role=img]", "aria-label")
        return str(label).replace("\N{MINUS SIGN}", "-")

    summaries = by_protocol(read_results(ROOT / "results" / "digits" / "results.json"))
    visit.choose("#res-view", "summary")
    visit.choose("#res-data", "digits")
    for protocol in ("paper", "adaptive_16", "adaptive_chosen"):
        visit.choose("#res-attacker", protocol)
        for method, title in (("dynanoise", "DynaNoise"), ("hamp", "HAMP"), ("dpsgd", "DP-SGD")):
            value = summaries[protocol].spread(method, None, "midput").interval.value
            assert f"; {title}: {value:+.3f};" in described("#res-midput")
    assert "inputs of its choice, 64 queries" in visit.text("#res-out thead")
    visit.choose("#res-data", "cifar10_paper")
    last = visit.page.locator("#res-out tbody tr").first.locator("td").last
    assert "inputs of its choice" in visit.text("#res-out thead")
    assert last.inner_text() == "not run"
    visit.choose("#res-view", "overhead")
    times = read_results(ROOT / "results" / "overhead" / "results.json")
    memguard = next(row.metrics for row in times if row.method == "memguard")
    alone, batch = (memguard[f"ratio_batch_{size}"].value for size in (1, 256))
    assert f"MemGuard: {alone:.1f}×, {batch:.2f}×" in described("#res-times")
    visit.choose("#res-view", "summary")


def test_the_worked_example_is_what_the_package_computes(visit: Opened) -> None:
    logits, defense = np.array([4.0, 1.0, 0.0]), dn.DynaNoise(0.3, 2, 10)
    p = special.softmax(logits)
    first, second, third = (visit.text(f"#worked-{step}") for step in (1, 2, 3))
    r = 1 + (p * np.log(p)).sum() / np.log(3)
    assert first.startswith(f"{p[0]:.3f} ") and first.endswith(f"R = {r:.3f}")
    assert f"(1 + 2 · {r:.3f}) = {defense.variance(logits):.3f}; " in second
    noisy = np.array([float(text) for text in second.split("draw: ")[1].split(", ")])
    assert 0 < np.abs(noisy - logits).max() < 4
    after = float(third.split(" → ")[1].split()[0])
    assert after == pytest.approx(special.softmax(noisy / 10)[0], abs=1e-3)


def _outputs(generator: np.random.Generator) -> dict[str, Any]:
    member = (np.arange(600) % 2).astype(np.int8)
    labels = generator.integers(0, 4, 600)
    logits = generator.normal(0, 1, (600, 4))
    logits[np.arange(600), labels] += 1 + 1.5 * member
    p = np.exp(logits)
    return {"probs": p / p.sum(axis=1, keepdims=True), "labels": labels, "member": member}


def test_a_file_gives_the_loss_attack_of_the_package(visit: Opened, tmp_path: Path) -> None:
    given = _outputs(np.random.default_rng(4))
    path = tmp_path / "mine.csv"
    with path.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["p0", "p1", "p2", "p3", "label", "member"])
        for p, label, member in zip(*given.values(), strict=True):
            rows.writerow([*map(repr, p.tolist()), label, member])
    scores = np.log(given["probs"])[np.arange(600), given["labels"]]
    truth = given["member"] == 1
    _, low, high = delong(scores, truth)
    visit.page.set_input_files("#file", path)
    visit.page.wait_for_function(
        "() => document.querySelector('#audit-out h3')?.textContent.startsWith('mine:')"
    )
    row = visit.page.locator("#audit-out tr[data-key='loss']")
    auc, *rates = row.locator("td").all_inner_texts()
    shown = [float(text.strip("[],")) for text in auc.split()]
    assert shown == pytest.approx([roc(scores, truth).auc, low, high], abs=5.1e-4)
    assert rates == ["too few", "too few"]
    text = visit.text("#audit-out")
    assert "reveals membership" in text and "dynanoise audit FILE" in text


BROKEN = {
    "empty.csv": b"",
    "words.csv": b"p0,p1,label,member\n0.5,half,0,1\n",
    "exchanged.csv": b"p0,p1,label,member\n" + b"0.9,0.4,0,1\n0.1,0.6,1,0\n" * 60,
    "few.csv": b"p0,p1,label,member\n0.5,0.5,0,1\n0.5,0.5,0,0\n",
    "mine.npz": b"PK\x03\x04 and more",
    "photo.png": b"\x89PNG\r\n",
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_file_gives_a_sentence(visit: Opened, tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(BROKEN[name])
    visit.page.evaluate("document.getElementById('audit-wrong').textContent = ''")
    visit.page.set_input_files("#file", path)
    visit.page.wait_for_selector("#audit-wrong:not(:empty)")
    said = visit.text("#audit-wrong")
    assert said.endswith((".", "?")) and len(said.split()) > 5
    assert "could not be audited" not in said and "Error" not in said
    assert visit.text("#audit-out") == ""
