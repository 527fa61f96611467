"""Audits of what users bring: leaks are found, their absence too, and every result says whose."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dynanoise.audits.audit_report import AuditReport
from dynanoise.audits.conditions import Condition, check_condition, parse_condition
from dynanoise.audits.pool_audit import AuditPlan, audit_pool, count_steps
from dynanoise.config.configuration import Configuration
from dynanoise.core.errors import DynaNoiseError, InputError, TooFewRecordsError, UnknownNameError
from dynanoise.core.outputs import Pool
from dynanoise.core.registry import DEFENSES
from dynanoise.core.result import Metric
from dynanoise.defenses.dynanoise import DynaNoise
from dynanoise.defenses.temperature import undefended
from dynanoise.evaluation.feasibility import find_feasible
from dynanoise.evaluation.protocols import adaptive, single_model
from dynanoise.evaluation.provenance import Provenance
from dynanoise.evaluation.responses import NoiseSource
from dynanoise.evaluation.shadow_pool import ShadowPool
from dynanoise.evaluation.single_model import SingleModel
from dynanoise.evaluation.trial import Trial, attack_trials
from dynanoise.metrics.bootstrap import bootstrap
from dynanoise.noise.fresh import Fresh
from dynanoise.noise.keyed import Keyed
from dynanoise.noise.keys import ExperimentKey
from dynanoise.report.pages import build_page
from dynanoise.report.tables.audit_table import out_of_scope
from tests.factories.audit_files import given
from tests.factories.results import record

PROVENANCE = Provenance("made up", "outputs as given", "dynanoise audit made_up.npz")


@pytest.fixture(autouse=True)
def few_attacks(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that these tests stay fast whatever attacks are installed."""
    monkeypatch.setattr("dynanoise.evaluation.feasibility.STRONG", ("lira", "rmia", "population"))
    monkeypatch.setattr(
        "dynanoise.evaluation.feasibility.SINGLE", ("population", "confidence", "loss")
    )


def run(plan: AuditPlan | None = None, **choices: Any) -> AuditReport:
    return audit_pool(given(**choices).pool(), plan or AuditPlan(), PROVENANCE)


def strongest(result: AuditReport, metric: str, method: str = "none") -> list[float]:
    return [
        one.metrics[metric].value
        for one in result.results
        if one.attack == "strongest" and one.method == method
    ]


@pytest.mark.parametrize("models", [1, 8])
def test_planted_leakage_is_found_and_none_is_not_made_up(models: int) -> None:
    records = 1000 if models == 1 else 200
    assert strongest(run(models=models, records=records), "auc")[0] > 0.7
    quiet = run(models=models, records=records, leak=0.0, seed=4)
    found = next(one for one in quiet.results if one.attack == "strongest").metrics["auc"]
    assert found.low is not None and found.high is not None
    assert found.low - 0.01 < 0.5 < found.high + 0.01


def noise(model: int, role: str) -> NoiseSource:
    return lambda purpose: Fresh(0)


def trials(pool: Pool) -> list[Trial]:
    design = ShadowPool(pool)
    return list(design.trials([undefended()] * pool.models, adaptive(1).threat, noise))


def test_exact_halves_give_nothing_away_by_counts() -> None:
    """With the target silent, who of the others holds a record says nothing about the target."""
    silent = []
    for trial in trials(given(models=8, records=400, halves=True).pool()):
        constant = np.full_like(trial.target.log_probs, np.log(1 / 3))
        silent.append(trial._replace(target=replace(trial.target, log_probs=constant)))
    for attack in attack_trials(silent, ("lira",)):
        assert bootstrap(attack.scores, 0, 5).point["auc"] == pytest.approx(0.5, abs=0.03)
    for trial in silent:
        use = trial.shadows.use
        assert set((use == 1).sum(axis=0)) == set((use == 0).sum(axis=0)) == {3}


def test_unknown_membership_is_neither_scored_nor_used() -> None:
    brought = given(records=400)
    member = brought.member.copy()
    member[:, 300:] = -1
    member[2, 200:240] = -1
    hidden = replace(brought, member=member)
    result = audit_pool(hidden.pool(), AuditPlan(), PROVENANCE)
    assert any("840 pairs of model and record of unknown" in note for note in result.notes)
    flipped = brought.member.copy()
    flipped[:, 300:] = 1 - flipped[:, 300:]
    flipped[2, 200:240] = 1 - flipped[2, 200:240]
    other = replace(brought, member=np.where(member < 0, -1, flipped).astype(np.int8))
    again = audit_pool(other.pool(), AuditPlan(), PROVENANCE)
    assert strongest(result, "auc") == strongest(again, "auc")
    counts = result.results[0].counts
    assert counts["scored_members"] + counts["scored_non_members"] <= 8 * 400 - 840
    found = next(attack_trials(trials(hidden.pool()), ("lira",))).scores
    assert not found.scored[member < 0].any()
    assert int(found.scored.sum()) == counts["scored_members"] + counts["scored_non_members"]


