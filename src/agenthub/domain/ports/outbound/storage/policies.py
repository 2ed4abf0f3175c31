"""Where the gateway's policy layers are kept that were set at run time."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from agenthub.domain.ids import EndpointId


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredLayer:
    """One sparse layer. The hub's has neither endpoint nor tool, a server's has no tool."""

    endpoint_id: EndpointId | None = None
    tool: str | None = None
    body: dict[str, Any]
    updated_at: datetime


class PolicyRepository(ABC):
    """Policy layers of the transaction's workspace."""

    @abstractmethod
    async def put(self, layer: StoredLayer) -> None:
        """Keep a layer, replacing the one of the same endpoint and tool.

        Raises ConflictError (code `server_gone`) when the endpoint is no more.
        """

    @abstractmethod
    async def remove(self, endpoint_id: EndpointId | None, tool: str | None) -> None:
        """Forget a layer; nothing happens where there is none."""

    @abstractmethod
    async def all(self) -> list[StoredLayer]:
        """List every layer. They go with their endpoint."""
