"""Draw docs/rooms.svg: the rooms of src/dynanoise in the layers of the import contract.

``make docs`` writes the picture, and a test finds a stale one.
"""

from __future__ import annotations

import ast
import textwrap
import tomllib
from pathlib import Path
from xml.sax.saxutils import escape

ROOT = Path(__file__).parent.parent
PICTURE = ROOT / "docs" / "rooms.svg"
WIDTH, GAP, MARGIN = 960, 14, 16
_STYLE = (
    "text{font:11px system-ui,sans-serif;fill:#57606a}.name{font-weight:600;font-size:14px;"
    "fill:#1f2328}rect{fill:#eef4fb;stroke:#4c7bb0}.paper{fill:#fff;stroke:none}"
    "path{stroke:#8c959f}"
)


def layers() -> list[list[str]]:
    """Room names of each layer of the import contract, the top layer first."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())
    contracts = settings["tool"]["importlinter"]["contracts"]
    contract = next(entry for entry in contracts if entry["type"] == "layers")
    return [
        [module.strip().removeprefix("dynanoise.") for module in layer.split("|")]
        for layer in contract["layers"]
    ]


def summary(room: str) -> str:
    """First line of a room's docstring."""
    base = ROOT / "src" / "dynanoise" / room
    path = base / "__init__.py" if base.is_dir() else base.with_suffix(".py")
    docstring = ast.get_docstring(ast.parse(path.read_text())) or ""
    return docstring.splitlines()[0].rstrip(".")


def picture() -> str:
    """The rooms as SVG: a room imports only rooms of lower rows."""
    boxes: list[str] = []
    top = MARGIN
    for rooms in layers():
        width = (WIDTH - 2 * MARGIN - GAP * (len(rooms) - 1)) / len(rooms)
        texts = [textwrap.wrap(summary(room), max(16, int((width - 20) / 5.8))) for room in rooms]
        height = 32 + 13 * max(len(lines) for lines in texts)
        if boxes:
            boxes.append(f'<path d="M{WIDTH // 2} {top - GAP}v{GAP}"/>')
        for column, (room, lines) in enumerate(zip(rooms, texts, strict=True)):
            left = MARGIN + column * (width + GAP)
            boxes.append(
                f'<rect x="{left:.0f}" y="{top}" width="{width:.0f}" height="{height}" rx="6"/>'
                f'<text class="name" x="{left + 10:.0f}" y="{top + 20}">{escape(room)}</text>'
            )
            boxes += [
                f'<text x="{left + 10:.0f}" y="{top + 37 + 13 * line}">{escape(text)}</text>'
                for line, text in enumerate(lines)
            ]
        top += height + GAP
    bottom = top - GAP + MARGIN
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {bottom}" '
            f'width="{WIDTH}" height="{bottom}" role="img">',
            "<title>Rooms of dynanoise; each imports only rooms of lower rows</title>",
            f'<style>{_STYLE}</style><rect width="100%" height="100%" class="paper"/>',
            *boxes,
            "</svg>\n",
        ]
    )


if __name__ == "__main__":
    PICTURE.write_text(picture())
