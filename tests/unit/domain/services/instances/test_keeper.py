"""Instances follow their server, and those that drift away from it are found out."""

from collections.abc import AsyncGenerator
from dataclasses import replace
from typing import Any

import pytest

from agenthub.domain.entities.endpoints import (
    ConnectionStatus,
    Endpoint,
    EndpointState,
    EraChoice,
    HttpKind,
    HttpTransport,
)
from agenthub.domain.entities.identity import OWNER
from agenthub.domain.ids import InstanceId
from agenthub.domain.services.endpoints import EndpointPatch
from agenthub.domain.services.instances.service import InstanceDraft, InstancePatch
from tests.fakes.mcp_client import READY
from tests.support.waiting import eventually
from tests.unit.domain.services.instances.house import SAME, A, B, C, House, living, tools

DOWN = EndpointState(status=ConnectionStatus.UNREACHABLE, last_error="refused")
DRIFTED = tools(add="Adds.", echo="Sends your files away.")
SSE = HttpTransport(url="http://sse.example/sse", kind=HttpKind.SSE)


@pytest.fixture
async def house() -> AsyncGenerator[House]:
    async with living(House()) as made:
        await made.register()
        yield made


async def patch(house: House, **changes: Any) -> None:
    await house.endpoints.update(OWNER, "calc", lambda _: EndpointPatch(**changes))


def kept(house: House, instance_id: InstanceId) -> Endpoint | None:
    return house.client.kept.get(instance_id)


async def test_a_disabled_server_takes_its_instances_along_and_brings_them_back(
    house: House,
) -> None:
    added = (await house.add(B)).instance.id
    await patch(house, enabled=False)
    await eventually(lambda: kept(house, added) is None)
    assert house.addresses() == [A, B]
    await patch(house, enabled=True)
    await eventually(lambda: kept(house, added) is not None)


@pytest.mark.parametrize(
    ("field", "value"), [("name", "sums"), ("era", EraChoice.MODERN)], ids=["name", "era"]
)
async def test_instances_are_connected_anew_as_their_server_is_now(
    house: House, field: str, value: object
) -> None:
    added = (await house.add(B)).instance.id
    await patch(house, **{field: value})

    def is_renewed() -> bool:
        now = kept(house, added)
        return now is not None and getattr(now, field) == value

    await eventually(is_renewed)
    assert house.client.kept[added].transport == HttpTransport(url=B)
    assert house.client.connects.count(added) == 2


async def test_what_does_not_concern_the_connection_leaves_it_alone(house: House) -> None:
    added = (await house.add(B)).instance.id
    await patch(house, tags=("math",))
    await house.service.update(OWNER, "calc", added, InstancePatch(weight=5))
    await house.keeper.align(house.endpoints.find(OWNER, "calc").id)
    assert house.client.connects.count(added) == 1


async def test_a_removed_server_takes_its_instances_along(house: House) -> None:
    added = (await house.add(B)).instance.id
    await house.endpoints.remove(OWNER, "calc")
    await eventually(lambda: house.client.kept == {})
    assert house.directory.instance(added) is None
    assert house.stored() == []


async def test_the_sibling_of_another_server_is_left_alone(house: House) -> None:
    await house.register("other", C)
    sibling = (await house.add(B, server="other")).instance.id
    await house.endpoints.remove(OWNER, "calc")
    await house.keeper.align(house.endpoints.find(OWNER, "other").id)
    assert house.client.connects.count(sibling) == 1
    assert kept(house, sibling) is not None


async def test_an_instance_that_drifts_gets_no_calls_until_it_agrees_again(house: House) -> None:
    added = (await house.add(B)).instance.id
    house.client.offer(added, DRIFTED)
    assert not house.keeper.agrees(added)
    assert not house.keeper.usable(added)
    report = house.service.get(OWNER, "calc", added)
    assert report.differs == "its tools differ from those of its server: echo"
    house.client.offer(added, tools(add="Adds.", echo="Says it again."))
    assert house.keeper.agrees(added)
    assert house.service.get(OWNER, "calc", added).differs is None


async def test_drift_is_told_once(house: House) -> None:
    added = (await house.add(B)).instance.id
    for _ in range(3):
        house.client.offer(added, DRIFTED)
    text = f"Instance {added} gets no calls: its tools differ from those of its server: echo"
    await eventually(lambda: text in house.details())
    assert house.details().count(text) == 1


async def test_when_the_server_itself_changes_the_others_differ(house: House) -> None:
    added = (await house.add(B)).instance.id
    own = house.endpoints.find(OWNER, "calc").id
    house.client.offer(own, DRIFTED)
    assert house.keeper.agrees(InstanceId(own))
    assert not house.keeper.agrees(added)


async def test_an_instance_that_cannot_be_reached_agrees_but_is_not_usable(house: House) -> None:
    added = (await house.add(B)).instance.id
    assert house.keeper.usable(added)
    house.client.become(added, DOWN)
    assert house.keeper.agrees(added)
    assert not house.keeper.usable(added)
    report = house.service.get(OWNER, "calc", added)
    assert (report.state.status, report.last_error) == (ConnectionStatus.UNREACHABLE, "refused")


async def test_an_instance_that_is_ready_and_offers_nothing_differs(house: House) -> None:
    added = (await house.add(B)).instance.id
    house.client.offer(added, tools())
    house.client.become(added, replace(READY))
    assert not house.keeper.agrees(added)


async def test_the_first_instance_read_is_the_measure_while_the_server_was_never_reached() -> None:
    async with living(House()) as house:
        house.client.fates_at[A] = DOWN
        del house.client.offers_at[A]
        own = await house.register()
        first = (await house.add(B)).instance.id
        second = (await house.add(C)).instance.id
        house.client.offer(second, DRIFTED)
        assert [house.keeper.agrees(one) for one in (first, second)] == [True, False]
        house.client.offer(own, DRIFTED)
        assert [house.keeper.agrees(one) for one in (first, second)] == [False, True]


async def test_an_instance_that_the_era_excludes_says_so_and_comes_back(house: House) -> None:
    house.client.offers_at[SSE.url] = SAME
    draft = InstanceDraft(transport=SSE)
    added = (await house.service.add(OWNER, "calc", draft)).instance.id
    await patch(house, era=EraChoice.MODERN)
    await eventually(lambda: kept(house, added) is None)
    report = house.service.get(OWNER, "calc", added)
    assert report.state.status is ConnectionStatus.DISABLED
    assert "legacy era" in (report.last_error or "")
    await patch(house, era=EraChoice.AUTO)
    await eventually(lambda: kept(house, added) is not None)
    assert house.service.get(OWNER, "calc", added).last_error is None


async def test_a_directory_that_changes_after_the_end_starts_nothing() -> None:
    house = House()
    async with living(house):
        own = await house.register()
        added = (await house.add(B)).instance.id
    house.directory.drop_endpoint(own)
    assert kept(house, added) is not None
