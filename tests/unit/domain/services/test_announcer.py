"""News of the servers become events, whatever the storage does."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from agenthub.domain.entities.catalog.listing import ItemKind
from agenthub.domain.entities.endpoints import ConnectionStatus, EndpointState
from agenthub.domain.entities.identity import Principal
from agenthub.domain.event import StoredEvent
from agenthub.domain.exceptions import UnavailableError
from agenthub.domain.ids import DEFAULT_WORKSPACE, EndpointId, InstanceId
from agenthub.domain.ports.outbound.storage.unit_of_work import Transaction
from agenthub.domain.services import announcer
from agenthub.domain.services.announcer import Announcer
from agenthub.domain.services.directory import Directory
from tests.fakes.clock import FakeClock
from tests.fakes.mcp_client import READY, FakeMcpClient
from tests.fakes.storage import FakeUnitOfWork
from tests.support.waiting import eventually
from tests.unit.domain.services.samples import catalog, endpoint, own

DOWN = EndpointState(status=ConnectionStatus.UNREACHABLE, last_error="refused")
DEMO, OTHER = endpoint("demo"), endpoint("other")
FURTHER = replace(DEMO, id=EndpointId("further"))


class TroubledUnitOfWork(FakeUnitOfWork):
    """Refuses so many transactions as `refusals` says."""

    def __init__(self) -> None:
        super().__init__()
        self.refusals: list[Exception] = []
        self.begun = 0

    @asynccontextmanager
    async def begin(self, principal: Principal) -> AsyncGenerator[Transaction]:
        self.begun += 1
        if self.refusals:
            raise self.refusals.pop()
        async with super().begin(principal) as tx:
            yield tx


class Desk:
    def __init__(self) -> None:
        self.uow = TroubledUnitOfWork()
        self.client = FakeMcpClient()
        directory = Directory()
        for one in (DEMO, OTHER):
            directory.put_endpoint(one)
        further = replace(own(DEMO), id=InstanceId(FURTHER.id))
        directory.put_instances(DEMO.id, (further,))
        self.announcer = Announcer(
            client=self.client, clock=FakeClock(), directory=directory, uow=self.uow
        )

    @property
    def told(self) -> list[StoredEvent]:
        return self.uow.rows[DEFAULT_WORKSPACE].events

    async def has_told(self, count: int) -> list[StoredEvent]:
        await eventually(lambda: len(self.told) >= count)
        assert len(self.told) == count
        return self.told


@pytest.fixture
async def desk(monkeypatch: pytest.MonkeyPatch) -> AsyncGenerator[Desk]:
    monkeypatch.setattr(announcer, "FIRST_RETRY_S", 0.001)
    made = Desk()
    async with made.announcer:
        yield made


async def test_a_new_state_is_told_with_its_reason(desk: Desk) -> None:
    desk.announcer.on_state(DEMO, DOWN)
    (event,) = await desk.has_told(1)
    assert event.name == "server.status"
    assert event.facts == {
        "server_id": "id-demo",
        "server": "demo",
        "status": "unreachable",
        "detail": "refused",
        "instance": None,
    }


async def test_the_same_state_is_told_once(desk: Desk) -> None:
    for state in (READY, READY, DOWN, DOWN, READY):
        desk.announcer.on_state(DEMO, state)
    events = await desk.has_told(3)
    assert [e.facts["status"] for e in events] == ["ready", "unreachable", "ready"]


async def test_a_changed_catalogue_is_told_with_its_counts(desk: Desk) -> None:
    desk.client.offer(DEMO.id, catalog(tools=["a", "b"]))
    desk.announcer.on_catalog(DEMO, (ItemKind.TOOLS,))
    (event,) = await desk.has_told(1)
    assert event.facts["kinds"] == ["tools"]
    assert event.facts["counts"]["tools"] == 2


async def test_changes_of_one_catalogue_in_a_row_are_one_event(desk: Desk) -> None:
    desk.announcer.on_catalog(DEMO, (ItemKind.PROMPTS,))
    desk.announcer.on_catalog(DEMO, (ItemKind.TOOLS, ItemKind.PROMPTS))
    desk.announcer.on_catalog(OTHER, (ItemKind.TOOLS,))
    first, second = await desk.has_told(2)
    assert (first.facts["server"], first.facts["kinds"]) == ("demo", ["tools", "prompts"])
    assert second.facts["server"] == "other"


async def test_a_server_on_trial_is_not_talked_about(desk: Desk) -> None:
    trial = endpoint("trial")
    desk.announcer.on_state(trial, READY)
    desk.announcer.on_catalog(trial, (ItemKind.TOOLS,))
    desk.announcer.on_state(DEMO, READY)
    (event,) = await desk.has_told(1)
    assert event.facts["server"] == "demo"


async def test_a_resource_update_is_no_event_of_the_feed(desk: Desk) -> None:
    desk.announcer.on_resource_updated(DEMO, "demo://a")
    desk.announcer.on_state(DEMO, READY)
    await desk.has_told(1)


@pytest.mark.parametrize("error", [UnavailableError("busy"), RuntimeError("a bug")])
async def test_a_failing_storage_delays_and_loses_nothing(desk: Desk, error: Exception) -> None:
    desk.uow.refusals = [error] * 3
    desk.announcer.on_state(DEMO, READY)
    await eventually(lambda: desk.uow.begun >= 2)
    desk.announcer.on_state(OTHER, READY)
    events = await desk.has_told(2)
    assert [event.facts["server"] for event in events] == ["demo", "other"]


async def test_what_waits_for_the_storage_has_an_end(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(announcer, "MAX_WAITING", 3)
    desk.uow.refusals = [UnavailableError("busy")]
    for number in range(5):
        state = EndpointState(status=ConnectionStatus.UNREACHABLE, last_error=str(number))
        desk.announcer.on_state(DEMO, state)
    events = await desk.has_told(3)
    assert [event.facts["detail"] for event in events] == ["2", "3", "4"]


async def test_an_error_of_the_block_leaves_the_announcer_bare() -> None:
    with pytest.raises(KeyError):
        async with Desk().announcer:
            raise KeyError


async def test_the_state_of_a_further_instance_is_told_of_its_server_by_name(desk: Desk) -> None:
    desk.announcer.on_state(FURTHER, DOWN)
    desk.announcer.on_state(FURTHER, READY)
    first, second = await desk.has_told(2)
    assert (first.facts["server_id"], first.facts["server"]) == ("id-demo", "demo")
    assert first.facts["status"] == "unreachable"
    assert first.facts["detail"] == "Instance further: refused"
    assert second.facts["detail"] == "Instance further: ready"


async def test_what_a_further_instance_offers_is_no_news(desk: Desk) -> None:
    desk.announcer.on_catalog(FURTHER, (ItemKind.TOOLS,))
    desk.announcer.on_state(DEMO, DOWN)
    (event,) = await desk.has_told(1)
    assert event.name == "server.status"


async def test_an_instance_on_trial_is_no_news(desk: Desk) -> None:
    desk.announcer.on_state(replace(FURTHER, id=EndpointId("on trial")), READY)
    desk.announcer.on_state(DEMO, DOWN)
    (event,) = await desk.has_told(1)
    assert event.facts["detail"] == "refused"
