import asyncio
from collections.abc import AsyncIterator

import pytest

from agenthub.adapters.inbound.mcp import streams
from agenthub.adapters.inbound.mcp.crew import Crew
from agenthub.adapters.inbound.mcp.streams import (
    MAX_LOSABLE_BYTES,
    MAX_WAITING,
    MAX_WAITING_BYTES,
    EventStream,
    Exchange,
    Message,
    frame,
    run_until_hung_up,
)
from tests.support.waiting import eventually, soon

pytestmark = pytest.mark.anyio


class Wire:
    """The server's two callables, recorded and fed by hand."""

    def __init__(self) -> None:
        self.sent: asyncio.Queue[Message] = asyncio.Queue()
        self.received: asyncio.Queue[Message] = asyncio.Queue()

    async def send(self, message: Message) -> None:
        self.sent.put_nowait(message)

    async def receive(self) -> Message:
        return await self.received.get()

    async def next(self) -> Message:
        return await soon(self.sent.get())

    def hang_up(self) -> None:
        self.received.put_nowait({"type": "http.disconnect"})


@pytest.fixture
def wire() -> Wire:
    return Wire()


@pytest.fixture
async def crew() -> AsyncIterator[Crew]:
    async with Crew() as crew:
        yield crew


def exchange(wire: Wire, crew: Crew, *, may_stream: bool = True) -> Exchange:
    return Exchange(wire.receive, wire.send, crew, may_stream=may_stream, keep_alive_s=15)


async def test_answer_without_anything_before_is_one_plain_json_body(
    wire: Wire, crew: Crew
) -> None:
    await exchange(wire, crew).answer(b'{"a":1}')

    start, body = await wire.next(), await wire.next()
    assert start["status"] == 200
    assert (b"content-type", b"application/json") in start["headers"]
    assert body["body"] == b'{"a":1}'
    assert wire.sent.empty()


async def test_answer_after_a_push_ends_the_event_stream(wire: Wire, crew: Crew) -> None:
    post = exchange(wire, crew)

    assert post.push(b'{"n":1}')
    await soon(post.answer(b'{"n":2}'))

    start = await wire.next()
    assert (b"content-type", b"text/event-stream") in start["headers"]
    written = b""
    while message := await wire.next():
        written += message["body"]
        if not message.get("more_body"):
            break
    assert written == frame(b'{"n":1}') + frame(b'{"n":2}')


async def test_nothing_can_be_pushed_after_the_answer(wire: Wire, crew: Crew) -> None:
    post = exchange(wire, crew)

    await post.answer(b"{}")

    assert not post.push(b"{}")


async def test_nothing_is_pushed_to_an_agent_that_reads_no_event_streams(
    wire: Wire, crew: Crew
) -> None:
    post = exchange(wire, crew, may_stream=False)

    assert not post.push(b"{}")
    await post.answer(b"{}")

    assert (b"content-type", b"application/json") in (await wire.next())["headers"]


async def test_hanging_up_is_told_to_the_listener(wire: Wire, crew: Crew) -> None:
    post = exchange(wire, crew)
    gone = asyncio.Event()
    post.on_gone(gone.set)

    wire.hang_up()

    await soon(gone.wait())
    assert not post.push(b"{}")


async def test_silence_turns_into_an_event_stream_with_keep_alive(wire: Wire, crew: Crew) -> None:
    post = Exchange(wire.receive, wire.send, crew, may_stream=True, keep_alive_s=0.06)

    assert (await wire.next())["type"] == "http.response.start"
    assert (await wire.next())["body"].startswith(b":")
    await soon(post.answer(b"{}"))


def test_line_breaks_between_tokens_cannot_end_an_event() -> None:
    assert frame(b'{\r\n"a":\n1}').count(b"\n") == 3


async def test_a_stream_stops_taking_when_its_reader_is_too_slow(wire: Wire) -> None:
    stream = EventStream(wire.send)

    taken = [stream.put(b"{}", can_be_lost=True) for _ in range(MAX_WAITING + 1)]
    forced = [stream.put(b"{}") for _ in range(MAX_WAITING + 1)]

    assert taken == [True] * MAX_WAITING + [False]
    assert forced[-1] is False
    assert stream.is_ended


async def test_a_stream_ends_when_its_agent_hangs_up(wire: Wire, crew: Crew) -> None:
    stream = EventStream(wire.send)
    wire.hang_up()

    await soon(run_until_hung_up(stream, wire.receive, crew))

    assert stream.is_ended


async def test_an_error_of_one_member_leaves_the_crew_at_work(
    crew: Crew, caplog: pytest.LogCaptureFixture
) -> None:
    async def fail() -> None:
        raise ValueError("broken")

    member = crew.start(fail())
    assert member is not None
    await soon(member)

    done = asyncio.Event()

    async def work() -> None:
        done.set()

    crew.start(work())
    await soon(done.wait())
    assert "broken" in caplog.text


async def test_losable_messages_are_lost_while_a_megabyte_waits(wire: Wire) -> None:
    stream = EventStream(wire.send)
    large = b'"' + b"x" * 400_000 + b'"'

    taken = [stream.put(large, can_be_lost=True) for _ in range(4)]

    assert taken == [True, True, False, False]
    assert stream.put(large)
    assert not stream.is_ended


async def test_one_losable_message_passes_whatever_its_size(wire: Wire) -> None:
    stream = EventStream(wire.send)

    assert stream.put(b"x" * (MAX_LOSABLE_BYTES + 1), can_be_lost=True)


async def test_a_stream_is_given_up_when_too_many_bytes_wait(wire: Wire) -> None:
    stream = EventStream(wire.send)
    half = b"x" * (MAX_WAITING_BYTES // 2)

    assert stream.put(half)
    assert not stream.put(half)

    assert stream.is_ended


async def test_what_is_being_written_still_counts_and_counts_no_more_when_written(
    wire: Wire, crew: Crew
) -> None:
    gate = asyncio.Semaphore(1)  # the status line

    async def slowly(message: Message) -> None:
        await gate.acquire()
        await wire.send(message)

    stream = EventStream(slowly)
    large = b"x" * MAX_LOSABLE_BYTES
    stream.put(large)
    crew.start(stream.run())
    await wire.next()

    assert not stream.put(b"{}", can_be_lost=True)
    gate.release()
    await wire.next()
    await eventually(lambda: stream.put(b"{}", can_be_lost=True))


@pytest.mark.parametrize("how", ["stalled", "overfull"])
async def test_a_stream_that_is_given_up_tells_the_listener(
    wire: Wire, crew: Crew, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    if how == "stalled":
        # the real minute would only make the test slow
        monkeypatch.setattr(streams, "WRITE_TIMEOUT_S", 0.01)
    stuck = asyncio.Event()

    async def never(message: Message) -> None:
        await stuck.wait()

    post = Exchange(wire.receive, never, crew, may_stream=True, keep_alive_s=15)
    gone = asyncio.Event()
    post.on_gone(gone.set)

    assert post.push(b"{}")
    if how == "overfull":
        post.push(b"x" * MAX_WAITING_BYTES)
        stuck.set()

    await soon(gone.wait())
    assert not post.push(b"{}")
    await soon(post.answer(b"{}"))


async def test_an_answered_exchange_tells_nobody(wire: Wire, crew: Crew) -> None:
    post = exchange(wire, crew)
    told = list[bool]()
    post.on_gone(lambda: told.append(True))

    post.push(b"{}")
    await soon(post.answer(b"{}"))

    assert not told
