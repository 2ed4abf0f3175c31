"""What a web page, or any program of this machine, may try without the token."""

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.security.conftest import FRIEND
from tests.security.upstreams import WatchedUpstream
from tests.security.wire import ACCEPT, Reply, Target

pytestmark = pytest.mark.e2e

EVIL = "https://evil.example"
OTHER_EXTENSION = "chrome-extension://" + "b" * 32
SERVERS = "/api/mcp/servers"
HARMLESS = {
    "name": "planted",
    "transport": {"type": "streamable-http", "url": "http://127.0.0.1:9/mcp"},
    "enabled": False,
}
OPEN = {"/livez", "/readyz"}
BEYOND_OPENAPI = (
    ("GET", "/openapi.json"),
    ("GET", "/docs"),
    ("GET", "/metrics"),
    ("GET", "/api/events"),
    ("GET", "/api/nothing-of-the-kind"),
    ("GET", "/sse"),
    ("GET", "/groups/any/sse"),
    ("POST", "/sse/messages"),
    ("GET", "/mcp"),
    ("DELETE", "/mcp"),
    ("POST", "/mcp"),
    ("POST", "/groups/any/mcp"),
    ("POST", "/servers/any/mcp"),
    ("TRACE", "/api/keys"),
    ("OPTIONS", "/api/keys"),
    ("HEAD", "/api/keys"),
    ("PROPFIND", "/api/keys"),
)
ALLOW = "access-control-allow-origin"
CLOSE_FRAME = b"\x88"


def operations(hub: Target) -> list[tuple[str, str]]:
    """Every documented route, its parameters filled in."""
    document: dict[str, Any] = hub.ask("GET", "/openapi.json").json()
    return [
        (method.upper(), re.sub(r"\{[^}]*\}", "any", path))
        for path, methods in document["paths"].items()
        for method in methods
        if path not in OPEN and method in ("get", "post", "put", "patch", "delete")
    ]


def servers(hub: Target) -> set[str]:
    return {one["name"] for one in hub.ask("GET", f"{SERVERS}?limit=200").json()["items"]}


def rejects_stranger(reply: Reply) -> bool:
    return reply.status == 401 and (reply.header("www-authenticate") or "").startswith("Bearer")


def test_every_route_asks_a_stranger_for_a_token(hub: Target) -> None:
    routes = [*operations(hub), *BEYOND_OPENAPI]
    assert len(routes) > 40
    let_in = [
        (route, reply.status)
        for route in routes
        if not rejects_stranger(reply := hub.ask(*route, token=None))
    ]
    assert let_in == []


@pytest.mark.parametrize(
    "token", ["wrong", "ahk_" + "A" * 43, " ", "\xff", "null", "a" * 5000, "x y"]
)
def test_wrong_tokens_open_nothing_and_are_not_repeated(hub: Target, token: str) -> None:
    reply = hub.ask("GET", "/api/keys", token=token)
    assert rejects_stranger(reply)
    assert len(token) < 5 or token.encode("latin-1") not in reply.body


@pytest.mark.parametrize("scheme", ["Basic", "Token", "", "Bearer Bearer"])
def test_only_a_bearer_token_counts(hub: Target, scheme: str) -> None:
    headers = {"Authorization": f"{scheme} {hub.hub.token}".strip()}
    assert rejects_stranger(hub.ask("GET", "/api/keys", headers=headers))


def test_two_credentials_in_one_request_are_refused(hub: Target) -> None:
    headers = [("Authorization", f"Bearer {hub.hub.token}"), ("Authorization", "Bearer other")]
    assert hub.ask("GET", "/api/keys", headers=headers).status in (400, 401)


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "localhost.evil.example",
        "localhost:8000@evil.example",
        "localhost@evil.example",
        "127.0.0.1.evil.example",
        "evil.example:8000",
        "localhost, evil.example",
        "127.0.0.1/../evil",
        "2130706433",
        "0x7f.1",
        "[::ffff:127.0.0.1]",
        "localhost:99999",
        "localhost:-1",
        "x/api/health?",
        "",
        " ",
        "loc\xe4lhost",
    ],
)
@pytest.mark.parametrize("path", ["/api/keys", "/mcp", "/livez"])
def test_names_that_lead_here_from_elsewhere_are_refused(hub: Target, host: str, path: str) -> None:
    reply = hub.ask("GET", path, headers={"Host": host})
    assert reply.status in (400, 421), reply
    assert reply.header(ALLOW) is None


