"""Folders of other tools are read as they are, and our attacks give the tools' own numbers."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from benchmarks import other_tools
from benchmarks.other_tools import lay_out_lira, lay_out_privacy_meter
from dynanoise.attacks import statistics
from dynanoise.attacks.lira import Lira
from dynanoise.attacks.rmia import Rmia
from dynanoise.audits.layouts.arrays import BroughtPool
from dynanoise.audits.layouts.folder_audit import FolderAudit, read_folder
from dynanoise.audits.outputs_file import read_outputs
from dynanoise.audits.pool_audit import AuditPlan
from dynanoise.cli import app
from dynanoise.core.errors import DataFileError, DynaNoiseError, InputError
from dynanoise.core.membership import shadows_per_target
from dynanoise.core.numerics import Float64, Int8
from dynanoise.core.observation import Observation, ShadowObservations
from dynanoise.core.result import STRONGEST
from dynanoise.evaluation.provenance import Provenance
from dynanoise.evaluation.responses import observe_undefended
from tests.factories.audit_files import Arrays, arrays, probabilities

THEIRS = json.loads((Path(__file__).parent / "other_tools.json").read_text())
LIRA, FORK, METER = (
    THEIRS[name]
    for name in (
        "tensorflow/privacy research/mi_lira_2021",
        "orientino/lira-pytorch",
        "privacytrustlab/ml_privacy_meter",
    )
)

VARIANTS = {
    "online": Lira("online", "median", "example"),
    "online, fixed variance": Lira("online", "median", "raw"),
    "offline": Lira("offline_two_sided", "median", "example"),
    "offline, fixed variance": Lira("offline_two_sided", "median", "raw"),
}
"""Names of the variants of plot.py."""


def observed(brought: BroughtPool, models: list[int]) -> ShadowObservations:
    """Some models of a folder, as attacks see them, with the reference as their population."""
    files = brought.pool
    everything = observe_undefended(files.select(np.arange(files.use.shape[1])))
    populations: list[Observation | None] = [None] * len(files.use)
    if brought.reference is not None:
        beyond = brought.reference.select(np.arange(brought.reference.use.shape[1]))
        populations = list(observe_undefended(beyond).observations)
    seen = tuple(
        replace(everything.observations[model], population=populations[model]) for model in models
    )
    outputs = everything.outputs.select(models=models)
    return ShadowObservations(seen, everything.use[models], outputs)


def lira_scores(brought: BroughtPool, attack: Lira) -> Float64:
    """Scores of the last model, with the others as its shadow models."""
    last = len(brought.pool.use) - 1
    target = observed(brought, [last]).observations[0]
    return attack.fit(observed(brought, list(range(last)))).score(target)


@pytest.mark.parametrize("variant", VARIANTS)
def test_lira_has_the_scores_of_the_published_code(tmp_path: Path, variant: str) -> None:
    lay_out_lira(tmp_path / "lira")
    brought = read_folder(tmp_path / "lira")
    assert brought.pool.part(slice(0, 4)).logits.shape == (9, 4, 2, 5)
    # Their scores are larger for non-members; offline they are ln of the density itself.
    scores = -lira_scores(brought, VARIANTS[variant])
    np.testing.assert_allclose(scores, LIRA[variant]["scores"], rtol=1e-6, atol=1e-6)


def test_a_fork_without_labels_has_the_scores_of_its_code(tmp_path: Path) -> None:
    lay_out_lira(tmp_path / "fork", fork=True)
    with pytest.raises(DataFileError, match=r"holds no y_train.npy.* --labels FILE"):
        read_folder(tmp_path / "fork")
    brought = read_folder(tmp_path / "fork", tmp_path / "labels.npy")
    scores = -lira_scores(brought, VARIANTS["online"])
    np.testing.assert_allclose(scores, FORK["online"]["scores"], rtol=1e-6, atol=1e-6)


def test_scores_without_logits_are_read_as_the_probability_of_the_true_class(
    tmp_path: Path,
) -> None:
    lay_out_lira(tmp_path / "lira")
    phi = []
    for model in sorted((tmp_path / "lira").glob("experiment-*")):
        logits = np.load(model / "logits" / "0000000100.npy").astype(np.float64)
        labels = np.load(tmp_path / "lira" / "y_train.npy")
        probs = np.exp(logits) / np.exp(logits).sum(axis=-1, keepdims=True)
        right = probs[np.arange(len(labels)), 0, :, labels]
        phi.append(np.log(right) - np.log1p(-right))
        (model / "logits" / "0000000100.npy").unlink()
        (model / "scores").mkdir()
        np.save(model / "scores" / "0000000100.npy", phi[-1])
    np.testing.assert_allclose(phi[-1], LIRA["phi"], rtol=1e-6, atol=1e-6)
    brought = read_folder(tmp_path / "lira")
    seen = statistics.compute(observed(brought, [8]).observations[0], "scaled_logit")
    np.testing.assert_allclose(seen, phi[-1], rtol=1e-6, atol=1e-6)
    scores = -lira_scores(brought, VARIANTS["online"])
    np.testing.assert_allclose(scores, LIRA["online"]["scores"], rtol=1e-6, atol=1e-6)
    assert "no logits" in brought.reason and brought.attacks is not None


def test_rmia_has_the_scores_of_privacy_meter_but_for_the_models_behind_z(tmp_path: Path) -> None:
    memberships = lay_out_privacy_meter(tmp_path / "log_dir")
    brought = read_folder(tmp_path / "log_dir")
    assert brought.pool.use.tolist() == memberships.tolist()
    # Their target is model 0, without the model of its pair; their gamma is 1.
    target = observed(brought, [0]).observations[0]
    shadows = observed(brought, list(range(2, 2 * other_tools.REFERENCES + 2)))
    scores = Rmia(offline=True, a=other_tools.A, gamma=1.0).fit(shadows).score(target)
    # Ours break ties by less than half a step.
    scores = np.rint(scores * other_tools.POPULATION) / other_tools.POPULATION
    averaged = METER["scores, all 2k signals averaged for z"]
    np.testing.assert_allclose(scores, averaged, atol=1e-6)
    # Theirs averages the k largest of 2k signals for z: p(z) is larger, r_z smaller, and more of
    # the population is exceeded.
    difference = np.array(METER["scores"]) - scores
    assert difference.min() >= -1e-6 and difference.max() > 0.05


def written(folder: Path, files: Arrays, augmented: bool = False) -> Path:
    """Outputs of M models as a LiRA folder."""
    folder.mkdir()
    np.save(folder / "y_train.npy", files["labels"])
    for model, (logits, kept) in enumerate(zip(files["logits"], files["member"], strict=True)):
        (folder / f"experiment-{model}" / "logits").mkdir(parents=True)
        rows = logits.astype(np.float32)[:, None, None]
        if augmented:
            rows = np.concatenate([rows, rows + np.float32(0.1)], axis=2)
        np.save(folder / f"experiment-{model}" / "logits" / "0000000099.npy", rows * 0)
        np.save(folder / f"experiment-{model}" / "logits" / "0000000100.npy", rows)
        np.save(folder / f"experiment-{model}" / "keep.npy", kept.astype(bool))
    return folder


def run(brought: BroughtPool, *attacks: str) -> Any:
    provenance = Provenance(brought.name, brought.kind, "this test")
    return FolderAudit(brought, AuditPlan(attacks=attacks)).run(provenance)


def by_attack(report: Any) -> dict[Any, Any]:
    return {result.attack: result.metrics for result in report.results}


def test_a_folder_by_parts_has_the_numbers_of_one_in_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = arrays(10, records=1200, tests=0)
    brought = read_folder(written(tmp_path / "lira", files))
    attack = "lira(variance=example)"
    memory = by_attack(run(brought, attack))
    monkeypatch.setattr("dynanoise.audits.layouts.folder_audit.IN_MEMORY", 1)
    parts = run(replace(brought, pool=replace(brought.pool, size=500)), attack)  # type: ignore[type-var]
    metrics = by_attack(parts)
    for name in ("auc", "tpr@0.01"):
        assert metrics[attack][name].value == pytest.approx(memory[attack][name].value, abs=1e-12)
    # Thresholds are chosen on 1,000 of the 1,200 records.
    assert metrics[attack]["asr"].value == pytest.approx(memory[attack]["asr"].value, abs=0.02)
    assert metrics[STRONGEST]["auc"] == metrics[attack]["auc"]
    assert any("All 1,200 records were scored" in note for note in parts.notes)
    assert "AUC" in parts.table()


def test_the_choice_by_parts_is_that_in_memory_for_each_target(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One attack for all targets, or the most accurate for each, would be another choice here."""
    files = arrays(8, records=330, tests=0, leak=1.0, seed=24)
    brought = read_folder(written(tmp_path / "lira", files))
    attacks = "lira", "lira(statistic=hinge)", "lira(centre=median)"
    memory = by_attack(run(brought, *attacks))[STRONGEST]
    monkeypatch.setattr("dynanoise.audits.layouts.folder_audit.IN_MEMORY", 1)
    parts = by_attack(run(replace(brought, pool=replace(brought.pool, size=70)), *attacks))  # type: ignore[type-var]
    assert list(parts) == [*attacks, STRONGEST]
    assert memory["chosen lira"].value == 7 and set(parts[STRONGEST]) == set(memory)
    for name, metric in memory.items():
        assert parts[STRONGEST][name].value == pytest.approx(metric.value, abs=1e-12), name


