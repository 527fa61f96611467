"""docs/design.md describes the tree as it is."""

from __future__ import annotations

import re
from graphlib import TopologicalSorter

import grimp

from docs.rooms import PICTURE, ROOT, picture

SOURCE = ROOT / "src" / "dynanoise"


def test_the_table_names_every_room_and_no_other() -> None:
    text = (ROOT / "docs" / "design.md").read_text()
    named = re.findall(r"^\| `([a-z/_]+)` \|", text, re.MULTILINE)
    rooms = {
        path.parent.relative_to(SOURCE).as_posix()
        for path in SOURCE.rglob("__init__.py")
        if path.parent != SOURCE
    }
    assert sorted(named) == sorted(rooms)


def test_the_walk_names_functions_that_exist() -> None:
    text = (ROOT / "docs" / "design.md").read_text()
    steps = re.findall(r"^\| \d+ \| `([a-z/_]+\.py)` `([a-z_]+)` \|", text, re.MULTILINE)
    assert 8 <= len(steps) <= 12
    for path, function in steps:
        assert re.search(rf"^ *def {function}\(", (SOURCE / path).read_text(), re.MULTILINE), path


def test_the_picture_is_that_of_the_import_contract() -> None:
    assert PICTURE.read_text() == picture(), "run `make docs`"


def test_the_root_holds_public_import_names_alone() -> None:
    names = {path.stem for path in SOURCE.glob("*.py")}
    assert names == {"__init__", "__main__", "onnx", "sklearn", "torch", "transformers"}


def test_folders_stay_small() -> None:
    for folder in [SOURCE, *SOURCE.rglob("*/")]:
        files = [path for path in folder.glob("*.py") if path.stem != "__init__"]
        assert len(files) <= 15, folder


def test_no_module_imports_itself_through_others() -> None:
    graph = grimp.build_graph("dynanoise", cache_dir=None)  # imports for types alone count, too
    imports = {module: graph.find_modules_directly_imported_by(module) for module in graph.modules}
    TopologicalSorter(imports).prepare()  # raises CycleError
