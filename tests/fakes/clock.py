"""Time, ids and chance that a test decides on."""

import random
from datetime import UTC, datetime, timedelta

from agenthub.domain.ports.outbound.clock import Chance, Clock, IdFactory

NEW_YEAR = datetime(2026, 1, 1, tzinfo=UTC)


class FakeClock(Clock):
    """Stands still until `advance` moves it; both its readings move together."""

    def __init__(self, now: datetime = NEW_YEAR) -> None:
        self._now = now
        self._monotonic = 0.0

    def now(self) -> datetime:
        return self._now

    def monotonic(self) -> float:
        return self._monotonic

    def advance(self, seconds: float) -> None:
        self._now += timedelta(seconds=seconds)
        self._monotonic += seconds


class FakeIdFactory(IdFactory):
    """Counts: ID000001, ID000002 and so on."""

    def __init__(self) -> None:
        self._count = 0

    def new(self) -> str:
        self._count += 1
        return f"ID{self._count:06}"


class FakeChance(Chance):
    """The same draws in every run with the same `seed`."""

    def __init__(self, seed: int = 0) -> None:
        self._source = random.Random(seed)

    def share(self) -> float:
        return self._source.random()

    def token(self, size_bytes: int) -> str:
        return self._source.randbytes(size_bytes).hex()
