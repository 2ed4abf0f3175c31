"""Adding, weighing, draining and removing instances."""

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import replace

import pytest

from agenthub.domain.entities.endpoints import (
    ConnectionStatus,
    EndpointState,
    HttpTransport,
    StdioTransport,
)
from agenthub.domain.entities.identity import OWNER, Principal, Scope
from agenthub.domain.exceptions import (
    ConflictError,
    DeniedError,
    InvalidError,
    NotFoundError,
    UpstreamError,
)
from agenthub.domain.ids import DEFAULT_WORKSPACE, EndpointId
from agenthub.domain.services.endpoints import EndpointPatch
from agenthub.domain.services.instances import service as service_module
from agenthub.domain.services.instances.service import InstanceDraft, InstancePatch
from tests.support.waiting import eventually, soon
from tests.unit.domain.services.instances.house import SAME, A, B, C, House, living, tools
from tests.unit.domain.services.samples import bound_to, group, with_scopes

DOWN = EndpointState(status=ConnectionStatus.UNREACHABLE, last_error="refused")
WRITER = with_scopes(Scope.HUB_READ, Scope.HUB_WRITE)
PROGRAM = StdioTransport(command="calc-server")


@pytest.fixture
async def house() -> AsyncGenerator[House]:
    async with living(House()) as made:
        await made.register()
        yield made


async def test_every_server_has_its_own_address_as_an_instance(house: House) -> None:
    (own,) = house.service.of(OWNER, "calc")
    assert own.instance.is_own
    assert own.transport == HttpTransport(url=A)
    assert own.state.status is ConnectionStatus.READY
    assert house.stored() == []


async def test_an_instance_with_the_same_tools_is_added_and_connected_once(house: House) -> None:
    report = await house.add(B, weight=3, priority=2)
    instance = report.instance
    assert (instance.weight, instance.priority, instance.draining) == (3, 2, False)
    assert (report.state.status, report.differs) == (ConnectionStatus.READY, None)
    assert house.addresses() == [A, B]
    assert house.stored() == [instance.id]
    assert house.client.kept[instance.id].name == "calc"
    assert house.client.connects.count(instance.id) == 1
    assert house.keeper.usable(instance.id)
    assert house.details() == [f"Instance {instance.id} was added"]


@pytest.mark.parametrize(
    ("offered", "named"),
    [
        (tools(add="Adds.", echo="Something else."), "echo"),
        (tools(add="Adds."), "echo"),
        (tools(add="Adds.", echo="Says it again.", rm="Removes."), "rm"),
        (tools(), "add, echo"),
    ],
    ids=["changed", "missing", "more", "none"],
)
async def test_an_instance_that_differs_is_refused_and_leaves_nothing(
    house: House, offered: object, named: str
) -> None:
    house.client.offers_at[B] = offered  # pyright: ignore[reportArgumentType]  a catalogue
    with pytest.raises(InvalidError) as refused:
        await house.add(B)
    assert refused.value.code == "instance_differs"
    assert [fault.loc for fault in refused.value.faults] == [("transport",)]
    assert refused.value.message.endswith(f": {named}")
    assert_untouched(house)


async def test_at_most_five_differing_tools_are_named(house: House) -> None:
    house.client.offers_at[B] = tools(**{f"t{index}": "New." for index in range(7)})
    with pytest.raises(InvalidError) as refused:
        await house.add(B)
    assert refused.value.message.endswith(": add, echo, t0, t1, t2 and 4 more")


async def test_an_instance_that_cannot_be_reached_is_refused_and_leaves_nothing(
    house: House,
) -> None:
    house.client.fates_at[B] = DOWN
    with pytest.raises(UpstreamError) as refused:
        await house.add(B)
    assert refused.value.code == "server_unreachable"
    assert "refused" in refused.value.message
    assert_untouched(house)


async def test_a_server_removed_during_the_trial_leaves_nothing(house: House) -> None:
    async with house.uow.begin(OWNER) as tx:
        await tx.endpoints.remove(house.endpoints.find(OWNER, "calc").id)
        await tx.commit()
    with pytest.raises(ConflictError) as refused:
        await house.add(B)
    assert refused.value.code == "server_gone"
    assert_untouched(house)


async def test_an_adding_that_is_cancelled_leaves_nothing(house: House) -> None:
    house.client.settling.clear()
    async with asyncio.TaskGroup() as group:
        adding = group.create_task(house.add(B))
        await eventually(lambda: len(house.client.kept) == 2)
        adding.cancel()
    assert_untouched(house)


