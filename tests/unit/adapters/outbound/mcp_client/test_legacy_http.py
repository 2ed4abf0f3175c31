"""A legacy server over streamable HTTP: a session, its streams, its questions and its loss."""

import asyncio

import pytest

from agenthub.adapters.outbound.http.aiohttp import AiohttpClient
from agenthub.adapters.outbound.mcp_client.http_answers import HttpStatusError
from agenthub.adapters.outbound.mcp_client.legacy_http import open_legacy_http
from agenthub.adapters.outbound.mcp_client.legacy_session import SessionLostError
from agenthub.domain.exceptions import (
    QuotaError,
    RpcError,
    TimedOutError,
    UnavailableError,
    UpstreamError,
)
from agenthub.domain.ports.outbound.http import BodyTooLargeError, TransportError
from tests.unit.adapters.outbound.http.kit import Got, Peer, each, serving
from tests.unit.adapters.outbound.mcp_client.kit import (
    WAIT_S,
    FakeCaller,
    FakeInbox,
    Running,
    dumps,
    endpoint_at,
)
from tests.unit.adapters.outbound.mcp_client.legacy_kit import Answer, FakeServer, bench


async def test_a_session_is_begun_used_and_ended() -> None:
    server = FakeServer()
    async with bench(server) as it:
        await it.call(FakeCaller())
        assert it.channel.hello.protocol_version == "2025-11-25"
        assert it.channel.hello.server_info == {"name": "x", "version": "1"}
    assert server.deleted.is_set()
    first = server.got[0]
    assert "mcp-session-id" not in first.headers
    declared = first.json["params"]["capabilities"]
    assert set(declared) == {"sampling", "elicitation", "extensions"}
    for later in server.got[1:]:
        assert later.headers["mcp-session-id"] == "session-1"
        assert later.headers["mcp-protocol-version"] == "2025-11-25"
        assert later.headers["x_key"] == "v"
    assert server.got[1].json["method"] == "notifications/initialized"


@pytest.mark.parametrize("version", ["2025-06-18", "2025-03-26", "2024-11-05"])
async def test_an_older_version_is_taken(version: str) -> None:
    server = FakeServer()
    server.version = version
    async with bench(server) as it:
        assert it.channel.hello.protocol_version == version
        await it.call()
    assert server.got[-2].headers["mcp-protocol-version"] == version


async def test_an_unknown_version_is_not_taken() -> None:
    server = FakeServer()
    server.version = "1999-01-01"
    with pytest.raises(UpstreamError):
        async with bench(server):
            pass


async def test_a_server_without_sessions_is_as_good() -> None:
    server = FakeServer()
    server.gives_sessions = False
    async with bench(server) as it:
        await it.call()
    assert all("mcp-session-id" not in got.headers for got in server.got)
    assert not server.deleted.is_set()


async def test_a_stream_brings_progress_logs_and_other_news() -> None:
    async def answer(peer: Peer, got: Got) -> None:
        token = got.json["params"]["_meta"]["progressToken"]
        await peer.begin_stream()
        for method, params in (
            ("notifications/progress", {"progressToken": token, "progress": 1}),
            ("notifications/progress", {"progressToken": 999, "progress": 2}),
            ("notifications/message", {"level": "error"}),
            ("notifications/tools/list_changed", {}),
        ):
            await peer.event(dumps(method=method, params=params))
        await peer.event(dumps(id=got.json["id"], result={"ok": 1}))
        peer.writer.close()

    server = FakeServer()
    server.answer = answer
    async with bench(server) as it:
        caller = FakeCaller()
        assert await it.call(caller) == b'{"ok": 1}'
        assert caller.told == [{"progress": b"1"}]
        assert caller.logged == [{"level": b'"error"'}]
        assert it.inbox.heard == [("notifications/tools/list_changed", {})]


