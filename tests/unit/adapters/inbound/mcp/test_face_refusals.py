"""What is no MCP request gets a precise answer, and nothing is carried out."""

import json
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from agenthub.adapters.inbound.mcp.face import Route, route_of
from agenthub.adapters.inbound.mcp.wire import Limits
from agenthub.domain.entities.endpoints import Era
from agenthub.domain.entities.identity import OWNER
from tests.unit.adapters.inbound.mcp.test_face_legacy import ask_name, told
from tests.unit.adapters.inbound.mcp.world import World

pytestmark = pytest.mark.anyio
PING = {"jsonrpc": "2.0", "id": 1, "method": "ping"}


@pytest.mark.parametrize(
    ("path", "route"),
    [
        ("/mcp", Route("mcp")),
        ("/groups/a/mcp", Route("mcp", group="a")),
        ("/servers/b/mcp", Route("mcp", server="b")),
        ("/sse", Route("sse")),
        ("/groups/a/sse/messages", Route("sse/messages", group="a")),
        ("/servers/b/sse", None),
        ("/mcp/", None),
        ("/groups/a/b/mcp", None),
        ("/x/mcp", None),
    ],
)
def test_paths_lead_to_their_transport_and_view(path: str, route: Route | None) -> None:
    assert route_of(path) == route


@pytest.mark.parametrize(
    ("body", "how", "status"),
    [
        (PING, {"content_type": "text/plain"}, 415),
        (PING, {"content_type": "application/jsonx"}, 415),
        (b"{", {}, 400),
        ([PING], {}, 400),
        (b'{"jsonrpc":"2.0","id":1,"method":"ping","method":"tools/call"}', {}, 400),
        (b'{"jsonrpc":"2.0","id":1,"Method":"ping"}', {}, 400),
        (b'{"jsonrpc":"2.0","id":NaN,"method":"ping"}', {}, 400),
        (b"[" * 100_000, {}, 400),
        (b"x" * 2049, {}, 413),
    ],
)
async def test_bad_bodies_are_refused_in_json_rpc(
    body: Any, how: dict[str, Any], status: int
) -> None:
    async with World(Limits(max_body_bytes=2048 if status == 413 else 1 << 20)) as world:
        visit = world.post(body, **how)

        answer = await visit.json()

    assert visit.status == status
    assert answer["jsonrpc"] == "2.0"
    assert isinstance(answer["error"]["code"], int)


async def test_a_slow_body_is_given_up() -> None:
    async with World(Limits(body_timeout_s=0.01)) as world:
        visit = world.visit("POST", "/mcp", content_type="application/json", body=None)

        await visit.body()

    assert visit.status == 408


@pytest.mark.parametrize("path", ["/groups/none/mcp", "/servers/none/mcp", "/nowhere"])
async def test_unknown_paths_are_not_found(world: World, path: str) -> None:
    visit = world.post(PING, path)
    await visit.body()

    assert visit.status == 404


@pytest.mark.parametrize(
    ("method", "path"),
    [("PUT", "/mcp"), ("DELETE", "/mcp"), ("POST", "/sse"), ("GET", "/sse/messages")],
)
async def test_other_methods_are_not_allowed(world: World, method: str, path: str) -> None:
    visit = world.visit(method, path)
    await visit.body()

    assert visit.status == 405
    assert visit.headers["allow"]


async def test_an_errors_id_is_the_requests_own(world: World) -> None:
    visit = world.post({"jsonrpc": "2.0", "id": "q", "method": "tools/call", "params": []})

    assert (await visit.json())["id"] == "q"


async def test_only_the_servers_of_the_path_are_called(world: World) -> None:
    await world.add("other", Era.MODERN, tools=("shout",))

    foreign = await world.modern("tools/call", {"name": "shout"}, path="/servers/time/mcp").json()
    own = await world.modern("tools/call", {"name": "echo"}, path="/servers/time/mcp").json()

    assert foreign["error"]["code"] == -32602
    assert "result" in own or "isError" in json.dumps(own)
    assert len(world.client.requests) == 1


async def test_a_body_may_come_in_parts(world: World) -> None:
    agent = await world.legacy()
    body = json.dumps({**PING, "id": "p"}).encode()
    visit = world.visit(
        "POST",
        "/mcp",
        content_type="application/json",
        mcp_session_id=agent.session_id,
        body=None,
    )

    visit.bring(body[:10], more=True)
    visit.bring(body[10:20], more=True)
    visit.bring(body[20:])

    assert (await visit.json())["id"] == "p"


