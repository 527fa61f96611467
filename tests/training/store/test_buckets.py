"""The store at an address: a real S3 server on loopback, and fsspec's own memory."""

from __future__ import annotations

import json
import logging
import os
import pickle
import time
import uuid
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs torch: pip install 'dynanoise[train]'")
pytest.importorskip("safetensors", reason="storing needs: pip install 'dynanoise[train]'")
fsspec = pytest.importorskip("fsspec", reason="addresses need: pip install 'dynanoise[remote]'")

from dynanoise.core.errors import InputError, MissingExtraError, MissingModelError, StoreError  # noqa: E402
from dynanoise.data.near_duplicates import NearDuplicates  # noqa: E402
from dynanoise.training.execution.executors import InProcess, Processes  # noqa: E402
from dynanoise.training.execution.outputs import outputs_of, outputs_unless_claimed  # noqa: E402
from dynanoise.training.jobs import NearQueries  # noqa: E402
from dynanoise.training.store import buckets  # noqa: E402
from dynanoise.training.store.buckets import Bucket  # noqa: E402
from dynanoise.training.store.storage import place  # noqa: E402
from dynanoise.training.store.store import Store, key  # noqa: E402
from tests.factories import recordings  # noqa: E402
from tests.factories.waiting import until  # noqa: E402
from tests.training.store.test_store import same  # noqa: E402

JOB, DATA = recordings.job(Path("/nowhere"), 1), recordings.data()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "notes"
    made.mkdir()
    return made


@pytest.fixture(params=["memory", pytest.param("s3", marks=pytest.mark.process)])
def url(request: pytest.FixtureRequest) -> str:
    if request.param == "memory":
        return f"memory://{uuid.uuid4().hex}/models"
    return str(request.getfixturevalue("bucket"))


def objects(url: str) -> dict[str, bytes]:
    """All there is at an address, seen without the store."""
    files, root = fsspec.core.url_to_fs(url, use_listings_cache=False)
    return {path.removeprefix(root): files.cat_file(path) for path in files.find(root)}


def change(url: str, ending: str, content: bytes | None) -> None:
    """Overwrites, or with None removes, the one object with a name like that."""
    files, root = fsspec.core.url_to_fs(url, use_listings_cache=False)
    (path,) = (path for path in files.find(root) if ending in path.rpartition("/")[2])
    files.rm_file(path) if content is None else files.pipe_file(path, content)


def test_what_is_stored_is_found_again_with_the_same_bits(url: str, folder: Path) -> None:
    job = recordings.job(folder, 1)
    first = outputs_of(job, DATA, Store(url))
    again = outputs_of(job, DATA, Store(url))
    assert same(first, again) and again.seconds == first.seconds
    assert len(recordings.notes(folder, "ended")) == 1
    (entry,) = Store(url).entries()
    assert entry.key == key(job, DATA) and entry.description["job"] == "model 1"
    assert entry.size == sum(map(len, objects(url).values()))
    assert abs(entry.created - time.time()) < 60 * 60 * 24
    state = Store(url).weights(entry.key)
    model = job.model.build(DATA.inputs.shape[1:], DATA.classes)
    model.load_state_dict(state)
    with torch.inference_mode():
        said = model.eval()(torch.from_numpy(DATA.inputs)).numpy()
    np.testing.assert_allclose(said, first.logits[:, 0], rtol=1e-5, atol=1e-5)
    assert key(job, DATA) in Store(url) and "0" * 64 not in Store(url)
    assert Store(url).remove([entry.key[:9]]) == [entry.key]
    assert objects(url) == {}


