"""One connection of a lane, from its opening to its end."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from agenthub.adapters.outbound.mcp_client.channel import Channel
from agenthub.adapters.outbound.mcp_client.log_level import LogLevel
from agenthub.domain.exceptions import NotConnectedError, UnavailableError


class LostError(Exception):
    """The connection is over; ends the tasks that live with it."""

    def __init__(self, fault: Exception | None) -> None:
        super().__init__()
        self.fault = fault


@dataclass(slots=True, eq=False)
class Spell:
    """The present connection, and what is known of it only."""

    channel: Channel
    opened_at: float
    over: asyncio.Event = field(default_factory=asyncio.Event)
    level: LogLevel = field(default_factory=LogLevel)


async def until(end: Callable[[], Awaitable[object]]) -> None:
    """Wait for this end of the connection. Raises LostError."""
    await end()
    raise LostError(None)


def lost(server: str) -> UnavailableError:
    """Make the error of a request whose connection has ended."""
    return UnavailableError(f"The connection to {server!r} has ended.", code="server_lost")


def unreachable(server: str, why: object, retry_in_s: float | None) -> NotConnectedError:
    """Make the error of a request that found no connection."""
    reason = f" {why}" if why else ""
    then = "" if retry_in_s is None else f" The hub tries again in {retry_in_s:.0f} s."
    return NotConnectedError(
        f"The server {server!r} cannot be reached now.{reason}{then}", retry_after_s=retry_in_s
    )
