"""The event feed as server-sent events and over a WebSocket: one source, two framings."""

import asyncio
import logging
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass

from agenthub.adapters.inbound.gate import Receive, Scope, Send
from agenthub.adapters.inbound.http.wire_events import ErrorEvent, ResyncEvent, WireEvent, to_wire
from agenthub.adapters.inbound.hub import Hub
from agenthub.domain.entities.identity import Principal
from agenthub.domain.event import StoredEvent
from agenthub.domain.exceptions import HubError
from agenthub.domain.ports.outbound.clock import Clock

HEARTBEAT_S = 15.0
WRITE_TIMEOUT_S = 60.0
"""A reader that takes no byte for so long is given up."""
RETRY_MS = 2_000
MAX_WAITING = 256
"""Events read ahead for one reader; behind them the feed itself waits, in the database."""

_logger = logging.getLogger(__name__)


class Closing:
    """Says when the hub stops, so that streams without an end find one."""

    def __init__(self) -> None:
        self._event = asyncio.Event()

    @property
    def has_begun(self) -> bool:
        return self._event.is_set()

    def begin(self) -> None:
        self._event.set()

    async def wait(self) -> None:
        await self._event.wait()


@dataclass(frozen=True, slots=True)
class Feed:
    """What one reader follows: the events behind `after`, as long as its `token` holds."""

    hub: Hub
    clock: Clock
    principal: Principal
    token: str
    after: int | None


class Outlet(ABC):
    """How events reach one reader."""

    @abstractmethod
    async def event(self, event: WireEvent, event_id: int | None) -> None: ...

    @abstractmethod
    async def heartbeat(self) -> None: ...


async def pour(feed: Feed, outlet: Outlet, heartbeat_s: float = HEARTBEAT_S) -> None:
    """Write the feed to a reader until its token no longer holds or it takes nothing more.

    A fault becomes the last event: behind the first byte no status can tell of it.
    """
    waiting: asyncio.Queue[tuple[WireEvent, int | None]] = asyncio.Queue(MAX_WAITING)
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.TaskGroup() as group:
            reading = group.create_task(_read(feed, waiting))
            checked_at = loop.time()
            while not reading.done() or not waiting.empty():
                try:
                    async with asyncio.timeout(heartbeat_s):
                        event, event_id = await waiting.get()
                except TimeoutError:
                    await outlet.heartbeat()
                else:
                    await outlet.event(event, event_id)
                if loop.time() - checked_at >= heartbeat_s:
                    await feed.hub.identity.authenticate(feed.token)
                    checked_at = loop.time()
            reading.cancel()
    except* HubError as errors:
        error = errors.exceptions[0]
        await outlet.event(_last_words(feed, error), None)
    except* (TimeoutError, OSError):
        _logger.debug("a reader of the event feed is gone")
    except* Exception:
        _logger.exception("an event stream failed")
        await outlet.event(_last_words(feed, HubError("A fault of the hub.")), None)


async def _read(feed: Feed, waiting: asyncio.Queue[tuple[WireEvent, int | None]]) -> None:
    async with aclosing(feed.hub.events.follow(feed.principal, feed.after)) as events:
        async for event in events:
            if isinstance(event, StoredEvent):
                shown = to_wire(event)
                if shown is not None:
                    await waiting.put((shown, event.id))
            else:
                missed = ResyncEvent(
                    type="resync",
                    at=feed.clock.now(),
                    workspace=feed.principal.workspace,
                    after=event.after,
                )
                await waiting.put((missed, None))


def _last_words(feed: Feed, error: BaseException) -> ErrorEvent:
    code = error.code if isinstance(error, HubError) else "internal"
    return ErrorEvent(
        type="error",
        at=feed.clock.now(),
        workspace=feed.principal.workspace,
        code=code,
        detail=str(error),
    )


async def first_of(*jobs: Callable[[], Awaitable[None]]) -> None:
    """Run jobs side by side; when the first ends, end the others."""
    async with asyncio.TaskGroup() as group:

        async def run(job: Callable[[], Awaitable[None]]) -> None:
            await job()

        tasks = [group.create_task(run(job)) for job in jobs]
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            task.cancel()


class EventStream:
    """An ASGI answer: the feed as `text/event-stream`, until either side hangs up."""

    def __init__(self, feed: Feed, closing: Closing, *, heartbeat_s: float = HEARTBEAT_S) -> None:
        self._feed = feed
        self._closing = closing
        self._heartbeat_s = heartbeat_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = [
            (b"content-type", b"text/event-stream; charset=utf-8"),
            (b"cache-control", b"no-cache, no-transform"),
            (b"x-accel-buffering", b"no"),
        ]
        outlet = _SseOutlet(send)
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await outlet.write(f"retry: {RETRY_MS}\n: connected\n\n")

        async def hung_up() -> None:
            while (await receive())["type"] != "http.disconnect":
                pass

        async def poured() -> None:
            await pour(self._feed, outlet, self._heartbeat_s)

        await first_of(poured, hung_up, self._closing.wait)
        await send({"type": "http.response.body", "body": b""})


class _SseOutlet(Outlet):
    def __init__(self, send: Send) -> None:
        self._send = send

    async def event(self, event: WireEvent, event_id: int | None) -> None:
        head = "" if event_id is None else f"id: {event_id}\n"
        await self.write(f"{head}event: {event.type}\ndata: {event.model_dump_json()}\n\n")

    async def heartbeat(self) -> None:
        await self.write(": still here\n\n")

    async def write(self, text: str) -> None:
        async with asyncio.timeout(WRITE_TIMEOUT_S):
            message = {"type": "http.response.body", "body": text.encode(), "more_body": True}
            await self._send(message)