async def test_an_unread_server_has_nothing_to_compare_with(house: House) -> None:
    house.client.fates_at["http://dead.example/mcp"] = DOWN
    await house.register("dead", "http://dead.example/mcp")
    report = await house.add(B, server="dead")
    assert report.differs is None


@pytest.mark.parametrize(
    ("field", "value"), [("weight", 0), ("weight", 1001), ("priority", -1), ("priority", 101)]
)
async def test_bad_numbers_are_named_before_anything_is_connected(
    house: House, field: str, value: int
) -> None:
    numbers = {"weight": 1, "priority": 0, field: value}
    with pytest.raises(InvalidError) as adding:
        await house.add(B, weight=numbers["weight"], priority=numbers["priority"])
    kept = (await house.add(C)).instance
    patch = replace(InstancePatch(), **{field: value})
    with pytest.raises(InvalidError) as changing:
        await house.service.update(OWNER, "calc", kept.id, patch)
    for refused in (adding, changing):
        assert refused.value.code == "invalid_instance"
        assert [fault.loc for fault in refused.value.faults] == [(field,)]
    assert house.addresses() == [A, C]
    assert house.directory.instance(kept.id) == kept


async def test_a_bad_transport_is_named(house: House) -> None:
    with pytest.raises(InvalidError) as refused:
        await house.add("ftp://b.example")
    assert [fault.loc for fault in refused.value.faults] == [("transport", "url")]
    assert_untouched(house)


async def test_too_many_instances_are_refused(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service_module, "MAX_INSTANCES", 2)
    await house.add(B)
    with pytest.raises(ConflictError) as refused:
        await house.add(C)
    assert refused.value.code == "too_many_instances"


async def test_changes_are_kept_and_mirrored(house: House) -> None:
    added = (await house.add(B)).instance
    patch = InstancePatch(weight=9, priority=1, draining=True)
    report = await house.service.update(OWNER, "calc", added.id, patch)
    wanted = replace(added, weight=9, priority=1, draining=True)
    assert report.instance == wanted == house.directory.instance(added.id)
    assert house.uow.rows[DEFAULT_WORKSPACE].instances[added.id] == (wanted, HttpTransport(url=B))
    again = await house.service.update(OWNER, "calc", added.id, InstancePatch(draining=False))
    assert again.instance == replace(wanted, draining=False)
    assert house.client.connects.count(added.id) == 1


async def test_the_own_address_can_be_weighed_but_not_removed(house: House) -> None:
    own = house.service.of(OWNER, "calc")[0].instance
    await house.service.update(OWNER, "calc", own.id, InstancePatch(weight=7, draining=True))
    await house.service.update(OWNER, "calc", own.id, InstancePatch(priority=5))
    changed = replace(own, weight=7, priority=5, draining=True)
    assert house.directory.instance(own.id) == changed
    assert house.uow.rows[DEFAULT_WORKSPACE].instances[own.id] == (changed, None)
    with pytest.raises(ConflictError) as refused:
        await house.service.remove(OWNER, "calc", own.id)
    assert refused.value.code == "own_instance"
    assert house.directory.instance(own.id) == changed


async def test_a_removed_instance_takes_no_new_calls_and_finishes_the_old(house: House) -> None:
    added = (await house.add(B)).instance
    house.in_flight[added.id] = 1
    async with asyncio.TaskGroup() as group:
        removing = group.create_task(house.service.remove(OWNER, "calc", added.id))
        await eventually(lambda: house.service.get(OWNER, "calc", added.id).instance.draining)
        assert added.id in house.client.kept
        assert not removing.done()
        house.in_flight[added.id] = 0
        await soon(removing)
    assert house.addresses() == [A]
    assert house.stored() == []
    assert added.id not in house.client.kept
    assert house.details()[-1] == f"Instance {added.id} was removed"


async def test_draining_has_an_end() -> None:
    async with living(House(drain_timeout_s=0.05)) as house:
        await house.register()
        added = (await house.add(B)).instance
        house.in_flight[added.id] = 1
        await soon(house.service.remove(OWNER, "calc", added.id))
        assert added.id not in house.client.kept


async def test_a_removal_that_broke_off_leaves_the_instance_drained(house: House) -> None:
    added = (await house.add(B)).instance
    house.in_flight[added.id] = 1
    async with asyncio.TaskGroup() as group:
        removing = group.create_task(house.service.remove(OWNER, "calc", added.id))
        await eventually(lambda: house.service.get(OWNER, "calc", added.id).instance.draining)
        removing.cancel()
    assert house.uow.rows[DEFAULT_WORKSPACE].instances[added.id][0].draining
    assert house.service.get(OWNER, "calc", added.id).instance.draining
    house.in_flight[added.id] = 0
    await soon(house.service.remove(OWNER, "calc", added.id))
    assert house.addresses() == [A]


