"""Near-duplicates: what they are, and that stored models answer them without further training."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from dynanoise.core.defense import Method  # noqa: E402
from dynanoise.core.errors import InputError, MissingModelError  # noqa: E402
from dynanoise.core.registry import MODELS, RECIPES  # noqa: E402
from dynanoise.data.dataset import Data  # noqa: E402
from dynanoise.data.near_duplicates import NearDuplicates, NearNumbers  # noqa: E402
from dynanoise.data.splits import PoolSplit, pool_split  # noqa: E402
from dynanoise.defenses.temperature import undefended  # noqa: E402
from dynanoise.evaluation.protocols import adaptive  # noqa: E402
from dynanoise.training.designs import pool_jobs, pool_of  # noqa: E402
from dynanoise.training.execution import outputs as module  # noqa: E402
from dynanoise.training.execution.executors import FromStore, InProcess  # noqa: E402
from dynanoise.training.jobs import Job, train_and_query  # noqa: E402
from dynanoise.training.schedule import Schedule  # noqa: E402
from dynanoise.training.store.store import Store, key  # noqa: E402
from tests.factories.evaluations import evaluate_pools  # noqa: E402

NEAR = NearDuplicates(shifts=((0, 1), (-2, 0)), noise=(1, 8), draws=1)


def images(count: int = 4, seed: int = 0) -> np.ndarray[Any, np.dtype[np.uint8]]:
    return np.random.default_rng(seed).integers(0, 256, (count, 6, 5, 3), dtype=np.uint8)


def test_there_are_as_many_as_is_said() -> None:
    pixels = images()
    for near in (NEAR, NearDuplicates(), replace(NEAR, flip=False), NearDuplicates((), noise=())):
        made = list(near.of(pixels, np.arange(4)))
        assert len(made) == len(near)
        assert {(one.shape, one.dtype) for one in made} == {(pixels.shape, pixels.dtype)}
    assert len(NearDuplicates()) == 22


def test_shifts_and_mirror_images_by_hand() -> None:
    pixels = images()
    mirrored, right, mirrored_right, up, mirrored_up, *_ = NEAR.of(pixels, np.arange(4))
    for y in range(6):
        for x in range(5):
            np.testing.assert_array_equal(mirrored[:, y, x], pixels[:, y, 4 - x])
            np.testing.assert_array_equal(right[:, y, x], pixels[:, y, abs(x - 1)])
            below = y + 2 if y + 2 <= 5 else 10 - (y + 2)  # reflected at the last row
            np.testing.assert_array_equal(up[:, y, x], pixels[:, below, x])
    np.testing.assert_array_equal(mirrored_right, right[:, :, ::-1])
    np.testing.assert_array_equal(mirrored_up, up[:, :, ::-1])


def test_noise_stays_within_its_size_and_is_a_records_own() -> None:
    pixels = images(50)
    *_, small, large = NEAR.of(pixels, np.arange(50))
    for made, size in ((small, 1), (large, 8)):
        change = made.astype(int) - pixels
        assert np.abs(change).max() == size
        inner = (pixels >= size) & (pixels <= 255 - size)
        seen, counts = np.unique(change[inner], return_counts=True)
        assert seen.tolist() == list(range(-size, size + 1))
        assert counts.min() > 0.7 * counts.max()  # uniform
    # Others asked with it, and their order, change nothing; another id and another seed do.
    *_, alone = NEAR.of(pixels[[7]], np.array([7]))
    np.testing.assert_array_equal(alone[0], large[7])
    *_, other = NEAR.of(pixels[[7]], np.array([8]))
    assert not np.array_equal(other, alone)
    *_, seeded = replace(NEAR, seed=1).of(pixels[[7]], np.array([7]))
    assert not np.array_equal(seeded, alone)


def test_impossible_ones_are_refused() -> None:
    with pytest.raises(InputError, match="255"):
        NearDuplicates(noise=(0,))
    with pytest.raises(InputError, match="no near-duplicate"):
        NearDuplicates(shifts=(), flip=False, draws=0)
    with pytest.raises(InputError, match="Only images"):
        list(NEAR.of(np.zeros((3, 4), dtype=np.float32), np.arange(3)))


@pytest.fixture(scope="module")
def data() -> Data:
    """Small pictures of two kinds: bright above, or bright below."""
    generator = np.random.default_rng(0)
    labels = generator.integers(0, 2, 160)
    pixels = generator.integers(0, 200, (160, 8, 8, 3))
    pixels[labels == 0, :4] += 55
    pixels[labels == 1, 4:] += 55
    return Data("pictures", pixels.astype(np.uint8), labels, 2)


@pytest.fixture(scope="module")
def split(data: Data) -> PoolSplit:
    return pool_split(data, 100, 12, 30, seed=0)


def jobs(split: PoolSplit, near: NearDuplicates | None = NEAR) -> list[Job]:
    recipe = RECIPES.get("plain")(Schedule(epochs=3, batch=16, learning_rate=1e-2))
    return pool_jobs(split, MODELS.get("cnn")(width=4), recipe, seed=0, threads=1, near=near)


def test_a_stored_model_answers_what_the_trained_one_would_have(
    tmp_path: Path, data: Data, split: PoolSplit, monkeypatch: pytest.MonkeyPatch
) -> None:
    job, plain = jobs(split)[0], jobs(split, near=None)[0]
    at_once = module.outputs_of(job, data, None)
    store = Store(tmp_path)
    module.outputs_of(plain, data, store)
    with pytest.raises(MissingModelError):
        list(FromStore(store).run([job], data))

    def refuse(*arguments: Any) -> None:
        raise AssertionError("a stored model was trained again")

    monkeypatch.setattr(module, "train_and_query", refuse)
    later = module.outputs_of(job, data, store)
    assert at_once.near is not None and later.near is not None
    np.testing.assert_array_equal(at_once.near, later.near)
    np.testing.assert_array_equal(at_once.logits, later.logits)
    assert at_once.near.shape == (130, len(NEAR), 2)
    # What is stored is neither asked again nor lost to damage.
    monkeypatch.setattr(module, "query_near", refuse)
    found = next(FromStore(store).run([job], data))
    np.testing.assert_array_equal(found.near, later.near)
    monkeypatch.undo()
    next(tmp_path.glob(f"??/{key(job, data)}/answers.npz")).write_bytes(b"damaged")
    np.testing.assert_array_equal(module.outputs_of(job, data, store).near, later.near)


@pytest.mark.behaviour
def test_a_pool_has_near_duplicates_beside_originals(data: Data, split: PoolSplit) -> None:
    plain = list(InProcess().run(jobs(split, near=None), data))
    asked = list(InProcess().run(jobs(split), data))
    pool, without = (pool_of(data, split, said, seed=0) for said in (asked, plain))
    assert pool.records.inputs == pool.reference.inputs == 1 + len(NEAR)
    assert pool.test.inputs == without.records.inputs == 1
    originals = pool.originals()
    for part in ("records", "reference"):
        np.testing.assert_array_equal(
            getattr(originals, part).logits, getattr(without, part).logits
        )
    # The model's own answer about the mirror image of a record of the pool.
    model = train_and_query(jobs(split)[2], data).model
    chosen = [11, 40]
    mirrored = data.inputs[split.pool[chosen]][:, :, ::-1].copy()
    said = model(torch.from_numpy(mirrored)).detach().numpy()
    np.testing.assert_allclose(pool.records.logits[2, chosen, 1], said, rtol=1e-4, atol=1e-4)
    assert pool.view(0).members.inputs == pool.view(0).reference.inputs == 1

    rows = [Method("none", undefended())]
    protocol = replace(adaptive(near=True), attacks=("lira", "label_only", "threshold"))
    found = {f.attack: f.metrics for f in evaluate_pools({"plain": pool}, rows, protocol)}
    single = {
        f.attack: f.metrics for f in evaluate_pools({"plain": pool}, rows, adaptive_of(protocol))
    }
    assert found["lira"]["auc"] != single["lira"]["auc"]
    alike = {
        f.attack: f.metrics for f in evaluate_pools({"plain": without}, rows, adaptive_of(protocol))
    }
    assert single == alike  # who may not ask about them has nothing of them
    with pytest.raises(InputError, match="originals only"):
        evaluate_pools({"plain": without}, rows, protocol)


def adaptive_of(protocol: Any) -> Any:
    return replace(adaptive(), attacks=protocol.attacks)


def test_noise_on_numbers_depends_on_the_record_alone() -> None:
    rows = np.random.default_rng(0).normal(size=(400, 6)).astype(np.float32)
    ids = np.arange(400)
    near = NearNumbers((0.1, 0.5), draws=2)
    versions = list(near.of(rows, ids))
    assert len(versions) == len(near) == 4
    for version, size in zip(versions, (0.1, 0.1, 0.5, 0.5), strict=True):
        assert version.dtype == np.float32
        assert abs((version - rows).std() / size - 1) < 0.05
    part = list(near.of(rows[7:9], ids[7:9]))
    assert all((alone == version[7:9]).all() for alone, version in zip(part, versions, strict=True))
    assert not np.allclose(versions[0] - rows, versions[1] - rows)


def test_impossible_noise_on_numbers_is_refused() -> None:
    with pytest.raises(InputError, match="noise is"):
        NearNumbers((0.0,))
    with pytest.raises(InputError, match="noise is"):
        NearNumbers(())
    with pytest.raises(InputError, match="dtype uint8"):
        next(NearNumbers().of(np.zeros((1, 2), np.uint8), np.arange(1)))
