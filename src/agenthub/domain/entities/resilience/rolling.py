"""Counting over a moving span of time, in bounded memory."""

PARTS = 30


class RollingCount:
    """How often something happened in the last `span_s`, to a thirtieth of it.

    Counts are kept per part of the span, not per event: any rate costs the same. A part is
    dropped as a whole, when its beginning has left the span. A clock that runs backwards counts
    into the newest part.
    """

    __slots__ = ("_counts", "_newest", "_part_s", "_total")

    def __init__(self, span_s: float) -> None:
        self._part_s = span_s / PARTS
        self._counts = [0] * PARTS
        self._newest = 0
        self._total = 0

    def add(self, now: float) -> None:
        part = int(now / self._part_s)
        if part > self._newest:
            self._roll(part)
        self._counts[self._newest % PARTS] += 1
        self._total += 1

    def total(self, now: float) -> int:
        """Give the count at `now`. Changes nothing."""
        gone = int(now / self._part_s) - self._newest
        if gone <= 0:
            return self._total
        if gone >= PARTS:
            return 0
        oldest = self._newest + 1
        return self._total - sum(self._counts[(oldest + at) % PARTS] for at in range(gone))

    def clear(self) -> None:
        if self._total:
            self._counts = [0] * PARTS
            self._total = 0

    def _roll(self, part: int) -> None:
        if part - self._newest >= PARTS:
            self.clear()
        else:
            for at in range(self._newest + 1, part + 1):
                self._total -= self._counts[at % PARTS]
                self._counts[at % PARTS] = 0
        self._newest = part
