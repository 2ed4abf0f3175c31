"""Calls that wait for a person: they run on while their agents come and go."""

from dataclasses import dataclass
from datetime import datetime
from types import TracebackType
from typing import Self

from agenthub.domain.entities.catalog.exposure import Target
from agenthub.domain.entities.identity import Principal
from agenthub.domain.exceptions import NotFoundError
from agenthub.domain.ids import HeldCallId, RequestId
from agenthub.domain.ports.outbound.mcp_client import Caller
from agenthub.domain.services.calls import CallService, Errand, Outcome
from agenthub.domain.services.catalog.views import View


@dataclass(frozen=True, slots=True)
class Waiting:
    """A call that goes on alone: its agent comes back with the ticket."""

    ticket: HeldCallId
    server: str
    kinds: tuple[str, ...]
    """Of the questions that are open now: `sampling`, `elicitation`, `approval`."""
    requests: tuple[RequestId, ...]
    expires_at: datetime


class HeldCalls:
    """A resident: the calls' tasks are its own."""

    def __init__(self, *, calls: CallService) -> None:
        self._calls = calls

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        return None

    @property
    def is_on(self) -> bool:
        """Say whether a call may have to wait for a person here."""
        return False

    async def load(self) -> None:
        """Take up what the last process left. Call when the servers begin to connect."""

    def stop(self) -> None:
        """The hub is stopping: from now on a cancelled call is not withdrawn."""

    async def carry(
        self,
        view: View,
        errand: Errand,
        caller: Caller,
        target: Target | None = None,
        *,
        hold_s: float | None = None,
    ) -> Outcome | Waiting:
        """As `CallService.carry`; where a person is asked for longer than the hold: Waiting."""
        return await self._calls.carry(view, errand, caller, target)

    async def resume(
        self,
        principal: Principal,
        ticket: str,
        caller: Caller,
        binding: str | None = None,
        *,
        hold_s: float | None = None,
    ) -> Outcome | Waiting:
        """Wait on for a held call, at most the hold; gives the same outcome each time.

        Raises NotFoundError (`ticket_not_found`), or what the call ended with.
        """
        raise NotFoundError(f"There is no ticket {ticket!r}.", code="ticket_not_found")
