"""What the image of the gateway installs is pinned: versions, SHA-256 digests, the base image."""

from __future__ import annotations

import importlib.metadata
import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.factories.gateways import ROOT

DOCKER = ROOT / "docker"
LOCKS = ("requirements.txt", "requirements-build.txt")


def pinned(file: Path) -> dict[str, tuple[str, list[str]]]:
    """Version and SHA-256 digests of each package of a file of requirements."""
    packages: dict[str, tuple[str, list[str]]] = {}
    for entry in file.read_text().replace("\\\n", " ").splitlines():
        if entry.startswith("#") or not entry.strip():
            continue
        requirement, _, digests = entry.partition(" --hash=")
        parsed = Requirement(requirement)
        (specifier,) = parsed.specifier
        assert specifier.operator == "==", entry
        packages[canonicalize_name(parsed.name)] = (
            specifier.version,
            re.findall(r"sha256:([0-9a-f]{64})\b", digests),
        )
    return packages


def constraints() -> dict[str, str]:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    split = [line.split("==") for line in lines if "==" in line and not line.startswith("#")]
    return {canonicalize_name(name): version.strip() for name, version in split}


def needed(requirements: list[str], environment: dict[str, str]) -> set[str]:
    """Names of all packages that requirements need, from the metadata of what is installed."""
    waiting, seen = [Requirement(text) for text in requirements], set()
    while waiting:
        requirement = waiting.pop()
        key = (canonicalize_name(requirement.name), frozenset(requirement.extras))
        if key in seen:
            continue
        seen.add(key)
        for text in importlib.metadata.requires(requirement.name) or ():
            inner = Requirement(text)
            if inner.marker is None or any(
                inner.marker.evaluate({**environment, "extra": extra})
                for extra in requirement.extras or {""}
            ):
                waiting.append(inner)
    return {name for name, _ in seen}


@pytest.mark.parametrize("name", LOCKS)
def test_every_package_has_a_version_and_digests(name: str) -> None:
    packages = pinned(DOCKER / name)
    assert packages and all(digests for _, digests in packages.values())
    pins = constraints()
    assert {package: version for package, (version, _) in packages.items()} == {
        package: pins.get(package) for package in packages
    }


def test_the_list_holds_all_that_the_gateway_needs() -> None:
    pytest.importorskip("tritonclient", reason="the gateway: pip install 'dynanoise[serve]'")
    linux = {"python_version": "3.13", "python_full_version": "3.13.14", "sys_platform": "linux"}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    listed = [*project["dependencies"]]
    listed += [text for name in ("serve", "redis", "otel", "onnx", "fast") for text in extras[name]]
    names = needed(listed, linux)
    assert {"h11", "uvicorn", "numba", "onnxruntime", "safetensors"} <= names
    assert names - set(pinned(DOCKER / LOCKS[0])) == set()
    assert needed(["hatchling"], linux) - set(pinned(DOCKER / LOCKS[1])) == set()


def test_the_tests_run_with_the_versions_of_the_image() -> None:
    """Another version installed here means that the image was not what was tested."""
    differing = {}
    for package, (version, _) in pinned(DOCKER / LOCKS[0]).items():
        try:
            installed = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue  # for another system
        if installed != version:
            differing[package] = (installed, version)
    assert differing == {}


def test_the_image_is_built_from_digests_alone() -> None:
    text = (DOCKER / "Dockerfile").read_text()
    (base,) = re.findall(r"^ARG BASE=(\S+)$", text, re.MULTILINE)
    assert re.fullmatch(r"python:3\.\d+\.\d+-slim-bookworm@sha256:[0-9a-f]{64}", base)
    assert set(re.findall(r"^FROM (\S+)", text, re.MULTILINE)) == {"$BASE"}
    for command in re.findall(r"pip install ([^\\\n]*)", text):
        assert "--no-deps" in command
        assert "--require-hashes -r requirements" in command or "--no-index" in command


def test_every_change_makes_the_bill_of_materials_of_the_image() -> None:
    """By a tool that validates what it writes, from the list that the image installs."""
    recipe = (ROOT / "Makefile").read_text().partition("\nsbom:")[2].partition("\n\n")[0]
    assert f"cyclonedx-py requirements docker/{LOCKS[0]}" in recipe and "--validate" in recipe
    (path,) = re.findall(r"--output-file (\S+)", recipe)
    assert "make sbom" in (ROOT / ".ci" / "run").read_text().splitlines()
    assert f"path: {path}" in (ROOT / ".github" / "workflows" / "ci.yml").read_text()


def test_no_page_installs_a_package_of_this_name_from_an_index() -> None:
    """Nothing is published under the name, so that anybody could publish something."""
    pages = [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), *(ROOT / "examples").glob("*.py")]
    pages += [*(ROOT / "src").rglob("*.py"), *(ROOT / "src").rglob("*.js")]
    pages += [*(ROOT / "src").rglob("*.html")]
    assert len(pages) > 100
    command = re.compile(r"pip install[^\n]*[ '\"]dynanoise\b")
    assert [path.name for path in pages if command.search(path.read_text())] == []


def test_the_parts_of_uvicorn_that_are_no_public_interface_are_there() -> None:
    """Connections and servers override these; a release without them would not limit anything."""
    pytest.importorskip("uvicorn", reason="the gateway: pip install 'dynanoise[serve]'")
    import inspect

    import uvicorn
    from uvicorn.protocols.http.h11_impl import H11Protocol

    from dynanoise.serving.listeners import Connection, HttpServer

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    (bound,) = (
        Requirement(text)
        for text in project["optional-dependencies"]["serve"]
        if text.startswith("uvicorn")
    )
    assert any(part.operator == "<" for part in bound.specifier)
    assert bound.specifier.contains(uvicorn.__version__)
    new = {"_addresses", "_has_rest", "_start_head_timer", "_stop_head_timer", "_close"}
    new |= {"_start_write_timer", "_check_written"}
    methods = {name for name, value in vars(Connection).items() if callable(value)} - new
    assert "on_response_complete" in methods and "send_400_response" in methods
    for name in methods - {"__init__"}:
        ours, theirs = getattr(Connection, name), getattr(H11Protocol, name)
        assert list(inspect.signature(ours).parameters) == list(
            inspect.signature(theirs).parameters
        )
    used = {"conn", "cycle", "transport", "connections", "server_state", "loop"}
    source = inspect.getsource(H11Protocol.__init__)
    assert all(f"self.{name}" in source for name in used)
    # A connection reports to itself what it has responded to, and keeps unread events.
    assert "self.on_response_complete" in inspect.getsource(H11Protocol)
    assert callable(uvicorn.Server.capture_signals)
    assert "capture_signals" in inspect.getsource(uvicorn.Server.serve)
    assert "capture_signals" in vars(HttpServer)
