"""Watches of resources: counted once per agent, let go of when nobody listens."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from agenthub.adapters.inbound.mcp import listening
from agenthub.adapters.inbound.mcp.crew import Crew
from agenthub.adapters.inbound.mcp.listening import LIST_CHANGES, UPDATED, Listener, Listening
from agenthub.domain.entities.endpoints import Era
from agenthub.domain.entities.groups import Group, GroupMember
from agenthub.domain.entities.identity import OWNER, Scope
from agenthub.domain.exceptions import NotFoundError, QuotaError, RpcError
from agenthub.domain.ids import DEFAULT_WORKSPACE, EndpointId, GroupId
from tests.support.waiting import eventually, soon
from tests.unit.adapters.inbound.mcp.asgi import Visit
from tests.unit.adapters.inbound.mcp.world import AT, World

pytestmark = pytest.mark.anyio
URI = "time+demo://a"


async def test_a_session_watches_a_resource_once_and_may_stop(world: World) -> None:
    agent = await world.legacy()

    for _ in range(2):
        await agent.request("resources/subscribe", {"uri": URI}).json()
    counted = sum(world.client.watches.values())
    for _ in range(2):
        await agent.request("resources/unsubscribe", {"uri": URI}).json()

    assert counted == 1
    assert not world.client.watches


async def test_two_sessions_hear_of_one_resource_and_one_may_leave(world: World) -> None:
    agents = [await world.legacy(), await world.legacy()]
    for agent in agents:
        await agent.request("resources/subscribe", {"uri": URI}).json()
    streams = [await agent.listen().begun() for agent in agents]
    endpoint_id = next(iter(world.client.kept))

    await agents[0].request("resources/unsubscribe", {"uri": URI}).json()
    world.client.change_resource(endpoint_id, "demo://a")

    assert (await streams[1].message())["method"] == UPDATED
    for stream in streams:
        stream.hang_up()
    assert not (await streams[0].body()).replace(b": keep-alive\r\n\r\n", b"")


async def test_unknown_resources_and_too_many_are_refused(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    # a thousand watches would only make the test slow
    monkeypatch.setattr(listening, "MAX_WATCHES", 1)
    view = world.catalog.view_all(OWNER)
    async with Crew() as crew:
        all_listeners = Listening(world.face._hub, crew)  # pyright: ignore[reportPrivateUsage]
        listener = Listener(view, Era.LEGACY, print)
        all_listeners.join(listener)

        with pytest.raises(NotFoundError):
            await all_listeners.watch(listener, view, "nobody+x://y")
        await all_listeners.watch(listener, view, URI)
        with pytest.raises(QuotaError):
            await all_listeners.watch(listener, view, "time+demo://b")

        all_listeners.leave(listener)
        await eventually(lambda: not world.client.watches)


async def test_a_listen_with_too_many_uris_is_refused_at_once(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listening, "MAX_WATCHES", 2)

    visit = listen(world, ["x", "x", "x"])

    assert (await visit.json())["error"]["code"] == 1429
    assert not world.client.watches


async def test_servers_are_asked_for_their_watches_at_the_same_time(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    all_asked = asyncio.Barrier(3)
    watch = world.client.watch_resource

    async def together(endpoint_id: EndpointId, uri: str) -> None:
        await soon(all_asked.wait())
        await watch(endpoint_id, uri)

    monkeypatch.setattr(world.client, "watch_resource", together)
    uris = [f"time+demo://{name}" for name in "abc"]

    stream = listen(world, [*uris, uris[0], "nobody+x://y"])

    assert (await stream.message())["params"]["notifications"] == {"resourceSubscriptions": uris}
    stream.hang_up()
    await eventually(lambda: not world.client.watches)


async def test_what_hangs_is_not_acknowledged_and_delays_the_rest_once(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    # the real ten seconds would only make the test slow
    monkeypatch.setattr(listening, "WATCH_TIMEOUT_S", 0.01)
    watch = world.client.watch_resource

    async def hang(endpoint_id: EndpointId, uri: str) -> None:
        if uri != "demo://a":
            await asyncio.Event().wait()
        await watch(endpoint_id, uri)

    monkeypatch.setattr(world.client, "watch_resource", hang)

    stream = listen(world, ["time+demo://b", URI, "time+demo://c"])

    assert (await stream.message())["params"]["notifications"] == {"resourceSubscriptions": [URI]}
    stream.hang_up()


async def test_a_key_that_may_not_read_watches_nothing(world: World) -> None:
    key = replace(OWNER, subject="key-1", scopes=frozenset({Scope.TOOLS_CALL}))

    stream = listen(world, [URI], principal=key)

    assert (await stream.message())["params"]["notifications"] == {}
    assert not world.client.watches
    stream.hang_up()


async def test_a_server_taken_out_of_a_group_is_watched_no_more_for_its_agents(
    world: World,
) -> None:
    endpoint_id = next(iter(world.client.kept))
    group = team(GroupMember(endpoint_id=endpoint_id))
    world.directory.put_group(group)
    bound = await world.legacy(path="/groups/team/mcp")
    free = await world.legacy()
    for agent in (bound, free):
        await agent.request("resources/subscribe", {"uri": URI}).json()
    assert sum(world.client.watches.values()) == 2

    world.directory.put_group(replace(group, members=()))

    await eventually(lambda: sum(world.client.watches.values()) == 1)
    stream = await bound.listen().begun()
    world.client.change_resource(endpoint_id, "demo://a")
    world.directory.put_group(group)
    told = {(await stream.message())["method"] for _ in range(3)}
    assert told == LIST_CHANGES
    stream.hang_up()


async def test_a_right_lost_while_the_server_answers_leaves_no_watch(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    watch = world.client.watch_resource

    async def lose(endpoint_id: EndpointId, uri: str) -> None:
        await watch(endpoint_id, uri)
        world.directory.drop_endpoint(endpoint_id)

    monkeypatch.setattr(world.client, "watch_resource", lose)
    agent = await world.legacy()

    answer = await agent.request("resources/subscribe", {"uri": URI}).json()

    assert answer["error"]["code"] == -32002
    assert not world.client.watches


@pytest.mark.parametrize("watched", ["demo://dir", "demo://dir/", "demo://dir/sub", "demo:"])
async def test_an_update_of_a_sub_resource_reaches_who_watches_what_it_is_part_of(
    world: World, watched: str
) -> None:
    endpoint_id = next(iter(world.client.kept))
    agent = await world.legacy()
    for own in (watched, "demo://dir/subway", "demo://di"):
        await agent.request("resources/subscribe", {"uri": f"time+{own}"}).json()
    stream = await agent.listen().begun()

    world.catalog.on_resource_updated(world.client.kept[endpoint_id], "demo://dir/sub/file")
    world.client.change_resource(endpoint_id, "demo://di")

    first, second = await stream.message(), await stream.message()
    assert first["params"] == {"uri": "time+demo://dir/sub/file"}
    assert second["params"] == {"uri": "time+demo://di"}
    stream.hang_up()


async def test_a_sub_resource_that_is_not_shown_is_not_named(world: World) -> None:
    endpoint_id = next(iter(world.client.kept))
    member = GroupMember(endpoint_id=endpoint_id, resources=frozenset({"demo://a"}))
    world.directory.put_group(team(member))
    agent = await world.legacy(path="/groups/team/mcp")
    await agent.request("resources/subscribe", {"uri": URI}).json()
    stream = await agent.listen().begun()

    world.catalog.on_resource_updated(world.client.kept[endpoint_id], "demo://a/secret")

    assert (await stream.message())["params"] == {"uri": URI}
    stream.hang_up()


async def test_a_watch_that_cannot_be_ended_keeps_no_other_one(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    agent = await world.legacy()
    for name in "abc":
        await agent.request("resources/subscribe", {"uri": f"time+demo://{name}"}).json()
    unwatch = world.client.unwatch_resource

    async def refuse(endpoint_id: EndpointId, uri: str) -> None:
        await unwatch(endpoint_id, uri)
        raise RpcError(-32601, "There is no unsubscribing here.")

    monkeypatch.setattr(world.client, "unwatch_resource", refuse)

    await world.visit("DELETE", "/mcp", mcp_session_id=agent.session_id).body()

    await eventually(lambda: not world.client.watches)


def listen(world: World, uris: list[str], **how: Any) -> Visit:
    return world.modern(
        "subscriptions/listen", {"notifications": {"resourceSubscriptions": uris}}, **how
    )


def team(*members: GroupMember) -> Group:
    return Group(
        id=GroupId("group"),
        workspace=DEFAULT_WORKSPACE,
        slug="team",
        name="Team",
        description="",
        members=members,
        created_at=AT,
        updated_at=AT,
    )
