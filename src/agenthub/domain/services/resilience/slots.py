"""Waiting for a place at a server: the bulkhead's accounting, with tasks that wait."""

import asyncio

from agenthub.domain.entities.resilience.bulkhead import Bulkhead, Full
from agenthub.domain.exceptions import HeldBackError

LEAST_WAIT_S = 1.0
NEWEST_SHARE = 0.2
"""How much the last call counts in the time that calls take."""


class Slots:
    """Places at one instance. Whoever waits is served in order, and gives up at its deadline."""

    def __init__(self, limit: int, max_queue: int) -> None:
        self._bulkhead = Bulkhead(limit, max_queue)
        self._usual_s: float | None = None

    @property
    def in_flight(self) -> int:
        return self._bulkhead.in_flight

    @property
    def queued(self) -> int:
        return self._bulkhead.queued

    def resize(self, limit: int, max_queue: int) -> None:
        for ticket in self._bulkhead.resize(limit, max_queue):
            _admit(ticket)

    async def take(self, server: str, timeout_s: float) -> None:
        """Take a place, waiting for one if need be.

        Raises HeldBackError (code `server_overloaded`) when too many wait already, or none
        came free in time.
        """
        ticket = _Ticket()
        entered = self._bulkhead.enter(ticket)
        if entered is True:
            return
        if isinstance(entered, Full):
            why = f"{self.queued} calls wait for it already"
            raise _overloaded(server, why, self._wait_s())
        ticket.turn = asyncio.get_running_loop().create_future()
        try:
            async with asyncio.timeout(timeout_s):
                await ticket.turn
        except TimeoutError as error:
            self._leave_queue(ticket)
            why = f"no place came free in {timeout_s:.0f} s"
            raise _overloaded(server, why, self._wait_s()) from error
        except asyncio.CancelledError:
            self._leave_queue(ticket)
            raise

    def learn(self, held_s: float) -> None:
        """Take note of how long a call held its place."""
        usual_s = held_s if self._usual_s is None else self._usual_s
        self._usual_s = usual_s + NEWEST_SHARE * (held_s - usual_s)

    def leave(self) -> None:
        """Give a place back."""
        _admit(self._bulkhead.leave())

    def re_enter(self) -> None:
        """Take back a place that was lent while a person answered. Never waits."""
        self._bulkhead.re_enter()

    def _wait_s(self) -> float:
        """Reckon when a call that comes then may find a place: by what calls took of late."""
        turns = (self.queued + 1) / self._bulkhead.limit
        return max(LEAST_WAIT_S, turns * (self._usual_s or 0.0))

    def _leave_queue(self, ticket: "_Ticket") -> None:
        if ticket.is_admitted:
            self.leave()
        else:
            _admit(self._bulkhead.give_up(ticket))


class _Ticket:
    """One waiting task."""

    __slots__ = ("is_admitted", "turn")

    def __init__(self) -> None:
        self.turn: asyncio.Future[None] | None = None
        self.is_admitted = False


def _admit(ticket: object) -> None:
    if not isinstance(ticket, _Ticket):
        return
    ticket.is_admitted = True
    if ticket.turn is not None and not ticket.turn.done():
        ticket.turn.set_result(None)


def _overloaded(server: str, why: str, wait_s: float) -> HeldBackError:
    return HeldBackError(
        f"The server {server!r} has too much to do now: {why}.",
        code="server_overloaded",
        retry_after_s=wait_s,
    )
