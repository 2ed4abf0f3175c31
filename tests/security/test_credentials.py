"""Where tokens, keys and the secrets of servers may be found: nowhere but where they belong."""

import asyncio
import hashlib
import sqlite3
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.security.upstreams import WatchedUpstream
from tests.security.wire import Target
from tests.support.agents import Agent, AgentEra
from tests.support.ports import free_port

pytestmark = pytest.mark.e2e

SERVERS = "/api/mcp/servers"
Json = dict[str, Any]


def kept_bytes(folder: Path) -> bytes:
    """Everything in the data dir but the file whose business the owner's token is."""
    files = [path for path in folder.rglob("*") if path.is_file() and path.name != "owner-token"]
    assert any(path.suffix == ".db" for path in files)
    return b"".join(path.read_bytes() for path in files)


def test_key_is_shown_once_and_kept_as_a_hash(hub: Target) -> None:
    made = hub.hub.rest("POST", "/api/keys", {"name": "shown once", "scopes": ["hub:read"]}).body
    secret: str = made["secret"]
    hub.secrets.add(secret)
    assert len(secret) >= 43
    listed = hub.ask("GET", "/api/keys?limit=200").json()["items"]
    mine = next(key for key in listed if key["id"] == made["id"])
    single = hub.ask("GET", f"/api/keys/{made['id']}").json()
    for shown in (mine, single):
        assert "secret" not in shown
        assert hashlib.sha256(secret.encode()).hexdigest() not in str(shown)
        assert secret.startswith(shown["prefix"])
        assert len(shown["prefix"]) <= 12
    kept = kept_bytes(hub.hub.data_dir)
    assert secret.encode() not in kept
    assert secret[len(made["prefix"]) :].encode() not in kept
    assert hashlib.sha256(secret.encode()).hexdigest().encode() in kept


