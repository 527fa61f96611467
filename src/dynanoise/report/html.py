"""The report: one HTML file that needs nothing else, neither network nor scripts."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import resources

from dynanoise.evidence import AttackSample, Evidence
from dynanoise.report import charts, curves, histograms, side_by_side
from dynanoise.report.findings import MIDPUT_NOTE
from dynanoise.report.markup import Markup, figure, join, table, tag
from dynanoise.report.sections import made_section, verdict_section
from dynanoise.report.side_by_side import STRONGEST
from dynanoise.report.summary import Summary
from dynanoise.report.verdict import (
    budget,
    honest,
    summaries_of,
    verdict,
    with_interval,
)

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
_SHOWN_AT_RISK = 10


def report_html(evidence: Evidence) -> str:
    """A report of Records and what stands behind them.

    It says first in plain words what leaks, to whom, and what a defense changes and costs; then
    come both protocols in one table, charts with their numbers, the records most at risk, and how
    it was made. Charts of what was not measured are left out, and it says so.

    Args:
        evidence: of one run; Records alone give a report without curves and histograms.

    Returns:
        A whole HTML document. The same evidence and matplotlib version give the same text.

    Raises:
        InputError: if the Records are not all those of one run, or nobody attacks in them.
        MissingExtraError: if matplotlib is not installed.
    """
    page = _Page(evidence)
    sections = list(page.sections())
    links = [tag("li", tag("a", title, href=f"#{key}")) for key, title, _ in sections]
    body = join(
        tag("header", tag("h1", page.title), tag("p", page.subtitle, class_="faint")),
        tag("nav", tag("ul", *links), aria_label="Sections"),
        tag("main", *(_section(*one) for one in sections)),
    )
    style = resources.files("dynanoise.report").joinpath("report.css").read_text("utf-8")
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


class _Page:
    """The sections of one report."""

    def __init__(self, evidence: Evidence) -> None:
        self.evidence = evidence
        self.summaries = summaries_of(evidence.records)
        self.pools = honest(self.summaries)
        names = dict.fromkeys(c for one in self.summaries.values() for c in one.contenders)
        self.contenders = list(names)
        self.baseline = self.contenders[0]
        self._drawn = 0

    @property
    def title(self) -> str:
        record = self.evidence.records[0]
        return f"Membership inference on {record.preset}, {record.model}"

    @property
    def subtitle(self) -> str:
        record = self.evidence.records[0]
        names = ", ".join(f"{name} ({_asks(one)})" for name, one in self.summaries.items())
        version = record.versions.get("dynanoise", "")
        return f"Protocols: {names}. DynaNoise {version}."

    def sections(self) -> Iterator[tuple[str, str, Markup]]:
        """Key, heading and content of each."""
        yield "verdict", "Verdict", verdict_section(verdict(self.summaries))
        yield "protocols", "The protocols side by side", self._protocols()
        yield "charts", "Attack success", self._overview()
        if self.evidence.rows is not None:
            yield "contenders", "Contender by contender", self._cards()
            yield "records", "Records most at risk", self._risks()
        yield "attacks", "Every attack", self._attacks()
        yield "how", "How it was made", made_section(self.evidence.records, self.contenders)

    def _chart(self, chart: charts.Chart) -> Markup:
        self._drawn += 1
        return figure(chart, f"c{self._drawn}")

    def _protocols(self) -> Markup:
        header, rows = side_by_side.cells(self.summaries)
        # Accuracy stands in the next table, of one protocol and with its interval.
        header, *rows = ([line[0], *line[2:]] for line in (header, *rows))
        header[0] = "Contender"
        shown = table("Strongest attack's balanced accuracy, and MIDPUT", header, rows)
        names = [name for name in _UTILITY if self._has(name)]
        costs = [
            [name, *(self._utility(name, metric) for metric in names)] for name in self.contenders
        ]
        heads = ["Contender", *(_UTILITY[name] for name in names)]
        return join(
            shown,
            tag("p", MIDPUT_NOTE, class_="faint"),
            table("What answers are worth, with 95% intervals", heads, costs),
        )

    def _has(self, metric: str) -> bool:
        return any(metric in one.metrics for one in self.evidence.records if one.attack is None)

    def _utility(self, contender: str, metric: str) -> str:
        """Of the protocol with the most models that was run for it."""
        for summary in reversed(self.summaries.values()):
            rows = [r for r in summary.records if (r.contender, r.attack) == (contender, None)]
            if rows and all(metric in one.metrics for one in rows):
                return _cell(summary, contender, None, metric)
        return "-"

    def _overview(self) -> Markup:
        shown = [self._chart(charts.success(self.summaries, self.contenders))]
        if len(self.pools) > 1:
            shown.append(self._chart(charts.budgets(self.pools, self.contenders)))
        kept = {one.protocol for one in self.evidence.attacks}
        for name, summary in self.pools.items():
            if name in kept:
                said = _asks(summary)
                chart = curves.roc_of_all(self.evidence, name, self.contenders, said)
                shown.append(self._chart(chart))
        missing = "" if kept else tag(
            "p",
            "No scores were kept beside these Records, so ROC curves, histograms, reliability and "
            "records at risk are not shown; `dynanoise bench --out` keeps them where a pool of "
            "models is judged.",
            class_="note",
        )  # fmt: skip
        note = curves.NOTE if kept else ""
        return join(missing, tag("div", *shown, class_="charts"), tag("p", note, class_="faint"))

    def _cards(self) -> Markup:
        protocol, summary = list(self.pools.items())[-1]
        attack = self._clearest(summary)
        before = self._sample(protocol, self.baseline, attack)
        calibrated = {one.contender: one for one in self.evidence.reliability}
        cards = [
            tag("p", f"ROC curves are those of an attacker with {_asks(summary)}. Histograms show "
            f"scores of {charts.attack_name(attack)}, undefended and behind the defense; the "
            "outermost bins hold what lies beyond them. Reliability is that of single answers "
            "about test data: on the dotted line, confidence is accuracy.", class_="faint")
        ]  # fmt: skip
        for name in self.contenders:
            samples = self.evidence.attacks_on(protocol, name)
            if not samples or before is None:
                said = "Not run on a pool of models, so there are no curves."
                cards.append(join(tag("h3", name), tag("p", said)))
                continue
            shown = [self._chart(curves.roc_of_one(samples, name))]
            panels = {"undefended": before}
            if name != self.baseline:
                for key, one in self.pools.items():
                    found = self._sample(key, name, attack)
                    panels |= {} if found is None else {f"{name}, {_asks(one)}": found}
            shown.append(self._chart(histograms.scores(panels, name)))
            if name in calibrated:
                shown.append(self._chart(histograms.reliability(calibrated[name])))
            cards.append(join(tag("h3", name), tag("div", *shown, class_="charts small")))
        return join(*cards)

    def _sample(self, protocol: str, contender: str, attack: str) -> AttackSample | None:
        found = self.evidence.attacks_on(protocol, contender)
        return next((one for one in found if one.attack == attack), None)

    def _clearest(self, summary: Summary) -> str:
        """The attack that its owner expects most of, undefended."""
        names = [name for name in summary.attacks if name != STRONGEST]
        return max(names, key=lambda one: summary.spread(self.baseline, one, "asr").mean)

    def _risks(self) -> Markup:
        protocol, summary = list(self.pools.items())[-1]
        found = [one for one in self.evidence.risks if one.protocol == protocol]
        asks = _asks(summary)
        rows = [
            [
                str(place + 1),
                *(
                    f"record {one.ids[place]}, class {one.labels[place]}: {one.success[place]:.2f}"
                    if place < len(one.ids)
                    else ""
                    for one in found
                ),
            ]
            for place in range(_SHOWN_AT_RISK)
        ]
        return join(
            tag(
                "p",
                "Averages hide records that are found nearly always. A record's success is how "
                "often the attacker is right about it over the models that were trained on it, and "
                f"over the others; 0.5 is guessing. Over {found[0].models} models some records "
                "stand out by chance alone: compare with the dashed line, which is what would be "
                "seen if all records were alike.",
            ),
            tag("div", self._chart(histograms.risks(found, asks)), class_="charts"),
            table(
                f"The records with the greatest success by contender, {asks}",
                ["Rank", *(one.contender for one in found)],
                rows,
            ),
        )

    def _attacks(self) -> Markup:
        parts = []
        for name, summary in self.summaries.items():
            rows = [
                [f"{contender}, {charts.attack_name(attack)}", *cells]
                for contender in summary.contenders
                for attack in summary.attacks
                if (cells := [_cell(summary, contender, attack, metric) for metric in _ATTACK])
            ]
            header = ["Contender, attack", *_ATTACK.values()]
            said = f"{name}: {_asks(summary)}, 95% intervals"
            parts.append(tag("details", tag("summary", said), table(said, header, rows)))
        return join(*parts)


def _asks(summary: Summary) -> str:
    return budget(summary.records[0].threat)


def _cell(summary: Summary, contender: str, attack: str | None, metric: str) -> str:
    rows = [r for r in summary.records if (r.contender, r.attack) == (contender, attack)]
    if any(metric not in one.metrics for one in rows):
        return "-"
    return with_interval(summary.spread(contender, attack, metric).interval).replace(" [", "\n[")
