"""Transactions. They live in services, never across a wait on the network."""

from abc import ABC, abstractmethod
from contextlib import AbstractAsyncContextManager

from agenthub.domain.entities.identity import Principal
from agenthub.domain.event import DomainEvent
from agenthub.domain.ports.outbound.storage.cost import BudgetRepository, LedgerRepository
from agenthub.domain.ports.outbound.storage.definitions import DefinitionRepository
from agenthub.domain.ports.outbound.storage.endpoints import EndpointRepository
from agenthub.domain.ports.outbound.storage.events import EventRepository
from agenthub.domain.ports.outbound.storage.groups import GroupRepository
from agenthub.domain.ports.outbound.storage.hitl import (
    HeldCallRepository,
    RequestRepository,
    RuleRepository,
)
from agenthub.domain.ports.outbound.storage.identity import KeyRepository
from agenthub.domain.ports.outbound.storage.instances import InstanceRepository
from agenthub.domain.ports.outbound.storage.notices import NoticeTargetRepository
from agenthub.domain.ports.outbound.storage.policies import PolicyRepository


class NestedTransactionError(Exception):
    """A transaction was opened inside another one: the inner would wait for the outer for ever."""


class Reading(ABC):
    """One workspace as it is stored: the repositories see no other workspace's rows."""

    endpoints: EndpointRepository
    groups: GroupRepository
    keys: KeyRepository
    events: EventRepository
    budgets: BudgetRepository
    definitions: DefinitionRepository
    held_calls: HeldCallRepository
    instances: InstanceRepository
    ledger: LedgerRepository
    notice_targets: NoticeTargetRepository
    policies: PolicyRepository
    requests: RequestRepository
    rules: RuleRepository


class Transaction(Reading):
    """One transaction of one workspace.

    A HubError of a repository changes nothing and leaves the transaction usable.
    """

    @abstractmethod
    def emit(self, event: DomainEvent) -> None:
        """Store `event` with this transaction and publish it after the commit."""

    @abstractmethod
    async def commit(self) -> None:
        """Make everything durable, then publish the emitted events. Without it all is undone."""


class UnitOfWork(ABC):
    """Opens transactions, one at a time in a flow of calls (NestedTransactionError).

    Raises UnavailableError (codes `storage_unavailable`, `storage_busy`) while the database cannot
    be reached, or has more to do than it can.
    """

    @abstractmethod
    def begin(self, principal: Principal) -> AbstractAsyncContextManager[Transaction]:
        """Open a transaction in the principal's workspace.

        Writers of one workspace come one after the other, so what was read here still holds at
        the commit; none fails for having waited. Text with a NUL character or a lone surrogate is
        refused with InvalidError by every repository.
        """

    @abstractmethod
    def read(self, principal: Principal) -> AbstractAsyncContextManager[Reading]:
        """Look at the principal's workspace as it is at this moment.

        Neither waits for writers nor holds them up.
        """
