"""Requests under way: in turns where a server needs it, and ended when their lane ends."""

import asyncio
from collections import Counter, deque
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial

from agenthub.domain.exceptions import HeldBackError
from agenthub.domain.ports.outbound.mcp_client import Caller, Question, RawObject

BUSY_RETRY_S = 5.0
"""Nobody knows when the other request ends: perhaps a person is asked."""


class LeaseEndedError(Exception):
    """The lane ended while a request was under way."""


class Leases:
    """The requests under way on one lane, whoever's tasks they run in."""

    def __init__(self) -> None:
        self._running: set[asyncio.Timeout] = set()

    @property
    def are_out(self) -> bool:
        return bool(self._running)

    async def run(self, send: Callable[[], Awaitable[bytes]]) -> bytes:
        """Send. Raises LeaseEndedError when `end` is called meanwhile."""
        lease = asyncio.timeout(None)
        try:
            async with lease:
                self._running.add(lease)
                try:
                    return await send()
                finally:
                    self._running.discard(lease)
        except TimeoutError as error:
            raise LeaseEndedError from error

    def end(self) -> None:
        """Fail whatever is under way."""
        now = asyncio.get_running_loop().time()
        for lease in self._running:
            lease.reschedule(now)


class Turn:
    """One request's turn. It can be lent to others while its server waits for people."""

    def __init__(self, lend: Callable[[], None], take_back: Callable[[], None]) -> None:
        self._lend = lend
        self._take_back = take_back
        self._is_lent = False
        self._is_over = False

    def lend(self) -> None:
        """Let others have it meanwhile."""
        if not self._is_lent and not self._is_over:
            self._is_lent = True
            self._lend()

    def take_back(self) -> None:
        """Go on at once, beside whoever has it now."""
        if self._is_lent and not self._is_over:
            self._is_lent = False
            self._take_back()

    def end(self) -> None:
        self.lend()
        self._is_over = True


class InTurn(Caller):
    """A caller, and the turn that its request has."""

    def __init__(self, caller: Caller, turn: Turn) -> None:
        self.era = caller.era
        self.capabilities = caller.capabilities
        self.client = caller.client
        self.wants_progress = caller.wants_progress
        self.log_level = caller.log_level
        self.turn = turn
        self._caller = caller

    def can_answer(self, question: Question) -> bool:
        return self._caller.can_answer(question)

    def has_people(self, question: Question) -> bool:
        return self._caller.has_people(question)

    async def progress(self, params: RawObject) -> None:
        await self._caller.progress(params)

    async def log(self, params: RawObject) -> None:
        await self._caller.log(params)

    async def ask(self, question: Question) -> bytes:
        return await self._caller.ask(question)


class Turns:
    """For servers that cannot say whose question they ask: one client at a time.

    Requests of one client run together; those of another wait their turn, first come first served.
    Who takes back a turn that was lent waits for nobody.
    """

    def __init__(self) -> None:
        self._working: Counter[str] = Counter()
        self._queue: deque[tuple[str, asyncio.Future[None]]] = deque()

    @asynccontextmanager
    async def turn(self, client: str, timeout_s: float) -> AsyncGenerator[Turn]:
        """Raises HeldBackError when the turn does not come within `timeout_s`."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._enter(client)
        except TimeoutError as error:
            raise HeldBackError(
                "The server is busy with another agent's request; it serves one at a time, as it"
                " does not say whose question it asks.",
                code="server_busy",
                retry_after_s=BUSY_RETRY_S,
            ) from error
        turn = Turn(partial(self._leave, client), partial(self._work, client))
        try:
            yield turn
        finally:
            turn.end()

    async def _enter(self, client: str) -> None:
        if not self._queue and self._is_free_for(client):
            self._work(client)
            return
        place = (client, asyncio.get_running_loop().create_future())
        self._queue.append(place)
        try:
            await place[1]
        except asyncio.CancelledError:
            if place in self._queue:
                self._queue.remove(place)
                self._admit()
            else:
                self._leave(client)
            raise

    def _is_free_for(self, client: str) -> bool:
        return self._working.keys() <= {client}

    def _work(self, client: str) -> None:
        self._working[client] += 1

    def _leave(self, client: str) -> None:
        self._working[client] -= 1
        if not self._working[client]:
            del self._working[client]
        self._admit()

    def _admit(self) -> None:
        """Let in who is first, and all behind it that are of the same client."""
        while self._queue and self._is_free_for(self._queue[0][0]):
            client, admitted = self._queue.popleft()
            self._work(client)
            if not admitted.done():
                admitted.set_result(None)
