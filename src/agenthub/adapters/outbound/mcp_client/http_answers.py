"""What an HTTP answer means when it is not the reply that was hoped for."""

import math
from collections import deque
from collections.abc import AsyncIterator, Mapping
from email.utils import parsedate_to_datetime
from typing import TypeGuard

from agenthub.adapters.outbound.mcp_client.messages import Failure, Incoming, Result, parse_all
from agenthub.adapters.outbound.mcp_client.sse import SseParser
from agenthub.domain.exceptions import HubError, QuotaError, UnavailableError, UpstreamError
from agenthub.domain.ports.outbound.http import HttpResponse

JSON = "application/json"
EVENT_STREAM = "text/event-stream"
ACCEPT = f"{JSON}, {EVENT_STREAM}"


class HttpStatusError(UpstreamError):
    """The server answered with an HTTP status that carries no JSON-RPC message."""

    code = "server_http_status"

    def __init__(self, message: str, *, status: int, code: str | None = None) -> None:
        super().__init__(message, code=code)
        self.status = status
        self.http_status = status


def media_type(headers: Mapping[str, str]) -> str:
    return headers.get("content-type", "").partition(";")[0].strip().lower()


def status_fault(response: HttpResponse, server: str) -> HubError:
    """Say what a status >= 300 without JSON-RPC body means."""
    status = response.status
    if status in (401, 403):
        return UnavailableError(
            f"The server {server!r} refused the hub's credentials (HTTP {status}). Check the"
            " headers it is registered with.",
            code="server_unauthorized",
        )
    wait_s = retry_after_s(response.headers)
    if status == 429:
        return QuotaError(
            f"The server {server!r} has had too many requests (HTTP 429).",
            code="server_rate_limited",
            retry_after_s=wait_s,
        )
    if status == 503:
        return UnavailableError(
            f"The server {server!r} is not available (HTTP 503).", retry_after_s=wait_s
        )
    if status < 400:
        return HttpStatusError(
            f"The server {server!r} redirects (HTTP {status}), which the hub does not follow."
            " Register the address it points to.",
            status=status,
            code="server_redirects",
        )
    return HttpStatusError(f"The server {server!r} answered with HTTP {status}.", status=status)


async def refused(response: HttpResponse, server: str, request_id: bytes) -> HubError | Exception:
    """Read an answer of status >= 300: the JSON-RPC error it carries, or what its status means.

    401, 403, 429 and 503 mean what they say, whatever their body.
    """
    fault = status_fault(response, server)
    if not isinstance(fault, HttpStatusError) or media_type(response.headers) != JSON:
        return fault
    try:
        messages = parse_all(await response.read())
    except UpstreamError:
        return fault
    for message in messages:
        if isinstance(message, Failure) and message.id in (request_id, b"null"):
            message.error.http_status = response.status
            return message.error
    return fault


class MessageReader:
    """Reads the messages of one answer, a JSON body and an event stream alike.

    No generator: one that is left half-read would be closed by a task that nobody owns.
    """

    def __init__(
        self,
        response: HttpResponse,
        server: str,
        request_id: bytes,
        *,
        last_event_id: str | None = None,
    ) -> None:
        self.parser = SseParser(server=server, last_event_id=last_event_id)
        self._response = response
        self._server = server
        self._request_id = request_id
        self._ready: deque[Incoming] = deque()
        self._chunks: AsyncIterator[bytes] | None = None
        self._begun = False

    async def next(self) -> Incoming | None:
        """Give the next message; None when the answer has ended.

        Raises what a status >= 300 means, and UpstreamError for what is no MCP.
        """
        if not self._begun:
            self._begun = True
            await self._begin()
        while not self._ready:
            if self._chunks is None:
                return None
            try:
                chunk = await anext(self._chunks)
            except StopAsyncIteration:
                self._chunks = None
                return None
            for event in self.parser.feed(chunk):
                if event.name == "message":
                    self._ready += parse_all(event.data)
        return self._ready.popleft()

    async def _begin(self) -> None:
        if self._response.status >= 300:
            raise await refused(self._response, self._server, self._request_id)
        match media_type(self._response.headers):
            case "application/json":
                self._ready += parse_all(await self._response.read())
            case "text/event-stream":
                self._chunks = self._response.chunks()
            case _:
                raise no_mcp(self._response, self._server)


def is_reply(message: Incoming, request_id: bytes) -> TypeGuard[Result | Failure]:
    """Say whether a message answers the request. An error without an id does: of whom else?"""
    if isinstance(message, Result):
        return message.id == request_id
    return isinstance(message, Failure) and message.id in (request_id, b"null")


def no_mcp(response: HttpResponse, server: str) -> UpstreamError:
    kind = media_type(response.headers) or "no content type"
    return UpstreamError(
        f"The server {server!r} answered with {kind[:60]}, not with MCP.", code="server_no_mcp"
    )


def no_reply(server: str, method: str) -> UpstreamError:
    return UpstreamError(
        f"The server {server!r} ended its answer to {method} without a result.",
        code="server_no_reply",
    )


def retry_after_s(headers: Mapping[str, str]) -> float | None:
    """Read Retry-After: seconds, or a date, measured against the answer's own Date."""
    text = headers.get("retry-after", "").strip()
    if not text:
        return None
    try:
        seconds = float(text)
        return seconds if math.isfinite(seconds) and seconds >= 0 else None
    except ValueError:
        pass
    try:
        wait = parsedate_to_datetime(text) - parsedate_to_datetime(headers.get("date", ""))
    except (ValueError, TypeError):
        return None
    return max(0.0, wait.total_seconds())