def test_the_known_half_of_one_model_is_not_scored() -> None:
    result = run(models=1, records=400)
    counts = result.results[0].counts
    assert counts["scored_members"] + counts["scored_non_members"] in {200, 201, 202}
    pool = given(models=1, records=400).pool()
    design = SingleModel(pool)
    halves = design.halves
    apart = [*halves.parts, halves.scored]
    assert len(np.unique(np.concatenate(apart))) == sum(map(len, apart)) == 400
    [trial] = design.trials([undefended()], single_model(1, ()).threat, noise)
    scores = next(attack_trials([trial], ("population",))).scores
    np.testing.assert_array_equal(scores.members[0], pool.records.use[0, halves.scored] == 1)
    ids = pool.records.ids
    assert set(trial.target.ids) == set(ids[halves.scored])
    assert not set(trial.target.ids) & set(trial.shadows.ids)
    first, second = trial.calibration
    assert set(first.target.ids) == set(second.shadows.ids) == set(ids[halves.parts[1]])


def test_a_defense_is_judged_at_every_query_budget() -> None:
    plan = AuditPlan("dynanoise(base_variance=9, lambda_scale=0, temperature=10)", (16, 1))
    pool = given(models=1, records=1000).pool()
    told: list[str] = []
    result = audit_pool(pool, plan, PROVENANCE, told.append)
    assert len(told) == count_steps(pool, plan)
    plain = strongest(result, "auc")
    once, often = strongest(result, "auc", "dynanoise")
    assert len(plain) == 1 and once < often - 0.03 < plain[0]
    assert [one.threat.repeats for one in result.results if one.attack is None] == [1, 1, 16]
    text = " ".join(result.sentences)
    assert "Outputs behind dynanoise(base_variance=9.0, lambda_scale=0.0, temperature=10.0" in text
    assert "Behind dynanoise with fresh noise, 16 queries a record" in result.verdict
    assert "The noise of dynanoise is fresh: repeated queries average it away." in text
    width = float(text.partition("add cell_width=")[2].split()[0])
    top = np.sort(pool.records.logits, axis=-1)[..., -2:]
    assert width == pytest.approx(2.5 * np.median(np.diff(top)), rel=0.005)
    assert "16 queries a record, averaged" in text and "MIDPUT" in text


@pytest.mark.process
@pytest.mark.behaviour
def test_workers_give_the_same_numbers() -> None:
    plan = AuditPlan("dynanoise", (1, 2), attacks=("loss",))
    pool = given(models=1, records=200).pool()
    told: list[str] = []
    alone, shared = (
        audit_pool(pool, plan, PROVENANCE, told.append, workers=workers) for workers in (1, 2)
    )
    assert [replace(result, seconds=0.0) for result in alone.results] == [
        replace(result, seconds=0.0) for result in shared.results
    ]
    half = len(told) // 2
    assert half == count_steps(pool, plan) and told[:half] == told[half:]
    assert alone.notes == shared.notes


@pytest.mark.parametrize("models", [1, 8])
def test_every_verdict_names_threat_model_budget_and_interval(models: int) -> None:
    result = run(AuditPlan("temperature"), models=models, records=400)
    verdicts = [one for one in result.sentences if "the attacker's choice" in one]
    assert len(verdicts) == 2  # temperature repeats itself: budgets of 1 and 16 queries are one
    for sentence, queries in zip(verdicts, ("1 query", "1 or 16 queries"), strict=True):
        assert "Threat model: an attacker who sees all probabilities" in sentence
        assert f"{queries} a record" in sentence
        assert "95% intervals over" in sentence and " [0." in sentence
        knows = "knows the defense and its parameters (not its random draws" in sentence
        assert knows == ("behind temperature" in sentence)
    scope = out_of_scope(result.results)
    assert scope in result.sentences and "chosen by earlier outputs" in scope
    for words in ("white-box", "observation of the training", "extraction", "earlier versions"):
        assert words in scope and words in result.to_markdown() and words in result.table()
    assert build_page(result.results).sentences == result.sentences[: -len(result.notes) or None]


