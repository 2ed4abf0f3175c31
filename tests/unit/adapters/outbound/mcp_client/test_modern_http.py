"""A modern server over HTTP: one exchange per request, and each fault its own."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from agenthub.adapters.outbound.http.aiohttp import AiohttpClient
from agenthub.adapters.outbound.mcp_client.http_answers import HttpStatusError
from agenthub.adapters.outbound.mcp_client.modern_http import (
    ModernHttpChannel,
    NotModernError,
    open_modern_http,
)
from agenthub.domain.entities.endpoints import Era
from agenthub.domain.exceptions import (
    HubError,
    QuotaError,
    RpcError,
    TimedOutError,
    UnavailableError,
    UpstreamError,
)
from agenthub.domain.ports.outbound.http import BodyTooLargeError, TransportError
from agenthub.domain.ports.outbound.mcp_client import Caller, RawObject
from tests.unit.adapters.outbound.http.kit import Got, Peer, Served, each, serving
from tests.unit.adapters.outbound.mcp_client.kit import (
    WAIT_S,
    FakeCaller,
    FakeInbox,
    Running,
    dumps,
    endpoint_at,
)

VERSION = "2026-07-28"
PRIVATE = "io.modelcontextprotocol/"
Answer = Callable[[Peer, Got], Awaitable[None]]


def discovered(number: Any, *versions: str) -> bytes:
    return dumps(
        id=number,
        result={
            "resultType": "complete",
            "supportedVersions": list(versions or (VERSION,)),
            "capabilities": {"tools": {"listChanged": True}, "resources": {}},
            "instructions": "be kind",
            "_meta": {PRIVATE + "serverInfo": {"name": "x", "version": "1"}},
        },
    )


class Bench:
    def __init__(self, channel: ModernHttpChannel, served: Served, inbox: FakeInbox) -> None:
        self.channel = channel
        self.served = served
        self.inbox = inbox

    async def call(
        self,
        caller: Caller | None = None,
        *,
        method: str = "tools/call",
        timeout_s: float = WAIT_S,
        header_params: dict[str, str] | None = None,
        raw: RawObject | None = None,
        **params: bytes,
    ) -> bytes:
        return await self.channel.request(
            method,
            raw or params or {"name": b'"t"', "arguments": b'{"n":1}'},
            meta={},
            caller=caller,
            timeout_s=timeout_s,
            header_params=header_params,
        )


@asynccontextmanager
async def bench(answer: Answer, *, max_body_bytes: int = 100_000) -> AsyncIterator[Bench]:
    async def with_discover(peer: Peer, got: Got) -> None:
        if got.json["method"] == "server/discover":
            await peer.respond(discovered(got.json["id"]))
        else:
            await answer(peer, got)

    inbox = FakeInbox()
    async with (
        asyncio.timeout(2 * WAIT_S),
        serving(each(with_discover)) as served,
        AiohttpClient(allow_private=True, max_body_bytes=max_body_bytes) as http,
        open_modern_http(http, endpoint_at(served.url, X_Key="v"), inbox) as channel,
    ):
        yield Bench(channel, served, inbox)


async def echo(peer: Peer, got: Got) -> None:
    await peer.respond(dumps(id=got.json["id"], result={"params": got.json["params"]}))


async def test_discover_says_who_is_there() -> None:
    async with bench(echo) as it:
        hello = it.channel.hello
        assert (hello.protocol_version, hello.instructions) == (VERSION, "be kind")
        assert hello.server_info == {"name": "x", "version": "1"}
        assert set(hello.capabilities) == {"tools", "resources"}


async def test_a_request_carries_the_headers_and_meta_of_the_revision() -> None:
    async def answer(peer: Peer, got: Got) -> None:
        seen.append(got)
        await echo(peer, got)

    seen: list[Got] = []
    capabilities = {
        "sampling": {},
        "roots": {},
        "extensions": {PRIVATE + "tasks": {}, PRIVATE + "ui": {}},
    }
    async with bench(answer) as it:
        caller = FakeCaller(era=Era.MODERN, capabilities=capabilities, log_level="error")
        await it.call(caller, header_params={"Mcp-Param-N": "1"})
    headers, params = seen[0].headers, seen[0].json["params"]
    assert headers["mcp-protocol-version"] == VERSION
    assert (headers["mcp-method"], headers["mcp-name"]) == ("tools/call", "t")
    assert (headers["mcp-param-n"], headers["x_key"]) == ("1", "v")
    assert headers["content-type"] == "application/json"
    assert {"application/json", "text/event-stream"} <= set(headers["accept"].split(", "))
    meta = params.pop("_meta")
    assert params == {"name": "t", "arguments": {"n": 1}}
    assert meta[PRIVATE + "protocolVersion"] == VERSION
    assert meta[PRIVATE + "clientInfo"]["name"] == "agenthub"
    assert meta[PRIVATE + "clientCapabilities"] == {
        "sampling": {},
        "extensions": {PRIVATE + "ui": {}},
    }
    assert meta[PRIVATE + "logLevel"] == "error"
    assert meta["progressToken"] == seen[0].json["id"]


@pytest.mark.parametrize(
    ("method", "params", "name"),
    [
        ("resources/read", {"uri": b'"file:///\\u00e9"'}, "=?base64?ZmlsZTovLy/DqQ==?="),
        ("prompts/get", {"name": b'"a\\r\\nb"'}, "=?base64?YQ0KYg==?="),
        ("tools/list", {"cursor": b'"c"'}, None),
    ],
)
async def test_names_are_repeated_in_a_header_in_safe_spelling(
    method: str, params: dict[str, bytes], name: str | None
) -> None:
    async def answer(peer: Peer, got: Got) -> None:
        seen.append(got)
        await echo(peer, got)

    seen: list[Got] = []
    async with bench(answer) as it:
        await it.call(method=method, raw=params)
    assert seen[0].headers.get("mcp-name") == name
    meta = seen[0].json["params"]["_meta"]
    assert "progressToken" not in meta
    assert meta[PRIVATE + "clientCapabilities"] == {}


async def test_a_result_comes_back_byte_for_byte() -> None:
    result = b'{ "content":[], "n":1e400,"resultType":"complete"}'

    async def answer(peer: Peer, got: Got) -> None:
        await peer.respond(
            b'{"jsonrpc":"2.0","id":%d,"result":%b}' % (got.json["id"], result),
            kind="application/json; charset=utf-8",
        )

    async with bench(answer) as it:
        assert await it.call() == result


async def test_a_stream_brings_progress_and_logs_first_and_keeps_its_connection() -> None:
    async def answer(peer: Peer, got: Got) -> None:
        token = got.json["params"]["_meta"]["progressToken"]
        notes = [
            dumps(method="notifications/progress", params={"progressToken": token, "progress": 1}),
            dumps(method="notifications/progress", params={"progressToken": -1, "progress": 2}),
            dumps(method="notifications/message", params={"level": "error", "data": "x"}),
            dumps(id=got.json["id"], result={"ok": True}),
        ]
        await peer.send(
            b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n"
            b"transfer-encoding: chunked\r\n\r\n"
        )
        for note in notes:
            event = b"event: message\ndata: " + note + b"\n\n"
            await peer.send(b"%x\r\n%b\r\n" % (len(event), event))
        await peer.send(b"0\r\n\r\n")

    async with bench(answer) as it:
        for _ in range(3):
            caller = FakeCaller(era=Era.MODERN)
            assert await it.call(caller) == b'{"ok": true}'
            assert caller.told == [{"progress": b"1"}]
            assert caller.logged == [{"level": b'"error"', "data": b'"x"'}]
        assert it.served.connections == 1


def responding(body: bytes, **how: str) -> Answer:
    async def answer(peer: Peer, got: Got) -> None:
        await peer.respond(body.replace(b"ID", b"%d" % got.json["id"]), **how)

    return answer


async def cut(peer: Peer, got: Got) -> None:
    await peer.send(
        b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 99\r\n\r\n{"
    )
    peer.writer.close()


async def cut_stream(peer: Peer, got: Got) -> None:
    await peer.begin_stream()
    await peer.send(b'data: {"jsonrpc":"2.0","id":')
    peer.writer.close()


async def reset(peer: Peer, got: Got) -> None:
    peer.reset()


async def no_http(peer: Peer, got: Got) -> None:
    await peer.send(b"garbage\r\n\r\n")
    peer.writer.close()


RESULT = b'{"jsonrpc":"2.0","id":ID,"result":{}}'


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (responding(b"<html></html>", kind="text/html"), UpstreamError),
        (responding(RESULT, kind=""), UpstreamError),
        (responding(b"not json"), UpstreamError),
        (responding(b""), UpstreamError),
        (responding(RESULT.replace(b"ID", b"99999")), UpstreamError),
        (responding(b'{"jsonrpc":"2.0","id":ID,"result":[]}'), UpstreamError),
        (responding(b'{"jsonrpc":"2.0","id":ID,"result":{"a":NaN}}'), UpstreamError),
        (responding(b'{"jsonrpc":"2.0","id":ID,"result":{"a":"\xff"}}'), UpstreamError),
        (responding(b"", kind="text/event-stream"), UpstreamError),
        (responding(b"data: garbage\n\n", kind="text/event-stream"), UpstreamError),
        (responding(RESULT, status="307 Temporary Redirect", location="/x"), HttpStatusError),
        (responding(b"", status="400 Bad Request"), HttpStatusError),
        (responding(b"{}", status="404 Not Found"), HttpStatusError),
        (responding(RESULT, status="500 Internal Server Error"), HttpStatusError),
        (responding(b"", status="502 Bad Gateway", kind="text/html"), HttpStatusError),
        (responding(b"", status="401 Unauthorized"), UnavailableError),
        (responding(b"", status="403 Forbidden"), UnavailableError),
        (responding(b"", status="503 Service Unavailable"), UnavailableError),
        (responding(b"", status="429 Too Many Requests"), QuotaError),
        (responding(b'{"x":"' + b"x" * 200_000 + b'"}'), BodyTooLargeError),
        (cut, TransportError),
        (cut_stream, UpstreamError),
        (reset, TransportError),
        (no_http, TransportError),
    ],
)
async def test_a_faulty_answer_is_a_typed_error_of_its_own_request(
    answer: Answer, error: type[Exception]
) -> None:
    async def maybe(peer: Peer, got: Got) -> None:
        if got.headers["mcp-name"] == "good":
            waiting.set()
            await go.wait()
            await echo(peer, got)
        else:
            await answer(peer, got)

    waiting, go = asyncio.Event(), asyncio.Event()
    async with bench(maybe) as it, asyncio.TaskGroup() as group:
        sibling = Running(group, it.call(name=b'"good"'))
        await waiting.wait()
        with pytest.raises(error):
            await it.call()
        go.set()
        assert b"good" in await sibling


@pytest.mark.parametrize(
    ("status", "code"),
    [("200 OK", -32601), ("404 Not Found", -32601), ("400 Bad Request", -32020), ("500 X", -32603)],
)
async def test_a_json_rpc_error_of_any_status_is_handed_on(status: str, code: int) -> None:
    body = b'{"jsonrpc":"2.0","id":ID,"error":{"code":%d,"message":"m","data":{"a":1}}}' % code
    async with bench(responding(body, status=status)) as it:
        with pytest.raises(RpcError) as caught:
            await it.call()
        assert (caught.value.code, caught.value.data) == (code, {"a": 1})


@pytest.mark.parametrize(
    ("status", "code"),
    [
        ("401 U", "server_unauthorized"),
        ("403 F", "server_unauthorized"),
        ("429 T", "server_rate_limited"),
        ("503 S", "server_unavailable"),
        ("418 I'm a teapot", "server_http_status"),
        ("302 Found", "server_redirects"),
    ],
)
async def test_a_status_has_its_own_code(status: str, code: str) -> None:
    async with bench(responding(b"", status=status, retry_after="7")) as it:
        with pytest.raises(HubError) as caught:
            await it.call()
        assert caught.value.code == code
        assert caught.value.retry_after_s == (7 if status[0:3] in ("429", "503") else None)
        if code == "server_http_status":
            assert "418" in caught.value.message


async def test_a_silent_server_and_one_that_drips_run_into_the_same_deadline() -> None:
    async def answer(peer: Peer, got: Got) -> None:
        try:
            if got.headers["mcp-name"] == "drip":
                await peer.begin_stream()
                while not peer.reader.at_eof():
                    await peer.send(b": drip\n")
                    await asyncio.sleep(0.005)
            await peer.gone()
        finally:
            left.release()

    left = asyncio.Semaphore(0)
    async with bench(answer) as it:
        for name in (b'"hang"', b'"drip"'):
            with pytest.raises(TimedOutError):
                await it.call(name=name, timeout_s=0.05)
            await left.acquire()


async def test_cancelling_hangs_up_and_leaves_the_others_alone() -> None:
    async def answer(peer: Peer, got: Got) -> None:
        if got.headers["mcp-name"] == "slow":
            await peer.begin_stream()
            begun.set()
            await peer.gone()
            left.set()
        else:
            await echo(peer, got)

    begun, left = asyncio.Event(), asyncio.Event()
    async with bench(answer) as it, asyncio.TaskGroup() as group:
        call = Running(group, it.call(name=b'"slow"'))
        await begun.wait()
        call.task.cancel()
        await left.wait()
        await it.call()


async def test_listening_brings_changes_until_the_server_ends_it() -> None:
    async def answer(peer: Peer, got: Got) -> None:
        seen.append(got)
        meta = {PRIVATE + "subscriptionId": got.json["id"]}
        await peer.begin_stream()
        for method, params in (
            ("notifications/subscriptions/acknowledged", {"notifications": {}}),
            ("notifications/tools/list_changed", {}),
            ("notifications/resources/updated", {"uri": "file:///a"}),
        ):
            await peer.event(
                {"jsonrpc": "2.0", "method": method, "params": {**params, "_meta": meta}}
            )
        await peer.event({"jsonrpc": "2.0", "id": got.json["id"], "result": {"_meta": meta}})
        peer.writer.close()

    seen: list[Got] = []
    async with bench(answer) as it:
        await it.channel.listen(resources=frozenset({"file:///a"}))
        assert it.inbox.heard == [
            ("notifications/subscriptions/acknowledged", {"notifications": b"{}"}),
            ("notifications/tools/list_changed", {}),
            ("notifications/resources/updated", {"uri": b'"file:///a"'}),
        ]
    assert seen[0].headers["mcp-method"] == "subscriptions/listen"
    assert seen[0].json["params"]["notifications"] == {
        "toolsListChanged": True,
        "resourcesListChanged": True,
        "resourceSubscriptions": ["file:///a"],
    }


async def test_a_server_that_offers_no_listening_says_so() -> None:
    body = b'{"jsonrpc":"2.0","id":ID,"error":{"code":-32601,"message":"no"}}'
    async with bench(responding(body, status="404 Not Found")) as it:
        with pytest.raises(RpcError):
            await it.channel.listen(resources=frozenset())


async def never(peer: Peer, got: Got) -> None:
    await peer.gone()


async def opened(answer: Answer) -> ModernHttpChannel:
    async with (
        asyncio.timeout(WAIT_S),
        serving(each(answer)) as served,
        AiohttpClient(allow_private=True) as http,
        open_modern_http(http, endpoint_at(served.url), FakeInbox(), timeout_s=0.5) as channel,
    ):
        return channel


@pytest.mark.parametrize(
    "answer",
    [
        responding(b"", status="400 Bad Request"),
        responding(b"", status="404 Not Found"),
        responding(b"", status="405 Method Not Allowed"),
        responding(b"<html>", status="500 X", kind="text/html"),
        responding(b'{"jsonrpc":"2.0","id":ID,"error":{"code":-32601,"message":"no"}}'),
        responding(b'{"jsonrpc":"2.0","id":ID,"error":{"code":-32600,"message":"no session"}}'),
        responding(b"", status="202 Accepted"),
        responding(b"hi", kind="text/plain"),
        responding(b": x\n\n", kind="text/event-stream"),
        responding(b'{"jsonrpc":"2.0","id":ID,"result":{}}'),
        responding(discovered("ID", "2025-11-25").replace(b'"ID"', b"ID")),
        responding(
            b'{"jsonrpc":"2.0","id":ID,"error":{"code":-32022,"message":"no",'
            b'"data":{"supported":["2025-11-25"]}}}'
        ),
        never,
    ],
)
async def test_a_legacy_server_is_recognised(answer: Answer) -> None:
    with pytest.raises(NotModernError):
        await opened(answer)


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (responding(b"", status="401 Unauthorized"), UnavailableError),
        (responding(b"", status="503 Service Unavailable"), UnavailableError),
        (responding(b"", status="502 Bad Gateway"), HttpStatusError),
        (responding(b'{"jsonrpc":"2.0","id":ID,"error":{"code":-32021,"message":"x"}}'), RpcError),
        (responding(discovered("ID", "2099-01-01").replace(b'"ID"', b"ID")), UpstreamError),
        (reset, TransportError),
    ],
)
async def test_other_faults_do_not_make_a_server_legacy(
    answer: Answer, error: type[Exception]
) -> None:
    with pytest.raises(error) as caught:
        await opened(answer)
    assert not isinstance(caught.value, NotModernError)


async def test_versions_are_negotiated() -> None:
    async def answer(peer: Peer, got: Got) -> None:
        versions.append(got.headers["mcp-protocol-version"])
        if len(versions) == 1:
            data = {"supported": [VERSION, "2099-01-01"], "requested": VERSION}
            error = {"code": -32022, "message": "unsupported", "data": data}
            await peer.respond(dumps(id=got.json["id"], error=error), status="400 Bad Request")
        else:
            await peer.respond(discovered(got.json["id"], "2099-01-01", VERSION))

    versions: list[str] = []
    channel = await opened(answer)
    assert versions == [VERSION, VERSION]
    assert channel.hello.supported_versions == ("2099-01-01", VERSION)
