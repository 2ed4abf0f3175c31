"""A server over streamable HTTP in the legacy era: one session, one POST per request.

What a server asks on a request's own stream belongs to that request's caller, so many callers
can share the session.
"""

import asyncio
import itertools
import logging
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from agenthub.adapters.outbound.mcp_client.channel import Channel, Inbox
from agenthub.adapters.outbound.mcp_client.dispatcher import hand_on, timed_out
from agenthub.adapters.outbound.mcp_client.ghosts import Ghosts
from agenthub.adapters.outbound.mcp_client.http_answers import (
    MessageReader,
    is_reply,
    no_reply,
)
from agenthub.adapters.outbound.mcp_client.legacy_session import (
    DEFAULT_RETRY_S,
    Session,
    SessionDesk,
    SessionLostError,
    retry_s,
)
from agenthub.adapters.outbound.mcp_client.legacy_strays import Strays
from agenthub.adapters.outbound.mcp_client.messages import (
    Failure,
    Incoming,
    Notification,
    Request,
    Result,
    notification_bytes,
    request_bytes,
)
from agenthub.adapters.outbound.mcp_client.questions import Asker, Questions
from agenthub.domain.entities.endpoints import Endpoint, Era
from agenthub.domain.exceptions import HubError, RpcError, UnavailableError
from agenthub.domain.ports.outbound.http import HttpClient, HttpResponse, TransportError
from agenthub.domain.ports.outbound.mcp_client import Caller, RawObject

_log = logging.getLogger(__name__)

_LISTS = ("tools", "prompts", "resources")


@asynccontextmanager
async def open_legacy_http(
    http: HttpClient, endpoint: Endpoint, inbox: Inbox, *, timeout_s: float = 10.0
) -> AsyncGenerator["LegacyHttpChannel"]:
    """Begin a session; leaving ends it. `timeout_s` bounds each handshake."""
    channel = LegacyHttpChannel(SessionDesk(http, endpoint), http, inbox, timeout_s=timeout_s)
    async with channel:
        yield channel


@dataclass(slots=True, eq=False)
class _Call:
    """One request of the hub's while it runs. `key` is its id as JSON, new for each attempt."""

    method: str
    params: RawObject
    meta: RawObject
    caller: Caller | None
    asker: Asker | None
    key: bytes = b""


