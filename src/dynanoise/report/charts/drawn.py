"""The sections of the HTML report that are charts, of benchmarks and of audits alike."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from dynanoise.attacks.title import title_of
from dynanoise.core.evidence import AttackSample, Evidence
from dynanoise.core.result import STRONGEST
from dynanoise.report.charts import charts, curves, histograms
from dynanoise.report.render.markup import Markup, figure, join, table, tag
from dynanoise.report.summary import Summary
from dynanoise.report.wording.threats import budget
from dynanoise.report.wording.verdict import honest

RELIABILITY = (
    "Reliability is that of single answers about test data: on the dotted line, confidence is "
    "accuracy."
)
NO_RELIABILITY = "Reliability is not shown: that takes test data, and there are none."
NO_RISKS = (
    "Success by record is not shown: that takes several models, some trained on a record and some "
    "not."
)

_SHOWN_AT_RISK = 10


class Drawn:
    """Charts of attacks, in sections.

    Args:
        evidence: of one run.
        summaries: of its results, by protocol; they may lack utility.
    """

    def __init__(self, evidence: Evidence, summaries: Mapping[str, Summary]) -> None:
        self.evidence, self.summaries = evidence, summaries
        self.pools = honest(summaries)
        names = dict.fromkeys(c for one in summaries.values() for c in one.methods)
        self.methods = list(names)
        self.baseline = self.methods[0]
        self._drawn = 0

    def sections(self) -> Iterator[tuple[str, str, Markup]]:
        """Key, heading and content of each; those of curves and histograms where they were kept."""
        yield "charts", "Attack success", self._overview()
        if self.evidence.rows is not None:
            yield "methods", "Method by method", self._cards()
            yield "records", "Records most at risk", self._risks()

    def _chart(self, chart: charts.Chart) -> Markup:
        self._drawn += 1
        return figure(chart, f"c{self._drawn}")

    def _overview(self) -> Markup:
        shown = [self._chart(charts.success(self.summaries, self.methods))]
        if len(self.pools) > 1:
            shown.append(self._chart(charts.budgets(self.pools, self.methods)))
        kept = {one.protocol for one in self.evidence.attacks}
        for name, summary in self.pools.items():
            if name in kept:
                said = asks(summary)
                chart = curves.roc_of_all(self.evidence, name, self.methods, said)
                shown.append(self._chart(chart))
        missing = "" if kept else tag(
            "p",
            "No scores were kept beside these results, so ROC curves, histograms, reliability and "
            "records at risk are not shown; `dynanoise bench --out` keeps them where a pool of "
            "models is judged, `dynanoise audit --out` always.",
            class_="note",
        )  # fmt: skip
        note = curves.NOTE if kept else ""
        return join(missing, tag("div", *shown, class_="charts"), tag("p", note, class_="faint"))

    def _cards(self) -> Markup:
        protocol, summary = list(self.pools.items())[-1]
        attack = self._clearest(summary)
        before = self._sample(protocol, self.baseline, attack)
        calibrated = {one.method: one for one in self.evidence.reliability}
        cards = [
            tag("p", f"ROC curves are those of an attacker with {asks(summary)}. Histograms show "
            f"scores of {title_of(attack)}, undefended and behind the defense; the outermost bins "
            f"hold what lies beyond them. {RELIABILITY if calibrated else NO_RELIABILITY}",
            class_="faint")
        ]  # fmt: skip
        for name in self.methods:
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
                    panels |= {} if found is None else {f"{name}, {asks(one)}": found}
            shown.append(self._chart(histograms.scores(panels, name)))
            if name in calibrated:
                shown.append(self._chart(histograms.reliability(calibrated[name])))
            cards.append(join(tag("h3", name), tag("div", *shown, class_="charts small")))
        return join(*cards)

    def _sample(self, protocol: str, method: str, attack: str) -> AttackSample | None:
        found = self.evidence.attacks_on(protocol, method)
        return next((one for one in found if one.attack == attack), None)

    def _clearest(self, summary: Summary) -> str:
        """The attack that its owner expects most of, undefended."""
        names = [name for name in summary.attacks if name != STRONGEST]
        return max(names, key=lambda one: summary.spread(self.baseline, one, "asr").mean)

    def _risks(self) -> Markup:
        protocol, summary = list(self.pools.items())[-1]
        found = [one for one in self.evidence.risks if one.protocol == protocol]
        if not found:
            return tag("p", NO_RISKS)
        said = asks(summary)
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
            tag("div", self._chart(histograms.risks(found, said)), class_="charts"),
            table(
                f"The records with the greatest success by method, {said}",
                ["Rank", *(one.method for one in found)],
                rows,
            ),
        )


def asks(summary: Summary) -> str:
    """How often the attacker asks, such as "16 queries a record"."""
    return budget(summary.records[0].threat)
