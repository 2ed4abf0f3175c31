"""A channel: one open connection to one server in one era, whatever carries it."""

import asyncio
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import Any

from agenthub.domain.entities.endpoints import Era
from agenthub.domain.ports.outbound.mcp_client import Caller, RawObject


@dataclass(frozen=True, slots=True)
class Hello:
    """What a server said of itself in `initialize` or `server/discover`."""

    protocol_version: str
    capabilities: dict[str, Any]
    server_info: dict[str, Any] | None = None
    instructions: str | None = None
    supported_versions: tuple[str, ...] = field(default=())


class Inbox(ABC):
    """Where a channel puts what belongs to no request of the hub's. Methods must not block."""

    @abstractmethod
    def notification(self, method: str, params: RawObject) -> None:
        """A notification outside any request (list_changed, resources/updated, ...)."""


class Channel(ABC):
    """Opened and closed by an async context manager; usable by many tasks at once."""

    era: Era
    hello: Hello

    @property
    def unattributed(self) -> int:
        """How many questions were refused because nobody could say whose they are."""
        return 0

    @property
    def fault(self) -> Exception | None:
        """Why the connection was lost, where the channel knows."""
        return None

    @abstractmethod
    async def request(
        self,
        method: str,
        params: RawObject,
        *,
        meta: RawObject,
        caller: Caller | None,
        timeout_s: float,
        header_params: dict[str, str] | None = None,
    ) -> bytes:
        """Send a request and give its raw JSON result.

        The channel adds what its era demands (`_meta` members, headers, progressToken), hands
        progress, logs and questions of this request to `caller` (None: the hub itself, which
        wants none and answers nothing), and stops the clock while the caller is asked.
        `header_params` are the modern HTTP `Mcp-Param-*` headers, already encoded.
        Raises RpcError and the HubErrors of `McpClient.request`.
        """

    @abstractmethod
    async def notify(self, method: str, params: RawObject) -> None:
        """Send a notification. Raises UnavailableError when the connection is gone."""

    @abstractmethod
    async def wait_closed(self) -> None:
        """Return when the connection is lost. Never, for connections that cannot be lost."""

    async def probe(self, *, timeout_s: float) -> None:
        """Ask whether the server is still there, and still as `hello` says.

        Raises the faults of a request, and NotModernError when it has changed its era.
        """
        method = "ping" if self.era is Era.LEGACY else "server/discover"
        await self.request(method, {}, meta={}, caller=None, timeout_s=timeout_s)

    async def listen(self, *, resources: frozenset[str]) -> None:
        """Hear of changed lists and of these resources, until the server ends it (modern era).

        What arrives goes to the inbox, the server's acknowledgement first. Waits for ever where
        there is nothing to listen to. Raises RpcError when the server does not offer it.
        """
        await asyncio.Event().wait()
