"""One registered server as the hub keeps it: its lanes, and what they amount to."""

import asyncio
import logging
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import msgspec

from agenthub.adapters.outbound.mcp_client.faults import is_unauthorized, reason
from agenthub.adapters.outbound.mcp_client.handshakes import UNSUPPORTED_VERSION, NotModernError
from agenthub.adapters.outbound.mcp_client.header_params import params_headers
from agenthub.adapters.outbound.mcp_client.hearing import concerns
from agenthub.adapters.outbound.mcp_client.lanes import READY_WAIT_S, Lane, Overseer
from agenthub.adapters.outbound.mcp_client.messages import tidy_result
from agenthub.adapters.outbound.mcp_client.output import OutputTail
from agenthub.adapters.outbound.mcp_client.plans import Phase
from agenthub.adapters.outbound.mcp_client.reading import Shelf
from agenthub.adapters.outbound.mcp_client.spells import unreachable
from agenthub.domain.entities.catalog.listing import EMPTY, Catalog, ItemKind
from agenthub.domain.entities.endpoints import ConnectionStatus, Endpoint, EndpointState, Era
from agenthub.domain.exceptions import HubError, RpcError, UnavailableError, UpstreamError
from agenthub.domain.ports.outbound.clock import Clock
from agenthub.domain.ports.outbound.mcp_client import Answer, Caller, McpListener, UpstreamRequest

_log = logging.getLogger(__name__)


class LaneMaker(ABC):
    """Makes the lanes of one endpoint."""

    @property
    @abstractmethod
    def starts_programs(self) -> bool:
        """Whether a lane is a process, so that none is opened before it is needed."""

    @abstractmethod
    def first(self, overseer: Overseer) -> list[Lane]:
        """Make the lanes that are kept from the beginning."""

    @abstractmethod
    def second(self, overseer: Overseer, found: Era) -> Lane | None:
        """Make the lane of the other era, to be opened for the first agent of it.

        None where the server cannot speak it.
        """


@dataclass(slots=True, eq=False)
class _Gate:
    """Of one resource that is about to be watched, or no longer."""

    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    users: int = 0


