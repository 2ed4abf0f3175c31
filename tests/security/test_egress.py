"""Servers as a way into the network behind the hub: registered, redirected to, or hinted at."""

import asyncio
import json
import re
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from agenthub.adapters.outbound.http.aiohttp import AiohttpClient
from agenthub.domain.ports.outbound.http import EgressDeniedError
from tests.security.upstreams import Saying, Victim, WatchedUpstream, tool
from tests.security.wire import Reply, Target, refused
from tests.support.fault_mcp import Eras
from tests.support.ports import free_port

pytestmark = pytest.mark.e2e

SERVERS = "/api/mcp/servers"
TOKEN_OF_SERVER = "token-of-the-server-4711"
Json = dict[str, Any]


@pytest.fixture(scope="module")
def victim() -> Iterator[Victim]:
    with Victim() as victim:
        yield victim


def http(url: str, kind: str = "streamable-http", **headers: str) -> Json:
    return {"type": kind, "url": url, "headers": headers}


def register(hub: Target, transport: Json, name: str = "inner", query: str = "") -> Reply:
    """Try to register, and leave nothing behind."""
    body = {"name": name, "transport": transport}
    reply = hub.ask("POST", SERVERS + query, body, may_fail=True)
    if reply.status == 201:
        hub.hub.unregister(name)
    return reply


def kept_out(reply: Reply) -> bool:
    """Say whether the hub refused for egress: at once, or as the reason of a failed connection."""
    answer = reply.json()
    if reply.status == 201:
        reason: str = answer["last_error"]
        return answer["status"] == "unreachable" and "The hub does not call" in reason
    return reply.status in (422, 502)


ALWAYS_DENIED = [
    "http://169.254.169.254/latest/meta-data/",
    "http://[::ffff:169.254.169.254]/",
    "http://[64:ff9b::a9fe:a9fe]/",
    "http://[2002:a9fe:a9fe::]/",
    "http://2852039166/",
    "http://0xa9fea9fe/",
    "http://0251.0376.0251.0376/",
    "http://169.254.169.254./",
    "http://[fe80::1]/",
    "http://[fd00:ec2::254]/",
    "http://100.100.100.200/",
    "http://224.0.0.1/",
    "http://255.255.255.255/",
]


@pytest.mark.parametrize("url", ALWAYS_DENIED)
def test_metadata_and_link_local_addresses_are_refused_even_at_home(hub: Target, url: str) -> None:
    began = time.monotonic()
    reply = register(hub, http(url))
    assert kept_out(reply), reply
    assert time.monotonic() - began < 5.0
    assert register(hub, http(url), query="?verify=true").status in (422, 502)


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "localhost",
        "localhost.",
        "0.0.0.0",
        "[::1]",
        "[::]",
        "2130706433",
        "0x7f.1",
        "0x7f000001",
        "127.1",
        "0177.0.0.1",
        "127.0.0.1.",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "[2002:7f00:1::]",
        "[64:ff9b::7f00:1]",
        "[::127.0.0.1]",
        "①②⑦.⓪.⓪.①",
    ],
)
@pytest.mark.parametrize("kind", ["streamable-http", "sse"])
def test_no_spelling_of_loopback_gets_through_where_private_is_forbidden(
    guarded: Target, victim: Victim, host: str, kind: str
) -> None:
    before = victim.connections
    reply = register(guarded, http(f"http://{host}:{victim.port}/mcp", kind))
    assert kept_out(reply) or b"does not resolve" in reply.body, reply
    assert victim.connections == before
    assert b"inner secret" not in reply.body


@pytest.mark.parametrize(
    "host", ["10.0.0.1", "172.16.0.1", "192.168.1.1", "100.64.0.1", "[fd00::1]", "[fec0::1]"]
)
def test_private_addresses_are_refused_at_once_where_forbidden(guarded: Target, host: str) -> None:
    began = time.monotonic()
    reply = register(guarded, http(f"http://{host}/mcp"))
    assert kept_out(reply), reply
    assert time.monotonic() - began < 5.0


def test_changing_a_registered_url_is_checked_like_a_new_one(
    guarded: Target, victim: Victim
) -> None:
    outer = {"name": "outer", "transport": http("http://outer.invalid/mcp"), "enabled": False}
    assert guarded.ask("POST", SERVERS, outer).status == 201
    before = victim.connections
    try:
        change = {"transport": http(victim.url), "enabled": True}
        reply = guarded.ask("PATCH", f"{SERVERS}/outer", change)
        assert reply.status == 422 or reply.json()["status"] == "unreachable"
        guarded.ask("POST", f"{SERVERS}/outer/refresh", may_fail=True)
    finally:
        guarded.hub.unregister("outer")
    assert victim.connections == before


