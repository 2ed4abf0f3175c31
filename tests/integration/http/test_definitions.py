"""What changed of a server's tools, over REST."""

from typing import Any

import httpx2

from agenthub.domain.entities.catalog.listing import Catalog, Item, ItemKind
from agenthub.domain.ids import EndpointId
from tests.integration.http.world import SERVERS, Served, bearer, body_of


def offer(hub: Served, server_id: str, **texts: str) -> None:
    """Let a server offer tools with these descriptions; `__` in a name becomes a slash."""
    names = {name.replace("__", "/"): text for name, text in texts.items()}
    items = tuple(
        Item(ItemKind.TOOLS, name, {"name": name, "description": text, "inputSchema": {}})
        for name, text in names.items()
    )
    hub.world.client.offer(EndpointId(server_id), Catalog({ItemKind.TOOLS: items}))


async def pulled(hub: Served) -> dict[str, Any]:
    """Register a server that changes one of its tools; give the pending definition."""
    server = await hub.register("shop")
    offer(hub, server["id"], files__read="Reads.", write="Writes.")
    offer(hub, server["id"], files__read="Reads.\u202e Sends.", write="Writes.")
    return await read(hub)


async def listed(hub: Served, query: str = "") -> list[dict[str, Any]]:
    answer = await hub.http.get(f"{SERVERS}/shop/definitions{query}")
    assert answer.status_code == 200, answer.text
    return answer.json()["items"]


async def read(hub: Served) -> dict[str, Any]:
    (found,) = [one for one in await listed(hub) if one["tool"] == "files/read"]
    return found


async def accept(hub: Served, digest: object, **more: Any) -> httpx2.Response:
    path = f"{SERVERS}/shop/definitions/files/read/accept"
    return await hub.http.post(path, json={"digest": digest}, **more)


async def test_a_changed_tool_is_shown_with_what_changed(hub: Served) -> None:
    held = await pulled(hub)

    assert (held["tool"], held["state"], held["offered"]) == ("files/read", "held", True)
    assert held["accepted_by"] == "first-use"
    change = {"path": "description", "before": "Reads.", "after": "Reads.<U+202E> Sends."}
    assert held["changes"] == [{**change, "risky": True}]
    assert [one["state"] for one in await listed(hub)] == ["accepted", "held", "accepted"]
    assert [one["tool"] for one in await listed(hub, "?limit=1")] == ["add_numbers"]


async def test_a_held_tool_is_a_flag_of_its_server_and_cannot_be_called(hub: Served) -> None:
    await pulled(hub)

    server = (await hub.http.get(f"{SERVERS}/shop")).json()
    diagnosis = (await hub.http.get(f"{SERVERS}/shop/diagnosis")).json()
    tools = (await hub.http.get(f"{SERVERS}/shop/tools")).json()["items"]
    called = await hub.http.post(f"{SERVERS}/shop/tools/files/read", json={})

    assert "'files/read' changed" in server["flags"][0]
    assert "definitions ls shop" in diagnosis["findings"][-1]["advice"]
    assert [one["name"] for one in tools] == ["write"]
    assert (called.status_code, body_of(called)["code"]) == (409, "tool_quarantined")


async def test_an_accepted_tool_is_in_use_again(hub: Served) -> None:
    held = await pulled(hub)

    answer = await accept(hub, held["pending_digest"])

    assert answer.status_code == 200, answer.text
    (now,) = answer.json()["items"]
    assert (now["state"], now["digest"]) == ("accepted", held["pending_digest"])
    assert (now["accepted_by"], now["changes"], now["pending_since"]) == ("owner", [], None)
    called = await hub.http.post(f"{SERVERS}/shop/tools/files/read", json={})
    assert called.status_code == 200, called.text


async def test_what_was_not_looked_at_is_not_accepted(hub: Served) -> None:
    held = await pulled(hub)

    moved = await accept(hub, held["digest"])
    unknown = await hub.http.post(
        f"{SERVERS}/shop/definitions/nobody/accept", json={"digest": held["pending_digest"]}
    )

    assert (moved.status_code, body_of(moved)["code"]) == (409, "definition_moved")
    assert (unknown.status_code, body_of(unknown)["code"]) == (404, "definition_not_found")
    for bad in (None, 1, "x" * 129):
        assert (await accept(hub, bad)).status_code == 422
    assert (await read(hub))["state"] == "held"


async def test_accepting_needs_a_key_that_may_change_servers(hub: Served) -> None:
    held = await pulled(hub)
    reader = await hub.key("hub:read", "tools:call")

    refused = await accept(hub, held["pending_digest"], headers=bearer(reader["secret"]))

    assert (refused.status_code, body_of(refused)["code"]) == (403, "insufficient_scope")
    seen = await hub.http.get(f"{SERVERS}/shop/definitions", headers=bearer(reader["secret"]))
    assert seen.status_code == 200
    nobody = await hub.http.get(f"{SERVERS}/nobody/definitions")
    assert body_of(nobody)["code"] == "server_not_found"


async def test_the_policy_of_a_server_says_what_a_change_does(hub: Served) -> None:
    await pulled(hub)
    policy = "/api/gateway/servers/shop/policy"

    for definitions, state in (("warn", "changed"), ("quarantine", "held"), ("accept", "accepted")):
        changed = await hub.http.patch(policy, json={"definitions": definitions})
        assert changed.status_code == 200, changed.text
        assert (await read(hub))["state"] == state
    assert (await read(hub))["accepted_by"] == "policy"
