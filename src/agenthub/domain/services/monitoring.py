"""Looking after every server: is it there, also when nobody calls it?"""

import asyncio
import logging
import math
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from agenthub.domain.entities.catalog.listing import ItemKind
from agenthub.domain.entities.endpoints import ConnectionStatus, Endpoint, EndpointState
from agenthub.domain.entities.identity import OWNER
from agenthub.domain.entities.monitoring import Health, HealthMonitor, HealthState, next_in_s
from agenthub.domain.entities.resilience.policy import GatewayPolicy, HealthPolicy
from agenthub.domain.event import ServerStatusChanged
from agenthub.domain.exceptions import HubError
from agenthub.domain.ids import EndpointId, InstanceId
from agenthub.domain.ports.outbound.clock import Chance, Clock
from agenthub.domain.ports.outbound.mcp_client import McpClient, McpListener
from agenthub.domain.services.announcer import Announcer
from agenthub.domain.services.directory import Directory

MAX_AT_ONCE = 8
MAX_DETAIL_CHARS = 300
UNWATCHED = Health()

Pause = Callable[[float, asyncio.Event], Awaitable[None]]
"""Waits so many seconds, or until the event is set."""

_logger = logging.getLogger(__name__)


async def pause(seconds: float, wake: asyncio.Event) -> None:
    """Wait by the loop's own clock."""
    try:
        async with asyncio.timeout(seconds):
            await wake.wait()
    except TimeoutError:
        pass


@dataclass(slots=True, eq=False)
class _Watch:
    """One instance under watch. `last_at` is when it last answered or was asked, by `share`
    of an interval more or less the next time is reckoned from there.
    """

    id: InstanceId
    endpoint: Endpoint
    monitor: HealthMonitor
    share: float
    last_at: float
    fault: str | None = None
    task: asyncio.Task[None] | None = None
    wake: asyncio.Event = field(default_factory=asyncio.Event)


