"""Requests under way: in turns where a server needs it, and ended when their lane ends."""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager

from agenthub.domain.exceptions import HeldBackError

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


class Turns:
    """For servers that cannot say whose question they ask: one client at a time.

    Requests of one client run together; those of another wait their turn, first come first served.
    """

    def __init__(self) -> None:
        self._client: str | None = None
        self._running = 0
        self._queue: deque[tuple[str, asyncio.Future[None]]] = deque()

    @asynccontextmanager
    async def turn(self, client: str, timeout_s: float) -> AsyncGenerator[None]:
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
        try:
            yield
        finally:
            self._leave()

    async def _enter(self, client: str) -> None:
        if self._running == 0 or (client == self._client and not self._queue):
            self._client = client
            self._running += 1
            return
        place = (client, asyncio.get_running_loop().create_future())
        self._queue.append(place)
        try:
            await place[1]
        except asyncio.CancelledError:
            if place in self._queue:
                self._queue.remove(place)
            else:
                self._leave()
            raise

    def _leave(self) -> None:
        self._running -= 1
        if self._running == 0 and self._queue:
            self._client = self._queue[0][0]
            while self._queue and self._queue[0][0] == self._client:
                _, admitted = self._queue.popleft()
                self._running += 1
                if not admitted.done():
                    admitted.set_result(None)
