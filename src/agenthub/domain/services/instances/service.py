"""Adding, weighing, draining and removing the instances of servers."""

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any
from weakref import WeakValueDictionary

from agenthub.domain.entities.endpoints import ConnectionStatus, Endpoint, EndpointState, Transport
from agenthub.domain.entities.identity import OWNER, Principal, Scope
from agenthub.domain.entities.instances import Instance
from agenthub.domain.event import ServerStatusChanged
from agenthub.domain.exceptions import ConflictError, InvalidError, NotFoundError, UpstreamError
from agenthub.domain.ids import EndpointId, InstanceId
from agenthub.domain.ports.outbound.clock import Clock, IdFactory
from agenthub.domain.ports.outbound.mcp_client import McpClient
from agenthub.domain.ports.outbound.storage.unit_of_work import Transaction, UnitOfWork
from agenthub.domain.services.directory import Directory
from agenthub.domain.services.endpoints import EndpointService, may_change, refuse_bound
from agenthub.domain.services.instances.agreement import named
from agenthub.domain.services.instances.keeper import InstanceKeeper, derived

MAX_INSTANCES = 64
LOOK_EVERY_S = 0.02

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceDraft:
    """What a person says of an instance that is to be added."""

    transport: Transport
    weight: int = 1
    priority: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class InstancePatch:
    """What is to change; None leaves a field as it is."""

    weight: int | None = None
    priority: int | None = None
    draining: bool | None = None


@dataclass(frozen=True, slots=True)
class InstanceReport:
    """An instance with how it is doing; `differs` says why it gets no calls, if it gets none."""

    instance: Instance
    transport: Transport
    state: EndpointState
    last_error: str | None
    differs: str | None


