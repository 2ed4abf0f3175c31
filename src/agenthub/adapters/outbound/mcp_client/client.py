"""Every registered server, each kept by itself."""

import asyncio
import logging
from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

from agenthub.adapters.outbound.mcp_client.channel import Channel, Inbox
from agenthub.adapters.outbound.mcp_client.connection import Connection, LaneMaker
from agenthub.adapters.outbound.mcp_client.faults import more_telling
from agenthub.adapters.outbound.mcp_client.guardian import Guardian
from agenthub.adapters.outbound.mcp_client.handshakes import NotModernError
from agenthub.adapters.outbound.mcp_client.lanes import Lane, Overseer
from agenthub.adapters.outbound.mcp_client.legacy_http import open_legacy_http
from agenthub.adapters.outbound.mcp_client.legacy_sse import open_legacy_sse
from agenthub.adapters.outbound.mcp_client.modern_http import open_modern_http
from agenthub.adapters.outbound.mcp_client.output import OutputTail
from agenthub.adapters.outbound.mcp_client.plans import LanePlan, Opener, Surroundings, pause
from agenthub.adapters.outbound.mcp_client.reading import Reader
from agenthub.adapters.outbound.mcp_client.stdio import open_stdio
from agenthub.domain.entities.catalog.listing import EMPTY, Catalog, CatalogBounds
from agenthub.domain.entities.endpoints import (
    ConnectionStatus,
    Endpoint,
    EndpointState,
    Era,
    EraChoice,
    HttpKind,
    HttpTransport,
)
from agenthub.domain.exceptions import HubError, NotConnectedError, RpcError
from agenthub.domain.ids import EndpointId
from agenthub.domain.ports.outbound.clock import Chance, Clock
from agenthub.domain.ports.outbound.http import HttpClient
from agenthub.domain.ports.outbound.mcp_client import (
    Answer,
    Caller,
    McpClient,
    McpListener,
    UpstreamRequest,
)

_log = logging.getLogger(__name__)

REFRESH_TIMEOUT_S = 60.0

DISABLED = EndpointState(status=ConnectionStatus.DISABLED)


class PooledMcpClient(McpClient):
    """A resident. Leaving closes every connection and ends every process."""

    def __init__(
        self,
        *,
        http: HttpClient,
        clock: Clock,
        chance: Chance,
        data_dir: Path,
        bounds: CatalogBounds,
    ) -> None:
        self._http = http
        self._clock = clock
        self._world = Surroundings(clock=clock, chance=chance, pause=pause)
        self._bounds = bounds
        self._guardian = Guardian(data_dir=data_dir, chance=chance)
        self._listeners: list[McpListener] = []
        self._kept: dict[EndpointId, tuple[Connection, asyncio.Task[None]]] = {}
        self._group = asyncio.TaskGroup()

    async def __aenter__(self) -> Self:
        await self._guardian.__aenter__()
        await self._group.__aenter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            for _, task in self._kept.values():
                task.cancel()
            self._kept.clear()
            await self._group.__aexit__(None, None, None)
        finally:
            await self._guardian.__aexit__(None, None, None)

    def attach(self, listener: McpListener) -> None:
        self._listeners.append(listener)

    async def connect(self, endpoint: Endpoint) -> None:
        former = self._find(endpoint.id)
        while endpoint.id in self._kept:
            await self.disconnect(endpoint.id)
        maker = _Maker(endpoint, self._http, self._guardian, self._bounds, self._world)
        connection = Connection(
            endpoint,
            maker,
            clock=self._clock,
            listeners=tuple(self._listeners),
            known={} if former is None else former.catalogs,
        )
        maker.output = connection.output
        task = self._group.create_task(connection.keep())
        self._kept[endpoint.id] = (connection, task)
        await asyncio.sleep(0)

    async def disconnect(self, endpoint_id: EndpointId) -> None:
        kept = self._kept.pop(endpoint_id, None)
        if kept is not None:
            kept[1].cancel()
            await asyncio.wait((kept[1],))

    async def settled(self, endpoint_id: EndpointId, timeout_s: float) -> EndpointState:
        connection = self._find(endpoint_id)
        if connection is not None:
            try:
                async with asyncio.timeout(timeout_s):
                    await connection.settled()
            except TimeoutError:
                _log.debug("not settled in time", extra={"server": connection.endpoint.name})
        return self.state(endpoint_id)

    def state(self, endpoint_id: EndpointId) -> EndpointState:
        connection = self._find(endpoint_id)
        return DISABLED if connection is None else connection.state

    def catalog(self, endpoint_id: EndpointId, era: Era) -> Catalog:
        connection = self._find(endpoint_id)
        if connection is None:
            return EMPTY
        connection.foresee(era)
        return connection.catalog(era)

    def catalogs(self, endpoint_id: EndpointId) -> dict[Era, Catalog]:
        connection = self._find(endpoint_id)
        return {era: EMPTY if connection is None else connection.catalog(era) for era in Era}

    async def request(
        self, endpoint_id: EndpointId, request: UpstreamRequest, caller: Caller
    ) -> Answer:
        return await self._get(endpoint_id).request(request, caller)

    async def probe(self, endpoint_id: EndpointId, timeout_s: float) -> bool:
        return await self._get(endpoint_id).probe(timeout_s)

    async def refresh(self, endpoint_id: EndpointId) -> None:
        connection = self._find(endpoint_id)
        if connection is not None:
            try:
                async with asyncio.timeout(REFRESH_TIMEOUT_S):
                    await connection.refresh()
            except TimeoutError:
                _log.debug("not refreshed in time", extra={"server": connection.endpoint.name})

    async def watch_resource(self, endpoint_id: EndpointId, uri: str) -> None:
        await self._get(endpoint_id).watch(uri)

    async def unwatch_resource(self, endpoint_id: EndpointId, uri: str) -> None:
        connection = self._find(endpoint_id)
        if connection is not None:
            await connection.unwatch(uri)

    def output_tail(self, endpoint_id: EndpointId) -> list[str]:
        connection = self._find(endpoint_id)
        return [] if connection is None else connection.output.lines()

    def _find(self, endpoint_id: EndpointId) -> Connection | None:
        kept = self._kept.get(endpoint_id)
        return None if kept is None else kept[0]

    def _get(self, endpoint_id: EndpointId) -> Connection:
        connection = self._find(endpoint_id)
        if connection is None:
            raise NotConnectedError("This server is disabled or was removed.")
        return connection


