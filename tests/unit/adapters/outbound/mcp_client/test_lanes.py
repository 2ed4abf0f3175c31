"""A lane keeps its connection through losses, doubts and floods, by a clock of the test's."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from agenthub.adapters.outbound.mcp_client.channel import Channel, Hello, Inbox
from agenthub.adapters.outbound.mcp_client.handshakes import NotModernError
from agenthub.adapters.outbound.mcp_client.http_answers import HttpStatusError
from agenthub.adapters.outbound.mcp_client.lanes import Lane, Overseer
from agenthub.adapters.outbound.mcp_client.plans import LanePlan, Phase, Surroundings
from agenthub.adapters.outbound.mcp_client.reading import Reader, Shelf
from agenthub.domain.entities.catalog.listing import CatalogBounds, ItemKind
from agenthub.domain.entities.endpoints import Era
from agenthub.domain.exceptions import RpcError, TimedOutError, UnavailableError
from agenthub.domain.ports.outbound.http import ConnectFailedError
from agenthub.domain.ports.outbound.mcp_client import Caller, RawObject, UpstreamRequest
from tests.fakes.clock import FakeChance, FakeClock
from tests.support.waiting import eventually, soon
from tests.unit.adapters.outbound.mcp_client.kit import FakeCaller


class LongestChance(FakeChance):
    def share(self) -> float:
        return 1.0


class Pauses:
    """Every pause waits until the test lets it go, or its lane is woken."""

    def __init__(self, clock: FakeClock) -> None:
        self.taken: list[float] = []
        self.open: list[tuple[float, asyncio.Event]] = []
        self.free = False
        self._clock = clock

    async def pause(self, seconds: float, wake: asyncio.Event) -> None:
        self.taken.append(seconds)
        go = asyncio.Event()
        if self.free:
            await asyncio.sleep(0)
            return
        entry = (seconds, go)
        self.open.append(entry)
        async with asyncio.TaskGroup() as group:
            waits = [group.create_task(go.wait()), group.create_task(wake.wait())]
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            for one in waits:
                one.cancel()
        if entry in self.open:
            self.open.remove(entry)

    async def let_go(self) -> float:
        """End the present pause, and turn the clock by as much."""
        await eventually(lambda: self.open)
        seconds, go = self.open.pop(0)
        self._clock.advance(seconds)
        go.set()
        return seconds


class PlayedChannel(Channel):
    """A server as the test plays it: `answer` gives or raises, `lose` ends the connection."""

    def __init__(self, era: Era = Era.LEGACY, capabilities: dict[str, Any] | None = None) -> None:
        self.era = era
        self.hello = Hello("v", {"tools": {}} if capabilities is None else capabilities)
        self.tools = ["t"]
        self.answers: dict[str, bytes | Exception] = {}
        self.held: dict[str, asyncio.Event] = {}
        self.asked: list[tuple[str, RawObject]] = []
        self.granted: list[float] = []
        self.running = 0
        self.most_running = 0
        self.listening: list[frozenset[str]] = []
        self.listen_ends: asyncio.Queue[Exception | None] = asyncio.Queue()
        self.inbox: Inbox | None = None
        self.refused_questions = 0
        self._lost = asyncio.Event()
        self._fault: Exception | None = None

    @property
    def unattributed(self) -> int:
        return self.refused_questions

    @property
    def fault(self) -> Exception | None:
        return self._fault

    def lose(self, fault: Exception | None = None) -> None:
        self._fault = fault
        self._lost.set()

    def tell(self, method: str, **params: bytes) -> None:
        assert self.inbox is not None
        self.inbox.notification(method, params)

    def count(self, method: str) -> int:
        return sum(one == method for one, _ in self.asked)

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
        self.asked.append((method, params))
        self.granted.append(timeout_s)
        self.running += 1
        self.most_running = max(self.most_running, self.running)
        try:
            if method in self.held:
                await self.held[method].wait()
        finally:
            self.running -= 1
        if method == "tools/list":
            listed = [{"name": name, "inputSchema": {}} for name in self.tools]
            return json.dumps({"tools": listed}).encode()
        answer = self.answers.get(method, b"{}")
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def notify(self, method: str, params: RawObject) -> None: ...

    async def wait_closed(self) -> None:
        await self._lost.wait()

    async def listen(self, *, resources: frozenset[str]) -> None:
        self.listening.append(resources)
        self.tell("notifications/subscriptions/acknowledged")
        end = await self.listen_ends.get()
        if end is not None:
            raise end


class Watcher(Overseer):
    def __init__(self) -> None:
        self.phases: list[Phase] = []
        self.shelves = 0
        self.resources: list[str] = []
        self.sibling_serves = False

    def on_phase(self, lane: Lane) -> None:
        if not self.phases or self.phases[-1] is not lane.phase:
            self.phases.append(lane.phase)

    def on_shelf(self, lane: Lane, former: Shelf) -> None:
        self.shelves += 1

    def on_resource(self, lane: Lane, uri: str) -> None:
        self.resources.append(uri)

    def may_rest(self, lane: Lane) -> bool:
        return self.sibling_serves


class Bench:
    """A lane whose attempts take what `coming` holds: a channel, or the error of connecting."""

    def __init__(self, *, reopens: bool = True, era: Era | None = Era.LEGACY) -> None:
        self.clock = FakeClock()
        self.pauses = Pauses(self.clock)
        self.watcher = Watcher()
        self.coming: list[PlayedChannel | Exception] = []
        self.attempts: list[Era | None] = []
        self.may_open = asyncio.Event()
        self.may_open.set()
        self.opened = 0
        self.closed = 0
        plan = LanePlan(
            server="srv",
            era=era,
            open=self._open,
            reader=Reader(server="srv", bounds=CatalogBounds(), with_headers=False),
            reopens=reopens,
        )
        world = Surroundings(clock=self.clock, chance=LongestChance(), pause=self.pauses.pause)
        self.lane = Lane(plan, self.watcher, world)

    @asynccontextmanager
    async def _open(self, inbox: Inbox, era: Era | None) -> AsyncIterator[Channel]:
        self.attempts.append(era)
        await self.may_open.wait()
        coming = self.coming.pop(0) if self.coming else UnavailableError("nobody there")
        if isinstance(coming, Exception):
            raise coming
        coming.inbox = inbox
        self.opened += 1
        try:
            yield coming
        finally:
            self.closed += 1

    @asynccontextmanager
    async def running(self, *coming: PlayedChannel | Exception) -> AsyncIterator[Lane]:
        self.coming += coming
        async with asyncio.timeout(10), asyncio.TaskGroup() as group:
            task = group.create_task(self.lane.run())
            yield self.lane
            task.cancel()
        assert self.opened == self.closed

    async def becomes(self, phase: Phase) -> None:
        await eventually(lambda: self.lane.phase is phase)

    def call(
        self,
        caller: FakeCaller | None = None,
        *,
        timeout_s: float = 5.0,
        method: str = "tools/call",
    ) -> Any:
        request = UpstreamRequest(method=method, params={"name": b'"t"'}, timeout_s=timeout_s)
        return self.lane.request(request, caller or FakeCaller(log_level=None))


async def test_a_lane_connects_reads_and_serves() -> None:
    bench = Bench()
    async with bench.running(PlayedChannel()) as lane:
        await soon(lane.settled.wait())
        assert (lane.phase, lane.fault) == (Phase.READY, None)
        assert [item.key for item in lane.shelf.catalog().of(ItemKind.TOOLS)] == ["t"]
        assert await bench.call() == b"{}"


async def test_pauses_grow_to_their_limit_and_say_when_the_next_try_is() -> None:
    bench = Bench()
    async with bench.running() as lane:
        await soon(lane.settled.wait())
        assert lane.retry_in_s == 0.5
        for _ in range(9):
            await bench.pauses.let_go()
        assert bench.pauses.taken[:9] == [0.5, 1, 2, 4, 8, 16, 30, 30, 30]


async def test_a_connection_that_always_dies_soon_never_spins() -> None:
    bench = Bench()
    channels = [PlayedChannel() for _ in range(6)]
    async with bench.running(*channels):
        for number, channel in enumerate(channels):
            await eventually(lambda n=number: bench.opened == n + 1)
            await bench.becomes(Phase.READY)
            channel.lose(UnavailableError("it died"))
            await bench.pauses.let_go()
        await eventually(lambda: len(bench.pauses.taken) >= 6)
    assert bench.pauses.taken[:6] == [0.5, 1, 2, 4, 8, 16]


async def test_a_minute_of_life_starts_the_pauses_anew() -> None:
    bench = Bench()
    channel = PlayedChannel()
    async with bench.running(UnavailableError("1"), UnavailableError("2"), channel):
        await bench.pauses.let_go()
        await bench.pauses.let_go()
        await bench.becomes(Phase.READY)
        bench.clock.advance(61)
        channel.lose()
        assert await bench.pauses.let_go() == 0.5


async def test_a_loss_is_told_with_its_cause_and_mended() -> None:
    bench = Bench()
    first, second = PlayedChannel(), PlayedChannel()
    second.tools = ["new"]
    async with bench.running(first, second) as lane:
        await bench.becomes(Phase.READY)
        first.lose(UnavailableError("exit code 3"))
        await bench.becomes(Phase.DOWN)
        assert str(lane.fault) == "exit code 3"
        assert lane.shelf.catalog().of(ItemKind.TOOLS)
        await bench.pauses.let_go()
        await bench.becomes(Phase.READY)
        assert [item.key for item in lane.shelf.catalog().of(ItemKind.TOOLS)] == ["new"]


async def test_a_request_waits_for_a_connection_in_the_making() -> None:
    bench = Bench()
    async with (
        bench.running(UnavailableError("not yet"), PlayedChannel()),
        asyncio.TaskGroup() as group,
    ):
        waiting = group.create_task(bench.call())
        await bench.pauses.let_go()
        assert await soon(waiting) == b"{}"


async def test_a_request_that_would_wait_in_vain_fails_at_once_and_says_why() -> None:
    bench = Bench()
    async with bench.running():
        for _ in range(5):
            await bench.pauses.let_go()
        await eventually(lambda: bench.lane.retry_in_s == 16)
        with pytest.raises(UnavailableError) as caught:
            await bench.call()
        assert "nobody there" in caught.value.message
        assert caught.value.retry_after_s == 16


async def test_a_request_waits_no_longer_than_its_own_time() -> None:
    bench = Bench()
    async with bench.running():
        await eventually(lambda: bench.pauses.open)
        with pytest.raises(UnavailableError):
            await bench.call(timeout_s=0.6)


async def test_all_that_a_request_waits_for_is_of_the_same_time() -> None:
    bench = Bench()
    channel = PlayedChannel()
    request = UpstreamRequest(method="tools/call", params={}, timeout_s=30)
    caller = FakeCaller(log_level=None)
    async with bench.running(channel) as lane:
        await bench.becomes(Phase.READY)
        until = asyncio.get_running_loop().time() + 3
        await lane.request(request, caller, until=until)
        channel.refused_questions = 1
        await lane.request(request, caller, until=until)
        assert all(granted <= 3 for granted in channel.granted[-2:])


async def test_requests_under_way_fail_when_the_lane_ends() -> None:
    bench = Bench(reopens=False)
    channel = PlayedChannel()
    channel.held["tools/call"] = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        async with bench.running(channel):
            await bench.becomes(Phase.READY)
            running = group.create_task(_fault_of(bench.call()))
            await eventually(lambda: channel.count("tools/call"))
        assert isinstance(await soon(running), UnavailableError)


async def test_a_bug_of_a_channel_does_not_end_its_lane() -> None:
    bench = Bench()
    async with bench.running(ValueError("a bug"), PlayedChannel()):
        await bench.pauses.let_go()
        await bench.becomes(Phase.READY)


async def test_an_era_no_longer_spoken_is_looked_for_anew() -> None:
    bench = Bench(era=None)
    first, second = PlayedChannel(Era.MODERN), PlayedChannel(Era.LEGACY)
    async with bench.running(first, NotModernError("no"), second) as lane:
        await bench.becomes(Phase.READY)
        first.lose()
        await bench.pauses.let_go()
        await eventually(lambda: len(bench.attempts) == 2)
        await bench.pauses.let_go()
        await bench.becomes(Phase.READY)
        assert lane.era is Era.LEGACY
    assert bench.attempts == [None, Era.MODERN, None]


async def test_a_lane_that_is_not_spoken_rests_beside_one_that_serves() -> None:
    bench = Bench()
    bench.watcher.sibling_serves = True
    async with bench.running(RpcError(-32022, "no"), PlayedChannel()) as lane:
        await eventually(lambda: lane.rests)
        assert (lane.retry_in_s, bench.pauses.taken) == (None, [])
        with pytest.raises(UnavailableError):
            await bench.call()
        lane.poke()
        await bench.becomes(Phase.READY)


@pytest.mark.parametrize(
    "fault", [UnavailableError("HTTP 503"), HttpStatusError("HTTP 500", status=500)]
)
async def test_a_lane_that_fails_but_is_not_refused_keeps_trying_beside_one_that_serves(
    fault: Exception,
) -> None:
    bench = Bench()
    bench.watcher.sibling_serves = True
    async with bench.running(*[fault] * 4, PlayedChannel()) as lane:
        for _ in range(4):
            await bench.pauses.let_go()
            assert not lane.rests
        await bench.becomes(Phase.READY)


async def test_a_lane_that_served_once_never_rests() -> None:
    bench = Bench()
    bench.watcher.sibling_serves = True
    first = PlayedChannel()
    async with bench.running(first, RpcError(-32022, "no"), PlayedChannel()):
        await bench.becomes(Phase.READY)
        first.lose()
        await bench.pauses.let_go()
        await bench.pauses.let_go()
        await bench.becomes(Phase.READY)
    assert bench.opened == 2


async def test_a_poke_during_an_attempt_is_not_lost() -> None:
    bench = Bench()
    bench.may_open.clear()
    async with bench.running(UnavailableError("not yet"), PlayedChannel()) as lane:
        await eventually(lambda: bench.attempts)
        lane.poke()
        bench.may_open.set()
        await bench.becomes(Phase.READY)


async def test_a_refused_connect_flips_the_state_and_a_probe_flips_it_back() -> None:
    bench = Bench(reopens=False)
    channel = PlayedChannel(Era.MODERN)
    async with bench.running(channel) as lane:
        await bench.becomes(Phase.READY)
        refused = ConnectFailedError("refused")
        channel.answers = {"tools/call": refused, "server/discover": refused}
        with pytest.raises(ConnectFailedError):
            await bench.call()
        assert lane.phase is Phase.DOWN
        await bench.pauses.let_go()
        await eventually(lambda: channel.count("server/discover") == 2)
        channel.answers = {}
        await bench.pauses.let_go()
        await bench.becomes(Phase.READY)
    assert (bench.opened, channel.count("tools/list") > 0) == (1, True)


async def test_a_request_that_succeeds_flips_the_state_back_as_well() -> None:
    bench = Bench(reopens=False)
    channel = PlayedChannel(Era.MODERN)
    async with bench.running(channel) as lane:
        await bench.becomes(Phase.READY)
        channel.answers = {"server/discover": ConnectFailedError("refused")}
        channel.answers["tools/call"] = ConnectFailedError("refused")
        await _fault_of(bench.call())
        assert lane.phase is Phase.DOWN
        channel.answers = {}
        assert await bench.call() == b"{}"
        assert lane.phase is Phase.READY


async def test_one_slow_call_does_not_make_a_server_unreachable() -> None:
    bench = Bench()
    channel = PlayedChannel()
    async with bench.running(channel) as lane:
        await bench.becomes(Phase.READY)
        channel.answers["tools/call"] = TimedOutError("slow")
        await _fault_of(bench.call())
        await eventually(lambda: channel.count("ping") == 1)
        assert lane.phase is Phase.READY
    assert bench.opened == 1


async def test_a_silent_process_is_replaced() -> None:
    bench = Bench()
    first, second = PlayedChannel(), PlayedChannel()
    async with bench.running(first, second):
        await bench.becomes(Phase.READY)
        first.answers = {"tools/call": TimedOutError("slow"), "ping": TimedOutError("silent")}
        await _fault_of(bench.call())
        await bench.pauses.let_go()
        await eventually(lambda: bench.opened == 2)
        await bench.becomes(Phase.READY)


async def test_a_storm_of_news_is_one_reading_per_pause() -> None:
    bench = Bench()
    channel = PlayedChannel()
    async with bench.running(channel):
        await bench.becomes(Phase.READY)
        before = channel.count("tools/list")
        for _ in range(1000):
            channel.tell("notifications/tools/list_changed")
        await eventually(lambda: bench.pauses.open)
        assert channel.count("tools/list") == before
        assert await bench.pauses.let_go() == 0.1
        await eventually(lambda: channel.count("tools/list") == before + 1)


async def test_refresh_returns_when_the_lists_were_read() -> None:
    bench = Bench()
    bench.pauses.free = True
    channel = PlayedChannel()
    async with bench.running(channel) as lane:
        await bench.becomes(Phase.READY)
        channel.tools = ["other"]
        await soon(lane.refresh())
        assert [item.key for item in lane.shelf.catalog().of(ItemKind.TOOLS)] == ["other"]


async def test_refresh_of_a_lane_that_is_down_tries_once_and_returns() -> None:
    bench = Bench()
    async with bench.running(UnavailableError("1"), UnavailableError("2")) as lane:
        await eventually(lambda: bench.pauses.open)
        await soon(lane.refresh())
        assert str(lane.fault) == "2"


async def test_a_listen_stream_that_ends_is_taken_up_and_the_lists_read() -> None:
    bench = Bench(reopens=False)
    channel = PlayedChannel(Era.MODERN)
    async with bench.running(channel):
        await bench.becomes(Phase.READY)
        await eventually(lambda: len(channel.listening) == 1)
        channel.listen_ends.put_nowait(None)
        assert await bench.pauses.let_go() == 0.5
        await eventually(lambda: len(channel.listening) == 2)
        await bench.pauses.let_go()
        await eventually(lambda: channel.count("tools/list") == 2)


async def test_a_server_that_cannot_be_listened_to_is_left_alone() -> None:
    bench = Bench(reopens=False)
    channel = PlayedChannel(Era.MODERN)
    async with bench.running(channel) as lane:
        await bench.becomes(Phase.READY)
        await eventually(lambda: len(channel.listening) == 1)
        channel.listen_ends.put_nowait(RpcError(-32601, "no"))
        await asyncio.sleep(0)
        assert (bench.pauses.taken, lane.phase) == ([], Phase.READY)


async def test_a_watch_of_a_modern_server_is_there_before_the_old_stream_goes() -> None:
    bench = Bench(reopens=False)
    channel = PlayedChannel(Era.MODERN)
    async with bench.running(channel) as lane:
        await bench.becomes(Phase.READY)
        await eventually(lambda: len(channel.listening) == 1)
        await soon(lane.watch("x://1"))
        assert channel.listening[-1] == frozenset({"x://1"})
        channel.tell("notifications/resources/updated", uri=b'"x://1"')
        channel.tell("notifications/resources/updated", uri=b'"x://unwatched"')
        channel.tell("notifications/resources/updated", uri=b'"x://1/below"')
        channel.tell("notifications/resources/updated", uri=b'"x://10"')
        assert bench.watcher.resources == ["x://1", "x://1/below"]


async def test_watches_of_a_legacy_server_are_renewed_after_a_loss() -> None:
    bench = Bench()
    first, second = PlayedChannel(), PlayedChannel()
    async with bench.running(first, second) as lane:
        await bench.becomes(Phase.READY)
        await lane.watch("x://1")
        assert first.count("resources/subscribe") == 1
        first.lose()
        await bench.pauses.let_go()
        await bench.becomes(Phase.READY)
        assert second.count("resources/subscribe") == 1
        assert bench.watcher.resources == ["x://1"]


async def test_a_refused_watch_is_no_watch() -> None:
    bench = Bench()
    channel = PlayedChannel()
    channel.answers["resources/subscribe"] = RpcError(-32601, "no")
    async with bench.running(channel) as lane:
        await bench.becomes(Phase.READY)
        with pytest.raises(RpcError):
            await lane.watch("x://1")
        channel.tell("notifications/resources/updated", uri=b'"x://1"')
        assert bench.watcher.resources == []


async def test_clients_take_turns_once_questions_could_not_be_told_apart() -> None:
    bench = Bench()
    channel = PlayedChannel()
    channel.held["tools/call"] = asyncio.Event()
    async with bench.running(channel), asyncio.TaskGroup() as group:
        await bench.becomes(Phase.READY)
        channel.refused_questions = 1
        for client in ("a", "a", "b", "c"):
            group.create_task(bench.call(FakeCaller(client, log_level=None)))
        await eventually(lambda: channel.running == 2)
        channel.held["tools/call"].set()
        await eventually(lambda: channel.count("tools/call") == 4)
    assert channel.most_running == 2


async def test_the_log_level_follows_the_most_curious_caller() -> None:
    bench = Bench()
    channel = PlayedChannel(capabilities={"logging": {}})
    async with bench.running(channel):
        await bench.becomes(Phase.READY)
        for level in ("warning", "error", "debug", "info", None, "nonsense"):
            await bench.call(FakeCaller(log_level=level))
    levels = [params["level"] for method, params in channel.asked if method == "logging/setLevel"]
    assert levels == [b'"warning"', b'"debug"']


async def _fault_of(work: Any) -> Exception | None:
    try:
        await work
    except Exception as error:  # noqa: BLE001 (the test looks at it)
        return error
    return None
