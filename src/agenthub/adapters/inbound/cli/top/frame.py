"""From readings to what is shown: rates since the reading before, latencies of the last minute."""

from collections import deque
from dataclasses import asdict, dataclass
from typing import Any

from agenthub.adapters.inbound.cli.top.metrics import CallCounts
from agenthub.adapters.inbound.cli.top.reading import Reading, Spend

WINDOW_S = 60.0
"""Latencies are of the calls of so long, or of all since the hub started where there were none."""

_WORST_FIRST = ("forced_open", "open", "half_open", "disabled", "closed")
_NONE = CallCounts()


@dataclass(frozen=True, slots=True)
class Row:
    """One server. `breaker` is that of its worst instance; rates are None in the first frame."""

    name: str
    status: str
    health: str
    breaker: str
    instances: int
    instances_in_breaker: int
    retry_after_s: float | None
    paused_for_s: float
    in_flight: int
    queued: int
    calls_per_s: float | None
    errors_per_s: float | None
    p50_s: float | None
    p95_s: float | None
    today_nano_usd: int

    @property
    def is_troubled(self) -> bool:
        return (
            self.status not in ("ready", "disabled")
            or self.health == "unhealthy"
            or self.breaker != "closed"
            or self.paused_for_s > 0
        )


@dataclass(frozen=True, slots=True)
class Frame:
    """All that is shown of one moment; servers in trouble come first."""

    reading: Reading
    rows: list[Row]

    @property
    def spend(self) -> Spend:
        return self.reading.spend

    @property
    def uptime_s(self) -> float | None:
        started_at = self.reading.metrics.started_at
        return None if started_at is None else self.reading.at.timestamp() - started_at

    def as_document(self, address: str, events: list[dict[str, Any]]) -> dict[str, Any]:
        """Give the same for programs."""
        return {
            "hub": address,
            "at": self.reading.at.isoformat(),
            "uptime_s": self.uptime_s,
            "month": asdict(self.spend),
            "servers": [asdict(row) for row in self.rows],
            "events": events,
        }


class Frames:
    """Keeps the readings of the last minute."""

    def __init__(self) -> None:
        self._readings: deque[Reading] = deque()

    def take(self, reading: Reading) -> Frame:
        """Compare with what came before."""
        while self._readings and _apart_s(self._readings[0], reading) > WINDOW_S:
            self._readings.popleft()
        last = self._readings[-1] if self._readings else None
        first = self._readings[0] if self._readings else None
        self._readings.append(reading)
        rows = [_row(server, reading, last, first) for server in reading.servers]
        return Frame(reading, sorted(rows, key=lambda row: (not row.is_troubled, row.name)))


def _row(
    server: dict[str, Any], reading: Reading, last: Reading | None, first: Reading | None
) -> Row:
    name: str = server["name"]
    guards: list[dict[str, Any]] = reading.gates.get(server["id"], {}).get("instances", [])
    counts = reading.metrics.calls.get(name, _NONE)
    recent = counts if first is None else counts.since(_counts(first, name))
    lately = recent if recent.good else counts
    breaker, shared, retry_after_s = _worst(guards)
    calls_per_s, errors_per_s = _rates(counts, name, reading, last)
    return Row(
        name=name,
        status=server["status"],
        health=server["health"],
        breaker=breaker,
        instances=len(guards),
        instances_in_breaker=shared,
        retry_after_s=retry_after_s,
        paused_for_s=max((one["paused_for_s"] for one in guards), default=0.0),
        in_flight=sum(one["in_flight"] for one in guards),
        queued=sum(one["queued"] for one in guards),
        calls_per_s=calls_per_s,
        errors_per_s=errors_per_s,
        p50_s=lately.quantile_s(0.5),
        p95_s=lately.quantile_s(0.95),
        today_nano_usd=reading.today.get(name, 0),
    )


def _worst(guards: list[dict[str, Any]]) -> tuple[str, int, float | None]:
    """Give the worst state, how many instances are in it, and when the first of them may end."""
    breakers: list[dict[str, Any]] = [one["breaker"] for one in guards]
    for state in _WORST_FIRST:
        found = [one["retry_after_s"] for one in breakers if one["state"] == state]
        if found:
            waits: list[float] = [wait_s for wait_s in found if wait_s]
            return state, len(found), min(waits, default=None)
    return "closed", 0, None


def _rates(
    counts: CallCounts, name: str, reading: Reading, last: Reading | None
) -> tuple[float | None, float | None]:
    if last is None:
        return None, None
    passed_s = max(_apart_s(last, reading), 0.001)
    new = counts.since(_counts(last, name))
    return (new.good + new.bad) / passed_s, new.bad / passed_s


def _counts(reading: Reading, name: str) -> CallCounts:
    return reading.metrics.calls.get(name, _NONE)


def _apart_s(former: Reading, later: Reading) -> float:
    return later.looked_at - former.looked_at
