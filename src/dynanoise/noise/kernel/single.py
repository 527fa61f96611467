"""exp, ln, cos and sin in float32, for fresh noise in outputs of that precision.

The series of `noise.portable` with fewer terms; errors are a few units in the last place of
float32, relative to 1 for the cosine and the sine. Products and sums may share one rounding here
(never reordered), because fresh noise need not have the same bits again.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from dynanoise.noise.kernel.jit import fast_inline

F = np.float32

_LOG2_E = F(1.0 / math.log(2.0))
# ln 2 in two parts, as there: multiples of the first up to 2^8 are exact.
_LN2_HIGH, _LN2_LOW = F(0.693359375), F(math.log(2.0) - 0.693359375)
_HALF, _ONE, _TWO, _FOUR = F(0.5), F(1), F(2), F(4)
_QUARTER, _TURN = F(0.25), F(2.0 * math.pi)
_LOWEST = F(-87.0)
_E3, _E4, _E5, _E6, _E7, _E8, _E9, _E10 = (F(1.0 / math.factorial(n)) for n in range(3, 11))
_L3, _L5, _L7, _L9 = (F(1.0 / n) for n in range(3, 10, 2))
_ROOT_HALF_BITS, _MANTISSA, _BIAS = np.int32(0x3F3504F3), np.int32(23), np.int32(127)
_ONE_BIT, _TWO_BITS = np.int32(1), np.int32(2)
_LEAST = F(2.0**-31)


@fast_inline
def exp(x: Any) -> Any:
    """Compute e^x for x <= 0; 0 below -87."""
    inside = x if x > _LOWEST else _LOWEST
    twos = F(np.floor(inside * _LOG2_E + _HALF))
    r = (inside - twos * _LN2_HIGH) - twos * _LN2_LOW
    tail = _E3 + r * (_E4 + r * (_E5 + r * (_E6 + r * _E7)))
    series = _ONE + (r + r * r * (_HALF + r * tail))
    whole = np.int32(np.int32(twos) + _BIAS)
    power = np.int32(whole << _MANTISSA).view(np.float32)
    return F(series * power) if x > _LOWEST else F(0)


@fast_inline
def log(x: Any) -> Any:
    """Compute ln x for normal x > 0."""
    bits = F(x).view(np.int32)
    twos = np.int32(np.int32(bits - _ROOT_HALF_BITS) >> _MANTISSA)
    mantissa = np.int32(bits - np.int32(twos << _MANTISSA)).view(np.float32)
    count = F(twos)
    f = F((mantissa - _ONE) / (mantissa + _ONE))
    s = F(f * f)
    tail = s * (_L3 + s * (_L5 + s * (_L7 + s * _L9)))
    return F(count * _LN2_HIGH + ((f + f) + ((f + f) * tail + count * _LN2_LOW)))


@fast_inline
def cos_sin(turns: Any) -> Any:
    """Compute cos and sin of 2 pi t, for t in [-1/2, 1/2]."""
    quarters = F(np.floor(_FOUR * turns + _HALF))
    x = F((turns - _QUARTER * quarters) * _TURN)
    s = F(x * x)
    cosine = F(_ONE - s * (_HALF - s * (_E4 - s * (_E6 - s * (_E8 - s * _E10)))))
    sine = F(x - x * s * (_E3 - s * (_E5 - s * (_E7 - s * _E9))))
    which = np.int32(quarters)
    odd = (which & _ONE_BIT) != 0
    first, second = (sine, cosine) if odd else (cosine, sine)
    cosine = -first if (np.int32(which + _ONE_BIT) & _TWO_BITS) != 0 else first
    sine = -second if (which & _TWO_BITS) != 0 else second
    return cosine, sine


@fast_inline
def normals(first: Any, second: Any) -> Any:
    """Compute two float32 standard normals, within [-6.7, 6.7], from two words by Box & Muller.

    The radius has 31 random bits, the angle 32 of which float32 keeps 24 and its sign.
    """
    uniform = F((F(np.int32(first >> np.uint32(1))) + _HALF) * _LEAST)
    uniform = uniform if uniform < _ONE else _ONE
    radius = F(np.sqrt(-_TWO * log(uniform)))
    cosine, sine = cos_sin(F(F(np.int32(second)) * _LEAST * _HALF))
    return F(radius * cosine), F(radius * sine)