async def test_of_two_removals_one_finds_nothing(house: House) -> None:
    added = (await house.add(B)).instance
    both = [house.service.remove(OWNER, "calc", added.id) for _ in range(2)]
    said = await soon(asyncio.gather(*both, return_exceptions=True))
    assert [type(one) for one in said if one is not None] == [NotFoundError]
    assert house.addresses() == [A]


async def test_what_is_not_there_is_not_found(house: House) -> None:
    await house.register("other", C)
    foreign = (await house.add(B, server="other")).instance.id
    for missing in ("nobody", "no\x00body", foreign):
        for attempt in (
            house.service.update(OWNER, "calc", missing, InstancePatch(weight=2)),
            house.service.remove(OWNER, "calc", missing),
        ):
            with pytest.raises(NotFoundError) as refused:
                await attempt
            assert refused.value.code == "instance_not_found"
        with pytest.raises(NotFoundError):
            house.service.get(OWNER, "calc", missing)
    with pytest.raises(NotFoundError) as unknown:
        house.service.of(OWNER, "nobody")
    assert unknown.value.code == "server_not_found"


@pytest.mark.parametrize(
    ("who", "code"),
    [
        (with_scopes(Scope.HUB_READ), "insufficient_scope"),
        (bound_to("dev"), "group_bound"),
    ],
)
async def test_who_may_not_change_servers_may_not_change_instances(
    house: House, who: Principal, code: str
) -> None:
    endpoint_id = house.endpoints.find(OWNER, "calc").id
    added = (await house.add(B)).instance
    dev = group("dev")
    member = replace(group("x", "calc").members[0], endpoint_id=endpoint_id)
    house.directory.put_group(replace(dev, members=(member,)))
    draft = InstanceDraft(transport=HttpTransport(url=C))
    for attempt in (
        house.service.add(who, "calc", draft),
        house.service.update(who, "calc", added.id, InstancePatch(weight=2)),
        house.service.remove(who, "calc", added.id),
    ):
        with pytest.raises(DeniedError) as refused:
            await attempt
        assert refused.value.code == code
    assert [one.instance.id for one in house.service.of(who, "calc")] == [endpoint_id, added.id]


async def test_a_program_needs_an_admin(house: House) -> None:
    house.client.offers_at[PROGRAM.command] = SAME
    with pytest.raises(DeniedError) as refused:
        await house.service.add(WRITER, "calc", InstanceDraft(transport=PROGRAM))
    assert refused.value.code == "stdio_needs_admin"
    assert_untouched(house)
    report = await house.service.add(OWNER, "calc", InstanceDraft(transport=PROGRAM))
    assert report.transport == PROGRAM


async def test_a_key_of_another_group_sees_nothing(house: House) -> None:
    house.directory.put_group(group("dev"))
    with pytest.raises(NotFoundError):
        house.service.of(bound_to("dev"), "calc")


async def test_a_disabled_server_takes_instances_that_wait(house: House) -> None:
    off = EndpointPatch(enabled=False)
    await house.endpoints.update(OWNER, "calc", lambda _: off)
    report = await house.add(B)
    assert report.state.status is ConnectionStatus.DISABLED
    assert house.client.kept == {}
    await house.endpoints.update(OWNER, "calc", lambda _: EndpointPatch(enabled=True))
    await eventually(lambda: report.instance.id in house.client.kept)


async def test_instances_are_there_again_after_a_start() -> None:
    async with living(House()) as first:
        await first.register()
        added = (await first.add(B, weight=4)).instance
        own = EndpointId(first.endpoints.find(OWNER, "calc").id)
        await first.service.update(OWNER, "calc", own, InstancePatch(weight=6))
    async with living(House(uow=first.uow)) as second:
        await second.endpoints.load()
        await second.service.load()
        reports = second.service.of(OWNER, "calc")
        assert [(r.instance.id, r.instance.weight) for r in reports] == [(own, 6), (added.id, 4)]
        assert reports[1].state.status is ConnectionStatus.READY
        assert second.client.kept.keys() == {own, added.id}


def assert_untouched(house: House) -> None:
    endpoint_id = house.endpoints.find(OWNER, "calc").id
    assert [one.id for one in house.directory.instances(endpoint_id)] == [endpoint_id]
    assert house.stored() == []
    assert house.client.kept.keys() == {endpoint_id}
    assert house.details() == []
