"""The bus: a hint that events were committed. The stored rows are the truth."""

from abc import ABC, abstractmethod
from collections.abc import Callable

from agenthub.domain.event import StoredEvent


class EventBus(ABC):
    @abstractmethod
    def publish(self, events: list[StoredEvent]) -> None:
        """Tell all listeners of committed events. Never blocks, never raises."""

    @abstractmethod
    def listen(self, listener: Callable[[list[StoredEvent]], None]) -> Callable[[], None]:
        """Call `listener` with every later publication; the returned function ends it.

        A listener must not block; one that raises is logged and does not harm the others.
        """
