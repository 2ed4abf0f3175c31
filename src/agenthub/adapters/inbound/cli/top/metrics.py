"""The few lines of the hub's /metrics that `agenthub top` needs."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

DURATION = "mcp_client_operation_duration_seconds"
STARTED = "process_start_time_seconds"

_LINE = re.compile(r"(\w+)(?:\{(.*)\})? (\S+)")
_LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')


@dataclass(slots=True)
class CallCounts:
    """Calls of one server since the hub started.

    `buckets` counts those that went well by upper bounds in seconds, as Prometheus does: each
    holds all that took less.
    """

    good: int = 0
    bad: int = 0
    buckets: dict[float, int] = field(default_factory=dict[float, int])

    def since(self, former: "CallCounts") -> "CallCounts":
        """Give what came on top; all of it where the hub began anew."""
        if self.good < former.good or self.bad < former.bad:
            return self
        buckets = {le: n - former.buckets.get(le, 0) for le, n in self.buckets.items()}
        return CallCounts(self.good - former.good, self.bad - former.bad, buckets)

    def quantile_s(self, share: float) -> float | None:
        """Estimate how long that share of the calls took at most, None without calls.

        Within a bucket calls are taken as evenly spread; beyond the last bound it is that bound.
        """
        bounds = sorted(self.buckets)
        total = self.buckets[bounds[-1]] if bounds else 0
        if total <= 0:
            return None
        wanted, lower, below = share * total, 0.0, 0
        for bound in bounds:
            count = self.buckets[bound]
            if count >= wanted and count > below:
                if bound == float("inf"):
                    return lower
                return lower + (bound - lower) * (wanted - below) / (count - below)
            lower, below = bound, count
        return lower


@dataclass(frozen=True, slots=True)
class Metrics:
    """`started_at` is in seconds of the epoch; not every system tells it."""

    calls: dict[str, CallCounts]
    started_at: float | None


def read_metrics(text: str) -> Metrics:
    """Read Prometheus' text format; what is not known is passed over."""
    calls: dict[str, CallCounts] = {}
    started_at: float | None = None
    for name, labels, value in _samples(text.splitlines()):
        if name == STARTED:
            started_at = value
        elif name == f"{DURATION}_count":
            counts = calls.setdefault(labels.get("server", ""), CallCounts())
            if labels.get("error_type"):
                counts.bad += int(value)
            else:
                counts.good += int(value)
        elif name == f"{DURATION}_bucket" and not labels.get("error_type"):
            buckets = calls.setdefault(labels.get("server", ""), CallCounts()).buckets
            bound = float(labels.get("le", "inf"))
            buckets[bound] = buckets.get(bound, 0) + int(value)
    return Metrics(calls, started_at)


def _samples(lines: Sequence[str]) -> Iterator[tuple[str, dict[str, str], float]]:
    for line in lines:
        found = None if line.startswith("#") else _LINE.fullmatch(line)
        if found is not None:
            name, labels, value = found.groups()
            yield name, dict(_LABEL.findall(labels or "")), float(value)