async def test_a_question_goes_to_the_caller_of_its_stream_whoever_else_is_there() -> None:
    async def answer(peer: Peer, got: Got) -> None:
        number = got.json["id"]
        await peer.begin_stream()
        question = f"q{number}"
        params = {"message": str(number)}
        await peer.event(dumps(id=question, method="elicitation/create", params=params))
        await peer.event(dumps(id=f"p{number}", method="ping"))
        await peer.event(dumps(id=f"r{number}", method="roots/list"))
        answers[question] = peer
        if len(answers) == 2:
            both.set()
        await peer.gone()

    server = FakeServer()
    server.answer = answer
    answers: dict[str, Peer] = {}
    both = asyncio.Event()
    async with bench(server) as it, asyncio.TaskGroup() as group:
        callers = [
            FakeCaller(name, reply=b'{"who":"%b"}' % name.encode()) for name in ("ann", "bob")
        ]
        calls = [Running(group, it.call(caller)) for caller in callers]
        await both.wait()
        replies = {m["id"]: m for m in [await server.next_told(None) for _ in range(6)]}
        for caller in callers:
            number = caller.asked[0].params.decode().split('"')[3]
            assert replies[f"q{number}"]["result"] == {"who": caller.client}
            assert replies[f"p{number}"]["result"] == {}
            assert replies[f"r{number}"]["error"]["code"] == -32601
            await answers[f"q{number}"].event(dumps(id=int(number), result={}))
        for call in calls:
            await call


async def test_the_clock_stands_while_asking_and_the_server_may_withdraw() -> None:
    async def answer(peer: Peer, got: Got) -> None:
        await peer.begin_stream()
        await peer.event(dumps(id="q", method="sampling/createMessage", params={}))
        await late.wait()
        await peer.event(dumps(method="notifications/cancelled", params={"requestId": "q"}))
        await peer.event(dumps(id=got.json["id"], result={}))
        peer.writer.close()

    server = FakeServer()
    server.answer = answer
    late = asyncio.Event()
    async with bench(server) as it, asyncio.TaskGroup() as group:
        caller = FakeCaller()
        caller.held.clear()
        call = Running(group, it.call(caller, timeout_s=0.1))
        await caller.asking.wait()
        done, _ = await asyncio.wait([call.task], timeout=0.2)
        assert not done
        late.set()
        await caller.withdrawing.wait()
        assert await call == b"{}"


async def test_giving_up_is_told_and_hanging_up_alone_would_not_do() -> None:
    async def answer(peer: Peer, got: Got) -> None:
        begun.set()
        await peer.gone()

    server = FakeServer()
    server.answer = answer
    begun = asyncio.Event()
    async with bench(server) as it, asyncio.TaskGroup() as group:
        with pytest.raises(TimedOutError):
            await it.call(timeout_s=0.05)
        assert (await server.next_told("notifications/cancelled"))["params"] == {"requestId": 1}
        begun.clear()
        call = Running(group, it.call())
        await begun.wait()
        call.task.cancel()
        assert (await server.next_told("notifications/cancelled"))["params"] == {"requestId": 2}


async def test_a_server_that_refuses_to_be_told_harms_no_other_call() -> None:
    async def grumpy(peer: Peer, got: Got) -> None:
        if got.body and got.json.get("method") == "notifications/cancelled":
            error = {"code": -32000, "message": "Bad Request"}
            await peer.respond(dumps(id=None, error=error), status="400 Bad Request")
            refused.set()
        else:
            await server(peer, got)

    async def answer(peer: Peer, got: Got) -> None:
        await refused.wait()
        await server.echo(peer, got)

    server = FakeServer()
    server.answer = answer
    refused = asyncio.Event()
    async with (
        asyncio.timeout(WAIT_S),
        serving(each(grumpy)) as served,
        AiohttpClient(allow_private=True) as http,
        open_legacy_http(http, endpoint_at(served.url), FakeInbox()) as channel,
        asyncio.TaskGroup() as group,
    ):
        bystander = Running(
            group, channel.request("tools/call", {}, meta={}, caller=None, timeout_s=WAIT_S)
        )
        with pytest.raises(TimedOutError):
            await channel.request("tools/call", {}, meta={}, caller=None, timeout_s=0.05)
        assert await bystander
        assert await channel.request("tools/call", {}, meta={}, caller=None, timeout_s=WAIT_S)


