"""How often each party called each tool today, in memory, for daily quotas."""

from collections import defaultdict
from datetime import datetime

from agenthub.domain.entities.cost import Party
from agenthub.domain.ports.outbound.storage.cost import DayCalls


class DayCounts:
    """Counts of one day (UTC) and of this hub alone; the first moment of a new day empties them."""

    def __init__(self) -> None:
        self._day = 0
        self._calls: dict[tuple[str, str, str], int] = defaultdict(int)

    def load(self, calls: list[DayCalls], now: datetime) -> None:
        """Add what was counted before this process began."""
        self._turn(now)
        for one in calls:
            self._add(one.subject, one.server, one.tool, one.calls)

    def count(self, party: Party, at: datetime) -> None:
        self._turn(at)
        self._add(party.subject, party.server, party.tool, 1)

    def take_back(self, party: Party, at: datetime) -> None:
        """Forget a call of `at` that a guard refused."""
        if at.toordinal() == self._day:
            self._add(party.subject, party.server, party.tool, -1)

    def of(self, subject: str, server: str, tool: str, now: datetime) -> int:
        """Give the count; an empty `tool` means all of the server."""
        self._turn(now)
        return self._calls.get((subject, server, tool), 0)

    def _turn(self, now: datetime) -> None:
        day = now.toordinal()
        if day != self._day:
            self._day = day
            self._calls.clear()

    def _add(self, subject: str, server: str, tool: str, count: int) -> None:
        calls = self._calls
        calls[subject, server, ""] += count
        if tool:
            calls[subject, server, tool] += count
