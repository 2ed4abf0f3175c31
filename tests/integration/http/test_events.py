"""The event feed: replay, live, both framings, and how it ends."""

import asyncio
import json
from collections.abc import AsyncGenerator
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from agenthub.adapters.inbound.http import sse
from agenthub.adapters.inbound.http.routes import events as routes
from agenthub.adapters.inbound.http.wire_events import WIRE
from agenthub.domain import event as domain_events
from agenthub.domain.entities.identity import OWNER
from agenthub.domain.event import DomainEvent
from agenthub.domain.exceptions import UnavailableError
from tests.integration.http.feed import URL, following
from tests.integration.http.people import APPROVALS, elicit, group_of, hold, wish
from tests.integration.http.world import SERVERS, TOKEN, Served, bearer, body_of
from tests.support.waiting import soon


async def test_what_happens_is_told_as_it_happens(hub: Served) -> None:
    async with following(hub) as reader:
        assert reader.answer.headers["content-type"].startswith("text/event-stream")
        await hub.register("demo")
        told = await reader.next()
    assert told["event"] == told["data"]["type"] == "server.status"
    assert {"at", "workspace", "server_id"} <= told["data"].keys()
    assert told["data"]["server"] == "demo"
    assert int(told["id"]) > 0


async def test_what_was_missed_comes_first_and_nothing_twice(hub: Served) -> None:
    for number in range(3):
        await hub.register(f"s{number}")
    async with following(hub, **{"last-event-id": "0"}) as reader:
        first = [await reader.next() for _ in range(3)]
    async with following(hub, **{"last-event-id": first[1]["id"]}) as reader:
        again = await reader.next()
        await hub.register("last")
        servers = {again["data"].get("server")}
        ids = [int(again["id"])]
        while "last" not in servers:
            event = await reader.next()
            servers.add(event["data"].get("server"))
            ids.append(int(event["id"]))
    assert again["id"] == first[2]["id"]
    assert ids == sorted(set(ids))


async def test_a_quiet_stream_beats(hub: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sse.EventStream.__init__, "__kwdefaults__", {"heartbeat_s": 0.02})
    async with following(hub) as reader:
        async with asyncio.timeout(5):
            async for line in reader.lines:
                if line == ": still here":
                    break


@pytest.mark.parametrize("last", ["-1", "x", str(2**63), "1e3"])
async def test_a_wrong_last_event_id_is_refused(hub: Served, last: str) -> None:
    answer = await hub.http.get(URL, headers={"last-event-id": last})
    assert answer.status_code == 422
    assert body_of(answer)["errors"]


async def test_a_missing_scope_is_refused_before_the_stream(hub: Served) -> None:
    key = await hub.key("tools:call")
    assert (await hub.http.get(URL, headers=bearer(key["secret"]))).status_code == 403


async def test_a_revoked_key_loses_its_stream(hub: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sse.EventStream.__init__, "__kwdefaults__", {"heartbeat_s": 0.02})
    key = await hub.key("hub:read")
    async with following(hub, **bearer(key["secret"])) as reader:
        await hub.http.delete(f"/api/keys/{key['id']}")
        told = await reader.next()
        assert (told["event"], told["data"]["code"]) == ("error", "unauthenticated")
        assert await reader.rest() == []


async def test_a_bound_key_hears_of_its_group_only(hub: Served) -> None:
    await hub.register("inside")
    await hub.register("outside")
    await hub.http.post("/api/groups", json={"slug": "team", "members": [{"server": "inside"}]})
    key = await hub.key("hub:read", group="team")
    head = bearer(key["secret"]) | {"last-event-id": "0"}
    async with following(hub, **head) as reader:
        heard = {(await reader.next())["data"]["server"] for _ in range(2)}
    assert "outside" not in heard
    assert "inside" in heard


async def test_questions_to_people_are_told_and_how_they_ended(hub: Served) -> None:
    async with following(hub) as reader:
        request_id = await hold(hub)
        asked = await reader.next()
        await hub.http.post(f"{APPROVALS}/{request_id}/deny", json={})
        ended = await reader.next()
    assert asked["event"] == "approval_request"
    assert (asked["data"]["request_id"], asked["data"]["tool"]) == (request_id, "send")
    assert "anna" not in str(asked)
    assert ended["event"] == "request.resolved"
    facts = [ended["data"][name] for name in ("request_id", "kind", "status", "by")]
    assert facts == [request_id, "approval", "rejected", "owner"]


async def test_a_reader_that_comes_back_misses_no_question(hub: Served) -> None:
    before = await elicit(hub)
    async with following(hub, **{"last-event-id": "0"}) as reader:
        first = await reader.next()
    missed = await wish(hub)
    async with following(hub, **{"last-event-id": first["id"]}) as reader:
        second = await reader.next()
        live = await hold(hub)
        third = await reader.next()
    assert [one["event"] for one in (first, second, third)] == [
        "elicitation_request",
        "sampling_request",
        "approval_request",
    ]
    told = [one["data"]["request_id"] for one in (first, second, third)]
    assert told == [before, missed, live]


