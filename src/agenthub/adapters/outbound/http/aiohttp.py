"""Outbound HTTP by aiohttp: one session, guarded connects, bounded bodies, typed faults."""

import asyncio
import logging
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager
from importlib.metadata import version
from types import TracebackType
from typing import Any, Self

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from agenthub.adapters.outbound.http.address_guard import refusal
from agenthub.domain.exceptions import HubError, TimedOutError, UnavailableError
from agenthub.domain.ports.outbound.http import (
    BodyTooLargeError,
    ConnectFailedError,
    EgressDeniedError,
    HttpClient,
    HttpResponse,
    TransportError,
)

_log = logging.getLogger(__name__)

MAX_BODY_BYTES = 16 * 1024 * 1024

KEEPALIVE_S = 4.0
"""Idle connections are dropped before servers drop them (Node and uvicorn: after 5 s).

A POST on a connection that the server is just closing fails in a way that looks like a crash in
the middle of the work, and must not be sent again. So the hub is always first to hang up.
"""

CONNECT_TIMEOUT_S = 10.0
MAX_URLS = 4096

DRAIN_S = 0.25
DRAIN_BYTES = 64 * 1024
MAX_DRAINING = 256


class AiohttpClient(HttpClient):
    """A resident. Sends no cookies, follows no redirects, knows no proxy from the environment."""

    def __init__(
        self,
        *,
        allow_private: bool,
        max_body_bytes: int = MAX_BODY_BYTES,
        user_agent: str | None = None,
    ) -> None:
        self._allow_private = allow_private
        self.max_body_bytes = max_body_bytes
        self._user_agent = user_agent or f"agenthub/{version('agenthub')}"
        self._session: aiohttp.ClientSession | None = None
        self._urls: dict[str, URL] = {}
        self._group = asyncio.TaskGroup()
        self._draining: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        connector = aiohttp.TCPConnector(
            limit=0,
            keepalive_timeout=KEEPALIVE_S,
            resolver=_GuardedResolver(self._allow_private),
            socket_factory=self._socket,
        )
        self._session = aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={"User-Agent": self._user_agent},
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_TIMEOUT_S),
            trust_env=False,
        )
        self._group = asyncio.TaskGroup()
        await self._group.__aenter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        session, self._session = self._session, None
        for task in tuple(self._draining):
            task.cancel()
        await self._group.__aexit__(None, None, None)
        if session is not None:
            await session.close()

    def request(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str],
        body: bytes | None = None,
        timeout_s: float | None,
    ) -> AbstractAsyncContextManager[HttpResponse]:
        if self._session is None:
            raise UnavailableError("The hub is not started, or is stopping.", code="stopping")
        return _Exchange(self, self._session, method, self._url(url), headers, body, timeout_s)

    def drain(self, response: aiohttp.ClientResponse) -> None:
        """Wait a moment for the end of an answer that is read far enough, to keep its connection.

        An event stream ends just after its last event; hanging up there would cost every call a
        new connection.
        """
        if self._session is None or len(self._draining) >= MAX_DRAINING:
            response.close()
            return
        task = self._group.create_task(_drained(response))
        self._draining.add(task)
        task.add_done_callback(self._draining.discard)

    def _url(self, text: str) -> URL:
        """Parse a URL once; parsing costs as much as a tenth of a whole exchange."""
        url = self._urls.get(text)
        if url is None:
            try:
                url = URL(text)
            except ValueError as error:
                raise EgressDeniedError(f"This is no URL the hub can call: {error}") from error
            if len(self._urls) >= MAX_URLS:
                self._urls.clear()
            self._urls[text] = url
        return url

    def _socket(self, info: tuple[Any, ...]) -> socket.socket:
        """Make the socket for one address, or refuse it. Sees IP literals, which skip DNS."""
        family, kind, proto, _, address = info
        reason = refusal(str(address[0]), self._allow_private)
        if reason is not None:
            raise _RefusedError(reason)
        sock = socket.socket(family, kind, proto)
        _keep_alive(sock)
        return sock