class HealthService(McpListener):
    """A resident. Every instance of an enabled endpoint has a task that probes it in its own time.

    Whoever has just answered a call is not probed; no more than `MAX_AT_ONCE` are at the same
    time. No transaction is open meanwhile.
    """

    def __init__(
        self,
        *,
        announcer: Announcer,
        chance: Chance,
        client: McpClient,
        clock: Clock,
        directory: Directory,
        listen_to_policies: Callable[[Callable[[], None]], None],
        policy_of: Callable[[EndpointId], GatewayPolicy],
        pause: Pause = pause,
    ) -> None:
        self._announcer = announcer
        self._chance = chance
        self._client = client
        self._clock = clock
        self._directory = directory
        self._policy_of = policy_of
        self._pause = pause
        self._watches: dict[InstanceId, _Watch] = {}
        self._slots = asyncio.Semaphore(MAX_AT_ONCE)
        self._tasks = asyncio.TaskGroup()
        self._is_alive = False
        directory.listen(self._on_change)
        listen_to_policies(self._on_policies)

    async def __aenter__(self) -> Self:
        await self._tasks.__aenter__()
        self._is_alive = True
        self._on_change(frozenset(e.id for e in self._directory.endpoints(OWNER.workspace)))
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._is_alive = False
        for watch in list(self._watches.values()):
            self._end(watch)
        # The error of the block belongs to whoever raised it, not into a group of errors.
        await self._tasks.__aexit__(None, None, None)

    def state(self, instance_id: EndpointId) -> HealthState:
        """Say how an instance is; UNKNOWN for one that is not watched."""
        return self.health(instance_id).state

    def health(self, instance_id: EndpointId) -> Health:
        """Say how an instance is, and why the last probe of it failed, if it did."""
        watch = self._watches.get(InstanceId(instance_id))
        return UNWATCHED if watch is None else Health(watch.monitor.state, watch.fault)

    def note_success(self, instance_id: EndpointId) -> None:
        """A call was answered: that is as good as a probe, and puts off the next one."""
        watch = self._watches.get(InstanceId(instance_id))
        if watch is None:
            return
        watch.last_at = self._clock.monotonic()
        if watch.monitor.wavers or watch.monitor.state is not HealthState.HEALTHY:
            self._record(watch, None)

    def on_state(self, endpoint: Endpoint, state: EndpointState) -> None:
        """A new connection's greeting counts as a probe; one that was down is asked again now."""
        watch = self._watches.get(InstanceId(endpoint.id))
        if watch is None or state.status is not ConnectionStatus.READY:
            return
        self.note_success(endpoint.id)
        if watch.monitor.state is HealthState.UNHEALTHY:
            watch.last_at = -math.inf
            watch.wake.set()

    def on_catalog(self, endpoint: Endpoint, kinds: tuple[ItemKind, ...]) -> None:
        """What a server offers says nothing of its health."""

    def on_resource_updated(self, endpoint: Endpoint, uri: str) -> None:
        """What a server offers says nothing of its health."""

    def _on_change(self, endpoint_ids: frozenset[EndpointId]) -> None:
        for endpoint_id in endpoint_ids if self._is_alive else ():
            endpoint = self._directory.endpoint(endpoint_id)
            wanted = self._instances_of(endpoint)
            for watch in [w for w in self._watches.values() if w.endpoint.id == endpoint_id]:
                if endpoint is None or watch.id not in wanted or _is_new(watch.endpoint, endpoint):
                    self._end(watch)
                else:
                    watch.endpoint = endpoint
            for instance_id in wanted - self._watches.keys():
                if endpoint is not None:
                    self._begin(instance_id, endpoint)

    def _on_policies(self) -> None:
        """Go by the policies as they are now."""
        for watch in self._watches.values():
            watch.wake.set()

    def _instances_of(self, endpoint: Endpoint | None) -> frozenset[InstanceId]:
        if endpoint is None or not endpoint.enabled:
            return frozenset()
        return frozenset(instance.id for instance in self._directory.instances(endpoint.id))

    def _begin(self, instance_id: InstanceId, endpoint: Endpoint) -> None:
        """Watch an instance, the first time at any moment of an interval."""
        policy = self._policy_of(endpoint.id).health
        share = self._chance.share()
        watch = self._watches[instance_id] = _Watch(
            id=instance_id,
            endpoint=endpoint,
            monitor=_monitor(policy),
            share=share,
            last_at=self._clock.monotonic() - policy.interval_s * share,
        )
        name = f"health:{endpoint.name}"
        watch.task = self._tasks.create_task(self._look_after(watch), name=name)

    def _end(self, watch: _Watch) -> None:
        del self._watches[watch.id]
        if watch.task is not None:
            watch.task.cancel()

    async def _look_after(self, watch: _Watch) -> None:
        """Probe at its times until cancelled."""
        while True:
            policy = self._policy_of(watch.endpoint.id).health
            if not policy.enabled:
                watch.monitor, watch.fault = _monitor(policy), None
                await watch.wake.wait()
                watch.wake.clear()
                continue
            watch.monitor.use(down_after=policy.down_after, up_after=policy.up_after)
            due_in_s = self._due_in_s(watch, policy)
            if due_in_s > 0:
                await self._pause(due_in_s, watch.wake)
                watch.wake.clear()
                continue
            async with self._slots:
                await self._probe(watch, policy.timeout_s)

    def _due_in_s(self, watch: _Watch, policy: HealthPolicy) -> float:
        now = self._clock.monotonic()
        down_for_s = watch.monitor.down_for_s(now)
        rest_s = next_in_s(policy.interval_s, share=watch.share, down_for_s=down_for_s)
        return watch.last_at + rest_s - now

    async def _probe(self, watch: _Watch, timeout_s: float) -> None:
        """Probe once and note the outcome. Raises nothing."""
        fault: str | None = None
        says_nothing = False
        try:
            says_nothing = not await self._client.probe(watch.id, timeout_s)
        except HubError as error:
            fault = error.message
        except Exception:
            _logger.exception("a probe broke", extra={"server": watch.endpoint.name})
            fault = "The hub failed to probe it; its log says more."
        watch.share = self._chance.share()
        watch.last_at = self._clock.monotonic()
        if not says_nothing:
            self._record(watch, fault)

    def _record(self, watch: _Watch, fault: str | None) -> None:
        before = watch.monitor.state
        watch.fault = fault
        change = watch.monitor.record(fault is None, self._clock.monotonic())
        if change is not None and HealthState.UNHEALTHY in (before, change):
            self._announcer.say(
                ServerStatusChanged(
                    workspace=watch.endpoint.workspace,
                    at=self._clock.now(),
                    endpoint_id=watch.endpoint.id,
                    server=watch.endpoint.name,
                    status=change.value,
                    detail=None if fault is None else fault[:MAX_DETAIL_CHARS],
                    instance=None if watch.id == watch.endpoint.id else watch.id,
                )
            )


def _monitor(policy: HealthPolicy) -> HealthMonitor:
    return HealthMonitor(down_after=policy.down_after, up_after=policy.up_after)


def _is_new(former: Endpoint, endpoint: Endpoint) -> bool:
    return (former.transport, former.era) != (endpoint.transport, endpoint.era)
