"""What a key may see and do: its scopes, its group, and nothing by another way."""

import asyncio
import re
from typing import Any

import pytest

from tests.security.house import House
from tests.security.test_browser import operations
from tests.security.upstreams import WatchedUpstream
from tests.security.wire import ACCEPT, Reply, Target, refused
from tests.support.agents import Agent, AgentEra, text_of

pytestmark = pytest.mark.e2e

SERVERS = "/api/mcp/servers"
Json = dict[str, Any]


def masked(reply: Reply, *names: str) -> tuple[int, str]:
    """Status and body with the asked name blanked, to compare answers."""
    body = reply.body.decode()
    for name in names:
        body = body.replace(name, "NAME")
    return reply.status, body


FOREIGN = [
    ("GET", "/api/mcp/servers/{}", None),
    ("PATCH", "/api/mcp/servers/{}", {"tags": ["mine"]}),
    ("DELETE", "/api/mcp/servers/{}", None),
    ("POST", "/api/mcp/servers/{}/refresh", None),
    ("GET", "/api/mcp/servers/{}/tools", None),
    ("POST", "/api/mcp/servers/{}/tools/echo", {"arguments": {"message": "x"}}),
    ("GET", "/api/mcp/servers/{}/resources", None),
    ("GET", "/api/mcp/servers/{}/resource-templates", None),
    ("GET", "/api/mcp/servers/{}/resources/demo%3A%2F%2Fa", None),
    ("GET", "/api/mcp/servers/{}/prompts", None),
    ("POST", "/api/mcp/servers/{}/prompts/greet", {"arguments": {}}),
    ("GET", "/api/mcp/servers/{}/diagnosis", None),
    ("GET", "/api/groups/{}", None),
    ("PATCH", "/api/groups/{}", {"name": "mine"}),
    ("DELETE", "/api/groups/{}", None),
]


@pytest.mark.parametrize(("method", "path", "body"), FOREIGN)
@pytest.mark.parametrize("who", ["bound", "bound_admin"])
def test_what_is_not_yours_looks_as_if_it_did_not_exist(
    house: House, who: str, method: str, path: str, body: Json | None
) -> None:
    token = getattr(house, who)
    theirs = house.hub.ask(method, path.format("theirs"), body, token=token)
    missing = house.hub.ask(method, path.format("nobody"), body, token=token)
    assert masked(theirs, "theirs") == masked(missing, "nobody")
    assert theirs.status in (403, 404)
    if method == "GET" or "tools/" in path:
        assert theirs.status == 404
    by_id = house.hub.ask(method, path.format(house.theirs_id), body, token=token)
    assert masked(by_id, house.theirs_id) == masked(missing, "nobody")
    assert house.theirs.calls() == []
    assert house.hub.ask("GET", f"{SERVERS}/theirs").json()["tags"] == []


@pytest.mark.parametrize("path", ["/servers/{}/mcp", "/groups/{}/mcp"])
def test_mcp_paths_of_others_look_as_if_they_did_not_exist(house: House, path: str) -> None:
    call = {"name": "echo", "arguments": {"message": "x"}}
    theirs = house.hub.modern("tools/call", call, path=path.format("theirs"), token=house.bound)
    missing = house.hub.modern("tools/call", call, path=path.format("nobody"), token=house.bound)
    assert masked(theirs, "theirs") == masked(missing, "nobody")
    assert theirs.status == 404
    assert house.theirs.calls() == []


@pytest.mark.parametrize("way", ["everything", "group"])
def test_group_lists_and_calls_its_own_items_alone(house: House, way: str) -> None:
    path, token = ("/mcp", house.bound) if way == "everything" else ("/groups/ours/mcp", "")

    def ask(method: str, params: Json) -> Json:
        return house.hub.modern(method, params, path=path, token=token).message()

    listed = {one["name"] for one in ask("tools/list", {})["result"]["tools"]}
    assert listed == {"ours__echo"}
    unknown = ask("tools/call", {"name": "ours__nothing", "arguments": {}})
    assert unknown["error"]["code"] == -32602
    for name in ("ours__secret_plan", "theirs__echo", "theirs__secret_plan", "watched__echo"):
        known = ask("tools/call", {"name": name, "arguments": {"message": "x"}})
        expected = unknown["error"]["message"].replace("ours__nothing", name)
        assert (known["error"]["code"], known["error"]["message"]) == (-32602, expected)
    assert [*house.ours.calls(), *house.theirs.calls()] == []
    ask("tools/call", {"name": "ours__echo", "arguments": {"message": "x"}})
    assert len(house.ours.calls()) == 1