def test_key_with_one_character_changed_opens_nothing(hub: Target) -> None:
    secret = hub.key("hub:read")
    assert hub.ask("GET", SERVERS, token=secret).status == 200
    for at in (0, 4, len(secret) // 2, len(secret) - 1):
        other = "A" if secret[at] != "A" else "B"
        changed = secret[:at] + other + secret[at + 1 :]
        assert hub.ask("GET", SERVERS, token=changed).status == 401, at
    for changed in (secret[:-1], secret + "A", secret.swapcase(), secret.upper()):
        assert hub.ask("GET", SERVERS, token=changed).status == 401


def test_hash_of_a_key_is_no_key(hub: Target) -> None:
    digest = hashlib.sha256(hub.key("admin").encode()).hexdigest()
    assert hub.ask("GET", SERVERS, token=digest).status == 401


def test_files_that_hold_secrets_are_for_the_owner_alone(hub: Target) -> None:
    for path in hub.hub.data_dir.rglob("*"):
        if path.is_file() and path.name.split(".")[0] in ("owner-token", "secret", "agenthub"):
            assert path.stat().st_mode & 0o077 == 0, path


HEADER_SECRET = "header-secret-of-a-server-4711"
VARIABLE_SECRET = "variable-secret-of-a-server-4711"


def test_secrets_of_servers_are_sealed_and_never_come_back(hub: Target) -> None:
    """Neither in an answer, nor in an error, an event, the log or a file of the hub."""
    hub.secrets |= {HEADER_SECRET, VARIABLE_SECRET}
    url = f"http://127.0.0.1:{free_port()}/mcp"
    web = {"type": "streamable-http", "url": url, "headers": {"Authorization": HEADER_SECRET}}
    env = {"API_KEY": VARIABLE_SECRET}
    program = {"type": "stdio", "command": "no-such-program-at-all", "env": env}
    try:
        for name, transport in (("sealed-web", web), ("sealed-program", program)):
            body = {"name": name, "transport": transport}
            assert hub.ask("POST", SERVERS, body).status == 201
            assert hub.ask("POST", SERVERS, body).status == 409
            hub.ask("POST", f"{SERVERS}?verify=true", {**body, "name": "x-y"}, may_fail=True)
            hub.ask("PATCH", f"{SERVERS}/{name}", {"tags": ["a"]})
            hub.ask("POST", f"{SERVERS}/{name}/refresh", may_fail=True)
            for path in ("", f"/{name}", f"/{name}/diagnosis"):
                assert hub.ask("GET", SERVERS + path).status == 200
        kept = kept_bytes(hub.hub.data_dir)
        assert HEADER_SECRET.encode() not in kept
        assert VARIABLE_SECRET.encode() not in kept
    finally:
        for name in ("sealed-web", "sealed-program"):
            hub.hub.rest("DELETE", f"{SERVERS}/{name}")


def test_secrets_in_a_refused_body_are_not_repeated(hub: Target) -> None:
    hub.secrets.add("refused-secret-4711")
    for headers in (
        {"Authorization": "refused-secret-4711\r\nX: 1"},
        {"Bad Name": "refused-secret-4711"},
        {"Authorization": ["refused-secret-4711"]},
        "refused-secret-4711",
    ):
        transport = {"type": "streamable-http", "url": "http://127.0.0.1:9/", "headers": headers}
        reply = hub.ask("POST", SERVERS, {"name": "refused", "transport": transport})
        assert reply.status == 422, reply
    program = {"type": "stdio", "command": "x", "env": {"LD_PRELOAD": "refused-secret-4711"}}
    assert hub.ask("POST", SERVERS, {"name": "refused", "transport": program}).status == 422
    broken = b'{"name":"refused","transport":{"headers":{"A":"refused-secret-4711"},}'
    assert hub.ask("POST", SERVERS, broken).status in (400, 422)


def test_sealed_rows_do_not_open_in_each_others_place(hub: Target) -> None:
    """What is sealed for one server must be worth nothing in the row of another."""
    for name, secret in (("row-one", "row-secret-one-4711"), ("row-two", "row-secret-two-4711")):
        hub.secrets.add(secret)
        headers = {"Authorization": secret}
        transport = {"type": "streamable-http", "url": "http://127.0.0.1:9/", "headers": headers}
        body = {"name": name, "transport": transport, "enabled": False}
        assert hub.ask("POST", SERVERS, body).status == 201
    with closing(sqlite3.connect(hub.hub.data_dir / "agenthub.db")) as database:
        names = [row[0] for row in database.execute("select name from sqlite_master")]
        table = next(name for name in names if "endpoint" in name)
        columns = [row[1] for row in database.execute(f"pragma table_info({table})")]
        rows = database.execute(f"select * from {table} where name like 'row-%'").fetchall()
    sealed = [
        index
        for index, _ in enumerate(columns)
        if rows[0][index] != rows[1][index] and isinstance(rows[0][index], bytes)
    ]
    assert sealed, f"nothing sealed in {columns}"
    assert all(len(row[index]) > 28 for row in rows for index in sealed)
    for name in ("row-one", "row-two"):
        hub.hub.unregister(name)


AGENTS_OWN = {
    "Cookie": "session=cookie-of-the-agent-4711",
    "X-Api-Key": "api-key-of-the-agent-4711",
    "X-Forwarded-For": "203.0.113.9",
    "X-Forwarded-Host": "evil.example",
    "Forwarded": "for=203.0.113.9",
    "Proxy-Authorization": "Basic of-the-agent-4711",
    "X-Mcp-Secret": "secret-of-the-agent-4711",
    "Origin": "",
}


async def test_hubs_token_and_the_agents_headers_never_reach_a_server(
    hub: Target, watched: WatchedUpstream
) -> None:
    headers = {name: value for name, value in AGENTS_OWN.items() if value}
    hub.call("watched__echo", {"message": "x"}, headers=headers)
    hub.ask(
        "POST",
        f"{SERVERS}/watched/tools/echo",
        {"arguments": {"message": "x"}},
        headers=headers,
    )
    for era in AgentEra:
        async with Agent(hub.hub.url("/mcp"), hub.hub.token, era) as agent:
            await agent.call("watched__echo", {"message": "x"})
    await asyncio.to_thread(hub.ask, "POST", f"{SERVERS}/watched/refresh")
    assert len(watched.calls()) == 4
    for exchange in watched.exchanges:
        seen = f"{exchange.headers} {exchange.message}"
        assert hub.hub.token not in seen
        assert "of-the-agent-4711" not in seen
        assert "203.0.113.9" not in seen
        assert "evil.example" not in seen
        assert not {"authorization", "cookie", "origin", "x-api-key"} & exchange.headers.keys()
        assert exchange.headers["host"] == f"127.0.0.1:{watched.port}"


@pytest.mark.parametrize(
    "name",
    [
        "Host",
        "host",
        "Content-Length",
        "Transfer-Encoding",
        "Connection",
        "Content-Type",
        "Accept",
        "Mcp-Session-Id",
        "MCP-Protocol-Version",
        "Mcp-Method",
        "Mcp-Name",
        "Last-Event-ID",
        "Mcp-Param-Region",
        "Keep-Alive",
        "Upgrade",
        "TE",
        "Trailer",
        "Expect",
        "Proxy-Connection",
    ],
)
def test_headers_of_the_connection_are_not_for_a_registration_to_set(
    hub: Target, name: str
) -> None:
    transport = {"type": "streamable-http", "url": "http://127.0.0.1:9/", "headers": {name: "x"}}
    reply = hub.ask("POST", SERVERS, {"name": "heads", "transport": transport, "enabled": False})
    if reply.status == 201:
        hub.hub.unregister("heads")
    assert reply.status == 422, reply


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("X-Good", "a\r\nX-Injected: 1"),
        ("X-Good", "a\nX-Injected: 1"),
        ("X-Good", "a\x00b"),
        ("X-Good\r\nX-Injected", "1"),
        ("X-Good: 1\r\nX-Injected", "1"),
        ("X Good", "1"),
        ("", "1"),
        ("X-Good", "\u010d\u010a"),
        ("X-Göod", "1"),
        ("X-Good", "\ud800"),
    ],
)
def test_header_of_a_registration_injects_no_other(hub: Target, name: str, value: str) -> None:
    with WatchedUpstream() as server:
        headers = {name: value}
        transport = {"type": "streamable-http", "url": server.url, "headers": headers}
        reply = hub.ask("POST", SERVERS, {"name": "injecting", "transport": transport})
        if reply.status == 201:
            hub.hub.unregister("injecting")
        assert reply.status in (400, 422), reply
        assert not [one for one in server.exchanges if "x-injected" in one.headers]


