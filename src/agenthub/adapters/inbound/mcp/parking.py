"""Parked calls: a legacy server asks mid-call, and a modern agent is asked between two requests.

The call runs in a task of its own. When the server asks, the agent's request is answered with
the questions and a ticket; the agent repeats its request with the answers and the ticket, and
the call goes on. A ticket serves once.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Container, Mapping
from dataclasses import dataclass

import msgspec

from agenthub.adapters.inbound.mcp.asking import fits, require_answerable, unreachable
from agenthub.adapters.inbound.mcp.callers import Accent, AgentCaller, AgentFacts
from agenthub.adapters.inbound.mcp.crew import Crew
from agenthub.adapters.inbound.mcp.envelope import INVALID_PARAMS
from agenthub.adapters.inbound.mcp.streams import Outlet
from agenthub.adapters.inbound.mcp.withdrawal import stopping
from agenthub.domain.entities.endpoints import Era
from agenthub.domain.entities.identity import Principal
from agenthub.domain.exceptions import (
    CancelledByCallerError,
    QuotaError,
    RpcError,
)
from agenthub.domain.ports.outbound.clock import Chance
from agenthub.domain.ports.outbound.mcp_client import Question
from agenthub.domain.services.calls import Outcome
from agenthub.domain.services.held import Waiting

PARK_TTL_S = 600.0
GATHER_S = 0.005
"""Questions asked at the same moment go out together."""
MAX_PARKED = 500
"""Calls that may wait for the agents of one principal at a time."""
MAX_PARKED_BYTES = 32 * 1024 * 1024
"""What the parked calls of one principal may hold of its requests."""
TICKET_SIZE_BYTES = 24


Work = Callable[[], Awaitable[Outcome | Waiting]]


class _Nowhere(Outlet):
    """Between two requests of the agent there is nobody to tell."""

    @property
    def is_open(self) -> bool:
        return False

    def push(self, message: bytes, *, can_be_lost: bool = False) -> bool:
        return False

    async def answer(self, body: bytes, status: int = 200) -> None:
        """Nobody waits."""

    async def drop(self) -> None:
        """Nobody waits."""

    def on_gone(self, listener: Callable[[], None]) -> None:
        """Nobody can leave."""


NOWHERE = _Nowhere()


@dataclass(frozen=True, slots=True)
class Bundle:
    """Questions for the agent, by key, and the nonce of the ticket that brings the answers."""

    nonce: str
    questions: dict[str, Question]


class ParkedCaller(AgentCaller):
    """A modern agent whose call outlives its requests."""

    era = Era.MODERN

    def __init__(
        self, outlet: Outlet, accent: Accent, facts: AgentFacts, progress_token: bytes | None
    ) -> None:
        super().__init__(outlet, accent, facts, progress_token)
        self.changed = asyncio.Event()
        self._pending: dict[str, tuple[Question, asyncio.Future[bytes]]] = {}
        self._asked = 0

    def visit(self, outlet: Outlet, progress_token: bytes | None) -> None:
        """From now on the agent listens at `outlet`."""
        self._outlet = outlet
        self.progress_token = progress_token

    def leave(self) -> None:
        self._outlet = NOWHERE

    def pending(self) -> dict[str, Question]:
        return {
            key: question for key, (question, future) in self._pending.items() if not future.done()
        }

    def respond(self, responses: Mapping[str, bytes]) -> None:
        """Hand the agent's answers to who waits for them; unknown keys are ignored (MCP).

        What does not fit its question is ignored as well, so that the agent is asked again.
        """
        for key, response in responses.items():
            question, future = self._pending.get(key, (None, None))
            if question is None or future is None or future.done():
                continue
            if fits(question, response):
                future.set_result(response)

    def hang_up(self) -> None:
        """The agent does not come back with its answers: others are asked, where they can be."""
        for question, future in self._pending.values():
            if not future.done():
                future.set_exception(unreachable(question))

    async def ask(self, question: Question) -> bytes:
        require_answerable(self.capabilities, question)
        question = self._accent.question(question)
        self._asked += 1
        key = f"question-{self._asked}"
        future: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._pending[key] = (question, future)
        self.changed.set()
        try:
            return await future
        finally:
            del self._pending[key]


@dataclass(frozen=True, slots=True)
class Booking:
    """Whose call it is, which one (see sealing), and how much of its request it keeps."""

    principal: Principal
    binding: tuple[str, ...]
    size_bytes: int

    @property
    def owner(self) -> tuple[str, str]:
        return self.principal.workspace, self.principal.subject


class _Call:
    """One parked call."""

    def __init__(self, booking: Booking, caller: ParkedCaller) -> None:
        self.booking = booking
        self.caller = caller
        self.outcome: Outcome | Waiting | Exception | None = None
        self.task: asyncio.Task[None] | None = None
        self.held_bytes = 0
        self.timer: asyncio.TimerHandle | None = None

    async def run(self, work: Work) -> None:
        try:
            self.outcome = await work()
        except Exception as error:  # noqa: BLE001 - kept, and raised again where the agent waits
            self.outcome = error
        finally:
            if self.outcome is None:
                self.outcome = CancelledByCallerError("The call was cancelled.")
            self.caller.changed.set()

    def size_bytes(self) -> int:
        """Say roughly how much is kept while the agent is asked."""
        questions = self.caller.pending().values()
        declared = len(msgspec.json.encode(self.caller.capabilities))
        return self.booking.size_bytes + declared + sum(len(one.params) for one in questions)

    def cancel(self) -> None:
        if self.task is not None:
            self.task.cancel()
        self.caller.hang_up()  # a call that is held goes on without its agent


class Parking:
    """All parked calls, by the nonce of the ticket that is out."""

    def __init__(
        self,
        crew: Crew,
        chance: Chance,
        *,
        ttl_s: float = PARK_TTL_S,
        gather_s: float = GATHER_S,
        max_parked: int = MAX_PARKED,
        max_parked_bytes: int = MAX_PARKED_BYTES,
    ) -> None:
        self._crew = crew
        self._chance = chance
        self._ttl_s = ttl_s
        self._gather_s = gather_s
        self._max_parked = max_parked
        self._max_parked_bytes = max_parked_bytes
        self._waiting: dict[str, _Call] = {}
        self._counts: Counter[tuple[str, str]] = Counter()
        self._sizes_bytes: Counter[tuple[str, str]] = Counter()

    def __len__(self) -> int:
        return len(self._waiting)

    async def start(
        self,
        booking: Booking,
        caller: ParkedCaller,
        outlet: Outlet,
        work: Work,
    ) -> Outcome | Waiting | Bundle:
        """Run `work` as a call that can be parked, until it ends, asks or is left to a person.

        Raises QuotaError when it asks and too many calls of its principal wait already.
        """
        call = _Call(booking, caller)
        call.task = self._crew.start(call.run(work))
        if call.task is None:
            raise stopping()
        caller.visit(outlet, caller.progress_token)
        return await self._attend(call)

    async def resume(
        self,
        nonce: str,
        binding: tuple[str, ...],
        outlet: Outlet,
        responses: Mapping[str, bytes],
        progress_token: bytes | None,
    ) -> Outcome | Waiting | Bundle:
        """Go on with the call behind a ticket. Raises RpcError for a used or foreign one."""
        call = self._waiting.get(nonce)
        if call is None or call.booking.binding != binding:
            raise RpcError(
                INVALID_PARAMS,
                "This requestState is expired, was used before, or belongs to another request.",
            )
        self._take(nonce)
        call.caller.visit(outlet, progress_token)
        call.caller.respond(responses)
        return await self._attend(call)

    async def _attend(self, call: _Call) -> Outcome | Waiting | Bundle:
        """Wait, while the agent does, for the result or the next questions."""
        left_alive = False
        try:
            outcome = await self._next(call)
            left_alive = not isinstance(outcome, Waiting)
        finally:
            call.caller.leave()
            if not left_alive:
                call.cancel()
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    async def _next(self, call: _Call) -> Outcome | Waiting | Bundle | Exception:
        caller = call.caller
        while True:
            if call.outcome is not None:
                return call.outcome
            if caller.pending():
                await asyncio.sleep(self._gather_s)
                questions = caller.pending()
                if questions and call.outcome is None:
                    return Bundle(self._park(call), questions)
            else:
                caller.changed.clear()
                await caller.changed.wait()

    def _park(self, call: _Call) -> str:
        owner, size_bytes = call.booking.owner, call.size_bytes()
        total_bytes = self._sizes_bytes[owner] + size_bytes
        if self._counts[owner] >= self._max_parked or total_bytes > self._max_parked_bytes:
            raise QuotaError(
                "Too many calls are waiting for answers of their agents; try again later.",
                code="too_many_parked_calls",
                retry_after_s=30.0,
            )
        nonce = self._chance.token(TICKET_SIZE_BYTES)
        self._waiting[nonce] = call
        self._counts[owner] += 1
        self._sizes_bytes[owner] = total_bytes
        call.held_bytes = size_bytes
        loop = asyncio.get_running_loop()
        call.timer = loop.call_later(self._ttl_s, self._abandon, nonce)
        return nonce

    def _take(self, nonce: str) -> _Call | None:
        call = self._waiting.pop(nonce, None)
        if call is None:
            return None
        if call.timer is not None:
            call.timer.cancel()
        owner = call.booking.owner
        self._counts[owner] -= 1
        self._sizes_bytes[owner] -= call.held_bytes
        if not self._counts[owner]:
            del self._counts[owner], self._sizes_bytes[owner]
        return call

    def _abandon(self, nonce: str) -> None:
        call = self._take(nonce)
        if call is not None:
            call.cancel()

    def principals(self) -> set[Principal]:
        """Give who has parked calls."""
        return {call.booking.principal for call in self._waiting.values()}

    def end_of(self, principals: Container[Principal]) -> None:
        """Cancel the calls that these have parked."""
        for nonce, call in list(self._waiting.items()):
            if call.booking.principal in principals:
                self._abandon(nonce)

    def close(self) -> None:
        """Cancel every parked call."""
        for nonce in list(self._waiting):
            self._abandon(nonce)
