"""The instances of a server over REST."""

from typing import Any

import pytest

from agenthub.domain.entities.catalog.listing import Catalog, Item, ItemKind
from agenthub.domain.entities.endpoints import ConnectionStatus, EndpointState, Era
from agenthub.domain.entities.identity import OWNER
from agenthub.domain.ids import EndpointId
from tests.integration.http.world import SERVERS, Served, bearer, body_of
from tests.support.waiting import eventually

INSTANCES = f"{SERVERS}/demo/instances"
URL = "http://127.0.0.1:9/second"
BODY: dict[str, Any] = {
    "transport": {"type": "streamable-http", "url": URL, "headers": {"x-token": "s3cret"}}
}
DOWN = EndpointState(status=ConnectionStatus.UNREACHABLE, last_error="refused")
OTHER = Catalog({ItemKind.TOOLS: (Item(ItemKind.TOOLS, "rm", {"name": "rm"}),)})


@pytest.fixture
async def demo(hub: Served) -> Served:
    """The server `demo`, and a second address that offers the same."""
    server = await hub.register()
    client = hub.world.client
    client.offers_at[URL] = client.catalog(EndpointId(server["id"]), Era.MODERN)
    return hub


async def add(demo: Served, **more: Any) -> dict[str, Any]:
    answer = await demo.http.post(INSTANCES, json={**BODY, **more})
    assert answer.status_code == 201, answer.text
    return answer.json()


async def listed(demo: Served) -> list[dict[str, Any]]:
    answer = await demo.http.get(INSTANCES)
    assert answer.status_code == 200
    return answer.json()["items"]


async def test_a_server_begins_with_its_own_address(demo: Served) -> None:
    server = (await demo.http.get(f"{SERVERS}/demo")).json()
    (own,) = await listed(demo)
    assert own["id"] == server["id"]
    assert own["transport"] == server["transport"]
    assert (own["weight"], own["priority"], own["draining"]) == (1, 0, False)
    assert (own["status"], own["last_error"], own["differs"]) == ("ready", None, None)


async def test_an_instance_is_added_shown_changed_and_removed(demo: Served) -> None:
    answer = await demo.http.post(INSTANCES, json={**BODY, "weight": 3, "priority": 1})
    added = answer.json()
    assert answer.status_code == 201
    place = answer.headers["location"]
    assert (await demo.http.get(place)).json() == added
    assert added["transport"]["headers"] == {"x-token": "***"}
    assert "s3cret" not in answer.text
    assert [one["id"] for one in await listed(demo)][1:] == [added["id"]]
    changed = await demo.http.patch(place, json={"weight": 9, "draining": True})
    assert changed.status_code == 200
    assert changed.json() == {**added, "weight": 9, "draining": True}
    assert (await demo.http.delete(place)).status_code == 204
    assert len(await listed(demo)) == 1
    assert (await demo.http.get(place)).status_code == 404
    assert added["id"] not in demo.world.client.kept


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *(("weight", value) for value in (0, -1, 1001, 1.5, "2", True, 10**30)),
        *(("priority", value) for value in (-1, 101, "0", 0.5)),
        ("draining", "yes"),
        ("transport.type", None),
        ("surprise", 1),
    ],
)
async def test_bad_values_are_named_and_change_nothing(
    demo: Served, field: str, value: Any
) -> None:
    added = await add(demo)
    connects = len(demo.world.client.connects)
    adding = await demo.http.post(INSTANCES, json={**BODY, field: value})
    changing = await demo.http.patch(f"{INSTANCES}/{added['id']}", json={field: value})
    for answer in (adding, changing):
        problem = body_of(answer)
        assert answer.status_code == 422, answer.text
        assert [error["loc"] for error in problem["errors"]] == [[field]]
    assert (await listed(demo))[1:] == [added]
    assert len(demo.world.client.connects) == connects


