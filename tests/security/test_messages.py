"""Messages that two readers could read differently, or that no reader should have to bear."""

import json
import socket
from typing import Any

import pytest

from tests.security.upstreams import WatchedUpstream
from tests.security.wire import ACCEPT, META, MODERN, Reply, Target, modern_call, text_of

pytestmark = pytest.mark.e2e

SERVERS = "/api/mcp/servers"
HEADER_MISMATCH = -32020
CALL = {"name": "watched__echo", "arguments": {"message": "x"}}
Json = dict[str, Any]


@pytest.mark.parametrize(
    "headers",
    [
        {"Mcp-Name": "watched__other"},
        {"Mcp-Name": "WATCHED__ECHO"},
        {"Mcp-Name": ""},
        {"Mcp-Name": "watched__echo, watched__other"},
        {"Mcp-Name": "=?base64?d2F0Y2hlZF9fb3RoZXI=?="},
        {"Mcp-Name": "=?base64?!!!?="},
        {"Mcp-Method": "tools/list"},
        {"Mcp-Method": "Tools/Call"},
        {"Mcp-Method": ""},
        {"MCP-Protocol-Version": "2025-11-25"},
        {"MCP-Protocol-Version": "2099-01-01"},
        {"MCP-Protocol-Version": ""},
    ],
    ids=repr,
)
def test_headers_that_contradict_the_body_are_refused(
    hub: Target, watched: WatchedUpstream, headers: dict[str, str]
) -> None:
    reply = hub.modern("tools/call", CALL, headers=headers)
    assert reply.status == 400
    assert reply.json()["error"]["code"] == HEADER_MISMATCH
    assert watched.exchanges == []


@pytest.mark.parametrize("name", ["Mcp-Name", "Mcp-Method", "MCP-Protocol-Version"])
@pytest.mark.parametrize("how", ["missing", "twice"])
def test_headers_that_are_missing_or_stand_twice_are_refused(
    hub: Target, watched: WatchedUpstream, name: str, how: str
) -> None:
    sent = [
        ("Accept", ACCEPT),
        ("MCP-Protocol-Version", MODERN),
        ("Mcp-Method", "tools/call"),
        ("Mcp-Name", "watched__echo"),
    ]
    if how == "missing":
        sent = [pair for pair in sent if pair[0] != name]
    else:
        sent += [(name, value) for key, value in sent if key == name]
    reply = hub.ask("POST", "/mcp", modern_call(CALL), headers=sent)
    assert reply.status == 400
    assert reply.json()["error"]["code"] == HEADER_MISMATCH
    assert watched.exchanges == []


def variants() -> dict[str, bytes]:
    """One call, spelt so that lenient readers would differ about what it says."""
    good = json.dumps(modern_call(CALL))
    name = '"name": "watched__echo"'
    return {
        "method twice": good.replace('"method"', '"method": "ping", "method"', 1).encode(),
        "name twice": good.replace(name, f'"name": "watched__other", {name}').encode(),
        "name twice, one escaped": good.replace(
            name, f'"na\\u006de": "watched__other", {name}'
        ).encode(),
        "argument twice": good.replace('"message"', '"message": "y", "message"').encode(),
        "params twice": good.replace('"params"', '"params": {}, "params"', 1).encode(),
        "id twice": good.replace('"id"', '"id": 7, "id"', 1).encode(),
        "version twice": good.replace(
            f'"{META}protocolVersion"', f'"{META}protocolVersion": "x", "{META}protocolVersion"'
        ).encode(),
        "Method": good.replace('"method"', '"Method"', 1).encode(),
        "Method beside method": good.replace('"method"', '"Method": "ping", "method"', 1).encode(),
        "batch": f"[{good}]".encode(),
        "batch of two": f"[{good}, {good}]".encode(),
        "empty batch": b"[]",
        "two messages": f"{good}{good}".encode(),
        "two lines": f"{good}\n{good}".encode(),
        "trailing comma": (good[:-1] + ",}").encode(),
        "comment": f"/* a */ {good}".encode(),
        "single quotes": good.replace('"', "'").encode(),
        "UTF-16": good.encode("utf-16"),
        "UTF-32": good.encode("utf-32"),
        "UTF-7 mark": b"+/v8-" + good.encode(),
        "NUL after the end": good.encode() + b"\x00",
        "string": json.dumps(good).encode(),
        "number": b"1",
        "null": b"null",
        "nothing": b"",
        "overlong UTF-8": good.replace('"x"', '"\udcc0\udcaf"').encode("utf-8", "surrogateescape"),
        "UTF-8 surrogate": good.replace('"x"', '"\ud800"').encode("utf-8", "surrogatepass"),
    }