class InstanceService:
    """The register of instances. Starting a program of the machine needs the admin scope."""

    def __init__(
        self,
        *,
        client: McpClient,
        clock: Clock,
        directory: Directory,
        drain_timeout_s: float,
        endpoints: EndpointService,
        ids: IdFactory,
        keeper: InstanceKeeper,
        settle_timeout_s: float,
        uow: UnitOfWork,
    ) -> None:
        self._client = client
        self._clock = clock
        self._directory = directory
        self._drain_timeout_s = drain_timeout_s
        self._endpoints = endpoints
        self._ids = ids
        self._keeper = keeper
        self._settle_timeout_s = settle_timeout_s
        self._uow = uow
        self._turns: WeakValueDictionary[EndpointId, asyncio.Lock] = WeakValueDictionary()
        self._in_flight: Callable[[InstanceId], int] = lambda _: 0

    def count_calls(self, in_flight: Callable[[InstanceId], int]) -> None:
        """Learn to count the calls that an instance has under way; who sends them knows."""
        self._in_flight = in_flight

    async def load(self) -> None:
        """Read all instances and begin to connect them. Endpoints are loaded first."""
        async with self._uow.read(OWNER) as stored:
            rows = await stored.instances.all()
        of: dict[EndpointId, list[Instance]] = {}
        for instance, transport in rows:
            of.setdefault(instance.endpoint_id, []).append(instance)
            if transport is not None:
                self._keeper.keep(instance.endpoint_id, instance.id, transport)
        for endpoint_id, instances in of.items():
            self._directory.put_instances(endpoint_id, tuple(instances))
            await self._keeper.align(endpoint_id)

    def of(self, principal: Principal, id_or_name: str) -> list[InstanceReport]:
        """List the instances of a server, its own address first. Raises NotFoundError."""
        principal.require(Scope.HUB_READ)
        endpoint = self._endpoints.find(principal, id_or_name)
        return [self._report(endpoint, one) for one in self._directory.instances(endpoint.id)]

    def get(self, principal: Principal, id_or_name: str, instance_id: str) -> InstanceReport:
        """Report one instance. Raises NotFoundError."""
        principal.require(Scope.HUB_READ)
        endpoint = self._endpoints.find(principal, id_or_name)
        return self._report(endpoint, self._find(endpoint, instance_id))

    async def add(
        self, principal: Principal, id_or_name: str, draft: InstanceDraft
    ) -> InstanceReport:
        """Connect a candidate, compare its tools with its siblings', and keep it if they agree.

        Raises InvalidError (`instance_differs`), UpstreamError (`server_unreachable`),
        ConflictError, DeniedError, NotFoundError; then nothing is kept or left connected.
        """
        principal.require(Scope.HUB_WRITE)
        endpoint = self._endpoints.find(principal, id_or_name)
        may_change(principal, draft.transport)
        if len(self._directory.instances(endpoint.id)) >= MAX_INSTANCES:
            text = f"A server has at most {MAX_INSTANCES} instances; remove one first."
            raise ConflictError(text, code="too_many_instances")
        instance = Instance(
            id=InstanceId(EndpointId(self._ids.new())),
            workspace=endpoint.workspace,
            endpoint_id=endpoint.id,
            weight=draft.weight,
            priority=draft.priority,
            created_at=self._clock.now(),
        )
        trial = derived(endpoint, instance.id, draft.transport)
        async with self._on_trial(endpoint.id, trial), self._turn(endpoint.id):
            async with self._uow.begin(principal) as tx:
                await tx.instances.put(instance, draft.transport)
                self._announce(tx, endpoint, instance.id, "was added")
                await tx.commit()
            self._keeper.adopt(endpoint.id, trial)
            self._mirror(instance)
        await self._keeper.align(endpoint.id)
        return self._report(endpoint, instance)

    async def update(
        self, principal: Principal, id_or_name: str, instance_id: str, patch: InstancePatch
    ) -> InstanceReport:
        """Change how an instance takes part. Raises NotFoundError, InvalidError, DeniedError."""
        endpoint = self._changeable(principal, id_or_name)
        given = {"weight": patch.weight, "priority": patch.priority, "draining": patch.draining}
        changes: dict[str, Any] = {k: v for k, v in given.items() if v is not None}
        instance = await self._change(principal, endpoint, instance_id, changes, "was changed")
        return self._report(endpoint, instance)

    async def remove(self, principal: Principal, id_or_name: str, instance_id: str) -> None:
        """Let an instance finish its calls, then close and forget it.

        It takes no new calls from the beginning, and still takes none if the hub ends meanwhile.
        Raises NotFoundError, DeniedError, ConflictError (`own_instance`).
        """
        endpoint = self._changeable(principal, id_or_name)
        if self._find(endpoint, instance_id).is_own:
            raise ConflictError(
                "This is the server's own address; let it drain, or remove the server.",
                code="own_instance",
            )
        drain = {"draining": True}
        instance = await self._change(principal, endpoint, instance_id, drain, "is being drained")
        await self._drained(instance.id)
        async with self._turn(endpoint.id):
            async with self._uow.begin(principal) as tx:
                await tx.instances.remove(instance.id)
                self._announce(tx, endpoint, instance.id, "was removed")
                await tx.commit()
            self._keeper.drop(endpoint.id, instance.id)
            left = (i for i in self._directory.instances(endpoint.id) if i.id != instance.id)
            self._directory.put_instances(endpoint.id, tuple(left))
        await self._keeper.align(endpoint.id)

    @asynccontextmanager
    async def _on_trial(self, endpoint_id: EndpointId, trial: Endpoint) -> AsyncGenerator[None]:
        """Keep a candidate connected in the block if it will do; after an error it is gone."""
        try:
            await self._client.connect(trial)
            state = await self._client.settled(trial.id, self._settle_timeout_s)
            if state.status is not ConnectionStatus.READY:
                reason = state.last_error or "it did not answer in time"
                raise UpstreamError(
                    f"The instance of {trial.name!r} was not added: {reason}",
                    code="server_unreachable",
                )
            tools = self._keeper.difference(endpoint_id, trial.id)
            if tools:
                text = f"its tools differ from those of {trial.name!r}: {named(tools)}"
                raise InvalidError.at("transport", message=text, code="instance_differs")
            yield
        except BaseException:
            await self._client.disconnect(trial.id)
            raise

    async def _change(
        self,
        principal: Principal,
        endpoint: Endpoint,
        instance_id: str,
        changes: dict[str, Any],
        what: str,
    ) -> Instance:
        """Apply changes to the instance as stored; the own address is stored once it has any."""
        known = self._find(endpoint, instance_id)
        async with self._turn(endpoint.id):
            async with self._uow.begin(principal) as tx:
                rows = {row[0].id: row for row in await tx.instances.of(endpoint.id)}
                if known.id not in rows and not known.is_own:
                    raise _not_found(instance_id)
                stored, transport = rows.get(known.id, (known, None))
                instance = replace(stored, **changes)
                await tx.instances.put(instance, transport)
                self._announce(tx, endpoint, instance.id, what)
                await tx.commit()
            self._mirror(instance)
        return instance

    def _mirror(self, instance: Instance) -> None:
        others = (i for i in self._directory.instances(instance.endpoint_id) if i.id != instance.id)
        self._directory.put_instances(instance.endpoint_id, (*others, instance))

    async def _drained(self, instance_id: InstanceId) -> None:
        """Wait until nothing is under way, or the time is up."""
        try:
            async with asyncio.timeout(self._drain_timeout_s):
                # Looked at, for the counter says no word; removals are rare.
                while self._in_flight(instance_id) > 0:  # noqa: ASYNC110
                    await asyncio.sleep(LOOK_EVERY_S)
        except TimeoutError:
            _logger.warning("an instance was removed with calls under way")

    def _report(self, endpoint: Endpoint, instance: Instance) -> InstanceReport:
        state = self._client.state(instance.id)
        return InstanceReport(
            instance=instance,
            transport=self._keeper.transport(instance.id, endpoint.id) or endpoint.transport,
            state=state,
            last_error=self._keeper.fault(instance.id) or state.last_error,
            differs=self._keeper.differing(instance.id, endpoint.id),
        )

    def _find(self, endpoint: Endpoint, instance_id: str) -> Instance:
        instances = self._directory.instances(endpoint.id)
        found = next((one for one in instances if one.id == instance_id), None)
        if found is None:
            raise _not_found(instance_id)
        return found

    def _changeable(self, principal: Principal, id_or_name: str) -> Endpoint:
        principal.require(Scope.HUB_WRITE)
        endpoint = self._endpoints.find(principal, id_or_name)
        refuse_bound(principal)
        return endpoint

    def _turn(self, endpoint_id: EndpointId) -> asyncio.Lock:
        """One change at a time, so that what is stored is what the directory shows."""
        return self._turns.setdefault(endpoint_id, asyncio.Lock())

    def _announce(
        self, tx: Transaction, endpoint: Endpoint, instance_id: InstanceId, what: str
    ) -> None:
        tx.emit(
            ServerStatusChanged(
                workspace=endpoint.workspace,
                at=self._clock.now(),
                endpoint_id=endpoint.id,
                server=endpoint.name,
                status=self._client.state(endpoint.id).status.value,
                detail=f"Instance {instance_id} {what}",
            )
        )


def _not_found(instance_id: str) -> NotFoundError:
    return NotFoundError(f"There is no instance {instance_id!r}.", code="instance_not_found")