def test_requests_without_a_host_or_with_two_are_refused(hub: Target) -> None:
    token = f"Authorization: Bearer {hub.hub.token}\r\n"
    own = f"Host: 127.0.0.1:{hub.hub.port}\r\n"
    for head in (
        f"GET /api/keys HTTP/1.0\r\n{token}",
        f"GET /api/keys HTTP/1.1\r\n{token}",
        f"GET /api/keys HTTP/1.1\r\n{token}{own}Host: evil.example\r\n",
        f"GET /api/keys HTTP/1.1\r\n{token}Host: evil.example\r\n{own}",
    ):
        reply = hub.send(f"{head}Connection: close\r\n\r\n".encode())
        assert reply.status in (400, 421), head


@pytest.mark.parametrize(
    "origin",
    [
        EVIL,
        "null",
        "",
        OTHER_EXTENSION,
        FRIEND + ".evil.example",
        "http://localhost",
        "http://localhost:1",
        "http://127.0.0.1.evil.example",
        "file://",
    ],
)
def test_pages_of_other_origins_change_nothing(hub: Target, origin: str) -> None:
    before = servers(hub)
    for path, body in ((SERVERS, HARMLESS), ("/mcp", {"jsonrpc": "2.0", "id": 1, "method": "x"})):
        reply = hub.ask("POST", path, body, headers={"Origin": origin})
        assert reply.status == 403, reply
        assert reply.header(ALLOW) is None
    assert servers(hub) == before


def test_configured_extension_is_echoed_exactly(hub: Target) -> None:
    reply = hub.ask("GET", SERVERS, headers={"Origin": FRIEND})
    assert reply.status == 200
    assert reply.header(ALLOW) == FRIEND
    assert "origin" in (reply.header("vary") or "").lower()
    assert reply.header("access-control-allow-credentials") is None


def test_preflight_of_a_stranger_is_granted_nothing(hub: Target) -> None:
    for origin in (EVIL, "null", OTHER_EXTENSION):
        headers = {"Origin": origin, "Access-Control-Request-Method": "POST"}
        reply = hub.ask("OPTIONS", SERVERS, token=None, headers=headers)
        assert reply.status == 403
        assert not [name for name, _ in reply.headers if name.lower().startswith("access-control")]


def test_preflight_of_a_friend_grants_no_wildcard(hub: Target) -> None:
    headers = {
        "Origin": FRIEND,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization, content-type, mcp-method, cookie, x-evil",
    }
    reply = hub.ask("OPTIONS", SERVERS, token=None, headers=headers)
    assert reply.status == 204
    assert reply.header(ALLOW) == FRIEND
    granted = (reply.header("access-control-allow-headers") or "").split(", ")
    assert {"authorization", "content-type", "mcp-method"} <= set(granted)
    assert not {"*", "cookie", "x-evil"} & set(granted)


@pytest.mark.parametrize(
    "content_type",
    [
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "text/plain; charset=application/json",
        "application/jsonx",
        "",
    ],
)
def test_bodies_that_a_form_can_send_are_not_read_as_json(hub: Target, content_type: str) -> None:
    before = servers(hub)
    call = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}
    key = {"name": "planted", "scopes": ["admin"]}
    for path, body in ((SERVERS, HARMLESS), ("/api/keys", key), ("/mcp", call)):
        headers = {"Content-Type": content_type, "Accept": ACCEPT}
        assert hub.ask("POST", path, body, headers=headers).status in (415, 422)
    assert servers(hub) == before


@pytest.mark.parametrize(
    "path",
    [
        "/livez/../api/keys",
        "/livez/%2e%2e/api/keys",
        "/livez%2f..%2fapi/keys",
        "//api/keys",
        "/./api/keys",
        "/api/keys/",
        "/api//keys",
        "/API/keys",
        "/api/keys;/livez",
        "/api/keys%00/livez",
        "/livez%00/../api/keys",
        "/api/keys?/livez",
        "/api/keys#/livez",
        "http://127.0.0.1/api/keys",
        "http://evil.example/livez/../api/keys",
        "/mcp/../livez/../mcp",
        "/static/../api/keys",
        "/%",
        "/\\..\\api\\keys",
    ],
)
def test_no_spelling_of_a_path_gets_around_the_token(hub: Target, path: str) -> None:
    reply = hub.ask("GET", path, token=None)
    assert reply.status in (400, 401, 404), reply
    assert b"items" not in reply.body


