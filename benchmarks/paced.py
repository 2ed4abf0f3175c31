"""Calls at a steady rate, whether or not those before have ended, and a record of each."""

import asyncio
import time
from dataclasses import dataclass

import orjson

from benchmarks.load import Agent, Job

GIVE_UP_S = 60.0
MAX_IDLE_S = 3.0
"""The hub hangs up after 5 s; a request on its way at that moment would look lost."""

NO_ANSWER = "no_answer"
"""The code of a call to which the hub said nothing, or nothing sensible."""


@dataclass(slots=True)
class Call:
    """One call; times by the monotonic clock. `code` is empty for the right answer."""

    server: int
    due: float
    sent: float
    ended: float
    code: str
    retry_after_s: float | None = None

    @property
    def took_ms(self) -> float:
        """Since it was due, so that a stalled client hides nothing."""
        return (self.ended - self.due) * 1e3


class Caller:
    """Sends calls over as many connections as are needed at once, and keeps them for later."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._free: list[tuple[Agent, float]] = []
        self._made = 0

    async def open(self, connections: int) -> None:
        agents = [await self._agent() for _ in range(connections)]
        self._free += [(agent, time.monotonic()) for agent in agents]

    async def call(self, server: int, tool: str, due: float, number: int) -> Call:
        """Send one call and judge its answer; raises nothing."""
        text = f"hello {number}"
        record = Call(server, due, time.monotonic(), 0.0, NO_ANSWER)
        try:
            agent = self._idle() or await self._agent()
            async with asyncio.timeout(GIVE_UP_S):
                raw = await agent.send("tools/call", tool, text, number)
        except (OSError, TimeoutError):
            record.ended = time.monotonic()
            return record
        record.ended = time.monotonic()
        self._free.append((agent, record.ended))
        record.code, record.retry_after_s = verdict(orjson.loads(raw), number, text)
        return record

    def _idle(self) -> Agent | None:
        """Take the connection that was used last, if it was used just now; else drop them all."""
        if not self._free:
            return None
        agent, since = self._free.pop()
        if time.monotonic() - since < MAX_IDLE_S and not agent.connection.transport.is_closing():
            return agent
        for old, _ in [*self._free, (agent, since)]:
            old.connection.transport.close()
        self._free.clear()
        return None

    async def _agent(self) -> Agent:
        self._made += 1
        agent = Agent(self._job, self._made)
        await agent.open()
        return agent


def verdict(message: dict, number: int, text: str) -> tuple[str, float | None]:
    """The hub's code for a failure and when to return; an empty code for the right answer."""
    if message.get("id") != number:
        return "crossed", None
    if "error" in message:
        data = message["error"].get("data") or {}
        return str(data.get("code", message["error"]["code"])), data.get("retryAfterS")
    result = message["result"]
    if result.get("isError"):
        facts = (result.get("_meta") or {}).get("agenthub/error") or {}
        return facts.get("code", "isError"), facts.get("retryAfterS")
    return ("" if result["content"][0]["text"] == text else "crossed"), None


class Load:
    """`rate_per_s` calls in all, the servers in turns; runs from entry to exit.

    `groups` are the servers of each caller: what one group's calls wait for delays no other's.
    """

    def __init__(
        self, jobs: list[Job], groups: list[list[int]], tools: list[str], rate_per_s: float
    ) -> None:
        self._callers = [Caller(job) for job in jobs]
        self._caller_of = {
            server: caller
            for caller, servers in zip(self._callers, groups, strict=True)
            for server in servers
        }
        self._tools = tools
        self._rate_per_s = rate_per_s
        self.calls: list[Call] = []

    async def run(self, is_over: asyncio.Event, connections: int) -> None:
        """Call until `is_over`, then wait for what is under way."""
        for caller in self._callers:
            await caller.open(connections)
        async with asyncio.TaskGroup() as group:
            began, number = time.monotonic(), 0
            while not is_over.is_set():
                due = began + number / self._rate_per_s
                wait_s = due - time.monotonic()
                if wait_s > 0:
                    await asyncio.sleep(wait_s)
                group.create_task(self._one(number, due))
                number += 1

    async def _one(self, number: int, due: float) -> None:
        server = number % len(self._tools)
        caller = self._caller_of[server]
        self.calls.append(await caller.call(server, self._tools[server], due, number))
