"""The report in Markdown, short enough for a pull request."""

from __future__ import annotations

import re

from dynanoise.core.evidence import Evidence
from dynanoise.report import canaries, side_by_side
from dynanoise.report.wording import audit
from dynanoise.report.wording.verdict import NET_GAIN_NOTE, summaries_of, verdict


def report_md(evidence: Evidence) -> str:
    """The verdict, the protocols side by side, and the command that makes them again.

    Of an audit every attack's row and the sentences about it.

    Args:
        evidence: of one run; its results are enough.

    Raises:
        InputError: if the results are not all those of one run, or nobody attacks in them.
    """
    if audit.of_audit(evidence.records):
        return audit.markdown_page(evidence.records, evidence.notes)
    summaries = summaries_of(evidence.records)
    found, record = verdict(summaries), evidence.records[0]
    parts = [f"# Membership inference on {_escaped(record.preset)}, {_escaped(record.model)}"]
    if found.warning:
        parts.append(f"> **{_escaped(found.warning)}**")
    parts += ["## What leaks", *map(_escaped, found.leaks)]
    parts += ["## What it would cost to fix", _escaped(found.fix)]
    parts.append(
        "\n".join(
            f"- {_escaped(gain)}" + (f"\n  {_escaped(cost)}" if cost else "")
            for gain, cost in found.defenses.values()
        )
    )
    parts += [NET_GAIN_NOTE, "## To whom"]
    parts.append("\n".join(f"- {_escaped(said)}" for said in found.whom))
    parts += ["## The protocols side by side", _table(*side_by_side.cells(summaries))]
    if canaries.planted(summaries):
        header, rows = canaries.cells(summaries)
        parts += [f"## {canaries.TITLE}", _table([canaries.flat(one) for one in header], rows)]
        parts += map(_escaped, canaries.notes(summaries))
    parts += [f"`{record.command}`"]
    parts += ["## What this does not cover", found.scope]
    return "\n\n".join(part for part in parts if part) + "\n"


def _table(header: list[str], rows: list[list[str]]) -> str:
    lines = [header, [":--", *["--:"] * (len(header) - 1)], *rows]
    lines = [
        [cell if cell in (":--", "--:") else _escaped(cell).replace("\n", "<br>") for cell in line]
        for line in lines
    ]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _escaped(text: str) -> str:
    r"""Names come from users' files; they shall not become markup.

    >>> _escaped("a|b <i> lira_by_class `x`")
    'a\\|b &lt;i&gt; lira\\_by\\_class `x`'
    """
    plain = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\|*_#~])", r"\\\1", plain)
