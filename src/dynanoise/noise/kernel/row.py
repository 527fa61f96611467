"""Fresh noise for a single row: the steps of `kernel.tile` without the bookkeeping of tiles.

Most models are queried one record at a time, where the tile's views and loops over a single lane
take longer than the arithmetic.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from dynanoise.noise.kernel import jit
from dynanoise.noise.kernel.stream import LANES


def make_row(  # noqa: PLR0915
    real: Any, exponential: Any, compiled: Callable[..., Any], draw: Any, block: int, lowest: Any
) -> Any:
    """Make the function for one row in one precision; see `entries.make_fresh_tiles`."""
    room = block * LANES
    two = real(2)

    @compiled
    def spread(shifted: Any, variance: Any, scale: Any) -> Any:
        """Compute sigma of a row whose maximum is 0."""
        total, products = 0.0, 0.0
        for i in range(shifted.size):
            weight = exponential(shifted[i])
            total += np.float64(weight)
            products += np.float64(weight) * np.float64(shifted[i])
        nats = jit.log(total) - products / total
        sensitivity = 1.0 - nats / jit.log(np.float64(shifted.size))
        sensitivity = min(max(sensitivity, 0.0), 1.0)
        return real(np.sqrt(variance * (1.0 + scale * sensitivity)))

    @compiled
    def soften(noisy: Any, top: Any, inverse: Any) -> Any:
        """Compute weights exp((z - max) / T) in place; return one over their sum."""
        total = 0.0
        for i in range(noisy.size):
            weight = exponential((noisy[i] - top) * inverse)
            noisy[i] = weight
            total += np.float64(weight)
        return real(1.0 / total)

    @jit.exact
    def _largest(values: Any) -> int:
        place = 0
        for i in range(1, values.size):
            if values[i] > values[place]:
                place = i
        return place

    @jit.exact
    def row(  # noqa: PLR0912
        logits: Any, out: Any, numbers: Any, key: Any, first: Any
    ) -> bool:
        """Compute ``out`` [K], see `entries.make_fresh`; False if a logit is not finite."""
        classes, draws, keep = logits.size, np.int64(numbers[3]), numbers[4] != 0.0
        inverse, sigma = real(numbers[2]), real(0)
        reals = np.empty(3 * classes + room, real)
        shifted, noisy, normals = (
            reals[:classes],
            reals[classes : 2 * classes],
            reals[2 * classes :],
        )
        good, top, label = True, logits[0], 0
        for i in range(classes):
            good &= logits[i] - logits[i] == 0
            if logits[i] > top:
                top, label = logits[i], i
        if not good:
            return False
        for i in range(classes):
            gap = logits[i] - top
            shifted[i] = gap if gap > lowest else lowest
        winner = label
        if draws > 0:
            sigma = spread(shifted, numbers[0], numbers[1])
            streams = np.empty((2, 16 * LANES), np.uint32)
        for m in range(draws if draws > 0 else 1):
            if draws > 0:
                draw(key, first, np.uint32(m), streams, normals)
                top, winner = shifted[0] + sigma * normals[0], 0
                for i in range(classes):
                    noisy[i] = shifted[i] + sigma * normals[i]
                    if noisy[i] > top:
                        top, winner = noisy[i], i
            else:
                noisy[:] = shifted
                top = real(0)
            factor = soften(noisy, top, inverse)
            for i in range(classes):
                out[i] = noisy[i] * factor + (out[i] if m > 0 else real(0))
        if draws > 1:
            for i in range(classes):
                out[i] /= real(draws)
        best = _largest(out)
        if keep:
            out[label], out[best] = out[best], out[label]
            winner, best = label, _largest(out)
        if best != winner and (keep or draws <= 1):
            out[winner] = np.nextafter(out[best], two)
        return True

    return row
