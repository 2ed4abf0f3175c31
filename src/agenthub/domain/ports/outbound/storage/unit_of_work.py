"""Transactions. They live in services, never across a wait on the network."""

from abc import ABC, abstractmethod
from contextlib import AbstractAsyncContextManager

from agenthub.domain.entities.identity import Principal
from agenthub.domain.event import DomainEvent
from agenthub.domain.ports.outbound.storage.endpoints import EndpointRepository
from agenthub.domain.ports.outbound.storage.events import EventRepository
from agenthub.domain.ports.outbound.storage.groups import GroupRepository
from agenthub.domain.ports.outbound.storage.identity import KeyRepository


class Transaction(ABC):
    """One transaction of one workspace: its repositories see no other workspace's rows."""

    endpoints: EndpointRepository
    groups: GroupRepository
    keys: KeyRepository
    events: EventRepository

    @abstractmethod
    def emit(self, event: DomainEvent) -> None:
        """Store `event` with this transaction and publish it after the commit."""

    @abstractmethod
    async def commit(self) -> None:
        """Make everything durable, then publish the emitted events. Without it all is undone."""


class UnitOfWork(ABC):
    @abstractmethod
    def begin(self, principal: Principal) -> AbstractAsyncContextManager[Transaction]:
        """Open a transaction in the principal's workspace.

        Concurrent writers wait for each other; none fails for that.
        """
