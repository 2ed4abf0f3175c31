"""What holds in every chaos scenario, beside what the scenario itself is about.

async with leaving_nothing(hub), undisturbed(hub):
    calls = await at_once(agent, "ill__echo", 8)
    assert codes(calls) == {"server_timeout"}
"""

import asyncio
import re
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import psutil

from tests.chaos.park import FAILS_WITHIN_S, HEALTHY
from tests.support.agents import Agent, AgentEra, error_facts, text_of
from tests.support.hub_process import HubProcess
from tests.support.waiting import eventually

SETTLES_WITHIN_S = 15.0
"""Idle connections to servers are kept for 4 s; processes are given 4 s to end."""

SLACK_TASKS = 8
SLACK_DESCRIPTORS = 8
"""Room for what comes and goes by itself: a probe under way, a REST call of this very look."""

IDLE_CONNECTIONS = 32
"""As many may be kept for later just after a scenario; at the end of a module they are gone."""

SIBLING_PACE_S = 0.02
SIBLING_P99_S = 2.0
"""Generous: the machine has two cores, and other tests run at the same time."""

SOON_ENOUGH_S = 0.25
"""How far `retry_after` may lie beside the truth: it is rounded, and a call takes time."""

_TASKS = re.compile(r"^agenthub_tasks (\d+)(?:\.0)?$", re.MULTILINE)

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Holdings:
    """What a hub holds at a moment."""

    tasks: int
    descriptors: int
    children: int

    def is_within(self, before: "Holdings", idle: int) -> bool:
        return (
            self.tasks <= before.tasks + SLACK_TASKS
            and self.descriptors <= before.descriptors + SLACK_DESCRIPTORS + idle
            and self.children <= before.children
        )


def holdings(hub: HubProcess) -> Holdings:
    """Count the hub's tasks, by its own word, its open descriptors and its child processes."""
    process = psutil.Process(hub.pid)
    said = _TASKS.search(hub.rest("GET", "/metrics").body)
    assert said is not None, "/metrics does not tell agenthub_tasks"
    return Holdings(int(said[1]), process.num_fds(), len(process.children(recursive=True)))


async def holds_no_more(hub: HubProcess, before: Holdings, *, idle: int = 0) -> None:
    """Wait until the hub has settled and holds what it held before, and `idle` connections."""

    def is_settled() -> bool:
        now = holdings(hub)
        assert now.is_within(before, idle), f"{before} has become {now}"
        return True

    await eventually(is_settled, within_s=SETTLES_WITHIN_S, what="the hub holds what it held")


@asynccontextmanager
async def leaving_nothing(hub: HubProcess) -> AsyncGenerator[None]:
    """Insist that the hub holds no more tasks and children afterwards, nor many descriptors.

    What is registered at the exit must be what was registered at the entry. That no single
    descriptor stays behind shows at the end of a module (`holds_no_more`).
    """
    before = holdings(hub)
    yield
    await holds_no_more(hub, before, idle=IDLE_CONNECTIONS)


@dataclass(slots=True)
class Siblings:
    """The calls to healthy servers during a scenario."""

    took_s: list[float] = field(default_factory=list[float])
    failures: list[str] = field(default_factory=list[str])

    @property
    def p99_s(self) -> float:
        return sorted(self.took_s)[int(len(self.took_s) * 0.99)] if self.took_s else 0.0


@asynccontextmanager
async def undisturbed(
    hub: HubProcess, servers: Sequence[str] = HEALTHY
) -> AsyncGenerator[Siblings]:
    """Call the healthy servers steadily meanwhile; none may fail, and none may be slow."""
    siblings = Siblings()
    async with (
        Agent(hub.url("/mcp"), hub.token, AgentEra.LEGACY) as old,
        Agent(hub.url("/mcp"), hub.token, AgentEra.MODERN) as new,
        asyncio.TaskGroup() as group,
    ):
        is_over = asyncio.Event()
        group.create_task(_steadily((old, new), servers, siblings, is_over))
        try:
            yield siblings
        finally:
            is_over.set()
    assert siblings.failures == [], siblings.failures[:5]
    assert siblings.took_s, "no sibling was called"
    assert siblings.p99_s < SIBLING_P99_S, f"p99 of the siblings: {siblings.p99_s:.2f} s"


async def warm(hub: HubProcess, servers: Sequence[str] = HEALTHY) -> None:
    """Have agents of both eras call every server: lanes are opened when they are first needed."""
    for era in AgentEra:
        async with Agent(hub.url("/mcp"), hub.token, era) as agent:
            for server in servers:
                assert (await ended(agent, f"{server}__echo")).code == "", server


