"""The hub's MCP client, without servers: what they offer and answer is said by the test."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable

from agenthub.domain.entities.catalog.listing import EMPTY, Catalog, ItemKind
from agenthub.domain.entities.endpoints import (
    ConnectionStatus,
    Endpoint,
    EndpointState,
    Era,
    HttpTransport,
    StdioTransport,
)
from agenthub.domain.exceptions import (
    NotConnectedError,
    RpcError,
    TimedOutError,
    UnavailableError,
)
from agenthub.domain.ids import EndpointId
from agenthub.domain.ports.outbound.mcp_client import (
    Answer,
    Caller,
    McpClient,
    McpListener,
    UpstreamRequest,
)
from tests.fakes.storage import refuse_inside_transaction

Handler = Callable[[UpstreamRequest, Caller], Awaitable[Answer]]

READY = EndpointState(
    status=ConnectionStatus.READY,
    eras=(Era.LEGACY, Era.MODERN),
    protocol_version="2026-07-28",
    server_info={"name": "fake", "version": "1"},
    capabilities={"tools": {}, "resources": {}, "prompts": {}, "completions": {}},
)
DISABLED = EndpointState(status=ConnectionStatus.DISABLED)


def address_of(endpoint: Endpoint) -> str:
    match endpoint.transport:
        case HttpTransport(url=url):
            return url
        case StdioTransport(command=command):
            return command


class FakeMcpClient(McpClient):
    """Every server connects at once, unless `fates` says in which state it ends up.

    `offers_at` and `fates_at` say it by URL or command, for servers whose id is not known yet.

    A request is kept in `requests` and answered by `handle` if set, else by `results[method]`
    (an error is raised), else by `{}`. Clear `held` to keep requests waiting; set it to let go.
    Probes succeed, but for `probe_faults` and `at_work`; `probes_held` is their `held`.
    """

    def __init__(self) -> None:
        self.fates: dict[EndpointId, EndpointState] = {}
        self.fates_by_name: dict[str, EndpointState] = {}
        self.fates_at: dict[str, EndpointState] = {}
        self.offers_at: dict[str, Catalog] = {}
        self.results: dict[str, bytes | Exception] = {}
        self.handle: Handler | None = None
        self.requests: list[tuple[EndpointId, UpstreamRequest, Caller]] = []
        self.asked = asyncio.Event()
        self.held = asyncio.Event()
        self.held.set()
        self.kept: dict[EndpointId, Endpoint] = {}
        self.connects: list[EndpointId] = []
        self.refreshed: list[EndpointId] = []
        self.probed: list[EndpointId] = []
        self.probe_faults: dict[EndpointId, Exception] = {}
        self.at_work: set[EndpointId] = set()
        self.probes_held = asyncio.Event()
        self.probes_held.set()
        self.watches: Counter[tuple[EndpointId, str]] = Counter()
        self.output: dict[EndpointId, list[str]] = {}
        self.foreseen: set[tuple[EndpointId, Era]] = set()
        self._listeners: list[McpListener] = []
        self._states: dict[EndpointId, EndpointState] = {}
        self._catalogs: dict[tuple[EndpointId, Era], Catalog] = {}

    def attach(self, listener: McpListener) -> None:
        self._listeners.append(listener)

    async def connect(self, endpoint: Endpoint) -> None:
        self.connects.append(endpoint.id)
        self.kept[endpoint.id] = endpoint
        address = address_of(endpoint)
        if address in self.offers_at:
            self.offer(endpoint.id, self.offers_at[address])
        fate = self.fates_at.get(address, self.fates_by_name.get(endpoint.name, READY))
        self.become(endpoint.id, self.fates.get(endpoint.id, fate))

    async def disconnect(self, endpoint_id: EndpointId) -> None:
        self.kept.pop(endpoint_id, None)
        self._states.pop(endpoint_id, None)
        for key in [key for key in self._catalogs if key[0] == endpoint_id]:
            del self._catalogs[key]

    async def settled(self, endpoint_id: EndpointId, timeout_s: float) -> EndpointState:
        return self.state(endpoint_id)

    def state(self, endpoint_id: EndpointId) -> EndpointState:
        return self._states.get(endpoint_id, DISABLED)

    def catalog(self, endpoint_id: EndpointId, era: Era) -> Catalog:
        self.foreseen.add((endpoint_id, era))
        return self._catalog(endpoint_id, era)

    def _catalog(self, endpoint_id: EndpointId, era: Era) -> Catalog:
        other = Era.LEGACY if era is Era.MODERN else Era.MODERN
        own = self._catalogs.get((endpoint_id, era))
        return own if own is not None else self._catalogs.get((endpoint_id, other), EMPTY)

    def catalogs(self, endpoint_id: EndpointId) -> dict[Era, Catalog]:
        return {era: self._catalog(endpoint_id, era) for era in Era}

    async def request(
        self, endpoint_id: EndpointId, request: UpstreamRequest, caller: Caller
    ) -> Answer:
        if self.state(endpoint_id).status is not ConnectionStatus.READY:
            raise UnavailableError(f"The server {endpoint_id!r} is not there.")
        self.requests.append((endpoint_id, request, caller))
        self.asked.set()
        await self.held.wait()
        if self.handle is not None:
            return await self.handle(request, caller)
        result = self.results.get(request.method, b"{}")
        if isinstance(result, Exception):
            raise result
        return Answer(result, self._era_for(endpoint_id, caller.era))

    async def probe(self, endpoint_id: EndpointId, timeout_s: float) -> bool:
        refuse_inside_transaction()
        self.probed.append(endpoint_id)
        if self.state(endpoint_id).status is not ConnectionStatus.READY:
            raise NotConnectedError(f"The server {endpoint_id!r} is not there.")
        try:
            async with asyncio.timeout(timeout_s):
                await self.probes_held.wait()
        except TimeoutError as error:
            raise TimedOutError("The server did not answer in time.") from error
        if endpoint_id in self.probe_faults:
            raise self.probe_faults[endpoint_id]
        return endpoint_id not in self.at_work

    async def refresh(self, endpoint_id: EndpointId) -> None:
        self.refreshed.append(endpoint_id)

    async def watch_resource(self, endpoint_id: EndpointId, uri: str) -> None:
        if "resources" not in self.state(endpoint_id).capabilities:
            raise RpcError(-32601, "The server has no resources.")
        self.watches[endpoint_id, uri] += 1

    async def unwatch_resource(self, endpoint_id: EndpointId, uri: str) -> None:
        self.watches[endpoint_id, uri] -= 1
        if self.watches[endpoint_id, uri] <= 0:
            del self.watches[endpoint_id, uri]

    def output_tail(self, endpoint_id: EndpointId) -> list[str]:
        return list(self.output.get(endpoint_id, []))

    def become(self, endpoint_id: EndpointId, state: EndpointState) -> None:
        """Put a kept server into a state, and tell the listeners."""
        self._states[endpoint_id] = state
        for listener in self._listeners:
            listener.on_state(self.kept[endpoint_id], state)

    def offer(self, endpoint_id: EndpointId, catalog: Catalog, era: Era | None = None) -> None:
        """Let a server offer this, in one era or in both, and tell the listeners if it is kept."""
        for one in Era if era is None else (era,):
            self._catalogs[endpoint_id, one] = catalog
        if endpoint_id in self.kept:
            for listener in self._listeners:
                listener.on_catalog(self.kept[endpoint_id], tuple(ItemKind))

    def change_resource(self, endpoint_id: EndpointId, uri: str) -> None:
        """Report a change of a resource, if it is watched."""
        if (endpoint_id, uri) in self.watches:
            for listener in self._listeners:
                listener.on_resource_updated(self.kept[endpoint_id], uri)

    def _era_for(self, endpoint_id: EndpointId, wanted: Era) -> Era:
        eras = self.state(endpoint_id).eras
        return wanted if wanted in eras or not eras else eras[0]
