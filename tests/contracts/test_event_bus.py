"""The bus, real and fake."""

import pytest

from agenthub.adapters.outbound.event_bus.memory import MemoryEventBus
from agenthub.domain.event import StoredEvent
from agenthub.domain.ids import DEFAULT_WORKSPACE
from agenthub.domain.ports.outbound.event_bus import EventBus
from tests.fakes.clock import NEW_YEAR
from tests.fakes.event_bus import FakeEventBus


@pytest.fixture(params=[FakeEventBus, MemoryEventBus])
def bus(request: pytest.FixtureRequest) -> EventBus:
    return request.param()


def stored(event_id: int) -> StoredEvent:
    return StoredEvent(event_id, DEFAULT_WORKSPACE, NEW_YEAR, "server.status", {})


def test_every_listener_hears_every_publication_in_order(bus: EventBus) -> None:
    first: list[list[StoredEvent]] = []
    second: list[list[StoredEvent]] = []
    bus.listen(first.append)
    bus.publish([stored(1), stored(2)])
    bus.listen(second.append)
    bus.publish([stored(3)])
    assert first == [[stored(1), stored(2)], [stored(3)]]
    assert second == [[stored(3)]]


def test_who_has_left_hears_nothing_and_may_leave_twice(bus: EventBus) -> None:
    heard: list[list[StoredEvent]] = []
    leave = bus.listen(heard.append)
    stay = bus.listen(heard.append)
    leave()
    leave()
    bus.publish([stored(1)])
    assert heard == [[stored(1)]]
    stay()
    bus.publish([stored(2)])
    assert heard == [[stored(1)]]


def test_a_listener_may_leave_while_it_listens(bus: EventBus) -> None:
    heard: list[int] = []

    def hear_once(events: list[StoredEvent]) -> None:
        heard.append(events[0].id)
        leave()

    leave = bus.listen(hear_once)
    bus.listen(lambda events: heard.append(-events[0].id))
    bus.publish([stored(1)])
    bus.publish([stored(2)])
    assert heard == [1, -1, -2]


def test_a_listener_that_fails_harms_neither_the_publisher_nor_the_others(bus: EventBus) -> None:
    heard: list[list[StoredEvent]] = []

    def fail(events: list[StoredEvent]) -> None:
        events.clear()
        raise ValueError

    bus.listen(fail)
    bus.listen(heard.append)
    bus.publish([stored(1)])
    assert heard == [[stored(1)]]