VARIANTS = variants()


@pytest.mark.parametrize("spelling", VARIANTS)
def test_message_that_can_be_read_in_two_ways_is_not_carried_out(
    hub: Target, watched: WatchedUpstream, spelling: str
) -> None:
    reply = hub.modern("tools/call", CALL, body=VARIANTS[spelling] or b" ")
    assert reply.status == 400, reply
    assert isinstance(reply.json()["error"]["code"], int)
    assert watched.exchanges == []


@pytest.mark.parametrize("spelling", ["name twice", "Name beside name", "batch", "UTF-16"])
def test_rest_body_that_can_be_read_in_two_ways_is_not_carried_out(
    hub: Target, spelling: str
) -> None:
    good = '{"slug": "two-ways", "name": "a", "members": []}'
    bodies = {
        "name twice": good.replace('"slug"', '"slug": "other-way", "slug"').encode(),
        "Name beside name": good.replace('"slug"', '"Slug": "other-way", "slug"').encode(),
        "batch": f"[{good}]".encode(),
        "UTF-16": good.encode("utf-16"),
    }
    reply = hub.ask("POST", "/api/groups", bodies[spelling])
    assert reply.status in (400, 422), reply
    for slug in ("two-ways", "other-way"):
        assert hub.ask("GET", f"/api/groups/{slug}").status == 404


@pytest.mark.parametrize(
    "extra",
    [
        "Content-Length: 5\r\nContent-Length: 6",
        "Content-Length: 5, 6",
        "Content-Length: +5",
        "Content-Length: -1",
        "Content-Length: 0x5",
        "Content-Length: 5\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked, identity",
        "Transfer-Encoding: xchunked",
        "Transfer-Encoding : chunked",
        "X-Folded: a\r\n Content-Length: 5",
    ],
)
def test_request_whose_length_is_in_doubt_smuggles_no_second_one(hub: Target, extra: str) -> None:
    inner = (
        f"DELETE {SERVERS}/smuggled HTTP/1.1\r\nHost: 127.0.0.1:{hub.hub.port}\r\n"
        f"Authorization: Bearer {hub.hub.token}\r\n\r\n"
    )
    transport = {"type": "streamable-http", "url": "http://127.0.0.1:9/"}
    body = {"name": "smuggled", "transport": transport, "enabled": False}
    assert hub.ask("POST", SERVERS, body).status == 201
    raw = (
        f"POST /mcp HTTP/1.1\r\nHost: 127.0.0.1:{hub.hub.port}\r\n"
        f"Authorization: Bearer {hub.hub.token}\r\nContent-Type: application/json\r\n"
        f"{extra}\r\n\r\n0\r\n\r\n{inner}"
    )
    try:
        assert 400 <= hub.send(raw.encode(), method="POST").status < 500
        assert hub.ask("GET", f"{SERVERS}/smuggled").status == 200
    finally:
        hub.hub.rest("DELETE", f"{SERVERS}/smuggled")


@pytest.mark.parametrize(
    "raw",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"\x00" * 64 + b"\r\n\r\n",
        b"GET\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET / HTTP/1.1\r\nBad Header\r\n\r\n",
        b"GET / HTTP/1.1\r\n: x\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"POST /mcp HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nZZZ\r\n",
    ],
)
def test_what_is_no_http_is_refused_and_the_hub_lives(hub: Target, raw: bytes) -> None:
    with hub.connect() as sock:
        sock.sendall(raw)
        sock.shutdown(socket.SHUT_WR)
        answer = b""
        while chunk := sock.recv(4096):
            answer += chunk
    assert not answer or 400 <= int(answer.split(b" ")[1]) < 500
    assert hub.ask("GET", "/livez", token=None).status == 200


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "zstd"])
def test_packed_body_is_not_unpacked(hub: Target, encoding: str) -> None:
    headers = {"Content-Encoding": encoding, "Accept": ACCEPT}
    for path in ("/mcp", SERVERS):
        reply = hub.ask("POST", path, b"\x1f\x8b\x08\x00", headers=headers)
        assert reply.status in (400, 415, 422), reply


def test_broken_messages_leave_the_next_call_unharmed(
    hub: Target, watched: WatchedUpstream
) -> None:
    replies: list[Reply] = [hub.modern("tools/call", CALL, body=b) for b in VARIANTS.values() if b]
    assert {reply.status for reply in replies} == {400}
    assert text_of(hub.call("watched__echo", {"message": "well"})) == "well"
