"""A panel in a browser: closed, opened again and reloaded while questions come and are decided."""

import asyncio
import random
from collections.abc import AsyncGenerator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest

from agenthub.adapters.inbound.http import sse
from tests.integration.http.feed import WITHIN_S, following
from tests.integration.http.people import (
    APPROVALS,
    ELICITATIONS,
    SAMPLINGS,
    elicit,
    hold,
    items,
    wish,
)
from tests.integration.http.world import Served, served
from tests.support.waiting import eventually

QUESTIONS = 30
LONGEST_LOOK = 5
ASK = {ELICITATIONS: elicit, SAMPLINGS: wish, APPROVALS: hold}
SAY = {
    ELICITATIONS: ("respond", {"action": "cancel"}),
    SAMPLINGS: ("reject", {}),
    APPROVALS: ("deny", {"reason": "No."}),
}
ASKED = {"elicitation_request", "sampling_request", "approval_request"}

Event = dict[str, Any]


class Traffic:
    """Questions that come, of which about half are answered soon. The last is about `end`."""

    def __init__(self, seed: int) -> None:
        self._dice = random.Random(seed)
        self._open: list[tuple[str, str]] = []
        self.asked = 0
        self.end = f"end-{seed}"

    async def flow(self, hub: Served, count: int) -> None:
        for _ in range(count):
            path = self._dice.choice(list(ASK))
            self._open.append((path, await ASK[path](hub)))
            self.asked += 1
            if self._dice.random() < 0.5:
                await self._decide(hub)
        await hold(hub, origin={"key": self.end})
        self.asked += 1

    async def _decide(self, hub: Served) -> None:
        path, request_id = self._open.pop(self._dice.randrange(len(self._open)))
        verb, word = SAY[path]
        answer = await hub.http.post(f"{path}/{request_id}/{verb}", json=word)
        assert answer.status_code == 200, answer.text


class Panel:
    """What a person sees: every question it heard of or found in a list, and how it stands."""

    def __init__(self) -> None:
        self.seen: dict[str, str] = {}
        self.tools: set[str] = set()
        self.heard: list[Event] = []

    @property
    def last(self) -> str:
        return self.heard[-1]["id"] if self.heard else "0"

    async def look(self, hub: Served, last: str | None) -> AsyncGenerator[None]:
        """Follow the feed; a step for each event. Without `last` the first step are the lists."""
        headers = {} if last is None else {"last-event-id": last}
        async with following(hub, **headers) as reader:
            if last is None:
                await self._load(hub)
                yield
            while True:
                event = await reader.next()
                self._take(event)
                yield

    async def _load(self, hub: Served) -> None:
        for path in ASK:
            for one in await items(hub, path, limit=200):
                self.seen[one["id"]] = one["status"]
                self.tools.add(one["tool"])

    def _take(self, event: Event) -> None:
        self.heard.append(event)
        facts = event["data"]
        if event["event"] in ASKED:
            self.seen.setdefault(facts["request_id"], "pending")
            self.tools.add(facts["tool"])
        elif event["event"] == "request.resolved":
            self.seen[facts["request_id"]] = facts["status"]


async def truth(hub: Served) -> dict[str, str]:
    found = [one for path in ASK for one in await items(hub, path, limit=200)]
    return {one["id"]: one["status"] for one in found}


async def glance(hub: Served, panel: Panel, traffic: Traffic, dice: random.Random) -> None:
    """Open the panel for a few events, close it, and stay away while more comes."""
    left = dice.randint(1, LONGEST_LOOK)
    async with aclosing(panel.look(hub, panel.last)) as steps:
        async for _ in steps:
            left -= 1
            if not left or traffic.end in panel.tools:
                break
    away_until = traffic.asked + dice.randint(0, 3)
    await eventually(lambda: traffic.asked >= min(away_until, QUESTIONS), within_s=WITHIN_S)


@pytest.mark.parametrize("seed", range(3))
async def test_a_panel_that_is_closed_and_opened_again_misses_nothing(
    tmp_path: Path, seed: int
) -> None:
    """In the middle the hub itself is restarted, and its feed goes on where it was."""
    panel, dice = Panel(), random.Random(seed)
    found: dict[str, str] = {}
    for half in range(2):
        traffic = Traffic(2 * seed + half)
        async with served(tmp_path) as hub, asyncio.TaskGroup() as group:
            group.create_task(traffic.flow(hub, QUESTIONS))
            while traffic.end not in panel.tools:
                await glance(hub, panel, traffic, dice)
            found = await truth(hub)
    assert panel.seen == found
    ids = [int(event["id"]) for event in panel.heard]
    assert ids == sorted(set(ids))
    asked = [event["data"]["request_id"] for event in panel.heard if event["event"] in ASKED]
    assert sorted(asked) == sorted(found)


async def test_from_the_first_sign_of_the_feed_on_nothing_is_missed(
    hub: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    pour = sse.pour

    async def late(*given: Any) -> None:
        asked.append(await elicit(hub))
        await pour(*given)

    # Between the answer's head and the first event nobody can step in from outside.
    monkeypatch.setattr(sse, "pour", late)
    async with following(hub) as reader:
        event = await reader.next()
    assert [event["data"]["request_id"]] == asked


@pytest.mark.parametrize("seed", range(3))
async def test_a_panel_that_is_reloaded_sees_what_there_is(hub: Served, seed: int) -> None:
    """It forgets all, follows the feed from now on, and only then reads the lists."""
    panel, traffic, dice = Panel(), Traffic(seed), random.Random(seed)
    async with asyncio.TaskGroup() as group:
        group.create_task(traffic.flow(hub, QUESTIONS))
        while traffic.end not in panel.tools:
            panel, left = Panel(), dice.randint(1, LONGEST_LOOK)
            async with aclosing(panel.look(hub, None)) as steps:
                async for _ in steps:
                    left -= 1
                    if traffic.end in panel.tools:
                        await until_heard(steps, panel, await elicit(hub))
                    if left <= 0 or traffic.end in panel.tools:
                        break
    assert panel.seen == await truth(hub)


async def until_heard(steps: AsyncGenerator[None], panel: Panel, request_id: str) -> None:
    async for _ in steps:
        if request_id in panel.seen:
            return
