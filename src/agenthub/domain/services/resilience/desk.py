"""Looking at the gateway, and moving its breakers by hand."""

import logging
from dataclasses import dataclass
from enum import StrEnum

from agenthub.domain.entities.endpoints import Endpoint
from agenthub.domain.entities.identity import Principal, Scope
from agenthub.domain.entities.instances import Instance
from agenthub.domain.entities.resilience.circuit_breaker import Snapshot
from agenthub.domain.entities.resilience.policy import GatewayPolicy, RateLimit
from agenthub.domain.exceptions import DeniedError, NotFoundError
from agenthub.domain.ids import InstanceId
from agenthub.domain.ports.outbound.clock import Clock
from agenthub.domain.services.directory import Directory
from agenthub.domain.services.endpoints import EndpointService
from agenthub.domain.services.policies import PolicyService
from agenthub.domain.services.resilience.gateway import Gateway
from agenthub.domain.services.resilience.instances import InstanceGuard
from agenthub.domain.services.resilience.stats import CallStats, Series

_logger = logging.getLogger(__name__)

MAX_SERVERS = 10_000


class Lever(StrEnum):
    """What an operator may do with breakers; RESET ends the other two and forgets all failures."""

    RESET = "reset"
    FORCE_OPEN = "force-open"
    DISABLE = "disable"


@dataclass(frozen=True, slots=True)
class InstanceGate:
    """The guards of one instance as they are now.

    `outstanding` counts those too that wait for a place or ask a person.
    """

    instance: Instance
    breaker: Snapshot
    in_flight: int
    queued: int
    outstanding: int
    paused_for_s: float


@dataclass(frozen=True, slots=True)
class ToolGate:
    """A tool's breaker at one instance."""

    tool: str
    instance_id: InstanceId
    breaker: Snapshot


@dataclass(frozen=True, slots=True)
class Limiter:
    limit: RateLimit
    tokens: float


@dataclass(frozen=True, slots=True)
class ServerGate:
    """All guards of one server as they are now."""

    endpoint: Endpoint
    policy: GatewayPolicy
    instances: tuple[InstanceGate, ...]
    tools: tuple[ToolGate, ...]
    limiter: Limiter | None


class GatewayDesk:
    """For people and their tools; calls never come here."""

    def __init__(
        self,
        *,
        clock: Clock,
        directory: Directory,
        endpoints: EndpointService,
        gateway: Gateway,
        policies: PolicyService,
        stats: CallStats,
    ) -> None:
        self._clock = clock
        self._directory = directory
        self._endpoints = endpoints
        self._gateway = gateway
        self._policies = policies
        self._stats = stats

    async def show(self, principal: Principal, id_or_name: str) -> ServerGate:
        """Look at one server. Raises NotFoundError."""
        report = await self._endpoints.get(principal, id_or_name)
        return self._show(principal, report.endpoint)

    async def page(
        self, principal: Principal, *, limit: int, after: str | None
    ) -> list[ServerGate]:
        """Look at the servers, by name."""
        reports = await self._endpoints.page(principal, limit=limit, after=after)
        return [self._show(principal, report.endpoint) for report in reports]

    async def calls(self, principal: Principal) -> list[tuple[tuple[str, str, str], Series]]:
        """Give the counts of calls to the servers that the principal sees."""
        reports = await self._endpoints.page(principal, limit=MAX_SERVERS, after=None)
        visible = {report.endpoint.name for report in reports}
        return [found for found in self._stats.series.items() if found[0][0] in visible]

    async def move(
        self, principal: Principal, id_or_name: str, lever: Lever, instance: str | None = None
    ) -> ServerGate:
        """Move the breakers of one instance, or of all. Raises NotFoundError, DeniedError."""
        now = self._clock.monotonic()
        endpoint, guards = await self._guards(principal, id_or_name, instance)
        for guard in guards:
            match lever:
                case Lever.RESET:
                    guard.reset(now)
                case Lever.FORCE_OPEN:
                    guard.force_open(now)
                case Lever.DISABLE:
                    guard.disable(now)
        facts = {"server": endpoint.name, "server_id": endpoint.id, "lever": lever.value}
        _logger.info(
            "an operator moved breakers",
            extra={**facts, "instance": instance or "all", "subject": principal.subject},
        )
        return self._show(principal, endpoint)

    async def _guards(
        self, principal: Principal, id_or_name: str, instance: str | None
    ) -> tuple[Endpoint, list[InstanceGuard]]:
        principal.require(Scope.HUB_WRITE)
        endpoint = (await self._endpoints.get(principal, id_or_name)).endpoint
        if principal.group is not None:
            raise DeniedError("A key bound to a group cannot move breakers.", code="group_bound")
        guards = self._gateway.server(endpoint.id).guards
        chosen = [guard for guard in guards if instance in (None, guard.id)]
        if not chosen:
            text = f"The server {endpoint.name!r} has no instance {instance!r}."
            raise NotFoundError(text, code="instance_not_found")
        return endpoint, chosen

    def _show(self, principal: Principal, endpoint: Endpoint) -> ServerGate:
        now = self._clock.monotonic()
        server = self._gateway.server(endpoint.id)
        policy = self._policies.of(endpoint.id)
        instances: list[InstanceGate] = []
        tools: list[ToolGate] = []
        for instance in self._directory.instances(endpoint.id):
            guard = server.guard(instance.id)
            if guard is None:
                continue
            instances.append(
                InstanceGate(
                    instance,
                    guard.snapshot(now),
                    guard.slots.in_flight,
                    guard.slots.queued,
                    guard.outstanding,
                    max(0.0, guard.paused_until - now),
                )
            )
            shots = guard.tool_snapshots(now)
            tools += [ToolGate(tool, instance.id, shots[tool]) for tool in sorted(shots)]
        tools = [gate for gate in tools if self._may_see(principal, endpoint, gate.tool)]
        limit, tokens = policy.rate_limit, server.limits.tokens(policy.rate_limit, now)
        limiter = None if limit is None or tokens is None else Limiter(limit, tokens)
        return ServerGate(endpoint, policy, tuple(instances), tuple(tools), limiter)

    def _may_see(self, principal: Principal, endpoint: Endpoint, tool: str) -> bool:
        """Say whether a tool is among those that the key's group has chosen."""
        if principal.group is None:
            return True
        group = self._directory.group(principal.group)
        member = None if group is None else group.member(endpoint.id)
        return member is not None and (member.tools is None or tool in member.tools)
