"""Storage in memory: transactions on a copy that replaces the original at the commit."""

import asyncio
import copy
from collections import defaultdict
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from datetime import timedelta

from agenthub.domain.entities.endpoints import Endpoint
from agenthub.domain.entities.groups import Group
from agenthub.domain.entities.identity import ApiKey, Principal
from agenthub.domain.event import DomainEvent, StoredEvent
from agenthub.domain.exceptions import ConflictError, InvalidError, NotFoundError
from agenthub.domain.ids import EndpointId, GroupId, KeyId, WorkspaceId
from agenthub.domain.ports.outbound.clock import Clock
from agenthub.domain.ports.outbound.event_bus import EventBus
from agenthub.domain.ports.outbound.storage.endpoints import EndpointRepository
from agenthub.domain.ports.outbound.storage.events import EventRepository
from agenthub.domain.ports.outbound.storage.groups import GroupRepository
from agenthub.domain.ports.outbound.storage.identity import KeyLookup, KeyRepository
from agenthub.domain.ports.outbound.storage.unit_of_work import (
    NestedTransactionError,
    Reading,
    Transaction,
    UnitOfWork,
)
from tests.fakes.clock import FakeClock
from tests.fakes.event_bus import FakeEventBus
from tests.fakes.storage_cost import CostRows, FakeBudgetRepository, FakeLedgerRepository
from tests.fakes.storage_definitions import DefinitionRows, FakeDefinitionRepository
from tests.fakes.storage_hitl import (
    FakeHeldCallRepository,
    FakeRequestRepository,
    FakeRuleRepository,
    HitlRows,
)
from tests.fakes.storage_instances import FakeInstanceRepository, InstanceRows
from tests.fakes.storage_notices import FakeNoticeTargetRepository, NoticeRows
from tests.fakes.storage_policies import FakePolicyRepository, PolicyRows, drop_policies


@dataclass
class Rows:
    """What one workspace keeps."""

    endpoints: dict[EndpointId, Endpoint] = field(default_factory=dict[EndpointId, Endpoint])
    groups: dict[GroupId, Group] = field(default_factory=dict[GroupId, Group])
    definitions: DefinitionRows = field(default_factory=DefinitionRows)
    instances: InstanceRows = field(default_factory=InstanceRows)
    cost: CostRows = field(default_factory=CostRows)
    notice_targets: NoticeRows = field(default_factory=NoticeRows)
    policies: PolicyRows = field(default_factory=PolicyRows)
    hitl: HitlRows = field(default_factory=HitlRows)
    keys: dict[KeyId, ApiKey] = field(default_factory=dict[KeyId, ApiKey])
    events: list[StoredEvent] = field(default_factory=list[StoredEvent])


class _Mark:
    def __init__(self) -> None:
        self.is_open = True


_open: ContextVar[_Mark | None] = ContextVar("open_transaction", default=None)


def refuse_inside_transaction() -> None:
    """For the fakes of the network: no transaction may be held across a wait on the world."""
    mark = _open.get()
    assert mark is None or not mark.is_open, "a transaction is open across a network call"


