"""One server as the hub keeps it: which lane a request takes, and what it carries there."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import pytest

from agenthub.adapters.outbound.mcp_client.channel import Channel, Hello, Inbox
from agenthub.adapters.outbound.mcp_client.connection import Connection, LaneMaker
from agenthub.adapters.outbound.mcp_client.handshakes import NotModernError
from agenthub.adapters.outbound.mcp_client.lanes import Lane, Overseer
from agenthub.adapters.outbound.mcp_client.plans import LanePlan, Surroundings
from agenthub.adapters.outbound.mcp_client.reading import Reader
from agenthub.domain.entities.catalog.listing import Catalog, CatalogBounds, ItemKind
from agenthub.domain.entities.endpoints import ConnectionStatus, Era
from agenthub.domain.exceptions import (
    NotConnectedError,
    RpcError,
    TimedOutError,
    UnavailableError,
    UpstreamError,
)
from agenthub.domain.ports.outbound.mcp_client import Answer, Caller, RawObject, UpstreamRequest
from tests.fakes.clock import FakeChance, FakeClock
from tests.support.waiting import eventually, soon
from tests.unit.adapters.outbound.mcp_client.kit import FakeCaller, endpoint_at

ANNOTATED = {
    "name": "weather",
    "inputSchema": {
        "type": "object",
        "properties": {"city": {"type": "string", "x-mcp-header": "City"}},
    },
}


class EraChannel(Channel):
    """Answers every call with its own era, or raises the next of `faults`."""

    def __init__(self, era: Era, tools: list[dict[str, object]] | None = None) -> None:
        self.era = era
        self.hello = Hello("v", {"tools": {}, "resources": {"subscribe": True}})
        self.tools = [ANNOTATED] if tools is None else tools
        self.faults: list[Exception] = []
        self.probe_fault: Exception | None = None
        self.result = {"era": era.value}
        self.headers: list[dict[str, str] | None] = []
        self.watched: list[str] = []
        self.watch_faults: list[Exception] = []
        self.may_answer = asyncio.Event()
        self.may_answer.set()
        self.gone = asyncio.Event()

    async def request(
        self,
        method: str,
        params: RawObject,
        *,
        meta: RawObject,
        caller: Caller | None,
        timeout_s: float,
        header_params: dict[str, str] | None = None,
    ) -> bytes:
        if method == "tools/list":
            return json.dumps({"tools": self.tools}).encode()
        if method.startswith("resources/") and method.endswith("subscribe"):
            self.watched.append(f"{method} {params['uri'].decode()}")
            await self.may_answer.wait()
            if self.watch_faults:
                raise self.watch_faults.pop(0)
            return b"{}"
        if method != "tools/call":
            raise RpcError(-32601, "Method not found")
        self.headers.append(header_params)
        if self.faults:
            raise self.faults.pop(0)
        return json.dumps(self.result).encode()

    async def notify(self, method: str, params: RawObject) -> None: ...

    async def probe(self, *, timeout_s: float) -> None:
        if self.probe_fault is not None:
            raise self.probe_fault

    async def wait_closed(self) -> None:
        await self.gone.wait()


class Maker(LaneMaker):
    """Lanes by era; an era without channel answers that it is not spoken."""

    @property
    def starts_programs(self) -> bool:
        return True

    def __init__(self, channels: dict[Era, EraChannel], *, lazy: bool = False) -> None:
        self.channels = channels
        self.lazy = lazy
        self.has_second = True
        self.opened: list[Era] = []
        self.may_open = asyncio.Event()
        self.may_open.set()

    def first(self, overseer: Overseer) -> list[Lane]:
        return [self._lane(overseer, era) for era in ([Era.MODERN] if self.lazy else Era)]

    def second(self, overseer: Overseer, found: Era) -> Lane | None:
        return self._lane(overseer, Era.LEGACY) if self.lazy and self.has_second else None

    def _lane(self, overseer: Overseer, era: Era) -> Lane:
        def opener(inbox: Inbox, hint: Era | None) -> AbstractAsyncContextManager[Channel]:
            return self._open(era)

        reader = Reader(server="srv", bounds=CatalogBounds(), with_headers=era is Era.MODERN)
        plan = LanePlan(server="srv", era=era, open=opener, reader=reader, reopens=False)
        world = Surroundings(clock=FakeClock(), chance=FakeChance(), pause=_briefly)
        return Lane(plan, overseer, world)

    @asynccontextmanager
    async def _open(self, era: Era) -> AsyncIterator[Channel]:
        self.opened.append(era)
        await self.may_open.wait()
        if era not in self.channels:
            raise NotModernError("It speaks another era.")
        yield self.channels[era]


async def _briefly(seconds: float, wake: asyncio.Event) -> None:
    await asyncio.sleep(0)


@asynccontextmanager
async def kept(maker: Maker, known: dict[Era, Catalog] | None = None) -> AsyncIterator[Connection]:
    connection = Connection(
        endpoint_at("http://h/mcp"), maker, clock=FakeClock(), listeners=(), known=known or {}
    )
    async with asyncio.timeout(10), asyncio.TaskGroup() as group:
        task = group.create_task(connection.keep())
        await asyncio.sleep(0)
        yield connection
        task.cancel()


@asynccontextmanager
async def ready(maker: Maker) -> AsyncIterator[Connection]:
    async with kept(maker) as connection:
        await soon(connection.settled())
        yield connection


async def call(
    connection: Connection, era: Era = Era.MODERN, tool: str = "weather", **arguments: str
) -> Answer:
    request = UpstreamRequest(
        method="tools/call",
        params={"name": json.dumps(tool).encode(), "arguments": json.dumps(arguments).encode()},
        timeout_s=5,
    )
    return await connection.request(request, FakeCaller(era=era, log_level=None))


def both() -> dict[Era, EraChannel]:
    return {era: EraChannel(era) for era in Era}


@pytest.mark.parametrize(
    ("spoken", "asked", "taken"),
    [
        ((Era.LEGACY, Era.MODERN), Era.LEGACY, Era.LEGACY),
        ((Era.LEGACY, Era.MODERN), Era.MODERN, Era.MODERN),
        ((Era.LEGACY,), Era.MODERN, Era.LEGACY),
        ((Era.MODERN,), Era.LEGACY, Era.MODERN),
    ],
)
async def test_the_caller_s_era_chooses_the_lane(
    spoken: tuple[Era, ...], asked: Era, taken: Era
) -> None:
    async with ready(Maker({era: EraChannel(era) for era in spoken})) as connection:
        answer = await call(connection, asked)
        assert (answer.era, json.loads(answer.result)) == (taken, {"era": taken.value})
        assert connection.state.status is ConnectionStatus.READY
        assert connection.state.eras == spoken


async def test_the_second_lane_is_opened_for_its_first_agent_only() -> None:
    maker = Maker(both(), lazy=True)
    async with ready(maker) as connection:
        assert (await call(connection, Era.MODERN)).era is Era.MODERN
        assert maker.opened == [Era.MODERN]
        assert (await call(connection, Era.LEGACY)).era is Era.LEGACY
        assert (await call(connection, Era.LEGACY)).era is Era.LEGACY
        assert maker.opened == [Era.MODERN, Era.LEGACY]


async def test_a_first_agent_that_comes_before_the_era_is_found_gets_its_own_lane() -> None:
    maker = Maker(both(), lazy=True)
    maker.may_open.clear()
    async with kept(maker) as connection, asyncio.TaskGroup() as group:
        early = [group.create_task(call(connection, Era.LEGACY)) for _ in range(2)]
        await eventually(lambda: maker.opened)
        maker.may_open.set()
        assert [(await soon(one)).era for one in early] == [Era.LEGACY, Era.LEGACY]
        assert maker.opened == [Era.MODERN, Era.LEGACY]


async def test_a_second_lane_that_was_not_to_be_had_may_be_later() -> None:
    maker = Maker(both(), lazy=True)
    maker.has_second = False
    async with ready(maker) as connection:
        assert (await call(connection, Era.LEGACY)).era is Era.MODERN
        maker.has_second = True
        assert (await call(connection, Era.LEGACY)).era is Era.LEGACY


async def test_a_catalogue_of_an_era_no_longer_spoken_is_dropped() -> None:
    maker = Maker(both(), lazy=True)
    async with ready(maker) as connection:
        assert connection.catalog(Era.MODERN).counts()["tools"] == 1
        maker.channels[Era.MODERN].gone.set()
        maker.channels[Era.MODERN] = EraChannel(Era.LEGACY, [])
        await eventually(lambda: connection.state.eras == (Era.LEGACY,))
        await eventually(lambda: connection.state.status is ConnectionStatus.READY)
        assert connection.catalog(Era.MODERN).counts()["tools"] == 0


async def test_a_second_lane_that_cannot_be_had_leaves_the_first() -> None:
    maker = Maker({Era.MODERN: EraChannel(Era.MODERN)}, lazy=True)
    async with ready(maker) as connection:
        assert (await call(connection, Era.LEGACY)).era is Era.MODERN
        assert connection.state.status is ConnectionStatus.READY


async def test_annotated_arguments_travel_as_headers_in_the_modern_era_only() -> None:
    channels = both()
    async with ready(Maker(channels)) as connection:
        await call(connection, Era.MODERN, city="Ulm")
        await call(connection, Era.MODERN, tool="other", city="Ulm")
        await call(connection, Era.LEGACY, city="Ulm")
    assert channels[Era.MODERN].headers == [{"Mcp-Param-City": "Ulm"}, None]
    assert channels[Era.LEGACY].headers == [None]


async def test_what_concerns_only_the_hop_is_taken_out_of_a_result() -> None:
    channels = both()
    channels[Era.MODERN].result = {
        "resultType": "complete",
        "_meta": {"io.modelcontextprotocol/serverInfo": {}},  # type: ignore[dict-item]
        "content": [],  # type: ignore[dict-item]
    }
    async with ready(Maker(channels)) as connection:
        assert json.loads((await call(connection)).result) == {"content": []}


async def test_a_request_for_input_comes_beside_the_result() -> None:
    channels = both()
    channels[Era.MODERN].result = {"resultType": "input_required", "requestState": "s"}
    async with ready(Maker(channels)) as connection:
        needed = (await call(connection)).input_required
    assert needed is not None
    assert needed.state == "s"


async def test_a_version_that_is_no_longer_spoken_is_agreed_upon_anew() -> None:
    maker = Maker(both())
    async with ready(maker) as connection:
        maker.channels[Era.MODERN].faults = [RpcError(-32022, "Unsupported protocol version")]
        assert (await call(connection)).era is Era.MODERN
        assert maker.opened.count(Era.MODERN) == 2


async def test_a_server_that_refuses_its_own_version_is_at_fault() -> None:
    maker = Maker(both())
    async with ready(maker) as connection:
        fault = RpcError(-32022, "Unsupported protocol version")
        maker.channels[Era.MODERN].faults = [fault, fault]
        with pytest.raises(UpstreamError):
            await call(connection)


async def test_what_was_known_before_is_offered_until_the_lists_are_read() -> None:
    class Never(Maker):
        @asynccontextmanager
        async def _open(self, era: Era) -> AsyncIterator[Channel]:
            await asyncio.Event().wait()
            yield self.channels[era]

    known = {Era.LEGACY: Catalog(flags=("old",))}
    async with kept(Never({}), known) as connection:
        assert connection.catalog(Era.MODERN).flags == ("old",)
    async with kept(Maker(both()), {Era.LEGACY: Catalog(flags=("old",))}) as connection:
        await soon(connection.settled())
        assert connection.catalog(Era.LEGACY).flags == ()
        assert len(connection.catalog(Era.LEGACY).of(ItemKind.TOOLS)) == 1


async def test_watches_are_counted() -> None:
    maker = Maker(both())
    async with ready(maker) as connection:
        await connection.watch("x://1")
        await connection.watch("x://1")
        await connection.unwatch("x://1")
        assert maker.channels[Era.LEGACY].watched == ['resources/subscribe "x://1"']
        await connection.unwatch("x://1")
        assert maker.channels[Era.LEGACY].watched[1:] == ['resources/unsubscribe "x://1"']


async def test_a_second_watch_shares_the_fate_of_the_server_s_own_answer() -> None:
    maker = Maker(both())
    channel = maker.channels[Era.LEGACY]
    channel.may_answer.clear()
    channel.watch_faults = [RpcError(-32603, "no"), RpcError(-32603, "no")]
    async with ready(maker) as connection, asyncio.TaskGroup() as group:
        watching = [group.create_task(refusal(connection.watch("x://1"))) for _ in range(3)]
        await eventually(lambda: channel.watched)
        channel.may_answer.set()
        refused = [await soon(one) for one in watching]
        assert [fault is not None for fault in refused] == [True, True, False]
        assert len(channel.watched) == 3
        await connection.unwatch("x://1")
        assert not connection._watches
        assert not connection._gates


async def refusal(work: Awaitable[None]) -> RpcError | None:
    try:
        await work
    except RpcError as error:
        return error
    return None


async def test_a_server_that_is_back_is_asked_again_what_it_speaks() -> None:
    maker = Maker({Era.LEGACY: EraChannel(Era.LEGACY)})
    async with ready(maker) as connection:
        await eventually(lambda: any(lane.rests for lane in connection_lanes(connection)))
        maker.channels[Era.MODERN] = EraChannel(Era.MODERN)
        lost, maker.channels[Era.LEGACY] = maker.channels[Era.LEGACY], EraChannel(Era.LEGACY)
        lost.gone.set()
        await eventually(lambda: connection.state.eras == (Era.LEGACY, Era.MODERN))


async def test_a_server_nobody_reaches_says_why() -> None:
    class Unreachable(Maker):
        @asynccontextmanager
        async def _open(self, era: Era) -> AsyncIterator[Channel]:
            raise UnavailableError("no route")
            yield self.channels[era]

    async with kept(Unreachable({})) as connection:
        await soon(connection.settled())
        assert connection.state.status is ConnectionStatus.UNREACHABLE
        assert connection.state.last_error == "no route"


def connection_lanes(connection: Connection) -> list[Lane]:
    return connection._lanes


async def test_a_probe_asks_over_every_open_lane_and_any_that_fails_counts() -> None:
    channels = both()
    async with ready(Maker(channels)) as connection:
        assert await soon(connection.probe(5)) is True
        channels[Era.LEGACY].probe_fault = TimedOutError("silence")
        with pytest.raises(TimedOutError):
            await soon(connection.probe(5))
        channels[Era.LEGACY].probe_fault = None
        assert await soon(connection.probe(5)) is True


async def test_a_probe_without_a_connection_says_so() -> None:
    async with ready(Maker({})) as connection:
        with pytest.raises(NotConnectedError):
            await soon(connection.probe(5))