async def test_a_bound_key_hears_of_its_groups_questions_only(hub: Served) -> None:
    team, other = await group_of(hub, "team"), await group_of(hub, "other")
    await hold(hub)
    await hold(hub, origin={"group": other})
    own = await hold(hub, origin={"group": team})
    key = await hub.key("hub:read", group="team")
    head = bearer(key["secret"]) | {"last-event-id": "0"}
    async with following(hub, **head) as reader:
        heard = await reader.next()
        while heard["event"] != "approval_request":
            heard = await reader.next()
    assert heard["data"]["request_id"] == own
    assert heard["data"]["group"] == team


async def test_a_fault_behind_the_first_byte_becomes_the_last_event(
    hub: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*_: object) -> AsyncGenerator[object]:
        raise UnavailableError("no database", code="storage_unavailable")
        yield

    # Storage that breaks between two reads cannot be had from outside.
    monkeypatch.setattr(type(hub.world.hub.events), "follow", broken)
    async with following(hub) as reader:
        told = await reader.next()
        assert (told["event"], told["data"]["code"]) == ("error", "storage_unavailable")
        assert await reader.rest() == []


async def test_streams_end_at_once_when_the_hub_stops(hub: Served) -> None:
    async with following(hub) as reader:
        hub.world.rest.close()
        assert ": connected" in await reader.rest()
    answer = await hub.http.get("/readyz")
    assert (answer.status_code, body_of(answer)["code"]) == (503, "stopping")
    assert answer.headers["retry-after"]
    assert (await hub.http.get("/livez")).status_code == 200


def socket(hub: Served, **options: Any) -> connect:
    return connect(f"ws://127.0.0.1:{hub.port}{URL}/ws", proxy=None, **options)


async def first_event(talk: ClientConnection) -> Any:
    return json.loads(await soon(talk.recv()))


async def test_a_socket_says_its_token_first_and_gets_the_same_events(hub: Served) -> None:
    await hub.register("demo")
    async with socket(hub) as talk:
        await talk.send(json.dumps({"token": TOKEN, "last_event_id": 0}))
        told = await first_event(talk)
    assert told["data"]["type"] == "server.status"
    assert told["id"] > 0


@pytest.mark.parametrize(
    "greeting",
    [
        *("", "{", "[]", '{"token": 1}', '{"token": "wrong"}', '{"token": "ahk_wrong"}'),
        *(b"bytes", '{"token": "a", "more": 1}', '{"token": "\\ud800"}'),
    ],
)
async def test_a_socket_that_greets_wrongly_is_closed(hub: Served, greeting: str | bytes) -> None:
    async with socket(hub) as talk:
        await talk.send(greeting)
        with pytest.raises(ConnectionClosed) as caught:
            await first_event(talk)
    assert caught.value.rcvd is not None
    assert caught.value.rcvd.code == 1008


async def test_a_silent_socket_is_closed(hub: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(routes, "FIRST_MESSAGE_S", 0.02)
    async with socket(hub) as talk:
        with pytest.raises(ConnectionClosed):
            await first_event(talk)


async def test_a_socket_of_a_strange_page_is_refused(hub: Served) -> None:
    with pytest.raises(InvalidStatus) as caught:
        async with socket(hub, origin="https://evil.example"):
            pass
    assert caught.value.response.status_code == 403


async def test_a_socket_ends_when_the_hub_stops(hub: Served) -> None:
    async with socket(hub) as talk:
        await talk.send(json.dumps({"token": TOKEN}))
        hub.world.rest.close()
        with pytest.raises(ConnectionClosed) as caught:
            await first_event(talk)
    assert caught.value.rcvd is not None
    assert caught.value.rcvd.code == 1001


def test_every_event_of_the_domain_has_its_row() -> None:
    every = {
        one.name
        for one in vars(domain_events).values()
        if isinstance(one, type) and issubclass(one, DomainEvent) and hasattr(one, "name")
    }
    assert set(WIRE) == every


async def test_servers_are_counted_in_the_metrics(hub: Served) -> None:
    await hub.register("demo")
    await hub.http.get(f"{SERVERS}/demo")
    await hub.http.get(f"{SERVERS}/nobody")
    text = (await hub.http.get("/metrics")).text
    route = 'method="GET",route="/api/mcp/servers/{id}"'
    assert f'agenthub_http_requests_total{{{route},status="200"}} 1' in text
    assert f'agenthub_http_requests_total{{{route},status="404"}} 1' in text
    assert 'agenthub_server_status{server="demo",status="ready"} 1' in text
    assert 'agenthub_server_items{kind="tools",server="demo"} 1' in text


async def test_old_events_are_dropped_only_beyond_the_promise(hub: Served) -> None:
    await hub.register("demo")
    assert await hub.world.hub.events.prune() == 0
    async with hub.world.uow.read(OWNER) as stored:
        assert await stored.events.last_id() > 0
