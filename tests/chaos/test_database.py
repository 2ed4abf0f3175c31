"""Another process holds the database, or the wall clock jumps: calls go on, nothing is lost."""

import asyncio
import time
from collections.abc import Callable, Generator
from pathlib import Path

import pytest

from tests.chaos.invariants import (
    codes,
    ended,
    leaving_nothing,
    one_by_one,
    set_policy,
    undisturbed,
    warm,
)
from tests.chaos.park import HEALTHY
from tests.support.agents import Agent, AgentEra
from tests.support.database_lock import write_locked
from tests.support.faults import McpUpstream
from tests.support.hub_process import HubProcess
from tests.support.shifted_hub import SHIFT_FILE, jump_to
from tests.support.waiting import eventually

pytestmark = [pytest.mark.chaos, pytest.mark.e2e, pytest.mark.slow]

LOCKED_S = 10.0
STORED_WITHIN_S = 45.0
"""The ledger tries again after 30 s at the latest."""


WARMING_CALLS = 2 * len(HEALTHY)
"""What the fixture `park` has called already."""


def counted(hub: HubProcess) -> int:
    """How many calls of tools the ledger has."""
    answer = hub.rest("GET", "/api/costs/summary?by=server")
    assert answer.status == 200, answer
    calls: int = answer.body["total"]["tool_calls"]
    return calls


@pytest.mark.timeout(150)
async def test_calls_go_on_while_the_database_is_locked_and_all_are_in_the_ledger(
    park: HubProcess,
) -> None:
    async with leaving_nothing(park):
        async with undisturbed(park) as siblings:
            with write_locked(park.data_dir / "agenthub.db"):
                await asyncio.sleep(LOCKED_S)
        made = WARMING_CALLS + len(siblings.took_s)

        def all_stored() -> bool:
            stored = counted(park)
            assert stored == made, f"{made} calls were answered, {stored} are in the ledger"
            return True

        await eventually(all_stored, within_s=STORED_WITHIN_S)


async def test_change_while_the_database_is_locked_is_refused_in_time_and_not_half_done(
    park: HubProcess,
) -> None:
    body = {
        "name": "late",
        "transport": {"type": "streamable-http", "url": "http://127.0.0.1:9/mcp"},
        "enabled": False,
    }
    with write_locked(park.data_dir / "agenthub.db"):
        began = time.monotonic()
        answer = await asyncio.to_thread(park.rest, "POST", "/api/mcp/servers", body)
        assert time.monotonic() - began < 10.0
        assert (answer.status, answer.body["code"]) == (503, "storage_busy"), answer
        assert "Retry-After" in {name.title() for name in answer.headers}
        assert park.rest("GET", "/api/mcp/servers/late").status == 404
    assert park.rest("POST", "/api/mcp/servers", body).status == 201
    park.unregister("late")


DAY_S = 86_400.0
JUMPS_S = {"an hour back": -3_600.0, "a day back": -DAY_S, "ten years on": 3_650 * DAY_S}


@pytest.fixture
def shift_file(tmp_path: Path) -> Path:
    path = tmp_path / "shift"
    jump_to(path, 0.0)
    return path


@pytest.fixture
def jumping(make_hub: Callable[..., HubProcess], shift_file: Path) -> Generator[HubProcess]:
    env = {SHIFT_FILE: str(shift_file)}
    with McpUpstream() as server, make_hub(launcher="tests.support.shifted_hub", **env) as hub:
        hub.register_http("well", server.url)
        hub.register_http("limited", server.url)
        hub.register_http("broken", server.url)
        asyncio.run(warm(hub, ["well"]))
        yield hub


@pytest.mark.parametrize("jump", JUMPS_S)
async def test_clock_that_jumps_moves_no_guard(
    jumping: HubProcess, shift_file: Path, jump: str
) -> None:
    hub = jumping
    set_policy(hub, "limited", rate_limit={"rate_per_s": 0.01, "burst": 3})
    set_policy(hub, "broken", breaker={"open_s": 60.0}, retry={"max_retries": 0})
    assert hub.rest("POST", "/api/gateway/servers/broken/force-open").status == 200
    async with (
        Agent(hub.url("/mcp"), hub.token, AgentEra.MODERN) as agent,
        leaving_nothing(hub),
        undisturbed(hub, ["well"]),
    ):
        used_up = [call.code for call in await one_by_one(agent, "limited__echo", 5)]
        assert used_up == ["", "", "", "rate_limited", "rate_limited"]
        assert (await ended(agent, "broken__echo")).code == "circuit_open"
        jump_to(shift_file, JUMPS_S[jump])
        await asyncio.sleep(1.0)
        refused = await one_by_one(agent, "limited__echo", 5)
        assert codes(refused) == {"rate_limited"}, "the jump minted or destroyed tokens"
        assert all(0 < (call.retry_after_s or 0) <= 100.0 for call in refused), refused
        assert (await ended(agent, "broken__echo")).code == "circuit_open"
        jump_to(shift_file, 0.0)
    assert "Traceback" not in hub.log(), hub.log()[-3000:]
