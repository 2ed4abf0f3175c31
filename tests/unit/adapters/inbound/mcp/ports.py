"""Time and chance of the tests of the MCP face."""

from datetime import UTC, datetime, timedelta

from agenthub.domain.ports.outbound.clock import Chance, Clock, IdFactory


class SteppedClock(Clock):
    """Stands still until moved."""

    def __init__(self) -> None:
        self._at_s = 1_000.0

    def now(self) -> datetime:
        return datetime(2026, 11, 21, tzinfo=UTC) + timedelta(seconds=self._at_s)

    def monotonic(self) -> float:
        return self._at_s

    def move(self, seconds: float) -> None:
        self._at_s += seconds


class CountingChance(Chance):
    """Draws what was never drawn before, and is easy to guess."""

    def __init__(self) -> None:
        self._drawn = 0

    def share(self) -> float:
        return 0.5

    def token(self, size_bytes: int) -> str:
        self._drawn += 1
        return f"token-{self._drawn:0{size_bytes}d}"


class CountingIds(IdFactory):
    def __init__(self) -> None:
        self._given = 0

    def new(self) -> str:
        self._given += 1
        return f"id-{self._given:06d}"
