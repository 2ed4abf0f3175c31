"""Many model calls on a hub at once, over REST, by callers who may lose the hub at any moment."""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import httpx2

from tests.support.hub_process import HubProcess
from tests.support.llm_provider import HELD, Mode

COMPLETE = "/api/models/complete"
LOST = 0
"""In place of a status: the hub died under the call."""


@dataclass(frozen=True, slots=True)
class Ask:
    """One call. With `leaves`, its caller hangs up once a slow answer has begun."""

    number: int
    mode: Mode
    stream: bool = False
    leaves: bool = False
    max_tokens: int = 200

    def body(self) -> dict[str, Any]:
        text = f"Call number {self.number}: say something. " * (1 + self.number % 7)
        return {
            "messages": [{"role": "user", "content": text}],
            "model": f"openai/{self.mode}",
            "max_tokens": self.max_tokens,
            "stream": self.stream or self.leaves,
        }


class Callers:
    """Keeps the connections of all callers; `statuses` counts how their calls ended."""

    def __init__(self, hub: HubProcess) -> None:
        self._hub = hub
        self.statuses: Counter[int] = Counter()
        self._client = httpx2.AsyncClient(
            base_url=hub.url(),
            headers=hub.headers,
            limits=httpx2.Limits(max_connections=300, max_keepalive_connections=50),
            timeout=120,
            trust_env=False,
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._client.aclose()

    async def call(self, ask: Ask) -> int:
        """Make a call to its end; LOST where the hub did not live as long."""
        try:
            async with self._client.stream("POST", COMPLETE, json=ask.body()) as answer:
                status = answer.status_code
                if ask.leaves and status == 200:
                    await _hear(answer, HELD)
                else:
                    await answer.aread()
        except httpx2.TransportError:
            status = LOST
        self.statuses[status] += 1
        return status

    @asynccontextmanager
    async def holding(self, asks: list[Ask]) -> AsyncGenerator[None]:
        """Have calls under way inside the block; at its end they are cancelled, or lost already."""
        async with asyncio.TaskGroup() as tasks:
            under_way = [tasks.create_task(self.call(ask)) for ask in asks]
            yield
            for task in under_way:
                task.cancel()


async def _hear(answer: httpx2.Response, words: int) -> None:
    heard = 0
    async for line in answer.aiter_lines():
        heard += line == "event: text"
        if heard == words and line.startswith("data:"):
            return


def entries_of(hub: HubProcess) -> list[dict[str, Any]]:
    """Read all entries of models, page by page."""
    found: list[dict[str, Any]] = []
    cursor = ""
    while True:
        page = hub.rest("GET", f"/api/costs/entries?kind=model&limit=200{cursor}").body
        found += page["items"]
        if page["next_cursor"] is None:
            return found
        cursor = f"&cursor={page['next_cursor']}"


def hub_budget(hub: HubProcess) -> dict[str, Any]:
    """Give the budget of the whole hub."""
    items = hub.rest("GET", "/api/budgets?limit=200").body["items"]
    return next(one for one in items if one["scope"] == "hub")


def shown(rows: list[Any]) -> str:
    """Write the first few of what should not be there."""
    return json.dumps(rows[:5], indent=1, default=str)
