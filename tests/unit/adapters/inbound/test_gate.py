"""Who may come in, from where, and with how much luggage."""

import asyncio
import json
from collections.abc import Iterable
from typing import Any

import pytest

from agenthub.adapters.inbound.gate import (
    PRINCIPAL,
    Gate,
    Header,
    Message,
    Receive,
    RefusedRequestError,
    Scope,
    Send,
    read_body,
)
from agenthub.domain.entities.identity import OWNER, Principal
from agenthub.domain.exceptions import UnauthenticatedError, UnavailableError
from tests.support.waiting import soon

TOKEN = "a-right-token"
HOST = (b"host", b"localhost:8000")
AUTH = (b"authorization", f"Bearer {TOKEN}".encode())


class Doorman:
    """Knows one token at once, and another after a look-up."""

    async def authenticate(self, token: str) -> Principal:
        if token == "slow":
            return OWNER
        if token == "down":
            raise UnavailableError("no database", code="storage_unavailable")
        raise UnauthenticatedError("unknown token")

    def cached(self, token: str) -> Principal | None:
        return OWNER if token == TOKEN else None


class House:
    """The application behind the gate: remembers who came in."""

    def __init__(self, **options: Any) -> None:
        self.visitors: list[Scope] = []
        self.sent: list[Message] = []
        self.gate = Gate(self._inside, authenticator=Doorman(), **options)

    async def _inside(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.visitors.append(scope)
        if scope["type"] == "http":
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b"in"})

    async def knock(
        self,
        *headers: Header,
        path: str = "/api/x",
        method: str = "GET",
        kind: str = "http",
        **scope: Any,
    ) -> int:
        """Ask to come in; give the status, 0 when nothing but a close came back."""
        self.sent.clear()
        scheme = {"http": "http", "websocket": "ws"}[kind]
        whole = {"type": kind, "method": method, "path": path, "scheme": scheme, **scope}

        async def receive() -> Message:
            return {"type": "http.request", "body": b""}

        async def send(message: Message) -> None:
            self.sent.append(message)

        await self.gate({**whole, "headers": list(headers)}, receive, send)
        return next((m["status"] for m in self.sent if "status" in m), 0)

    @property
    def headers(self) -> dict[str, str]:
        start = next(message for message in self.sent if "status" in message)
        return {name.decode(): value.decode() for name, value in start["headers"]}

    @property
    def problem(self) -> dict[str, Any]:
        assert self.headers["content-type"] == "application/problem+json"
        body: bytes = self.sent[-1]["body"]
        assert TOKEN.encode() not in body
        return json.loads(body)


async def test_a_right_token_comes_in_as_its_principal() -> None:
    house = House()
    assert await house.knock(HOST, AUTH) == 200
    assert house.visitors[0][PRINCIPAL] is OWNER
    assert await house.knock(HOST, (b"authorization", b"bearer slow")) == 200


@pytest.mark.parametrize(
    "authorization",
    [
        *(b"", b"Bearer", b"Bearer ", b"Bearer wrong", b"Basic abc"),
        *(TOKEN.encode(), b"Bearer " + TOKEN.encode() + b"x", b"Bearer \xff"),
    ],
)
async def test_a_wrong_token_is_challenged(authorization: bytes) -> None:
    house = House()
    assert await house.knock(HOST, (b"authorization", authorization)) == 401
    assert house.headers["www-authenticate"].startswith("Bearer realm=")
    assert house.problem["code"] == "unauthenticated"
    assert house.visitors == []


async def test_no_token_is_challenged_even_with_one_in_the_query() -> None:
    house = House()
    assert await house.knock(HOST, query_string=f"token={TOKEN}".encode()) == 401


async def test_a_broken_storage_is_no_wrong_token() -> None:
    house = House()
    assert await house.knock(HOST, (b"authorization", b"Bearer down")) == 503
    assert house.problem["code"] == "storage_unavailable"


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/", "/assets/app.js"])
async def test_open_paths_need_no_token(path: str) -> None:
    house = House(open_paths=frozenset({"/", "/assets/app.js"}))
    assert await house.knock(HOST, path=path) == 200


@pytest.mark.parametrize("path", ["/livez/", "/livez/../api", "//livez", "/Livez", "/livez\x00"])
async def test_paths_that_only_look_open_are_closed(path: str) -> None:
    assert await House().knock(HOST, path=path) == 401


