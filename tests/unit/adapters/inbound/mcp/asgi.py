"""A small ASGI driver: one request at a time, with the answer readable while it is written."""

import asyncio
import json
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from agenthub.domain.entities.identity import OWNER, Principal
from tests.support.waiting import soon

Message = MutableMapping[str, Any]
App = Callable[
    [Message, Callable[[], Awaitable[Message]], Callable[[Message], Awaitable[None]]],
    Awaitable[None],
]


class Visit:
    """One HTTP request in flight. `start` lets it run, `hang_up` closes the connection.

    Nothing more can be written while `hold` is not set.
    """

    def __init__(self, app: App, scope: Message, body: bytes | None) -> None:
        self._app = app
        self._scope = scope
        self._inbox: asyncio.Queue[Message] = asyncio.Queue()
        if body is not None:
            self.bring(body)
        self._outbox: asyncio.Queue[Message] = asyncio.Queue()
        self._text = b""
        self._is_over = False
        self.status = 0
        self.headers: dict[str, str] = {}
        self.writes = 0
        self.task: asyncio.Task[None] | None = None
        self.hold: asyncio.Event | None = None

    def start(self, group: asyncio.TaskGroup) -> "Visit":
        self.task = group.create_task(self._run())
        return self

    def bring(self, body: bytes, *, more: bool = False) -> None:
        """Let a part of the body arrive."""
        self._inbox.put_nowait({"type": "http.request", "body": body, "more_body": more})

    def hang_up(self) -> None:
        self._inbox.put_nowait({"type": "http.disconnect"})

    async def _run(self) -> None:
        try:
            await self._app(self._scope, self._inbox.get, self._send)
        finally:
            self._outbox.put_nowait({"type": "over"})

    async def _send(self, message: Message) -> None:
        if self.hold is not None:
            await self.hold.wait()
        self.writes += 1
        self._outbox.put_nowait(message)

    async def _more(self) -> bool:
        if self._is_over:
            return False
        message = await soon(self._outbox.get())
        match message["type"]:
            case "http.response.start":
                self.status = message["status"]
                self.headers = {k.decode(): v.decode() for k, v in message["headers"]}
            case "http.response.body":
                self._text += message.get("body", b"")
            case _:
                self._is_over = True
        return not self._is_over

    async def begun(self) -> "Visit":
        """Wait for the status line."""
        while not self.status:
            assert await self._more(), "ended without an answer"
        return self

    async def body(self) -> bytes:
        """Wait for the end and give all of the body."""
        while await self._more():
            pass
        return self._text

    async def json(self) -> Any:
        return json.loads(await self.body())

    async def event(self) -> tuple[str, str]:
        """Give the next server-sent event as (event, data)."""
        while True:
            head, found, rest = self._text.partition(b"\r\n\r\n")
            if found:
                self._text = rest
                if head.startswith(b":"):
                    continue
                lines = dict(line.split(": ", 1) for line in head.decode().split("\r\n"))
                return lines["event"], lines["data"]
            assert await self._more(), f"the stream ended; left: {self._text!r}"

    async def message(self) -> Any:
        """Give the next JSON-RPC message of the event stream."""
        return json.loads((await self.event())[1])

    async def is_over(self) -> bool:
        """Wait for the end; say whether nothing more was written before it."""
        return not await self.body()


def http(
    app: App,
    method: str,
    path: str,
    *,
    body: Any = b"",
    principal: Principal = OWNER,
    query: bytes = b"",
    **headers: str,
) -> Visit:
    """Prepare a request. Header names are given with underscores; a dict becomes JSON.

    A body of None never arrives.
    """
    raw = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    scope: Message = {
        "type": "http",
        "method": method,
        "path": path,
        "query_string": query,
        "headers": [(k.encode(), v.encode()) for k, v in given.items()],
        "agenthub.principal": principal,
    }
    return Visit(app, scope, raw)
