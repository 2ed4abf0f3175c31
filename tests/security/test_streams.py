"""Streams and sockets: opened by a key, and gone with it."""

import asyncio
import itertools
import json
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest

from tests.security.conftest import FRIEND
from tests.security.upstreams import WatchedUpstream
from tests.security.wire import ACCEPT, MODERN, Target

pytestmark = pytest.mark.e2e

EVIL = "https://evil.example"
OTHER_EXTENSION = "chrome-extension://" + "b" * 32
CLOSE_FRAME = b"\x88"


def test_streams_end_soon_after_their_key_is_revoked(hub: Target, watched: WatchedUpstream) -> None:
    scopes = ["hub:read", "tools:call", "resources:read", "prompts:get"]
    made = hub.hub.rest("POST", "/api/keys", {"name": "streams", "scopes": scopes}).body
    secret = made["secret"]
    hub.secrets.add(secret)
    listen = (
        b'{"jsonrpc":"2.0","id":1,"method":"subscriptions/listen","params":{"_meta":{'
        b'"io.modelcontextprotocol/protocolVersion":"2026-07-28",'
        b'"io.modelcontextprotocol/clientCapabilities":{}},'
        b'"notifications":{"toolsListChanged":true}}}'
    )
    modern = f"MCP-Protocol-Version: {MODERN}\r\nMcp-Method: subscriptions/listen\r\n"
    requests = [
        _head("GET", "/api/events", hub, secret),
        _head("GET", "/sse", hub, secret),
        _head("POST", "/mcp", hub, secret, f"{modern}Content-Length: {len(listen)}\r\n") + listen,
    ]
    with ExitStack() as stack:
        streams = [stack.enter_context(hub.connect()) for _ in requests]
        for stream, request in zip(streams, requests, strict=True):
            stream.sendall(request)
            assert b" 200 " in stream.recv(4096).split(b"\r\n")[0]
        assert hub.ask("DELETE", f"/api/keys/{made['id']}").status in (200, 204)
        with ThreadPoolExecutor() as pool:
            assert list(pool.map(_ends, streams)) == [True] * len(streams)


def _head(method: str, path: str, hub: Target, token: str, more: str = "") -> bytes:
    accept = "text/event-stream" if method == "GET" else ACCEPT
    return (
        f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1:{hub.hub.port}\r\nAccept: {accept}\r\n"
        f"Authorization: Bearer {token}\r\nContent-Type: application/json\r\n{more}\r\n"
    ).encode()


def _ends(stream: socket.socket) -> bool:
    """Read to the end of the answer, for at most 30 s in all."""
    closing = threading.Timer(30.0, stream.shutdown, [socket.SHUT_RDWR])
    closing.start()
    tail = b""
    try:
        while chunk := stream.recv(65_536):
            tail = (tail + chunk)[-64:]
            if tail.endswith(b"0\r\n\r\n"):
                return True
        return closing.is_alive()
    finally:
        closing.cancel()


async def test_socket_of_events_needs_its_token_in_the_first_message(hub: Target) -> None:
    replies = await asyncio.gather(
        *(asyncio.to_thread(_upgrade, hub, origin) for origin in (EVIL, "null", OTHER_EXTENSION))
    )
    assert [status for status, _ in replies] == [403, 403, 403]
    status, more = await asyncio.to_thread(_upgrade, hub, FRIEND, b'{"token": "wrong"}')
    assert status == 101
    assert b"server" not in more


def _upgrade(hub: Target, origin: str, first: bytes | None = None) -> tuple[int, bytes]:
    """Ask for the socket, send `first` in a masked frame, and read until the hub closes."""
    with hub.connect() as sock:
        sock.sendall(
            f"GET /api/events/ws HTTP/1.1\r\nHost: 127.0.0.1:{hub.hub.port}\r\nUpgrade: websocket"
            f"\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nOrigin: {origin}\r\n"
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n".encode()
        )
        answer = sock.recv(4096)
        if first is not None:
            mask = b"\x01\x02\x03\x04"
            masked = bytes(a ^ b for a, b in zip(first, itertools.cycle(mask), strict=False))
            sock.sendall(bytes((0x81, 0x80 | len(first))) + mask + masked)
        more = b""
        while not more.startswith(CLOSE_FRAME) and (chunk := sock.recv(4096)):
            more += chunk
    return int(answer.split(b" ")[1]), more


def test_socket_of_events_tells_a_key_without_its_scope_nothing(hub: Target) -> None:
    weak = hub.key("chat", "tools:call")
    status, more = _upgrade(hub, FRIEND, json.dumps({"token": weak}).encode())
    assert status == 101
    assert more.startswith(CLOSE_FRAME)
