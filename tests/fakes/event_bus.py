"""A bus that remembers what was published."""

from collections.abc import Callable

from agenthub.domain.event import StoredEvent
from agenthub.domain.ports.outbound.event_bus import EventBus


class FakeEventBus(EventBus):
    """Calls its listeners at once; `failures` holds what they raised."""

    def __init__(self) -> None:
        self.published: list[StoredEvent] = []
        self.failures: list[Exception] = []
        self._listeners: list[Callable[[list[StoredEvent]], None]] = []

    def publish(self, events: list[StoredEvent]) -> None:
        self.published += events
        for listener in list(self._listeners):
            try:
                listener(list(events))
            except Exception as error:  # noqa: BLE001  as the port promises
                self.failures.append(error)

    def listen(self, listener: Callable[[list[StoredEvent]], None]) -> Callable[[], None]:
        # A wrapper of its own, so that a listener may listen twice and leave once.
        def seat(events: list[StoredEvent]) -> None:
            listener(events)

        self._listeners.append(seat)

        def leave() -> None:
            if seat in self._listeners:
                self._listeners.remove(seat)

        return leave
