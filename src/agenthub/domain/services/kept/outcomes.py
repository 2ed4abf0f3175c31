"""Outcomes in the database, collected as often as somebody comes with the ticket."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import replace

from agenthub.domain.entities.hitl.held_call import HeldCall, HeldStatus
from agenthub.domain.entities.identity import Principal
from agenthub.domain.exceptions import ConflictError, HubError, NotFoundError, RpcError
from agenthub.domain.ids import HeldCallId
from agenthub.domain.ports.outbound.clock import Clock
from agenthub.domain.services.calls import Outcome
from agenthub.domain.services.hitl.queue import HitlQueue
from agenthub.domain.services.kept.register import Waiting
from agenthub.domain.services.kept.rows import outcome_from, owner_of

LOOK_EVERY_S = 0.5
"""Between two looks at a call of another hub, which gives no sign."""
GRACE_S = 1.0
"""Between giving an outcome and noting it. A hub that dies before may have given it to nobody, and
has to find it when its agent sends the same request again."""


class Outcomes:
    """Reads them, and notes that they were fetched."""

    def __init__(
        self,
        *,
        clock: Clock,
        hold_s: float,
        pause: Callable[[float], Awaitable[None]],
        queue: HitlQueue,
    ) -> None:
        self._clock = clock
        self._hold_s = hold_s
        self._pause = pause
        self._queue = queue
        self._stopping = asyncio.Event()
        self._given: list[HeldCallId] = []
        self._is_forgetting = False

    def stop(self) -> None:
        """The hub stops: what was given is noted at once."""
        self._stopping.set()

    async def of(self, call_id: HeldCallId) -> Outcome | HubError | RpcError:
        """Raises NotFoundError (`ticket_not_found`)."""
        row = await self._queue.held(call_id)
        if row is None or row.outcome is None:
            raise no_ticket(call_id)
        return outcome_from(row.outcome)

    async def wait(
        self, principal: Principal, call_id: HeldCallId, binding: str | None, hold_s: float | None
    ) -> Outcome | Waiting:
        """Wait for a call of another hub on the same database.

        Raises NotFoundError, and what the call ended with.
        """
        row = await self._row(principal, call_id, binding)
        try:
            async with asyncio.timeout(self._hold_s if hold_s is None else hold_s):
                while row.outcome is None:
                    await self._pause(LOOK_EVERY_S)
                    row = await self._row(principal, call_id, binding)
        except TimeoutError:
            return Waiting(call_id, "", (), row.requests, row.expires_at)
        await self.mark(call_id)
        outcome = await self.of(call_id)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    async def delivered(self, call_id: HeldCallId, *, is_kept: bool) -> None:
        """Note that an outcome was given, soon; one that is not kept is forgotten then.

        Those of the same time are forgotten together, by whoever was first.
        """
        if is_kept:
            await self._grace()
            await self.mark(call_id)
            return
        self._given.append(call_id)
        if self._is_forgetting:
            return
        self._is_forgetting = True
        try:
            while self._given:
                count = len(self._given)
                await self._grace()
                await self._queue.forget(self._given[:count])
                del self._given[:count]
        finally:
            self._is_forgetting = False

    async def _grace(self) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(GRACE_S):
                await self._stopping.wait()

    async def mark(self, call_id: HeldCallId) -> None:
        """Note that an outcome was fetched."""
        row = await self._queue.held(call_id)
        if row is not None and row.delivered_at is None and row.status is HeldStatus.DONE:
            with suppress(ConflictError):  # it was forgotten meanwhile
                await self._queue.keep(replace(row, delivered_at=self._clock.now()), row)

    async def _row(
        self, principal: Principal, call_id: HeldCallId, binding: str | None
    ) -> HeldCall:
        row = await self._queue.held(call_id)
        is_theirs = row is not None and (row.workspace, row.subject) == owner_of(principal)
        if row is None or not is_theirs or binding not in (None, row.binding):
            raise no_ticket(call_id)
        return row


def no_ticket(ticket: str) -> NotFoundError:
    """Make the error for a ticket that is unknown, or another's."""
    text = f"No call waits under the ticket {ticket!r}; outcomes are kept for a while only."
    return NotFoundError(text, code="ticket_not_found")


def is_taken(outcome: Outcome | Exception | None) -> bool:
    """Say whether another hub goes on with the call."""
    return isinstance(outcome, ConflictError) and outcome.code == "call_taken"