def test_open_and_closed_inner_ports_look_the_same(guarded: Target, victim: Victim) -> None:
    seen: list[str] = []
    for port in (victim.port, free_port()):
        reply = register(guarded, http(f"http://127.0.0.1:{port}/mcp"))
        assert reply.status in (201, 422)
        told = reply.json().get("last_error") or reply.json()["detail"]
        seen.append(told.replace(str(port), "PORT"))
    assert seen[0] == seen[1]


def test_name_that_changes_its_address_is_judged_at_the_connection(
    victim: Victim, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name that resolves to a public address first, and to loopback from then on."""
    answers = ["203.0.113.7", "127.0.0.1"]

    def changing(host: Any, port: Any, *args: Any, **kwargs: Any) -> list[Any]:
        address = answers[0] if len(answers) == 1 else answers.pop(0)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))]

    monkeypatch.setattr(socket, "getaddrinfo", changing)
    changing("rebinding.example", victim.port)
    before = victim.connections

    async def attack() -> None:
        async with AiohttpClient(allow_private=False) as client:
            url = f"http://rebinding.example:{victim.port}/"
            with pytest.raises(EgressDeniedError):
                async with client.request("GET", url, headers={}, timeout_s=5.0):
                    pytest.fail("the inner port answered")

    asyncio.run(attack())
    assert victim.connections == before


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirect_of_a_server_is_not_followed(hub: Target, victim: Victim, status: int) -> None:
    head = f"HTTP/1.1 {status} Elsewhere\r\nLocation: {victim.url}\r\nContent-Length: 0\r\n\r\n"
    before = victim.connections
    with Saying(head.encode()) as server:
        reply = register(hub, http(server.url))
    assert reply.json()["status"] == "unreachable"
    assert victim.connections == before


def test_hints_of_a_refusing_server_are_not_followed(hub: Target, victim: Victim) -> None:
    hint = f'Bearer resource_metadata="{victim.url}", authorization_uri="{victim.url}"'
    body = json.dumps({"authorization_servers": [victim.url], "token_endpoint": victim.url})
    said = (
        f"HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: {hint}\r\nLink: <{victim.url}>\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n{body}"
    )
    before = victim.connections
    with Saying(said.encode()) as server:
        reply = register(hub, http(server.url, Authorization=f"Bearer {TOKEN_OF_SERVER}"))
    assert reply.json()["status"] in ("unauthorized", "unreachable")
    assert TOKEN_OF_SERVER.encode() not in reply.body
    assert victim.connections == before


def test_message_address_of_an_old_server_must_be_its_own(hub: Target, victim: Victim) -> None:
    """The HTTP+SSE transport lets a server say where messages go."""
    event = f"event: endpoint\r\ndata: {victim.url}\r\n\r\n"
    said = f"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n{event}"
    before = victim.connections
    with Saying(said.encode()) as server:
        url = server.url
        reply = register(hub, http(url, "sse", Authorization=f"Bearer {TOKEN_OF_SERVER}"))
    assert reply.json()["status"] == "unreachable"
    assert victim.connections == before


@pytest.mark.parametrize(
    "url",
    [
        "file:///etc/passwd",
        "gopher://127.0.0.1/1",
        "unix:///var/run/docker.sock",
        "http+unix://%2Fvar%2Frun%2Fdocker.sock/",
        "ftp://127.0.0.1/",
        "data:application/json,{}",
        "javascript:alert(1)",
        "ws://127.0.0.1/",
        "//127.0.0.1/mcp",
        "http://user:secret-word@127.0.0.1/mcp",
        "http://user@127.0.0.1/mcp",
        "http://127.0.0.1/mcp\r\nX-Injected: 1",
        "http://127.0.0.1/mcp\nX-Injected: 1",
        "http://127.0.0.1\t/mcp",
        "http://127.0.0.1/m cp",
        "http://127.0.0.1:0/mcp",
        "http://127.0.0.1:99999/mcp",
        "http://[::1/mcp",
        "http:///mcp",
        "http://",
        "",
        "http://127.0.0.1/\x00",
        "http://a\ud800b/",
        "http://" + "a" * 70_000 + "/",
    ],
)
@pytest.mark.parametrize("kind", ["streamable-http", "sse"])
def test_what_is_no_plain_http_url_is_refused_and_not_kept(
    hub: Target, url: str, kind: str
) -> None:
    reply = hub.ask("POST", SERVERS, {"name": "no-url", "transport": http(url, kind)})
    assert reply.status in (400, 413, 422), reply
    assert b"secret-word" not in reply.body
    assert hub.ask("GET", f"{SERVERS}/no-url").status == 404
    assert "secret-word" not in hub.hub.log()


def test_references_in_schemas_are_never_fetched_and_such_a_tool_is_withheld(
    hub: Target, victim: Victim
) -> None:
    def referring(name: str, where: str) -> Json:
        return tool(name, {"type": "object", "properties": {"a": {"$ref": where}}})

    tools = [
        tool("sound", {"type": "object", "properties": {"a": {"$ref": "#/$defs/a"}}, "$defs": {}}),
        referring("net", victim.url),
        referring("file", "file:///etc/passwd"),
        {**tool("out"), "outputSchema": {"type": "object", "allOf": [{"$ref": victim.url}]}},
        tool("dynamic", {"type": "object", "$dynamicRef": victim.url}),
    ]
    before = victim.connections
    with WatchedUpstream(*tools, eras=Eras.LEGACY) as server:
        hub.hub.register_http("referring", server.url)
        try:
            offered = hub.modern("tools/list").message()["result"]["tools"]
            names = {one["name"] for one in offered if one["name"].startswith("referring__")}
            hub.call("referring__net", {"a": 1})
            calls = server.calls()
        finally:
            hub.hub.unregister("referring")
    assert names == {"referring__sound"}
    assert calls == []
    assert victim.connections == before


def test_result_links_of_a_server_are_not_fetched(hub: Target, victim: Victim) -> None:
    link = {"type": "resource_link", "uri": victim.url, "name": "x"}
    icons = [{"src": victim.url, "mimeType": "image/png"}]

    def linking(exchange: Any, result: Json) -> Json:
        return {**result, "content": [link]} if exchange.method == "tools/call" else result

    before = victim.connections
    with WatchedUpstream({**tool("link"), "icons": icons}, change=linking) as server:
        hub.hub.register_http("linking", server.url)
        try:
            assert not refused(hub.call("linking__link", {}))
            hub.ask("GET", f"{SERVERS}/linking/resources/{victim.url.replace('/', '%2F')}")
        finally:
            hub.hub.unregister("linking")
    assert victim.connections == before


def test_proxy_of_the_environment_is_not_used(
    victim: Victim, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, victim.url)
    before = victim.connections

    async def ask(url: str) -> bytes:
        async with (
            AiohttpClient(allow_private=True) as client,
            client.request("GET", url, headers={}, timeout_s=5.0) as response,
        ):
            return await response.read()

    with Saying(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok") as server:
        assert asyncio.run(ask(server.url)) == b"ok"
    assert victim.connections == before


def test_error_of_an_unreachable_server_holds_no_header_of_it(hub: Target) -> None:
    url = f"http://127.0.0.1:{free_port()}/mcp?api_key=query-secret-4711"
    reply = register(hub, http(url, Authorization=f"Bearer {TOKEN_OF_SERVER}"), name="silent")
    assert reply.json()["status"] == "unreachable"
    assert TOKEN_OF_SERVER.encode() not in reply.body
    assert TOKEN_OF_SERVER not in hub.hub.log()
    assert not re.search(r"query-secret", hub.hub.log())


def test_unreachable_servers_hold_nobody_up(hub: Target) -> None:
    """A port that accepts and never speaks, registered from many sides at once."""
    with socket.create_server(("127.0.0.1", 0), backlog=64) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/mcp"
        bodies = [{"name": f"silent-{n}", "transport": http(url)} for n in range(5)]
        threads = [threading.Thread(target=hub.ask, args=("POST", SERVERS, b)) for b in bodies]
        for thread in threads:
            thread.start()
        began = time.monotonic()
        assert hub.ask("GET", f"{SERVERS}?limit=1").status == 200
        assert time.monotonic() - began < 2.0
    for thread in threads:
        thread.join(30.0)
    for body in bodies:
        hub.hub.rest("DELETE", f"{SERVERS}/{body['name']}")