class FakeUnitOfWork(UnitOfWork):
    """Looks at what is stored through `rows`. Every `begin` waits for the one before it."""

    def __init__(self, *, bus: EventBus | None = None, clock: Clock | None = None) -> None:
        self.bus = bus or FakeEventBus()
        self.rows: dict[WorkspaceId, Rows] = defaultdict(Rows)
        self._clock = clock or FakeClock()
        self._writers: dict[WorkspaceId, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._last_event_id = 0

    @asynccontextmanager
    async def begin(self, principal: Principal) -> AsyncGenerator[Transaction]:
        with _alone():
            async with self._writers[principal.workspace]:
                yield _FakeTransaction(self, principal.workspace, self._clock)

    @asynccontextmanager
    async def read(self, principal: Principal) -> AsyncGenerator[Reading]:
        with _alone():
            rows = copy.deepcopy(self.rows[principal.workspace])
            yield _FakeReading(rows, principal.workspace, self._clock)

    def next_event_id(self) -> int:
        self._last_event_id += 1
        return self._last_event_id


class FakeKeyLookup(KeyLookup):
    def __init__(self, *, uow: FakeUnitOfWork) -> None:
        self._uow = uow

    async def by_hash(self, secret_sha256: str) -> ApiKey | None:
        every = (key for rows in self._uow.rows.values() for key in rows.keys.values())
        return next((key for key in every if key.secret_sha256 == secret_sha256), None)


class _FakeReading(Reading):
    def __init__(self, rows: Rows, workspace: WorkspaceId, clock: Clock) -> None:
        self.endpoints = FakeEndpointRepository(rows, workspace)
        self.groups = FakeGroupRepository(rows, workspace)
        self.definitions = FakeDefinitionRepository(rows.definitions, rows.endpoints)
        self.instances = FakeInstanceRepository(rows, workspace)
        self.budgets = FakeBudgetRepository(rows.cost, workspace)
        self.ledger = FakeLedgerRepository(rows.cost, workspace)
        self.keys = FakeKeyRepository(rows, workspace)
        self.notice_targets = FakeNoticeTargetRepository(rows.notice_targets, workspace)
        self.policies = FakePolicyRepository(rows.policies, rows.endpoints)
        self.requests = FakeRequestRepository(rows.hitl, workspace)
        self.held_calls = FakeHeldCallRepository(rows.hitl, workspace)
        self.rules = FakeRuleRepository(rows.hitl, workspace)
        self.events = FakeEventRepository(rows, clock)


class _FakeTransaction(Transaction):
    def __init__(self, uow: FakeUnitOfWork, workspace: WorkspaceId, clock: Clock) -> None:
        self._uow = uow
        self._workspace = workspace
        self._rows = copy.deepcopy(uow.rows[workspace])
        self._emitted: list[DomainEvent] = []
        reading = _FakeReading(self._rows, workspace, clock)
        self.endpoints = reading.endpoints
        self.groups = reading.groups
        self.definitions = reading.definitions
        self.instances = reading.instances
        self.budgets = reading.budgets
        self.ledger = reading.ledger
        self.keys = reading.keys
        self.notice_targets = reading.notice_targets
        self.policies = reading.policies
        self.requests = reading.requests
        self.held_calls = reading.held_calls
        self.rules = reading.rules
        self.events = reading.events

    def emit(self, event: DomainEvent) -> None:
        self._emitted.append(event)

    async def commit(self) -> None:
        stored = [
            StoredEvent(
                self._uow.next_event_id(),
                self._workspace,
                event.at,
                event.name,
                copy.deepcopy(event.facts()),
            )
            for event in self._emitted
        ]
        self._emitted.clear()
        self._rows.events += stored
        self._uow.rows[self._workspace] = copy.deepcopy(self._rows)
        if stored:
            self._uow.bus.publish(stored)


class FakeEndpointRepository(EndpointRepository):
    def __init__(self, rows: Rows, workspace: WorkspaceId) -> None:
        self._rows = rows
        self._workspace = workspace

    async def add(self, endpoint: Endpoint) -> None:
        self._keep(endpoint)

    async def save(self, endpoint: Endpoint) -> None:
        if endpoint.id not in self._rows.endpoints:
            raise NotFoundError("no such server", code="server_not_found")
        self._keep(endpoint)

    async def remove(self, endpoint_id: EndpointId) -> None:
        if self._rows.endpoints.pop(endpoint_id, None) is None:
            raise NotFoundError("no such server", code="server_not_found")
        drop_policies(self._rows.policies, endpoint_id)
        for group in self._rows.groups.values():
            left = tuple(m for m in group.members if m.endpoint_id != endpoint_id)
            self._rows.groups[group.id] = replace(group, members=left)
        for key in [
            k for k, (i, _) in self._rows.instances.items() if i.endpoint_id == endpoint_id
        ]:
            del self._rows.instances[key]

    async def find(self, id_or_name: str) -> Endpoint | None:
        by_id = self._rows.endpoints.get(EndpointId(id_or_name))
        named = (e for e in self._rows.endpoints.values() if e.name == id_or_name)
        return copy.deepcopy(by_id or next(named, None))

    async def page(self, *, limit: int, after: str | None) -> list[Endpoint]:
        _check(after)
        behind = [e for e in self._rows.endpoints.values() if after is None or e.name > after]
        return copy.deepcopy(sorted(behind, key=lambda e: e.name)[:limit])

    def _keep(self, endpoint: Endpoint) -> None:
        others = (e for e in self._rows.endpoints.values() if e.id != endpoint.id)
        if any(other.name == endpoint.name for other in others):
            raise ConflictError("taken", code="name_taken")
        kept = replace(copy.deepcopy(endpoint), workspace=self._workspace)
        self._rows.endpoints[endpoint.id] = kept


class FakeGroupRepository(GroupRepository):
    def __init__(self, rows: Rows, workspace: WorkspaceId) -> None:
        self._rows = rows
        self._workspace = workspace

    async def add(self, group: Group) -> None:
        self._keep(group)

    async def save(self, group: Group) -> None:
        if group.id not in self._rows.groups:
            raise NotFoundError("no such group", code="group_not_found")
        self._keep(group)

    async def remove(self, group_id: GroupId) -> None:
        if self._rows.groups.pop(group_id, None) is None:
            raise NotFoundError("no such group", code="group_not_found")
        for key in [k for k in self._rows.keys.values() if k.group == group_id]:
            del self._rows.keys[key.id]

    async def find(self, id_or_slug: str) -> Group | None:
        by_id = self._rows.groups.get(GroupId(id_or_slug))
        return by_id or next((g for g in self._rows.groups.values() if g.slug == id_or_slug), None)

    async def page(self, *, limit: int, after: str | None) -> list[Group]:
        _check(after)
        behind = [g for g in self._rows.groups.values() if after is None or g.slug > after]
        return sorted(behind, key=lambda g: g.slug)[:limit]

    def _keep(self, group: Group) -> None:
        _check(group.name, group.description)
        others = (g for g in self._rows.groups.values() if g.id != group.id)
        if any(other.slug == group.slug for other in others):
            raise ConflictError("taken", code="slug_taken")
        if any(m.endpoint_id not in self._rows.endpoints for m in group.members):
            raise ConflictError("gone", code="server_gone")
        self._rows.groups[group.id] = replace(group, workspace=self._workspace)


class FakeKeyRepository(KeyRepository):
    def __init__(self, rows: Rows, workspace: WorkspaceId) -> None:
        self._rows = rows
        self._workspace = workspace

    async def add(self, key: ApiKey) -> None:
        _check(key.name)
        if key.group is not None and key.group not in self._rows.groups:
            raise ConflictError("gone", code="group_gone")
        self._rows.keys[key.id] = replace(key, workspace=self._workspace)

    async def remove(self, key_id: KeyId) -> None:
        if self._rows.keys.pop(key_id, None) is None:
            raise NotFoundError("no such key", code="key_not_found")

    async def find(self, key_id: KeyId) -> ApiKey | None:
        return self._rows.keys.get(key_id)

    async def page(self, *, limit: int, after: str | None) -> list[ApiKey]:
        _check(after)
        behind = [k for k in self._rows.keys.values() if after is None or k.id > after]
        return sorted(behind, key=lambda k: k.id)[:limit]


class FakeEventRepository(EventRepository):
    def __init__(self, rows: Rows, clock: Clock) -> None:
        self._rows = rows
        self._clock = clock

    async def after(self, event_id: int, *, limit: int) -> list[StoredEvent]:
        return [event for event in self._rows.events if event.id > event_id][:limit]

    async def last_id(self) -> int:
        return self._rows.events[-1].id if self._rows.events else 0

    async def prune(self, *, keep: int) -> int:
        since = self._clock.now() - timedelta(hours=24)
        older = self._rows.events[: max(len(self._rows.events) - keep, 0)]
        gone = [event for event in older if event.at < since]
        self._rows.events[:] = [event for event in self._rows.events if event not in gone]
        return len(gone)


def _check(*texts: str | None) -> None:
    for text in texts:
        if text and ("\x00" in text or any("\ud800" <= char <= "\udfff" for char in text)):
            raise InvalidError("unstorable text", code="invalid_text")


@contextmanager
def _alone() -> Generator[None]:
    outer = _open.get()
    if outer is not None and outer.is_open:
        raise NestedTransactionError("a transaction is open already")
    mark = _Mark()
    token = _open.set(mark)
    try:
        yield
    finally:
        mark.is_open = False
        _open.reset(token)