class LegacyHttpChannel(Channel):
    """A resident; its session is renewed by itself when the server has lost it (HTTP 404)."""

    era = Era.LEGACY

    def __init__(
        self, desk: SessionDesk, http: HttpClient, inbox: Inbox, *, timeout_s: float
    ) -> None:
        self._desk = desk
        self._http = http
        self._inbox = inbox
        self._timeout_s = timeout_s
        self._ids = itertools.count(1)
        self._running: dict[bytes, _Call] = {}
        self._ghosts = Ghosts()
        self._watched: set[bytes] = set()
        self._log_level: bytes | None = None
        self._questions = Questions(send=self._send, server_name=desk.server)
        self._closed = asyncio.Event()
        self._is_over = False
        self._group = asyncio.TaskGroup()
        self._stray: asyncio.Task[None] | None = None
        self._renewal: asyncio.Task[Session | HubError | RpcError] | None = None

    async def __aenter__(self) -> Self:
        self._session = await self._desk.begin(self._timeout_s)
        self.hello = self._session.hello
        await self._questions.__aenter__()
        await self._group.__aenter__()
        self._follow_strays()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._is_over = True
        for task in (self._stray, self._renewal):
            if task is not None:
                task.cancel()
        await self._group.__aexit__(None, None, None)
        await self._questions.__aexit__(None, None, None)
        await self._desk.end(self._session)

    @property
    def unattributed(self) -> int:
        """How many questions were refused because nobody could say whose they are."""
        return self._questions.unattributed

    async def request(
        self,
        method: str,
        params: RawObject,
        *,
        meta: RawObject,
        caller: Caller | None,
        timeout_s: float,
        header_params: dict[str, str] | None = None,
    ) -> bytes:
        """Post the request and read its answer, taking up a cut stream where it ended.

        Giving up, by time or by cancellation, tells the server. `header_params` are modern.
        """
        call = _Call(method, params, meta, caller, None)
        try:
            async with asyncio.timeout(timeout_s) as limit:
                call.asker = None if caller is None else Asker(caller, limit)
                result = await self._in_session(call)
        except asyncio.CancelledError:
            self._cancel(call)
            raise
        except TimeoutError as error:
            self._cancel(call)
            raise timed_out(self._desk.server, method, timeout_s) from error
        self._remember(call)
        return result

    async def notify(self, method: str, params: RawObject) -> None:
        await self._send(notification_bytes(method, params))

    async def wait_closed(self) -> None:
        """Return when the session was lost and no new one could be begun."""
        await self._closed.wait()

    async def _send(self, message: bytes) -> None:
        await self._desk.post(self._session, message)

    async def _in_session(self, call: _Call) -> bytes:
        """Run the call; once more, in a new session, if the server had lost the old one."""
        session = self._session
        try:
            reply = await self._exchange(session, call)
        except SessionLostError:
            reply = await self._exchange(await self._renewed(session), call)
        if isinstance(reply, Failure):
            raise reply.error
        return reply.result

    async def _exchange(self, session: Session, call: _Call) -> Result | Failure:
        number = next(self._ids)
        call.key = b"%d" % number
        meta = call.meta
        if call.caller is not None and call.caller.wants_progress:
            meta = {**meta, "progressToken": call.key}
        body = request_bytes(number, call.method, call.params, meta)
        self._running[call.key] = call
        try:
            async with self._http.request(
                "POST", self._desk.url, headers=session.headers, body=body, timeout_s=None
            ) as response:
                if response.status >= 300:
                    raise await self._desk.refusal(session, response, call.key)
                reader = MessageReader(response, self._desk.server, call.key)
                reply = await self._read(reader, call)
            while reply is None:
                reader, reply = await self._resume(session, reader, call)
            return reply
        finally:
            del self._running[call.key]
            if call.asker is not None:
                self._questions.leave(call.asker)

    async def _read(self, reader: MessageReader, call: _Call) -> Result | Failure | None:
        """Read up to the reply; None when the stream ended before it and can be taken up."""
        try:
            while (message := await reader.next()) is not None:
                if is_reply(message, call.key):
                    return message
                await self._take(message, call)
        except TransportError:
            if reader.parser.last_event_id is None:
                raise
        if reader.parser.last_event_id is None:
            raise no_reply(self._desk.server, call.method)
        return None

    async def _resume(
        self, session: Session, former: MessageReader, call: _Call
    ) -> tuple[MessageReader, Result | Failure | None]:
        """Ask for the rest of a stream after the wait the server wishes; the deadline bounds it."""
        last = former.parser.last_event_id
        await asyncio.sleep(retry_s(former, DEFAULT_RETRY_S))
        async with self._http.request(
            "GET", self._desk.url, headers=session.stream_headers(last), timeout_s=None
        ) as response:
            if response.status >= 300:
                raise await self._lost_rest(session, response, call)
            reader = MessageReader(response, self._desk.server, call.key, last_event_id=last)
            reader.parser.retry_s = former.parser.retry_s
            return reader, await self._read(reader, call)

    async def _lost_rest(self, session: Session, response: HttpResponse, call: _Call) -> Exception:
        """Say why the rest of a cut stream is refused.

        The server has taken the request and may have done it, so it is never sent again: a session
        that is lost by now is renewed for the others.
        """
        fault = await self._desk.refusal(session, response, call.key)
        if not isinstance(fault, SessionLostError):
            return fault
        self._begin_renewal(session)
        return TransportError(
            f"The server {self._desk.server!r} lost the session while it answered {call.method};"
            " whether the request was carried out is not known."
        )

    async def _take(self, message: Incoming, call: _Call | None) -> None:
        """Deal with what is no reply; `call` is whose stream it came on, None for no call's."""
        if isinstance(message, Request):
            calls = list(self._running.values()) if call is None else [call]
            ghosts = self._ghosts.clients() if call is None else set[str]()
            askers = [one.asker for one in calls if one.asker is not None]
            self._questions.put(message, askers, ghosts)
        elif isinstance(message, Notification):
            await self._hear(message, call)

    async def _hear(self, message: Notification, call: _Call | None) -> None:
        owner = call
        match message.method:
            case "notifications/cancelled":
                self._questions.withdraw(message.params.get("requestId", b""))
                return
            case "notifications/progress":
                owner = self._running.get(message.params.get("progressToken", b""))
                if owner is None:
                    return
            case "notifications/message":
                owner = call or self._only_call()
            case _:
                owner = None
        if owner is None:
            self._inbox.notification(message.method, message.params)
        elif owner.caller is not None:
            await hand_on(message, owner.caller)

    def _only_call(self) -> _Call | None:
        owners = {c.caller.client: c for c in self._running.values() if c.caller is not None}
        if len(owners) != 1 or self._ghosts.clients() - owners.keys():
            return None
        return next(iter(owners.values()))

    def _cancel(self, call: _Call) -> None:
        if call.key:
            if call.caller is not None:
                self._ghosts.add(call.key, call.caller.client)
            told = notification_bytes("notifications/cancelled", {"requestId": call.key})
            self._questions.say(told)

    def _remember(self, call: _Call) -> None:
        """Keep what a new session has to be told again."""
        match call.method:
            case "resources/subscribe":
                self._watched.add(call.params["uri"])
            case "resources/unsubscribe":
                self._watched.discard(call.params["uri"])
            case "logging/setLevel":
                self._log_level = call.params["level"]
            case _:
                pass

    async def _renewed(self, stale: Session) -> Session:
        """Give the session after `stale`; of many that lost it, one begins the new one."""
        renewal = self._begin_renewal(stale)
        if renewal is not None:
            await asyncio.wait([renewal])
        if self._is_over:
            raise UnavailableError(f"The connection to {self._desk.server!r} was closed.")
        outcome = self._session if renewal is None else renewal.result()
        if not isinstance(outcome, Session):
            raise outcome
        return outcome

    def _begin_renewal(self, stale: Session) -> asyncio.Task[Session | HubError | RpcError] | None:
        """Give the task that replaces `stale`; None when that has been done, or is too late."""
        if self._session is not stale or self._is_over:
            return None
        if self._renewal is None:
            self._renewal = self._group.create_task(self._renew())
        return self._renewal

    async def _renew(self) -> Session | HubError | RpcError:
        """Begin anew and tell the server what the old session knew. Gives its fault, not raises."""
        try:
            session = await self._desk.begin(self._timeout_s)
        except (HubError, RpcError) as error:
            self._closed.set()
            return error
        finally:
            self._renewal = None
        self._session = session
        self.hello = session.hello
        self._follow_strays()
        self._group.create_task(self._repeat(session))
        self._doubt_lists(session)
        return session

    async def _repeat(self, session: Session) -> None:
        told: list[tuple[str, RawObject]] = [
            ("resources/subscribe", {"uri": uri}) for uri in self._watched
        ]
        if self._log_level is not None:
            told.append(("logging/setLevel", {"level": self._log_level}))
        for method, params in told:
            try:
                async with asyncio.timeout(self._timeout_s):
                    await self._exchange(session, _Call(method, params, {}, None, None))
            except (HubError, RpcError, TimeoutError) as error:
                _log.warning(
                    "a renewed session did not take what the old one knew",
                    extra={"server": self._desk.server, "method": method, "why": str(error)},
                )

    def _follow_strays(self) -> None:
        if self._stray is not None:
            self._stray.cancel()
        self._stray = self._group.create_task(self._follow(self._session))

    async def _follow(self, session: Session) -> None:
        strays = Strays(
            self._desk,
            self._http,
            lambda message: self._take(message, None),
            lambda: self._doubt_lists(session),
        )
        try:
            await strays.follow(session)
        except SessionLostError:
            self._begin_renewal(session)

    def _doubt_lists(self, session: Session) -> None:
        for name in _LISTS:
            if name in session.hello.capabilities:
                self._inbox.notification(f"notifications/{name}/list_changed", {})
