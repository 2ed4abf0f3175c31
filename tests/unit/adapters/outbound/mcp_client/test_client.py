"""Every registered server, each by itself: what a person sees of it, and what an agent gets."""

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import psutil
import pytest

from agenthub.adapters.outbound.clock.system import SystemChance, SystemClock
from agenthub.adapters.outbound.http.aiohttp import AiohttpClient
from agenthub.adapters.outbound.mcp_client.client import PooledMcpClient
from agenthub.domain.entities.catalog.listing import CatalogBounds, ItemKind
from agenthub.domain.entities.endpoints import (
    ConnectionStatus,
    Endpoint,
    EndpointState,
    Era,
    EraChoice,
    StdioTransport,
)
from agenthub.domain.exceptions import HubError, RpcError, TimedOutError, UnavailableError
from agenthub.domain.ports.outbound.mcp_client import Answer, McpListener, UpstreamRequest
from tests.support.waiting import eventually, soon
from tests.unit.adapters.outbound.mcp_client.kit import FakeCaller
from tests.unit.adapters.outbound.mcp_client.procs import is_alive, raw_command, stdio_endpoint


class Ledger(McpListener):
    """What the client told of its servers."""

    def __init__(self) -> None:
        self.states: list[tuple[str, ConnectionStatus]] = []
        self.catalogs: list[tuple[str, tuple[ItemKind, ...]]] = []
        self.updates: list[tuple[str, str]] = []

    def on_state(self, endpoint: Endpoint, state: EndpointState) -> None:
        self.states.append((endpoint.name, state.status))

    def on_catalog(self, endpoint: Endpoint, kinds: tuple[ItemKind, ...]) -> None:
        self.catalogs.append((endpoint.name, kinds))

    def on_resource_updated(self, endpoint: Endpoint, uri: str) -> None:
        self.updates.append((endpoint.name, uri))


class Hub:
    def __init__(self, client: PooledMcpClient) -> None:
        self.client = client
        self.ledger = Ledger()
        client.attach(self.ledger)

    async def add(self, endpoint: Endpoint) -> EndpointState:
        await self.client.connect(endpoint)
        return await soon(self.client.settled(endpoint.id, 20), within_s=25)

    def names(self, endpoint: Endpoint, era: Era = Era.LEGACY) -> list[str]:
        return [item.key for item in self.client.catalog(endpoint.id, era).of(ItemKind.TOOLS)]

    async def call(
        self,
        endpoint: Endpoint,
        tool: str = "echo",
        caller: FakeCaller | None = None,
        *,
        timeout_s: float = 10.0,
    ) -> Answer:
        request = UpstreamRequest(
            method="tools/call", params={"name": json.dumps(tool).encode()}, timeout_s=timeout_s
        )
        return await self.client.request(endpoint.id, request, caller or FakeCaller())

    async def pid(self, endpoint: Endpoint, caller: FakeCaller | None = None) -> int:
        return json.loads((await self.call(endpoint, caller=caller)).result)["pid"]

    async def status_is(self, endpoint: Endpoint, status: ConnectionStatus) -> EndpointState:
        def look() -> EndpointState | None:
            state = self.client.state(endpoint.id)
            return state if state.status is status else None

        found = await eventually(look, within_s=15)
        assert found is not None
        return found


@asynccontextmanager
async def running_hub(data_dir: Path) -> AsyncIterator[Hub]:
    children, tasks = set(psutil.Process().children()), len(asyncio.all_tasks())
    async with AiohttpClient(allow_private=True) as http:
        client = PooledMcpClient(
            http=http,
            clock=SystemClock(),
            chance=SystemChance(),
            data_dir=data_dir,
            bounds=CatalogBounds(),
        )
        hub = Hub(client)
        async with client:
            yield hub
    await eventually(lambda: set(psutil.Process().children()) <= children, what="children left")
    await eventually(lambda: len(asyncio.all_tasks()) <= tasks, what="tasks left")


@pytest.fixture
async def hub(tmp_path: Path) -> AsyncIterator[Hub]:
    async with running_hub(tmp_path / "data") as hub:
        yield hub


def raw(*args: str, name: str = "srv", era: EraChoice = EraChoice.AUTO) -> Endpoint:
    return stdio_endpoint(raw_command(*args), name=name, era=era)


async def fault_of(hub: Hub, endpoint: Endpoint, tool: str, *, timeout_s: float = 10) -> Exception:
    try:
        await hub.call(endpoint, tool, timeout_s=timeout_s)
    except (HubError, RpcError) as error:
        return error
    raise AssertionError("it did not fail")


