"""The paper-shaped table on a terminal."""

from __future__ import annotations

from rich import box
from rich.table import Table

from dynanoise.registry import ATTACKS
from dynanoise.report.summary import Spread, Summary

_TRADE_OFF = {
    "midput": "MIDPUT",
    "midput_leakage": "MIDPUT leak",
    "midput_worst_case": "MIDPUT worst",
}


def success_table(summary: Summary) -> Table:
    """Contenders in rows; accuracy, each attack's success and MIDPUT in columns.

    Cells are the mean over seeds above the sample standard deviation.
    """
    record = summary.records[0]
    several = len(summary.seeds) > 1
    seeds = f"{len(summary.seeds)} seeds: mean over ± standard deviation" if several else "One seed"
    trained = summary.spread(summary.contenders[0], None, "train_accuracy").mean
    table = Table(
        title=f"{record.preset}: {record.model}, {record.protocol} protocol",
        caption=(
            f"{seeds}. Attack success is balanced accuracy on {record.counts['scored']} records, "
            "half of them members.\n"
            f"The undefended model's accuracy on its members is {trained:.3f}."
        ),
        box=box.SIMPLE_HEAD,
        show_edge=False,
        padding=0,
        title_justify="left",
        caption_justify="left",
    )
    table.add_column("", no_wrap=True)
    headings = [attack_title(name) for name in summary.attacks]
    for heading in ("Test acc.", *headings, *_TRADE_OFF.values()):
        width = 6 if heading in _TRADE_OFF.values() else 5
        table.add_column(heading, justify="right", min_width=width, overflow="fold")
    for contender in summary.contenders:
        table.add_row(
            contender,
            _cell(summary.spread(contender, None, "accuracy")),
            *(_cell(summary.spread(contender, name, "asr")) for name in summary.attacks),
            *(
                _cell(summary.spread(contender, None, name), signed=True)
                if contender != summary.contenders[0]
                else "-"
                for name in _TRADE_OFF
            ),
        )
    return table


def attack_title(name: str) -> str:
    """The attack's heading, its name if it is not installed here."""
    return str(ATTACKS.get(name).title) if name in ATTACKS.names() else name


def _cell(spread: Spread, signed: bool = False) -> str:
    mean = f"{spread.mean:+.3f}" if signed else f"{spread.mean:.3f}"
    return mean if spread.sd is None else f"{mean}\n[dim]{_deviation(spread.sd)}[/dim]"


def _deviation(sd: float) -> str:
    """Such as "±.012": without its zero the table fits 80 columns."""
    return f"±{sd:.3f}".replace("±0.", "±.")


def markdown_table(summary: Summary) -> str:
    """The same table in Markdown, cells "mean ± standard deviation".

    Used by the README and by people who write about a run.
    """
    headings = [
        "",
        "Test accuracy",
        *(attack_title(name) for name in summary.attacks),
        *_TRADE_OFF.values(),
    ]
    lines = [headings, [":--", *["--:"] * (len(headings) - 1)]]
    for contender in summary.contenders:
        cells = [_inline(summary.spread(contender, None, "accuracy"))]
        cells += [_inline(summary.spread(contender, name, "asr")) for name in summary.attacks]
        for name in _TRADE_OFF:
            first = contender == summary.contenders[0]
            cells.append("" if first else _inline(summary.spread(contender, None, name), True))
        lines.append([contender, *cells])
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _inline(spread: Spread, signed: bool = False) -> str:
    mean = f"{spread.mean:+.3f}" if signed else f"{spread.mean:.3f}"
    return mean if spread.sd is None else f"{mean} ± {spread.sd:.3f}"
