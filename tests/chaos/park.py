"""A hub with healthy servers, and what must hold for them while another one fails."""

import asyncio
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass

import psutil

from tests.support.agents import Agent, AgentEra, failure_of, text_of
from tests.support.fault_stdio import FaultyStdio
from tests.support.hub_process import HubProcess
from tests.support.waiting import eventually

HEALTHY = ("well-old", "well-new", "well-stdio")
HEALTHY_CALLS = 200
FAULTY_CALLS = 3
FAILS_WITHIN_S = 20.0
"""The call timeout of these hubs is 3 s; the rest is for a machine of two busy cores."""

HELD_BACK = {"server_unavailable", "circuit_open", "server_paused"}
"""What calls say that never get to a faulty server."""

PATIENCE_S = 30.0
RECOVERS_WITHIN_S = 40.0
GROWTH_BYTES = 120 * 1024 * 1024
"""Six calls at once, each of which may hold an answer of 16 MiB, and some room."""

SAMPLE_S = 0.01


@dataclass(frozen=True, slots=True)
class Refusal:
    """How one call to the faulty server ended."""

    code: str
    text: str
    took_s: float


def register_unseen(hub: HubProcess, name: str, server: FaultyStdio) -> None:
    """Register without a trial, which would start and end a stubborn server once more."""
    body = {"name": name, "transport": server.transport}
    answer = hub.rest("POST", "/api/mcp/servers", body)
    assert answer.status == 201, answer
    assert answer.body["status"] == "ready", answer.body


def be_patient(hub: HubProcess) -> None:
    """Give the healthy servers time: of two hundred calls at once to them, none may fail."""
    for server in HEALTHY:
        path = f"/api/gateway/servers/{server}/policy"
        assert hub.rest("PATCH", path, {"timeout_s": PATIENCE_S}).status == 200


async def refused(agent: Agent, tool: str) -> Refusal:
    """Call the faulty server and insist on an error in time."""
    began = time.monotonic()
    message = await agent.call(tool, {"message": "x"}, timeout_s=FAILS_WITHIN_S)
    code, text = failure_of(message)
    return Refusal(code, text, time.monotonic() - began)


async def served(agent: Agent, number: int) -> None:
    """Call a healthy server and insist on the right answer."""
    tool = f"{HEALTHY[number % len(HEALTHY)]}__echo"
    assert text_of(await agent.call(tool, {"message": f"n{number}"})) == f"n{number}"


async def fault_strikes_alone(hub: HubProcess, tools: list[str]) -> list[Refusal]:
    """Call the faulty tools amid many calls to healthy servers; only the former may fail."""
    async with (
        Agent(hub.url("/mcp"), hub.token, AgentEra.LEGACY) as old,
        Agent(hub.url("/mcp"), hub.token, AgentEra.MODERN) as new,
    ):
        agents = (old, new)
        faulty = [
            refused(agents[number % 2], tool) for tool in tools for number in range(FAULTY_CALLS)
        ]
        healthy = [served(agents[number % 2], number) for number in range(HEALTHY_CALLS)]
        refusals, _ = await asyncio.gather(asyncio.gather(*faulty), asyncio.gather(*healthy))
    return refusals


async def recovers(hub: HubProcess, tools: list[str]) -> None:
    """Wait until the healed server answers calls again, without anybody's help."""
    async with Agent(hub.url("/mcp"), hub.token, AgentEra.LEGACY) as agent:
        for tool in tools:

            async def works(tool: str = tool) -> bool:
                message = await agent.call(tool, {"message": "back"})
                assert text_of(message) == "back"
                return True

            await eventually(works, within_s=RECOVERS_WITHIN_S, what=f"{tool} works again")


@contextmanager
def bounded_memory(hub: HubProcess) -> Generator[None]:
    """Insist that the hub's resident memory grows by less than `GROWTH_BYTES` within."""
    process = psutil.Process(hub.pid)
    before = process.memory_info().rss
    highest = before
    is_over = threading.Event()

    def watch() -> None:
        nonlocal highest
        while not is_over.wait(SAMPLE_S):
            highest = max(highest, process.memory_info().rss)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield
    finally:
        is_over.set()
        watcher.join()
    grown = highest - before
    assert grown < GROWTH_BYTES, f"grew by {grown / 2**20:.0f} MiB"
