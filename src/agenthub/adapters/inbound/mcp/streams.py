"""Writing to agents: plain answers, and server-sent events with bounded queues."""

import asyncio
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from agenthub.adapters.inbound.mcp.crew import Crew

Message = MutableMapping[str, Any]
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Header = tuple[bytes, bytes]

KEEP_ALIVE_S = 15.0
WATCH_AFTER_S = 0.05
"""From here on a disconnect is noticed; shorter calls do not pay for the watching."""
WRITE_TIMEOUT_S = 60.0
"""An agent that takes no byte for so long is given up."""
MAX_WAITING = 1024
"""Messages kept for a slow reader. Beyond it what may be lost is lost; twice that ends it."""
MAX_LOSABLE_BYTES = 1024 * 1024
"""While so much waits, what may be lost is lost."""
MAX_WAITING_BYTES = 32 * 1024 * 1024
"""A stream on which more than this waits is given up. It has room for any one answer."""

_STREAM_HEADERS: tuple[Header, ...] = (
    (b"content-type", b"text/event-stream"),
    (b"cache-control", b"no-cache, no-transform"),
    (b"x-accel-buffering", b"no"),
)
_JSON = (b"content-type", b"application/json")


async def send_json(
    send: Send, body: bytes, status: int = 200, headers: tuple[Header, ...] = ()
) -> None:
    """Send a whole JSON answer."""
    length = (b"content-length", b"%d" % len(body))
    await send(
        {"type": "http.response.start", "status": status, "headers": [_JSON, length, *headers]}
    )
    await send({"type": "http.response.body", "body": body})


async def send_empty(send: Send, status: int, headers: tuple[Header, ...] = ()) -> None:
    """Send an answer without a body."""
    length = (b"content-length", b"0")
    await send({"type": "http.response.start", "status": status, "headers": [length, *headers]})
    await send({"type": "http.response.body", "body": b""})


def frame(message: bytes, event: bytes = b"message") -> bytes:
    """Make one event of a JSON message.

    A line break can stand between JSON tokens only, where a space means the same.
    """
    if b"\n" in message or b"\r" in message:
        message = message.replace(b"\r", b" ").replace(b"\n", b" ")
    return b"event: " + event + b"\r\ndata: " + message + b"\r\n\r\n"


class EventStream:
    """One event stream to one agent. Putting never waits; `run` writes until the end."""

    def __init__(
        self, send: Send, *, keep_alive_s: float = KEEP_ALIVE_S, headers: tuple[Header, ...] = ()
    ) -> None:
        self._send = send
        self._keep_alive_s = keep_alive_s
        self._headers = headers
        self._waiting: deque[bytes] = deque()
        self._waiting_bytes = 0
        self._wake = asyncio.Event()
        self.is_ended = False

    def put(self, message: bytes, *, event: bytes = b"message", can_be_lost: bool = False) -> bool:
        """Queue a message. False when it will not be written."""
        count, size = len(self._waiting), self._waiting_bytes
        more = size + len(message) if size else 0  # one message alone is never too large
        if self.is_ended:
            return False
        if can_be_lost and (count >= MAX_WAITING or more > MAX_LOSABLE_BYTES):
            return False
        if count >= 2 * MAX_WAITING or more > MAX_WAITING_BYTES:
            self.abandon()
            return False
        framed = frame(message, event)
        self._waiting.append(framed)
        self._waiting_bytes += len(framed)
        self._wake.set()
        return True

    def end(self) -> None:
        """Take nothing more; the stream ends when what waits is written."""
        self.is_ended = True
        self._wake.set()

    def abandon(self) -> None:
        """End without writing what waits."""
        self._waiting.clear()
        self.end()

    async def run(self) -> None:
        """Write until ended, or until the agent takes nothing more."""
        headers = [*_STREAM_HEADERS, *self._headers]
        try:
            await self._write({"type": "http.response.start", "status": 200, "headers": headers})
            while self._waiting or not self.is_ended:
                await self._write_some()
            await self._write({"type": "http.response.body", "body": b""})
        except TimeoutError:
            self.abandon()
        finally:
            self.is_ended = True

    async def _write_some(self) -> None:
        if self._waiting:
            body = b"".join(self._waiting)
            self._waiting.clear()
            await self._write({"type": "http.response.body", "body": body, "more_body": True})
            self._waiting_bytes -= len(body)  # what is being written counts: it is kept as well
            return
        self._wake.clear()
        try:
            async with asyncio.timeout(self._keep_alive_s):
                await self._wake.wait()
        except TimeoutError:
            body = b": keep-alive\r\n\r\n"
            await self._write({"type": "http.response.body", "body": body, "more_body": True})

    async def _write(self, message: Message) -> None:
        async with asyncio.timeout(WRITE_TIMEOUT_S):
            await self._send(message)


