"""Audits with an attacker who chooses its inputs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.neural_network import MLPClassifier

import dynanoise
from dynanoise.audits.chosen import own_model
from dynanoise.audits.inputs import check_inputs
from dynanoise.audits.pool_audit import AuditPlan, audit_pool
from dynanoise.core.errors import InputError
from dynanoise.core.outputs import Outputs, Pool
from dynanoise.evaluation.provenance import Provenance

_GENERATOR = np.random.default_rng(0)
X = _GENERATOR.normal(0, 1, (260, 6))
Y = (X @ _GENERATOR.normal(0, 1, (6, 3)) + _GENERATOR.gumbel(0, 3, (260, 3))).argmax(axis=1)
FEATURES = _GENERATOR.normal(0, 1, (6, 200))


def train(inputs: Any, labels: Any, seed: int) -> Any:
    """Random features and ridge regression: trained at once, smooth, and overfitted."""

    def hidden(rows: Any) -> Any:
        return np.maximum(rows @ FEATURES, 0)

    rows = hidden(inputs)
    targets = 8 * np.eye(3)[labels]
    weights = np.linalg.solve(rows.T @ rows + 30 * np.eye(200), rows.T @ targets)
    return lambda queried: hidden(queried) @ weights


def audit(chosen: int | None, **options: Any) -> dict[tuple[str, str, str], Any]:
    report = dynanoise.audit_training(
        train, X, Y, models=8, attacks=("lira",), chosen=chosen, **options
    )
    assert chosen is None or f"chosen={chosen}" in report.results[0].command
    return {(r.protocol, r.method, r.attack): r.metrics for r in report.results if r.attack}


@pytest.mark.behaviour
def test_labels_alone_regain_what_a_defense_hides() -> None:
    """A defense that gives labels only has chance against direct queries, not against these."""
    labels = {"defense": "calibrated_label", "queries": (1,)}
    metrics = audit(16, **labels)
    clean = metrics["adaptive", "none", "lira"]["auc"].value
    name = "adaptive_chosen_16"
    defended = metrics[name, "calibrated_label", "boundary_distance"]
    direct = metrics["adaptive", "calibrated_label", "lira"]["auc"].value
    assert clean > 0.75
    assert defended["auc"].value > direct + (clean - direct) / 2
    # One direct query, and five for each of three paths.
    assert defended["queries"].value == 16
    # Behind a defense that keeps labels the outcome is that of the undefended models.
    assert defended["auc"] == metrics[name, "none", "boundary_distance"]["auc"]
    # Without a query of a chosen input, shadow models alone tell nothing.
    control = audit(1)["adaptive_chosen_1", "none", "boundary_distance"]["auc"]
    assert control.low < 0.5 < control.high


@pytest.mark.behaviour
def test_one_model_is_probed_within_its_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    """The attacker of a model in a file trains shadow models of its own; every query counts."""
    asked: list[int] = []
    trained = train(X[:130], Y[:130], 0)

    def model(inputs: Any) -> Any:
        asked.append(len(inputs))
        return trained(inputs)

    small = MLPClassifier((50,), max_iter=60, learning_rate_init=0.02)
    monkeypatch.setattr(own_model, "default_classifier", lambda: small)
    member = np.arange(260) < 130
    outputs = check_inputs("one", logits=trained(X), labels=Y, member=member)
    report = audit_pool(
        outputs.pool(),
        AuditPlan("calibrated_label", queries=(1,), attacks=("gap", "lira"), chosen=16),
        Provenance("", "", ""),
        target=own_model.target_of(model, X, 16),
    )
    metrics = {(r.protocol, r.method, r.attack): r.metrics for r in report.results}
    # Label and probability alone: direct queries tell no more than the gap in accuracy.
    probed = metrics["adaptive_chosen_16", "calibrated_label", "boundary_probing"]
    for auc in (probed["auc"], metrics["adaptive_chosen_16", "none", "lira"]["auc"]):
        assert auc.low is not None and auc.low > 0.5
    # One direct query of a record, from the outputs, and five for each of three paths.
    assert probed["queries"].value == 16 and sum(asked) == 2 * 260 * 15
    assert not any("need shadow models" in text for text in report.sentences)


def test_what_cannot_be_chosen_between() -> None:
    with pytest.raises(InputError, match="X is of type list, and inputs are chosen among numbers"):
        dynanoise.audit_training(train, X.tolist(), Y, chosen=4)
    with pytest.raises(InputError, match="X holds NaN or infinity"):
        dynanoise.audit_training(train, np.where(X > 2, np.nan, X), Y, chosen=4)
    with pytest.raises(InputError, match="query budget of chosen inputs is 257"):
        dynanoise.audit_training(train, X, Y, chosen=257)


def test_outputs_answer_no_further_inputs() -> None:
    use = (np.random.default_rng(1).random((8, 90)) < 0.5).astype(np.int8)
    records = Outputs(np.zeros((8, 90, 1, 2)), np.zeros(90, int), np.arange(90), use)
    nothing = records.select(records=np.arange(0))
    pool = Pool(records, nothing, nothing, 0, "")
    with pytest.raises(InputError, match="which answer no further inputs"):
        audit_pool(pool, AuditPlan(chosen=4), Provenance("", "", ""))
