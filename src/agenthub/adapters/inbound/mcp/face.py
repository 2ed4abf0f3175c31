"""The MCP face: every MCP path of the hub, for agents of both eras."""

import asyncio
import re
from dataclasses import dataclass
from http import HTTPStatus
from types import TracebackType
from typing import Self
from urllib.parse import quote

from agenthub.adapters.inbound.gate import PRINCIPAL, RefusedRequestError
from agenthub.adapters.inbound.hub import Hub
from agenthub.adapters.inbound.mcp.credentials import Credentials
from agenthub.adapters.inbound.mcp.crew import Crew
from agenthub.adapters.inbound.mcp.envelope import INVALID_REQUEST, FaultyMessageError
from agenthub.adapters.inbound.mcp.faults import error_body, to_rpc_error
from agenthub.adapters.inbound.mcp.legacy_desk import LegacyDesk
from agenthub.adapters.inbound.mcp.legacy_sse import LegacySse
from agenthub.adapters.inbound.mcp.listening import Listening
from agenthub.adapters.inbound.mcp.modern_desk import ModernDesk
from agenthub.adapters.inbound.mcp.parking import Parking
from agenthub.adapters.inbound.mcp.rendering import ListRenderer
from agenthub.adapters.inbound.mcp.sealing import Sealer
from agenthub.adapters.inbound.mcp.sessions import LegacySession, SessionTable
from agenthub.adapters.inbound.mcp.streams import (
    EventStream,
    Header,
    Receive,
    Scope,
    Send,
    run_until_hung_up,
    send_empty,
    send_json,
)
from agenthub.adapters.inbound.mcp.versions import LATEST_LEGACY
from agenthub.adapters.inbound.mcp.wire import Call, Limits, Wire
from agenthub.adapters.inbound.mcp.withdrawal import key_is_over, stopping
from agenthub.domain.entities.identity import Principal
from agenthub.domain.exceptions import ErrorKind, HubError, NotFoundError
from agenthub.domain.ports.outbound.clock import Chance, Clock
from agenthub.domain.services.catalog.views import View

_PATH = re.compile(
    r"(?:/groups/(?P<group>[^/]+)|/servers/(?P<server>[^/]+))?/(?P<last>mcp|sse|sse/messages)"
)
_STATUS_OF = {
    ErrorKind.NOT_FOUND: HTTPStatus.NOT_FOUND,
    ErrorKind.DENIED: HTTPStatus.FORBIDDEN,
    ErrorKind.QUOTA: HTTPStatus.TOO_MANY_REQUESTS,
    ErrorKind.UNAVAILABLE: HTTPStatus.SERVICE_UNAVAILABLE,
}


@dataclass(frozen=True, slots=True)
class Route:
    """What an MCP path names: a transport (`mcp`, `sse`, `sse/messages`) and a view."""

    transport: str
    group: str | None = None
    server: str | None = None

    @property
    def path(self) -> str:
        """The MCP path that sessions are bound to."""
        where = ""
        if self.group is not None:
            where = f"/groups/{quote(self.group, safe='')}"
        elif self.server is not None:
            where = f"/servers/{quote(self.server, safe='')}"
        return f"{where}/{self.transport.partition('/')[0]}"


_MAIN = Route("mcp")


def route_of(path: str) -> Route | None:
    """Read an MCP path; None for any other one."""
    if path == "/mcp":
        return _MAIN
    found = _PATH.fullmatch(path)
    if found is None or (found["server"] is not None and found["last"] != "mcp"):
        return None
    return Route(found["last"], found["group"], found["server"])