def test_attacks_on_all_records_at_once_are_left_out_by_parts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dynanoise.audits.layouts.folder_audit.IN_MEMORY", 1)
    brought = read_folder(written(tmp_path / "lira", arrays(8, tests=0)))
    ranked = "lira(statistic=normal_score)"
    report = run(brought, "lira(variance=example)", ranked)
    assert set(by_attack(report)) == {"lira(variance=example)", STRONGEST}
    assert any("'normal_score' ranks all records of a model" in note for note in report.notes)
    with pytest.raises(InputError, match=r"'normal_score' ranks all records.* other attacks"):
        run(brought, ranked)


def test_thresholds_by_parts_have_the_shadow_models_of_the_scores(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Records of no model, too few for a reference set here, change no number of models."""
    files = arrays(16, records=125, tests=0, leak=4.0)
    files["member"][:, 110:] = 0
    numbers = []

    def count(use: Int8) -> int:
        numbers.append(shadows_per_target(use))
        return numbers[-1]

    monkeypatch.setattr("dynanoise.audits.layouts.folder_audit.IN_MEMORY", 1)
    monkeypatch.setattr("dynanoise.core.membership.shadows_per_target", count)
    run(read_folder(written(tmp_path / "lira", files)), "lira")
    assert len(numbers) > 1 and set(numbers) == {shadows_per_target(files["member"][:, :110])}


def test_all_inputs_of_a_record_are_used(tmp_path: Path) -> None:
    brought = read_folder(written(tmp_path / "lira", arrays(8, tests=0), augmented=True))
    assert any("all 2 inputs" in note for note in brought.notes)
    report = run(brought, "lira")
    assert report.results[0].threat.augmented


def test_the_command_reads_a_folder_and_the_folders_name_alone_is_kept(tmp_path: Path) -> None:
    lay_out_privacy_meter(tmp_path / "log_dir")
    (tmp_path / "log_dir" / "report" / "exp").mkdir(parents=True)
    np.savez(tmp_path / "log_dir" / "report" / "exp" / "attack_result_0.npz", auc=0.625)
    printed = CliRunner().invoke(app, ["audit", str(tmp_path / "log_dir"), "--json"])
    assert printed.exit_code == 0, printed.output
    found = json.loads(printed.stdout)
    attacks = {result["attack"] for result in found["results"]}
    assert attacks >= {"lira", "rmia", STRONGEST}
    assert found["shared"]["command"] == "dynanoise audit log_dir"
    assert "own AUC, with its settings: 0.6250 for model 0" in printed.output
    assert "probability of the true class alone" in printed.output


def test_the_command_reads_a_folder_of_lira_with_labels_beside_it(tmp_path: Path) -> None:
    lay_out_lira(tmp_path / "fork", fork=True)
    named = ["--labels", str(tmp_path / "labels.npy"), "--attack", "lira"]
    printed = CliRunner().invoke(app, ["audit", str(tmp_path / "fork"), *named])
    assert printed.exit_code == 0, printed.output
    assert "9 models were read from fork, in the layout of LiRA" in " ".join(printed.output.split())
    (tmp_path / "labels.npy").rename(tmp_path / "fork" / "y_train.npy")
    assert CliRunner().invoke(app, ["audit", str(tmp_path / "fork"), *named[2:]]).exit_code == 0


def train_test(files: Arrays, kind: str = "logits") -> Arrays:
    """One model's outputs under names that tell the membership."""
    member = files["member"] == 1
    return {
        f"{kind}_train": files[kind][member],
        "labels_train": files["labels"][member],
        f"{kind}_test": files[kind][~member],
        "labels_test": files["labels"][~member],
    }


@pytest.mark.parametrize("kind", ["logits", "probs"])
def test_members_and_non_members_in_arrays_of_their_own(tmp_path: Path, kind: str) -> None:
    files = arrays(1, tests=0)
    named = train_test(probabilities(files) if kind == "probs" else files, kind)
    np.savez(tmp_path / "outputs.npz", **named)
    inputs = read_outputs(tmp_path / "outputs.npz")
    member = files["member"] == 1
    assert inputs.member[0].tolist() == [1] * member.sum() + [0] * (~member).sum()
    order = np.concatenate([np.flatnonzero(member), np.flatnonzero(~member)])
    gaps = np.diff(inputs.logits[0], axis=1) - np.diff(files["logits"][order], axis=1)
    assert np.abs(gaps).max() < 1e-6
    (tmp_path / "folder").mkdir()
    for name, array in named.items():  # the names of SACRO-ML
        other = name.replace("probs", "proba").replace("labels", "y")
        np.save(tmp_path / "folder" / f"{other}.npy", array)
    again = read_outputs(tmp_path / "folder")
    assert np.array_equal(again.logits, inputs.logits)
    assert np.array_equal(again.labels, inputs.labels)


@pytest.mark.parametrize(
    ("extra", "missing", "words"),
    [
        ("test_logits", "", "'logits_train' and 'test_logits', which are of two layouts"),
        ("member", "", "'member', which are of two layouts"),
        ("", "labels_test", "no 'labels_test'"),
        ("loss_train", "", "holds loss_train beside"),
    ],
)
def test_a_mixture_of_layouts_is_refused_by_name(
    tmp_path: Path, extra: str, missing: str, words: str
) -> None:
    named = train_test(arrays(1, tests=0))
    named.pop(missing, None)
    named |= {extra: np.zeros(3)} if extra else {}
    np.savez(tmp_path / "outputs.npz", **named)
    with pytest.raises(DataFileError, match=words):
        read_outputs(tmp_path / "outputs.npz")


def break_pickle(folder: Path) -> None:
    np.save(folder / "experiment-3" / "keep.npy", np.array([{}], dtype=object), allow_pickle=True)


def break_shape(folder: Path) -> None:
    np.save(folder / "experiment-3" / "logits" / "0000000100.npy", np.zeros((7, 3), np.float32))


def break_logits(folder: Path) -> None:
    for path in (folder / "experiment-3" / "logits").glob("*.npy"):
        path.unlink()


def break_membership(folder: Path) -> None:
    np.save(folder / "experiment-3" / "keep.npy", np.arange(200))


def break_numbers(folder: Path) -> None:
    path = folder / "experiment-3" / "logits" / "0000000100.npy"
    np.save(path, np.load(path) * np.nan)


def break_labels(folder: Path) -> None:
    np.save(folder / "y_train.npy", np.arange(3))


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (break_pickle, "without pickle"),
        (break_shape, r"has shape \(7, 3\)"),
        (break_logits, "holds neither logits nor scores"),
        (break_membership, r"keep.npy has shape \(200,\) and dtype int64"),
        (break_numbers, "NaN or infinity"),
        (break_labels, "3 labels for 200 records"),
    ],
)
def test_faults_of_a_lira_folder_are_named(tmp_path: Path, fault: Any, words: str) -> None:
    folder = written(tmp_path / "lira", arrays(8, tests=0))
    fault(folder)
    with pytest.raises(DynaNoiseError, match=words):
        run(read_folder(folder), "lira")


