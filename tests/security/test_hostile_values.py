"""JSON values that break careless readers: refused, or carried as they are."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.security.upstreams import WatchedUpstream, tool
from tests.security.wire import Target, modern_call

pytestmark = pytest.mark.e2e

SERVERS = "/api/mcp/servers"
Json = dict[str, Any]


def hostile_values() -> dict[str, bytes]:
    """JSON texts of values that break careless readers, by a name for the report."""
    values = {
        "NaN": b"NaN",
        "Infinity": b"Infinity",
        "-Infinity": b"-Infinity",
        "1e999": b"1e999",
        "-1e999": b"-1e999",
        "1e-999": b"1e-999",
        "10,000 digits": b"9" * 10_000,
        "10,000 decimals": b"0." + b"1" * 10_000,
        "beyond 64 bits": b"18446744073709551616",
        "leading zero": b"01",
        "lone surrogate": b'"\\ud800"',
        "reversed pair": b'"\\udc00\\ud800"',
        "surrogate as a key": b'{"\\ud800": 1}',
        "NUL": b'"a\\u0000b"',
        "raw NUL": b'"a\x00b"',
        "raw line break": b'"a\nb"',
        "bad UTF-8": b'"\xff\xfe"',
        "cut UTF-8": b'"\xe2\x82"',
        "bidi": '"\u202e\u2066abc\u200b"'.encode(),
        "duplicate": b'{"a": 1, "a": 2}',
        "empty key": b'{"": 1}',
        "prototype": b'{"__proto__": {"admin": true}, "constructor": 1, "__class__": 1}',
        "many keys": json.dumps({f"k{number}": number for number in range(20_000)}).encode(),
    }
    for depth in (100, 500, 2_000, 100_000):
        values[f"arrays {depth} deep"] = b"[" * depth + b"]" * depth
        values[f"objects {depth} deep"] = b'{"a":' * depth + b"1" + b"}" * depth
        values[f"open arrays {depth} deep"] = b"[" * depth
    return values


VALUES = hostile_values()


@pytest.fixture(scope="module")
def mirror(_home: Target) -> Iterator[WatchedUpstream]:
    with WatchedUpstream(tool("echo")) as server:
        _home.hub.register_http("mirror", server.url)
        yield server
        _home.hub.unregister("mirror")


def same(sent: bytes, got: Any) -> bool:
    return json.dumps(got, sort_keys=True) == json.dumps(json.loads(sent), sort_keys=True)


@pytest.mark.parametrize("what", VALUES)
@pytest.mark.parametrize("way", ["modern", "rest"])
def test_hostile_value_in_a_call_is_refused_or_carried_faithfully(
    hub: Target, mirror: WatchedUpstream, way: str, what: str
) -> None:
    value = VALUES[what]
    if way == "modern":
        params = {"name": "mirror__echo", "arguments": {"value": "HERE"}}
        body = json.dumps(modern_call(params)).encode().replace(b'"HERE"', value)
        reply = hub.modern("tools/call", params, body=body)
    else:
        body = b'{"arguments": {"value": ' + value + b"}}"
        reply = hub.ask("POST", f"{SERVERS}/mirror/tools/echo", body)
    if reply.status >= 400:
        return
    message = reply.message()
    if way == "modern" and "error" in message:
        return
    result = message["result"] if way == "modern" else message
    if not result.get("isError"):
        assert same(value, result["structuredContent"]["value"]), reply


@pytest.mark.parametrize("what", VALUES)
@pytest.mark.parametrize("place", ["name", "description", "tags", "expires_at", "limit", "extra"])
def test_hostile_value_in_a_field_is_refused_or_kept_faithfully(
    hub: Target, what: str, place: str
) -> None:
    value = VALUES[what]
    bodies = {
        "name": ("/api/keys", b'{"name": %b, "scopes": ["chat"]}' % value),
        "expires_at": ("/api/keys", b'{"name": "k", "scopes": [], "expires_at": %b}' % value),
        "description": (
            "/api/groups",
            b'{"slug": "hostile", "name": "a", "members": [], "description": %b}' % value,
        ),
        "tags": (
            SERVERS,
            b'{"name": "hostile", "enabled": false, "tags": [%b], "transport":'
            b' {"type": "sse", "url": "http://127.0.0.1:9/"}}' % value,
        ),
        "limit": ("/api/groups", b'{"slug": %b, "name": "a", "members": []}' % value),
        "extra": (
            f"{SERVERS}/watched/tools/echo",
            b'{"arguments": {"message":"x"}, "a": %b}' % value,
        ),
    }
    path, body = bodies[place]
    reply = hub.ask("POST", path, body)
    if reply.status == 201:
        made = reply.json()
        listed = hub.ask("GET", path)
        assert listed.status == 200
        hub.ask("DELETE", f"{path}/{made['id']}")
        if place in ("name", "description"):
            assert same(value, made[place])
        return
    assert 200 <= reply.status < 500, reply


@pytest.mark.parametrize(
    "path",
    [
        "/api/mcp/servers/%00",
        "/api/mcp/servers/%ff%fe",
        "/api/mcp/servers/%ED%A0%80",
        "/api/mcp/servers/" + "a" * 8000,
        "/api/mcp/servers/..%2f..%2fkeys",
        "/api/mcp/servers/%2e%2e",
        "/api/mcp/servers/watched/tools?limit=0",
        "/api/mcp/servers/watched/resources/%00",
        "/api/mcp/servers/watched/resources/%ff",
        "/api/mcp/servers?limit=-1",
        "/api/mcp/servers?limit=201",
        "/api/mcp/servers?limit=1e999",
        "/api/mcp/servers?limit=NaN",
        "/api/mcp/servers?limit=" + "9" * 5000,
        "/api/mcp/servers?limit=١",
        "/api/mcp/servers?cursor=%00",
        "/api/mcp/servers?cursor=%ff",
        "/api/mcp/servers?cursor=bm90LWEtY3Vyc29y",
        "/api/mcp/servers?cursor=" + "A" * 8000,
        "/api/mcp/servers?limit=1&limit=2",
        "/api/keys/%00",
        "/api/keys?cursor=%00",
        "/api/groups/%00",
        "/api/groups/%F0%9F%92%A9",
        "/api/groups?cursor=%27%20or%201=1--",
        "/api/tools?query=%00",
        "/api/tools?query=" + "a" * 8000,
        "/api/tools?query=%25%27%22%5C",
        "/groups/%00/mcp",
        "/servers/%ff/mcp",
        "/servers/..%2f..%2fapi%2fkeys/mcp",
        "/%ff",
        "/%00",
        "/" + "a/" * 4000,
    ],
)
def test_odd_paths_and_queries_are_answered_precisely(hub: Target, path: str) -> None:
    reply = hub.ask("GET", path.encode("utf-8").decode("latin-1"))
    assert reply.status in (200, 400, 404, 405, 414, 422), reply


def test_last_event_id_may_be_anything(hub: Target) -> None:
    for value in ("NaN", "-1", "9" * 5000, "1e999", "\xff", "' or 1=1--"):
        with hub.connect() as sock:
            sock.sendall(
                f"GET /api/events HTTP/1.1\r\nHost: 127.0.0.1:{hub.hub.port}\r\n"
                f"Last-Event-ID: {value}\r\nAuthorization: Bearer {hub.hub.token}\r\n\r\n".encode(
                    "latin-1"
                )
            )
            status = int(sock.recv(64).split(b" ")[1])
        assert status == 200 or 400 <= status < 500, value
