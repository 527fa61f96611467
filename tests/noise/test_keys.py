"""Root secrets: held by reference, found when needed, never shown."""

from __future__ import annotations

import copy
import os
import pickle
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from dynanoise.core.errors import InputError, SecretError
from dynanoise.defenses.dynanoise import DynaNoise
from dynanoise.noise.keyed import Keyed
from dynanoise.noise.keys import Pinned, Secret, new_secret, write_secret
from dynanoise.noise.subkey import key_id

KEY = "c0ffee" + "5a" * 29
OTHER = "badc0de1" * 8


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "secret"
    path.write_text(KEY + "\n")
    path.chmod(0o600)
    return path


def test_a_secret_is_read_from_the_environment_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DYNANOISE_KEY", f"  {KEY.upper()}\n")
    assert Secret().reference == "env:DYNANOISE_KEY"
    assert Secret().root() == bytes.fromhex(KEY)


def test_a_secret_is_read_from_a_file(file: Path) -> None:
    assert Secret(f"file:{file}").root() == bytes.fromhex(KEY)


def test_it_is_resolved_when_an_answer_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    """The object can be made before the secret is there, and a new secret counts at once."""
    monkeypatch.delenv("DYNANOISE_KEY", raising=False)
    noise, logits = Keyed(4.0, "model", "00" * 32), np.zeros((1, 3))
    with pytest.raises(SecretError, match="env:DYNANOISE_KEY is not set"):
        DynaNoise()(logits, noise)
    monkeypatch.setenv("DYNANOISE_KEY", KEY)
    first = DynaNoise()(logits, noise)
    monkeypatch.setenv("DYNANOISE_KEY", OTHER)
    assert (DynaNoise()(logits, noise) != first).all()


def test_what_holds_a_reference_holds_no_secret(
    monkeypatch: pytest.MonkeyPatch, file: Path
) -> None:
    """Also after it was used: neither text, nor bytes, nor anything derived of it."""
    monkeypatch.setenv("DYNANOISE_KEY", KEY)
    for key in ("env:DYNANOISE_KEY", f"file:{file}"):
        noise = Keyed(4.0, "model", "00" * 32, key)
        before = pickle.dumps(noise)
        DynaNoise()(np.zeros((1, 3)), noise)
        for text in (repr(noise), str(asdict(noise)), str(vars(noise)), str(copy.deepcopy(noise))):
            assert KEY[:8] not in text.lower() and key in text
        assert pickle.dumps(noise) == before
        assert bytes.fromhex(KEY)[:4] not in before and KEY[:8].encode() not in before


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "is not set.*key new"),
        ("   ", "is not set"),
        (KEY[:-2], "is too short: it has 62 hexadecimal digits, not 64.*key new"),
        (KEY + "00", "is too long: it has 66"),
        ("0" * 64, "is all zeros.*key new"),
        (KEY[:-1] + "g", "is not written in hexadecimal digits"),
        ("wP/uWlpaWlpaWlpaWlpaWlpaWlpaWlpaWlpaWlpaWlo=", "is not written in hexadecimal"),
        (KEY[:32] + " " + KEY[32:], "is not written in hexadecimal"),
        ("é" * 64, "is not written in hexadecimal"),
        ("٣" * 64, "is not written in hexadecimal"),
    ],
)
@pytest.mark.parametrize("place", ["env", "file"])
def test_unfit_secrets_are_refused_without_showing_them(
    place: str, text: str, says: str, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("A_KEY", text)
    file.write_text(text, encoding="utf-8")
    if place == "file" and not text.strip():
        says = "is not written"
    secret = Secret("env:A_KEY" if place == "env" else f"file:{file}")
    with pytest.raises(SecretError, match=says) as caught:
        secret.root()
    for part in range(0, len(text.strip()) - 3, 4):
        assert text.strip()[part : part + 4] not in str(caught.value).replace("64", "")
    assert caught.value.__cause__ is None and secret.reference in str(caught.value)


def test_a_missing_file_a_folder_and_a_pipe_are_named(tmp_path: Path) -> None:
    with pytest.raises(SecretError, match=r"cannot be read .no such file.*or correct the path"):
        Secret(f"file:{tmp_path / 'nowhere'}").root()
    with pytest.raises(SecretError, match=r"is not a file.*correct the path"):
        Secret(f"file:{tmp_path}").root()
    os.mkfifo(tmp_path / "pipe", 0o600)
    with pytest.raises(SecretError, match="is not a file"):
        Secret(f"file:{tmp_path / 'pipe'}").root()


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o602, 0o666, 0o610])
def test_a_file_that_others_may_use_is_refused(file: Path, mode: int) -> None:
    file.chmod(mode)
    with pytest.raises(SecretError, match=rf"open to other users \(mode {mode:o}\).*chmod 600"):
        Secret(f"file:{file}").root()
    file.chmod(0o400)
    assert Secret(f"file:{file}").root() == bytes.fromhex(KEY)