async def test_a_server_is_found_listed_and_called(hub: Hub) -> None:
    server = raw("legacy")
    state = await hub.add(server)
    assert (state.status, state.eras) == (ConnectionStatus.READY, (Era.LEGACY,))
    assert (state.protocol_version, state.last_error) == ("2025-11-25", None)
    assert hub.names(server) == hub.names(server, Era.MODERN) == ["echo"]
    answer = await hub.call(server)
    assert answer.era is Era.LEGACY
    assert hub.ledger.states == [
        ("srv", ConnectionStatus.CONNECTING),
        ("srv", ConnectionStatus.READY),
    ]
    assert hub.ledger.catalogs == [("srv", (ItemKind.TOOLS,))]


async def test_agents_of_both_eras_are_served_in_their_own(hub: Hub) -> None:
    server = raw("dual")
    assert (await hub.add(server)).eras == (Era.MODERN,)
    modern, legacy = FakeCaller(era=Era.MODERN), FakeCaller(era=Era.LEGACY)
    assert (await hub.call(server, caller=modern)).era is Era.MODERN
    assert (await hub.call(server, caller=legacy)).era is Era.LEGACY
    assert await hub.pid(server, modern) != await hub.pid(server, legacy)
    assert hub.client.state(server.id).eras == (Era.LEGACY, Era.MODERN)


async def test_a_server_of_one_era_serves_agents_of_both(hub: Hub) -> None:
    old, new = raw("legacy", name="old"), raw("modern", name="new")
    await hub.add(old)
    await hub.add(new)
    assert (await hub.call(old, caller=FakeCaller(era=Era.MODERN))).era is Era.LEGACY
    assert (await hub.call(new, caller=FakeCaller(era=Era.LEGACY))).era is Era.MODERN


@pytest.mark.parametrize(
    ("command", "says"),
    [
        (StdioTransport(command="no-such-program"), "was not found on PATH"),
        (raw_command("legacy", "dies"), "exit code 7"),
    ],
)
async def test_a_server_that_cannot_start_says_why(
    hub: Hub, command: StdioTransport, says: str
) -> None:
    server = stdio_endpoint(command)
    state = await hub.add(server)
    assert state.status is ConnectionStatus.UNREACHABLE
    assert says in (state.last_error or "")
    with pytest.raises(UnavailableError, match=says):
        await hub.call(server, timeout_s=0.2)


async def test_output_of_a_server_is_there_to_read(hub: Hub) -> None:
    server = raw("legacy", "dies")
    await hub.add(server)
    assert "cannot start: no licence" in hub.client.output_tail(server.id)


async def test_a_killed_server_comes_back_with_what_it_offers_then(
    hub: Hub, tmp_path: Path
) -> None:
    tools = tmp_path / "tools.txt"
    tools.write_text("one two")
    server = raw("legacy", f"tools={tools}")
    await hub.add(server)
    assert hub.names(server) == ["one", "two"]
    tools.write_text("three")
    os.kill(await hub.pid(server), signal.SIGKILL)
    await eventually(lambda: hub.names(server) == ["three"], within_s=15)
    assert (await hub.call(server)).result


async def test_a_call_right_after_a_crash_waits_for_the_new_process(hub: Hub) -> None:
    server = raw("legacy")
    await hub.add(server)
    assert isinstance(await fault_of(hub, server, "crash"), UnavailableError)
    assert (await hub.call(server)).result


@pytest.mark.parametrize("tool", ["crash", "close", "flood", "utf8"])
async def test_one_faulty_server_harms_no_other(hub: Hub, tool: str) -> None:
    bad, good = raw("legacy", name="bad"), raw("modern", name="good")
    await hub.add(bad)
    await hub.add(good)
    async with asyncio.TaskGroup() as group:
        group.create_task(fault_of(hub, bad, tool))
        for _ in range(50):
            await hub.call(good)
    await eventually(lambda: hub.client.state(bad.id).status is ConnectionStatus.READY, within_s=15)
    assert (await hub.call(bad)).result


async def test_a_server_that_hangs_delays_only_its_caller(hub: Hub) -> None:
    server = raw("legacy")
    await hub.add(server)
    assert isinstance(await fault_of(hub, server, "hang", timeout_s=0.2), TimedOutError)
    assert (await hub.call(server)).result