async def test_a_cut_stream_is_taken_up_after_the_wait_the_server_wishes() -> None:
    async def answer(peer: Peer, got: Got) -> None:
        ids.append(got.json["id"])
        await peer.begin_stream()
        await peer.send(b"id: e1\nretry: 100\ndata:\n\n")
        cut_at.append(asyncio.get_running_loop().time())
        peer.writer.close()

    async def stream(peer: Peer, got: Got) -> None:
        last = got.headers.get("last-event-id")
        if last is None:
            await peer.respond(status="405 M")
            return
        resumed.append((last, asyncio.get_running_loop().time()))
        await peer.begin_stream()
        if last == "e1":
            await peer.event(
                dumps(method="notifications/message", params={"level": "error"}), event_id="e2"
            )
        else:
            await peer.event(dumps(id=ids[0], result={"late": True}))
        peer.writer.close()

    server = FakeServer()
    server.answer, server.stream = answer, stream
    ids: list[int] = []
    cut_at: list[float] = []
    resumed: list[tuple[str, float]] = []
    async with bench(server) as it:
        caller = FakeCaller()
        assert await it.call(caller) == b'{"late": true}'
        assert len(caller.logged) == 1
    assert [last for last, _ in resumed] == ["e1", "e2"]
    assert resumed[0][1] - cut_at[0] >= 0.1


async def test_a_request_whose_cut_stream_is_lost_is_not_sent_again() -> None:
    async def answer(peer: Peer, got: Got) -> None:
        taken.append(got.json["id"])
        await peer.begin_stream()
        await peer.send(b"id: e1\nretry: 20\ndata:\n\n")
        server.known.clear()
        peer.writer.close()

    server = FakeServer()
    server.answer = answer
    taken: list[int] = []
    async with bench(server) as it:
        with pytest.raises(TransportError):
            await it.call(FakeCaller())
        server.answer = server.echo
        await it.call(FakeCaller())
        assert server.sessions == 2
    assert len(taken) == 1


async def test_a_lost_session_is_renewed_once_for_all_and_told_what_it_knew() -> None:
    server = FakeServer()
    server.capabilities = {"tools": {}, "prompts": {}}
    async with bench(server) as it, asyncio.TaskGroup() as group:
        await it.call(method="resources/subscribe", raw={"uri": b'"file:///a"'})
        await it.call(method="resources/subscribe", raw={"uri": b'"file:///b"'})
        await it.call(method="resources/unsubscribe", raw={"uri": b'"file:///b"'})
        await it.call(method="logging/setLevel", raw={"level": b'"info"'})
        server.known.clear()
        before = len(server.got)
        calls = [Running(group, it.call(FakeCaller(str(n)))) for n in range(5)]
        for call in calls:
            await call
        assert server.sessions == 2
        assert it.inbox.heard == [
            ("notifications/tools/list_changed", {}),
            ("notifications/prompts/list_changed", {}),
        ]
        await it.call(method="last")
        again = [got.json for got in server.got[before:] if got.body]
        told = {m["method"]: m.get("params") for m in again}
        assert told["resources/subscribe"] == {"uri": "file:///a"}
        assert told["logging/setLevel"] == {"level": "info"}


