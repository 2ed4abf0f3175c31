"""Keeps the further instances of servers connected, in step with their servers."""

import asyncio
import logging
from dataclasses import replace
from types import TracebackType
from typing import Self
from weakref import WeakValueDictionary

from agenthub.domain.entities.catalog.listing import ItemKind
from agenthub.domain.entities.endpoints import ConnectionStatus, Endpoint, EndpointState, Transport
from agenthub.domain.event import ServerStatusChanged
from agenthub.domain.exceptions import InvalidError
from agenthub.domain.ids import EndpointId, InstanceId
from agenthub.domain.ports.outbound.clock import Clock
from agenthub.domain.ports.outbound.mcp_client import McpClient, McpListener
from agenthub.domain.services.announcer import Announcer
from agenthub.domain.services.directory import Directory
from agenthub.domain.services.instances.agreement import Agreement, named

_logger = logging.getLogger(__name__)


class InstanceKeeper(McpListener):
    """A resident. The servers' own addresses are connected by others.

    A server that is disabled, renamed, changed or removed takes its instances along: the
    directory tells. Instances whose tools come to differ are found out when their lists are read.
    """

    def __init__(
        self, *, announcer: Announcer, client: McpClient, clock: Clock, directory: Directory
    ) -> None:
        self._announcer = announcer
        self._client = client
        self._clock = clock
        self._directory = directory
        self._agreement = Agreement(client=client, directory=directory)
        self._transports: dict[EndpointId, dict[InstanceId, Transport]] = {}
        self._connected: dict[EndpointId, dict[InstanceId, Endpoint]] = {}
        self._differing: dict[EndpointId, dict[InstanceId, tuple[str, ...]]] = {}
        self._odd: set[InstanceId] = set()
        self._faults: dict[InstanceId, str] = {}
        self._turns: WeakValueDictionary[EndpointId, asyncio.Lock] = WeakValueDictionary()
        self._tasks = asyncio.TaskGroup()
        self._running: set[asyncio.Task[None]] = set()
        self._is_alive = False
        directory.listen(self._on_directory)

    async def __aenter__(self) -> Self:
        await self._tasks.__aenter__()
        self._is_alive = True
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._is_alive = False
        for task in self._running:
            task.cancel()
        # The error of the block belongs to whoever raised it, not into a group of errors.
        await self._tasks.__aexit__(None, None, None)

    def agrees(self, instance_id: InstanceId) -> bool:
        """Say whether its tools are those of its server, as far as is known.

        One that does not agree must get no calls, however few others there are.
        """
        return instance_id not in self._odd

    def usable(self, instance_id: InstanceId) -> bool:
        """Say whether an instance may be chosen beside others: it agrees, and is connected now."""
        if instance_id in self._odd:
            return False
        return self._client.state(instance_id).status is ConnectionStatus.READY

    def differing(self, instance_id: InstanceId, endpoint_id: EndpointId) -> str | None:
        """Say in which tools an instance differs from its server, None where in none."""
        tools = self._differing.get(endpoint_id, {}).get(instance_id)
        return None if tools is None else _oddity(tools)

    def transport(self, instance_id: InstanceId, endpoint_id: EndpointId) -> Transport | None:
        """Give the transport of a further instance."""
        return self._transports.get(endpoint_id, {}).get(instance_id)

    def fault(self, instance_id: InstanceId) -> str | None:
        """Say why an instance cannot even be tried, None where it can."""
        return self._faults.get(instance_id)

    def difference(self, endpoint_id: EndpointId, candidate: EndpointId) -> tuple[str, ...]:
        """Name the tools in which a connected candidate differs from the endpoint's instances."""
        return self._agreement.difference(endpoint_id, candidate)

    def keep(self, endpoint_id: EndpointId, instance_id: InstanceId, transport: Transport) -> None:
        """Take note of a further instance; `align` connects it."""
        self._transports.setdefault(endpoint_id, {})[instance_id] = transport

    def adopt(self, endpoint_id: EndpointId, trial: Endpoint) -> None:
        """Take over a candidate that is connected already."""
        instance_id = InstanceId(trial.id)
        self.keep(endpoint_id, instance_id, trial.transport)
        self._connected.setdefault(endpoint_id, {})[instance_id] = trial

    def drop(self, endpoint_id: EndpointId, instance_id: InstanceId) -> None:
        """Keep an instance no longer; `align` disconnects it."""
        self._transports.get(endpoint_id, {}).pop(instance_id, None)

    async def align(self, endpoint_id: EndpointId) -> None:
        """Connect and disconnect what is needed for the endpoint as it is now."""
        async with self._turns.setdefault(endpoint_id, asyncio.Lock()):
            wanted = self._wanted(endpoint_id)
            kept = self._connected.setdefault(endpoint_id, {})
            for instance_id in [one for one in kept if one not in wanted]:
                del kept[instance_id]
                self._agreement.forget(instance_id)
                await self._client.disconnect(instance_id)
            for instance_id, endpoint in wanted.items():
                former = kept.get(instance_id)
                if former is None or _ways(former) != _ways(endpoint):
                    kept[instance_id] = endpoint
                    await self._client.connect(endpoint)
            self._judge(endpoint_id)
            if self._directory.endpoint(endpoint_id) is None:
                self._forget(endpoint_id)

    def on_state(self, endpoint: Endpoint, state: EndpointState) -> None:
        self._on_news(endpoint)

    def on_catalog(self, endpoint: Endpoint, kinds: tuple[ItemKind, ...]) -> None:
        if ItemKind.TOOLS in kinds:
            self._on_news(endpoint)

    def on_resource_updated(self, endpoint: Endpoint, uri: str) -> None:
        """A resource's content says nothing of the tools."""

    def _on_news(self, endpoint: Endpoint) -> None:
        instance = self._directory.instance(InstanceId(endpoint.id))
        if instance is not None:  # else it is connected on trial
            self._judge(instance.endpoint_id)

    def _on_directory(self, endpoint_ids: frozenset[EndpointId]) -> None:
        for endpoint_id in endpoint_ids & self._transports.keys() if self._is_alive else ():
            task = self._tasks.create_task(self._follow(endpoint_id), name="instances")
            self._running.add(task)
            task.add_done_callback(self._running.discard)

    async def _follow(self, endpoint_id: EndpointId) -> None:
        """Align; a fault of one server stays with it."""
        try:
            await self.align(endpoint_id)
        except Exception:
            _logger.exception("instances could not be aligned", extra={"server": endpoint_id})

    def _wanted(self, endpoint_id: EndpointId) -> dict[InstanceId, Endpoint]:
        endpoint = self._directory.endpoint(endpoint_id)
        wanted: dict[InstanceId, Endpoint] = {}
        if endpoint is None or not endpoint.enabled:
            return wanted
        for instance_id, transport in self._transports.get(endpoint_id, {}).items():
            try:
                wanted[instance_id] = derived(endpoint, instance_id, transport)
                self._faults.pop(instance_id, None)
            except InvalidError as error:
                self._faults[instance_id] = error.message
        return wanted

    def _judge(self, endpoint_id: EndpointId) -> None:
        """Find out anew which instances differ, and tell of those that have not done so before."""
        former = self._differing.pop(endpoint_id, {})
        if len(self._directory.instances(endpoint_id)) > 1:
            self._differing[endpoint_id] = self._agreement.differing(endpoint_id)
        differing = self._differing.get(endpoint_id, {})
        self._odd = (self._odd - former.keys()) | differing.keys()
        for instance_id in differing.keys() - former.keys():
            self._tell(endpoint_id, instance_id, differing[instance_id])

    def _tell(
        self, endpoint_id: EndpointId, instance_id: InstanceId, tools: tuple[str, ...]
    ) -> None:
        endpoint = self._directory.endpoint(endpoint_id)
        if endpoint is None:
            return
        self._announcer.say(
            ServerStatusChanged(
                workspace=endpoint.workspace,
                at=self._clock.now(),
                endpoint_id=endpoint_id,
                server=endpoint.name,
                status=self._client.state(endpoint_id).status.value,
                detail=f"Instance {instance_id} gets no calls: {_oddity(tools)}",
            )
        )

    def _forget(self, endpoint_id: EndpointId) -> None:
        for instance_id in self._transports.pop(endpoint_id, {}):
            self._faults.pop(instance_id, None)
        self._connected.pop(endpoint_id, None)
        self._agreement.forget(InstanceId(endpoint_id))


def derived(endpoint: Endpoint, instance_id: InstanceId, transport: Transport) -> Endpoint:
    """Give an instance the look of an endpoint. Raises InvalidError."""
    return replace(endpoint, id=EndpointId(instance_id), transport=transport)


def _ways(endpoint: Endpoint) -> tuple[object, ...]:
    """Everything of an endpoint that its connection depends on."""
    return (endpoint.transport, endpoint.era, endpoint.name)


def _oddity(tools: tuple[str, ...]) -> str:
    return f"its tools differ from those of its server: {named(tools)}"