@pytest.mark.parametrize("mode", [0o444, 0o440, 0o644, 0o640, 0o400])
def test_a_file_on_a_read_only_mount_may_be_read_by_others(
    file: Path, mode: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Docker and Kubernetes mount secrets so; of those that others can write none is accepted."""
    mounted = SimpleNamespace(f_flag=os.ST_RDONLY)
    monkeypatch.setattr(os, "fstatvfs", lambda handle: mounted)
    file.chmod(mode)
    assert Secret(f"file:{file}").root() == bytes.fromhex(KEY)
    for writable in (0o020, 0o002):
        file.chmod(mode | writable)
        with pytest.raises(SecretError, match="open to other users"):
            Secret(f"file:{file}").root()


def test_the_group_may_read_a_file_of_another_owner(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Kubernetes' fsGroup: root owns the file, and the pod's group reads it."""
    monkeypatch.setattr(os, "geteuid", lambda: file.stat().st_uid + 1)
    file.chmod(0o640)
    assert Secret(f"file:{file}").root() == bytes.fromhex(KEY)
    for mode in (0o644, 0o660):
        file.chmod(mode)
        with pytest.raises(SecretError, match="open to other users"):
            Secret(f"file:{file}").root()


@pytest.mark.parametrize(
    "bad",
    [
        *(KEY, f"env:a{KEY[1:]}", f"file:{KEY}", bytes.fromhex(KEY)),
        *("", "env", "env:", "file:", "env:9", "env:A B", "seed:1", None, 3, Path("file:key")),
    ],
)
def test_what_is_no_reference_is_refused_and_not_shown(bad: Any) -> None:
    """It may be the secret itself."""
    with pytest.raises(InputError, match=r"not a reference.*Pass env:NAME or file:PATH") as caught:
        Secret(bad)
    assert "5a5a" not in str(caught.value)


# --- new ones ------------------------------------------------------------------------------------


def test_a_new_file_is_its_owners_alone_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        named = write_secret(tmp_path / "new")
    finally:
        os.umask(before)
    path = tmp_path / "new"
    assert path.stat().st_mode & 0o777 == 0o600
    text = path.read_text()
    assert len(text) == 65 and text.endswith("\n")
    assert key_id(Secret(f"file:{path}").root()) == named and named not in text


def test_an_existing_file_is_never_overwritten(file: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="exists already"):
        write_secret(file)
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(InputError, match="exists already"):
        write_secret(tmp_path / "link")
    assert file.read_text() == KEY + "\n" and not (tmp_path / "elsewhere").exists()


def test_a_file_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be written"):
        write_secret(tmp_path / "no folder" / "new")


def test_a_half_written_secret_is_not_left_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(handle: int) -> None:
        raise OSError("no space left")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="no space"):
        write_secret(tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_new_secrets_are_new_and_key_ids_tell_them_apart() -> None:
    secrets = {new_secret() for _ in range(20)}
    assert len(secrets) == 20 and {len(digits) for digits in secrets} == {64}
    assert len({key_id(bytes.fromhex(digits)) for digits in secrets}) == 20


def test_a_pinned_secret_stays_and_is_in_nothing_that_is_kept(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("DYNANOISE_KEY", "5f" * 32)
    pinned = Pinned()
    monkeypatch.setenv("DYNANOISE_KEY", "a3" * 32)
    assert pinned.root() == bytes.fromhex("5f" * 32)
    logits = np.array([[1.0, 2.0, 3.0]])
    noise = Keyed(4.0, "m", "ab" * 32, pinned)
    other = DynaNoise()(logits, Keyed(4.0, "m", "ab" * 32))
    assert (DynaNoise()(logits, noise) != other).all()
    for held in (repr(noise), str(asdict(noise)), repr(pickle.dumps(noise))):
        assert "5f5f" not in held and "____" not in held  # 5f is _
    for again in (copy.copy(pinned), copy.deepcopy(pinned), pickle.loads(pickle.dumps(pinned))):
        assert type(again) is Secret and again.root() == bytes.fromhex("a3" * 32)
    monkeypatch.delenv("DYNANOISE_KEY")
    assert pinned.root() == bytes.fromhex("5f" * 32)
    with pytest.raises(SecretError):
        Pinned()


def test_the_text_of_a_secret_is_not_looked_into(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DYNANOISE_API_KEY", " alice.key\n")
    assert Secret("env:DYNANOISE_API_KEY").text() == "alice.key"


def test_the_text_of_a_file_is_whole_or_refused(file: Path) -> None:
    """As of a password, which would be another if a part of it were replaced or cut off."""
    secret = Secret(f"file:{file}")
    for text in ("pässwörd-密码", "x" * 65_536):
        file.write_text(text, encoding="utf-8")
        assert secret.text() == text
    for raw, says in (
        ("pässwörd".encode("latin-1"), r"is not text in UTF-8\. Write it as plain text"),
        (b"pass" * 16_384 + b"w", r"has more than 65,536 bytes\. Name the file"),
    ):
        file.write_bytes(raw)
        with pytest.raises(SecretError, match=says) as caught:
            secret.text()
        assert "ssw" not in str(caught.value) and str(file) in str(caught.value)
        assert caught.value.__context__ is None
