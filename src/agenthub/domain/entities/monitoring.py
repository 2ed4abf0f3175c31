"""Whether a server answers: judged by several probes, so that one lost packet is no outage."""

from dataclasses import dataclass
from enum import StrEnum

JITTER_SHARE = 0.2
STRETCH_AFTER = 10
"""A server that has been down for so many intervals is probed half as often, and so on."""
MAX_STRETCH = 10


class HealthState(StrEnum):
    UNKNOWN = "unknown"
    HEALTHY = "healthy"
    UNHEALTHY = "unhealthy"


@dataclass(frozen=True, slots=True)
class Health:
    """What the probes of one instance amount to. `fault` is why the last one failed."""

    state: HealthState = HealthState.UNKNOWN
    fault: str | None = None


class HealthMonitor:
    """Goes down after `down_after` failures in a row, up again after `up_after` successes.

    What is unknown is healthy at its first success. Times are monotonic seconds.
    """

    def __init__(self, *, down_after: int, up_after: int) -> None:
        self.state = HealthState.UNKNOWN
        self._down_after = down_after
        self._up_after = up_after
        self._failures = 0
        self._successes = 0
        self._failing_since: float | None = None

    @property
    def wavers(self) -> bool:
        """The last results speak against the state."""
        expected = self._failures if self.state is HealthState.UNHEALTHY else self._successes
        return expected == 0

    def use(self, *, down_after: int, up_after: int) -> None:
        """Go by other thresholds from the next result on."""
        self._down_after = down_after
        self._up_after = up_after

    def record(self, is_ok: bool, now: float) -> HealthState | None:
        """Take a result; give the new state if it changed."""
        if is_ok:
            self._successes += 1
            self._failures = 0
            self._failing_since = None
        else:
            self._failures += 1
            self._successes = 0
            self._failing_since = now if self._failing_since is None else self._failing_since
        before, self.state = self.state, self._judge()
        return self.state if self.state is not before else None

    def down_for_s(self, now: float) -> float:
        """Say how long every result was a failure."""
        return 0.0 if self._failing_since is None else max(0.0, now - self._failing_since)

    def _judge(self) -> HealthState:
        if self._failures >= self._down_after:
            return HealthState.UNHEALTHY
        enough = 1 if self.state is HealthState.UNKNOWN else self._up_after
        if self._successes >= enough:
            return HealthState.HEALTHY
        return self.state


def next_in_s(interval_s: float, *, share: float, down_for_s: float) -> float:
    """Say when to probe next: jittered by `share` (0 to 1), and rarer the longer it is down.

    Servers that went down together are not probed together, and a dead one costs little.
    """
    halvings = min(down_for_s / (STRETCH_AFTER * interval_s), MAX_STRETCH)
    stretch = min(2 ** int(halvings), MAX_STRETCH)
    return interval_s * stretch * (1 + JITTER_SHARE * (2 * share - 1))
