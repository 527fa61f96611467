"""Tables as LaTeX, with the rules of the package booktabs."""

from __future__ import annotations

from collections.abc import Iterable

from dynanoise.report.table import Cell, Table

_ESCAPES = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "±": r"$\pm$",
    **{sign: f"\\{sign}" for sign in "&%$#_{}"},
}


def table_latex(table: Table) -> str:
    r"""Write a table as a LaTeX environment ``table``; it needs ``\usepackage{booktabs}``.

    Args:
        table: intervals and notes stand beside their numbers.

    >>> from dynanoise.report.table import make_table
    >>> print(table_latex(make_table("10% of rows", ["Method", "AUC"], [["a_b", "0.6"]])))
    \begin{table}
    \caption{10\% of rows}
    \begin{tabular}{lr}
    \toprule
    Method & AUC \\
    \midrule
    a\_b & 0.6 \\
    \bottomrule
    \end{tabular}
    \end{table}
    """
    sides = "".join(column.align[0] for column in table.columns)
    lines = [r"\begin{table}"]
    lines += [rf"\caption{{{_escape(table.caption)}}}"] if table.caption else []
    lines += [rf"\begin{{tabular}}{{{sides}}}", r"\toprule"]
    lines += [_row(column.heading for column in table.columns), r"\midrule"]
    for index, row in enumerate(table.rows):
        lines.append(_row(map(_text, row)))
        if index in table.group_ends and index < len(table.rows) - 1:
            lines.append(r"\midrule")
    lines += [r"\bottomrule", r"\end{tabular}", r"\end{table}"]
    return "\n".join(lines)


def _row(texts: Iterable[str]) -> str:
    return " & ".join(map(_escape, texts)) + r" \\"


def _text(cell: Cell) -> str:
    return " ".join(line for line in cell.lines).replace("\n", " ")


def _escape(text: str) -> str:
    return "".join(_ESCAPES.get(sign, sign) for sign in text)
