"""`bench` under a protocol with chosen inputs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dynanoise.benchmark.benchmark import Plan, bench
from dynanoise.core.errors import InputError
from dynanoise.core.result import Result
from dynanoise.evaluation import chosen_inputs
from dynanoise.evaluation.protocols import chosen, parse_protocol
from dynanoise.probing.edits import EditPaths
from dynanoise.report.summary import by_protocol
from tests.factories.presets import small_digits


def plan() -> Plan:
    """Eight models of 150 digits, of which 60 are probed with 16 queries each."""
    preset = small_digits(probed=60, protocols=(chosen(16),))
    attacks = ("lira", "boundary_distance")
    return Plan("digits", methods=("dynanoise_keyed",), attacks=attacks, custom=preset)


@pytest.mark.behaviour
@pytest.mark.process
def test_chosen_inputs_undo_keyed_noise_with_any_number_of_workers(tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="training needs torch: pip install 'dynanoise[train]'")
    steps: list[str] = []
    one = list(bench(plan(), store=tmp_path, workers=1, progress=steps.append))
    remove_paths(tmp_path)
    two = list(bench(plan(), store=tmp_path, workers=2))
    assert len(steps) == plan().steps and "pool: chosen inputs 4 of 4" in steps
    assert [result.metrics for result in one] == [result.metrics for result in two]
    results: dict[tuple[str, str | None], Result] = {(r.method, r.attack): r for r in one}
    keyed = {attack: r.metrics for (method, attack), r in results.items() if method != "none"}
    plain = results["none", "boundary_distance"].metrics
    # Noise does not change labels, and the labels say more than the noisy probabilities.
    assert keyed["boundary_distance"]["auc"] == plain["auc"]
    assert keyed["boundary_distance"]["auc"].value > keyed["lira"]["auc"].value
    assert all(r.metrics["queries"].value == 16 for (_, attack), r in results.items() if attack)
    assert {r.counts["pool"] for r in one} == {60}
    assert {r.threat.chosen for r in one} == {True}
    # Cells are probed where there are cells, and a summary takes that for complete.
    assert set(by_protocol(one)) == {"adaptive_chosen_16"}
    assert ("none", "boundary_probing") not in results


def stored_paths(store: Path) -> list[str]:
    """Keys of stored paths, for each of the four parts of the models."""
    from dynanoise.training.store.store import Store

    return [entry.key for entry in Store(store).entries() if "paths" in entry.description]


def remove_paths(store: Path) -> None:
    """Leave the models."""
    from dynanoise.training.store.store import Store

    Store(store).remove(stored_paths(store))


@pytest.mark.behaviour
def test_a_stopped_run_prepares_only_the_paths_that_are_not_stored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("torch", reason="training needs torch: pip install 'dynanoise[train]'")
    prepared: list[chosen_inputs.PreparedPaths] = []
    limit, prepare_paths = 2, chosen_inputs.prepare_paths

    def prepare(*arguments: Any, **options: Any) -> chosen_inputs.PreparedPaths:
        if len(prepared) == limit:
            raise KeyboardInterrupt
        prepared.append(prepare_paths(*arguments, **options))
        return prepared[-1]

    monkeypatch.setattr(chosen_inputs, "prepare_paths", prepare)
    with pytest.raises(KeyboardInterrupt):
        list(bench(plan(), store=tmp_path, workers=1))
    kept, damaged = stored_paths(tmp_path)
    content = tmp_path / damaged[:2] / damaged / "answers.npz"
    content.write_bytes(content.read_bytes()[:-100])
    prepared.clear()
    limit = 9
    rest = list(bench(plan(), store=tmp_path, workers=1))
    assert len(prepared) == 3 and kept in stored_paths(tmp_path)
    prepared.clear()
    again = list(bench(plan(), store=tmp_path, workers=1))
    assert not prepared
    remove_paths(tmp_path)
    anew = list(bench(plan(), store=tmp_path, workers=1))
    assert len(prepared) == 4
    assert [r.metrics for r in rest] == [r.metrics for r in again] == [r.metrics for r in anew]


def refuse(seed: int, sources: Sequence[int]) -> chosen_inputs.PreparedPaths:
    raise AssertionError("paths were prepared again")


def test_paths_of_texts_are_stored_too(tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="training needs torch: pip install 'dynanoise[train]'")
    from dynanoise.benchmark.stored_paths import StoredPaths
    from dynanoise.training.store.store import Store
    from tests.factories import tiny

    generator = np.random.default_rng(0)
    places, words = (generator.integers(0, stop, (3, 2, 2, 4)) for stop in (3, 9))
    texts = np.array([[4, 5, 0], [6, 0, 0], [7, 8, 9]], dtype=np.int32)
    paths = EditPaths(texts, places, words, np.cumsum(generator.random((3, 2, 2, 4)), axis=-1))
    logits = generator.normal(size=(4, 3, 2, 5, 2)).astype(np.float32)
    positions, rivals = np.linspace(-2, 2, 5), np.ones((3, 2), dtype=np.int64)
    made = chosen_inputs.PreparedPaths(paths, rivals, positions, logits, logits[..., 0])
    ids = np.arange(3)
    stored = StoredPaths(Store(tmp_path), [], tiny.data(), ids, ids, count=2)
    (first,) = stored.around(map)(lambda seed, sources: made, [7], [[0, 1]])
    (again,) = stored.around(map)(refuse, [7], [[0, 1]])
    assert first is made and isinstance(again.paths, EditPaths)
    rows, at = np.array([0, 1, 2, 2]), np.array([-0.5, 1.5, 3.0, -3.0])
    of_path = np.array([0, 1, 0, 1])
    queried = (part.paths.inputs(rows, of_path, at).tolist() for part in (first, again))
    assert next(queried) == next(queried)
    for name in ("rivals", "positions", "logits", "margins"):
        assert np.array_equal(getattr(first, name), getattr(again, name))


@pytest.mark.behaviour
def test_models_that_are_not_kept_cannot_be_queried_again() -> None:
    pytest.importorskip("torch", reason="training needs torch: pip install 'dynanoise[train]'")
    with pytest.raises(InputError, match="without a store"):
        list(bench(plan()))


def test_a_protocol_has_a_name_for_each_budget() -> None:
    assert parse_protocol("adaptive_chosen") == chosen()
    assert parse_protocol("adaptive_chosen_27") == chosen(27)
    with pytest.raises(InputError, match="is 257"):
        parse_protocol("adaptive_chosen_257")
