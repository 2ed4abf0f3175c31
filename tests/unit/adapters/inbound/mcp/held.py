"""Calls that a person has, as the MCP face meets them: told what to say, and it remembers."""

import asyncio
from datetime import UTC, datetime, timedelta

from agenthub.domain.entities.catalog.exposure import Target
from agenthub.domain.entities.identity import Principal
from agenthub.domain.exceptions import NotFoundError
from agenthub.domain.ids import HeldCallId, RequestId
from agenthub.domain.ports.outbound.mcp_client import Caller
from agenthub.domain.services.calls import CallService, Errand, Outcome
from agenthub.domain.services.catalog.views import View
from agenthub.domain.services.held import HeldCalls, Waiting

TICKET = "ticket-1"
WAITING = Waiting(
    ticket=HeldCallId(TICKET),
    server="time",
    kinds=("approval",),
    requests=(RequestId("request-1"),),
    expires_at=datetime(2026, 11, 21, tzinfo=UTC) + timedelta(hours=1),
)


class FakeHeldCalls(HeldCalls):
    """Carries calls at once while `people` are not asked, else keeps every one for them.

    `outcomes` is what each ticket gives; `ends` tells how the calls ended that were cancelled.
    """

    def __init__(self, calls: CallService) -> None:
        self._street = calls
        self.people = False
        self.hangs = False
        self.is_stopping = False
        self.carried: list[tuple[Errand, Caller]] = []
        self.resumed: list[tuple[str, str]] = []
        self.outcomes: dict[str, Outcome | Waiting | Exception] = {}
        self.ends: list[str] = []
        self.begun = asyncio.Event()

    @property
    def is_on(self) -> bool:
        return self.people

    def stop(self) -> None:
        self.is_stopping = True

    async def carry(
        self,
        view: View,
        errand: Errand,
        caller: Caller,
        target: Target | None = None,
        *,
        hold_s: float | None = None,
    ) -> Outcome | Waiting:
        self.carried.append((errand, caller))
        self.begun.set()
        if self.hangs:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                self.ends.append("kept" if self.is_stopping else "withdrawn")
                raise
        if self.people:
            return WAITING
        return await self._street.carry(view, errand, caller, target)

    async def resume(
        self,
        principal: Principal,
        ticket: str,
        caller: Caller,
        binding: str | None = None,
        *,
        hold_s: float | None = None,
    ) -> Outcome | Waiting:
        self.resumed.append((principal.subject, ticket))
        outcome = self.outcomes.get(ticket)
        if outcome is None:
            raise NotFoundError("There is no such ticket.", code="ticket_not_found")
        if isinstance(outcome, Exception):
            raise outcome
        return outcome
