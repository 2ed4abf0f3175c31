"""POST to an MCP path: the hot path of the hub. One parse, and bytes through where possible."""

from dataclasses import dataclass
from http import HTTPStatus

from agenthub.adapters.inbound.gate import RefusedRequestError, read_body
from agenthub.adapters.inbound.mcp.crew import Crew
from agenthub.adapters.inbound.mcp.envelope import (
    INVALID_REQUEST,
    FaultyMessageError,
    Message,
    Notification,
    Request,
    Response,
    parse,
)
from agenthub.adapters.inbound.mcp.legacy_desk import LegacyDesk
from agenthub.adapters.inbound.mcp.modern import speaks_modern
from agenthub.adapters.inbound.mcp.modern_desk import ModernDesk
from agenthub.adapters.inbound.mcp.sessions import LegacySession, SessionTable
from agenthub.adapters.inbound.mcp.streams import (
    Exchange,
    Header,
    Receive,
    Scope,
    Send,
    send_empty,
    send_json,
)
from agenthub.adapters.inbound.mcp.versions import (
    ALL_VERSIONS,
    LEGACY_VERSIONS,
    MODERN,
    UNSUPPORTED_VERSION,
)
from agenthub.adapters.inbound.mcp.visits import Visit
from agenthub.domain.exceptions import RpcError
from agenthub.domain.services.catalog.views import View

SESSION_HEADER = b"mcp-session-id"
INITIALIZE = "initialize"


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How much an agent may send, and how long things live."""

    max_body_bytes: int = 4 * 1024 * 1024
    body_timeout_s: float = 30.0
    keep_alive_s: float = 15.0
    session_idle_s: float = 1800.0
    max_sessions: int = 10_000
    park_ttl_s: float = 600.0
    sweep_every_s: float = 15.0


@dataclass(slots=True)
class Call:
    """One HTTP request at an MCP path, its interesting headers picked out."""

    path: str
    view: View
    scope: Scope
    receive: Receive
    send: Send
    content_type: bytes = b""
    accept: bytes = b""
    session_id: bytes | None = None
    version: bytes | None = None

    def __post_init__(self) -> None:
        for name, value in self.headers:
            match name:
                case b"content-type":
                    self.content_type = value
                case b"accept":
                    self.accept = value
                case b"mcp-session-id":
                    self.session_id = value.strip()
                case b"mcp-protocol-version":
                    self.version = value.strip()
                case _:
                    pass

    @property
    def headers(self) -> list[Header]:
        return self.scope["headers"]

    @property
    def may_stream(self) -> bool:
        """An agent that names no type takes any; the SDKs name both."""
        accept = self.accept
        return not accept or b"text/event-stream" in accept or b"*/*" in accept


class Wire:
    """Takes POSTs of both eras apart and hands them to the desk of their era."""

    def __init__(
        self,
        *,
        crew: Crew,
        legacy: LegacyDesk,
        modern: ModernDesk,
        sessions: SessionTable,
        limits: Limits,
    ) -> None:
        self._crew = crew
        self._legacy = legacy
        self._modern = modern
        self._sessions = sessions
        self._limits = limits

    async def post(self, call: Call) -> None:
        """Answer one POST. Raises FaultyMessageError and HubErrors for the face to answer."""
        message = await read_message(call, self._limits)
        if speaks_modern(call.headers, message):
            await self._post_modern(call, message)
        elif isinstance(message, Request) and message.method == INITIALIZE:
            session, body = self.open(call, message)
            await send_json(call.send, body, 200, ((SESSION_HEADER, session.id.encode()),))
        else:
            await self._post_legacy(call, message)

    def open(
        self, call: Call, message: Request, begun: LegacySession | None = None
    ) -> tuple[LegacySession, bytes]:
        """Open a legacy session. Raises FaultyMessageError, with the request's id."""
        try:
            return self._legacy.open(call.view, call.path, message, begun)
        except RpcError as error:
            raise FaultyMessageError(
                error.code, error.message, error.data, raw_id=message.id
            ) from error

    def session(self, call: Call, session_id: str) -> LegacySession:
        """Find the session of a request. Raises NotFoundError, FaultyMessageError."""
        require_known_version(call.version)
        return self._sessions.find(session_id, call.view.principal, call.path)

    async def _post_modern(self, call: Call, message: Message) -> None:
        if isinstance(message, Response):
            raise FaultyMessageError(
                INVALID_REQUEST, f"An agent of {MODERN} sends no responses; send a request."
            )
        if isinstance(message, Notification):
            await send_empty(call.send, 202)
            return
        exchange = self._exchange(call)
        try:
            await self._modern.serve(Visit(call.view, call.headers, message, exchange))
        finally:
            exchange.close()

    async def _post_legacy(self, call: Call, message: Message) -> None:
        if call.session_id is None:
            raise FaultyMessageError(
                INVALID_REQUEST,
                "The header Mcp-Session-Id is missing: send initialize first.",
                raw_id=message.id if isinstance(message, Request) else b"null",
            )
        session = self.session(call, call.session_id.decode("latin-1"))
        if not isinstance(message, Request):
            self._legacy.hear(session, message)
            await send_empty(call.send, 202)
            return
        exchange = self._exchange(call)
        try:
            await self._legacy.serve(session, call.view, message, exchange)
        finally:
            exchange.close()

    def _exchange(self, call: Call) -> Exchange:
        return Exchange(
            call.receive,
            call.send,
            self._crew,
            may_stream=call.may_stream,
            keep_alive_s=self._limits.keep_alive_s,
        )


def require_known_version(version: bytes | None) -> None:
    """Raise FaultyMessageError for a legacy version header that the hub does not know.

    A missing one is no fault: the session knows its revision.
    """
    if version is not None and version.decode("latin-1") not in LEGACY_VERSIONS:
        requested = version.decode("latin-1")
        raise FaultyMessageError(
            UNSUPPORTED_VERSION,
            f"Unsupported protocol version: {requested}",
            {"supported": list(ALL_VERSIONS), "requested": requested},
        )


async def read_message(call: Call, limits: Limits) -> Message:
    """Read and parse the body. Raises RefusedRequestError, FaultyMessageError."""
    if call.content_type.partition(b";")[0].strip().lower() != b"application/json":
        raise RefusedRequestError(
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
            code="unsupported_media_type",
            message="Send the message with Content-Type: application/json.",
        )
    body = await read_body(call.receive, call.scope, limits.max_body_bytes, limits.body_timeout_s)
    return parse(body)