class McpFace:
    """An ASGI application for the MCP paths. A resident; the gate before it authenticates.

    `scope["agenthub.principal"]` is who asks. What outlives a request (sessions, streams) ends
    soon after its principal's key has expired or was revoked.
    """

    def __init__(
        self,
        *,
        hub: Hub,
        sealer: Sealer,
        clock: Clock,
        chance: Chance,
        limits: Limits = Limits(),  # noqa: B008 - frozen
    ) -> None:
        self._sweep_every_s = limits.sweep_every_s
        self._hub = hub
        self._crew = Crew()
        self._keep_alive_s = limits.keep_alive_s
        lists = ListRenderer()
        self._listening = Listening(hub, self._crew)
        self._sessions = SessionTable(
            clock=clock,
            chance=chance,
            on_close=self._forget,
            max_sessions=limits.max_sessions,
            idle_expiry_s=limits.session_idle_s,
        )
        self._parking = Parking(self._crew, chance, ttl_s=limits.park_ttl_s)
        legacy = LegacyDesk(
            hub=hub,
            sessions=self._sessions,
            listening=self._listening,
            lists=lists,
            answer_within_s=limits.park_ttl_s,
        )
        self._modern = modern = ModernDesk(
            hub=hub, sealer=sealer, parking=self._parking, listening=self._listening, lists=lists
        )
        self._wire = Wire(
            crew=self._crew, legacy=legacy, modern=modern, sessions=self._sessions, limits=limits
        )
        self._credentials = Credentials(hub, clock)
        self._sse = LegacySse(
            crew=self._crew, desk=legacy, sessions=self._sessions, wire=self._wire, limits=limits
        )

    async def __aenter__(self) -> Self:
        await self._crew.__aenter__()
        self._listening.open()
        self._crew.start(self._sweep())
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
        self._listening.close()
        await self._crew.__aexit__(kind, error, trace)

    def close(self) -> None:
        """End every open stream, session and parked call, so that the server can stop.

        Running requests are answered: who waits for one learns that the hub is stopping. Calls
        that wait for a person are kept: it is not their agents who leave.
        """
        self._hub.held.stop()
        self._modern.stop(stopping())
        self._sessions.close_all(stopping())
        self._parking.close()

    def serves(self, path: str) -> bool:
        """Say whether `path` is an MCP path."""
        return route_of(path) is not None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        route = route_of(scope["path"])
        try:
            if route is None:
                raise NotFoundError("There is no such MCP path.")
            principal: Principal = scope[PRINCIPAL]
            call = Call(route.path, self._view(route, principal), scope, receive, send)
            await self._dispatch(route, call)
        except FaultyMessageError as error:
            facts = (error.code, error.message, error.data)
            await send_json(send, error_body(error.raw_id, facts, LATEST_LEGACY), error.status)
        except HubError as error:
            await _refuse(send, error)

    def _view(self, route: Route, principal: Principal) -> View:
        if route.group is not None:
            return self._hub.catalog.view_group(principal, route.group)
        if route.server is not None:
            return self._hub.catalog.view_server(principal, route.server)
        return self._hub.catalog.view_all(principal)

    async def _dispatch(self, route: Route, call: Call) -> None:
        match route.transport, call.scope["method"]:
            case "mcp", "POST":
                await self._wire.post(call)
            case "mcp", "GET":
                await self._listen(call)
            case "mcp", "DELETE":
                await self._end(call)
            case "sse", "GET":
                await self._sse.open(call)
            case "sse/messages", "POST":
                await self._sse.post(call)
            case "mcp", _:
                await _refuse_method(call.send, b"GET, POST, DELETE")
            case "sse", _:
                await _refuse_method(call.send, b"GET")
            case _:
                await _refuse_method(call.send, b"POST")

    async def _listen(self, call: Call) -> None:
        """Open the stream for what belongs to no request of a legacy session."""
        if call.session_id is None:
            await _refuse_method(call.send, b"POST")
            return
        if not call.may_stream:
            raise RefusedRequestError(
                HTTPStatus.NOT_ACCEPTABLE,
                code="not_acceptable",
                message="A stream needs an Accept that admits text/event-stream.",
            )
        session = self._wire.session(call, call.session_id.decode("latin-1"))
        stream = EventStream(call.send, keep_alive_s=self._keep_alive_s)
        session.attach(stream)
        try:
            await run_until_hung_up(stream, call.receive, self._crew)
        finally:
            session.detach(stream)

    async def _end(self, call: Call) -> None:
        if call.session_id is None:
            await _refuse_method(call.send, b"POST")
            return
        self._sessions.close(self._wire.session(call, call.session_id.decode("latin-1")))
        await send_empty(call.send, HTTPStatus.NO_CONTENT)

    def _forget(self, session: LegacySession) -> None:
        if session.listener is not None:
            self._listening.leave(session.listener)

    async def _sweep(self) -> None:
        """End what is idle, and what belongs to keys that are no more."""
        while True:
            await asyncio.sleep(self._sweep_every_s)
            self._sessions.sweep()
            holders = {session.principal for session in self._sessions}
            holders |= self._modern.principals() | self._parking.principals()
            over = await self._credentials.over(holders)
            for session in self._sessions:
                if session.principal in over:
                    self._sessions.close(session, key_is_over())
            self._modern.end_of(over, key_is_over())
            self._parking.end_of(over)


async def _refuse(send: Send, error: HubError) -> None:
    """Refuse a whole HTTP request, in the words of JSON-RPC: agents read nothing else."""
    headers: tuple[Header, ...] = error.headers if isinstance(error, RefusedRequestError) else ()
    if error.retry_after_s is not None:
        headers = ((b"retry-after", b"%d" % max(1, round(error.retry_after_s))),)
    if isinstance(error, RefusedRequestError):
        status, facts = error.status, (INVALID_REQUEST, error.message, {"code": error.code})
    else:
        status = _STATUS_OF.get(error.kind, HTTPStatus.BAD_REQUEST)
        facts = to_rpc_error(error, LATEST_LEGACY)
    await send_json(send, error_body(b"null", facts, LATEST_LEGACY), status, headers)


async def _refuse_method(send: Send, allowed: bytes) -> None:
    await send_empty(send, HTTPStatus.METHOD_NOT_ALLOWED, ((b"allow", allowed),))