async def test_a_deaf_server_is_replaced(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agenthub.adapters.outbound.mcp_client.plans.BUSY_PROBE_TIMEOUT_S", 0.3)
    server = raw("legacy")
    await hub.add(server)
    former = await hub.pid(server)
    assert isinstance(await fault_of(hub, server, "deaf", timeout_s=0.2), TimedOutError)
    await hub.status_is(server, ConnectionStatus.UNREACHABLE)
    await hub.status_is(server, ConnectionStatus.READY)
    assert await hub.pid(server) != former


@pytest.mark.parametrize("era", ["legacy", "modern"])
async def test_a_changed_list_is_read_again(hub: Hub, tmp_path: Path, era: str) -> None:
    tools = tmp_path / "tools.txt"
    tools.write_text("one")
    server = raw(era, f"tools={tools}")
    await hub.add(server)
    tools.write_text("one two")
    await hub.call(server, "change")
    await eventually(lambda: hub.names(server) == ["one", "two"])
    assert hub.ledger.catalogs[-1] == ("srv", (ItemKind.TOOLS,))


async def test_refresh_reads_again_at_once(hub: Hub, tmp_path: Path) -> None:
    tools = tmp_path / "tools.txt"
    tools.write_text("one")
    server = raw("legacy", f"tools={tools}")
    await hub.add(server)
    tools.write_text("two")
    await soon(hub.client.refresh(server.id))
    assert hub.names(server) == ["two"]


async def test_refresh_tries_an_unreachable_server_at_once(hub: Hub, tmp_path: Path) -> None:
    program = tmp_path / "late"
    server = stdio_endpoint(StdioTransport(command=str(program), args=raw_command("legacy").args))
    assert (await hub.add(server)).status is ConnectionStatus.UNREACHABLE
    program.symlink_to(raw_command("legacy").command)
    await soon(hub.client.refresh(server.id))
    assert hub.client.state(server.id).status is ConnectionStatus.READY


async def test_a_watched_resource_is_reported_also_after_a_restart(hub: Hub) -> None:
    server = raw("legacy")
    await hub.add(server)
    await hub.client.watch_resource(server.id, "x://1")
    await eventually(lambda: hub.ledger.updates == [("srv", "x://1")])
    os.kill(await hub.pid(server), signal.SIGKILL)
    await eventually(lambda: len(hub.ledger.updates) >= 2, within_s=15)
    await hub.client.unwatch_resource(server.id, "x://1")


async def test_disconnecting_fails_what_runs_and_ends_the_process(hub: Hub) -> None:
    server = raw("legacy")
    await hub.add(server)
    pid = await hub.pid(server)
    async with asyncio.TaskGroup() as group:
        running = group.create_task(fault_of(hub, server, "hang", timeout_s=60))
        await asyncio.sleep(0)
        await soon(hub.client.disconnect(server.id))
        assert isinstance(await soon(running), UnavailableError)
    assert not is_alive(pid)
    assert hub.client.state(server.id).status is ConnectionStatus.DISABLED
    with pytest.raises(UnavailableError):
        await hub.call(server)


async def test_connecting_anew_replaces_the_former_process(hub: Hub) -> None:
    server = raw("legacy")
    await hub.add(server)
    former = await hub.pid(server)
    async with asyncio.TaskGroup() as group:
        for _ in range(3):
            group.create_task(hub.client.connect(server))
    await soon(hub.client.settled(server.id, 10), within_s=12)
    assert await hub.pid(server) != former
    assert not is_alive(former)


async def test_leaving_while_servers_start_leaves_nothing(tmp_path: Path) -> None:
    async with running_hub(tmp_path) as hub:
        for number in range(4):
            await hub.client.connect(raw("legacy", "silent", "kin", name=f"s{number}"))
        await eventually(lambda: len(psutil.Process().children()) >= 4)


async def test_many_calls_at_once_are_not_crossed(hub: Hub) -> None:
    servers = [raw(era, name=era) for era in ("legacy", "modern", "dual")]
    for server in servers:
        await hub.add(server)

    async def one(server: Endpoint, number: int) -> None:
        request = UpstreamRequest(
            method="tools/call",
            params={"name": b'"echo"', "arguments": b'{"n":%d}' % number},
            timeout_s=10,
        )
        answer = await hub.client.request(server.id, request, FakeCaller(f"c{number}"))
        assert json.loads(answer.result)["echo"] == {"n": number}

    async with asyncio.TaskGroup() as group:
        for number in range(300):
            group.create_task(one(servers[number % 3], number))


async def test_a_server_that_asks_ambiguously_is_served_one_agent_at_a_time(hub: Hub) -> None:
    server = raw("legacy")
    await hub.add(server)
    first = FakeCaller("first")
    first.held.clear()
    async with asyncio.TaskGroup() as group:
        group.create_task(hub.call(server, "ask", first))
        await first.asking.wait()
        refused = await hub.call(server, "ask", FakeCaller("other"))
        assert json.loads(refused.result)["refused"]
        first.held.set()
    callers = [FakeCaller(f"agent-{number}") for number in range(5)]
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(hub.call(server, "ask", caller)) for caller in callers]
    assert all(json.loads(task.result().result)["answered"] for task in tasks)
    assert [len(caller.asked) for caller in callers] == [1] * 5