@pytest.mark.parametrize("who", ["bound", "bound_admin"])
def test_lists_and_searches_of_a_bound_key_tell_of_nobody_else(house: House, who: str) -> None:
    token = getattr(house, who)
    for path in (SERVERS, "/api/tools", "/api/tools?query=secret%20plan", "/api/groups"):
        reply = house.hub.ask("GET", path, token=token)
        assert reply.status == 200, (path, reply)
        assert b"theirs" not in reply.body, path
        assert b"secret_plan" not in reply.body, path
    for path in ("/api/keys", "/metrics"):
        reply = house.hub.ask("GET", path, token=token)
        assert reply.status == 403 or b"theirs" not in reply.body, path


def replayed(hub: Target, token: str) -> bytes:
    """What the feed of events repeats to one who heard nothing yet; it never ends by itself."""
    raw = (
        f"GET /api/events HTTP/1.1\r\nHost: 127.0.0.1:{hub.hub.port}\r\n"
        f"Authorization: Bearer {token}\r\nLast-Event-ID: 0\r\n\r\n"
    )
    seen = b""
    with hub.connect() as sock:
        sock.settimeout(1.0)
        sock.sendall(raw.encode())
        try:
            while chunk := sock.recv(65_536):
                seen += chunk
        except TimeoutError:
            pass  # the replay is over
    return seen


def test_past_events_tell_a_bound_key_of_nobody_else(house: House) -> None:
    assert house.theirs_id.encode() in replayed(house.hub, house.hub.hub.token)
    seen = replayed(house.hub, house.bound)
    assert seen.startswith((b"HTTP/1.1 200", b"HTTP/1.1 403"))
    assert b'"theirs"' not in seen
    assert house.theirs_id.encode() not in seen


GIFTS: Json = {
    "id": "chosen-id",
    "tenant_id": "other",
    "workspace": "other",
    "workspace_id": "other",
    "owner_id": "owner",
    "is_admin": True,
    "role": "admin",
    "scope": ["admin"],
    "secret": "chosen-secret-000000000000000000",
    "secret_sha256": "0" * 64,
    "created_at": "1999-01-01T00:00:00Z",
    "status": "ready",
}


@pytest.mark.parametrize(
    ("path", "body", "name"),
    [
        (SERVERS, {"name": "gifted", "enabled": False}, "gifted"),
        ("/api/groups", {"slug": "gifted", "name": "Gifted", "members": []}, "gifted"),
        ("/api/keys", {"name": "gifted", "scopes": ["hub:read"]}, ""),
    ],
)
def test_fields_that_nobody_may_set_give_nothing(
    hub: Target, path: str, body: Json, name: str
) -> None:
    if path == SERVERS:
        url = "http://127.0.0.1:9/mcp"
        body = {**body, "transport": {"type": "streamable-http", "url": url}}
    reply = hub.ask("POST", path, {**body, **GIFTS})
    assert reply.status in (201, 422), reply
    if reply.status == 422:
        return
    made = reply.json()
    assert made["id"] != "chosen-id"
    assert "1999" not in str(made.get("created_at"))
    assert made.get("workspace", "default") != "other"
    assert made.get("scopes", ["hub:read"]) == ["hub:read"]
    assert made.get("secret") != GIFTS["secret"]
    hub.ask("DELETE", f"{path}/{name or made['id']}")


@pytest.mark.parametrize(
    "more", ["?tenant=a&tenant=b", "?workspace=other", "?workspace_id=%20default%20"]
)
def test_no_query_or_header_widens_a_key(house: House, more: str) -> None:
    headers = {"X-Tenant": "other", "X-Workspace": "other", "X-Group": "theirs"}
    reply = house.hub.ask("GET", SERVERS + more, token=house.bound, headers=headers)
    assert reply.status in (200, 422)
    assert b"theirs" not in reply.body


