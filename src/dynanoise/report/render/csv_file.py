"""Tables as comma-separated values."""

from __future__ import annotations

import csv
import io

from dynanoise.report.table import Table


def table_csv(table: Table) -> str:
    r"""Write a table as CSV, numbers at full precision.

    >>> from dynanoise.core.result import Metric
    >>> from dynanoise.report.table import make_table, number_cell
    >>> table_csv(make_table("", ["method", "auc"], [["none", number_cell(Metric(0.62345))]]))
    'method,auc\nnone,0.62345\n'
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([column.heading for column in table.columns])
    for row in table.rows:
        writer.writerow([cell.text if cell.number is None else cell.number.value for cell in row])
    return text.getvalue()
