"""The stream of strays: what a legacy server says outside any request, and its loss."""

import asyncio

import pytest

from agenthub.domain.exceptions import (
    TimedOutError,
)
from tests.unit.adapters.outbound.http.kit import Got, Peer
from tests.unit.adapters.outbound.mcp_client.kit import (
    FakeCaller,
    Running,
    dumps,
)
from tests.unit.adapters.outbound.mcp_client.legacy_kit import FakeServer, bench


async def test_strays_are_heard_and_their_stream_is_taken_up_again() -> None:
    async def stream(peer: Peer, got: Got) -> None:
        seen.append(got.headers.get("last-event-id"))
        await peer.begin_stream()
        await peer.send(b"retry: 1\n\n")
        number = len(seen)
        params = {"uri": f"file:///{number}"}
        await peer.event(
            dumps(method="notifications/resources/updated", params=params), event_id=f"s{number}"
        )
        if number > 1:
            await peer.gone()
        peer.writer.close()

    server = FakeServer()
    server.stream = stream
    seen: list[str | None] = []
    async with bench(server) as it:
        while len(it.inbox.heard) < 2:
            it.inbox.news.clear()
            await it.inbox.news.wait()
        assert [params["uri"] for _, params in it.inbox.heard] == [b'"file:///1"', b'"file:///2"']
        assert seen == [None, "s1"]


async def test_a_session_found_lost_by_the_stream_of_strays_is_renewed() -> None:
    async def stream(peer: Peer, got: Got) -> None:
        await peer.begin_stream()
        await peer.send(b"id: s1\nretry: 20\ndata:\n\n")
        if server.sessions == 2:
            renewed.set()
            await peer.gone()
        server.known.clear()
        peer.writer.close()

    server = FakeServer()
    server.stream = stream
    renewed = asyncio.Event()
    async with bench(server) as it:
        await renewed.wait()
        assert it.inbox.heard == [("notifications/tools/list_changed", {})]
        await it.call()
        assert server.sessions == 2


async def test_a_server_that_knows_no_stream_of_strays_has_not_lost_the_session() -> None:
    async def stream(peer: Peer, got: Got) -> None:
        asked.set()
        await peer.respond(status="404 Not Found")

    server = FakeServer()
    server.stream = stream
    asked = asyncio.Event()
    async with bench(server) as it:
        await asked.wait()
        await it.call()
        assert server.sessions == 1


async def test_the_lists_are_in_doubt_after_a_gap_that_cannot_be_taken_up() -> None:
    async def stream(peer: Peer, got: Got) -> None:
        seen.append(got)
        await peer.begin_stream()
        if len(seen) > 1:
            await peer.gone()
        peer.writer.close()

    server = FakeServer()
    server.stream = stream
    seen: list[Got] = []
    async with bench(server) as it:
        await it.inbox.news.wait()
        assert it.inbox.heard == [("notifications/tools/list_changed", {})]
        assert len(seen) == 2


@pytest.mark.parametrize(
    ("clients", "is_answered"), [(["a"], True), (["a", "b"], False), ([], False)]
)
async def test_a_stray_question_is_answered_only_if_it_can_be_but_one_callers(
    clients: list[str], is_answered: bool
) -> None:
    async def answer(peer: Peer, got: Got) -> None:
        waiting.release()
        await go.wait()
        await server.echo(peer, got)

    async def stream(peer: Peer, got: Got) -> None:
        await peer.begin_stream()
        await ask.wait()
        await peer.event(dumps(id="q", method="elicitation/create", params={}))
        await peer.gone()

    server = FakeServer()
    server.answer, server.stream = answer, stream
    waiting, go, ask = asyncio.Semaphore(0), asyncio.Event(), asyncio.Event()
    async with bench(server) as it, asyncio.TaskGroup() as group:
        calls = [Running(group, it.call(FakeCaller(client))) for client in clients]
        for _ in clients:
            await waiting.acquire()
        ask.set()
        reply = await server.next_told(None)
        assert ("result" in reply) is is_answered
        assert it.channel.unattributed == (1 if len(clients) > 1 else 0)
        go.set()
        for call in calls:
            await call


async def test_a_stray_question_of_a_request_given_up_reaches_nobody_else() -> None:
    async def answer(peer: Peer, got: Got) -> None:
        waiting.release()
        await go.wait()
        await server.echo(peer, got)

    async def stream(peer: Peer, got: Got) -> None:
        await peer.begin_stream()
        await ask.wait()
        await peer.event(dumps(id="q", method="elicitation/create", params={}))
        await peer.gone()

    server = FakeServer()
    server.answer, server.stream = answer, stream
    waiting, go, ask = asyncio.Semaphore(0), asyncio.Event(), asyncio.Event()
    async with bench(server) as it, asyncio.TaskGroup() as group:
        with pytest.raises(TimedOutError):
            await it.call(FakeCaller("ann"), timeout_s=0.05)
        await waiting.acquire()
        bob = FakeCaller("bob")
        call = Running(group, it.call(bob))
        await waiting.acquire()
        ask.set()
        assert (await server.next_told(None))["error"]["code"] == -32603
        assert bob.asked == []
        go.set()
        await call
