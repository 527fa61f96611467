"""Pages that are made from Records and from --help.

``make docs`` (``python -m tests.generated``) writes them; `test_generated.py` finds stale ones.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from dynanoise.report.findings import MIDPUT_NOTE, findings
from dynanoise.report.records import load
from dynanoise.report.summary import summarise
from dynanoise.report.table import caption, markdown_table

ROOT = Path(__file__).parent.parent
RECORDS = ROOT / "results" / "digits" / "records.json"


def readme() -> str:
    """The README with its table and sentences made anew from the Records."""
    summary = summarise(load(RECORDS))
    sentences = "\n".join(f"- {sentence}" for sentence in findings(summary))
    body = f"{markdown_table(summary)}\n\n{caption(summary)} {MIDPUT_NOTE}\n\n{sentences}"
    command = f"{summary.records[0].command} --out results/digits"
    text = (ROOT / "README.md").read_text()
    block = re.compile(r"<!-- table: .*? -->\n.*?<!-- end of table -->", re.DOTALL)
    assert len(block.findall(text)) == 1
    made = f"<!-- table: {command} -->\n\n{body}\n\n<!-- end of table -->"
    return block.sub(lambda _: made, text)


def cli_page() -> str:
    """docs/cli.md: every command's --help, at 80 columns."""
    parts = ["# The command line", "", "Made by `make docs` from `--help`.", ""]
    for command in ([], ["bench"], ["show"], ["store", "ls"], ["store", "rm"]):
        name = " ".join(["dynanoise", *command])
        parts += [f"## `{name}`", "", "```text", _help(command), "```", ""]
    return "\n".join(parts)


def _help(command: list[str]) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "dynanoise", *command, "--help"],
        capture_output=True,
        text=True,
        check=True,
        env={"COLUMNS": "80", "TERM": "dumb", "NO_COLOR": "1", "PYTHONIOENCODING": "utf-8"},
    )
    return "\n".join(line.rstrip() for line in done.stdout.strip("\n").splitlines())


PAGES = {ROOT / "README.md": readme, ROOT / "docs" / "cli.md": cli_page}


if __name__ == "__main__":
    for page, make in PAGES.items():
        page.write_text(make())
        sys.stdout.write(f"wrote {page.relative_to(ROOT)}\n")