def _keep_alive(sock: socket.socket) -> None:
    """Notice within a minute that the other end of a silent stream is gone."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in (("TCP_KEEPIDLE", 30), ("TCP_KEEPINTVL", 10), ("TCP_KEEPCNT", 3)):
        if hasattr(socket, option):
            sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)


async def _drained(response: aiohttp.ClientResponse) -> None:
    """Read to the end if that is near, and give the connection back or close it."""
    size = 0
    try:
        async with asyncio.timeout(DRAIN_S):
            while size < DRAIN_BYTES and (chunk := await response.content.readany()):
                size += len(chunk)
    except Exception as error:  # noqa: BLE001 (the answer was taken; what follows is nobody's)
        _log.debug("the end of an answer did not come", extra={"why": type(error).__name__})
    finally:
        response.close()


class _RefusedError(OSError):
    """The address guard said no. An OSError, so that aiohttp treats it as a failed connect."""


class _GuardedResolver(AbstractResolver):
    """Refuses a name when any of its addresses is refused: half a rebinding is one as well."""

    def __init__(self, allow_private: bool) -> None:
        self._allow_private = allow_private
        self._inner = aiohttp.ThreadedResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        found = await self._inner.resolve(host, port, family)
        for one in found:
            reason = refusal(one["host"], self._allow_private)
            if reason is not None:
                raise _RefusedError(reason)
        return found

    async def close(self) -> None:
        await self._inner.close()


class _Exchange(AbstractAsyncContextManager[HttpResponse]):
    """One request. A plain class: a generator's context manager costs several microseconds."""

    __slots__ = (
        "_body",
        "_cap",
        "_headers",
        "_method",
        "_response",
        "_session",
        "_timeout",
        "_url",
    )

    def __init__(
        self,
        client: AiohttpClient,
        session: aiohttp.ClientSession,
        method: str,
        url: URL,
        headers: Mapping[str, str],
        body: bytes | None,
        timeout_s: float | None,
    ) -> None:
        self._client = client
        self._session = session
        self._method = method
        self._url = url
        self._headers = headers
        self._body = body
        self._timeout = timeout_s
        self._response: aiohttp.ClientResponse | None = None

    async def __aenter__(self) -> HttpResponse:
        try:
            if self._timeout is None:
                response = await self._send()
            else:
                async with asyncio.timeout(self._timeout):
                    response = await self._send()
        except aiohttp.ClientError as error:
            raise _translated(error, self._url) from error
        except TimeoutError as error:
            raise TimedOutError(f"{_host(self._url)} did not answer in time.") from error
        except (ValueError, OSError) as error:
            raise _translated_rest(error, self._url) from error
        self._response = response
        return _Response(response, self._url, self._client.max_body_bytes)

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        response = self._response
        if response is None:
            return
        if kind is None and response.connection is not None:
            self._client.drain(response)
        else:
            response.close()

    async def _send(self) -> aiohttp.ClientResponse:
        return await self._session.request(
            self._method, self._url, data=self._body, headers=self._headers, allow_redirects=False
        )


class _Response(HttpResponse, AsyncIterator[bytes]):
    """Its own iterator of chunks: a generator left half-read would be closed by a stray task."""

    __slots__ = ("_cap", "_response", "_url", "headers", "status")

    def __init__(self, response: aiohttp.ClientResponse, url: URL, cap_bytes: int) -> None:
        self._response = response
        self._url = url
        self._cap = cap_bytes
        self.status = response.status
        self.headers = {name.lower(): value for name, value in response.headers.items()}

    async def read(self) -> bytes:
        parts: list[bytes] = []
        size = 0
        async for chunk in self.chunks():
            size += len(chunk)
            if size > self._cap:
                self._response.close()
                raise BodyTooLargeError(
                    f"{_host(self._url)} answered with more than {self._cap} bytes."
                )
            parts.append(chunk)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def chunks(self) -> AsyncIterator[bytes]:
        return self

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        """Read with `readany`, never `read`: that one lifts aiohttp's bound on decompression."""
        try:
            chunk = await self._response.content.readany()
        except aiohttp.ClientError as error:
            raise _translated(error, self._url) from error
        if not chunk:
            raise StopAsyncIteration
        return chunk


def _translated(error: aiohttp.ClientError, url: URL) -> HubError:
    """Say in the port's words what happened, and whether the request may have been processed."""
    match error:
        case aiohttp.InvalidURL() | aiohttp.NonHttpUrlClientError():
            return EgressDeniedError(f"The hub does not call {_host(url)}: it is no plain address.")
        case aiohttp.ClientConnectorError() if isinstance(error.os_error, _RefusedError):
            return EgressDeniedError(f"The hub does not call {_host(url)}: {error.os_error}.")
        case aiohttp.ClientConnectorError() | aiohttp.ClientConnectorCertificateError():
            return ConnectFailedError(f"No connection to {_host(url)}: {_cause(error)}.")
        case aiohttp.ConnectionTimeoutError():
            return ConnectFailedError(
                f"No connection to {_host(url)} within {CONNECT_TIMEOUT_S:g} s."
            )
        case aiohttp.ServerDisconnectedError():
            return TransportError(f"{_host(url)} closed the connection without an answer.")
        case aiohttp.ClientResponseError():
            return TransportError(f"{_host(url)} did not answer with HTTP: {error.message}.")
        case _:
            return TransportError(f"The connection to {_host(url)} broke: {type(error).__name__}.")


def _translated_rest(error: Exception, url: URL) -> HubError:
    if isinstance(error, OSError):
        return TransportError(f"The connection to {_host(url)} broke: {type(error).__name__}.")
    return EgressDeniedError(f"The hub cannot send this request to {_host(url)}: {error}.")


def _cause(error: Exception) -> str:
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return f"its certificate is not trusted ({error.certificate_error})"
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return "the name does not resolve"
    if isinstance(error, aiohttp.ClientConnectorError):
        return error.os_error.strerror or type(error.os_error).__name__
    return type(error).__name__


def _host(url: URL) -> str:
    return f"{url.host}:{url.port}"