class Connection(Overseer):
    """A resident: entering begins to connect, leaving closes all lanes. One endpoint's faults
    stay within.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        maker: LaneMaker,
        *,
        clock: Clock,
        listeners: tuple[McpListener, ...],
        known: dict[Era, Catalog],
    ) -> None:
        self.endpoint = endpoint
        self.output = OutputTail()
        self._maker = maker
        self._clock = clock
        self._listeners = listeners
        self._lanes: list[Lane] = []
        self._has_second = False
        self.catalogs = known
        """The last read ones; at first those of the connection before, if there was one."""
        self._has_read = False
        self._watches: Counter[str] = Counter()
        self._watching: dict[str, Lane] = {}
        self._gates: dict[str, _Gate] = {}
        self._is_over = False
        self._group: asyncio.TaskGroup | None = None
        self._state = EndpointState(status=ConnectionStatus.CONNECTING, since=clock.now())

    async def keep(self) -> None:
        """Keep the lanes until cancelled. Raises nothing else."""
        try:
            async with asyncio.TaskGroup() as group:
                self._group = group
                self._lanes = self._maker.first(self)
                for lane in self._lanes:
                    group.create_task(self._run(lane))
                self._tell()
                await asyncio.Event().wait()
        finally:
            self._is_over = True

    @property
    def state(self) -> EndpointState:
        return self._state

    def catalog(self, era: Era) -> Catalog:
        """Give the catalogue of that era's lane, or of the only one there is."""
        rests = any(lane.era is era and lane.rests for lane in self._lanes)
        own = None if rests else self.catalogs.get(era)
        if own is None:
            own = next(iter(self.catalogs.values()), EMPTY)
        return own

    def foresee(self, era: Era) -> None:
        """An agent of this era looks at the lists: open its lane, if that is cheap."""
        if not self._maker.starts_programs and self._lane_of(era) is None:
            self._start_second(era)

    async def settled(self) -> None:
        """Wait until every first lane has ended its first attempt."""
        for lane in self._lanes:
            await lane.settled.wait()

    async def request(self, request: UpstreamRequest, caller: Caller) -> Answer:
        """Send it over the lane that fits the caller; see `McpClient.request`."""
        until = asyncio.get_running_loop().time() + request.timeout_s
        lane = await self._lane_for(caller.era, request.timeout_s)
        try:
            raw = await self._send(lane, request, caller, until)
        except RpcError as error:
            if error.code != UNSUPPORTED_VERSION:
                raise
            lane.restart()
            await lane.wait_open(until - asyncio.get_running_loop().time())
            raw = await self._send_again(lane, request, caller, until)
        era = lane.era or Era.LEGACY
        result, needed = tidy_result(raw, era, self.endpoint.name)
        return Answer(result, era, needed)

    async def probe(self, timeout_s: float) -> bool:
        """Ask the server over every open lane; see `McpClient.probe`."""
        lanes = [lane for lane in self._lanes if lane.is_open]
        if not lanes:
            raise self._unavailable()
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(_probed(lane, timeout_s)) for lane in lanes]
        said = [task.result() for task in tasks]
        for answer in said:
            if isinstance(answer, HubError):
                raise answer
        return any(said)

    async def refresh(self) -> None:
        """Have every lane read, or connect, again; returns when all have."""
        async with asyncio.TaskGroup() as group:
            for lane in self._lanes:
                group.create_task(lane.refresh())

    async def watch(self, uri: str) -> None:
        """Count a watch; the first has the server report. Raises the faults of a request."""
        async with self._deciding(uri):
            self._watches[uri] += 1
            if uri in self._watching:
                return
            try:
                lane = await self._lane_for(Era.LEGACY, READY_WAIT_S, may_start=False)
                await lane.watch(uri)
            except BaseException:
                del self._watches[uri]
                raise
            self._watching[uri] = lane

    async def unwatch(self, uri: str) -> None:
        """End one watch; the last has the server stop reporting."""
        self._watches[uri] -= 1
        if self._watches[uri] > 0:
            return
        async with self._deciding(uri):
            if self._watches[uri] > 0:
                return
            del self._watches[uri]
            lane = self._watching.pop(uri, None)
            if lane is not None:
                await lane.unwatch(uri)

    @asynccontextmanager
    async def _deciding(self, uri: str) -> AsyncGenerator[None]:
        """One at a time has the server begin or end to report this resource."""
        gate = self._gates.setdefault(uri, _Gate())
        gate.users += 1
        try:
            async with gate.lock:
                yield
        finally:
            gate.users -= 1
            if gate.users == 0:
                del self._gates[uri]

    def on_phase(self, lane: Lane) -> None:
        state = self._joint_state()
        former, self._state = self._state, state
        if _without_time(former) == _without_time(state):
            self._state = former
            return
        if state.status is ConnectionStatus.READY and former.status is not ConnectionStatus.READY:
            self._wake_others(lane)
        was, now = (former.status, former.last_error), (state.status, state.last_error)
        if was != now or state.status is ConnectionStatus.READY:
            self._tell()

    def on_shelf(self, lane: Lane, former: Shelf) -> None:
        before = {era: self.catalog(era) for era in Era}
        if not self._has_read:
            self._has_read = True
            self.catalogs = {}
        spoken = {one.era for one in self._lanes}
        self.catalogs = {era: known for era, known in self.catalogs.items() if era in spoken}
        self.catalogs[lane.era or Era.LEGACY] = lane.shelf.catalog()
        changed = tuple(
            kind
            for kind in ItemKind
            if any(before[era].of(kind) != self.catalog(era).of(kind) for era in Era)
        )
        if changed and not self._is_over:
            for listener in self._listeners:
                listener.on_catalog(self.endpoint, changed)

    def on_resource(self, lane: Lane, uri: str) -> None:
        if concerns(uri, self._watches) and not self._is_over:
            for listener in self._listeners:
                listener.on_resource_updated(self.endpoint, uri)

    def may_rest(self, lane: Lane) -> bool:
        return any(other is not lane and other.phase is Phase.READY for other in self._lanes)

    async def _run(self, lane: Lane) -> None:
        try:
            await lane.run()
        except Exception:  # noqa: BLE001 (a fault of the hub's own stays with its server)
            _log.exception("a lane broke", extra={"server": self.endpoint.name})

    def _tell(self) -> None:
        for listener in () if self._is_over else self._listeners:
            listener.on_state(self.endpoint, self._state)

    async def _lane_for(self, era: Era, timeout_s: float, *, may_start: bool = True) -> Lane:
        """Choose the lane of this era, or the one that exists. Raises UnavailableError."""
        own = self._lane_of(era)
        if own is None and may_start:
            own = self._start_second(era)
        lanes = sorted(self._lanes, key=lambda one: (one.falters, one is not own, not one.is_open))
        loop = asyncio.get_running_loop()
        until = loop.time() + min(READY_WAIT_S, timeout_s)
        for lane in lanes:
            if lane.is_open or await _opens(lane, until - loop.time()):
                found = self._found_meanwhile(era) if own is None and may_start else None
                if found is not None and await _opens(found, until - loop.time()):
                    return found
                return lane
        raise self._unavailable()

    def _found_meanwhile(self, era: Era) -> Lane | None:
        """Give the lane of this era that can be had now that the first one knows its own."""
        return self._lane_of(era) or self._start_second(era)

    def _lane_of(self, era: Era) -> Lane | None:
        return next((lane for lane in self._lanes if lane.era is era and not lane.rests), None)

    def _start_second(self, era: Era) -> Lane | None:
        """Open the lane of the other era, for its first agent."""
        found = next((lane.era for lane in self._lanes if lane.is_open), None)
        if found is None or found is era or self._has_second or self._group is None:
            return None
        lane = self._maker.second(self, found)
        if lane is not None:
            self._has_second = True
            self._lanes.append(lane)
            self._group.create_task(self._run(lane))
        return lane

    async def _send(
        self, lane: Lane, request: UpstreamRequest, caller: Caller, until: float
    ) -> bytes:
        headers = None
        if request.method == "tools/call" and lane.era is Era.MODERN:
            headers = _headers(lane.shelf, request)
        return await lane.request(request, caller, headers, until=until)

    async def _send_again(
        self, lane: Lane, request: UpstreamRequest, caller: Caller, until: float
    ) -> bytes:
        try:
            return await self._send(lane, request, caller, until)
        except RpcError as error:
            if error.code != UNSUPPORTED_VERSION:
                raise
            raise UpstreamError(
                f"The server {self.endpoint.name!r} refuses the version that it offers.",
                code="server_version",
            ) from error

    def _joint_state(self) -> EndpointState:
        lanes = sorted(self._lanes, key=lambda one: (one.phase is not Phase.READY, _rank(one)))
        hellos = [lane.hello for lane in lanes if lane.hello is not None]
        hello = hellos[0] if hellos else None
        status, fault = self._joint_status()
        return EndpointState(
            status=status,
            eras=tuple(
                era
                for era in Era
                if any(one.era is era and one.hello is not None for one in self._lanes)
            ),
            protocol_version=None if hello is None else hello.protocol_version,
            server_info=None if hello is None else hello.server_info,
            capabilities={} if hello is None else hello.capabilities,
            instructions=None if hello is None else hello.instructions,
            last_error=None if fault is None else reason(fault, self.endpoint),
            since=self._state.since if status is self._state.status else self._clock.now(),
        )

    def _joint_status(self) -> tuple[ConnectionStatus, Exception | None]:
        if any(lane.phase is Phase.READY for lane in self._lanes):
            return ConnectionStatus.READY, None
        faults = [lane.fault for lane in self._lanes if lane.fault is not None]
        unauthorized = next((fault for fault in faults if is_unauthorized(fault)), None)
        if unauthorized is not None:
            return ConnectionStatus.UNAUTHORIZED, unauthorized
        fault = next((f for f in faults if not isinstance(f, NotModernError)), None)
        if fault is None and faults:
            fault = faults[0]
        if any(lane.phase is Phase.CONNECTING for lane in self._lanes):
            return ConnectionStatus.CONNECTING, fault
        return ConnectionStatus.UNREACHABLE, fault

    def _wake_others(self, lane: Lane) -> None:
        """The server is there again: what it did not speak before, it may speak now."""
        for other in self._lanes:
            if other is not lane:
                other.poke()

    def _unavailable(self) -> UnavailableError:
        waits = [lane.retry_in_s for lane in self._lanes if lane.retry_in_s is not None]
        return unreachable(self.endpoint.name, self._state.last_error, min(waits, default=None))


