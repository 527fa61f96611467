"""sfc32 once more, in plain Python, from its author's description (PractRand, sfc.cpp)."""

from __future__ import annotations

MASK = 2**32 - 1


class Sfc32:
    """Small fast chaotic generator of 32-bit words; state a, b, c and a counter."""

    def __init__(self, a: int, b: int, c: int, counter: int) -> None:
        self.state = [a, b, c, counter]

    def word(self) -> int:
        a, b, c, counter = self.state
        made = (a + b + counter) & MASK
        turned = ((c << 21) | (c >> 11)) & MASK
        self.state = [b ^ (b >> 9), (c + (c << 3)) & MASK, (turned + made) & MASK, counter + 1]
        return made

    def words(self, count: int) -> list[int]:
        return [self.word() for _ in range(count)]
