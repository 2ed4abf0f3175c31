"""Waiting for a place at a server: the bulkhead's accounting, with tasks that wait."""

import asyncio

from agenthub.domain.entities.resilience.bulkhead import Bulkhead, Full
from agenthub.domain.exceptions import HeldBackError


class Slots:
    """Places at one instance. Whoever waits is served in order, and gives up at its deadline."""

    def __init__(self, limit: int, max_queue: int) -> None:
        self._bulkhead = Bulkhead(limit, max_queue)

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
            raise _overloaded(server, f"{self.queued} calls wait for it already")
        ticket.turn = asyncio.get_running_loop().create_future()
        try:
            async with asyncio.timeout(timeout_s):
                await ticket.turn
        except TimeoutError as error:
            self._leave_queue(ticket)
            raise _overloaded(server, f"no place came free in {timeout_s:.0f} s") from error
        except asyncio.CancelledError:
            self._leave_queue(ticket)
            raise

    def leave(self) -> None:
        """Give a place back."""
        _admit(self._bulkhead.leave())

    def re_enter(self) -> None:
        """Take back a place that was lent while a person answered. Never waits."""
        self._bulkhead.re_enter()

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


def _overloaded(server: str, why: str) -> HeldBackError:
    return HeldBackError(
        f"The server {server!r} has too much to do now: {why}.",
        code="server_overloaded",
        retry_after_s=1.0,
    )
