"""One session with a legacy server over streamable HTTP: how it begins, speaks and ends."""

import asyncio
import logging
from dataclasses import dataclass

from agenthub.adapters.outbound.mcp_client.channel import Hello
from agenthub.adapters.outbound.mcp_client.handshakes import initialize_params, legacy_hello
from agenthub.adapters.outbound.mcp_client.http_answers import (
    ACCEPT,
    EVENT_STREAM,
    JSON,
    MessageReader,
    is_reply,
    no_reply,
    refused,
)
from agenthub.adapters.outbound.mcp_client.messages import (
    Failure,
    Result,
    notification_bytes,
    request_bytes,
)
from agenthub.domain.entities.endpoints import Endpoint, HttpTransport
from agenthub.domain.exceptions import HubError, RpcError, UnavailableError, UpstreamError
from agenthub.domain.ports.outbound.http import HttpClient, HttpResponse

_log = logging.getLogger(__name__)

GOODBYE_TIMEOUT_S = 2.0
POST_TIMEOUT_S = 30.0
"""For handing over a message that asks for nothing: the server only says that it has it."""

DEFAULT_RETRY_S = 1.0
"""Wait before a cut stream is taken up again, where the server names none; the SDKs' value."""

MIN_RETRY_S = 0.02
MAX_RETRY_S = 60.0


class SessionLostError(UnavailableError):
    """The server no longer knows the session (HTTP 404); a new one can be begun."""

    code = "server_session_lost"


@dataclass(frozen=True, slots=True, eq=False)
class Session:
    """What every request of a session carries. `id` is None where the server gave none."""

    id: str | None
    hello: Hello
    headers: dict[str, str]

    def stream_headers(self, last_event_id: str | None) -> dict[str, str]:
        """Make the headers of a GET: the stream of strays, or the rest of a cut one."""
        headers = {**self.headers, "Accept": EVENT_STREAM}
        if last_event_id is not None:
            headers["Last-Event-ID"] = last_event_id
        return headers


class SessionDesk:
    """Begins, feeds and ends the sessions of one endpoint."""

    def __init__(self, http: HttpClient, endpoint: Endpoint) -> None:
        if not isinstance(endpoint.transport, HttpTransport):
            raise TypeError("A session over HTTP needs an endpoint over HTTP.")
        self.server = endpoint.name
        self.url = endpoint.transport.url
        self._http = http
        self._headers = {**endpoint.transport.headers, "Accept": ACCEPT, "Content-Type": JSON}

    async def begin(self, timeout_s: float) -> Session:
        """Shake hands. Raises the faults of a request, UpstreamError for an unknown version."""
        body = request_bytes(0, "initialize", initialize_params(), {})
        try:
            async with asyncio.timeout(timeout_s):
                async with self._http.request(
                    "POST", self.url, headers=self._headers, body=body, timeout_s=None
                ) as response:
                    hello = legacy_hello(await self._first_result(response))
                    given = response.headers.get("mcp-session-id")
                session = Session(given, hello, self._session_headers(given, hello))
                await self.post(session, notification_bytes("notifications/initialized", {}))
                return session
        except TimeoutError as error:
            raise UnavailableError(
                f"The server {self.server!r} did not finish initialize within {timeout_s:g} s."
            ) from error

    async def post(self, session: Session, message: bytes) -> None:
        """Hand over a notification or a reply. Raises the faults of a request."""
        async with self._http.request(
            "POST", self.url, headers=session.headers, body=message, timeout_s=POST_TIMEOUT_S
        ) as response:
            if response.status >= 300:
                raise await self.refusal(session, response, b"null")

    async def end(self, session: Session) -> None:
        """Tell the server that the session is over; whether it listens does not matter."""
        if session.id is None:
            return
        try:
            async with self._http.request(
                "DELETE", self.url, headers=session.headers, timeout_s=GOODBYE_TIMEOUT_S
            ):
                pass
        except HubError as error:
            _log.debug("session not ended", extra={"server": self.server, "why": error.message})

    async def refusal(
        self, session: Session, response: HttpResponse, request_id: bytes
    ) -> Exception:
        """Say what an answer of status >= 300 means inside a session."""
        fault = await refused(response, self.server, request_id)
        is_unknown_method = isinstance(fault, RpcError) and fault.code == -32601
        if response.status == 404 and session.id is not None and not is_unknown_method:
            return SessionLostError(f"The server {self.server!r} has lost the hub's session.")
        return fault

    async def _first_result(self, response: HttpResponse) -> bytes:
        reader = MessageReader(response, self.server, b"0")
        while (message := await reader.next()) is not None:
            if is_reply(message, b"0"):
                if isinstance(message, Failure):
                    raise message.error
                assert isinstance(message, Result)
                return message.result
        raise no_reply(self.server, "initialize")

    def _session_headers(self, session_id: str | None, hello: Hello) -> dict[str, str]:
        headers = {**self._headers, "MCP-Protocol-Version": hello.protocol_version}
        if session_id is not None:
            if not session_id.isascii() or not session_id.isprintable() or " " in session_id:
                raise UpstreamError(
                    f"The server {self.server!r} gave a session id that is not visible ASCII.",
                    code="server_bad_message",
                )
            headers["Mcp-Session-Id"] = session_id
        return headers


def retry_s(reader: MessageReader, default_s: float) -> float:
    """Say how long to wait before a stream is taken up again, as the server wishes."""
    wished = reader.parser.retry_s
    return default_s if wished is None else min(MAX_RETRY_S, max(MIN_RETRY_S, wished))
