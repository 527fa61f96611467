"""The documentation site: text that can be read on its ground, in the light and in the dark."""

from __future__ import annotations

import re

import pytest

from docs.generate import ROOT

STYLES = (ROOT / "docs" / "stylesheets" / "extra.css").read_text()
GROUNDS = {"default": "#ffffff", "slate": "#131418"}
READABLE = 4.5
"""Contrast of text of normal size, WCAG 2.2, criterion 1.4.3."""


def luminance(colour: str) -> float:
    """Relative luminance of #rrggbb."""
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    low, high = sorted(map(luminance, (one, other)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("scheme", GROUNDS)
def test_every_colour_of_text_can_be_read_on_its_ground(scheme: str) -> None:
    rule = STYLES.split(f'[data-md-color-scheme="{scheme}"] {{')[1].split("}")[0]
    colours = dict(re.findall(r"--md-([\w-]+): (#[0-9a-f]{6});", rule))
    code = [name for name in colours if name.startswith(("code-fg", "code-hl"))]
    page = ["typeset-a-color", "accent-fg-color", "default-fg-color", "default-fg-color--light"]
    assert len(code) == 14
    pairs = [(name, GROUNDS[scheme]) for name in page]
    pairs += [(name, colours["code-bg-color"]) for name in code]
    pairs += [("primary-bg-color", colours["primary-fg-color"])]
    pairs += [("primary-bg-color--light", colours["primary-fg-color"])]
    ratios = {name: contrast(colours[name], ground) for name, ground in pairs}
    assert {name: ratio for name, ratio in ratios.items() if ratio < READABLE} == {}
    assert contrast("#ffffff", "#009688") < READABLE < contrast("#ffffff", "#000000") == 21
