"""SIGTERM ends the hub in time and in order, whatever is open at that moment."""

from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import aiohttp
import psutil
import pytest

from tests.chaos.park import register_unseen
from tests.support.agents import Agent, AgentEra
from tests.support.fault_http import HttpFault
from tests.support.fault_mcp import Eras
from tests.support.fault_stdio import FaultyStdio, StdioFault
from tests.support.faults import McpUpstream
from tests.support.hub_process import HubProcess
from tests.support.waiting import eventually, soon

pytestmark = [pytest.mark.chaos, pytest.mark.e2e, pytest.mark.slow]

ENDS_WITHIN_S = 10.0


@pytest.fixture
def hub(make_hub: Callable[..., HubProcess]) -> Generator[HubProcess]:
    with make_hub(AGENTHUB_UPSTREAM__CALL_TIMEOUT_S="300") as hub:
        yield hub


async def test_sigterm_ends_the_hub_with_all_kinds_of_streams_open(hub: HubProcess) -> None:
    async with AsyncExitStack() as stack:
        for era in AgentEra:
            agent = await stack.enter_async_context(Agent(hub.url("/mcp"), hub.token, era))
            await stack.enter_async_context(agent.listening())
        for path in ("/sse", "/api/events"):
            await stack.enter_async_context(streaming(hub, path))
        assert_ends_in_order(hub)
    assert "Traceback" not in hub.log(), hub.log()[-3000:]


async def test_sigterm_ends_the_hub_with_calls_under_way(hub: HubProcess, tmp_path: Path) -> None:
    """The servers hang, and one of them does not mind SIGTERM and has a child."""
    unruly = FaultyStdio(tmp_path)
    unruly.plant(StdioFault.STUBBORN_FAMILY)
    try:
        with McpUpstream(Eras.BOTH) as hanging:
            hub.register_http("hanging", hanging.url)
            register_unseen(hub, "unruly", unruly)
            hanging.fault = HttpFault.HANG
            unruly.plant(StdioFault.HANG)
            async with AsyncExitStack() as stack:
                seen = hanging.requests
                for era in AgentEra:
                    agent = await stack.enter_async_context(Agent(hub.url("/mcp"), hub.token, era))
                    for tool in ("hanging__echo", "unruly__echo"):
                        call = agent.hanging_call(tool, {"message": "x"})
                        await stack.enter_async_context(call)
                await eventually(lambda: hanging.requests >= seen + 2)
                unruly.plant(StdioFault.STUBBORN_FAMILY)
                assert_ends_in_order(hub)
        await eventually(lambda: not unruly.processes())
    finally:
        unruly.end_all()


async def test_stopped_hub_leaves_no_child(hub: HubProcess, tmp_path: Path) -> None:
    servers = [FaultyStdio(tmp_path, eras) for eras in Eras]
    for number, server in enumerate(servers):
        hub.register(f"stdio-{number}", server.transport)
    children = psutil.Process(hub.pid).children(recursive=True)
    assert children
    assert_ends_in_order(hub)
    assert [one for one in children if one.is_running()] == []


def assert_ends_in_order(hub: HubProcess) -> None:
    took_s = hub.stop(ENDS_WITHIN_S)
    assert took_s is not None, f"still there after {ENDS_WITHIN_S} s:\n{hub.log()[-3000:]}"
    assert hub.wait(1.0) == 0, hub.log()[-3000:]


@asynccontextmanager
async def streaming(hub: HubProcess, path: str) -> AsyncGenerator[aiohttp.ClientResponse]:
    timeout = aiohttp.ClientTimeout(total=None)
    async with (
        aiohttp.ClientSession(headers=hub.headers, timeout=timeout) as http,
        http.get(hub.url(path), headers={"Accept": "text/event-stream"}) as response,
    ):
        assert response.status == 200, path
        if path == "/sse":
            assert b"endpoint" in await soon(response.content.readline())
        yield response