@pytest.mark.parametrize(
    ("transport", "loc"),
    [
        ({"type": "streamable-http", "url": "ftp://x"}, ["transport", "url"]),
        ({"type": "stdio", "command": " "}, ["transport", "command"]),
        (
            {"type": "streamable-http", "url": URL, "headers": {"x-token": "***"}},
            ["transport", "headers", "x-token"],
        ),
    ],
)
async def test_a_bad_transport_is_named(demo: Served, transport: Any, loc: list[str]) -> None:
    answer = await demo.http.post(INSTANCES, json={"transport": transport})
    assert answer.status_code == 422, answer.text
    assert [error["loc"] for error in body_of(answer)["errors"]] == [loc]
    assert len(await listed(demo)) == 1


async def test_an_instance_that_differs_is_a_422_and_changes_nothing(demo: Served) -> None:
    demo.world.client.offers_at[URL] = OTHER
    kept = set(demo.world.client.kept)
    answer = await demo.http.post(INSTANCES, json=BODY)
    problem = body_of(answer)
    assert (answer.status_code, problem["code"]) == (422, "instance_differs")
    assert [error["loc"] for error in problem["errors"]] == [["transport"]]
    assert "add_numbers, rm" in problem["detail"]
    assert len(await listed(demo)) == 1
    assert set(demo.world.client.kept) == kept


async def test_an_instance_that_is_not_there_is_a_502_and_changes_nothing(demo: Served) -> None:
    demo.world.client.fates_at[URL] = DOWN
    answer = await demo.http.post(INSTANCES, json=BODY)
    assert (answer.status_code, body_of(answer)["code"]) == (502, "server_unreachable")
    assert len(await listed(demo)) == 1


async def test_unknown_servers_and_instances_are_404(demo: Served) -> None:
    for path, code in (
        (f"{SERVERS}/nobody/instances/x", "server_not_found"),
        (f"{INSTANCES}/nobody", "instance_not_found"),
    ):
        for answer in (
            await demo.http.get(path),
            await demo.http.patch(path, json={"weight": 2}),
            await demo.http.delete(path),
        ):
            assert (answer.status_code, body_of(answer)["code"]) == (404, code)
    assert (await demo.http.post(f"{SERVERS}/nobody/instances", json=BODY)).status_code == 404


async def test_the_own_address_is_weighed_but_not_removed(demo: Served) -> None:
    (own,) = await listed(demo)
    place = f"{INSTANCES}/{own['id']}"
    assert (await demo.http.patch(place, json={"weight": 5})).json()["weight"] == 5
    answer = await demo.http.delete(place)
    assert (answer.status_code, body_of(answer)["code"]) == (409, "own_instance")
    assert (await listed(demo))[0]["weight"] == 5


async def test_an_instance_that_drifts_is_shown_with_the_reason(demo: Served) -> None:
    added = await add(demo)
    demo.world.client.offer(EndpointId(added["id"]), OTHER)
    shown = (await demo.http.get(f"{INSTANCES}/{added['id']}")).json()
    assert shown["differs"] == "its tools differ from those of its server: add_numbers, rm"


async def test_a_program_needs_an_admin(demo: Served) -> None:
    key = await demo.key("hub:read", "hub:write")
    body = {"transport": {"type": "stdio", "command": "some-server"}}
    answer = await demo.http.post(INSTANCES, json=body, headers=bearer(key["secret"]))
    assert (answer.status_code, body_of(answer)["code"]) == (403, "stdio_needs_admin")
    assert len(await listed(demo)) == 1


async def test_news_of_an_instance_bear_the_name_of_its_server(demo: Served) -> None:
    added = await add(demo)
    demo.world.client.become(EndpointId(added["id"]), DOWN)

    async def is_told() -> bool:
        async with demo.world.uow.read(OWNER) as stored:
            events = await stored.events.after(0, limit=100)
        facts = [event.facts for event in events if event.name == "server.status"]
        return ("demo", f"Instance {added['id']}: refused") in [
            (fact["server"], fact["detail"]) for fact in facts
        ]

    await eventually(is_told)


async def test_a_draining_address_gets_no_calls(demo: Served) -> None:
    (own,) = await listed(demo)
    added = await add(demo)
    await demo.http.patch(f"{INSTANCES}/{own['id']}", json={"draining": True})
    for _ in range(4):
        answer = await demo.http.post(f"{SERVERS}/demo/tools/add_numbers", json={"arguments": {}})
        assert answer.status_code == 200, answer.text
    assert {request[0] for request in demo.world.client.requests} == {added["id"]}
