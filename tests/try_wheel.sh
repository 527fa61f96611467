#!/usr/bin/env bash
# Builds the wheel, installs it alone into an empty environment, and tries it there without torch.
# Usage: tests/try_wheel.sh PYTHON, from the root of the repository.
set -euo pipefail
python=$1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

"$python" -m build --wheel --no-isolation --outdir "$work" . >"$work/build.log" || { cat "$work/build.log"; exit 1; }
"$python" -m venv "$work/empty"
there=$work/empty/bin
"$there/python" -m pip --disable-pip-version-check install --quiet "$work"/dynanoise-*.whl
cd "$work" # away from the source tree

"$there/python" - <<'PYTHON'
import importlib.util
import pathlib

import numpy as np

import dynanoise as dn

assert importlib.util.find_spec("torch") is None, "torch must not come with the core"
assert "site-packages" in dn.__file__
assert (pathlib.Path(dn.__file__).parent / "py.typed").exists()
answer = dn.DynaNoise()(np.zeros((2, 3), dtype=np.float32), dn.Fresh(0))
assert answer.shape == (2, 3)

from dynanoise.report.document import Document
from dynanoise.report.render.html import render_html

assert render_html(Document("title", "subtitle", "command", ())).startswith("<!doctype html>")
PYTHON

"$there/dynanoise" --version
# An audit, with a defense and a report, needs no extra.
"$there/dynanoise" quickstart --out "$work/quickstart" >"$work/verdict" 2>&1 || { cat "$work/verdict"; exit 1; }
grep -q "Verdict: membership leaks" "$work/verdict"
test -s "$work/quickstart/report.html"
"$there/dynanoise" --help >/dev/null
"$there/dynanoise" demo --out "$work/site"
for file in index.html style.css main.js data.json lib/keyed.js vendor/noble.js; do test -s "$work/site/$file"; done
if "$there/dynanoise" bench digits 2>"$work/error"; then echo "bench ran without torch?"; exit 1; fi
grep -q "Install it with: pip install .*torch" "$work/error"

# Help is instant because it imports nothing large.
"$there/python" - >/dev/null <<'PYTHON'
import sys

from dynanoise.cli import app

try:
    app(["bench", "--help"])
except SystemExit:
    pass
large = {"numpy", "scipy", "sklearn", "yaml", "jinja2"} & set(sys.modules)
assert not large, large
PYTHON
echo "The wheel works in an empty environment."