async def test_a_session_that_cannot_be_renewed_closes_the_channel() -> None:
    async def forgetful(peer: Peer, got: Got) -> None:
        if got.body and got.json.get("method") == "initialize" and server.sessions:
            await peer.respond(status="503 S", retry_after="3")
        else:
            await server(peer, got)

    server = FakeServer()
    async with (
        asyncio.timeout(WAIT_S),
        serving(each(forgetful)) as served,
        AiohttpClient(allow_private=True) as http,
        open_legacy_http(http, endpoint_at(served.url), FakeInbox()) as channel,
    ):
        server.known.clear()
        with pytest.raises(UnavailableError) as caught:
            await channel.request("tools/list", {}, meta={}, caller=None, timeout_s=1)
        assert caught.value.retry_after_s == 3
        await channel.wait_closed()


async def test_a_session_lost_again_at_once_is_an_error() -> None:
    async def answer(peer: Peer, got: Got) -> None:
        await peer.respond(status="404 Not Found")

    server = FakeServer()
    server.answer = answer
    async with bench(server) as it:
        with pytest.raises(SessionLostError):
            await it.call()
        assert server.sessions == 2


async def test_a_session_lost_after_the_channel_was_left_is_not_renewed() -> None:
    async def answer(peer: Peer, got: Got) -> None:
        taken.set()
        await server.deleted.wait()
        await peer.respond(status="404 Not Found")

    server = FakeServer()
    server.answer = answer
    taken = asyncio.Event()
    async with (
        asyncio.timeout(WAIT_S),
        serving(each(server)) as served,
        AiohttpClient(allow_private=True) as http,
        asyncio.TaskGroup() as group,
    ):
        async with open_legacy_http(http, endpoint_at(served.url), FakeInbox()) as channel:
            call = Running(
                group, channel.request("tools/call", {}, meta={}, caller=None, timeout_s=WAIT_S)
            )
            await taken.wait()
        with pytest.raises(UnavailableError):
            await call
        assert server.sessions == 1


async def test_an_unknown_method_is_no_lost_session() -> None:
    async def answer(peer: Peer, got: Got) -> None:
        error = {"code": -32601, "message": "no"}
        await peer.respond(dumps(id=got.json["id"], error=error), status="404 Not Found")

    server = FakeServer()
    server.answer = answer
    async with bench(server) as it:
        with pytest.raises(RpcError):
            await it.call()
        assert server.sessions == 1


def responding(body: bytes, **how: str) -> Answer:
    async def answer(peer: Peer, got: Got) -> None:
        await peer.respond(body.replace(b"ID", b"%d" % got.json["id"]), **how)

    return answer


async def reset(peer: Peer, got: Got) -> None:
    peer.reset()


async def cut_stream(peer: Peer, got: Got) -> None:
    await peer.begin_stream()
    await peer.event(dumps(method="notifications/message", params={}))
    peer.writer.close()


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (responding(b"<html>", kind="text/html"), UpstreamError),
        (responding(b"garbage"), UpstreamError),
        (responding(b'{"jsonrpc":"2.0","id":99999,"result":{}}'), UpstreamError),
        (responding(b"", kind="text/event-stream"), UpstreamError),
        (responding(b"", status="400 Bad Request"), HttpStatusError),
        (responding(b"", status="500 X"), HttpStatusError),
        (responding(b"", status="307 T", location="/x"), HttpStatusError),
        (responding(b"", status="401 U"), UnavailableError),
        (responding(b"", status="429 T"), QuotaError),
        (responding(b'{"jsonrpc":"2.0","id":ID,"error":{"code":1,"message":"m"}}'), RpcError),
        (responding(b'{"x":"' + b"x" * 200_000 + b'"}'), BodyTooLargeError),
        (cut_stream, UpstreamError),
        (reset, TransportError),
    ],
)
async def test_a_faulty_answer_is_that_requests_error_and_the_session_lives_on(
    answer: Answer, error: type[Exception]
) -> None:
    server = FakeServer()
    server.answer = answer
    async with bench(server) as it:
        with pytest.raises(error):
            await it.call()
        server.answer = server.echo
        await it.call()
        assert server.sessions == 1