def test_forwarded_headers_are_not_believed(hub: Target) -> None:
    lies = {
        "X-Forwarded-For": "127.0.0.1",
        "X-Forwarded-Host": "evil.example",
        "X-Forwarded-Proto": "https",
        "X-Forwarded-User": "owner",
        "X-Real-IP": "127.0.0.1",
        "X-Original-URL": "/livez",
        "X-Rewrite-URL": "/livez",
        "X-Internal": "true",
        "X-User": "owner",
        "Forwarded": "for=127.0.0.1;host=evil.example",
    }
    assert rejects_stranger(hub.ask("GET", "/api/keys", token=None, headers=lies))
    health = hub.ask("GET", "/livez", token=None, headers={"X-Original-URL": "/api/keys"})
    assert health.status == 200
    assert b"items" not in health.body
    seen = [hub.ask("GET", path, headers=lies) for path in (SERVERS, "/openapi.json")]
    seen.append(hub.ask("POST", SERVERS, {**HARMLESS, "name": "linked"}, headers=lies))
    hub.hub.unregister("linked")
    assert not any("evil.example" in repr(reply) for reply in seen)


def test_method_override_headers_are_not_believed(hub: Target) -> None:
    hub.hub.rest("POST", SERVERS, {**HARMLESS, "name": "stays"})
    for name in ("X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override"):
        hub.ask("GET", f"{SERVERS}/stays?_method=DELETE", headers={name: "DELETE"})
    assert "stays" in servers(hub)
    hub.hub.unregister("stays")


@pytest.mark.parametrize("name", ["token", "access_token", "api_key", "authorization", "key"])
@pytest.mark.parametrize("path", ["/api/keys", "/api/events", "/mcp", "/sse"])
def test_token_in_a_query_opens_nothing(hub: Target, path: str, name: str) -> None:
    assert rejects_stranger(hub.ask("GET", f"{path}?{name}={hub.hub.token}", token=None))


def test_token_in_a_cookie_opens_nothing(hub: Target) -> None:
    headers = {"Cookie": f"token={hub.hub.token}; session={hub.hub.token}"}
    assert rejects_stranger(hub.ask("GET", "/api/keys", token=None, headers=headers))


def test_revoked_and_expired_keys_open_nothing(hub: Target) -> None:
    made = hub.hub.rest("POST", "/api/keys", {"name": "gone", "scopes": ["hub:read"]}).body
    hub.secrets.add(made["secret"])
    assert hub.ask("GET", SERVERS, token=made["secret"]).status == 200
    assert hub.ask("DELETE", f"/api/keys/{made['id']}").status in (200, 204)
    assert rejects_stranger(hub.ask("GET", SERVERS, token=made["secret"]))
    past = (datetime.now(UTC) - timedelta(seconds=1)).isoformat()  # noqa: TID251  the hub's clock
    body = {"name": "past", "scopes": ["hub:read"], "expires_at": past}
    assert hub.ask("POST", "/api/keys", body).status == 422


def test_ids_of_sessions_are_not_credentials(hub: Target, watched: WatchedUpstream) -> None:
    hello = {
        "jsonrpc": "2.0",
        "id": 1,
        "method": "initialize",
        "params": {
            "protocolVersion": "2025-11-25",
            "capabilities": {},
            "clientInfo": {"name": "a", "version": "1"},
        },
    }
    opened = hub.ask("POST", "/mcp", hello, headers={"Accept": ACCEPT})
    session = opened.header("mcp-session-id")
    assert session is not None
    assert len(session) >= 22
    headers = {"Mcp-Session-Id": session, "Accept": ACCEPT}
    ping = {"jsonrpc": "2.0", "id": 2, "method": "ping"}
    assert rejects_stranger(hub.ask("POST", "/mcp", ping, token=None, headers=headers))
    thief = hub.key("tools:call")
    for method, body in (("POST", ping), ("GET", None), ("DELETE", None)):
        stolen = {**headers, "Accept": "text/event-stream"} if method == "GET" else headers
        assert hub.ask(method, "/mcp", body, token=thief, headers=stolen).status == 404
    assert hub.ask("POST", "/mcp", ping, headers=headers).status == 200
