"""Watches of resources: counted once per agent, let go of when nobody listens."""

import pytest

from agenthub.adapters.inbound.mcp import listening
from agenthub.adapters.inbound.mcp.crew import Crew
from agenthub.adapters.inbound.mcp.listening import UPDATED, Listener, Listening
from agenthub.domain.entities.endpoints import Era
from agenthub.domain.entities.identity import OWNER
from agenthub.domain.exceptions import NotFoundError, QuotaError
from tests.support.waiting import eventually
from tests.unit.adapters.inbound.mcp.world import World

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