def test_call_needs_its_scope_on_every_way(house: House) -> None:
    hub = house.hub
    reader = hub.key("hub:read", "resources:read", "prompts:get")
    arguments = {"message": "x"}
    rest = hub.ask("POST", f"{SERVERS}/ours/tools/echo", {"arguments": arguments}, token=reader)
    assert (rest.status, rest.json()["code"]) == (403, "insufficient_scope")
    for path, name in (
        ("/mcp", "ours__echo"),
        ("/servers/ours/mcp", "echo"),
        ("/groups/ours/mcp", "ours__echo"),
    ):
        message = hub.call(name, arguments, path=path, token=reader)
        assert refused(message), message
        assert "tools:call" in str(message)
    batch = b'[{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"ours__echo"}}]'
    assert hub.ask("POST", "/mcp", batch, token=reader, headers={"Accept": ACCEPT}).status == 400
    legacy = asyncio.run(_legacy_call(hub, reader))
    assert refused(legacy), legacy
    assert house.ours.calls() == []


async def _legacy_call(hub: Target, token: str) -> Json:
    async with Agent(hub.hub.url("/mcp"), token, AgentEra.LEGACY) as agent:
        return await agent.call("ours__echo", {"message": "x"})


def test_reading_and_prompting_need_their_scopes(house: House) -> None:
    caller = house.hub.key("tools:call")
    for method, params in (
        ("resources/read", {"uri": "demo://a"}),
        ("prompts/get", {"name": "ours__greet"}),
    ):
        message = house.hub.modern(method, params, token=caller).message()
        assert "error" in message, message
    for path in ("resources", "resources/demo%3A%2F%2Fa", "prompts"):
        assert house.hub.ask("GET", f"{SERVERS}/ours/{path}", token=caller).status == 403


def test_other_names_of_a_foreign_resource_or_prompt_open_nothing(house: House) -> None:
    def offered(method: str, kind: str, field: str) -> list[str]:
        listed = house.hub.modern(method).message()["result"][kind]
        mine = house.hub.modern(method, token=house.bound).message()["result"][kind]
        assert mine
        return [one[field] for one in listed if one not in mine]

    for uri in [*offered("resources/list", "resources", "uri"), "demo://a"]:
        message = house.hub.modern("resources/read", {"uri": uri}, token=house.bound).message()
        assert "error" in message or house.theirs.calls() == [], uri
    for name in [*offered("prompts/list", "prompts", "name"), "greet"]:
        message = house.hub.modern("prompts/get", {"name": name}, token=house.bound).message()
        assert "error" in message, name
    reference = {"type": "ref/prompt", "name": "theirs__greet"}
    params = {"ref": reference, "argument": {"name": "a", "value": ""}}
    completed = house.hub.modern("completion/complete", params, token=house.bound).message()
    assert "error" in completed
    assert house.theirs.calls() == []


@pytest.mark.parametrize("who", ["bound", "bound_admin"])
def test_bound_key_changes_and_removes_not_even_its_own_group_and_servers(
    house: House, who: str
) -> None:
    """What belongs to all is not for a guest of one group to widen, break or take away."""
    members = [{"server": "ours"}, {"server": "theirs"}]
    stranger = {"type": "streamable-http", "url": "http://127.0.0.1:9/mcp"}
    for method, path, body in (
        ("PATCH", "/api/groups/ours", {"members": members}),
        ("PATCH", "/api/groups/ours", {"slug": "renamed"}),
        ("POST", "/api/groups", {"slug": "mine", "name": "mine", "members": members}),
        ("PATCH", f"{SERVERS}/ours", {"transport": stranger}),
        ("PATCH", f"{SERVERS}/ours", {"enabled": False}),
        ("POST", SERVERS, {"name": "mine", "transport": stranger, "enabled": False}),
        ("DELETE", "/api/groups/ours", None),
    ):
        reply = house.hub.ask(method, path, body, token=getattr(house, who))
        assert reply.status == 403, (method, path, reply)