@pytest.mark.parametrize(
    "host",
    [
        *(b"localhost", b"LOCALHOST:1", b"127.0.0.1:8000", b"[::1]", b"[::1]:8000"),
        *(b"hub.example", b"hub.example:8443", b"other.example:99"),
    ],
)
async def test_own_and_configured_hosts_are_answered(host: bytes) -> None:
    house = House(hosts=["hub.example", "other.example:99"])
    for _ in range(2):
        assert await house.knock((b"host", host), AUTH) == 200


@pytest.mark.parametrize(
    "host",
    [
        *(b"evil.example", b"localhost.evil.example", b"localhost:8000@evil", b"evil@localhost"),
        *(b"localhost.", b"localhost:", b"localhost:99999", b"localhost:80:80", b"", b"::1"),
        *(b"x/api/health?", b"localhost/x", b"localhost evil", b"127.0.0.1.evil", b"[::1"),
        *(b"other.example:98", b"other.example", b"127.1", b"2130706433", b"localhost\xff"),
    ],
)
async def test_other_hosts_are_misdirected(host: bytes) -> None:
    house = House(hosts=["other.example:99"])
    assert await house.knock((b"host", host), AUTH) == 421
    assert house.problem["code"] == "host_not_allowed"
    assert house.visitors == []


async def test_a_missing_host_is_misdirected_and_two_are_ambiguous() -> None:
    house = House()
    assert await house.knock(AUTH) == 421
    assert await house.knock(HOST, (b"host", b"evil.example"), AUTH) == 400
    assert await house.knock(HOST, AUTH, (b"authorization", b"Bearer wrong")) == 400
    assert house.visitors == []


async def test_forwarded_headers_are_not_believed() -> None:
    house = House(hosts=["hub.example"])
    forwarded = [
        (b"x-forwarded-host", b"localhost"),
        (b"x-forwarded-for", b"127.0.0.1"),
        (b"x-original-url", b"/livez"),
        (b"x-forwarded-user", b"owner"),
    ]
    assert await house.knock((b"host", b"evil.example"), AUTH, *forwarded) == 421
    assert await house.knock(HOST, *forwarded) == 401


@pytest.mark.parametrize(
    "origin",
    [
        *(b"https://evil.example", b"null", b"", b"https://localhost:8000"),
        *(b"http://localhost:8001", b"http://localhost:8000.evil", b"chrome-extension://foe"),
        *(b"http://localhost:8000@evil", b"http://127.0.0.1:8000", b"https://app.example.evil"),
    ],
)
async def test_strange_origins_are_refused_without_a_word_to_the_page(origin: bytes) -> None:
    house = House(origins=["https://app.example", "chrome-extension://friend"])
    for method in ("GET", "OPTIONS"):
        asked = (b"access-control-request-method", b"POST")
        assert await house.knock(HOST, AUTH, (b"origin", origin), asked, method=method) == 403
        assert house.problem["code"] == "origin_not_allowed"
        assert not [name for name in house.headers if name.startswith("access-control")]
    assert house.visitors == []


@pytest.mark.parametrize(
    "origin",
    [b"http://localhost:8000", b"https://app.example", b"chrome-extension://friend"],
)
async def test_friends_are_echoed_exactly(origin: bytes) -> None:
    house = House(origins=["https://app.example/", "chrome-extension://friend"])
    assert await house.knock(HOST, AUTH, (b"origin", origin)) == 200
    assert house.headers["access-control-allow-origin"] == origin.decode()
    assert house.headers["vary"] == "Origin"
    assert "mcp-session-id" in house.headers["access-control-expose-headers"]
    assert await house.knock(HOST, (b"origin", origin)) == 401
    assert house.headers["access-control-allow-origin"] == origin.decode()


async def test_a_preflight_of_a_friend_is_told_what_it_may_send() -> None:
    house = House(origins=["https://app.example"])
    asked = [
        (b"origin", b"https://app.example"),
        (b"access-control-request-method", b"POST"),
        (b"access-control-request-headers", b"Authorization, mcp-param-x,cookie, mcp-\r\nx"),
    ]
    assert await house.knock(HOST, *asked, method="OPTIONS") == 204
    assert house.headers["access-control-allow-headers"] == "authorization, mcp-param-x"
    assert house.headers["access-control-allow-origin"] == "https://app.example"
    assert "access-control-allow-credentials" not in house.headers
    assert house.visitors == []


