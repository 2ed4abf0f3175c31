"""Where the event feed is kept."""

from abc import ABC, abstractmethod

from agenthub.domain.event import StoredEvent


class EventRepository(ABC):
    """The feed of the transaction's workspace, append-only, in the order of ids."""

    @abstractmethod
    async def after(self, event_id: int, *, limit: int) -> list[StoredEvent]:
        """List at most `limit` events behind `event_id`, oldest first."""

    @abstractmethod
    async def last_id(self) -> int:
        """Give the newest id, 0 when there is none."""

    @abstractmethod
    async def prune(self, *, keep: int) -> int:
        """Drop all but the newest `keep` events that are also older than 24 h; say how many."""
