"""What a hub that is gone left of calls that waited for people."""

from collections.abc import Callable, Collection, Iterable
from contextlib import suppress
from datetime import datetime

from agenthub.domain.entities.hitl.fault import kept_fault
from agenthub.domain.entities.hitl.held_call import HeldCall, HeldStatus
from agenthub.domain.entities.hitl.request import HitlRequest, RequestStatus
from agenthub.domain.entities.hitl.tool_approval import ToolApproval
from agenthub.domain.exceptions import ConflictError, NotFoundError, UnavailableError
from agenthub.domain.ids import RequestId
from agenthub.domain.ports.outbound.clock import Clock
from agenthub.domain.services.hitl.queue import HitlQueue

LOST = "The hub was restarted while the server waited for the answer, which cannot reach it now."
INTERRUPTED = (
    "The hub stopped while this call ran at its server; it may have been done, and is not repeated."
)
GONE = "The call that asked this is no more."
LATE = "The hub was away until after this call's time, so that it was not made."


class Leftovers:
    """Ends what nobody can go on with, and says why, to the agent and to the person."""

    def __init__(self, *, clock: Clock, queue: HitlQueue) -> None:
        self._clock = clock
        self._queue = queue

    async def sort(self) -> list[tuple[HeldCall, list[HitlRequest]]]:
        """Give the calls that are done, or can be gone on with, and their open questions."""
        requests = await self._queue.open_requests()
        rows = await self._queue.all_held()
        known = {row.id for row in rows}
        await self._fail([one.id for one in requests if one.held not in known], GONE)
        kept: list[tuple[HeldCall, list[HitlRequest]]] = []
        for row in rows:
            mine = [request for request in requests if request.held == row.id]
            if row.status is HeldStatus.DONE:
                await self._complete(mine)
                kept.append((row, []))
            elif self._can_go_on(row, mine):
                kept.append((row, mine))
            elif self._queue.is_dead(row.lease, row.expires_at):
                with suppress(ConflictError):  # another hub has done so
                    kept.append((await self._bury(row), []))
        return kept

    def _can_go_on(self, row: HeldCall, requests: Collection[HitlRequest]) -> bool:
        """What a person let pass long ago is not done when nobody thinks of it any more."""
        if row.status is not HeldStatus.WAITING or row.going_on is None:
            return False
        if any(request.status is RequestStatus.PENDING for request in requests):
            return True  # they expire, and the call with them
        until = max([row.expires_at, *(request.expires_at for request in requests)])
        return self._clock.now() < until or not self._queue.is_dead(row.lease, until)

    async def _bury(self, row: HeldCall) -> HeldCall:
        if row.status is HeldStatus.RUNNING:
            reason, fault = INTERRUPTED, UnavailableError(INTERRUPTED, code="call_interrupted")
        elif row.going_on is not None:
            reason, fault = LATE, UnavailableError(f"{LATE} Call again.", code="question_lost")
        else:
            reason, fault = LOST, UnavailableError(f"{LOST} Call again.", code="question_lost")
        await self._fail(row.requests, reason)
        until = self._clock.now() + self._queue.ttl
        buried = row.done({"fault": kept_fault(fault)}, until)
        await self._queue.keep(buried, row)
        return buried

    async def _complete(self, requests: Iterable[HitlRequest]) -> None:
        """Note of approvals that their call was made: its outcome is there."""
        for request in requests:
            if isinstance(request, ToolApproval) and request.lease:
                await change(self._queue, request.id, completed)
            else:
                await self._fail([request.id], GONE)

    async def _fail(self, ids: Iterable[RequestId], reason: str) -> None:
        for one in ids:
            await change(self._queue, one, lambda request, now: request.undone(reason, now))


async def change(
    queue: HitlQueue,
    request_id: RequestId,
    move: Callable[[HitlRequest, datetime], HitlRequest],
) -> None:
    """Move a question, unless it has ended already."""
    try:
        await queue.change(request_id, move)
    except (ConflictError, NotFoundError):
        return


def completed(request: HitlRequest, now: datetime) -> HitlRequest:
    """Note that the call a person let pass was made."""
    return request.completed(now) if isinstance(request, ToolApproval) else request
