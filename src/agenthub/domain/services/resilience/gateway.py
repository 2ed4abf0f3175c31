"""The gateway: every request to a server passes its guards, in one order, whatever the entrance.

quota -> rate limit -> deadline -> bulkhead -> breakers -> the server, with retries around the
last three. Whoever waits for a person holds none of them.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from datetime import timedelta
from typing import Any

from agenthub.domain.entities.catalog.exposure import Target
from agenthub.domain.entities.catalog.listing import ItemKind
from agenthub.domain.entities.endpoints import ConnectionStatus, Endpoint, EndpointState, Era
from agenthub.domain.entities.resilience.circuit_breaker import Change, Reason, State
from agenthub.domain.entities.resilience.deadline import Deadline
from agenthub.domain.entities.resilience.policy import GatewayPolicy
from agenthub.domain.entities.resilience.retry import delay_s, may_repeat
from agenthub.domain.event import BreakerChanged
from agenthub.domain.exceptions import (
    HubError,
    NotConnectedError,
    OverLimitError,
    TimedOutError,
)
from agenthub.domain.ids import EndpointId, InstanceId
from agenthub.domain.ports.outbound.clock import Chance, Clock
from agenthub.domain.ports.outbound.mcp_client import (
    Answer,
    Caller,
    McpClient,
    McpListener,
    RawObject,
    UpstreamRequest,
)
from agenthub.domain.services.announcer import Announcer
from agenthub.domain.services.cost.ledger import LedgerService
from agenthub.domain.services.directory import Directory
from agenthub.domain.services.policies import PolicyService
from agenthub.domain.services.resilience.attempts import Attempt, InstanceWatch
from agenthub.domain.services.resilience.instances import InstanceGuard
from agenthub.domain.services.resilience.passage import LendingCaller, Passage
from agenthub.domain.services.resilience.servers import ServerGuard
from agenthub.domain.services.resilience.stats import CallStats
from agenthub.domain.services.resilience.tracing import CallTracing

READ_ONLY: Mapping[str, Any] = {"annotations": {"readOnlyHint": True}}
"""Prompts, resources and completions are read; repeating them changes nothing."""

_log = logging.getLogger(__name__)

Pause = Callable[[float], Awaitable[None]]


class Gateway(McpListener):
    """Keeps the guards of every server. Nothing here waits for the database."""

    def __init__(
        self,
        *,
        announcer: Announcer,
        chance: Chance,
        client: McpClient,
        clock: Clock,
        directory: Directory,
        ledger: LedgerService,
        policies: PolicyService,
        stats: CallStats,
        tracing: CallTracing,
        watch: InstanceWatch,
        pause: Pause = asyncio.sleep,
    ) -> None:
        self._announcer = announcer
        self._chance = chance
        self._client = client
        self._clock = clock
        self._directory = directory
        self._ledger = ledger
        self._pause = pause
        self._policies = policies
        self._stats = stats
        self._tracing = tracing
        self._watch = watch
        self._servers: dict[EndpointId, ServerGuard] = {}
        self._owners: dict[EndpointId, EndpointId] = {}
        self._ready: set[EndpointId] = set()
        directory.listen(self._on_directory)
        policies.listen(self._on_policies)

    def enter(self, subject: str, target: Target, tool: str | None, caller: Caller) -> Passage:
        """Check quota and rate limits of a call. Raises OverLimitError, NotConnectedError."""
        server = self.server(target.endpoint_id)
        own = self._policies.of(target.endpoint_id)
        policy = own if tool is None else self._policies.of(target.endpoint_id, tool)
        if policy.calls_per_day is not None:
            is_tools = policy.calls_per_day != own.calls_per_day
            self._check_quota(subject, target, tool if is_tools else None, policy.calls_per_day)
        now = self._clock.monotonic()
        server.limits.take(subject, tool, own, policy, now)
        deadline = Deadline(now, policy.timeout_s)
        client = caller.client if caller.era is Era.LEGACY else None
        return Passage(target, tool, policy, deadline, client)

    async def send(
        self, passage: Passage, method: str, params: RawObject, meta: RawObject, caller: Caller
    ) -> Answer:
        """Send one request; what failed in a way that repeating may mend is repeated.

        Raises HeldBackError, TimedOutError, and what `McpClient.request` raises.
        """
        server = self.server(passage.target.endpoint_id)
        server.retries.note_call(self._clock.monotonic())
        error: BaseException | None = None
        while True:
            attempt = await self._admitted_after(error, server, passage)
            error = None
            try:
                return await self._answered(attempt, method, params, meta, caller)
            except BaseException as raised:
                error = raised
                wait_s = self._retry_in_s(server, attempt, raised)
                if wait_s is None:
                    raise
            finally:
                attempt.end(error)
            await self._pause(wait_s)

    def in_flight(self, instance_id: InstanceId) -> int:
        """Count the calls of an instance, those that wait for a place or a person included."""
        server = self._servers.get(self._owners.get(instance_id, instance_id))
        guard = None if server is None else server.guard(instance_id)
        return 0 if guard is None else guard.outstanding

    def server(self, endpoint_id: EndpointId) -> ServerGuard:
        """Give a server's guards. Raises NotConnectedError for one that was removed."""
        server = self._servers.get(endpoint_id)
        if server is not None:
            return server
        endpoint = self._directory.endpoint(endpoint_id)
        if endpoint is None:
            raise NotConnectedError("This server is disabled or was removed.")
        instances = self._directory.instances(endpoint_id)
        server = self._servers[endpoint_id] = ServerGuard(
            endpoint,
            instances,
            self._policies.of(endpoint_id),
            chance=self._chance.share,
            is_equal=self._watch.is_equal,
            is_usable=self._watch.is_usable,
            news=self._on_breaker,
            now=self._clock.monotonic(),
        )
        self._owners |= {instance.id: endpoint_id for instance in instances}
        return server

    def on_state(self, endpoint: Endpoint, state: EndpointState) -> None:
        if state.status is not ConnectionStatus.READY:
            self._ready.discard(endpoint.id)
            return
        if endpoint.id in self._ready:
            return
        self._ready.add(endpoint.id)
        server = self._servers.get(self._owners.get(endpoint.id, endpoint.id))
        guard = None if server is None else server.guard(InstanceId(endpoint.id))
        if guard is not None:
            guard.welcome(self._clock.monotonic())

    def on_catalog(self, endpoint: Endpoint, kinds: tuple[ItemKind, ...]) -> None:
        """What a server offers changes no guard."""

    def on_resource_updated(self, endpoint: Endpoint, uri: str) -> None:
        """Nor do its resources."""

    async def _admitted_after(
        self, error: BaseException | None, server: ServerGuard, passage: Passage
    ) -> Attempt:
        """As `_admitted`; where a repetition is refused, what was sent before has failed."""
        try:
            return await self._admitted(server, passage)
        except HubError as refusal:
            if isinstance(error, HubError) and error.reached_server:
                raise error from refusal
            raise

    async def _admitted(self, server: ServerGuard, passage: Passage) -> Attempt:
        """Find an instance that takes the call now. Raises the refusal that ends first."""
        refusals: list[HubError] = []
        client = passage.client
        for guard in server.choose(client, passage.tried, self._clock.monotonic()):
            try:
                attempt = await self._admitted_at(guard, passage)
            except HubError as refusal:
                refusals.append(refusal)
                continue
            passage.instance = guard.id
            if client is not None:
                server.stick(client, guard.id)
            return attempt
        raise min(refusals, key=_retry_after)

    async def _admitted_at(self, guard: InstanceGuard, passage: Passage) -> Attempt:
        now = self._clock.monotonic()
        refusal = guard.refusal(now, passage.tool)
        if refusal is not None:
            raise refusal
        left_s = passage.deadline.left_s(now)
        if left_s <= 0:
            raise _late(passage)
        guard.outstanding += 1
        try:
            await guard.slots.take(guard.server, left_s)
            try:
                now = self._clock.monotonic()
                held = guard.begin(passage.tool, self._rules_of(passage).breaker, now)
            except BaseException:
                guard.slots.leave()
                raise
        except BaseException:
            guard.outstanding -= 1
            raise
        return Attempt(guard, held, passage, self._clock, now)

    def _rules_of(self, passage: Passage) -> GatewayPolicy:
        """Give the policy as it is now: it may have changed while the call waited."""
        return self._policies.of(passage.target.endpoint_id, passage.tool)

    async def _answered(
        self, attempt: Attempt, method: str, params: RawObject, meta: RawObject, caller: Caller
    ) -> Answer:
        lending = LendingCaller(caller, attempt.lend, attempt.take_back)
        target = attempt.passage.target
        with self._tracing.calling(method, attempt.passage.tool, target.server, meta) as step:
            request = UpstreamRequest(
                method=method, params=params, meta=step.meta, timeout_s=attempt.timeout_s
            )
            answer = await self._client.request(attempt.guard.id, request, lending)
            step.answered(answer)
        self._watch.note_success(attempt.guard.id)
        return answer

    def _retry_in_s(
        self, server: ServerGuard, attempt: Attempt, error: BaseException
    ) -> float | None:
        """Say how long to wait before the call is repeated, None where it must not be."""
        passage = attempt.passage
        policy = passage.policy.retry
        if not isinstance(error, HubError) or passage.retries >= policy.max_retries:
            return None
        passage.tried.add(attempt.guard.id)
        tool = READ_ONLY if passage.tool is None else self._definition(passage)
        is_trusted = passage.tool is None or passage.policy.trusted
        now = self._clock.monotonic()
        has_other = server.has_other(passage.tried, now)
        if attempt.held.is_probe and not has_other:
            return None
        if not may_repeat(error, tool=tool, policy=policy, trusted=is_trusted):
            return None
        floor_s = None if has_other else error.retry_after_s
        if floor_s is not None and floor_s > policy.max_delay_s:
            return None
        wait_s = delay_s(passage.retries + 1, policy, self._chance.share, floor_s)
        if wait_s >= passage.deadline.left_s(now) or not server.retries.may_retry(now):
            return None
        passage.retries += 1
        _log.info("a call is repeated", extra={"server": passage.target.server})
        return 0.0 if has_other and not error.reached_server else wait_s

    def _definition(self, passage: Passage) -> Mapping[str, Any] | None:
        for catalog in self._client.catalogs(passage.target.endpoint_id).values():
            for item in catalog.of(ItemKind.TOOLS):
                if item.key == passage.tool:
                    return item.definition
        return None

    def _check_quota(self, subject: str, target: Target, tool: str | None, per_day: int) -> None:
        if self._ledger.calls_today(subject, target.server, tool or "") < per_day:
            return
        now = self._clock.now()
        midnight = now.replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=1)
        what = f"The server {target.server!r}" if tool is None else f"The tool {tool!r}"
        raise OverLimitError(
            f"{what} may be called {per_day} times a day by each caller, and that is used up.",
            code="quota_exceeded",
            retry_after_s=(midnight - now).total_seconds(),
        )

    def _on_breaker(self, instance_id: InstanceId, tool: str, changes: list[Change]) -> None:
        endpoint_id = self._owners.get(instance_id, instance_id)
        server = self._servers.get(endpoint_id)
        if server is None:
            return
        guard = server.guard(instance_id)
        now = self._clock.monotonic()
        wait_s = None if guard is None or tool else guard.snapshot(now).retry_after_s
        for change in changes:
            _log_change(change, server.endpoint, instance_id, tool)
            self._announcer.say(
                BreakerChanged(
                    workspace=server.endpoint.workspace,
                    at=self._clock.now(),
                    endpoint_id=endpoint_id,
                    server=server.endpoint.name,
                    instance=instance_id,
                    tool=tool,
                    before=change.before.value,
                    state=change.state.value,
                    reason=change.reason,
                    retry_after_s=wait_s,
                )
            )

    def _on_directory(self, endpoint_ids: frozenset[EndpointId]) -> None:
        for endpoint_id in endpoint_ids & self._servers.keys():
            endpoint = self._directory.endpoint(endpoint_id)
            former = self._servers[endpoint_id].endpoint.name
            if endpoint is None or endpoint.name != former:
                self._stats.forget(former)
            for instance_id in [i for i, owner in self._owners.items() if owner == endpoint_id]:
                del self._owners[instance_id]
            if endpoint is None:
                del self._servers[endpoint_id]
                continue
            instances = self._directory.instances(endpoint_id)
            self._servers[endpoint_id].follow(endpoint, instances, self._clock.monotonic())
            self._owners |= {instance.id: endpoint_id for instance in instances}

    def _on_policies(self) -> None:
        for endpoint_id, server in self._servers.items():
            server.use(self._policies.of(endpoint_id))


def _retry_after(error: HubError) -> float:
    return float("inf") if error.retry_after_s is None else error.retry_after_s


def _log_change(change: Change, endpoint: Endpoint, instance_id: InstanceId, tool: str) -> None:
    """Log a breaker that opened or closed by itself; who moved one by hand, the desk logs."""
    if change.reason == Reason.OPERATOR or change.state not in (State.OPEN, State.CLOSED):
        return
    is_open = change.state is State.OPEN
    facts = {"server": endpoint.name, "server_id": endpoint.id, "instance": instance_id}
    _log.log(
        logging.WARNING if is_open else logging.INFO,
        "a breaker opened" if is_open else "a breaker closed",
        extra={**facts, "tool": tool, "reason": str(change.reason)},
    )


def _late(passage: Passage) -> HubError:
    return TimedOutError(
        f"The server {passage.target.server!r} did not answer within"
        f" {passage.policy.timeout_s:g} s."
    )
