"""A stdio server that crashes, hangs, floods or is killed harms nobody else and starts anew."""

from collections.abc import Callable, Generator
from contextlib import ExitStack
from pathlib import Path

import psutil
import pytest

from tests.chaos.park import (
    HELD_BACK,
    RECOVERS_WITHIN_S,
    be_patient,
    bounded_memory,
    fault_strikes_alone,
    recovers,
    register_unseen,
)
from tests.support.fault_mcp import Eras
from tests.support.fault_stdio import FaultyStdio, StdioFault
from tests.support.faults import McpUpstream
from tests.support.hub_process import HubProcess
from tests.support.waiting import eventually

pytestmark = [pytest.mark.chaos, pytest.mark.e2e, pytest.mark.slow]

GONE_WITHIN_S = 10.0
"""Closing the input, then SIGTERM, then SIGKILL, with some seconds of grace for each."""


@pytest.fixture(scope="module")
def hub(
    make_hub: Callable[..., HubProcess], tmp_path_factory: pytest.TempPathFactory
) -> Generator[HubProcess]:
    with ExitStack() as stack:
        old = stack.enter_context(McpUpstream(Eras.LEGACY))
        new = stack.enter_context(McpUpstream(Eras.MODERN))
        hub = stack.enter_context(make_hub(AGENTHUB_GATEWAY__BREAKER__MAX_OPEN_S="8"))
        hub.register_http("well-old", old.url)
        hub.register_http("well-new", new.url)
        hub.register("well-stdio", FaultyStdio(tmp_path_factory.mktemp("stdio")).transport)
        be_patient(hub)
        yield hub


@pytest.fixture
def ill(hub: HubProcess, tmp_path: Path) -> Generator[FaultyStdio]:
    """A registered stdio server, healthy at first, unregistered and ended afterwards."""
    server = FaultyStdio(tmp_path, Eras.LEGACY)
    hub.register("ill", server.transport)
    try:
        yield server
        hub.unregister("ill")
    finally:
        server.end_all()


CODES = {
    StdioFault.CRASH: {"server_ended", "server_lost"},
    StdioFault.CRASH_LEAVING_CHILD: {"server_ended", "server_lost"},
    StdioFault.HANG: {"server_timeout"},
    StdioFault.FLOOD: {"server_flood"},
    StdioFault.BAD_UTF8: {"server_timeout", "server_bad_message"},
}


@pytest.mark.parametrize("fault", CODES)
async def test_fault_strikes_its_own_calls_only_and_passes(
    hub: HubProcess, ill: FaultyStdio, fault: StdioFault
) -> None:
    ill.plant(fault)
    try:
        with bounded_memory(hub):
            refusals = await fault_strikes_alone(hub, ["ill__echo"])
    finally:
        ill.heal()
    codes = {refusal.code for refusal in refusals}
    assert codes <= CODES[fault] | HELD_BACK, refusals
    assert all("ill" in refusal.text for refusal in refusals)
    await recovers(hub, ["ill__echo"])
    await eventually(lambda: len(ill.processes()) == 1, within_s=GONE_WITHIN_S)


async def test_banner_on_stdout_is_tolerated(hub: HubProcess, ill: FaultyStdio) -> None:
    ill.plant(StdioFault.BANNER)
    await recovers(hub, ["ill__echo"])


async def test_killed_process_is_started_again(hub: HubProcess, ill: FaultyStdio) -> None:
    [first] = ill.processes()
    first.kill()
    await recovers(hub, ["ill__echo"])
    [second] = ill.processes()
    assert second.pid != first.pid


async def test_server_that_exits_at_start_is_tried_until_it_stays(
    hub: HubProcess, ill: FaultyStdio
) -> None:
    ill.plant(StdioFault.EXIT_AT_START)
    for process in ill.processes():
        process.kill()

    def says_why() -> bool:
        record = hub.rest("GET", "/api/mcp/servers/ill").body
        assert record["status"] == "unreachable", record
        assert "exit code 7" in record["last_error"], record
        output = hub.rest("GET", "/api/mcp/servers/ill/diagnosis").body["output"]
        assert "no configuration found in /nowhere" in output, output
        return True

    await eventually(says_why, within_s=RECOVERS_WITHIN_S)
    ill.heal()
    await recovers(hub, ["ill__echo"])


@pytest.mark.parametrize(
    "fault", [StdioFault.STUBBORN, StdioFault.GRANDCHILD, StdioFault.STUBBORN_FAMILY]
)
async def test_removed_server_leaves_no_process(
    hub: HubProcess, tmp_path: Path, fault: StdioFault
) -> None:
    server = FaultyStdio(tmp_path)
    server.plant(fault)
    try:
        register_unseen(hub, "unruly", server)
        assert server.processes()
        hub.unregister("unruly")
        await eventually(lambda: not server.processes(), within_s=GONE_WITHIN_S)
    finally:
        server.end_all()


def test_no_child_of_the_hub_is_left_unreaped(hub: HubProcess, ill: FaultyStdio) -> None:
    children = psutil.Process(hub.pid).children()
    assert [c for c in children if c.status() == psutil.STATUS_ZOMBIE] == []
