"""HTTP+SSE, the transport of 2024-11-05: one stream carries all answers, messages come by POST."""

from collections.abc import Callable
from urllib.parse import parse_qs

from agenthub.adapters.inbound.mcp.crew import Crew
from agenthub.adapters.inbound.mcp.envelope import INVALID_REQUEST, FaultyMessageError, Request
from agenthub.adapters.inbound.mcp.faults import error_body
from agenthub.adapters.inbound.mcp.legacy_desk import LegacyDesk
from agenthub.adapters.inbound.mcp.sessions import LegacySession, SessionTable
from agenthub.adapters.inbound.mcp.streams import (
    EventStream,
    Outlet,
    run_until_hung_up,
    send_empty,
)
from agenthub.adapters.inbound.mcp.wire import INITIALIZE, Call, Limits, Wire, read_message
from agenthub.domain.services.catalog.views import View

ACCEPTED = 202


class _StreamOutlet(Outlet):
    """The session's one stream, as the outlet of one request."""

    def __init__(self, stream: EventStream) -> None:
        self._stream = stream
        self._is_answered = False

    @property
    def is_open(self) -> bool:
        return not self._is_answered and not self._stream.is_ended

    def push(self, message: bytes, *, can_be_lost: bool = False) -> bool:
        return not self._is_answered and self._stream.put(message, can_be_lost=can_be_lost)

    async def answer(self, body: bytes, status: int = 200) -> None:
        self._is_answered = True
        self._stream.put(body)

    async def drop(self) -> None:
        self._is_answered = True

    def on_gone(self, listener: Callable[[], None]) -> None:
        """The session ends with its stream, and every request and question with the session."""


class LegacySse:
    """Serves `/sse` and its message path. A session lives as long as its stream."""

    def __init__(
        self,
        *,
        crew: Crew,
        desk: LegacyDesk,
        sessions: SessionTable,
        wire: Wire,
        limits: Limits,
    ) -> None:
        self._crew = crew
        self._desk = desk
        self._sessions = sessions
        self._wire = wire
        self._limits = limits

    async def open(self, call: Call) -> None:
        """Open a session and its stream, and say where to post. Returns when the stream ends.

        The session id in that address is no credential: every POST is authenticated, and only
        the principal that opened the stream may use it.
        """
        session = self._sessions.open(call.view.principal, call.path)
        stream = EventStream(call.send, keep_alive_s=self._limits.keep_alive_s)
        stream.put(f"{call.path}/messages?session_id={session.id}".encode(), event=b"endpoint")
        session.attach(stream)
        try:
            await run_until_hung_up(stream, call.receive, self._crew)
        finally:
            session.detach(stream)
            self._sessions.close(session)

    async def post(self, call: Call) -> None:
        """Take one message; what it leads to goes out on the stream.

        Raises NotFoundError, FaultyMessageError and RefusedRequestError.
        """
        query = parse_qs(call.scope["query_string"].decode("latin-1"))
        # The session is looked up once the body is there: it may end while that arrives.
        message = await read_message(call, self._limits)
        session = self._wire.session(call, query.get("session_id", [""])[0])
        stream = session.stream
        if not isinstance(message, Request):
            self._desk.hear(session, message)
        elif stream is None:
            raise FaultyMessageError(INVALID_REQUEST, "The stream of this session has ended.")
        elif message.method == INITIALIZE:
            stream.put(self._greeting(session, call, message))
        else:
            self._crew.start(self._serve(session, call.view, message, stream))
        await send_empty(call.send, ACCEPTED)

    def _greeting(self, session: LegacySession, call: Call, message: Request) -> bytes:
        try:
            return self._wire.open(call, message, session)[1]
        except FaultyMessageError as error:
            facts = (error.code, error.message, error.data)
            return error_body(message.id, facts, session.version)

    async def _serve(
        self, session: LegacySession, view: View, message: Request, stream: EventStream
    ) -> None:
        await self._desk.serve(session, view, message, _StreamOutlet(stream))