def test_it_says_what_cannot_be_run_and_what_that_needs() -> None:
    alone = run(models=1, records=400, tests=0)
    text = " ".join(alone.notes)
    assert "LiRA, RMIA need shadow models: give the outputs of several models" in text
    assert "Accuracy was not measured: give test_logits or test_probs" in text
    assert all(one.attack is not None for one in alone.results)
    several = run(models=8, records=200, tests=0)
    assert "RMIA, Attack-P need 20 records that no model was trained on" in " ".join(several.notes)
    assert {one.attack for one in several.results} == {"lira", "strongest"}
    assert run(models=8).notes == ()
    with pytest.raises(InputError, match=r"names a file\. Name a folder, such as 'audit'"):
        several.save("audit.html")


def test_too_few_models_are_refused_in_words() -> None:
    with pytest.raises(TooFewRecordsError, match=r"more models"):
        run(models=2)


def test_an_attack_that_cannot_be_run_on_these_models_is_left_out() -> None:
    seven = trials(given(models=7).pool())
    refused: dict[str, DynaNoiseError] = {}
    unable = "boundary_distance"  # these models answered no chosen inputs
    # Its choice of `a` plays targets of its own: made once, on the shadow models of the target.
    names = (unable, "rmia(offline=True)", "lira")
    found = list(attack_trials(seven, names, on_refusal=refused.__setitem__))
    assert [one.name for one in found] == [*names[1:], "strongest"]
    assert isinstance(refused[unable], DynaNoiseError)
    with pytest.raises(DynaNoiseError):
        list(attack_trials(seven, (unable,)))


def test_conditions_compare_the_upper_bound_at_any_budget() -> None:
    result = run(AuditPlan("temperature(temperature=4)", (1, 2)), models=1, records=400)
    records = list(result.results)
    value = strongest(result, "auc", "temperature")[0]
    upper = max(
        one.metrics["auc"].high or 0
        for one in records
        if one.attack == "strongest" and one.method == "temperature"
    )
    assert value < upper
    between = Condition("auc", (value + upper) / 2)
    assert check_condition(between, records).holds
    assert not check_condition(Condition("auc", upper), records).holds
    said = check_condition(between, records).sentence
    assert "behind temperature" in said and "upper bound" in said and "a record" in said


@pytest.mark.parametrize("reverse", [False, True])
def test_a_condition_holds_where_another_protocol_cannot_resolve_it(reverse: bool) -> None:
    base = record("none", "strongest", 0, auc=0.6)
    fine = replace(base, metrics={"tpr@0.01": Metric(0.2, 0.1, 0.3)})
    coarse = replace(base, counts={"scored_non_members": 50})
    results = [fine, coarse][:: -1 if reverse else 1]
    assert check_condition(parse_condition("tpr@0.01>0.25"), results).holds is True
    # Not above the limit where it is known: the other may be.
    untold = check_condition(parse_condition("tpr@0.01>0.35"), results)
    assert untold.holds is None and "not resolved by 50" in untold.sentence
    assert check_condition(parse_condition("tpr@0.01>0.35"), [fine]).holds is False
    nothing = check_condition(parse_condition("tpr@0.01>0.35"), [coarse])
    assert nothing.holds is None and "not resolved by 50" in nothing.sentence


@pytest.mark.behaviour
@pytest.mark.parametrize("models", [1, 8])
@pytest.mark.parametrize(
    ("defense", "low", "high"),
    [
        ("temperature", 0.0, 0.0),
        (DynaNoise(1e6, 0, 1), 0.6, 0.72),  # two thirds, for three classes
        (DynaNoise(1e6, 0, 1, keep_label=True), 0.0, 0.0),
        (DynaNoise(0.01, 0, 1), 0.005, 0.2),
    ],
)
def test_the_share_of_changed_labels_is_stated(
    defense: Any, low: float, high: float, models: int
) -> None:
    plan = AuditPlan(defense, queries=(1,), attacks=("loss",) if models == 1 else ("lira",))
    sentences = run(plan, models=models, records=400, tests=0).sentences
    found = [text for text in sentences if "of the labels behind" in text]
    assert len(found) == 1
    assert 100 * low <= float(found[0].partition("%")[0]) <= 100 * high
    tested = run(plan, models=models, records=400)
    assert not [text for text in tested.notes if "of the labels behind" in text]
    assert [text for text in tested.sentences if "of the labels are not the model's own" in text]


