"""Requests that are too large, too slow or too many."""

import asyncio
import time
from contextlib import ExitStack
from typing import Any

import pytest

from agenthub.adapters.inbound.gate import RefusedRequestError, read_body
from tests.security.wire import ACCEPT, Target

pytestmark = pytest.mark.e2e

SERVERS = "/api/mcp/servers"
Json = dict[str, Any]


LIMIT = 4 * 1024 * 1024


@pytest.mark.parametrize("path", ["/mcp", SERVERS, "/api/keys", "/sse/messages"])
@pytest.mark.parametrize("how", ["length", "chunks", "claimed"])
def test_body_over_the_limit_is_refused_with_413(hub: Target, path: str, how: str) -> None:
    size = LIMIT + 1
    if how == "length":
        reply = hub.ask("POST", path, b" " * size, headers={"Accept": ACCEPT})
    elif how == "claimed":
        headers = {"Content-Length": "9" * 18, "Accept": ACCEPT}
        reply = hub.ask("POST", path, b" ", headers=headers)
    else:
        chunk = b"10000\r\n" + b" " * 0x10000 + b"\r\n"
        body = chunk * (size // 0x10000 + 1) + b"0\r\n\r\n"
        headers = {"Transfer-Encoding": "chunked", "Accept": ACCEPT}
        reply = hub.ask("POST", path, body, headers=headers)
    if path == "/sse/messages" and reply.status in (400, 404):
        return  # no session to send to: refused before the body is looked at
    assert reply.status == 413, reply
    assert "json" in (reply.header("content-type") or "")


def test_refusals_of_one_face_have_one_shape_however_the_body_came(hub: Target) -> None:
    chunked = {"Transfer-Encoding": "chunked"}
    body = b"600000\r\n" + b" " * 0x600000 + b"\r\n0\r\n\r\n"
    by_chunks = hub.ask("POST", SERVERS, body, headers=chunked)
    by_length = hub.ask("POST", SERVERS, b" " * 0x600000)
    assert by_chunks.json() == by_length.json()


@pytest.mark.parametrize("path", ["/mcp", "/api/keys", "/livez"])
def test_headers_over_the_limit_are_refused_with_431(hub: Target, path: str) -> None:
    one = hub.ask("GET", path, headers={"X-Long": "a" * 64_000})
    many = hub.ask("GET", path, headers=[(f"X-{n}", "a" * 40) for n in range(1_500)])
    assert (one.status, many.status) == (431, 431)


def test_request_line_over_the_limit_is_refused(hub: Target) -> None:
    assert hub.ask("GET", "/livez?" + "a" * 100_000).status in (414, 431, 400)


async def test_slow_body_is_given_up_with_408() -> None:
    """The bound is 30 s in a running hub; here it is shorter."""
    parts: asyncio.Queue[Json] = asyncio.Queue()
    parts.put_nowait({"type": "http.request", "body": b"{", "more_body": True})
    with pytest.raises(RefusedRequestError) as caught:
        await read_body(parts.get, {"headers": []}, 1024, 0.02)
    assert caught.value.status == 408


def test_requests_that_never_end_hold_nobody_up(hub: Target) -> None:
    head = f"POST /mcp HTTP/1.1\r\nHost: 127.0.0.1:{hub.hub.port}\r\n"
    beginnings = [
        head,
        f"{head}Authorization: Bearer {hub.hub.token}\r\nContent-Length: 99\r\n\r\n{{",
    ]
    with ExitStack() as stack:
        for number in range(100):
            sock = stack.enter_context(hub.connect())
            sock.sendall(beginnings[number % 2].encode())
        began = time.monotonic()
        assert hub.ask("GET", SERVERS).status == 200
        assert time.monotonic() - began < 2.0