def test_registered_credential_goes_to_its_own_server_alone(
    hub: Target, watched: WatchedUpstream
) -> None:
    secret = "Bearer credential-of-one-server-4711"
    hub.secrets.add(secret)
    with WatchedUpstream() as own:
        transport = {
            "type": "streamable-http",
            "url": own.url,
            "headers": {"Authorization": secret},
        }
        hub.hub.register("credited", transport)
        try:
            hub.call("credited__echo", {"message": "x"})
            hub.call("watched__echo", {"message": "x"})
        finally:
            hub.hub.unregister("credited")
        assert {one.headers.get("authorization") for one in own.exchanges} == {secret}
    assert all(secret not in str(one.headers) for one in watched.exchanges)


@pytest.mark.parametrize(
    "headers", [None, {}, {"Authorization": "***"}, {"X-Other": "1"}], ids=["left out", *"abc"]
)
def test_stored_credential_does_not_follow_its_server_to_another_address(
    hub: Target, headers: Json | None
) -> None:
    """Who may change servers must not learn their secrets by pointing them at a server of his."""
    secret = "Bearer credential-that-stays-4711"
    hub.secrets.add(secret)
    writer = hub.key("hub:read", "hub:write", "tools:call")
    with WatchedUpstream() as own, WatchedUpstream() as thief:
        stored = {"type": "streamable-http", "url": own.url, "headers": {"Authorization": secret}}
        hub.hub.register("pointed", stored)
        try:
            change: Json = {"url": thief.url}
            if headers is not None:
                change["headers"] = headers
            path = f"{SERVERS}/pointed"
            reply = hub.ask("PATCH", path, {"transport": change}, token=writer, may_fail=True)
            assert reply.status in (200, 403, 422), reply
            hub.call("pointed__echo", {"message": "x"}, token=writer)
        finally:
            hub.hub.unregister("pointed")
        assert own.exchanges
        assert not [one for one in thief.exchanges if secret in str(one.headers)]


def test_key_of_a_removed_group_opens_nothing_even_when_the_group_is_back(hub: Target) -> None:
    group = {"slug": "fleeting", "name": "Fleeting", "members": []}
    assert hub.ask("POST", "/api/groups", group).status == 201
    key = hub.key("admin", group="fleeting")
    assert hub.ask("GET", SERVERS, token=key).status == 200
    assert hub.ask("DELETE", "/api/groups/fleeting").status == 204
    assert hub.ask("GET", SERVERS, token=key).status == 401
    assert hub.ask("POST", "/api/groups", group).status == 201
    assert hub.ask("GET", SERVERS, token=key).status == 401
    hub.ask("DELETE", "/api/groups/fleeting")


def test_output_of_a_program_is_for_admins(hub: Target) -> None:
    code = "import sys; sys.stderr.write('token=printed-by-a-program-4711\\n'); sys.exit(1)"
    args = ["-I", "-S", "-c", code]
    program = {"type": "stdio", "command": sys.executable, "args": args}
    hub.ask("POST", SERVERS, {"name": "printing", "transport": program})
    reader = hub.key("hub:read", "hub:write", "tools:call")
    try:
        told = hub.ask("GET", f"{SERVERS}/printing/diagnosis", token=reader).json()
        whole = hub.ask("GET", f"{SERVERS}/printing/diagnosis").json()
    finally:
        hub.hub.unregister("printing")
    assert told["output"] == []
    assert whole["output"]
    assert "printed-by-a-program-4711" not in hub.hub.log()
