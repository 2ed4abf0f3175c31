"""Many requests over one shared connection: which reply, progress and question is whose."""

import asyncio
import itertools
import logging
import re
from collections import deque
from types import TracebackType
from typing import Self

from agenthub.adapters.outbound.mcp_client.channel import Inbox
from agenthub.adapters.outbound.mcp_client.ghosts import Ghosts
from agenthub.adapters.outbound.mcp_client.messages import (
    Failure,
    Incoming,
    Notification,
    Request,
    Result,
    notification_bytes,
    parse_all,
    request_bytes,
)
from agenthub.adapters.outbound.mcp_client.questions import Asker, Questions, Send
from agenthub.domain.exceptions import TimedOutError, UpstreamError
from agenthub.domain.ports.outbound.mcp_client import Caller, RawObject

_log = logging.getLogger(__name__)

MAX_HELD = 256
"""Progress and log messages kept for a caller that takes them slowly; later ones are dropped."""

MAX_WARNINGS = 20
"""Broken messages of one connection that are warned of; more would only fill the log."""

_LEVELS = "debug info notice warning error critical alert emergency"
_SEVERITY = {level: rank for rank, level in enumerate(_LEVELS.split())}

_ID = re.compile(rb'"id"\s*:\s*(\d{1,15})\b')


class _Pending:
    """A request under way: what has come for it and was not yet taken."""

    __slots__ = ("_events", "_waiter", "asker", "is_replied")

    def __init__(self, asker: Asker | None) -> None:
        self.asker = asker
        self.is_replied = False
        self._events: deque[Notification | Result | Failure | Exception] = deque()
        self._waiter: asyncio.Future[None] | None = None

    def put(self, event: Notification | Result | Failure | Exception) -> None:
        if not isinstance(event, Notification):
            self.is_replied = True
        elif len(self._events) >= MAX_HELD:
            return
        self._events.append(event)
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def outcome(self) -> bytes:
        """Hand notifications on, in order, until the reply has come."""
        while True:
            while not self._events:
                self._waiter = asyncio.get_running_loop().create_future()
                await self._waiter
            event = self._events.popleft()
            if isinstance(event, Result):
                return event.result
            if isinstance(event, Failure):
                raise event.error
            if isinstance(event, Exception):
                raise event
            if self.asker is not None:
                await hand_on(event, self.asker.caller)