async def test_parts_beyond_the_limit_are_refused_before_the_last_has_come() -> None:
    async with World(Limits(max_body_bytes=10)) as world:
        visit = world.visit("POST", "/mcp", content_type="application/json", body=None)

        visit.bring(b"x" * 6, more=True)
        visit.bring(b"x" * 6, more=True)
        await visit.body()

    assert visit.status == 413


async def test_a_body_that_breaks_off_is_refused(world: World) -> None:
    visit = world.visit("POST", "/mcp", content_type="application/json", body=None)

    visit.bring(b"{", more=True)
    visit.hang_up()
    await visit.body()

    assert visit.status == 400


@pytest.mark.parametrize(
    ("message", "status"),
    [
        ({"jsonrpc": "2.0", "method": "notifications/whatever"}, 202),
        ({"jsonrpc": "2.0", "id": 1, "result": {}}, 400),
    ],
)
async def test_modern_agents_send_notifications_but_no_responses(
    world: World, message: dict[str, Any], status: int
) -> None:
    visit = world.post(message, mcp_protocol_version="2026-07-28")
    await visit.body()

    assert visit.status == status


@pytest.mark.parametrize(
    ("method", "params"),
    [
        ("tools/call", {}),
        ("tools/call", {"name": ""}),
        ("tools/call", {"name": "time__echo", "arguments": [1]}),
        ("tools/call", {"name": "nobody__echo"}),
        ("tools/list", {"cursor": "forged"}),
        ("resources/read", {"uri": 3}),
        ("completion/complete", {"ref": {"type": "ref/none"}, "argument": {}}),
        ("completion/complete", {"ref": {"type": "ref/prompt"}, "argument": {}}),
        ("completion/complete", {"ref": {"type": "ref/prompt", "name": "a"}}),
        ("logging/setLevel", {"level": "loud"}),
        ("resources/subscribe", {}),
    ],
)
async def test_wrong_params_are_refused_and_nothing_is_called(
    world: World, method: str, params: dict[str, Any]
) -> None:
    agent = await world.legacy()

    visit = agent.request(method, params)

    assert (await visit.json())["error"]["code"] == -32602
    assert visit.status == 200
    assert not world.client.requests


async def test_initialize_without_its_params_is_refused_and_opens_no_session(
    world: World,
) -> None:
    visit = world.post({"jsonrpc": "2.0", "id": 4, "method": "initialize", "params": {}})
    body = await visit.json()

    assert (visit.status, body["id"], body["error"]["code"]) == (400, 4, -32602)
    assert "mcp-session-id" not in visit.headers


async def test_a_fault_of_the_hub_itself_is_an_internal_error_without_its_words(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    world.client.results["tools/call"] = ValueError("secret detail")
    agent = await world.legacy()

    answer = await agent.call("time__echo").json()

    assert answer["error"]["code"] == -32603
    assert "secret" not in json.dumps(answer)
    assert "secret detail" in caplog.text


async def test_an_undeclared_question_of_a_legacy_server_is_refused_to_a_modern_agent(
    world: World,
) -> None:
    await world.add("time", Era.LEGACY)
    world.client.handle = ask_name

    answer = await world.modern("tools/call", {"name": "time__echo"}).json()

    assert "elicitation" in told(answer)["refused"]


@pytest.mark.parametrize("why", ["revoked", "expired"])
async def test_open_streams_end_with_their_key(why: str) -> None:
    async with World(Limits(sweep_every_s=0.01)) as world:
        ends_at = world.clock.now() + timedelta(seconds=60)
        key = replace(OWNER, subject="key-1", expires_at=ends_at if why == "expired" else None)
        old = (await world.legacy(principal=key)).listen()
        new = world.modern("subscriptions/listen", {"notifications": {}}, principal=key)
        kept = (await world.legacy()).listen()
        for stream in (old, new, kept):
            await stream.begun()
        await new.message()

        if why == "revoked":
            world.identity.revoked.add("key-1")
        else:
            world.clock.move(60)

        assert await old.is_over()
        assert (await new.message())["error"]["code"] == 1401
        assert await new.is_over()
        assert kept.task is not None
        assert not kept.task.done()