@pytest.mark.parametrize("part", ["answers", "entry", "model"])
@pytest.mark.parametrize("damage", ["other", "half", None])
def test_a_damaged_entry_is_trained_again(
    url: str, folder: Path, caplog: pytest.LogCaptureFixture, part: str, damage: str | None
) -> None:
    """Weights are looked at when they are read; that they are missing is seen before."""
    job = recordings.job(folder, 1)
    first = outputs_of(job, DATA, Store(url))
    (content,) = (body for name, body in objects(url).items() if part in name.rpartition("/")[2])
    other = content[: len(content) // 2] + (b"\0" * 9 if damage == "other" else b"")
    change(url, part, None if damage is None else other)
    if part == "entry" and damage is None:  # nothing says that there was one
        assert Store(url).get(key(job, DATA)) is None
        return
    with caplog.at_level(logging.WARNING):
        if part == "model" and damage is not None:
            with pytest.raises(MissingModelError, match="was damaged"):
                Store(url).weights(key(job, DATA))
        assert Store(url).get(key(job, DATA)) is None
    assert "is damaged" in caplog.text and "made again" in caplog.text
    assert same(outputs_of(job, DATA, Store(url)), first)
    assert len(recordings.notes(folder, "ended")) == 2


@pytest.mark.process
def test_an_entry_is_there_once_its_last_object_is(
    bucket: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever dies between two objects leaves nothing that is taken for a model."""
    files = buckets._files(bucket)
    written: list[str] = []

    def counted(path: str, content: bytes, **options: Any) -> None:
        written.append(path.rpartition("/")[2])
        assert Store(bucket).get(key(job, DATA)) is None
        plain(path, content, **options)

    job, plain = recordings.job(folder, 1), files.pipe_file
    monkeypatch.setattr(files, "pipe_file", counted)
    outputs_of(job, DATA, Store(bucket))
    monkeypatch.undo()
    kinds = [name.partition("-")[0] for name in written if len(name) < 60]
    assert kinds == ["answers", "model", "entry.json"]
    change(bucket, "entry.json", None)
    assert list(Store(bucket).entries()) == []
    Store(bucket).sweep()
    assert objects(bucket)  # perhaps still being written
    Store(bucket).sweep(older_than=-60)
    assert objects(bucket) == {}


def test_two_machines_that_write_the_same_entry_do_not_mix_their_parts(
    url: str, folder: Path
) -> None:
    job, store = recordings.job(folder, 1), Store(url)
    first = outputs_of(job, DATA, store)
    name = key(job, DATA)
    other = replace(first, logits=first.logits + 1)
    # As another processor's, whose roundings differ, in the midst of ours.
    content = set(objects(url))
    assert store.put(name, other, {"job": "model 1"})
    found = store.get(name)
    assert found is not None and same(found, first)
    assert content <= set(objects(url))


@pytest.mark.process
def test_the_folder_of_a_local_store_can_be_copied_to_a_bucket(
    bucket: str, tmp_path: Path, folder: Path
) -> None:
    job = recordings.job(folder, 1)
    first = outputs_of(job, DATA, Store(tmp_path / "store"))
    files, root = fsspec.core.url_to_fs(bucket)
    for path in (tmp_path / "store").rglob("*"):
        if path.is_file():
            files.pipe_file(f"{root}/{path.relative_to(tmp_path / 'store')}", path.read_bytes())
    assert same(outputs_of(job, DATA, Store(bucket)), first)
    assert Store(bucket).weights(key(job, DATA))
    assert len(recordings.notes(folder, "ended")) == 1


def test_what_one_claims_no_other_trains(url: str, folder: Path) -> None:
    job, store = recordings.job(folder, 1), Store(url)
    name = key(job, DATA)
    with store.claim(name, "theirs") as theirs:
        assert theirs
        assert outputs_unless_claimed(job, DATA, store, "ours") is None
        assert recordings.notes(folder, "began") == []
        with store.claim(name, "theirs") as again:  # done again, because its machine died
            assert again
    assert outputs_unless_claimed(job, DATA, store, "ours") is not None
    assert not any("claims" in path for path in objects(url))


@pytest.mark.process
def test_a_claim_is_renewed_and_that_of_a_machine_that_died_runs_out(
    bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The clock is made up, and renewals are waited for."""
    clock = SimpleNamespace(now=1000.0)
    monkeypatch.setattr(buckets, "time", SimpleNamespace(time=lambda: clock.now))
    storage = Bucket(bucket, lease=0.4)
    files, root = fsspec.core.url_to_fs(bucket, use_listings_cache=False)
    path = f"{root}/claims/{'a' * 64}.json"
    claim = storage.claim("a" * 64, "theirs")
    assert claim.__enter__()
    clock.now = 2000.0  # the first lease is over by then
    until(lambda: json.loads(files.cat_file(path))["until"] > clock.now)
    with storage.claim("a" * 64, "ours") as ours:
        assert not ours
    claim.__exit__(None, None, None)
    files.pipe_file(path, json.dumps({"owner": "theirs", "until": clock.now - 1}).encode())
    with storage.claim("a" * 64, "ours") as ours:
        assert ours


@pytest.mark.process
def test_workers_share_a_store_at_an_address(bucket: str, folder: Path) -> None:
    jobs = recordings.jobs(folder, 3)
    first = list(Processes(2, Store(bucket)).run(jobs, DATA))
    again = list(InProcess(Store(bucket)).run(jobs, DATA))
    assert all(same(a, b) for a, b in zip(first, again, strict=True))
    assert len(recordings.notes(folder, "ended")) == 3


@pytest.mark.process
def test_further_answers_are_made_of_weights_that_were_damaged_and_trained_again(
    bucket: str, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    job = recordings.job(folder, 1)
    outputs_of(job, DATA, Store(bucket))
    change(bucket, "model-", b"nothing")
    asked = replace(job, near=NearQueries(NearDuplicates(), np.arange(2)))
    with caplog.at_level(logging.WARNING), pytest.raises(InputError, match="Only images"):
        outputs_of(asked, DATA, Store(bucket))
    assert len(recordings.notes(folder, "ended")) == 2


@pytest.mark.process
def test_a_store_that_cannot_be_asked_is_an_error_and_no_damage(
    bucket: str, folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    job = recordings.job(folder, 1)
    first = outputs_of(job, DATA, Store(bucket))
    before = objects(bucket)

    def refused(*arguments: Any, **options: Any) -> None:
        raise PermissionError("Access Denied")

    with monkeypatch.context() as patch:
        patch.setattr(buckets._files(bucket), "cat_file", refused)
        with pytest.raises(StoreError, match=r"cannot be read \(Access Denied\)"):
            Store(bucket).get(key(job, DATA))
    with monkeypatch.context() as patch, caplog.at_level(logging.WARNING):
        patch.setattr(buckets._files(bucket), "pipe_file", refused)
        assert not Store(bucket).put("b" * 64, first, {})
    assert "could not be stored (Access Denied)" in caplog.text
    assert objects(bucket) == before
    with pytest.raises(StoreError, match="no bucket of s3://never-made/models"):
        Store("s3://never-made/models").sweep()


@pytest.mark.process
def test_no_secret_is_in_what_is_shown_sent_or_stored(bucket: str, folder: Path) -> None:
    """Credentials are the file system's own business."""
    job, store = recordings.job(folder, 1), Store(bucket)
    outputs_of(job, DATA, store)
    secret = os.environ["AWS_SECRET_ACCESS_KEY"].encode()
    sent = pickle.dumps(store)
    everything = [repr(store).encode(), sent, *objects(bucket).values()]
    assert len(secret) > 8 and not any(secret in one for one in everything)


@pytest.mark.parametrize(
    "told", ["s3://key:hidden@bucket/models", "s3://bucket/m?key=hidden", "sftp://hidden@host/m"]
)
def test_an_address_with_a_secret_is_refused_without_showing_it(told: str) -> None:
    with pytest.raises(InputError) as caught:
        Store(told)
    assert "hidden" not in str(caught.value)
    with pytest.raises(InputError, match="names no bucket"):
        place("s3:///models")


def test_paths_and_file_addresses_are_folders(tmp_path: Path) -> None:
    assert Store(f"file://{tmp_path}/a%20b").root == tmp_path / "a b"
    assert Store("models").root == Path("models")
    assert Store("s3://b/m/").root == "s3://b/m"


def test_a_file_system_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*arguments: Any, **options: Any) -> None:
        raise ImportError("Install s3fs to access S3")

    monkeypatch.setattr(fsspec.core, "url_to_fs", missing)
    with pytest.raises(MissingExtraError, match=r"pip install 'fsspec>=\S+ 's3fs>="):
        Store("s3://another-bucket/models").get("a" * 64)