def test_positions_of_members_stand_for_a_mask(tmp_path: Path) -> None:
    files = arrays(8, tests=0)
    folder = written(tmp_path / "lira", files)
    for model, kept in enumerate(files["member"]):
        (folder / f"experiment-{model}" / "keep.npy").unlink()
        np.save(folder / f"experiment-{model}" / "keep_indices.npy", np.flatnonzero(kept))
    assert np.array_equal(read_folder(folder).pool.use, files["member"])


def test_faults_of_a_privacy_meter_folder_are_named(tmp_path: Path) -> None:
    folder = tmp_path / "log_dir"
    lay_out_privacy_meter(folder)
    brought = read_folder(folder)
    with pytest.raises(InputError, match="learned cannot be run on Privacy Meter signals"):
        run(brought, "learned")
    np.save(folder / "signals" / "rmia_signals.npy", np.zeros((3, 8)))
    with pytest.raises(InputError, match=r"shape \(3, 8\).* audit.data_size draws"):
        read_folder(folder)
    (folder / "signals" / "rmia_signals.npy").unlink()
    with pytest.raises(DataFileError, match=r"holds no \*_signals\.npy"):
        read_folder(folder)
    with pytest.raises(DataFileError, match=r"holds no folders with keep\.npy"):
        read_folder(folder / "signals")
