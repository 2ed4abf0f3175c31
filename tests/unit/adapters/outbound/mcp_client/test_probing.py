"""A probe says whether a server is there, and has a doubtful connection looked at."""

import asyncio

import pytest

from agenthub.adapters.outbound.mcp_client.plans import Phase
from agenthub.domain.entities.endpoints import Era
from agenthub.domain.exceptions import NotConnectedError, QuotaError, RpcError, TimedOutError
from agenthub.domain.ports.outbound.http import ConnectFailedError
from tests.support.waiting import eventually, soon
from tests.unit.adapters.outbound.mcp_client.test_lanes import Bench, PlayedChannel


async def test_a_legacy_server_is_pinged_and_a_modern_one_discovered() -> None:
    for era, method in ((Era.LEGACY, "ping"), (Era.MODERN, "server/discover")):
        bench, channel = Bench(era=era), PlayedChannel(era)
        async with bench.running(channel):
            await bench.becomes(Phase.READY)
            before = channel.count(method)
            assert await soon(bench.lane.probe(5)) is True
            assert channel.count(method) == before + 1
            assert channel.granted[-1] == 5


@pytest.mark.parametrize("answer", [RpcError(-32601, "no ping here"), QuotaError("slow down")])
async def test_any_answer_proves_that_a_server_is_there(answer: Exception) -> None:
    bench, channel = Bench(), PlayedChannel()
    channel.answers["ping"] = answer
    async with bench.running(channel):
        await bench.becomes(Phase.READY)
        assert await soon(bench.lane.probe(5)) is True


async def test_a_server_that_is_not_connected_cannot_be_probed() -> None:
    bench = Bench()
    async with bench.running() as lane:
        await soon(lane.settled.wait())
        with pytest.raises(NotConnectedError):
            await lane.probe(5)


async def test_a_failed_probe_has_the_connection_replaced() -> None:
    bench, first, second = Bench(), PlayedChannel(), PlayedChannel()
    first.answers["ping"] = TimedOutError("silence")
    async with bench.running(first, second):
        await bench.becomes(Phase.READY)
        with pytest.raises(TimedOutError):
            await soon(bench.lane.probe(5))
        await bench.pauses.let_go()
        await eventually(lambda: bench.opened == 2)
        await bench.becomes(Phase.READY)


async def test_a_stateless_server_that_refuses_a_probe_is_down_until_it_answers_one() -> None:
    bench, channel = Bench(reopens=False), PlayedChannel()
    async with bench.running(channel):
        await bench.becomes(Phase.READY)
        channel.answers["ping"] = ConnectFailedError("refused")
        with pytest.raises(ConnectFailedError):
            await soon(bench.lane.probe(5))
        assert bench.lane.phase is Phase.DOWN
        del channel.answers["ping"]
        assert await soon(bench.lane.probe(5)) is True
        await bench.becomes(Phase.READY)
        assert bench.opened == 1


async def test_nothing_is_said_of_a_server_at_work_on_its_only_pipe() -> None:
    bench, channel = Bench(), PlayedChannel()
    async with bench.running(channel):
        await bench.becomes(Phase.READY)
        channel.held["tools/call"] = asyncio.Event()
        async with asyncio.TaskGroup() as group:
            group.create_task(bench.call())
            await eventually(lambda: channel.running == 1)
            assert await soon(bench.lane.probe(5)) is False
            assert channel.count("ping") == 0
            channel.held["tools/call"].set()
        assert await soon(bench.lane.probe(5)) is True


async def test_a_server_at_work_over_http_is_probed_all_the_same() -> None:
    bench, channel = Bench(reopens=False), PlayedChannel()
    async with bench.running(channel):
        await bench.becomes(Phase.READY)
        channel.held["tools/call"] = asyncio.Event()
        async with asyncio.TaskGroup() as group:
            group.create_task(bench.call())
            await eventually(lambda: channel.running == 1)
            assert await soon(bench.lane.probe(5)) is True
            channel.held["tools/call"].set()
