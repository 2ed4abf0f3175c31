"""A server over stdio: its era is found, its faults are told to whom they concern."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from agenthub.adapters.outbound.mcp_client.handshakes import NotModernError
from agenthub.adapters.outbound.mcp_client.output import OutputTail
from agenthub.adapters.outbound.mcp_client.stdio import StdioChannel, open_stdio
from agenthub.domain.entities.endpoints import Era, StdioTransport
from agenthub.domain.exceptions import RpcError, TimedOutError, UnavailableError, UpstreamError
from agenthub.domain.ports.outbound.mcp_client import Caller
from tests.support.waiting import eventually, soon
from tests.unit.adapters.outbound.mcp_client.kit import FakeCaller, FakeInbox
from tests.unit.adapters.outbound.mcp_client.procs import guarded, raw_command, stdio_endpoint


class Bench:
    def __init__(self) -> None:
        self.inbox = FakeInbox()
        self.output = OutputTail()

    @asynccontextmanager
    async def channel(
        self,
        command: StdioTransport,
        data_dir: Path,
        *,
        era: Era | None = None,
        discover_timeout_s: float = 5.0,
    ) -> AsyncIterator[StdioChannel]:
        async with (
            guarded(data_dir) as guardian,
            open_stdio(
                stdio_endpoint(command),
                self.inbox,
                era=era,
                guardian=guardian,
                output=self.output,
                discover_timeout_s=discover_timeout_s,
                initialize_timeout_s=5.0,
            ) as channel,
        ):
            yield channel


@pytest.fixture
def bench() -> Bench:
    return Bench()


async def call(
    channel: StdioChannel, tool: str, caller: Caller | None = None, *, timeout_s: float = 5.0
) -> dict[str, object]:
    raw = await channel.request(
        "tools/call",
        {"name": json.dumps(tool).encode()},
        meta={},
        caller=caller,
        timeout_s=timeout_s,
    )
    return json.loads(raw)


@pytest.mark.parametrize(
    ("era", "found", "version"),
    [
        ("legacy", Era.LEGACY, "2025-11-25"),
        ("old", Era.LEGACY, "2024-11-05"),
        ("modern", Era.MODERN, "2026-07-28"),
        ("dual", Era.MODERN, "2026-07-28"),
    ],
)
async def test_the_era_is_found(
    bench: Bench, tmp_path: Path, era: str, found: Era, version: str
) -> None:
    async with bench.channel(raw_command(era), tmp_path) as channel:
        assert (channel.era, channel.hello.protocol_version) == (found, version)
        assert channel.hello.server_info == {"name": "raw", "version": "1"}
        assert "echo" in await call(channel, "echo")


async def test_a_server_of_both_eras_speaks_the_older_when_asked_to(
    bench: Bench, tmp_path: Path
) -> None:
    async with bench.channel(raw_command("dual"), tmp_path, era=Era.LEGACY) as channel:
        assert channel.era is Era.LEGACY


async def test_silence_means_the_older_era(bench: Bench, tmp_path: Path) -> None:
    command = raw_command("legacy", "silent")
    async with bench.channel(command, tmp_path, discover_timeout_s=0.2) as channel:
        assert channel.era is Era.LEGACY


async def test_a_server_that_dies_of_the_probe_gets_a_fresh_process(
    bench: Bench, tmp_path: Path
) -> None:
    async with bench.channel(raw_command("legacy", "dies-unknown"), tmp_path) as channel:
        assert "echo" in await call(channel, "echo")


async def test_a_modern_server_slow_to_start_is_still_found(bench: Bench, tmp_path: Path) -> None:
    code = (
        "import sys,time,runpy; time.sleep(0.4); sys.argv=sys.argv[1:]; runpy.run_path(sys.argv[0])"
    )
    raw = raw_command("modern")
    command = StdioTransport(command=sys.executable, args=("-I", "-S", "-c", code, *raw.args[2:]))
    async with bench.channel(command, tmp_path, discover_timeout_s=0.1) as channel:
        assert channel.era is Era.MODERN


async def test_a_pinned_modern_server_that_is_legacy_is_refused(
    bench: Bench, tmp_path: Path
) -> None:
    with pytest.raises(NotModernError):
        async with bench.channel(raw_command("legacy"), tmp_path, era=Era.MODERN):
            pass


async def test_a_server_that_never_starts_says_why(bench: Bench, tmp_path: Path) -> None:
    with pytest.raises(UnavailableError, match="exit code 7"):
        async with bench.channel(raw_command("legacy", "dies"), tmp_path):
            pass
    assert "cannot start: no licence" in bench.output.lines()


async def test_a_modern_request_bears_what_the_revision_demands(
    bench: Bench, tmp_path: Path
) -> None:
    caller = FakeCaller(era=Era.MODERN, capabilities={"elicitation": {"form": {}}})
    async with bench.channel(raw_command("modern"), tmp_path) as channel:
        meta = (await call(channel, "echo", caller))["meta"]
    assert isinstance(meta, dict)
    assert meta["io.modelcontextprotocol/protocolVersion"] == "2026-07-28"
    assert meta["io.modelcontextprotocol/clientCapabilities"] == {"elicitation": {"form": {}}}


@pytest.mark.parametrize(
    ("tool", "error"),
    [("crash", UnavailableError), ("close", UnavailableError), ("flood", UpstreamError)],
)
async def test_a_lost_server_fails_its_calls_and_says_so(
    bench: Bench, tmp_path: Path, tool: str, error: type[Exception]
) -> None:
    async with bench.channel(raw_command(), tmp_path) as channel:
        async with asyncio.TaskGroup() as group:
            waiting = group.create_task(_fault_of(call(channel, "hang")))
            fault = await _fault_of(call(channel, tool, timeout_s=20))
            assert isinstance(fault, error)
            assert isinstance(await waiting, error)
        await soon(channel.wait_closed())
        with pytest.raises(error):
            await call(channel, "echo")


async def test_broken_text_fails_its_own_call_at_once(bench: Bench, tmp_path: Path) -> None:
    async with bench.channel(raw_command(), tmp_path) as channel:
        with pytest.raises(UpstreamError):
            await call(channel, "utf8", timeout_s=30)
        assert "echo" in await call(channel, "echo")


async def test_a_hanging_call_ends_in_time_and_alone(bench: Bench, tmp_path: Path) -> None:
    async with bench.channel(raw_command(), tmp_path) as channel:
        with pytest.raises(TimedOutError):
            await call(channel, "hang", timeout_s=0.1)
        assert "echo" in await call(channel, "echo")


async def test_an_error_of_the_server_comes_unchanged(bench: Bench, tmp_path: Path) -> None:
    async with bench.channel(raw_command(), tmp_path) as channel:
        with pytest.raises(RpcError) as caught:
            await channel.request("no/such", {}, meta={}, caller=None, timeout_s=5)
    assert (caught.value.code, caught.value.message) == (-32601, "no no/such")


async def test_a_question_reaches_the_only_caller(bench: Bench, tmp_path: Path) -> None:
    async with bench.channel(raw_command(), tmp_path) as channel:
        assert (await call(channel, "ask", FakeCaller()))["answered"] == {"action": "accept"}
        assert channel.unattributed == 0


async def test_a_question_that_may_be_anybodys_is_refused_and_counted(
    bench: Bench, tmp_path: Path
) -> None:
    async with bench.channel(raw_command(), tmp_path) as channel, asyncio.TaskGroup() as group:
        other = group.create_task(_fault_of(call(channel, "hang", FakeCaller("b"), timeout_s=0.5)))
        await asyncio.sleep(0)
        assert (await call(channel, "ask", FakeCaller("a")))["refused"]
        assert channel.unattributed == 1
        await other


async def test_a_log_message_reaches_the_only_caller(bench: Bench, tmp_path: Path) -> None:
    caller = FakeCaller()
    async with bench.channel(raw_command(), tmp_path) as channel:
        await call(channel, "log", caller)
    assert caller.logged == [{"level": b'"info"', "data": b'"hi"'}]


async def test_a_modern_server_is_listened_to(bench: Bench, tmp_path: Path) -> None:
    async with (
        bench.channel(raw_command("modern"), tmp_path) as channel,
        asyncio.TaskGroup() as group,
    ):
        task = group.create_task(channel.listen(resources=frozenset()))
        await eventually(lambda: bench.inbox.heard)
        await call(channel, "change")
        await eventually(lambda: len(bench.inbox.heard) == 2)
        task.cancel()
    methods = [method for method, _ in bench.inbox.heard]
    assert methods == [
        "notifications/subscriptions/acknowledged",
        "notifications/tools/list_changed",
    ]


async def test_leaving_fails_what_is_still_running(bench: Bench, tmp_path: Path) -> None:
    async with asyncio.TaskGroup() as group:
        async with bench.channel(raw_command(), tmp_path) as channel:
            running = group.create_task(_fault_of(call(channel, "hang", timeout_s=30)))
            await asyncio.sleep(0)
        assert isinstance(await soon(running), UnavailableError)


async def test_stopping_while_it_starts_leaves_nothing(bench: Bench, tmp_path: Path) -> None:
    async def open_for_ever() -> None:
        async with bench.channel(raw_command("legacy", "silent"), tmp_path, discover_timeout_s=60):
            raise AssertionError("it never answers")

    async with asyncio.TaskGroup() as group:
        task = group.create_task(open_for_ever())
        await eventually(lambda: len(list((tmp_path / "instances").glob("*"))) == 1)
        await asyncio.sleep(0.05)
        task.cancel()


async def _fault_of(work: object) -> Exception | None:
    try:
        await work  # type: ignore[misc]  # any awaitable of this file
    except Exception as error:  # noqa: BLE001 (the test looks at it)
        return error
    return None
