"""Reads the event feed as a panel in a browser does."""

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import httpx2

from tests.integration.http.world import Served

URL = "/api/events"
WITHIN_S = 20.0


class Reader:
    """Reads a stream event by event."""

    def __init__(self, answer: httpx2.Response) -> None:
        self.answer = answer
        self.comments = 0
        self.lines = answer.aiter_lines()

    async def next(self) -> dict[str, Any]:
        """Give the next event: `id`, `event` and parsed `data`."""
        found: dict[str, Any] = {}
        async with asyncio.timeout(WITHIN_S):
            async for line in self.lines:
                if line.startswith(":"):
                    self.comments += 1
                elif line:
                    name, _, value = line.partition(": ")
                    found[name] = value
                elif "data" in found:
                    return {**found, "data": json.loads(found["data"])}
        raise AssertionError("the stream ended")

    async def rest(self) -> list[str]:
        async with asyncio.timeout(WITHIN_S):
            return [line async for line in self.lines]


@asynccontextmanager
async def following(hub: Served, **headers: str) -> AsyncGenerator[Reader]:
    async with hub.http.stream("GET", URL, headers=headers, timeout=WITHIN_S) as answer:
        yield Reader(answer)
