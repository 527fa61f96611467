"""Write numbers and their 95% intervals as text, the same way in sentences and in tables."""

from __future__ import annotations

import math
import re
from collections.abc import Callable

from dynanoise.core.result import Metric

Write = Callable[[float], str]
"""A way to write one number: `rate`, `change`, `ratio` or `amount`."""


def rate(value: float) -> str:
    """Write a number with three decimals.

    >>> rate(0.56649), rate(-0.0104)
    ('0.566', '-0.010')
    """
    return f"{value:.3f}"


def change(value: float) -> str:
    """Write a difference with its sign and three decimals.

    >>> change(0.104), change(-0.0104)
    ('+0.104', '-0.010')
    """
    return f"{value:+.3f}"


def ratio(value: float) -> str:
    """Write a ratio of times, with two decimals where it is near 1.

    >>> [ratio(value) for value in (0.996, 1.0134, 10.26, 198.8, 1076.3)]
    ['1.00', '1.01', '10.3', '198.8', '1076']
    """
    return f"{value:.{2 if value < 10 else 1 if value < 1000 else 0}f}"


def amount(value: float, significant: int = 3) -> str:
    """Write a number >= 0 with some significant digits; whole digits are never cut off.

    >>> [amount(value) for value in (0.000841, 0.1432, 1.0, 56.07, 198.8, 3387.2, 0)]
    ['0.000841', '0.143', '1.00', '56.1', '199', '3387', '0']
    """
    if value == 0:
        return "0"
    places = significant - 1 - math.floor(math.log10(abs(value)))
    return f"{value:.{max(0, places)}f}"


def interval(metric: Metric, write: Write = rate) -> str:
    """Write the 95% interval of a metric; empty where it has none.

    >>> interval(Metric(0.5661, 0.5571, 0.5759)), interval(Metric(1.0))
    ('[0.557, 0.576]', '')
    """
    if metric.low is None or metric.high is None:
        return ""
    return f"[{write(metric.low)}, {write(metric.high)}]"


def with_interval(metric: Metric, write: Write = rate, otherwise: str = "") -> str:
    """Write a metric with its 95% interval.

    Args:
        metric: value and, where it was computed, interval.
        write: how to write each number.
        otherwise: text in place of an interval that is absent.

    >>> with_interval(Metric(0.5, 0.25, 0.75)), with_interval(Metric(0.01), change, "(one seed)")
    ('0.500 [0.250, 0.750]', '+0.010 (one seed)')
    """
    return f"{write(metric.value)} {interval(metric, write) or otherwise}".rstrip()


def compact(text: str) -> str:
    """Shorten numbers for a terminal: no zero before the decimal point, no space between bounds.

    >>> compact("[0.557, 0.576]"), compact("± 0.012"), compact("(+0.103)"), compact("LiRA, online")
    ('[.557,.576]', '±.012', '(+.103)', 'LiRA, online')
    """
    short = re.sub(r"(?<!\d)0\.", ".", text).replace("± ", "±")
    return re.sub(r"(?<=\d), (?=[-+.\d])", ",", short)
