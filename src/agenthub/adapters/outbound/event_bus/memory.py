"""The bus of one process: committed events go straight to its listeners."""

import logging
from collections.abc import Callable

from agenthub.domain.event import StoredEvent
from agenthub.domain.ports.outbound.event_bus import EventBus

_logger = logging.getLogger(__name__)


class MemoryEventBus(EventBus):
    """Calls each listener at once, in the order in which they came."""

    def __init__(self) -> None:
        self._listeners: dict[object, Callable[[list[StoredEvent]], None]] = {}

    def publish(self, events: list[StoredEvent]) -> None:
        for listener in list(self._listeners.values()):
            try:
                listener(list(events))
            except Exception:
                _logger.exception("A listener of the event bus failed.")

    def listen(self, listener: Callable[[list[StoredEvent]], None]) -> Callable[[], None]:
        seat = object()
        self._listeners[seat] = listener

        def leave() -> None:
            self._listeners.pop(seat, None)

        return leave
