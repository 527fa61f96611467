"""Where pretrained models come from; no test uses the network."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

from dynanoise.core.errors import DataFileError, MissingDataError, MissingExtraError
from dynanoise.data import hub, pretrained
from tests.factories import checkpoints

hub_library: Any = pytest.importorskip("huggingface_hub", reason="pip install 'dynanoise[hf]'")

COMMIT = "12040accade4e8a0f71eabdb258fecc2e7e948be"


class Served:
    """What the hub has, and how it was asked."""

    def __init__(self, models: dict[str, Path], root: Path) -> None:
        self.models, self.root = models, root
        self.asked: list[dict[str, Any]] = []

    def __call__(self, name: str, **options: Any) -> str:
        self.asked.append({"name": name, **options})
        if name not in self.models:
            raise FileNotFoundError(f"404: no {name}\nand more lines")
        return str(shutil.copytree(self.models[name], self.root / COMMIT, dirs_exist_ok=True))


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Served:
    there = Served({"me/tiny": checkpoints.write(tmp_path / "tiny")}, tmp_path / "snapshots")
    monkeypatch.setattr(hub_library, "snapshot_download", there)
    monkeypatch.setattr(hub, "reachable", lambda: True)
    monkeypatch.chdir(tmp_path)
    return there


def test_a_folder_has_its_own_name_and_the_digest_of_its_files(tmp_path: Path) -> None:
    tiny = checkpoints.write(tmp_path / "tiny")
    found = pretrained.find(str(tiny))
    assert (found.name, found.folder) == ("tiny", tiny)
    assert found.revision == pretrained.revision(tiny)
    (tiny / "README.md").write_text("says nothing about the model")
    assert pretrained.find(f"{tiny}/") == found
    (tiny / "vocab.txt").write_text("film")
    assert pretrained.find(str(tiny)).revision != found.revision


def test_a_model_of_the_hub_has_its_commit(served: Served) -> None:
    found = pretrained.find("me/tiny")
    assert (found.name, found.revision, found.folder.name) == ("me/tiny", COMMIT, COMMIT)
    (asked,) = served.asked
    assert asked["revision"] is None and asked["local_files_only"] is False
    assert asked["allow_patterns"] == ["*.json", "*.txt", "*.model", "*.safetensors"]
    pretrained.find("me/tiny@v1")
    assert (served.asked[1]["name"], served.asked[1]["revision"]) == ("me/tiny", "v1")


def test_a_folder_goes_before_the_hub(served: Served, tmp_path: Path) -> None:
    checkpoints.write(tmp_path / "me" / "tiny")
    assert pretrained.find("me/tiny").revision.startswith("sha256:") and not served.asked


def test_out_of_reach_only_what_was_fetched_is_looked_at(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub, "reachable", lambda: False)
    pretrained.find("me/tiny")
    assert served.asked[0]["local_files_only"] is True


def test_what_is_nowhere_is_named(served: Served, tmp_path: Path) -> None:
    with pytest.raises(
        MissingDataError,
        match=r"^'me/typo' is not a folder.*\(FileNotFoundError: 404: no me/typo\)\.",
    ):
        pretrained.find("me/typo")
    for path in (str(tmp_path / "typo"), "./typo", "../typo", "some/where/typo"):
        with pytest.raises(MissingDataError, match=r"^There is no folder "):
            pretrained.find(path)
    assert len(served.asked) == 1
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataFileError, match=r"empty has no config\.json"):
        pretrained.find(str(tmp_path / "empty"))


def test_without_the_libraries_the_extra_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny = checkpoints.write(tmp_path / "tiny")
    for name in ("transformers", "tokenizers", "huggingface_hub"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(MissingExtraError, match=r"pip install .*transformers"):
        pretrained.classifier(tiny, "tiny", 2, weights=True)
    with pytest.raises(MissingExtraError, match=r"pip install .*transformers"):
        pretrained.find("me/tiny")
