"""How calls went, in numbers that never shrink: what a metrics page needs, and no more."""

from bisect import bisect_left
from dataclasses import dataclass, field

BOUNDS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)
"""Upper bounds of the duration histogram's buckets; a last one holds what took longer."""

MAX_SERIES = 10_000
"""Servers come and go under new names; beyond this many series new ones are not kept apart."""


@dataclass(slots=True)
class Series:
    """Calls of one server, method and outcome."""

    calls: int = 0
    total_s: float = 0.0
    buckets: list[int] = field(default_factory=lambda: [0] * (len(BOUNDS_S) + 1))

    def plus(self, other: "Series") -> "Series":
        """Give both together."""
        return Series(
            self.calls + other.calls,
            self.total_s + other.total_s,
            [a + b for a, b in zip(self.buckets, other.buckets, strict=True)],
        )


class CallStats:
    """Counts by (server, method, outcome): "ok", "input_required", or an error's stable code."""

    def __init__(self) -> None:
        self.series: dict[tuple[str, str, str], Series] = {}

    def count(self, server: str, method: str, outcome: str, duration_s: float) -> None:
        key = (server, method, outcome)
        series = self.series.get(key)
        if series is None:
            if len(self.series) >= MAX_SERIES:
                key = ("other", method, outcome)
            series = self.series.setdefault(key, Series())
        series.calls += 1
        series.total_s += duration_s
        series.buckets[bisect_left(BOUNDS_S, duration_s)] += 1

    def forget(self, server: str) -> None:
        """Drop a removed server's numbers."""
        for key in [key for key in self.series if key[0] == server]:
            del self.series[key]