async def _steadily(
    agents: Sequence[Agent], servers: Sequence[str], siblings: Siblings, is_over: asyncio.Event
) -> None:
    """Start a call at every beat, whether or not those before it have ended; wait for the last."""
    async with asyncio.TaskGroup() as calls:
        number = 0
        while not is_over.is_set():
            tool = f"{servers[number % len(servers)]}__echo"
            calls.create_task(_sibling(agents[number % 2], tool, f"n{number}", siblings))
            number += 1
            await asyncio.sleep(SIBLING_PACE_S)


async def _sibling(agent: Agent, tool: str, words: str, siblings: Siblings) -> None:
    began = time.monotonic()
    try:
        assert text_of(await agent.call(tool, {"message": words})) == words
    except Exception as error:  # noqa: BLE001  every failure is what is looked for
        siblings.failures.append(f"{tool}: {type(error).__name__} {error}"[:500])
    siblings.took_s.append(time.monotonic() - began)


@dataclass(frozen=True, slots=True)
class Ended:
    """How one call to the faulty server ended.

    `code` is empty for a good answer, `isError` for a failure that is the tool's own word.
    """

    code: str
    text: str
    took_s: float
    retry_after_s: float | None = None


async def ended(agent: Agent, tool: str, *, within_s: float = FAILS_WITHIN_S) -> Ended:
    """Call a tool and say how it ended; it must end in time."""
    began = time.monotonic()
    message = await agent.call(tool, {"message": "x"}, timeout_s=within_s)
    took_s = time.monotonic() - began
    facts = error_facts(message)
    if facts is None:
        return Ended("", "", took_s)
    return Ended(str(facts["code"]), facts["text"], took_s, facts.get("retryAfterS"))


async def one_by_one(agent: Agent, tool: str, calls: int) -> list[Ended]:
    return [await ended(agent, tool) for _ in range(calls)]


async def at_once(agent: Agent, tool: str, calls: int) -> list[Ended]:
    return await asyncio.gather(*(ended(agent, tool) for _ in range(calls)))


def gateway(hub: HubProcess, server: str) -> Json:
    """What the hub says of a server's guards."""
    answer = hub.rest("GET", f"/api/gateway/servers/{server}")
    assert answer.status == 200, answer
    seen: Json = answer.body
    return seen


def breaker(hub: HubProcess, server: str, instance: int = 0) -> Json:
    """The breaker of a server's first instance, or of another one."""
    seen: Json = gateway(hub, server)["instances"][instance]["breaker"]
    return seen


def set_policy(hub: HubProcess, server: str, **layer: object) -> None:
    """Lay a policy over a server; fields that are not named stay as they are."""
    answer = hub.rest("PATCH", f"/api/gateway/servers/{server}/policy", layer)
    assert answer.status == 200, answer


async def breaker_is(hub: HubProcess, server: str, *states: str, within_s: float = 5.0) -> Json:
    """Wait until the server's breaker is in one of these states."""

    def look() -> Json:
        seen = breaker(hub, server)
        assert seen["state"] in states, seen
        return seen

    return await eventually(look, within_s=within_s, what=f"the breaker of {server}: {states}")


async def nothing_under_way(hub: HubProcess, server: str) -> None:
    """Wait until no instance of the server has a call in flight, queued or outstanding."""

    def look() -> bool:
        for instance in gateway(hub, server)["instances"]:
            under_way = [instance[name] for name in ("in_flight", "queued", "outstanding")]
            assert under_way == [0, 0, 0], instance
        return True

    await eventually(look, what=f"no call to {server} is under way")


async def told_the_truth(agent: Agent, tool: str, refusal: Ended) -> Ended:
    """Wait as long as the refusal said; the next call may not be refused by that guard again."""
    assert refusal.retry_after_s is not None, f"a refusal without retry_after: {refusal}"
    assert refusal.retry_after_s >= 0
    await asyncio.sleep(refusal.retry_after_s + SOON_ENOUGH_S)
    again = await ended(agent, tool)
    assert again.code != refusal.code, f"said {refusal.retry_after_s} s, then {again}"
    return again


def codes(calls: Sequence[Ended]) -> set[str]:
    return {call.code for call in calls}


def slowest(calls: Sequence[Ended], which: Callable[[Ended], bool] = lambda _: True) -> float:
    return max((call.took_s for call in calls if which(call)), default=0.0)