def _rank(lane: Lane) -> int:
    return 0 if lane.era is Era.MODERN else 1


async def _opens(lane: Lane, timeout_s: float) -> bool:
    try:
        await lane.wait_open(timeout_s)
    except HubError:
        return False
    return True


async def _probed(lane: Lane, timeout_s: float) -> bool | HubError:
    try:
        return await lane.probe(timeout_s)
    except HubError as error:
        return error


def _without_time(state: EndpointState) -> tuple[object, ...]:
    return (
        state.status,
        state.eras,
        state.protocol_version,
        state.server_info,
        state.capabilities,
        state.instructions,
        state.last_error,
    )


def _headers(shelf: Shelf, request: UpstreamRequest) -> dict[str, str] | None:
    """Make the headers that repeat arguments of this call, where its tool wants any."""
    tools = shelf.readings.get(ItemKind.TOOLS)
    if tools is None or not tools.annotated:
        return None
    try:
        name: Any = msgspec.json.decode(request.params.get("name", b"null"))
        definition = shelf.annotated_tool(name)
        if definition is None:
            return None
        arguments: Any = msgspec.json.decode(request.params.get("arguments", b"{}"))
    except msgspec.DecodeError:
        return None
    return params_headers(definition, arguments) if isinstance(arguments, dict) else None  # pyright: ignore[reportUnknownArgumentType]