def test_bound_key_removes_no_server(house: House) -> None:
    with WatchedUpstream() as server:
        house.hub.hub.register_http("removable", server.url)
        group = {"slug": "lent", "name": "Lent", "members": [{"server": "removable"}]}
        assert house.hub.ask("POST", "/api/groups", group).status == 201
        guest = house.hub.key("hub:read", "hub:write", group="lent")
        try:
            reply = house.hub.ask("DELETE", f"{SERVERS}/removable", token=guest)
            assert reply.status == 403, reply
        finally:
            house.hub.hub.rest("DELETE", "/api/groups/lent")
            house.hub.hub.rest("DELETE", f"{SERVERS}/removable")


def test_no_key_makes_a_stronger_one(house: House) -> None:
    hub = house.hub
    wish = {"name": "stronger", "scopes": ["admin"]}
    for token in (hub.key("hub:read", "hub:write"), house.bound):
        assert hub.ask("POST", "/api/keys", wish, token=token).status == 403
        same = {"name": "same", "scopes": ["hub:read"]}
        assert hub.ask("POST", "/api/keys", same, token=token).status == 403
    for group in (None, "theirs"):
        body = {**wish, "group": group}
        reply = hub.ask("POST", "/api/keys", body, token=house.bound_admin)
        assert reply.status in (403, 422), reply


def test_every_route_refuses_a_key_that_has_no_scope_for_it(house: House) -> None:
    """`chat` opens nothing that exists yet, so each route must say no by itself."""
    weak = house.hub.key("chat")
    let_in: list[tuple[str, str, int]] = []
    for method, path in operations(house.hub):
        path = re.sub(r"(?<=/servers/)any", "ours", path)
        path = re.sub(r"(?<=/groups/)any", "ours", path)
        if path.startswith(("/openapi", "/docs")):
            continue
        body: Json | None = {} if method in ("POST", "PUT", "PATCH") else None
        reply = house.hub.ask(method, path, body, token=weak)
        good = {403, 422} if body is not None else {403}
        if reply.status not in good:
            let_in.append((method, path, reply.status))
    assert let_in == []


def test_unknown_routes_lead_nowhere(hub: Target) -> None:
    for path in ("/api", "/api/", "/api/admin", "/admin", "/.env", "/api/mcp", "/debug", "/mcp/x"):
        assert hub.ask("GET", path).status == 404


async def test_equal_ids_of_two_agents_never_cross(house: House) -> None:
    """Each agent counts its requests from 1, and all are under way together."""
    url, token = house.hub.hub.url("/mcp"), house.hub.hub.token
    async with (
        Agent(url, token, AgentEra.LEGACY) as old,
        Agent(url, token, AgentEra.LEGACY) as older,
        Agent(url, token, AgentEra.MODERN) as new,
        Agent(url, token, AgentEra.MODERN) as newer,
    ):

        async def call(name: str, agent: Agent, number: int) -> None:
            said = f"{name} says {number}"
            assert text_of(await agent.call("ours__echo", {"message": said})) == said

        agents = {"old": old, "older": older, "new": new, "newer": newer}
        for start in range(0, 250, 25):
            async with asyncio.TaskGroup() as calls:
                for number in range(start, start + 25):
                    for name, agent in agents.items():
                        calls.create_task(call(name, agent, number))


def test_lists_that_depend_on_the_key_are_never_shared(house: House) -> None:
    def listed(token: str, path: str = "/mcp") -> tuple[Json, Reply]:
        reply = house.hub.modern("tools/list", path=path, token=token)
        return reply.message()["result"], reply

    owner, reply = listed("")
    bound, _ = listed(house.bound)
    again, _ = listed("")
    assert {one["name"] for one in bound["tools"]} == {"ours__echo"}
    assert {one["name"] for one in owner["tools"]} > {"ours__echo", "theirs__echo"}
    assert again["tools"] == owner["tools"]
    assert owner["cacheScope"] == bound["cacheScope"] == "private"
    control = (reply.header("cache-control") or "no-store").lower()
    assert "public" not in control
    assert "s-maxage" not in control


def test_cursor_of_one_key_gives_another_nothing(house: House) -> None:
    for path in (SERVERS, "/api/tools", "/api/groups"):
        page = house.hub.ask("GET", f"{path}?limit=1").json()
        cursor = page["next_cursor"]
        if cursor is None:
            continue
        reply = house.hub.ask("GET", f"{path}?limit=200&cursor={cursor}", token=house.bound)
        assert reply.status in (200, 400, 422)
        assert b"theirs" not in reply.body
