"""Registering servers, changing them, and keeping their connections in step."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any
from weakref import WeakValueDictionary

from agenthub.domain.entities.endpoints import (
    ConnectionStatus,
    Endpoint,
    EndpointState,
    Era,
    EraChoice,
    HttpTransport,
    StdioTransport,
    Transport,
)
from agenthub.domain.entities.identity import OWNER, Principal, Scope
from agenthub.domain.entities.monitoring import Health, HealthState
from agenthub.domain.event import ServerStatusChanged
from agenthub.domain.exceptions import DeniedError, NotFoundError, UpstreamError
from agenthub.domain.ids import EndpointId
from agenthub.domain.ports.outbound.clock import Clock, IdFactory
from agenthub.domain.ports.outbound.mcp_client import McpClient
from agenthub.domain.ports.outbound.storage.unit_of_work import Transaction, UnitOfWork
from agenthub.domain.services.diagnosis import Finding, findings_of
from agenthub.domain.services.directory import Directory

PAGE = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointDraft:
    """What a person says of a server that is to be registered."""

    name: str
    transport: Transport
    era: EraChoice = EraChoice.AUTO
    tags: tuple[str, ...] = ()
    enabled: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointPatch:
    """What is to change; None leaves a field as it is."""

    name: str | None = None
    transport: Transport | None = None
    era: EraChoice | None = None
    tags: tuple[str, ...] | None = None
    enabled: bool | None = None


@dataclass(frozen=True, slots=True)
class EndpointReport:
    """An endpoint with how it is doing and how much it offers."""

    endpoint: Endpoint
    state: EndpointState
    counts: dict[str, int]
    flags: tuple[str, ...]
    health: HealthState = HealthState.UNKNOWN


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """A report with what is wrong, and the last lines a stdio server wrote to stderr."""

    report: EndpointReport
    findings: tuple[Finding, ...]
    output: tuple[str, ...]


class EndpointService:
    """The registry. Starting a program of the machine needs the admin scope, on every path."""

    def __init__(
        self,
        *,
        client: McpClient,
        clock: Clock,
        directory: Directory,
        health_of: Callable[[EndpointId], Health],
        ids: IdFactory,
        settle_timeout_s: float,
        uow: UnitOfWork,
    ) -> None:
        self._client = client
        self._clock = clock
        self._directory = directory
        self._health_of = health_of
        self._ids = ids
        self._settle_timeout_s = settle_timeout_s
        self._uow = uow
        self._turns: WeakValueDictionary[EndpointId, asyncio.Lock] = WeakValueDictionary()

    async def load(self) -> None:
        """Read all endpoints of the workspace and begin to connect them. Waits for none."""
        after = None
        while True:
            async with self._uow.read(OWNER) as stored:
                page = await stored.endpoints.page(limit=PAGE, after=after)
            for endpoint in page:
                self._directory.put_endpoint(endpoint)
                if endpoint.enabled:
                    await self._client.connect(endpoint)
            if len(page) < PAGE:
                return
            after = page[-1].name

    async def register(
        self, principal: Principal, draft: EndpointDraft, *, verify: bool = False
    ) -> EndpointReport:
        """Keep a new server, connect it, and report once the first attempt has ended.

        With `verify` a server that does not become ready is not kept: UpstreamError with its
        last error. Raises InvalidError, ConflictError, DeniedError.
        """
        may_change(principal, draft.transport)
        now = self._clock.now()
        endpoint = Endpoint(
            id=EndpointId(self._ids.new()),
            workspace=principal.workspace,
            name=draft.name,
            transport=draft.transport,
            era=draft.era,
            tags=draft.tags,
            enabled=draft.enabled,
            created_at=now,
            updated_at=now,
        )
        if verify:
            await self._verify(principal, endpoint)
        async with self._uow.begin(principal) as tx:
            await tx.endpoints.add(endpoint)
            self._announce(tx, endpoint, "registered")
            await tx.commit()
        self._directory.put_endpoint(endpoint)
        if endpoint.enabled:
            await self._client.connect(endpoint)
        return await self._settled(endpoint)

    async def page(
        self, principal: Principal, *, limit: int, after: str | None
    ) -> list[EndpointReport]:
        """List by name; `after` is the last name of the page before."""
        principal.require(Scope.HUB_READ)
        mine = [e for e in self._visible(principal) if after is None or e.name > after]
        return [self._report(endpoint) for endpoint in mine[:limit]]

    async def get(self, principal: Principal, id_or_name: str) -> EndpointReport:
        """Report one endpoint. Raises NotFoundError."""
        principal.require(Scope.HUB_READ)
        return self._report(self.find(principal, id_or_name))

    def find(self, principal: Principal, id_or_name: str) -> Endpoint:
        """Give an endpoint that the principal may see. Checks no scope. Raises NotFoundError."""
        for endpoint in self._visible(principal):
            if id_or_name in (endpoint.id, endpoint.name):
                return endpoint
        raise _not_found(id_or_name)

    async def update(
        self,
        principal: Principal,
        id_or_name: str,
        change: Callable[[Endpoint], EndpointPatch],
    ) -> EndpointReport:
        """Apply `change` to the endpoint as stored, reconnect it where that is needed.

        Raises NotFoundError, InvalidError, ConflictError, DeniedError; then nothing changed.
        """
        endpoint_id = self._changeable(principal, id_or_name).id
        async with self._turn(endpoint_id):
            endpoint = await self._update(principal, endpoint_id, change)
        return await self._settled(endpoint)

    async def _update(
        self,
        principal: Principal,
        endpoint_id: EndpointId,
        change: Callable[[Endpoint], EndpointPatch],
    ) -> Endpoint:
        async with self._uow.begin(principal) as tx:
            stored = await tx.endpoints.find(endpoint_id)
            if stored is None:
                raise _not_found(endpoint_id)
            patch = change(stored)
            given = {
                "name": patch.name,
                "transport": patch.transport,
                "era": patch.era,
                "tags": patch.tags,
                "enabled": patch.enabled,
            }
            changes: dict[str, Any] = {k: v for k, v in given.items() if v is not None}
            endpoint = replace(stored, **changes, updated_at=self._clock.now())
            may_change(principal, stored.transport)
            may_change(principal, endpoint.transport)
            await tx.endpoints.save(endpoint)
            if not endpoint.enabled:
                self._announce(tx, endpoint, ConnectionStatus.DISABLED.value)
            await tx.commit()
        self._directory.put_endpoint(endpoint)
        await self._reconnect(stored, endpoint)
        return endpoint

    async def remove(self, principal: Principal, id_or_name: str) -> None:
        """Close and forget a server. Raises NotFoundError."""
        endpoint = self._changeable(principal, id_or_name)
        async with self._turn(endpoint.id):
            async with self._uow.begin(principal) as tx:
                await tx.endpoints.remove(endpoint.id)
                self._announce(tx, endpoint, "removed")
                await tx.commit()
            self._directory.drop_endpoint(endpoint.id)
            await self._client.disconnect(endpoint.id)

    async def refresh(self, principal: Principal, id_or_name: str) -> EndpointReport:
        """Read the server's lists again, or try to reach it again, and report."""
        principal.require(Scope.HUB_WRITE)
        endpoint = self.find(principal, id_or_name)
        if endpoint.enabled:
            await self._client.refresh(endpoint.id)
        return self._report(endpoint)

    def diagnose(self, principal: Principal, id_or_name: str) -> Diagnosis:
        """Say what is wrong with a server. Its output is shown to admins only: it may tell more."""
        principal.require(Scope.HUB_READ)
        report = self._report(self.find(principal, id_or_name))
        health = self._health_of(report.endpoint.id)
        findings = findings_of(report.endpoint, report.state, report.counts, report.flags, health)
        may_read = principal.allows(Scope.ADMIN)
        output = self._client.output_tail(report.endpoint.id) if may_read else []
        return Diagnosis(report, findings, tuple(output))

    async def _verify(self, principal: Principal, endpoint: Endpoint) -> None:
        """Connect on trial and leave nothing behind. Raises ConflictError, UpstreamError."""
        async with self._uow.begin(principal) as tx:
            await tx.endpoints.add(endpoint)
        try:
            await self._client.connect(endpoint)
            state = await self._client.settled(endpoint.id, self._settle_timeout_s)
        finally:
            await self._client.disconnect(endpoint.id)
        if state.status is not ConnectionStatus.READY:
            reason = state.last_error or "it did not answer in time"
            raise UpstreamError(
                f"The server {endpoint.name!r} was not registered: {reason}",
                code="server_unreachable",
            )

    async def _reconnect(self, former: Endpoint, endpoint: Endpoint) -> None:
        same = (former.transport, former.era, former.enabled, former.name)
        if same == (endpoint.transport, endpoint.era, endpoint.enabled, endpoint.name):
            return
        if endpoint.enabled:
            await self._client.connect(endpoint)
        else:
            await self._client.disconnect(endpoint.id)

    async def _settled(self, endpoint: Endpoint) -> EndpointReport:
        if endpoint.enabled:
            await self._client.settled(endpoint.id, self._settle_timeout_s)
        return self._report(endpoint)

    def _report(self, endpoint: Endpoint) -> EndpointReport:
        state = self._client.state(endpoint.id)
        catalog = self._client.catalog(endpoint.id, Era.MODERN)
        health = self._health_of(endpoint.id).state
        return EndpointReport(endpoint, state, catalog.counts(), catalog.flags, health)

    def _visible(self, principal: Principal) -> list[Endpoint]:
        mine = self._directory.endpoints(principal.workspace)
        if principal.group is None:
            return mine
        group = self._directory.group(principal.group)
        return [e for e in mine if group is not None and group.member(e.id) is not None]

    def _turn(self, endpoint_id: EndpointId) -> asyncio.Lock:
        """One change of an endpoint at a time, so that what is stored is what is connected."""
        return self._turns.setdefault(endpoint_id, asyncio.Lock())

    def _changeable(self, principal: Principal, id_or_name: str) -> Endpoint:
        principal.require(Scope.HUB_WRITE)
        endpoint = self.find(principal, id_or_name)
        refuse_bound(principal)
        return endpoint

    def _announce(self, tx: Transaction, endpoint: Endpoint, status: str) -> None:
        tx.emit(
            ServerStatusChanged(
                workspace=endpoint.workspace,
                at=self._clock.now(),
                endpoint_id=endpoint.id,
                server=endpoint.name,
                status=status,
            )
        )


def _not_found(id_or_name: str) -> NotFoundError:
    return NotFoundError(f"There is no server {id_or_name!r}.", code="server_not_found")


def may_change(principal: Principal, transport: Transport) -> None:
    """Check the scope. A stdio server is code run on this machine, so it takes an admin."""
    match transport:
        case StdioTransport():
            if not principal.allows(Scope.ADMIN):
                raise DeniedError(
                    "Only an admin may register or change a server that starts a program.",
                    code="stdio_needs_admin",
                )
        case HttpTransport():
            principal.require(Scope.HUB_WRITE)
    refuse_bound(principal)


def refuse_bound(principal: Principal) -> None:
    """Raise DeniedError for a key that is bound to a group."""
    if principal.group is not None:
        raise DeniedError("A key bound to a group cannot change servers.", code="group_bound")