async def test_an_options_request_that_is_no_preflight_needs_a_token() -> None:
    house = House(origins=["https://app.example"])
    origin = (b"origin", b"https://app.example")
    assert await house.knock(HOST, origin, method="OPTIONS") == 401


async def test_headers_together_have_a_limit() -> None:
    house = House()
    many = [(b"x-%d" % number, b"v" * 1_000) for number in range(33)]
    assert await house.knock(HOST, AUTH, *many) == 431
    assert house.problem["code"] == "headers_too_large"
    assert house.headers["connection"] == "close"
    assert await house.knock(HOST, AUTH, *many[:31]) == 200


async def test_a_socket_is_asked_where_it_comes_from() -> None:
    house = House()
    ws = {"kind": "websocket", "path": "/api/events/ws"}
    await house.knock(HOST, (b"origin", b"http://localhost:8000"), **ws)
    assert len(house.visitors) == 1
    for headers in (
        [(b"host", b"evil.example")],
        [HOST, (b"origin", b"https://evil.example")],
    ):
        await house.knock(*headers, **ws)
        assert house.sent == [{"type": "websocket.close", "code": 1008}]
    await house.knock(HOST, kind="websocket", path="/mcp")
    assert house.sent[-1]["type"] == "websocket.close"
    extensions = {"websocket.http.response": {}}
    assert await house.knock((b"host", b"evil"), **ws, extensions=extensions) == 421
    assert len(house.visitors) == 1


def parcel(*parts: bytes | None) -> Receive:
    """Bring these parts one by one; None hangs up, and nothing follows the last."""
    waiting: Iterable[bytes | None] = iter(parts)
    last = len(parts) - 1
    number = -1

    async def receive() -> Message:
        nonlocal number
        number += 1
        for part in waiting:
            if part is None:
                return {"type": "http.disconnect"}
            return {"type": "http.request", "body": part, "more_body": number < last}
        await asyncio.Event().wait()
        raise AssertionError

    return receive


def with_length(size: int) -> Scope:
    return {"headers": [(b"content-length", b"%d" % size)]}


async def test_a_body_is_read_whole() -> None:
    assert await soon(read_body(parcel(b"ab", b"", b"c"), {"headers": []}, 3)) == b"abc"


@pytest.mark.parametrize("scope", [with_length(4), {"headers": []}], ids=["length", "chunks"])
async def test_a_body_beyond_the_limit_is_refused_in_one_shape(scope: Scope) -> None:
    with pytest.raises(RefusedRequestError) as caught:
        await soon(read_body(parcel(b"ab", b"cd"), scope, 3))
    assert (caught.value.status, caught.value.code) == (413, "request_too_large")


async def test_a_slow_body_is_given_up() -> None:
    async def never() -> Message:
        await asyncio.Event().wait()
        raise AssertionError

    with pytest.raises(RefusedRequestError) as caught:
        await soon(read_body(never, {"headers": []}, timeout_s=0.01))
    assert caught.value.status == 408


async def test_a_body_that_comes_late_is_read() -> None:
    arrived = asyncio.Event()

    async def receive() -> Message:
        await arrived.wait()
        await asyncio.sleep(0)
        return {"type": "http.request", "body": b"late"}

    async with asyncio.TaskGroup() as group:
        reading = group.create_task(read_body(receive, {"headers": []}))
        await asyncio.sleep(0)
        arrived.set()
        assert await soon(reading) == b"late"


async def test_who_waits_for_a_body_can_be_cancelled() -> None:
    ended = asyncio.Event()

    async def receive() -> Message:
        try:
            await asyncio.Event().wait()
            raise AssertionError
        finally:
            ended.set()

    async with asyncio.TaskGroup() as group:
        reading = group.create_task(read_body(receive, {"headers": []}))
        await asyncio.sleep(0)
        reading.cancel()
    assert reading.cancelled()
    assert ended.is_set()


async def test_a_body_that_breaks_off_is_refused() -> None:
    with pytest.raises(RefusedRequestError) as caught:
        await soon(read_body(parcel(b"a", None, b""), {"headers": []}))
    assert caught.value.status == 400