class _Maker(LaneMaker):
    """Knows which lanes an endpoint's transport and era admit."""

    def __init__(
        self,
        endpoint: Endpoint,
        http: HttpClient,
        guardian: Guardian,
        bounds: CatalogBounds,
        world: Surroundings,
    ) -> None:
        self._endpoint = endpoint
        self._http = http
        self._guardian = guardian
        self._bounds = bounds
        self._world = world
        self.output = OutputTail()

    def first(self, overseer: Overseer) -> list[Lane]:
        transport, choice = self._endpoint.transport, self._endpoint.era
        if not isinstance(transport, HttpTransport):
            era = None if choice is EraChoice.AUTO else Era(choice.value)
            return [self._lane(overseer, era, self._open_stdio, reopens=True)]
        if transport.kind is HttpKind.SSE:
            return [self._lane(overseer, Era.LEGACY, self._open_sse, reopens=True)]
        era = None if choice is EraChoice.AUTO else Era(choice.value)
        return [self._lane(overseer, era, self._open_http, reopens=False)]

    def second(self, overseer: Overseer, found: Era) -> Lane | None:
        if self._endpoint.era is not EraChoice.AUTO or found is Era.LEGACY:
            return None
        if self.starts_programs:
            return self._lane(overseer, Era.LEGACY, self._open_stdio, reopens=True)
        return self._lane(overseer, Era.LEGACY, self._open_http, reopens=False)

    @property
    def starts_programs(self) -> bool:
        return not isinstance(self._endpoint.transport, HttpTransport)

    def _lane(self, overseer: Overseer, era: Era | None, opener: Opener, *, reopens: bool) -> Lane:
        is_http = isinstance(self._endpoint.transport, HttpTransport)
        plan = LanePlan(
            server=self._endpoint.name,
            era=era,
            open=opener,
            reader=Reader(
                server=self._endpoint.name,
                bounds=self._bounds,
                with_headers=is_http,
            ),
            reopens=reopens,
        )
        return Lane(plan, overseer, self._world)

    def _open_stdio(self, inbox: Inbox, era: Era | None) -> AbstractAsyncContextManager[Channel]:
        return open_stdio(
            self._endpoint, inbox, era=era, guardian=self._guardian, output=self.output
        )

    @asynccontextmanager
    async def _open_http(self, inbox: Inbox, era: Era | None) -> AsyncGenerator[Channel]:
        async with AsyncExitStack() as stack:
            yield await self._found(stack, inbox, era)

    async def _found(self, stack: AsyncExitStack, inbox: Inbox, era: Era | None) -> Channel:
        """Speak modern first; legacy to a server that does not know it, or if that is wanted.

        Source: MCP 2026-07-28, basic/lifecycle: a server is never greeted in both eras unasked.
        """
        refusal: NotModernError | None = None
        if era is not Era.LEGACY:
            try:
                modern = open_modern_http(self._http, self._endpoint, inbox)
                return await stack.enter_async_context(modern)
            except NotModernError as error:
                if not self._endpoint.era.admits(Era.LEGACY):
                    raise
                refusal = error
        legacy = open_legacy_http(self._http, self._endpoint, inbox)
        try:
            return await stack.enter_async_context(legacy)
        except (HubError, RpcError) as error:
            if refusal is None:
                raise
            raise more_telling(refusal, error) from error

    def _open_sse(self, inbox: Inbox, era: Era | None) -> AbstractAsyncContextManager[Channel]:
        return open_legacy_sse(self._http, self._endpoint, inbox)
