"""The report: one HTML file that needs nothing else, neither network nor scripts."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import resources

from dynanoise.attacks.title import title_of
from dynanoise.core.evidence import Evidence
from dynanoise.core.result import Result
from dynanoise.report import canaries, side_by_side
from dynanoise.report.charts.drawn import Drawn, asks
from dynanoise.report.render.markup import Markup, join, table, tag
from dynanoise.report.render.sections import audit_section, made_section, verdict_section
from dynanoise.report.summary import Summary
from dynanoise.report.wording import audit
from dynanoise.report.wording.findings import MIDPUT_NOTE
from dynanoise.report.wording.verdict import summaries_of, verdict, with_interval

_UTILITY = {
    "accuracy": "Test accuracy",
    "train_accuracy": "Accuracy on members",
    "ece": "Calibration error",
    "nll": "NLL (nats)",
    "label_flips": "Changed labels",
}
_ATTACK = {
    "asr": "Balanced accuracy",
    "auc": "AUC",
    "tpr@0.001": "TPR at 0.1% FPR",
    "tpr@0.01": "TPR at 1% FPR",
}


def report_html(evidence: Evidence) -> str:
    """A report of results and what stands behind them.

    It says first in plain words what leaks, to whom, and what a defense changes and costs; then
    come all protocols in one table, charts with their numbers, the records most at risk, and how
    it was made. Of an audit the words and the table are those of `report_md`. Charts of what was
    not measured are left out, and it says so.

    Args:
        evidence: of one run; results alone give a report without curves and histograms.

    Returns:
        A whole HTML document. The same evidence and matplotlib version give the same text.

    Raises:
        InputError: if the results are not all those of one run, or nobody attacks in them.
        MissingExtraError: if matplotlib is not installed.
    """
    page = _Audit(evidence) if audit.of_audit(evidence.records) else _Bench(evidence)
    sections = list(page.sections())
    links = [tag("li", tag("a", title, href=f"#{key}")) for key, title, _ in sections]
    body = join(
        tag("header", tag("h1", page.title), tag("p", page.subtitle, class_="faint")),
        tag("nav", tag("ul", *links), aria_label="Sections"),
        tag("main", *(_section(*one) for one in sections)),
    )
    style = resources.files("dynanoise.report.render").joinpath("report.css").read_text("utf-8")
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        # Nothing in this file may fetch or run anything, whatever a name in it says.
        '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; '
        "style-src 'unsafe-inline'; img-src data:\">\n"
        '<link rel="icon" href="data:,">\n'
        f"{tag('title', page.title)}\n<style>\n{style}</style>\n</head>\n<body>\n{body}\n"
        "</body>\n</html>\n"
    )


def _section(key: str, title: str, content: Markup) -> Markup:
    heading = tag("h2", title, id=f"{key}-heading")
    return tag("section", heading, content, id=key, aria_labelledby=f"{key}-heading")


class _Bench:
    """The sections of a benchmark."""

    def __init__(self, evidence: Evidence) -> None:
        self.records = evidence.records
        self.summaries = summaries_of(evidence.records)
        self.drawn = Drawn(evidence, self.summaries)

    @property
    def title(self) -> str:
        return f"Membership inference on {self.records[0].preset}, {self.records[0].model}"

    @property
    def subtitle(self) -> str:
        names = ", ".join(f"{name} ({asks(one)})" for name, one in self.summaries.items())
        return f"Protocols: {names}. {_version(self.records[0])}."

    def sections(self) -> Iterator[tuple[str, str, Markup]]:
        """Key, heading and content of each."""
        yield "verdict", "Verdict", verdict_section(verdict(self.summaries))
        yield "protocols", "The protocols side by side", self._protocols()
        if canaries.planted(self.summaries):
            header, rows = canaries.cells(self.summaries)
            shown = table("AUC with 95% intervals", [canaries.flat(one) for one in header], rows)
            said = [tag("p", one, class_="faint") for one in canaries.notes(self.summaries)]
            yield "canaries", canaries.TITLE, join(shown, *said)
        yield from self.drawn.sections()
        yield "attacks", "Every attack", self._attacks()
        yield "how", "How it was made", made_section(self.records, self.drawn.methods)

    def _protocols(self) -> Markup:
        header, rows = side_by_side.cells(self.summaries)
        # Accuracy stands in the next table, of one protocol and with its interval.
        header, *rows = ([line[0], *line[2:]] for line in (header, *rows))
        header[0] = "Method"
        shown = table("Strongest attack's balanced accuracy, and MIDPUT", header, rows)
        names = [name for name in _UTILITY if self._has(name)]
        costs = [
            [name, *(self._utility(name, metric) for metric in names)]
            for name in self.drawn.methods
        ]
        heads = ["Method", *(_UTILITY[name] for name in names)]
        return join(
            shown,
            tag("p", MIDPUT_NOTE, class_="faint"),
            table("What answers are worth, with 95% intervals", heads, costs),
        )

    def _has(self, metric: str) -> bool:
        return any(metric in one.metrics for one in self.records if one.attack is None)

    def _utility(self, method: str, metric: str) -> str:
        """Of the protocol with the most models that was run for it."""
        for summary in reversed(self.summaries.values()):
            rows = [r for r in summary.records if (r.method, r.attack) == (method, None)]
            if rows and all(metric in one.metrics for one in rows):
                return _cell(summary, method, None, metric)
        return "-"

    def _attacks(self) -> Markup:
        parts = []
        for name, summary in self.summaries.items():
            rows = [
                [f"{method}, {title_of(attack)}", *cells]
                for method in summary.methods
                for attack in (*summary.attacks, *summary.special)
                if summary.has(method, attack)
                if (cells := [_cell(summary, method, attack, metric) for metric in _ATTACK])
            ]
            header = ["Method, attack", *_ATTACK.values()]
            said = f"{name}: {asks(summary)}, 95% intervals"
            parts.append(tag("details", tag("summary", said), table(said, header, rows)))
        return join(*parts)


class _Audit:
    """The sections of an audit of what a user brought."""

    def __init__(self, evidence: Evidence) -> None:
        self.evidence, self.records = evidence, evidence.records
        self.drawn = Drawn(evidence, audit.summaries_of(evidence.records))

    @property
    def title(self) -> str:
        return audit.title(self.records[0])

    @property
    def subtitle(self) -> str:
        return f"{audit.subtitle(self.records[0])}. {_version(self.records[0])}."

    def sections(self) -> Iterator[tuple[str, str, Markup]]:
        """Key, heading and content of each."""
        yield "verdict", "Verdict", audit_section(self.records, self.evidence.notes)
        shown = table("Attacks by answers and query budget", *audit.cells(self.records))
        yield "attacks", "Every attack", join(shown, tag("p", audit.CAPTION, class_="faint"))
        yield from self.drawn.sections()
        yield "how", "How it was made", made_section(self.records, self.drawn.methods)


def _version(record: Result) -> str:
    return f"DynaNoise {record.versions.get('dynanoise', '')}".strip()


def _cell(summary: Summary, method: str, attack: str | None, metric: str) -> str:
    rows = [r for r in summary.records if (r.method, r.attack) == (method, attack)]
    if any(metric not in one.metrics for one in rows):
        return "-"
    return with_interval(summary.spread(method, attack, metric).interval).replace(" [", "\n[")
