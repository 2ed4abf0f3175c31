"""What a lane is given: what to connect to, how, and what it needs of the world."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from enum import StrEnum

from agenthub.adapters.outbound.mcp_client.channel import Channel, Inbox
from agenthub.adapters.outbound.mcp_client.reading import Reader
from agenthub.domain.entities.endpoints import Era
from agenthub.domain.ports.outbound.clock import Chance, Clock

FIRST_PAUSE_S = 0.5
LONGEST_PAUSE_S = 30.0

PROBE_TIMEOUT_S = 10.0
BUSY_PROBE_TIMEOUT_S = 30.0
"""For a server on one pipe, which may be at work and answer later."""

Pause = Callable[[float, asyncio.Event], Awaitable[None]]
"""Waits so many seconds, or until the event is set."""

Opener = Callable[[Inbox, Era | None], AbstractAsyncContextManager[Channel]]
"""Opens a channel; the era is given where it is known."""


class Phase(StrEnum):
    CONNECTING = "connecting"
    READY = "ready"
    DOWN = "down"


@dataclass(frozen=True, slots=True, kw_only=True)
class LanePlan:
    """What a lane is for. `era` None: to be found. `reopens`: a silent connection is replaced;
    else it is kept and tried, as nothing can be lost with it.
    """

    server: str
    era: Era | None
    open: Opener
    reader: Reader
    reopens: bool

    @property
    def patience_s(self) -> float:
        """How long a doubted server may take to show that it is there."""
        return BUSY_PROBE_TIMEOUT_S if self.reopens else PROBE_TIMEOUT_S


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What every lane needs of the world."""

    clock: Clock
    chance: Chance
    pause: Pause

    def back_off(self, failures: int) -> float:
        """Choose how long to wait after so many failures in a row."""
        longest = min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2 ** min(failures - 1, 16))
        return longest * (1 + self.chance.share()) / 2


async def pause(seconds: float, wake: asyncio.Event) -> None:
    """Wait by the loop's own clock."""
    try:
        async with asyncio.timeout(seconds):
            await wake.wait()
    except TimeoutError:
        pass
