"""Hooks of the documentation site: files and links outside of docs/ become part of it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent

PROJECT = {
    "CONTRIBUTING.md": "project/contributing.md",
    "CHANGELOG.md": "project/changelog.md",
    "SECURITY.md": "project/security.md",
    "README.md": "index.md",
}
"""Pages of the root, by their place on the site."""

_LINK = re.compile(r"(!?)\[([^\]]*)\]\(([^)\s]+)\)")


def on_files(files: Any, *, config: Any) -> Any:
    """Add pages of the root, and pictures of results."""
    from mkdocs.structure.files import File

    for source, place in PROJECT.items():
        if place != "index.md":
            files.append(File.generated(config, place, abs_src_path=str(ROOT / source)))
    for picture in sorted((ROOT / "results").glob("*/*.svg")):
        place = picture.relative_to(ROOT).as_posix()
        files.append(File.generated(config, place, abs_src_path=str(picture)))
    return files


def on_page_markdown(markdown: str, *, page: Any, config: Any, files: Any) -> str:
    """Point links to where their targets are on the site; others keep their text alone."""
    place = page.file.src_uri
    source = next((name for name, target in PROJECT.items() if target == place != "index.md"), None)
    folder = ROOT if source else (ROOT / "docs" / place).parent
    up = "../" * place.count("/")

    def link(match: re.Match[str]) -> str:
        image, text, target = match.groups()
        address, _, anchor = target.partition("#")
        if not address or "://" in address or address.startswith("mailto:"):
            return match[0]
        relative = (folder / address).resolve()
        if not relative.is_relative_to(ROOT):
            return match[0]
        name = relative.relative_to(ROOT).as_posix()
        page_of = PROJECT.get(name) or name.removeprefix("docs/")
        if files.get_file_from_path(page_of) is None:
            return match[0] if (ROOT / "docs") in relative.parents else f"`{name}`"
        return f"{image}[{text}]({up}{page_of}{'#' + anchor if anchor else ''})"

    # Links in docs may be broken over two lines, as in [text](\n  page.md).
    return _LINK.sub(link, re.sub(r"\]\(\n\s*", "](", markdown))


def on_post_page(output: str, *, page: Any, config: Any) -> str:
    """Name the dialog of the search, which the theme leaves without a name for screen readers."""
    dialog = 'data-md-component="search" role="dialog"'
    return output.replace(dialog, f'{dialog} aria-label="Search"')
