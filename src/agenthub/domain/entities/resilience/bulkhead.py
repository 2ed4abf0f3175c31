"""How many calls are with one instance at once, and who comes next."""

from collections import OrderedDict
from enum import Enum


class Full(Enum):
    """The answer to a call that finds neither a slot nor a place in the queue."""

    FULL = "full"


FULL = Full.FULL


class Bulkhead:
    """Counts the slots; first come, first served.

    Pure accounting: a ticket stands for a waiting call, and whoever gets one back from a method
    tells its call that it has a slot now. Each slot is given back once, by `leave` or `give_up`.
    """

    __slots__ = ("_in_flight", "_limit", "_max_queue", "_queue")

    def __init__(self, limit: int, max_queue: int) -> None:
        self._limit = limit
        self._max_queue = max_queue
        self._in_flight = 0
        self._queue: OrderedDict[object, None] = OrderedDict()

    @property
    def limit(self) -> int:
        return self._limit

    @property
    def in_flight(self) -> int:
        return self._in_flight

    @property
    def queued(self) -> int:
        return len(self._queue)

    def enter(self, ticket: object) -> bool | Full:
        """Take a slot (True) or a place in the queue (False)."""
        if self._in_flight < self._limit:
            self._in_flight += 1
            return True
        if len(self._queue) >= self._max_queue:
            return FULL
        self._queue[ticket] = None
        return False

    def leave(self) -> object | None:
        """Give a slot back, for good or for the time a person thinks. Gives who has it now."""
        self._in_flight -= 1
        return self._admit()

    def give_up(self, ticket: object) -> object | None:
        """End the wait of a call. Gives who has its slot now, if it had been admitted already."""
        if ticket in self._queue:
            del self._queue[ticket]
            return None
        return self.leave()

    def re_enter(self) -> None:
        """Take a slot again after `leave`, beyond the limit if need be: the call is under way."""
        self._in_flight += 1

    def resize(self, limit: int, max_queue: int) -> list[object]:
        """Go by other limits. Gives who has a slot now; nobody who waits is sent away."""
        self._limit = limit
        self._max_queue = max_queue
        admitted: list[object] = []
        while (ticket := self._admit()) is not None:
            admitted.append(ticket)
        return admitted

    def _admit(self) -> object | None:
        if not self._queue or self._in_flight >= self._limit:
            return None
        self._in_flight += 1
        return self._queue.popitem(last=False)[0]