def test_a_condition_that_the_data_cannot_resolve(caplog: pytest.LogCaptureFixture) -> None:
    conditions = tuple(map(parse_condition, ("tpr@0.001>0.01", "asr>0.999")))
    caplog.set_level("WARNING", logger="dynanoise")
    report = run(AuditPlan(fail_if=conditions), models=1, records=400)
    assert (report.failed, report.unresolved) == (False, True)
    assert [outcome.holds for outcome in report.outcomes] == [None, False]
    sentence = report.outcomes[0].sentence
    assert re.search(r"0.001 FPR is not resolved by .* Score at least 10000", sentence)
    assert caplog.messages == [sentence]  # before the work
    resolved = run(AuditPlan(fail_if=(parse_condition("tpr@0.2>0.05"),)), models=1, records=400)
    assert resolved.failed and "tpr@0.2" in resolved.results[0].metrics


@pytest.mark.parametrize("text", ["auc", "auc<0.5", "f1>0.5", "auc>1.5", "tpr@0>0.1", "tpr@x>0.1"])
def test_what_is_no_condition(text: str) -> None:
    with pytest.raises(InputError):
        parse_condition(text)


def test_what_is_no_question() -> None:
    for text, queries in (
        ("temperature(cold=1)", (1,)),
        ("temperature(", (1,)),
        ("none", (1,)),
        ("temperature", (0,)),
        ("temperature", ()),
    ):
        with pytest.raises(InputError):
            AuditPlan(text, queries)
    with pytest.raises(UnknownNameError, match=r"no defense 'temprature'. Did you mean"):
        AuditPlan("temprature")
    assert AuditPlan(DEFENSES.get("temperature")(3.0)).methods[1].name == "temperature"


def test_the_same_seed_gives_the_same_numbers() -> None:
    first, second = (run(AuditPlan("dynanoise", (2,)), models=1, records=200) for _ in range(2))
    assert [one.metrics for one in first.results] == [one.metrics for one in second.results]
    assert find_feasible(given(models=1).pool()).attacks[0] == "population"


@pytest.mark.behaviour
@pytest.mark.parametrize("models", [1, 8])
def test_a_defense_yaml_is_judged_with_its_cells_and_keys_of_the_audit(
    models: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Wide cells and a high temperature leave less of the leak; nobody asks for the secret."""
    monkeypatch.delenv("DYNANOISE_KEY", raising=False)
    used: list[Keyed] = []
    answer = DynaNoise.__call__

    def noted(self: DynaNoise, logits: Any, noise: Any) -> Any:
        used.append(noise)
        return answer(self, logits, noise)

    monkeypatch.setattr(DynaNoise, "__call__", noted)
    path = tmp_path / "defense.yaml"
    Configuration(DynaNoise(2.0), Keyed(12.0, "m", "ab" * 32)).write(path)
    plan = AuditPlan(str(path), queries=(1, 256))
    assert plan.defense_text == "defense.yaml" and plan == AuditPlan(str(path), queries=(1, 256))
    result = run(plan, models=models, records=400)
    rows = [one for one in result.results if one.method == "dynanoise"]
    assert rows and all(
        one.defense["noise"] == {"name": "keyed", "cell_width": 12.0} for one in rows
    )
    assert all(isinstance(noise.key, ExperimentKey) for noise in used)
    roots = {noise.key.root() for noise in used if isinstance(noise.key, ExperimentKey)}
    assert len(roots) == (1 if models == 1 else 16)  # target and shadows of each model apart
    by_hand = run(AuditPlan(Configuration.read(path), queries=(1, 256)), models=models, records=400)
    assert strongest(by_hand, "auc", "dynanoise") == strongest(result, "auc", "dynanoise")
    assert max(strongest(result, "auc", "dynanoise")) < min(strongest(result, "auc")) - 0.03


def test_keyed_noise_by_its_cell_width_resists_repeated_queries() -> None:
    text = "dynanoise(base_variance=9, lambda_scale=0, cell_width=4)"
    result = run(AuditPlan(text, queries=(1, 16)), models=1, records=400)
    once, often = strongest(result, "auc", "dynanoise")
    assert once == often and "Behind dynanoise with keyed noise" in result.verdict
    assert ") with keyed noise, 1 or 16 queries" in " ".join(result.sentences)
    assert "is fresh" not in " ".join(result.notes)


def test_a_defense_yaml_of_fresh_noise_is_the_defense_in_words(tmp_path: Path) -> None:
    path = tmp_path / "other.yml"
    Configuration(DynaNoise(2.0), "fresh").write(path)
    found = run(AuditPlan(str(path), queries=(4,)))
    words = run(AuditPlan("dynanoise(base_variance=2)", queries=(4,)))
    assert strongest(found, "auc", "dynanoise") == strongest(words, "auc", "dynanoise")
    with pytest.raises(InputError, match="cannot be read"):
        AuditPlan(str(tmp_path / "missing.yaml"))
