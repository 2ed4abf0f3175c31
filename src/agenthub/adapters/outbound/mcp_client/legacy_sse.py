"""A server over HTTP+SSE, the transport of 2024-11-05: one stream down, POSTs up."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Self
from urllib.parse import urljoin, urlsplit

from agenthub.adapters.outbound.mcp_client.channel import Channel, Inbox
from agenthub.adapters.outbound.mcp_client.dispatcher import Dispatcher
from agenthub.adapters.outbound.mcp_client.handshakes import initialize_params, legacy_hello
from agenthub.adapters.outbound.mcp_client.http_answers import (
    EVENT_STREAM,
    JSON,
    media_type,
    no_mcp,
    refused,
)
from agenthub.adapters.outbound.mcp_client.sse import SseEvent, SseParser
from agenthub.domain.entities.endpoints import Endpoint, Era, HttpTransport, url_faults
from agenthub.domain.exceptions import HubError, UnavailableError, UpstreamError
from agenthub.domain.ports.outbound.http import HttpClient, HttpResponse
from agenthub.domain.ports.outbound.mcp_client import Caller, RawObject

POST_TIMEOUT_S = 30.0

_DEFAULT_PORTS = {"http": 80, "https": 443}


@asynccontextmanager
async def open_legacy_sse(
    http: HttpClient, endpoint: Endpoint, inbox: Inbox, *, timeout_s: float = 10.0
) -> AsyncGenerator["LegacySseChannel"]:
    """Open the stream and shake hands; leaving closes the stream."""
    async with LegacySseChannel(http, endpoint, inbox, timeout_s=timeout_s) as channel:
        yield channel


class LegacySseChannel(Channel):
    """A resident. Its stream is not resumable: when it ends, the channel is closed."""

    era = Era.LEGACY

    def __init__(
        self, http: HttpClient, endpoint: Endpoint, inbox: Inbox, *, timeout_s: float
    ) -> None:
        if not isinstance(endpoint.transport, HttpTransport):
            raise TypeError("An SSE channel needs an endpoint over HTTP.")
        self._http = http
        self._server = endpoint.name
        self._url = endpoint.transport.url
        self._headers = endpoint.transport.headers
        self._post_headers = {**endpoint.transport.headers, "Content-Type": JSON}
        self._timeout_s = timeout_s
        self._dispatcher = Dispatcher(send=self._send, inbox=inbox, server_name=endpoint.name)
        self._group = asyncio.TaskGroup()
        self._address: str | None = None
        self._fault: HubError | None = None
        self._addressed = asyncio.Event()
        self._closed = asyncio.Event()
        self._reading: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        await self._dispatcher.__aenter__()
        await self._group.__aenter__()
        self._reading = self._group.create_task(self._read())
        try:
            await self._shake_hands()
        except BaseException:
            await self.__aexit__(None, None, None)
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._dispatcher.fail(UnavailableError(f"The connection to {self._server!r} was closed."))
        if self._reading is not None:
            self._reading.cancel()
        await self._group.__aexit__(None, None, None)
        await self._dispatcher.__aexit__(None, None, None)

    @property
    def unattributed(self) -> int:
        """How many questions were refused because nobody could say whose they are."""
        return self._dispatcher.unattributed

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
        return await self._dispatcher.request(
            method, params, meta=meta, caller=caller, timeout_s=timeout_s
        )

    async def notify(self, method: str, params: RawObject) -> None:
        await self._dispatcher.notify(method, params)

    async def wait_closed(self) -> None:
        await self._closed.wait()

    async def _shake_hands(self) -> None:
        try:
            async with asyncio.timeout(self._timeout_s):
                await self._addressed.wait()
        except TimeoutError as error:
            raise UnavailableError(
                f"The server {self._server!r} sent no endpoint event within {self._timeout_s:g} s."
            ) from error
        if self._fault is not None:
            raise self._fault
        result = await self._dispatcher.request(
            "initialize", initialize_params(), meta={}, caller=None, timeout_s=self._timeout_s
        )
        self.hello = legacy_hello(result)
        await self._dispatcher.notify("notifications/initialized", {})

    async def _send(self, message: bytes) -> None:
        assert self._address is not None
        async with self._http.request(
            "POST",
            self._address,
            headers=self._post_headers,
            body=message,
            timeout_s=POST_TIMEOUT_S,
        ) as response:
            if response.status >= 300:
                raise await refused(response, self._server, b"null")

    async def _read(self) -> None:
        """Read the stream until it ends, then fail what is under way. Never raises a HubError."""
        fault: HubError = UnavailableError(f"The server {self._server!r} ended its stream.")
        try:
            async with self._http.request(
                "GET",
                self._url,
                headers={**self._headers, "Accept": EVENT_STREAM},
                timeout_s=self._timeout_s,
            ) as response:
                await self._read_events(response)
        except HubError as error:
            fault = error
        except Exception as error:  # noqa: BLE001 (a refusal may be the server's own RpcError)
            fault = UnavailableError(f"The server {self._server!r} refused the stream: {error}")
        self._fault = fault
        self._dispatcher.fail(fault)
        self._addressed.set()
        self._closed.set()

    async def _read_events(self, response: HttpResponse) -> None:
        if response.status >= 300:
            raise await refused(response, self._server, b"null")
        if media_type(response.headers) != EVENT_STREAM:
            raise no_mcp(response, self._server)
        parser = SseParser(server=self._server)
        async for chunk in response.chunks():
            for event in parser.feed(chunk):
                self._take(event)

    def _take(self, event: SseEvent) -> None:
        if event.name == "message" and self._address is not None:
            self._dispatcher.receive(event.data)
        elif event.name == "endpoint" and self._address is None:
            self._address = _same_origin(self._url, event.data, self._server)
            self._addressed.set()


def _same_origin(base: str, data: bytes, server: str) -> str:
    """Resolve where to post. Another origin is refused: the headers may hold secrets."""
    address = urljoin(base, data.decode(errors="replace").strip())
    if url_faults(address) or _origin(address) != _origin(base):
        raise UpstreamError(
            f"The server {server!r} names an endpoint of another origin for its messages.",
            code="server_other_origin",
        )
    return address


def _origin(url: str) -> tuple[str, str | None, int | None]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port or _DEFAULT_PORTS.get(parts.scheme)
