"""A server over stdio, in either era: which one it speaks is found on a fresh process."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import msgspec

from agenthub.adapters.outbound.mcp_client.channel import Channel, Hello, Inbox
from agenthub.adapters.outbound.mcp_client.dispatcher import Dispatcher
from agenthub.adapters.outbound.mcp_client.guardian import Guardian
from agenthub.adapters.outbound.mcp_client.handshakes import (
    MODERN_ERRORS,
    MODERN_VERSIONS,
    UNSUPPORTED_VERSION,
    NotModernError,
    common_version,
    initialize_params,
    legacy_hello,
    listen_filter,
    modern_hello,
    modern_meta,
    supported_versions,
)
from agenthub.adapters.outbound.mcp_client.output import OutputTail
from agenthub.adapters.outbound.mcp_client.process import ServerProcess, closed, open_process
from agenthub.domain.entities.endpoints import Endpoint, Era, StdioTransport
from agenthub.domain.exceptions import HubError, RpcError, UnavailableError
from agenthub.domain.ports.outbound.mcp_client import Caller, RawObject

DISCOVER_TIMEOUT_S = 10.0
"""After so much silence a server is of the legacy era. Source: the SDKs' own limit."""

INITIALIZE_TIMEOUT_S = 60.0
"""A first start may have to fetch the server (npx, uvx)."""


class StdioChannel(Channel):
    """Made by `open_stdio`."""

    def __init__(self, era: Era, hello: Hello, link: "_Link") -> None:
        self.era = era
        self.hello = hello
        self._link = link
        self._dispatcher = link.dispatcher

    @property
    def unattributed(self) -> int:
        """How many questions were refused because nobody could say whose they are."""
        return self._dispatcher.unattributed

    @property
    def fault(self) -> Exception | None:
        return self._link.fault

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
        """Send it down the pipe; stdio has no headers, in neither era."""
        if self.era is Era.MODERN:
            meta = modern_meta(self.hello.protocol_version, caller, meta)
        return await self._dispatcher.request(
            method, params, meta=meta, caller=caller, timeout_s=timeout_s
        )

    async def notify(self, method: str, params: RawObject) -> None:
        await self._dispatcher.notify(method, params)

    async def wait_closed(self) -> None:
        await self._link.lost.wait()

    async def listen(self, *, resources: frozenset[str]) -> None:
        wanted = listen_filter(self.hello.capabilities, resources)
        if self.era is Era.LEGACY or not wanted:
            await self._link.lost.wait()
            return
        await self._dispatcher.request(
            "subscriptions/listen",
            {"notifications": msgspec.json.encode(wanted)},
            meta=modern_meta(self.hello.protocol_version, None, {}),
            caller=None,
            timeout_s=None,
        )


@asynccontextmanager
async def open_stdio(
    endpoint: Endpoint,
    inbox: Inbox,
    *,
    era: Era | None,
    guardian: Guardian,
    output: OutputTail,
    discover_timeout_s: float = DISCOVER_TIMEOUT_S,
    initialize_timeout_s: float = INITIALIZE_TIMEOUT_S,
) -> AsyncGenerator[StdioChannel]:
    """Start the server and shake hands; with `era` None, find its era first.

    Leaving ends the process. Raises StartError, NotModernError (for `era` modern), RpcError and
    the faults of a request.
    """
    start = _Start(endpoint, inbox, guardian, output)
    if era is not Era.LEGACY:
        async with start.process() as link:
            channel = await _modern(link, discover_timeout_s, is_sure=era is Era.MODERN)
            if channel is None:
                channel = await _legacy_after_all(link, initialize_timeout_s, discover_timeout_s)
            if channel is not None:
                yield channel
                return
    async with start.process() as link:
        yield await link.initialize(initialize_timeout_s)


class _Link:
    """A fresh process, before it is known what it speaks."""

    def __init__(self, endpoint: Endpoint, inbox: Inbox) -> None:
        self.lost = asyncio.Event()
        self.fault: HubError | None = None
        self.dispatcher = Dispatcher(send=self._send, inbox=inbox, server_name=endpoint.name)
        self.process: ServerProcess | None = None
        self.server = endpoint.name

    def lose(self, error: HubError) -> None:
        if not self.lost.is_set():
            self.fault = error
            self.dispatcher.fail(error)
            self.lost.set()

    async def discover(self, timeout_s: float) -> StdioChannel:
        """Introduce the hub in the modern era. Raises RpcError and the faults of a request."""
        version = MODERN_VERSIONS[0]
        try:
            result = await self._discover(version, timeout_s)
        except RpcError as error:
            if error.code != UNSUPPORTED_VERSION:
                raise
            version = common_version(supported_versions(error))
            result = await self._discover(version, timeout_s)
        return StdioChannel(Era.MODERN, modern_hello(result), self)

    async def initialize(self, timeout_s: float) -> StdioChannel:
        """Shake hands in the legacy era. Raises RpcError and the faults of a request."""
        result = await self.dispatcher.request(
            "initialize", initialize_params(), meta={}, caller=None, timeout_s=timeout_s
        )
        hello = legacy_hello(result)
        await self.dispatcher.notify("notifications/initialized", {})
        return StdioChannel(Era.LEGACY, hello, self)

    async def _discover(self, version: str, timeout_s: float) -> bytes:
        return await self.dispatcher.request(
            "server/discover",
            {},
            meta=modern_meta(version, None, {}),
            caller=None,
            timeout_s=timeout_s,
        )

    async def _send(self, message: bytes) -> None:
        if self.process is not None:
            await self.process.send(message)


class _Start:
    """How to start the endpoint's process, as often as it takes."""

    def __init__(
        self, endpoint: Endpoint, inbox: Inbox, guardian: Guardian, output: OutputTail
    ) -> None:
        if not isinstance(endpoint.transport, StdioTransport):
            raise TypeError("A stdio channel needs an endpoint over stdio.")
        self._command = endpoint.transport
        self._endpoint = endpoint
        self._inbox = inbox
        self._guardian = guardian
        self._output = output

    @asynccontextmanager
    async def process(self) -> AsyncGenerator[_Link]:
        link = _Link(self._endpoint, self._inbox)
        async with (
            open_process(
                self._command,
                server=self._endpoint.name,
                guardian=self._guardian,
                output=self._output,
                on_line=link.dispatcher.receive,
                on_lost=link.lose,
            ) as link.process,
            link.dispatcher,
        ):
            try:
                yield link
            finally:
                link.lose(closed(self._endpoint.name))


async def _modern(link: _Link, timeout_s: float, *, is_sure: bool) -> StdioChannel | None:
    """Probe for the modern era; None when the legacy one is to be tried. Source: MCP 2026-07-28,
    basic/versioning.
    """
    try:
        return await link.discover(timeout_s)
    except RpcError as error:
        if error.code in MODERN_ERRORS:
            raise
        if is_sure:
            raise NotModernError(
                f"The server {link.server!r} does not know server/discover: {error.message}"
            ) from error
        return None
    except HubError:
        if is_sure:
            raise
        return None


async def _legacy_after_all(
    link: _Link, initialize_timeout_s: float, discover_timeout_s: float
) -> StdioChannel | None:
    """Shake hands on the probed process; None when only a fresh one can tell."""
    try:
        return await link.initialize(initialize_timeout_s)
    except RpcError as error:
        if error.code not in MODERN_ERRORS:
            return None
        # It was merely slow to start: by now it reads, and speaks the modern era only.
        return await link.discover(discover_timeout_s)
    except UnavailableError:
        return None
