"""Transactions on the database, each with the repositories of one workspace."""

from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager
from contextvars import ContextVar

from sqlalchemy.ext.asyncio import AsyncConnection

from agenthub.adapters.outbound.storage.budgets import SqlBudgetRepository
from agenthub.adapters.outbound.storage.definitions import SqlDefinitionRepository
from agenthub.adapters.outbound.storage.endpoints import SqlEndpointRepository
from agenthub.adapters.outbound.storage.engine import Database
from agenthub.adapters.outbound.storage.events import SqlEventRepository
from agenthub.adapters.outbound.storage.groups import SqlGroupRepository
from agenthub.adapters.outbound.storage.held_calls import SqlHeldCallRepository
from agenthub.adapters.outbound.storage.hitl_requests import SqlRequestRepository
from agenthub.adapters.outbound.storage.hitl_rules import SqlRuleRepository
from agenthub.adapters.outbound.storage.identity import SqlKeyRepository
from agenthub.adapters.outbound.storage.instances import SqlInstanceRepository
from agenthub.adapters.outbound.storage.ledger import SqlLedgerRepository
from agenthub.adapters.outbound.storage.notices import SqlNoticeTargetRepository
from agenthub.adapters.outbound.storage.policies import SqlPolicyRepository
from agenthub.domain.entities.identity import Principal
from agenthub.domain.event import DomainEvent
from agenthub.domain.ids import WorkspaceId
from agenthub.domain.ports.outbound.clock import Clock
from agenthub.domain.ports.outbound.event_bus import EventBus
from agenthub.domain.ports.outbound.secrets import SecretBox
from agenthub.domain.ports.outbound.storage.unit_of_work import (
    NestedTransactionError,
    Reading,
    Transaction,
    UnitOfWork,
)


class _Flow:
    """Whether the present flow of calls is inside a transaction.

    A mark, not a flag: a task started inside one inherits it, and may live longer.
    """

    def __init__(self) -> None:
        self.is_open = True


_flow: ContextVar[_Flow | None] = ContextVar("agenthub_transaction", default=None)


class SqlUnitOfWork(UnitOfWork):
    def __init__(
        self, *, bus: EventBus, clock: Clock, database: Database, secrets: SecretBox
    ) -> None:
        self._bus = bus
        self._clock = clock
        self._database = database
        self._secrets = secrets

    @asynccontextmanager
    async def begin(self, principal: Principal) -> AsyncGenerator[Transaction]:
        workspace = principal.workspace
        with _alone():
            async with self._database.writing(workspace) as connection:
                reading = _SqlReading(connection, workspace, self._secrets, self._clock)
                yield _SqlTransaction(connection, reading, self._bus)

    @asynccontextmanager
    async def read(self, principal: Principal) -> AsyncGenerator[Reading]:
        with _alone():
            async with self._database.reading() as connection:
                yield _SqlReading(connection, principal.workspace, self._secrets, self._clock)


class _SqlReading(Reading):
    def __init__(
        self, connection: AsyncConnection, workspace: WorkspaceId, secrets: SecretBox, clock: Clock
    ) -> None:
        self.endpoints = SqlEndpointRepository(connection, workspace, secrets)
        self.definitions = SqlDefinitionRepository(connection, workspace)
        self.budgets = SqlBudgetRepository(connection, workspace)
        self.ledger = SqlLedgerRepository(connection, workspace)
        self.groups = SqlGroupRepository(connection, workspace)
        self.instances = SqlInstanceRepository(connection, workspace, secrets)
        self.keys = SqlKeyRepository(connection, workspace)
        self.notice_targets = SqlNoticeTargetRepository(connection, workspace, secrets)
        self.policies = SqlPolicyRepository(connection, workspace)
        self.requests = SqlRequestRepository(connection, workspace)
        self.held_calls = SqlHeldCallRepository(connection, workspace)
        self.rules = SqlRuleRepository(connection, workspace)
        self.feed = SqlEventRepository(connection, workspace, clock)
        self.events = self.feed


class _SqlTransaction(Transaction):
    def __init__(self, connection: AsyncConnection, reading: _SqlReading, bus: EventBus) -> None:
        self.endpoints = reading.endpoints
        self.definitions = reading.definitions
        self.budgets = reading.budgets
        self.ledger = reading.ledger
        self.groups = reading.groups
        self.instances = reading.instances
        self.keys = reading.keys
        self.notice_targets = reading.notice_targets
        self.policies = reading.policies
        self.requests = reading.requests
        self.held_calls = reading.held_calls
        self.rules = reading.rules
        self.events = reading.events
        self._feed = reading.feed
        self._connection = connection
        self._bus = bus
        self._emitted: list[DomainEvent] = []

    def emit(self, event: DomainEvent) -> None:
        self._emitted.append(event)

    async def commit(self) -> None:
        stored = await self._feed.append(self._emitted)
        await self._connection.commit()
        self._emitted.clear()
        if stored:
            self._bus.publish(stored)


@contextmanager
def _alone() -> Generator[None]:
    """Refuse a transaction inside another: the inner could wait for the outer's connection."""
    outer = _flow.get()
    if outer is not None and outer.is_open:
        raise NestedTransactionError("A transaction is open already in this flow of calls.")
    flow = _Flow()
    token = _flow.set(flow)
    try:
        yield
    finally:
        flow.is_open = False
        _flow.reset(token)
