"""Portable exp, ln, cos and sin: the same bits on every machine.

Mathematics libraries differ in the last place of these functions. IEEE 754 defines +, -, *, /,
floor and comparisons to the last bit, so here are Taylor series after a reduction of the argument,
one rounded operation after another, in an order that no release changes. The functions take float64
arrays, where NumPy's loops are the reference, and single numbers, where numba compiles the same
lines for `noise.kernel`. Nothing may fuse a product and a sum into one rounding. Errors are
within two units in the last place.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

LOWEST = -708.0
"""exp of anything lower is 0; the true value is at most twice the smallest normal float64."""

_LOG2_E = 1.0 / math.log(2.0)
# ln 2 in two parts: the first ends in zeros, so that whole multiples of it are exact.
_LN2_HIGH = float.fromhex("0x1.62e42fee00000p-1")
_LN2_LOW = float.fromhex("0x1.a39ef35793c76p-33")
_TURN = 2.0 * math.pi

_SHIFTER = 1.5 * 2.0**52
"""Added to a float64 it leaves no digits after the point; the last bits are the integer."""

_SHIFTER_BITS = 0x4338 << 48
_ROOT_HALF_BITS = 0x3FE6A09E667F3BCD

_E3, _E4, _E5, _E6, _E7, _E8 = (1.0 / math.factorial(n) for n in range(3, 9))
_E9, _E10, _E11, _E12, _E13 = (1.0 / math.factorial(n) for n in range(9, 14))
_E14, _E15, _E16, _E17 = (1.0 / math.factorial(n) for n in range(14, 18))
_L3, _L5, _L7, _L9, _L11 = (1.0 / n for n in range(3, 12, 2))
_L13, _L15, _L17, _L19, _L21 = (1.0 / n for n in range(13, 22, 2))


def choose(condition: Any, yes: Any, no: Any) -> Any:
    """Select ``yes`` where the condition holds, else ``no``; numba overloads it for scalars.

    >>> choose(np.array([True, False]), 1.0, 2.0).tolist()
    [1.0, 2.0]
    """
    return np.where(condition, yes, no)


def exp(x: Any) -> Any:
    """Compute e^x for x <= 0, and 0 below -708.

    Args:
        x: float64 array or number.

    Returns:
        The same shape, within [0, 1].

    >>> exp(np.array([0.0, -1.0, -np.inf])).tolist()
    [1.0, 0.36787944117144233, 0.0]
    """
    inside = choose(x < LOWEST, LOWEST, x)
    twos = np.floor(inside * _LOG2_E + 0.5)
    r = (inside - twos * _LN2_HIGH) - twos * _LN2_LOW
    # |r| <= 0.347: the first term left out, r^14 / 14!, is below 5e-18.
    tail = _E9 + r * (_E10 + r * (_E11 + r * (_E12 + r * _E13)))
    tail = _E4 + r * (_E5 + r * (_E6 + r * (_E7 + r * (_E8 + r * tail))))
    series = 1.0 + (r + r * r * (0.5 + r * (_E3 + r * tail)))
    whole = np.int64(np.float64(twos + _SHIFTER).view(np.int64) + np.int64(1023))
    power = np.int64(whole << np.int64(52)).view(np.float64)
    return choose(x < LOWEST, 0.0, series * power)


def log(x: Any) -> Any:
    """Compute ln x for normal x > 0.

    Args:
        x: float64 array or number.

    Returns:
        The same shape.

    >>> log(np.array([1.0, 2.0, 2.0**-53])).tolist()
    [0.0, 0.6931471805599453, -36.7368005696771]
    """
    bits = np.float64(x).view(np.int64)
    twos = (bits - np.int64(_ROOT_HALF_BITS)) >> np.int64(52)
    mantissa = np.int64(bits - (twos << np.int64(52))).view(np.float64)
    count = np.int64(twos + np.int64(_SHIFTER_BITS)).view(np.float64) - _SHIFTER
    # ln m = 2 artanh f with f = (m - 1) / (m + 1), |f| <= 0.172, of which f^23 / 23 is left out.
    f = (mantissa - 1.0) / (mantissa + 1.0)
    s = f * f
    tail = _L13 + s * (_L15 + s * (_L17 + s * (_L19 + s * _L21)))
    tail = s * (_L3 + s * (_L5 + s * (_L7 + s * (_L9 + s * (_L11 + s * tail)))))
    return count * _LN2_HIGH + ((f + f) + ((f + f) * tail + count * _LN2_LOW))


def cos_sin(turns: Any) -> Any:
    """Compute cos and sin of 2 pi t.

    Args:
        turns: t in [0, 1], float64 array or number.

    Returns:
        Cosines and sines, each of the same shape.

    >>> [part.tolist() for part in cos_sin(np.array([0.0, 0.25, 0.5]))]
    [[1.0, -0.0, -1.0], [0.0, 1.0, -0.0]]
    """
    quarters = np.floor(4.0 * turns + 0.5)
    x = (turns - 0.25 * quarters) * _TURN
    s = x * x
    # |x| <= pi / 4: left out are x^18 / 18! < 3e-18 and x^19 / 19! < 9e-20.
    tail = _E8 - s * (_E10 - s * (_E12 - s * (_E14 - s * _E16)))
    cosine = 1.0 - s * (0.5 - s * (_E4 - s * (_E6 - s * tail)))
    tail = _E9 - s * (_E11 - s * (_E13 - s * (_E15 - s * _E17)))
    sine = x - x * s * (_E3 - s * (_E5 - s * (_E7 - s * tail)))
    first, second, third = quarters == 1.0, quarters == 2.0, quarters == 3.0
    odd = first | third
    cosine, sine = choose(odd, sine, cosine), choose(odd, cosine, sine)
    return choose(first | second, -cosine, cosine), choose(second | third, -sine, sine)