class Outlet(ABC):
    """Where the messages that belong to one request go, and at last its answer."""

    @property
    @abstractmethod
    def is_open(self) -> bool:
        """Say whether a message ahead of the answer can arrive, as far as is known."""

    @abstractmethod
    def push(self, message: bytes, *, can_be_lost: bool = False) -> bool:
        """Send a message ahead of the answer. False when it cannot arrive. Never waits."""

    @abstractmethod
    async def answer(self, body: bytes, status: int = 200) -> None:
        """Send the answer; nothing may be pushed any more."""

    @abstractmethod
    async def drop(self) -> None:
        """End without an answer, as a withdrawn request wants it."""

    @abstractmethod
    def on_gone(self, listener: Callable[[], None]) -> None:
        """Call `listener` once when the agent has hung up or takes nothing more.

        Known only while watched.
        """


class Exchange(Outlet):
    """One POST: answered in one piece when the result comes first, else as an event stream.

    Nothing but a timer is paid for before the first push or `WATCH_AFTER_S`.
    """

    def __init__(
        self, receive: Receive, send: Send, crew: Crew, *, may_stream: bool, keep_alive_s: float
    ) -> None:
        self._receive = receive
        self._send = send
        self._crew = crew
        self._may_stream = may_stream
        self._keep_alive_s = keep_alive_s
        self._stream: EventStream | None = None
        self._written: asyncio.Event | None = None
        self._is_answered = False
        self._is_gone = False
        self._listeners: list[Callable[[], None]] = []
        self._watcher: asyncio.Task[None] | None = None
        self._timer = asyncio.get_running_loop().call_later(WATCH_AFTER_S, self._start_watching)

    def on_gone(self, listener: Callable[[], None]) -> None:
        if self._is_gone:
            listener()
        self._listeners.append(listener)

    @property
    def is_open(self) -> bool:
        return self._may_stream and not self._is_answered and not self._is_gone

    def push(self, message: bytes, *, can_be_lost: bool = False) -> bool:
        if not self.is_open:
            return False
        return self._begun().put(message, can_be_lost=can_be_lost)

    async def answer(self, body: bytes, status: int = 200) -> None:
        self._is_answered = True
        self._stop_watching()
        if self._stream is None:
            await send_json(self._send, body, status)
            return
        self._stream.put(body)
        await self._finish(self._stream)

    async def drop(self) -> None:
        self._is_answered = True
        self._stop_watching()
        if self._is_gone:
            return
        if self._may_stream:
            await self._finish(self._begun())
        else:
            await send_empty(self._send, 202)

    def close(self) -> None:
        """Let go of everything; call it however the exchange ended."""
        self._is_answered = True
        self._stop_watching()
        if self._stream is not None:
            self._stream.end()

    def _begun(self) -> EventStream:
        if self._stream is None:
            self._stream = EventStream(self._send, keep_alive_s=self._keep_alive_s)
            self._written = asyncio.Event()
            if self._crew.start(self._write(self._stream, self._written)) is None:
                self._written.set()
        return self._stream

    async def _write(self, stream: EventStream, written: asyncio.Event) -> None:
        try:
            await stream.run()
        finally:
            written.set()
            if not self._is_answered:
                self._leave()

    def _leave(self) -> None:
        """Note that nothing reaches the agent any more."""
        if self._is_gone:
            return
        self._is_gone = True
        if self._stream is not None:
            self._stream.abandon()
        for listener in self._listeners:
            listener()

    async def _finish(self, stream: EventStream) -> None:
        stream.end()
        if self._written is not None:
            await self._written.wait()

    def _start_watching(self) -> None:
        self._watcher = self._crew.start(self._watch())

    def _stop_watching(self) -> None:
        self._timer.cancel()
        if self._watcher is not None:
            self._watcher.cancel()
            self._watcher = None

    async def _watch(self) -> None:
        try:
            async with asyncio.timeout(max(0.0, self._keep_alive_s - WATCH_AFTER_S)):
                await _hung_up(self._receive)
        except TimeoutError:
            if self._may_stream:
                self._begun()
            await _hung_up(self._receive)
        self._watcher = None
        self._leave()


async def _hung_up(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def run_until_hung_up(stream: EventStream, receive: Receive, crew: Crew) -> None:
    """Write `stream` until it ends or the agent hangs up."""

    async def watch() -> None:
        await _hung_up(receive)
        stream.abandon()

    watcher = crew.start(watch())
    try:
        await stream.run()
    finally:
        if watcher is not None:
            watcher.cancel()