class Dispatcher:
    """Correlates one connection (stdio, HTTP+SSE). A resident; `receive` and `fail` feed it.

    `send` is called by many tasks at once; one call is one message.
    """

    def __init__(self, *, send: Send, inbox: Inbox, server_name: str) -> None:
        self._send = send
        self._inbox = inbox
        self._server_name = server_name
        self._ids = itertools.count(1)
        self._pending: dict[bytes, _Pending] = {}
        self._ghosts = Ghosts()
        self._lost: Exception | None = None
        self._passed_over = 0
        self._questions = Questions(send=send, server_name=server_name)

    async def __aenter__(self) -> Self:
        await self._questions.__aenter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._questions.__aexit__(kind, error, trace)

    @property
    def unattributed(self) -> int:
        """How many questions were refused because nobody could say whose they are."""
        return self._questions.unattributed

    @property
    def in_flight(self) -> int:
        return len(self._pending)

    async def request(
        self,
        method: str,
        params: RawObject,
        *,
        meta: RawObject,
        caller: Caller | None,
        timeout_s: float | None,
    ) -> bytes:
        """Send a request and wait for its raw result, as `Channel.request`.

        `meta` is sent as it is, plus a progressToken of the hub's own where the caller wants it.
        Giving up, by time or by cancellation, tells the server.
        """
        if self._lost is not None:
            raise self._lost
        number = next(self._ids)
        key = b"%d" % number
        if caller is not None and caller.wants_progress:
            meta = {**meta, "progressToken": key}
        try:
            async with asyncio.timeout(timeout_s) as limit:
                return await self._exchange(
                    key, request_bytes(number, method, params, meta), caller, limit
                )
        except asyncio.CancelledError:
            self._cancel(key, method)
            raise
        except TimeoutError as error:
            self._cancel(key, method)
            raise timed_out(self._server_name, method, timeout_s) from error

    async def notify(self, method: str, params: RawObject) -> None:
        """Send a notification. Raises what `send` raises."""
        if self._lost is not None:
            raise self._lost
        await self._send(notification_bytes(method, params))

    def receive(self, raw: bytes) -> None:
        """Take one message (or batch) from the server. Never raises.

        What is no message is logged and passed over, as banners on stdout are; if it can be seen
        whose reply it was meant to be, that request fails at once.
        """
        try:
            for message in parse_all(raw):
                self._take(message)
        except UpstreamError as error:
            self._blame(raw, error)
        except Exception as error:  # noqa: BLE001 (one odd message must not end the connection)
            why = f"The hub could not take a message: {type(error).__name__}."
            self._blame(raw, UpstreamError(why, code="server_bad_message"))

    def fail(self, error: Exception) -> None:
        """The connection is lost: fail what is under way and whatever is asked later."""
        self._lost = error
        for pending in self._pending.values():
            pending.put(error)

    async def _exchange(
        self, key: bytes, message: bytes, caller: Caller | None, limit: asyncio.Timeout
    ) -> bytes:
        asker = None if caller is None else Asker(caller, limit)
        pending = self._pending[key] = _Pending(asker)
        try:
            await self._send(message)
            return await pending.outcome()
        except asyncio.CancelledError:
            if caller is not None and not pending.is_replied:
                self._ghosts.add(key, caller.client)
            raise
        finally:
            del self._pending[key]
            if asker is not None:
                self._questions.leave(asker)

    def _take(self, message: Incoming) -> None:
        match message:
            case Result() | Failure():
                if (pending := self._pending.get(message.id)) is not None:
                    pending.put(message)
                elif not self._ghosts.lay(message.id):
                    _log.debug("reply to no request", extra={"server": self._server_name})
            case Request():
                self._questions.put(message, self._askers(), self._ghosts.clients())
            case Notification():
                self._hear(message)

    def _hear(self, message: Notification) -> None:
        match message.method:
            case "notifications/progress":
                pending = self._pending.get(message.params.get("progressToken", b""))
                if pending is not None:
                    pending.put(message)
            case "notifications/cancelled":
                self._questions.withdraw(message.params.get("requestId", b""))
            case "notifications/message" if (owner := self._only_owner()) is not None:
                owner.put(message)
            case _:
                self._inbox.notification(message.method, message.params)

    def _askers(self) -> list[Asker]:
        return [p.asker for p in self._pending.values() if p.asker is not None]

    def _only_owner(self) -> _Pending | None:
        """Find the request a log message belongs to, if all that run are of one client."""
        owners = {p.asker.caller.client: p for p in self._pending.values() if p.asker is not None}
        if len(owners) != 1 or self._ghosts.clients() - owners.keys():
            return None
        return next(iter(owners.values()))

    def _cancel(self, key: bytes, method: str) -> None:
        if self._lost is None and method != "initialize":
            self._questions.say(notification_bytes("notifications/cancelled", {"requestId": key}))

    def _blame(self, raw: bytes, error: UpstreamError) -> None:
        self._passed_over += 1
        _log.log(
            logging.WARNING if self._passed_over <= MAX_WARNINGS else logging.DEBUG,
            "message of a server passed over",
            extra={"server": self._server_name, "why": error.message, "size_bytes": len(raw)},
        )
        meant = {key for key in _ID.findall(raw[:4096] + raw[-4096:]) if key in self._pending}
        if len(meant) == 1:
            self._pending[meant.pop()].put(error)


async def hand_on(message: Notification, caller: Caller) -> None:
    """Give a request's own notification to its caller; others have no place in a request."""
    if message.method == "notifications/progress":
        if caller.wants_progress:
            await caller.progress({k: v for k, v in message.params.items() if k != "progressToken"})
    elif message.method == "notifications/message" and _is_wanted(message.params, caller.log_level):
        await caller.log(message.params)


def _is_wanted(params: RawObject, least: str | None) -> bool:
    """A legacy server logs for the whole connection, so each caller's own level decides here."""
    if least not in _SEVERITY:
        return False
    level = params.get("level", b"").strip(b'"').decode()
    return _SEVERITY.get(level, 0) >= _SEVERITY[least]


def timed_out(server: str, method: str, timeout_s: float | None) -> TimedOutError:
    return TimedOutError(
        f"The server {server!r} did not answer {method} within {timeout_s:g} s."
        if timeout_s is not None
        else f"The server {server!r} did not answer {method} in time."
    )
