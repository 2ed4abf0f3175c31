"""No child outlives the hub, however the hub went."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from agenthub.adapters.outbound.clock.system import SystemChance
from agenthub.adapters.outbound.mcp_client.guardian import FOLDER, Guardian, sweep
from agenthub.adapters.outbound.mcp_client.orphans import VARIABLE, kill_marked, marked
from tests.support.waiting import eventually, soon
from tests.unit.adapters.outbound.mcp_client.procs import RAW_SERVER, guarded, is_alive

pytestmark = pytest.mark.skipif(not Path("/proc").is_dir(), reason="marks are seen in /proc only")

HUB = """
import asyncio, os, sys
from pathlib import Path
from agenthub.adapters.outbound.clock.system import SystemChance
from agenthub.adapters.outbound.mcp_client.guardian import Guardian
from agenthub.adapters.outbound.mcp_client.output import OutputTail
from agenthub.adapters.outbound.mcp_client.process import open_process
from agenthub.domain.entities.endpoints import StdioTransport

data, server, count, sudden = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4]
command = StdioTransport(command=sys.executable,
    args=("-I", "-S", server, "legacy", "stubborn", "kin", "escapee"))

async def one(guardian):
    async with open_process(command, server="s", guardian=guardian, output=OutputTail(),
                            on_line=lambda line: print(line.decode(), flush=True),
                            on_lost=lambda error: None) as process:
        print(process.pid, flush=True)
        if sudden == "at-start":
            os.kill(os.getpid(), 9)
        await process.send(b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"x"}}')
        await asyncio.Event().wait()

async def main():
    async with Guardian(data_dir=Path(data), chance=SystemChance()) as guardian:
        print(guardian.instance, flush=True)
        async with asyncio.TaskGroup() as group:
            for _ in range(count):
                group.create_task(one(guardian))

asyncio.run(main())
"""


def start_hub(data_dir: Path, count: int, sudden: str = "no") -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-c", HUB, str(data_dir), str(RAW_SERVER), str(count), sudden],
        stdout=subprocess.PIPE,
    )


def lines_of(hub: subprocess.Popen[bytes], count: int) -> list[str]:
    assert hub.stdout is not None
    return [hub.stdout.readline().decode().strip() for _ in range(count)]


def guardians(instance: str) -> list[int]:
    found: list[int] = []
    for process in psutil.process_iter(["cmdline"]):
        if instance in (process.info["cmdline"] or []):
            found.append(process.pid)
    return found


async def nothing_is_left(instance: str) -> None:
    await eventually(lambda: not list(marked(instance)), what="children left", within_s=10)
    await eventually(lambda: not guardians(instance), what="guardians left", within_s=10)


async def test_a_killed_hub_leaves_no_child_and_no_grandchild(tmp_path: Path) -> None:
    with start_hub(tmp_path, 3) as hub:
        instance, *said = lines_of(hub, 1 + 3 + 3)
        kin = [pid for one in said if one[0] == "{" for pid in json.loads(one)["result"]["kin"]]
        children = [int(one) for one in said if one[0] != "{"]
        assert all(is_alive(pid) for pid in kin + children)
        assert len(kin + children) == 6
        hub.kill()
        hub.wait()
        await nothing_is_left(instance)
        assert not any(is_alive(pid) for pid in kin + children)


@pytest.mark.parametrize("delay_s", [0.0, 0.005, 0.02, 0.05, 0.1])
async def test_a_hub_killed_while_it_starts_servers_leaves_none(
    tmp_path: Path, delay_s: float
) -> None:
    with start_hub(tmp_path, 5) as hub:
        (instance,) = lines_of(hub, 1)
        time.sleep(delay_s)
        hub.kill()
        hub.wait()
        await nothing_is_left(instance)


async def test_a_hub_killed_right_after_a_spawn_leaves_none(tmp_path: Path) -> None:
    with start_hub(tmp_path, 1, "at-start") as hub:
        (instance,) = lines_of(hub, 1)
        hub.wait()
        await nothing_is_left(instance)


async def test_the_next_start_kills_what_the_guardian_missed(tmp_path: Path) -> None:
    with start_hub(tmp_path, 2) as hub:
        instance, *_ = lines_of(hub, 5)
        (guardian,) = guardians(instance)
        hub.send_signal(signal.SIGSTOP)  # else it could replace its guardian in between
        os.kill(guardian, signal.SIGKILL)
        hub.kill()
        hub.wait()
        assert list(marked(instance))
        async with guarded(tmp_path):
            await nothing_is_left(instance)
        assert list((tmp_path / FOLDER).iterdir()) == []


async def test_a_sweep_spares_the_children_of_a_living_hub(tmp_path: Path) -> None:
    with start_hub(tmp_path, 1) as hub:
        instance, *_ = lines_of(hub, 3)
        assert sweep(tmp_path / FOLDER) == 0
        assert list(marked(instance))
        hub.kill()
        hub.wait()
        await nothing_is_left(instance)


async def test_a_guardian_that_was_killed_is_replaced(tmp_path: Path) -> None:
    async with Guardian(data_dir=tmp_path, chance=SystemChance()) as guardian:
        guardian.ready()
        (first,) = guardians(guardian.instance)
        os.kill(first, signal.SIGKILL)

        def replaced() -> bool:
            guardian.watch(2**22 + 1)
            guardian.ready()
            return guardians(guardian.instance) not in ([], [first])

        await eventually(replaced)
        assert len(guardians(guardian.instance)) == 1
        instance = guardian.instance
    assert guardians(instance) == []


async def test_a_guardian_ignores_the_signals_that_end_a_terminal(tmp_path: Path) -> None:
    async with Guardian(data_dir=tmp_path, chance=SystemChance()) as guardian:
        guardian.ready()
        (pid,) = guardians(guardian.instance)
        await eventually(lambda: _ignored(pid) & 0x4003 == 0x4003)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            os.kill(pid, number)
        await asyncio.sleep(0)
        assert is_alive(pid)


async def test_a_mark_is_one_hub_s_and_one_child_s(tmp_path: Path) -> None:
    async with Guardian(data_dir=tmp_path, chance=SystemChance()) as guardian:
        marks = [guardian.mark() for _ in range(12)]
        sleepers = [
            subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], env=mark)
            for mark in marks
        ]
        try:
            await eventually(lambda: len(list(marked(guardian.instance))) == 12)
            assert kill_marked(marks[0][VARIABLE]) == 1
            assert sleepers[0].wait(5) == -9
            assert kill_marked(guardian.instance) >= 11
        finally:
            for sleeper in sleepers:
                sleeper.kill()
                await soon(asyncio.to_thread(sleeper.wait))


def _ignored(pid: int) -> int:
    """The mask of ignored signals: bit n-1 is signal n."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1], 16) for line in lines if line.startswith("SigIgn"))
