"""Processes in tests: raw servers to start, and looks at what is left of them."""

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import psutil

from agenthub.adapters.outbound.clock.system import SystemChance
from agenthub.adapters.outbound.mcp_client.guardian import Guardian
from agenthub.domain.entities.endpoints import Endpoint, EraChoice, StdioTransport
from agenthub.domain.ids import EndpointId, WorkspaceId
from tests.support.waiting import eventually

RAW_SERVER = Path(__file__).with_name("raw_server.py")


def raw_command(
    era: str = "legacy", *faults: str, env: dict[str, str] | None = None
) -> StdioTransport:
    return StdioTransport(
        command=sys.executable,
        args=("-I", "-S", str(RAW_SERVER), era, *faults),
        env=env or {},
    )


def stdio_endpoint(
    transport: StdioTransport, *, name: str = "srv", era: EraChoice = EraChoice.AUTO
) -> Endpoint:
    then = datetime(2026, 11, 21, tzinfo=UTC)
    return Endpoint(
        id=EndpointId(f"id-{name}"),
        workspace=WorkspaceId("w1"),
        name=name,
        transport=transport,
        era=era,
        created_at=then,
        updated_at=then,
    )


def is_alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def open_pipes() -> set[str]:
    """Name the open pipes: what a process of the hub's leaves, if it leaves any.

    Files and sockets are others': measuring coverage or an earlier test's threads may open some.
    """
    found: set[str] = set()
    for link in Path("/proc/self/fd").glob("*"):
        try:
            name = os.readlink(link)
        except OSError:  # the one that glob itself has open
            continue
        if name.startswith("pipe:"):
            found.add(name)
    return found


@asynccontextmanager
async def guarded(data_dir: Path) -> AsyncIterator[Guardian]:
    """A guardian; afterwards no child, task or open file is left that was not there before."""
    await _warm_up()
    tasks, pipes = len(asyncio.all_tasks()), open_pipes()
    children = set(psutil.Process().children())
    async with Guardian(data_dir=data_dir, chance=SystemChance()) as guardian:
        yield guardian
    await eventually(lambda: len(asyncio.all_tasks()) <= tasks, what="tasks are left")
    await eventually(lambda: set(psutil.Process().children()) <= children, what="children are left")
    await eventually(lambda: open_pipes() <= pipes, what="pipes are left open")


async def _warm_up() -> None:
    """Have the loop open what it keeps for its first child and thread."""
    await (await asyncio.create_subprocess_exec("true", stdout=subprocess.DEVNULL)).wait()
    await asyncio.to_thread(open_pipes)
